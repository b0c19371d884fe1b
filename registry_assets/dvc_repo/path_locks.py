"""DVC's ``rwlock``, which says which processes read and write which paths.

DVC writes the file in place, so that a process killed meanwhile leaves half of it, which stops all
others; and it removes entries of killed processes only when they are in the way. Here the file is
replaced in one rename, and read without what killed processes left. DVC locks it around both.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from io import StringIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypedDict

import psutil
from dvc.rwlock import rwlock

from registry_assets.dvc_repo.processes import name_of_mine, running
from registry_assets.writing import sync_file

if TYPE_CHECKING:
    from dvc.repo import Repo


class _Holder(TypedDict):
    pid: int
    cmd: str


class _Holders(TypedDict):
    """The content of the file: who writes each path, and who reads it."""

    write: dict[str, _Holder]
    read: dict[str, list[_Holder]]


_CLOCK_SECONDS = 2.0

# What this process holds, by file: it stays held where the file was damaged meanwhile.
_mine: dict[Path, _Holders] = {}


def hold_paths(
    repo: Repo, read: Sequence[str], write: Sequence[str]
) -> AbstractContextManager[None]:
    """DVC's lock on absolute paths that this process is about to read and write."""
    # The same command line as DVC records, so that a nested lock counts as its own.
    lock: AbstractContextManager[None] = rwlock(
        repo.tmp_dir,
        _Files(),
        " ".join(sys.argv),
        list(read),
        list(write),
        repo.config["core"].get("hardlink_lock", False),
    )
    return lock


class _Files:
    """What DVC uses of a file system for this file."""

    def join(self, folder: str, name: str) -> str:
        return str(Path(folder) / name)

    @contextmanager
    def open(self, path: str, mode: str = "r", *, encoding: str) -> Iterator[IO[str]]:
        if mode == "r":
            yield StringIO(json.dumps(_read(Path(path))))
        else:
            text = StringIO()
            yield text
            _write(Path(path), text.getvalue())


def _read(path: Path) -> _Holders:
    """The entries of living processes; of a damaged file, only those of this process."""
    try:
        written = path.stat().st_mtime
        data = json.loads(path.read_text(encoding="utf-8"))
        found = _choose(data, lambda holder: _may_hold(holder, written))
    except (FileNotFoundError, ValueError, AttributeError, KeyError, TypeError):
        found = _Holders(write={}, read={})
    mine = _choose(_mine.get(path, {}), _is_mine)
    found["write"].update(mine["write"])
    for name, holders in mine["read"].items():
        others = found["read"].setdefault(name, [])
        others.extend(holder for holder in holders if holder not in others)
    return found


def _is_mine(holder: _Holder) -> bool:
    return holder["pid"] == os.getpid()


def _may_hold(holder: _Holder, written: float) -> bool:
    """Whether the process of an entry runs, and not another one that got its PID later.

    That one started after the file was written, and with another command: each alone says too
    little, as the clock may be set, and the command line of a fork is that of its parent.
    """
    try:
        process = running(holder["pid"])
        if process.create_time() < written + _CLOCK_SECONDS:
            return True
        return str(holder["cmd"]) in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


def _choose(data: Any, is_chosen: Callable[[_Holder], bool]) -> _Holders:
    """The entries of some processes."""
    write = {name: by for name, by in data.get("write", {}).items() if is_chosen(by)}
    read = {
        name: holders
        for name, all_holders in data.get("read", {}).items()
        if (holders := [by for by in all_holders if is_chosen(by)])
    }
    return _Holders(write=write, read=read)


def _write(path: Path, text: str) -> None:
    """Replaces the file, synced: one that a power cut empties stops every `dvc` command."""
    _mine[path] = _choose(json.loads(text), _is_mine)
    temporary = path.parent / "registry" / f"{name_of_mine()}.tmp"
    temporary.parent.mkdir(exist_ok=True)
    temporary.write_text(text, encoding="utf-8")
    sync_file(temporary)
    temporary.replace(path)
