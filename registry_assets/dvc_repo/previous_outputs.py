"""Previous outputs, set aside until the new ones are recorded, and restored after a crash.

They are moved to a folder under ``.dvc/tmp/registry``, whose name tells the process that owns it
and whose journal tells the original paths. The journal is written before anything is moved, and
removed before the previous outputs, so that the next process can restore them after a crash.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from dvc.exceptions import DvcException

from registry_assets.dvc_repo.folders.links import TEMPORARY
from registry_assets.dvc_repo.loading import load_stages
from registry_assets.dvc_repo.opening import RepoAccess, Report
from registry_assets.dvc_repo.processes import Process, name_of_mine, owner_of
from registry_assets.dvc_repo.syncing import sync_copies
from registry_assets.dvc_repo.versions import listings_of, path_in_repo, version_of
from registry_assets.errors import OutputNotFoundError, RepositoryBusyError
from registry_assets.model import DVC_FOLDER, is_folder
from registry_assets.writing import replace_file, sync_disks

if TYPE_CHECKING:
    from dvc.repo import Repo


_JOURNAL = "journal.json"
_COMMAND = "command.json"


@dataclass
class _Journal:
    """The journal of what was set aside.

    Attributes:
        kept: Original paths from the root, by name in the folder.
        absent: Paths from the root where nothing existed.
        recorded: The md5 that the metafile recorded for each path.
        linking: The md5 of the version that is being linked into each path, over user files.
        command: The process group of the stage's command. It is kept in a file of its own: what is
            set aside has to be synced, and a command has to be noted as soon as it runs.
    """

    address: str
    kept: dict[str, str] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    recorded: dict[str, str | None] = field(default_factory=dict)
    linking: dict[str, str] = field(default_factory=dict)
    command: Process | None = None

    @classmethod
    def read(cls, folder: Path) -> _Journal | None:
        """Reads the journal of a folder; None if there is none.

        Raises:
            ValueError: when it is damaged, as after a power cut, or of another version.
        """
        try:
            data = json.loads((folder / _JOURNAL).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        try:
            # Before 0.3.0, the command stood here.
            command = data.pop("command", None)
            # It is not synced, as no command lives on after a power cut.
            with contextlib.suppress(FileNotFoundError, ValueError):
                command = json.loads((folder / _COMMAND).read_text(encoding="utf-8"))
            return cls(command=Process(**command) if command else None, **data)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"{_JOURNAL} has other fields") from error


class PreviousOutputs:
    """The previous outputs of a stage, set aside.

    Args:
        dvc: The repository.
        address: The stage or ``.dvc`` file.
        recorded: The md5 that the metafile records for each path.
    """

    def __init__(self, dvc: RepoAccess, address: str, recorded: Mapping[str, str | None]) -> None:
        self._dvc = dvc
        self._folder = _folder(dvc.root) / name_of_mine()
        self._journal = _Journal(address, recorded=dict(recorded))

    @property
    def has_any(self) -> bool:
        """Whether a previous version exists, in the workspace or only in the metafile."""
        return bool(self._journal.kept) or any(self._journal.recorded.values())

    def take(self, path: str, *, keep_in_place: bool = False) -> None:
        """Sets an output aside; with `keep_in_place`, for ``persist`` outputs, a copy stays.

        The command may write to the copy, while the original may be a link to the cache.
        """
        here = self._dvc.path_of(path)
        if not os.path.lexists(here):
            self._journal.absent.append(path)
            self._write()
            return
        kept = self._folder / str(len(self._journal.kept))
        self._journal.kept[kept.name] = path
        self._write()
        shutil.move(here, kept)
        if keep_in_place:
            _copy_writable(kept, here)

    def note_command(self, pid: int) -> None:
        """Notes the process group of the command, to kill it after a crash of this process."""
        with contextlib.suppress(psutil.NoSuchProcess):
            noted = json.dumps(asdict(Process.of(pid)))
            self._folder.mkdir(parents=True, exist_ok=True)
            temporary = self._folder / f"{_COMMAND}.tmp"
            temporary.write_text(noted, encoding="utf-8")
            temporary.replace(self._folder / _COMMAND)
            if not (self._folder / _JOURNAL).exists():
                self._write()

    @contextmanager
    def linking(self, repo: Repo, path: str, md5: str) -> Iterator[None]:
        """Context in which files at a path are replaced by links to a version.

        After an error or a crash, missing files are copied back: a partial collection would look
        like a new version.
        """
        self._journal.linking[path] = md5
        self._write()
        try:
            yield
        except BaseException:
            _link_missing(repo, self._dvc.path_of(path), md5)
            raise
        finally:
            sync_copies(repo)
            self.drop()

    def look_up(self, repo: Repo) -> None:
        """Updates the recorded versions from the metafile."""
        self._journal.recorded = _recorded_now(self._dvc, repo, self._journal)

    def make_room(self, name: str) -> Path:
        """Returns a path for new content of that name; `drop` and `put_back` remove it."""
        place = self._folder / "new" / name
        place.parent.mkdir(parents=True)
        return place

    def put_back(self) -> None:
        """Restores everything to its original path."""
        _put_back(self._dvc.root, self._folder, self._journal)

    def drop(self) -> None:
        """Removes what was set aside, once the new version is recorded."""
        _drop(self._folder)

    def _write(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = self._folder / f"{_JOURNAL}.tmp"
        journal = asdict(self._journal)
        del journal["command"]
        temporary.write_text(json.dumps(journal), encoding="utf-8")
        if self._journal.kept or self._journal.linking:
            replace_file(temporary, self._folder / _JOURNAL)
        else:
            # Nothing is set aside that could only be found by it.
            temporary.replace(self._folder / _JOURNAL)


@dataclass(frozen=True)
class Replacement:
    """New content of a path.

    Attributes:
        fresh: The temporary path to write it to, with the same file name.
        swap: Sets the old content aside and moves the new content to its path.
    """

    fresh: Path
    swap: Callable[[], None]


@contextmanager
def replacing(dvc: RepoAccess, repo: Repo, metafile: str, path: str) -> Iterator[Replacement]:
    """Replaces the content of a path; restores the old content if the block raises."""
    aside = PreviousOutputs(dvc, metafile, {path: None})
    aside.look_up(repo)
    fresh = aside.make_room(Path(path).name)

    def swap() -> None:
        aside.take(path)
        shutil.move(fresh, dvc.path_of(path))

    try:
        yield Replacement(fresh, swap)
    except BaseException:
        aside.put_back()
        raise
    aside.drop()


def recover(dvc: RepoAccess, repo: Repo, report: Report) -> None:
    """Restores previous outputs that killed processes have set aside."""
    folder = _folder(dvc.root)
    # In reverse order: a process may have started from what an earlier one had made.
    for left in sorted(folder.iterdir(), reverse=True) if folder.is_dir() else []:
        owner = owner_of(left.name)
        if owner is None or owner.is_alive:
            continue
        if left.is_dir():
            _recover(dvc, repo, left, report)
        else:
            left.unlink(missing_ok=True)


def _recover(dvc: RepoAccess, repo: Repo, folder: Path, report: Report) -> None:
    try:
        journal = _Journal.read(folder)
    except ValueError:
        notes = {_JOURNAL, f"{_JOURNAL}.tmp", _COMMAND, f"{_COMMAND}.tmp"}
        if {path.name for path in folder.iterdir()} <= notes:
            # Cut off by a power cut before anything was set aside.
            _drop(folder)
            return
        place = dvc.relative(folder)
        report(f"{place} may have outputs of an interrupted run: look, then remove the folder")
        return
    if journal is None:
        # Killed before the journal was written, or after it was removed.
        _drop(folder)
        return
    paths = [str(dvc.path_of(path)) for path in (*journal.recorded, *journal.linking)]
    try:
        with (
            dvc.holding(repo, read=[], write=paths, report=report, wait_seconds=0),
            dvc.write_lock(repo, report),
        ):
            # Again, now under the lock: another process may have recovered it.
            journal = _Journal.read(folder)
            if journal is None:
                return
            _end_command(journal)
            for path in journal.recorded:
                _sweep(dvc.path_of(path).parent)
            for path, md5 in journal.linking.items():
                _sweep(dvc.path_of(path).parent, dvc.path_of(path))
                _link_missing(repo, dvc.path_of(path), md5)
            if journal.linking:
                # `_link_missing` copies.
                sync_disks(dvc.root)
            if _recorded_now(dvc, repo, journal) == journal.recorded:
                _put_back(dvc.root, folder, journal)
                report(f"{journal.address} was interrupted: its previous outputs are restored")
            else:
                _drop(folder)
    except RepositoryBusyError:
        # The process that holds the lock recovers them itself.
        return
    except DvcException as error:
        report(f"outputs set aside in {folder.name} cannot be restored yet: {error}")


def _end_command(journal: _Journal) -> None:
    """Kills a command whose parent was killed: it would go on writing to the outputs."""
    if journal.command and journal.command.is_alive:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(journal.command.pid, signal.SIGKILL)


def _recorded_now(dvc: RepoAccess, repo: Repo, journal: _Journal) -> dict[str, str | None]:
    try:
        (stage,) = load_stages(repo, dvc.root, [journal.address])
    except OutputNotFoundError:
        return dict.fromkeys(journal.recorded)
    versions = {path_in_repo(repo, out): version_of(out) for out in stage.outs}
    return {
        path: version.md5 if (version := versions.get(path)) else None for path in journal.recorded
    }


def _link_missing(repo: Repo, place: Path, md5: str) -> None:
    """Copies missing files of a version from the cache."""
    listing = {"": md5} if not is_folder(md5) else listings_of(repo).read(md5) or {}
    for name, file_md5 in listing.items():
        target = place / name if name else place
        cached = Path(repo.cache.local.oid_to_path(file_md5))
        if not os.path.lexists(target) and cached.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            # Copied, then renamed, as this process may be killed, too.
            fresh = _folder(Path(repo.root_dir)) / f"{name_of_mine()}.tmp"
            shutil.copyfile(cached, fresh)
            shutil.move(fresh, target)


def _sweep(*folders: Path) -> None:
    """Removes temporary files that DVC left behind; call it under the repository lock."""
    beside, *inside = folders
    found = [*beside.iterdir()] if beside.is_dir() else []
    for folder in inside:
        found.extend(Path(place) / name for place, _, names in os.walk(folder) for name in names)
    for path in found:
        if TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _put_back(root: Path, folder: Path, journal: _Journal) -> None:
    for path in journal.absent:
        _remove(root / path)
    for name, path in journal.kept.items():
        kept = folder / name
        if os.path.lexists(kept):
            _remove(root / path)
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.move(kept, root / path)
    _drop(folder)


def _copy_writable(source: Path, target: Path) -> None:
    def copy(one: str, other: str) -> None:
        shutil.copy2(one, other)
        place = Path(other)
        place.chmod(place.stat().st_mode | stat.S_IWUSR)

    if source.is_dir():
        shutil.copytree(source, target, ignore_dangling_symlinks=True, copy_function=copy)
    else:
        copy(str(source), str(target))


def _folder(root: Path) -> Path:
    return root / DVC_FOLDER / "tmp" / "registry"


def _drop(folder: Path) -> None:
    """Removes a folder, its journal first: a partial folder must not be restored."""
    (folder / _JOURNAL).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
