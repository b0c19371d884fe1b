"""What is remembered of a registry is what reading it again would give."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from registry_assets.dvc_repo import DvcRepo
from registry_assets.fingerprint import read_clock
from registry_assets.registry.kept_answers import KEPT_FOLDER
from registry_assets.registry.last_reading import keep
from registry_assets.registry.reading import _read
from tests.conftest import run, write_tree
from tests.edits import DATASET, EDITS, is_read_alone, replace_in, unchanged
from tests.persisting.helpers import copy_repository

METAFILE_EDITS: dict[str, Callable[[Path], object]] = {
    **EDITS,
    "a pointer in a folder that is new": lambda root: write_tree(
        root, {"elsewhere/deep/x.dvc": "outs:\n- path: x\n"}
    ),
    "a folder that git ignores": lambda root: write_tree(
        root, {"raw/.gitignore": "/01_a\n/02_b\n"}
    ),
    "the settings": lambda root: write_tree(
        root, {"pyproject.toml": '[tool.registry_assets]\nfamilies = ["other/*"]\n'}
    ),
    "a folder of collections": lambda root: (root / "processed/new/data/inputs").mkdir(
        parents=True
    ),
    "a remote": lambda root: run(root, "git", "remote", "add", "origin", "../elsewhere"),
    "a list of collections": lambda root: write_tree(
        root, {f"{DATASET}/collections.yaml": 'collections:\n  - "01_a"\n  - "02_b"\n'}
    ),
    "the parameters of a pipeline": lambda root: write_tree(
        root, {f"{DATASET}/params.yaml": "suffix: 3\nother: 1\n"}
    ),
}


def read(root: Path) -> object:
    return _read(DvcRepo(root))


def remember(root: Path) -> None:
    began = read_clock(root / KEPT_FOLDER)
    keep(_read(DvcRepo(root)), began)


def test_it_is_the_same_after_any_edit(finished_registry: Path, tmp_path: Path) -> None:
    noticed = set()
    for number, (name, edit) in enumerate(METAFILE_EDITS.items()):
        root = copy_repository(finished_registry, tmp_path / str(number))
        remember(root)
        before = unchanged(root)
        assert before is not None
        assert before == read(root), name
        edit(root)
        is_read_alone(root)
        found = unchanged(root)
        if found is None:
            noticed.add(name)
        else:
            assert found == read(root), name
    # Data is not looked at, so that a new folder does not cost a reading.
    assert {"a metafile", "the lock file", "a parameter", "a pipeline more"} <= noticed
    assert noticed.isdisjoint({"a file more", "a file less", "a new folder", "code"})


@pytest.mark.parametrize(
    "files",
    [
        {"bad.dvc": "outs: 1\n"},
        {f"{DATASET}/params.yaml": "suffix: 2020-01-01\n"},
    ],
    ids=["a problem", "a date"],
)
def test_what_cannot_be_kept_as_it_is_is_read_again(
    files: dict[str, str],
    finished_registry: Path,
    tmp_path: Path,
) -> None:
    root = copy_repository(finished_registry, tmp_path / "registry")
    write_tree(root, files)
    remember(root)
    assert unchanged(root) is None


def test_a_damaged_file_is_no_obstacle(finished_registry: Path, tmp_path: Path) -> None:
    root = copy_repository(finished_registry, tmp_path / "registry")
    remember(root)
    kept = root / ".dvc/tmp/registry_assets/registry.json"
    kept.write_bytes(kept.read_bytes()[:1000])
    assert unchanged(root) is None
    kept.write_text('[{"stamp": 1}, {}]', encoding="utf-8")
    assert unchanged(root) is None


def test_a_copy_of_a_registry_is_not_taken_for_the_original(
    finished_registry: Path, tmp_path: Path
) -> None:
    original = copy_repository(finished_registry, tmp_path / "original")
    remember(original)
    kept = unchanged(original)
    assert kept is not None
    assert kept.root == original
    run(tmp_path, "cp", "-a", "original", "copy")
    assert unchanged(tmp_path / "copy") is None


def dvc(root: Path, *words: str) -> None:
    run(root, "dvc", *words, "--quiet")


def shoot(root: Path, name: str) -> None:
    write_tree(root, {f"raw/{name}/one.txt": f"{name}\n"})
    dvc(root, "add", f"raw/{name}")


def take_in(root: Path, name: str) -> None:
    shoot(root, name)
    inputs = f"{DATASET}/data/inputs"
    run(root, "dvc", "import-url", "--quiet", f"raw/{name}", f"{inputs}/{name}")
    add_line(root, f"{DATASET}/collections.yaml", f'  - "{name}"')


def add_line(root: Path, path: str, line: str) -> None:
    text = (root / path).read_text() if (root / path).exists() else ""
    write_tree(root, {path: f"{text}{line}\n"})


EVERYDAY: dict[str, Callable[[Path], object]] = {
    "a collection more": lambda root: shoot(root, "09_z"),
    "another version of a collection": lambda root: shoot(root, "01_a"),
    "a collection is taken in": lambda root: take_in(root, "09_z"),
    "it is taken in and made": lambda root: (take_in(root, "09_z"), dvc(root, "repro", "-R", ".")),
    "what is made of a collection": lambda root: (
        add_line(root, f"{DATASET}/upper.py", "# changed"),
        dvc(root, "repro", "-R", "."),
    ),
    "a collection of two less": lambda root: (root / "raw/02_b.dvc").unlink(),
    "an entry less": lambda root: replace_in(
        root, f"{DATASET}/dvc.lock", "  upper@01_a:", "  gone:"
    ),
    "nothing that counts": lambda root: add_line(root, "raw/.gitignore", "/01_a"),
}


ODD: dict[str, Callable[[Path], object]] = {
    "a metafile that git ignores": lambda root: (
        add_line(root, ".git/info/exclude", "09_z.dvc"),
        shoot(root, "08_y"),
    ),
    "a pattern of git": lambda root: add_line(root, "raw/.gitignore", "*.dvc"),
    "a pattern of git for folders": lambda root: add_line(root, "processed/.gitignore", "/texts"),
    "an output elsewhere": lambda root: replace_in(root, "raw/01_a.dvc", "path: 01_a", "path: 1"),
    "two outputs": lambda root: add_line(root, "raw/01_a.dvc", "- path: other"),
    "a folder to work in": lambda root: add_line(root, "raw/01_a.dvc", "wdir: .."),
    "a command": lambda root: add_line(root, "raw/01_a.dvc", "cmd: echo"),
    "no YAML": lambda root: write_tree(root, {"raw/01_a.dvc": "outs: ["}),
    "a conflict": lambda root: add_line(root, "raw/01_a.dvc", "<<<<<<< HEAD"),
    "an entry that is none": lambda root: replace_in(
        root, f"{DATASET}/dvc.lock", "    cmd:", "    command:"
    ),
    "a lock that is none": lambda root: write_tree(root, {f"{DATASET}/dvc.lock": "stages: 1\n"}),
    "an empty lock": lambda root: write_tree(root, {f"{DATASET}/dvc.lock": ""}),
    "a lock without entries": lambda root: write_tree(
        root, {f"{DATASET}/dvc.lock": "schema: '2.0'\nstages: {}\n"}
    ),
    "a lock with something else": lambda root: add_line(
        root, f"{DATASET}/dvc.lock", "datasets: []"
    ),
    "an empty metafile": lambda root: write_tree(root, {"raw/01_a.dvc": ""}),
    "a metafile of the same size": lambda root: write_tree(
        root, {"raw/01_a.dvc": "#" * (root / "raw/01_a.dvc").stat().st_size}
    ),
    "a list of numbers": lambda root: add_line(root, f"{DATASET}/collections.yaml", "  - 1"),
    "a list with a key more": lambda root: add_line(root, f"{DATASET}/collections.yaml", "n: 1"),
    "a name twice": lambda root: add_line(root, f"{DATASET}/collections.yaml", '  - "01_a"'),
    "a list that is gone": lambda root: (root / f"{DATASET}/collections.yaml").unlink(),
    "an empty list": lambda root: write_tree(
        root, {f"{DATASET}/collections.yaml": "collections:\n"}
    ),
    "an output that is in the way": lambda root: (
        write_tree(root, {f"{DATASET}/data/upper.dvc": "outs:\n- path: upper\n"}),
        add_line(root, f"{DATASET}/collections.yaml", '  - "09_z"'),
    ),
    "an import from elsewhere": lambda root: replace_in(
        root, f"{DATASET}/data/inputs/01_a.dvc", "../../../../raw/01_a", "/elsewhere/01_a"
    ),
    "a link in place of a metafile": lambda root: (
        (root / "raw/01_a.dvc").rename(root / "01_a.dvc"),
        (root / "raw/01_a.dvc").symlink_to("../01_a.dvc"),
    ),
    "a link in place of a folder": lambda root: (
        (root / f"{DATASET}/data").rename(root / "data"),
        (root / f"{DATASET}/data").symlink_to("../../data"),
    ),
}


@pytest.fixture(scope="module")
def two_collections(finished_registry: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`finished_registry` with a second collection, as read last."""
    root = copy_repository(finished_registry, tmp_path_factory.mktemp("two") / "registry")
    take_in(root, "02_b")
    dvc(root, "repro", "-R", ".")
    return root


@pytest.mark.parametrize("name", EVERYDAY)
def test_changes_of_every_day_are_read_alone(
    name: str, two_collections: Path, tmp_path: Path
) -> None:
    root = copy_repository(two_collections, tmp_path / "registry")
    remember(root)
    EVERYDAY[name](root)
    assert is_read_alone(root)


@pytest.mark.parametrize("name", ODD)
def test_with_any_other_change_all_is_read(
    name: str, two_collections: Path, tmp_path: Path
) -> None:
    root = copy_repository(two_collections, tmp_path / "registry")
    remember(root)
    ODD[name](root)
    is_read_alone(root)
    # Together with a change that is read alone, too.
    text = (two_collections / "raw/02_b.dvc").read_text()
    write_tree(root, {"raw/07_x.dvc": text.replace("02_b", "07_x")})
    is_read_alone(root)


def test_an_item_may_have_a_colon(two_collections: Path, tmp_path: Path) -> None:
    root = copy_repository(two_collections, tmp_path / "registry")
    out = "      outs:\n      - ${item}.txt\n"
    text = 'stages:\n  colon:\n    foreach: ["a:b", "b"]\n    do:\n      cmd: date > ${item}.txt\n'
    write_tree(root, {"other/dvc.yaml": text + out})
    dvc(root, "repro", "other/dvc.yaml")
    remember(root)
    dvc(root, "repro", "--force", "other/dvc.yaml:colon@a:b")
    assert is_read_alone(root)


def test_a_list_that_another_pipeline_reads_is_not_read_alone(
    two_collections: Path, tmp_path: Path
) -> None:
    root = copy_repository(two_collections, tmp_path / "registry")
    text = "stages:\n  other:\n    wdir: texts\n    vars:\n    - collections.yaml\n"
    write_tree(root, {"processed/dvc.yaml": f"{text}    cmd: echo ${{collections[0]}}\n"})
    remember(root)
    take_in(root, "09_z")
    assert not is_read_alone(root)


LISTS = {
    "by foreach": ("collections.yaml", "    foreach: ${collections}", "x"),
    "in a command": ("collections.yaml", "    foreach: ${collections}", "${collections[0]}"),
    "in a matrix": ("collections.yaml", "    matrix:\n      item: ${collections}", "x"),
    "as a file": ("collections.yaml", "    foreach: ${collections}", "$(cat collections.yaml)"),
}


@pytest.mark.parametrize("name", LISTS)
def test_a_list_is_read_alone_where_it_decides_on_the_stages_only(
    name: str, two_collections: Path, tmp_path: Path
) -> None:
    variables, loop, word = LISTS[name]
    root = copy_repository(two_collections, tmp_path / "registry")
    item = "${item.item}" if "matrix" in loop else "${item}"
    reads = "      deps:\n      - collections.yaml\n" if name == "as a file" else ""
    write_tree(
        root,
        {
            f"{DATASET}/dvc.yaml": f"vars:\n- {variables}\nstages:\n  upper:\n{loop}\n"
            + ("    do:\n" if "foreach" in loop else "")
            + f"      cmd: echo {word}\n{reads}      outs:\n      - data/upper/{item}\n"
            if "foreach" in loop
            else f"vars:\n- {variables}\nstages:\n  upper:\n{loop}\n    cmd: echo {word}\n"
            f"    outs:\n    - data/upper/{item}\n"
        },
    )
    remember(root)
    take_in(root, "09_z")
    assert is_read_alone(root) == (name == "by foreach")
