"""What somebody puts into a folder of a family is data: never a declaration, and never lost."""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from registry_assets.cli import main
from registry_assets.dvc_repo import DvcRepo
from registry_assets.images.contents import SET_ASIDE_PREFIX
from registry_assets.intake.setting_aside import SET_ASIDE_FOLDER
from registry_assets.orchestration.sensors.metafile_stamps import read_stamps
from registry_assets.registry.reading import read_registry
from registry_assets.registry.status.reading import read_status
from tests.conftest import commit_all, lineage_of, run, write_tree

COMMAND = "stages:\n  x:\n    cmd: touch {root}/ran\n"
POINTER = "outs:\n- md5: 0123456789abcdef0123456789abcdef\n  size: 9\n  hash: md5\n  path: one\n"


def registry(root: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--root", str(root), *arguments])


def drop(folder: Path, root: Path) -> None:
    """A folder as somebody sends it, with everything in it that means something to DVC or Git."""
    command = COMMAND.format(root=root)
    write_tree(
        folder,
        {
            "one.txt": "1\n",
            "deep/two.txt": "2\n",
            "dvc.yaml": command,
            "dvc.lock": "schema: '2.0'\nstages: [\n",
            "deep/er/dvc.yaml": command,
            "deep/er/params.yaml": "x: 1\n",
            "one.dvc": POINTER,
            "broken.dvc": "outs: [\n",
            "old.dvc": f"cmd: touch {root}/ran\nouts:\n- path: made\n",
            ".gitignore": "*\n",
            ".git/HEAD": "ref: refs/heads/main\n",
            ".git/config": f"[core]\n\tfsmonitor = touch {root}/ran\n",
            "day1/.dvcignore": "*.txt\n",
            "day1/three.txt": "3\n",
            "day2/.dvc/config": "[core]\n    no_scm = True\n",
            "day2/four.txt": "4\n",
            "day3/.git": "gitdir: elsewhere\n",
            "day3/.hg/store": "5\n",
            "dvc.yaml.d/dvc.yaml/six.txt": "6\n",
            "odd.dvc/seven.txt": "7\n",
        },
    )


def files_in(folder: Path) -> dict[str, str]:
    places = (Path(where) / name for where, _, names in os.walk(folder) for name in names)
    return {place.relative_to(folder).as_posix(): place.read_text() for place in places}


def is_note(text: str) -> bool:
    return text.encode().startswith(SET_ASIDE_PREFIX)


@pytest.mark.parametrize("family", ["raw/*", "shots/*/day/*"])
def test_nothing_in_a_collection_is_read_before_it_is_added(bare: Path, family: str) -> None:
    folder = family.replace("/*/", "/a/").removesuffix("/*")
    settings = f"[tool.registry_assets]\nfamilies = ['{family}']\n"
    write_tree(bare, {"pyproject.toml": settings, f"{folder}/other.dvc": POINTER})
    before = read_registry(bare)
    stamps = read_stamps(before)
    edges = DvcRepo(bare).read_edges()
    assert [item.name for item in before.raw] == ["one"]
    drop(bare / folder / "sent", bare)
    now = read_registry(bare)
    assert (now.raw, now.stages, now.problems) == (before.raw, before.stages, ())
    assert read_stamps(now) == stamps
    assert DvcRepo(bare).read_edges() == edges
    with DvcRepo(bare).open() as repo:
        assert [stage.relpath for stage in repo.index.stages] == [
            os.path.relpath(bare / folder / "other.dvc")
        ]
    assert DvcRepo(bare).output_states().keys() == {f"{folder}/one"}


def by_name(root: Path, name: str) -> Result:
    drop(root / "raw" / name, root)
    return registry(root, "add", name)


def from_elsewhere(root: Path, name: str) -> Result:
    drop(root.parent / name, root)
    return registry(root, "add", str(root.parent / name))


def as_an_archive(root: Path, name: str) -> Result:
    drop(root.parent / name, root)
    with tarfile.open(root / "raw" / f"{name}.tar.gz", "w:gz") as archive:
        archive.add(root.parent / name, ".")
    return registry(root, "materialize", "--select", "raw", "--collection", name)


def as_the_next_version(root: Path, name: str) -> Result:
    write_tree(root / "raw" / name, {"one.txt": "0\n"})
    assert registry(root, "add", name).exit_code == 0
    (root / "raw" / name / "one.txt").unlink()
    drop(root / "raw" / name, root)
    (item,) = (item for item in read_status(lineage_of(root)).raw if item.collection == name)
    assert item.state == "modified"
    return registry(root, "add", name)


def all_that_is_new(root: Path, name: str) -> Result:
    drop(root / "raw" / name, root)
    return registry(root, "materialize", "--select", "raw", "--collection", name)


@pytest.mark.parametrize(
    "bring", [by_name, from_elsewhere, as_an_archive, as_the_next_version, all_that_is_new]
)
def test_what_dvc_would_run_refuse_or_leave_out_is_set_aside_and_all_is_there(
    text_registry: Path, tmp_path: Path, bring: Callable[[Path, str], Result]
) -> None:
    root = text_registry
    shutil.rmtree(root / "raw/01_a")
    shutil.rmtree(root / "raw/02_b")
    drop(tmp_path / "sent", root)
    wanted = files_in(tmp_path / "sent")
    done = bring(root, "03_c")
    assert done.exit_code == 0, done.output
    kept = files_in(root / "raw/03_c")
    notes = {name for name, text in kept.items() if is_note(text)}
    assert notes == {
        *("dvc.yaml.txt", "deep/er/dvc.yaml.txt", "one.dvc.txt", "broken.dvc.txt", "old.dvc.txt"),
        *(".git.txt", "day1/.dvcignore.txt", "day2/.dvc.txt", "day3/.git.txt", "day3/.hg"),
    }
    aside = files_in(root / "raw" / SET_ASIDE_FOLDER / "03_c")
    assert {name: text for name, text in kept.items() if name not in notes} | aside == wanted
    (item,) = read_registry(root).raw
    assert item.output.version is not None
    assert item.output.version.nfiles == len(kept)
    assert read_status(lineage_of(root)).raw[0].state == "tracked"
    assert run(root, "dvc", "status", "raw/03_c.dvc") == "Data and pipelines are up to date.\n"
    assert registry(root, "materialize").exit_code == 0
    assert not (root / "ran").exists()


def test_what_git_tracks_is_refused_before_anything_moves(text_registry: Path) -> None:
    root = text_registry
    sent = {"1.txt": "1\n", "dvc.yaml": "stages: {}\n", ".dvcignore": "*\n"}
    write_tree(root / "raw/03_c", sent)
    run(root, "git", "add", "raw/03_c/1.txt")
    submodule = root / "raw/04_d"
    write_tree(submodule, sent)
    run(submodule, "git", "init", "--quiet")
    commit_all(submodule)
    run(root, "git", "add", "raw/04_d")
    before = sorted((root / "raw").rglob("*"))
    for name in ("03_c", "04_d"):
        done = registry(root, "add", name)
        assert done.exit_code == 1
        assert f"git rm -r --cached 'raw/{name}'" in done.output
    assert sorted((root / "raw").rglob("*")) == before


def test_what_is_meant_to_declare_there_is_named_and_not_read(bare: Path) -> None:
    command = COMMAND.format(root=bare)
    write_tree(
        bare,
        {
            "raw/dvc.yaml": command,
            "raw/good.dvc": POINTER.replace("one", "good"),
            "raw/2021/dvc.yaml": command,
            "raw/2021/one.dvc": POINTER,
        },
    )
    commit_all(bare)
    found = read_registry(bare)
    assert [item.name for item in found.raw] == ["good"]
    assert found.stages == ()
    told = dict(problem.split(": not read: ") for problem in found.problems)
    assert told.keys() == {"raw/dvc.yaml", "raw/2021/dvc.yaml", "raw/2021/one.dvc"}
    assert all("change `families`" in why for why in told.values())
    write_tree(bare, {"pyproject.toml": "[tool.registry_assets]\nfamilies = []\n"})
    assert read_registry(bare).problems == ()
    assert len(read_registry(bare).stages) == 2


@pytest.mark.parametrize(
    ("ignore_file", "pattern", "left_out"),
    [
        (".dvcignore", "*.raw", "deep/two.raw"),
        ("raw/.dvcignore", "deep/", "deep/"),
        (".dvcignore", "/raw/03_c/one.txt", "one.txt"),
        (".dvcignore", "/raw/03_c/", "03_c"),
    ],
)
def test_what_ignore_files_leave_out_is_named_and_nothing_recorded(
    text_registry: Path, ignore_file: str, pattern: str, left_out: str
) -> None:
    root = text_registry
    write_tree(root, {ignore_file: f"{pattern}\n"})
    write_tree(root / "raw/03_c", {"one.txt": "1\n", "deep/two.raw": "2\n", "empty/.keep": ""})
    (root / "raw/03_c/empty/.keep").unlink()
    before = files_in(root / "raw/03_c")
    told = {item.collection: item for item in read_status(lineage_of(root)).raw}["03_c"]
    assert told.state == "rejected"
    for said in (f"{told.path}: {told.reason}", registry(root, "add", "03_c").stderr):
        assert left_out in said
        assert f"{ignore_file}:1:{pattern}" in said
    assert registry(root, "add", "03_c").exit_code == 1
    assert not (root / "raw/03_c.dvc").exists()
    assert files_in(root / "raw/03_c") == before
