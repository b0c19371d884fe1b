"""A registry with two versions of a data set that sorts pictures, and its remotes."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from registry_assets.cli import main
from registry_assets.intake.initialising import init_registry
from tests.conftest import commit_all, run, write_tree
from tests.persisting.helpers import RAW, build_repository, make, materialize

DATASET = "processed/pictures"
OUTPUTS = f"{DATASET}/data/outputs"
INPUTS = ("processed", "pictures", "data", "inputs")

# A picture is a file whose first line is how bright it is.
PIPELINE = """\
vars:
  - collections.yaml
stages:
  keep:
    foreach: ${collections}
    do:
      cmd: sh keep.sh ${dark} data/inputs/${item} data/intermediate/keep/${item}
      deps:
        - keep.sh
        - data/inputs/${item}
      params:
        - dark
      outs:
        - data/intermediate/keep/${item}
  sort:
    foreach: ${collections}
    do:
      cmd: >-
        sh sort.sh ${bright} data/intermediate/keep/${item}
        data/outputs/day/${item} data/outputs/night/${item}
      deps:
        - sort.sh
        - data/intermediate/keep/${item}
      params:
        - bright
      outs:
        - data/outputs/day/${item}
        - data/outputs/night/${item}
"""

KEEP = """\
mkdir -p "$3"
for file in "$2"/*; do
  read level < "$file"
  if [ "$level" -gt "$1" ]; then cp "$file" "$3"; fi
done
"""

SORT = """\
mkdir -p "$3" "$4"
for file in "$2"/*; do
  read level < "$file"
  if [ "$level" -gt "$1" ]; then cp "$file" "$3"; else cp "$file" "$4"; fi
done
"""

FIRST = {"dusk": 110, "noon": 200, "cave": 10, "dawn": 25, "moon": 60, "lost": 150}


def registry(root: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--root", str(root), *arguments])


def said(root: Path, *arguments: str) -> list[str]:
    """What a command prints that does what it is asked."""
    done = registry(root, *arguments)
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()


def refused(root: Path, *arguments: str) -> str:
    """The one line that a command says when it does not."""
    done = registry(root, *arguments)
    assert done.exit_code == 1, done.output
    (line,) = done.stderr.splitlines()
    return line


def draw(folder: str, levels: dict[str, int]) -> dict[str, str]:
    """Pictures, by path."""
    return {f"{folder}/{name}.jpg": f"{level}\n{name}\n" for name, level in levels.items()}


def bring_up_to_date(root: Path, names: Iterable[str]) -> None:
    """Registers collections and takes them all the way."""
    for name in names:
        materialize(root, RAW, name)
        materialize(root, INPUTS, name)
        for stage in ("keep", "sort"):
            inputs = [f"{DATASET}/data/inputs/{name}.dvc"]
            inputs += [f"{DATASET}/dvc.yaml:keep@{name}"] if stage == "sort" else []
            make(root, f"{DATASET}/dvc.yaml:{stage}@{name}", inputs=inputs)


@pytest.fixture(scope="session")
def _team(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a registry, its Git remote and its DVC remote.

    Its branch `main` is at the second version of the data set; `first` is a tag of the first.
    """
    folder = tmp_path_factory.mktemp("team")
    root = build_repository(
        folder / "registry",
        {
            f"{DATASET}/dvc.yaml": PIPELINE,
            f"{DATASET}/keep.sh": KEEP,
            f"{DATASET}/sort.sh": SORT,
            f"{DATASET}/params.yaml": "dark: 20\nbright: 100\n",
            f"{DATASET}/collections.yaml": "collections: []\n",
            "raw/.gitignore": "",
        },
    )
    write_tree(root, {**draw("raw/01_a", FIRST), **draw("raw/03_c", {"same": 90})})
    (folder / "storage").mkdir()
    run(root, "dvc", "remote", "add", "--default", "storage", str(folder / "storage"))
    list(init_registry(root))
    bring_up_to_date(root, ["01_a", "03_c"])
    commit_all(root, "First")
    run(root, "git", "tag", "first")
    run(root, "dvc", "push", "--quiet")

    run(root, "dvc", "unprotect", "raw/01_a")
    (root / "raw/01_a/lost.jpg").unlink()
    (root / "raw/01_a/moon.jpg").rename(root / "raw/01_a/full_moon.jpg")
    write_tree(
        root,
        {
            **draw("raw/01_a", {"noon": 210, "new": 220}),
            **draw("raw/02_b", {"b": 99, "c": 98, "d": 97}),
        },
    )
    (root / DATASET / "params.yaml").write_text("dark: 30\nbright: 130\n")
    bring_up_to_date(root, ["01_a", "02_b", "03_c"])
    commit_all(root, "Second")
    run(root, "dvc", "push", "--quiet")
    run(folder, "git", "init", "--quiet", "--bare", "--initial-branch=main", "origin.git")
    run(root, "git", "remote", "add", "origin", str(folder / "origin.git"))
    run(root, "git", "push", "--quiet", "--set-upstream", "origin", "main")
    return folder


@pytest.fixture
def root(_team: Path, tmp_path: Path) -> Path:
    """A registry of one's own with remotes of its own."""
    folder = Path(shutil.copytree(_team, tmp_path / "team", symlinks=True))
    registry_root = folder / "registry"
    for config in (registry_root / ".dvc/config", registry_root / ".git/config"):
        config.write_text(config.read_text().replace(str(_team), str(folder)))
    commit_all(registry_root, "Move")
    run(registry_root, "git", "push", "--quiet")
    return registry_root
