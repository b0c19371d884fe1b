"""Edits of every kind, to a registry as `finished_registry` is one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from registry_assets.dvc_repo import DvcRepo
from registry_assets.model import Registry
from registry_assets.registry.last_reading import recall
from registry_assets.registry.reading import _read
from registry_assets.registry.rereading import read_changes
from registry_assets.registry.status.last_status import observe
from registry_assets.registry.status.reading import read_status
from registry_assets.registry.status.values import RegistryStatus
from tests.conftest import lineage_of, run, write_tree

DATASET = "processed/texts"


def overwrite_with_old_times(path: Path) -> None:
    before = path.stat()
    path.chmod(0o644)
    content = path.read_bytes()
    path.write_bytes(content[::-1])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace_by_a_copy(path: Path) -> None:
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)


def replace_in(root: Path, path: str, before: str, after: str) -> None:
    """Replaces a part of a file, which has it."""
    text = (root / path).read_text()
    assert before in text
    write_tree(root, {path: text.replace(before, after)})


EDITS: dict[str, Callable[[Path], object]] = {
    "data of the same size and time": lambda root: overwrite_with_old_times(
        root / "raw/01_a/one.txt"
    ),
    "a file more": lambda root: write_tree(root, {"raw/01_a/two.txt": "2\n"}),
    "a file less": lambda root: (root / "raw/01_a/one.txt").unlink(),
    "a new folder": lambda root: write_tree(root, {"raw/02_b/one.txt": "1\n"}),
    "an empty folder": lambda root: (root / "raw/03_c").mkdir(),
    "code": lambda root: write_tree(root, {f"{DATASET}/upper.py": "pass\n"}),
    "a parameter": lambda root: write_tree(root, {f"{DATASET}/params.yaml": "suffix: 2\n"}),
    "a metafile": lambda root: (root / "raw/01_a.dvc").unlink(),
    "the lock file": lambda root: (root / f"{DATASET}/dvc.lock").unlink(),
    "a setting of dvc": lambda root: write_tree(root, {".dvc/config.local": "[core]\n"}),
    "a setting of git": lambda root: run(root, "git", "config", "core.quotePath", "false"),
    "what git ignores": lambda root: write_tree(root, {".git/info/exclude": "*.txt\n"}),
    "what dvc ignores": lambda root: write_tree(root, {".dvcignore": "one.txt\n"}),
    "a copy of the same content": lambda root: replace_by_a_copy(root / "raw/01_a/one.txt"),
    "a pipeline more": lambda root: write_tree(
        root, {"other/dvc.yaml": "stages:\n  a:\n    cmd: echo\n"}
    ),
}


def unchanged(root: Path) -> Registry | None:
    """The last registry read, if nothing was written since."""
    last = recall(root)
    return None if last is None or last.changed else last.registry


def is_read_alone(root: Path) -> bool:
    """Whether what changed since the last reading is read alone; if so, as reading all gives it."""
    last = recall(root)
    if last is None:
        return False
    changes = read_changes(DvcRepo(root), last)
    if changes is None:
        return False
    assert _read(DvcRepo(root), changes) == _read(DvcRepo(root)), sorted(last.changed)
    return True


def ask(root: Path) -> RegistryStatus:
    """Looks, reads and keeps the status, as the command does."""
    now = observe(root)
    assert now is not None
    lineage, dvc = lineage_of(root), DvcRepo(root)
    with dvc.session():
        status = read_status(lineage, dvc, now.known)
        now.keep(lineage.registry, status, dvc)
    return status
