"""Who shares a cache: a register of clones, one small file per clone, in the cache directory.

Only the metafiles of a clone say which objects it needs. So before `registry gc` frees objects in a
shared cache, it reads every clone. A clone registers itself when its cache is outside of it. Only
people remove an entry: a clone that was moved, is on another machine or on a disk that is not
mounted cannot be told from one that was deleted.
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

from registry_assets.dvc_repo.processes import name_of_mine, owner_of
from registry_assets.errors import RegistryError, RepositoryBusyError, UnusableError
from registry_assets.model import DVC_FOLDER
from registry_assets.writing import replace_file

FOLDER = "registry_clones"
"""The register, in DVC's cache directory."""

BEACONS = "registry_assets/beacons"
"""The folder of `showing_beacon`, in DVC's cache directory."""

_LOCK = "lock"
_SUFFIX = ".json"
_OWN = f"{DVC_FOLDER}/tmp/registry_assets/clone"
"""The file in a clone with the name of its entry; `git clone` does not copy it."""
_TEMPORARY = "temporary"
_MACHINE_IDS = ("/etc/machine-id", "/var/lib/dbus/machine-id")
_IF_MOVED = "if it was moved, run `registry init .` in it where it is now"
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
_WAIT_SECONDS = 60.0
_RETRY_SECONDS = 0.1


@dataclass(frozen=True)
class Entry:
    """The entry of a clone in the register.

    Attributes:
        path: The root of the clone.
        host: The name of its machine, for messages.
        machine: A hash that identifies its machine.
        folder: The inode of its ``.dvc``. A copy of the clone has another one.
        parent: The inode of the parent folder. A mounted disk and the empty mount point below it
            have different ones.
        is_mounted: Whether the root is itself a mount point.
    """

    path: str
    host: str
    machine: str
    folder: int
    parent: int
    is_mounted: bool

    @classmethod
    def of(cls, root: Path) -> Entry:
        """The entry of a clone on this machine."""
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
        """Whether the clone at a path is this one, not a copy of it."""
        with suppress(OSError):
            return self.path == str(root) and (root / DVC_FOLDER).stat().st_ino == self.folder
        return False

    def is_beside(self, other: Entry) -> bool:
        """Whether both are of the same place."""
        return (self.machine, self.path) == (other.machine, other.path)

    def is_moved_from(self, former: Entry) -> bool:
        """Whether this clone was moved on its disk from the path in a former entry."""
        is_same = (self.machine, self.folder) == (former.machine, former.folder)
        return is_same and not former.is_at(Path(former.path))


@dataclass(frozen=True)
class RegisteredClones:
    """The other clones that use a cache.

    Attributes:
        readable: The roots of those that this machine can read.
        foreign: Those among `readable` that another machine registered, and may be using.
        unknown: A message with the next step for each clone that cannot be read.
    """

    readable: tuple[Path, ...] = ()
    foreign: tuple[Path, ...] = ()
    unknown: tuple[str, ...] = ()


@contextmanager
def showing_beacon(cache: Path) -> Iterator[str]:
    """Keeps a file in a cache, by which another machine knows that it shares the cache.

    Gives the name of the file, which is in `BEACONS`.
    """
    folder, machine = cache / BEACONS, _machine()
    folder.mkdir(parents=True, exist_ok=True)
    for place in folder.glob(f"{machine}.*"):
        owner = owner_of(place.name.removeprefix(f"{machine}."))
        if owner is not None and not owner.is_alive:
            # It was killed.
            place.unlink(missing_ok=True)
    beacon = folder / f"{machine}.{name_of_mine()}"
    beacon.touch()
    try:
        yield beacon.name
    finally:
        beacon.unlink(missing_ok=True)


def leave_unregistered(root: Path) -> None:
    """Mark a temporary clone, so that `register` skips it."""
    _write(root / _OWN, _TEMPORARY)


def register(cache: Path, root: Path) -> None:
    """Add a clone to the register of its cache, unless it is registered already.

    Args:
        cache: The cache directory.
        root: The root of the clone.

    Raises:
        OSError: when the register cannot be written.
        RepositoryBusyError: when `registry gc` is running in another clone.
    """
    own = root / _OWN
    name = _read_text(own)
    if name == _TEMPORARY:
        return
    known = _read_entry(cache / FOLDER / f"{name}{_SUFFIX}") if name else None
    if known is not None and known.is_at(root):
        return
    entry = Entry.of(root)
    is_known = known is not None and (entry.is_beside(known) or entry.is_moved_from(known))
    if name is None or not is_known:
        # This is a copy of a clone that still uses the name.
        name = uuid.uuid4().hex
    with locked(cache, is_needed=False):
        for place, other in _read_entries(cache):
            # Another one that was here may have been moved, so it stays written down.
            if other is not None and entry.is_beside(other) and other.folder == entry.folder:
                place.unlink(missing_ok=True)
        _write(cache / FOLDER / f"{name}{_SUFFIX}", json.dumps(asdict(entry), indent=1))
    _write(own, name)


def read_clones(cache: Path, root: Path) -> RegisteredClones:
    """Find the other clones that use a cache.

    Args:
        cache: The cache directory.
        root: The root of this clone.
    """
    readable: dict[Path, bool] = {}
    unknown = []
    around = (place for place in cache.resolve().parents if (place / DVC_FOLDER).is_dir())
    # A clone whose own `.dvc/cache` is shared does not register itself.
    readable.update(dict.fromkeys(around, False))
    for place, entry in _read_entries(cache):
        if entry is None:
            unknown.append(
                f"{place} cannot be read: restore it, or delete it if no other clone uses this "
                "cache"
            )
            continue
        found = _find(entry, place.stem)
        if isinstance(found, Path):
            readable[found] = readable.get(found, False) or entry.machine != _machine()
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
        tuple(unknown),
    )


@contextmanager
def locked(cache: Path, *, is_needed: bool = True) -> Iterator[None]:
    """Hold the lock of the register: no other clone changes it or frees objects meanwhile.

    Args:
        cache: The cache directory.
        is_needed: Whether to fail if the file system does not support locks.

    Raises:
        RepositoryBusyError: when another clone holds the lock for a minute.
        UnusableError: when the file system does not support locks.
        OSError: when the register cannot be written.
    """
    folder = cache / FOLDER
    # Without its parents: a missing cache may be on a disk that is not mounted.
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
                    holder = f"`registry gc` is running on the cache {cache} in another clone"
                    raise RepositoryBusyError(waited, holder) from error
                time.sleep(_RETRY_SECONDS)
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                if is_needed:
                    raise UnusableError(
                        f"the file system of {cache} does not support file locks: run this on the "
                        "machine that the disk belongs to"
                    ) from error
                break
        yield


def check_idle(root: Path) -> None:
    """Make sure that no other machine is running DVC in a clone.

    DVC's `rwlock` holds process IDs, and DVC ignores those that do not exist on this machine.

    Raises:
        RegistryError: when another machine may be running it.
    """
    place = root / DVC_FOLDER / "tmp" / "rwlock"
    try:
        is_idle = not any(json.loads(place.read_text(encoding="utf-8")).values())
    except FileNotFoundError:
        is_idle = True
    except (ValueError, AttributeError):
        is_idle = False  # A process was killed while it wrote the file.
    if not is_idle:
        raise RegistryError(
            f"a command on another machine may be running in {root}: wait until it has finished "
            f"or, if none is running, delete {place}"
        )


def _find(entry: Entry, name: str) -> Path | str:
    """Where a clone is, or why that is not known here."""
    root = Path(entry.path)
    is_own_machine = entry.machine == _machine()
    try:
        # A file system may number its folders anew whenever it is mounted.
        is_it = is_own_machine and _read_text(root / _OWN) == name
        if (root / DVC_FOLDER).is_dir() and (is_it or entry.is_at(root)):
            return root.resolve()
        if not is_own_machine:
            return "is on another machine: run this where its folder can be read, too"
        if os.path.lexists(root):
            return f"is missing, and something else is in its place: mount its disk, or {_IF_MOVED}"
        around = root.parent.stat()
        siblings = list(root.parent.iterdir())
    except OSError as error:
        return f"cannot be read ({error.strerror}): mount its disk, or run this as its owner"
    if entry.is_mounted or around.st_ino != entry.parent:
        return "is missing, and its disk is not mounted: mount it"
    for place in siblings:
        with suppress(OSError):
            is_same = (place / DVC_FOLDER).stat().st_ino == entry.folder
            if is_same and _read_text(place / _OWN) == name:
                # It was given another name.
                return place.resolve()
    return f"is missing: {_IF_MOVED}"


def _read_entries(cache: Path) -> Iterator[tuple[Path, Entry | None]]:
    try:
        # `Path.glob` takes a folder that cannot be read for an empty one.
        places = sorted((cache / FOLDER).iterdir())
    except FileNotFoundError:
        return
    for place in places:
        if place.suffix == _SUFFIX:
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
    """Write a file atomically, and sync it: what it says is needed must not be freed."""
    place.parent.mkdir(parents=True, exist_ok=True)
    fresh = place.with_name(f"{place.name}.{uuid.uuid4().hex}")
    fresh.write_text(text, encoding="utf-8")
    replace_file(fresh, place)


def _machine() -> str:
    """A hash that identifies this machine, also among machines of the same name."""
    said = [platform.node()]
    for place in _MACHINE_IDS:
        if known := (_read_text(Path(place)) or "").strip():
            said.append(known)
            break
    else:
        said.append(f"{uuid.getnode():x}")
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:16]
