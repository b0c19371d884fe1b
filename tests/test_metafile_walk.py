"""Whoever only asks whether metafiles changed looks where reading them does, and nowhere else."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from registry_assets.dvc_repo import DvcRepo
from registry_assets.fingerprint import read_clock
from registry_assets.git_repo import AskIgnored, GitRepo
from registry_assets.orchestration.sensors.metafile_stamps import read_stamps
from registry_assets.registry import last_reading
from registry_assets.registry.kept_answers import KEPT_FOLDER
from registry_assets.registry.metafile_walk import Found, IgnoreRule, Kind, RepeatedWalk
from registry_assets.registry.reading import read_registry
from registry_assets.registry.status.last_status import observe
from registry_assets.registry.status.reading import read_status
from tests.conftest import lineage_of, run, write_tree
from tests.edits import DATASET, unchanged
from tests.persisting.helpers import copy_repository

SETTLED = 0.05
PIPELINE = "stages:\n  a:\n    cmd: echo\n"

SEEN = {
    "a folder": "notes",
    "a folder in a data set": f"{DATASET}/more",
    "a hidden folder": ".hidden",
}
NOT_SEEN = {
    "ignored by Git": "ignored_by_git",
    "ignored by DVC": "ignored_by_dvc",
    "ignored deeper": "notes/ignored_deeper",
    "a virtual environment": "venv",
    "a virtual environment that Git ignores": "venv_of_git",
    "a repository of its own": "repository",
}


@pytest.fixture
def root(finished_registry: Path, tmp_path: Path) -> Path:
    """A registry with a folder of every kind."""
    root = copy_repository(finished_registry, tmp_path / "registry")
    write_tree(root, {f"{folder}/x.txt": "x\n" for folder in (*SEEN.values(), *NOT_SEEN.values())})
    write_tree(root, {"venv/.gitignore": "*\n", "notes/.gitignore": "/ignored_deeper\n"})
    run(root / "repository", "dvc", "init", "--quiet", "--subdir")
    for name, line in (
        (".gitignore", "/ignored_by_git/\n/venv_of_git/\n"),
        (".dvcignore", "/ignored_by_dvc/\n"),
    ):
        with (root / name).open("a") as file:
            file.write(line)
    return root


class Watchers:
    """The three that want to know whether a metafile changed."""

    def __init__(self, root: Path) -> None:
        time.sleep(2 * SETTLED)
        self._root = root
        self._walk = RepeatedWalk(root, settled_seconds=SETTLED)
        self._registry = read_registry(root)
        self._stamps = read_stamps(self._registry, self._walk)
        last_reading.keep(self._registry, read_clock(root / KEPT_FOLDER))
        now = observe(root)
        assert now is not None
        lineage = lineage_of(root)
        now.keep(lineage.registry, read_status(lineage), DvcRepo(root))

    def find_woken(self) -> set[str]:
        """Those that have noticed a change."""
        time.sleep(2 * SETTLED)
        now = observe(self._root)
        assert now is not None
        woken = {
            "last reading": unchanged(self._root) is None,
            "last status": now.status is None,
            "sensor": read_stamps(self._registry, self._walk) != self._stamps,
        }
        return {name for name, is_woken in woken.items() if is_woken}


ALL = {"last reading", "last status", "sensor"}


@pytest.mark.parametrize("folder", SEEN.values(), ids=SEEN.keys())
def test_a_pipeline_where_reading_looks_wakes_all(folder: str, root: Path) -> None:
    watchers = Watchers(root)
    before = len(read_registry(root).stages)
    assert watchers.find_woken() == set()
    write_tree(root, {f"{folder}/dvc.yaml": PIPELINE})
    assert watchers.find_woken() == ALL
    assert len(read_registry(root).stages) == before + 1


def test_a_pipeline_where_reading_does_not_look_wakes_none(root: Path) -> None:
    watchers = Watchers(root)
    before = read_registry(root)
    write_tree(root, {"venv/lib/deep/dvc.yaml": PIPELINE})
    for folder in NOT_SEEN.values():
        if folder != "repository":
            write_tree(root, {f"{folder}/dvc.yaml": PIPELINE, f"{folder}/y.dvc": "outs: []\n"})
    assert watchers.find_woken() == set()
    # These are data: whether they are what was registered is for the status to say.
    write_tree(root, {"raw/01_a/dvc.yaml": PIPELINE, "repository/dvc.yaml": PIPELINE})
    write_tree(root, {f"{kept_output(root)}/dvc.yaml": PIPELINE})
    assert watchers.find_woken() == {"last status"}
    assert unchanged(root) == before
    assert [s.address for s in read_registry(root).stages] == [s.address for s in before.stages]


def test_what_is_behind_a_link_wakes_neither_sensor_nor_reading(root: Path) -> None:
    write_tree(root.parent / "outside", {"x.txt": "x\n"})
    (root / "linked").symlink_to(root.parent / "outside")
    watchers = Watchers(root)
    before = read_registry(root)
    write_tree(root, {"linked/dvc.yaml": PIPELINE})
    # What is behind a link may change untold, so that a status is not kept at all.
    assert watchers.find_woken() == {"last status"}
    assert [s.address for s in read_registry(root).stages] == [s.address for s in before.stages]


def kept_output(root: Path) -> str:
    outputs = read_registry(root).outputs.items()
    return next(p for p, output in outputs if output.is_cached and (root / p).is_dir())


@pytest.mark.parametrize(
    ("file", "folder"),
    [
        (".gitignore", "ignored_by_git"),
        (".dvcignore", "ignored_by_dvc"),
        ("notes/.gitignore", "notes/ignored_deeper"),
        ("venv/.gitignore", "venv"),
        (".git/info/exclude", "ignored_here"),
    ],
)
def test_what_is_no_longer_ignored_is_looked_into(file: str, folder: str, root: Path) -> None:
    write_tree(root, {f"{folder}/dvc.yaml": PIPELINE, ".git/info/exclude": "/ignored_here/\n"})
    watchers = Watchers(root)
    assert watchers.find_woken() == set()
    (root / file).write_text("")
    assert watchers.find_woken() >= {"last reading", "sensor"}
    assert any(stage.address.startswith(f"{folder}/") for stage in read_registry(root).stages)


def test_repeating_a_walk_asks_about_new_folders_only(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    original, original_of_dvc = GitRepo.asking_ignored, DvcRepo.ignore_rule

    @contextmanager
    def ask_git(self: GitRepo) -> Iterator[AskIgnored]:
        with original(self) as ignored:

            def ask(paths: Sequence[str]) -> frozenset[str] | None:
                asked.extend(paths)
                return ignored(paths)

            yield ask

    def ask_dvc(self: DvcRepo) -> Callable[[str], bool]:
        is_ignored = original_of_dvc(self)

        def ask(folder: str) -> bool:
            asked.append(folder)
            return is_ignored(folder)

        return ask

    registry = read_registry(root)
    time.sleep(2 * SETTLED)
    walk = RepeatedWalk(root, settled_seconds=SETTLED)
    before = walk(registry)
    monkeypatch.setattr(GitRepo, "asking_ignored", ask_git)
    monkeypatch.setattr(DvcRepo, "ignore_rule", ask_dvc)
    assert walk(registry) == before
    assert asked == []
    write_tree(root, {"notes/new/dvc.yaml": PIPELINE})
    assert Found("notes/new/dvc.yaml", Kind.METAFILE) in walk(registry)
    assert asked == ["notes/new/", "notes/new"]


def test_a_virtual_environment_is_not_walked(root: Path) -> None:
    found = IgnoreRule(root).walk(read_registry(root))
    assert {path for path, _ in found if path.startswith("venv")} == {
        "venv/.gitignore",
        "venv_of_git/.gitignore",
    }


def test_a_reading_is_not_kept_where_a_folder_cannot_be_listed(root: Path) -> None:
    registry = read_registry(root)
    time.sleep(2 * SETTLED)
    last_reading.keep(registry, read_clock(root / KEPT_FOLDER))
    assert unchanged(root) == registry
    # Permissions do not stop root; the length of a path does.
    folder = os.open(root / "notes", os.O_DIRECTORY)
    for _ in range(20):
        os.mkdir("n" * 250, dir_fd=folder)
        above, folder = folder, os.open("n" * 250, os.O_DIRECTORY, dir_fd=folder)
        os.close(above)
    os.close(folder)
    assert unchanged(root) is None
    (root / ".dvc/tmp/registry_assets/registry.json").unlink()
    last_reading.keep(registry, read_clock(root / KEPT_FOLDER))
    assert not (root / ".dvc/tmp/registry_assets/registry.json").exists()
    assert any(kind is Kind.UNLISTED for _, kind in IgnoreRule(root).walk(registry))
