"""Previous outputs, kept beside until the new ones are recorded, and found again after a crash.

A folder under ``.dvc/tmp/registry`` holds what was set aside and a journal that says whose it is.
The journal is written before anything moves and removed last, so that whoever comes next can put
things back when the process that wrote it is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from registry_assets.dvc_repo.data import read_listing

if TYPE_CHECKING:
    from dvc.repo import Repo

    from registry_assets.dvc_repo.repository import DvcRepo, Report

_JOURNAL = "journal.json"
_SAME_START_SECONDS = 0.01


@dataclass
class _Process:
    """A process that can be told from a later one with the same number."""

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> _Process:
        return cls(pid, psutil.Process(pid).create_time())

    @property
    def is_alive(self) -> bool:
        try:
            process = psutil.Process(self.pid)
            return (
                abs(process.create_time() - self.started) < _SAME_START_SECONDS
                and process.status() != psutil.STATUS_ZOMBIE
            )
        except psutil.NoSuchProcess:
            return False


@dataclass
class _Journal:
    """What was set aside, by whom, and what the metafile said then.

    Attributes:
        kept: Paths from the root, by their name in the folder.
        absent: Paths from the root where there was nothing.
        recorded: The md5 that the metafile named for each path.
        linking: A version that is being linked into a path that holds people's own files.
        command: The process group of the stage's command.
    """

    owner: _Process
    address: str
    kept: dict[str, str] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    recorded: dict[str, str | None] = field(default_factory=dict)
    linking: dict[str, str] = field(default_factory=dict)
    command: _Process | None = None

    @classmethod
    def read(cls, path: Path) -> _Journal:
        data = json.loads(path.read_text(encoding="utf-8"))
        command = data.pop("command")
        return cls(
            owner=_Process(**data.pop("owner")),
            command=_Process(**command) if command else None,
            **data,
        )


class SetAside:
    """The previous outputs of one stage, out of the way.

    Args:
        dvc: The repository.
        address: The stage or ``.dvc`` file.
        recorded: The md5 that the metafile names for each path now.
    """

    def __init__(self, dvc: DvcRepo, address: str, recorded: Mapping[str, str | None]) -> None:
        self._dvc = dvc
        self._folder = _folder(dvc.root) / uuid.uuid4().hex
        self._journal = _Journal(_Process.of(os.getpid()), address, recorded=dict(recorded))

    def take(self, path: str, *, keep_in_place: bool = False) -> None:
        """Sets an output aside; with `keep_in_place` a copy of it, for outputs that persist."""
        here = self._dvc.path_of(path)
        if not os.path.lexists(here):
            self._journal.absent.append(path)
            self._write()
            return
        name = str(len(self._journal.kept))
        self._journal.kept[name] = path
        self._write()
        if not keep_in_place:
            shutil.move(here, self._folder / name)
        elif here.is_dir():
            shutil.copytree(here, self._folder / name, symlinks=True)
        else:
            shutil.copy2(here, self._folder / name)

    def note_command(self, pid: int) -> None:
        """Notes the process group that is writing, so that a crash does not leave it writing."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self._journal.command = _Process.of(pid)
            self._write()

    def note_linking(self, path: str, md5: str) -> None:
        """Notes that the files at a path are about to be replaced by links to a version."""
        self._journal.linking[path] = md5
        self._write()

    def put_back(self) -> None:
        """Puts everything back where it was."""
        _put_back(self._dvc.root, self._folder, self._journal)

    def drop(self) -> None:
        """Removes what was set aside: the new version is recorded."""
        _remove(self._folder)

    def _write(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = self._folder / f"{_JOURNAL}.tmp"
        temporary.write_text(json.dumps(asdict(self._journal)), encoding="utf-8")
        temporary.replace(self._folder / _JOURNAL)


def recover(dvc: DvcRepo, repo: Repo, report: Report) -> None:
    """Puts back what killed processes left behind; leaves living ones alone."""
    folders = list(_folder(dvc.root).glob("*/")) if _folder(dvc.root).is_dir() else []
    for folder in folders:
        try:
            journal = _Journal.read(folder / _JOURNAL)
        except FileNotFoundError:
            # Killed before the journal stood: nothing was moved yet. A living one is younger.
            if time.time() - folder.stat().st_mtime > 60:
                _remove(folder)
            continue
        if journal.owner.is_alive:
            continue
        # Two that come at once: one of them gets the folder.
        claimed = folder.with_name(f"{folder.name}.{os.getpid()}")
        try:
            folder.rename(claimed)
        except FileNotFoundError:
            continue
        _end_command(journal)
        for path, md5 in journal.linking.items():
            _link_missing(repo, dvc.path_of(path), md5)
        if _recorded_now(dvc, repo, journal) == journal.recorded:
            _put_back(dvc.root, claimed, journal)
            report(f"{journal.address} was interrupted: its previous version is back in its place")
        else:
            _remove(claimed)


def _end_command(journal: _Journal) -> None:
    """Ends a command whose parent was killed: it would go on writing to the outputs."""
    if journal.command and journal.command.is_alive:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(journal.command.pid, signal.SIGKILL)


def _recorded_now(dvc: DvcRepo, repo: Repo, journal: _Journal) -> dict[str, str | None]:
    from registry_assets.dvc_repo.data import path_in_repo, version_of
    from registry_assets.dvc_repo.repository import load_stages
    from registry_assets.errors import OutputNotFoundError

    try:
        (stage,) = load_stages(repo, dvc.root, [journal.address])
    except OutputNotFoundError:
        return dict.fromkeys(journal.recorded)
    versions = {path_in_repo(repo, out): version_of(out) for out in stage.outs}
    return {
        path: version.md5 if (version := versions.get(path)) else None for path in journal.recorded
    }


def _link_missing(repo: Repo, folder: Path, md5: str) -> None:
    """Links back the files of a version that were removed, and whose link did not follow."""
    listing = read_listing(repo, md5)
    if listing is None:
        return
    cache = repo.cache.local
    for name, file_md5 in listing.items():
        target = folder / name
        cached = Path(cache.oid_to_path(file_md5))
        if not os.path.lexists(target) and cached.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(cached, target)


def _put_back(root: Path, folder: Path, journal: _Journal) -> None:
    for path in journal.absent:
        _remove(root / path)
    for name, path in journal.kept.items():
        kept = folder / name
        if os.path.lexists(kept):
            _remove(root / path)
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.move(kept, root / path)
    _remove(folder)


def _folder(root: Path) -> Path:
    return root / ".dvc" / "tmp" / "registry"


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
