"""The clones that use a cache: a register beside the objects, a small file for each clone.

What one clone needs stands in its metafiles, so that nobody may free anything in a cache of several
without looking into each. A clone writes itself down when it finds its cache outside of it. It is
taken out of the register only where it is certainly gone: a disk that is not mounted, or another
machine's clone, looks the same as one that was deleted.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import platform
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from registry_assets.errors import RegistryError, RepositoryBusyError, UnusableError
from registry_assets.model import DVC_FOLDER

FOLDER = "registry_clones"
"""The register, in the folder that DVC calls the cache directory."""

_LOCK = "lock"
_SUFFIX = ".json"
_OWN = f"{DVC_FOLDER}/tmp/registry_assets/clone"
"""In a clone: the name of its entry, which `git clone` does not copy."""
_TEMPORARY = "temporary"
_MACHINE_IDS = ("/etc/machine-id", "/var/lib/dbus/machine-id")
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
_WAIT_SECONDS = 60.0
_RETRY_SECONDS = 0.1


@dataclass(frozen=True)
class Entry:
    """What is written down of a clone.

    Attributes:
        path: Its root.
        host: What its machine is called, for people.
        machine: What tells its machine from others.
        folder: The inode of its ``.dvc``: a copy has another one.
        parent: The inode of the folder that it lies in: that of a mounted disk is another one than
            that of the empty folder which it is mounted at.
        is_mounted: Whether it is itself where a disk is mounted.
    """

    path: str
    host: str
    machine: str
    folder: int
    parent: int
    is_mounted: bool

    @classmethod
    def of(cls, root: Path) -> Entry:
        """What there is to write down of a clone on this machine."""
        inside, around = root.stat(), root.parent.stat()
        return cls(
            str(root),
            platform.node(),
            _machine(),
            (root / DVC_FOLDER).stat().st_ino,
            around.st_ino,
            inside.st_dev != around.st_dev,
        )

    def is_at(self, root: Path) -> bool:
        """Whether the clone at a place is this one, and no copy of it."""
        with suppress(OSError):
            return self.path == str(root) and (root / DVC_FOLDER).stat().st_ino == self.folder
        return False

    def is_moved_from(self, former: Entry) -> bool:
        """Whether this clone is one that lay elsewhere on the same disk, where it is no more."""
        is_same = (self.machine, self.folder) == (former.machine, former.folder)
        return is_same and not former.is_at(Path(former.path))


@dataclass(frozen=True)
class RegisteredClones:
    """The other clones that use a cache.

    Attributes:
        readable: The roots of those that can be looked into here.
        foreign: Those of them that another machine wrote down, and may be at work in.
        gone: The entries of those that were deleted, with where they were.
        unknown: Those of which what they need is not known here, each with the next step.
    """

    readable: tuple[Path, ...] = ()
    foreign: tuple[Path, ...] = ()
    gone: tuple[tuple[Path, str], ...] = ()
    unknown: tuple[str, ...] = ()


def leave_unregistered(root: Path) -> None:
    """Has a clone that is gone in a moment stay out of registers."""
    _write(root / _OWN, _TEMPORARY)


def register(cache: Path, root: Path) -> None:
    """Writes a clone down beside the cache that it uses; nothing where it is written down.

    Args:
        cache: The cache directory.
        root: The clone.

    Raises:
        OSError: when that cannot be written.
        RepositoryBusyError: when objects are being freed by another clone.
    """
    own = root / _OWN
    name = _read_text(own)
    if name == _TEMPORARY:
        return
    known = _read_entry(cache / FOLDER / f"{name}{_SUFFIX}") if name else None
    if known is not None and known.is_at(root):
        return
    entry = Entry.of(root)
    if name is None or known is None or not entry.is_moved_from(known):
        # A copy brought the name of another clone along, which goes on using it.
        name = uuid.uuid4().hex
    with locked(cache, is_needed=False):
        for place, other in _read_entries(cache):
            if other is not None and (other.machine, other.path) == (entry.machine, entry.path):
                place.unlink(missing_ok=True)
        _write(cache / FOLDER / f"{name}{_SUFFIX}", json.dumps(asdict(entry), indent=1))
    _write(own, name)


def read_clones(cache: Path, root: Path) -> RegisteredClones:
    """Looks for every other clone that uses a cache.

    Args:
        cache: The cache directory.
        root: The clone that asks.
    """
    readable: dict[Path, bool] = {}
    gone, unknown = [], []
    around = (place for place in cache.resolve().parents if (place / DVC_FOLDER).is_dir())
    # Whose own cache this is may never have found it outside of itself.
    readable.update(dict.fromkeys(around, False))
    for place, entry in _read_entries(cache):
        if entry is None:
            unknown.append(f"{place} cannot be read: look whose it is, or delete it")
            continue
        found = _find(entry)
        if isinstance(found, Path):
            readable[found] = readable.get(found, False) or entry.machine != _machine()
        elif found is None:
            gone.append((place, entry.path))
        else:
            unknown.append(
                f"the clone {entry.path} of {entry.host} {found}; if it is gone for good, delete "
                f"{place}"
            )
    here = root.resolve()
    others = {place: is_foreign for place, is_foreign in readable.items() if place != here}
    return RegisteredClones(
        tuple(sorted(others)),
        tuple(sorted(place for place, is_foreign in others.items() if is_foreign)),
        tuple(gone),
        tuple(unknown),
    )


def forget_gone(clones: RegisteredClones) -> None:
    """Takes out of the register what is certainly gone; the register has to be locked."""
    for place, _ in clones.gone:
        place.unlink(missing_ok=True)


@contextmanager
def locked(cache: Path, *, is_needed: bool = True) -> Iterator[None]:
    """Has nobody else change the register, on any machine, nor free objects.

    Args:
        cache: The cache directory.
        is_needed: Whether to fail where the file system cannot lock files.

    Raises:
        RepositoryBusyError: when somebody else has it for a minute.
        UnusableError: when the file system cannot lock files.
        OSError: when the register cannot be written.
    """
    folder = cache / FOLDER
    # A cache that is not there may be on a disk that is not mounted: only DVC makes it.
    folder.mkdir(exist_ok=True)
    with (folder / _LOCK).open("a") as lock:
        started = time.monotonic()
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                waited = time.monotonic() - started
                if waited >= _WAIT_SECONDS:
                    holder = f"`registry gc` is at work on the cache {cache} in another clone"
                    raise RepositoryBusyError(waited, holder) from error
                time.sleep(_RETRY_SECONDS)
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                if is_needed:
                    raise UnusableError(
                        f"the file system of {cache} cannot lock files: run this on the machine "
                        "whose disk it is"
                    ) from error
                break
        yield


def check_idle(root: Path) -> None:
    """Makes sure that no run of another machine is at work in a clone.

    DVC's own lock names processes, and takes those of other machines for dead.

    Raises:
        RegistryError: when one may be.
    """
    place = root / DVC_FOLDER / "tmp" / "rwlock"
    with suppress(FileNotFoundError):
        if any(json.loads(place.read_text(encoding="utf-8") or "{}").values()):
            raise RegistryError(
                f"a run on another machine may be at work in {root}: wait until it has ended, or, "
                f"if none is, delete {place}"
            )


def _find(entry: Entry) -> Path | str | None:
    """Where a clone is, None if it is gone, or why that is not known here."""
    root = Path(entry.path)
    is_own_machine = entry.machine == _machine()
    try:
        if (root / DVC_FOLDER).is_dir() and (is_own_machine or entry.is_at(root)):
            return root.resolve()
        if not is_own_machine:
            return "is on another machine: run this where its folder can be read, too"
        if os.path.lexists(root):
            return "is not there, but something else is: mount its disk, or bring it back"
        around = root.parent.stat()
        siblings = list(root.parent.iterdir())
    except OSError as error:
        return f"cannot be looked for ({error.strerror}): mount its disk, or run this as its owner"
    if entry.is_mounted or around.st_ino != entry.parent:
        return "is not there, nor the disk that it was on: mount it"
    for place in siblings:
        with suppress(OSError):
            if (place / DVC_FOLDER).stat().st_ino == entry.folder:
                # It was given another name.
                return place.resolve()
    return None


def _read_entries(cache: Path) -> Iterator[tuple[Path, Entry | None]]:
    for place in sorted((cache / FOLDER).glob(f"*{_SUFFIX}")):
        yield place, _read_entry(place)


def _read_entry(place: Path) -> Entry | None:
    with suppress(OSError, ValueError, TypeError):
        return Entry(**json.loads(place.read_text(encoding="utf-8")))
    return None


def _read_text(place: Path) -> str | None:
    with suppress(OSError):
        return place.read_text(encoding="utf-8")
    return None


def _write(place: Path, text: str) -> None:
    """Writes a file in one rename; who reads meanwhile sees all of it or none."""
    place.parent.mkdir(parents=True, exist_ok=True)
    fresh = place.with_name(f"{place.name}.{uuid.uuid4().hex}")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(place)


def _machine() -> str:
    """What tells this machine from others, also from one with its name."""
    said = [platform.node()]
    for place in _MACHINE_IDS:
        if known := (_read_text(Path(place)) or "").strip():
            said.append(known)
            break
    else:
        said.append(f"{uuid.getnode():x}")
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:16]
