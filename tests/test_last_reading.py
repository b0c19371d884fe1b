"""What is remembered of a registry is what reading it again would give."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from registry_assets.dvc_repo import DvcRepo
from registry_assets.fingerprint import read_clock
from registry_assets.registry.kept_answers import KEPT_FOLDER
from registry_assets.registry.last_reading import keep, recall
from registry_assets.registry.reading import _read_all
from tests.conftest import run, write_tree
from tests.edits import DATASET, EDITS
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
    return _read_all(DvcRepo(root))


def remember(root: Path) -> None:
    began = read_clock(root / KEPT_FOLDER)
    keep(_read_all(DvcRepo(root)), began)


def test_it_is_the_same_after_any_edit(finished_registry: Path, tmp_path: Path) -> None:
    noticed = set()
    for number, (name, edit) in enumerate(METAFILE_EDITS.items()):
        root = copy_repository(finished_registry, tmp_path / str(number))
        remember(root)
        before = recall(root)
        assert before is not None
        assert before == read(root), name
        edit(root)
        found = recall(root)
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
    assert recall(root) is None


def test_a_damaged_file_is_no_obstacle(finished_registry: Path, tmp_path: Path) -> None:
    root = copy_repository(finished_registry, tmp_path / "registry")
    remember(root)
    kept = root / ".dvc/tmp/registry_assets/registry.json"
    kept.write_bytes(kept.read_bytes()[:1000])
    assert recall(root) is None
    kept.write_text('[{"stamp": 1}, {}]', encoding="utf-8")
    assert recall(root) is None


def test_a_copy_of_a_registry_is_not_taken_for_the_original(
    finished_registry: Path, tmp_path: Path
) -> None:
    original = copy_repository(finished_registry, tmp_path / "original")
    remember(original)
    kept = recall(original)
    assert kept is not None
    assert kept.root == original
    run(tmp_path, "cp", "-a", "original", "copy")
    assert recall(tmp_path / "copy") is None
