"""Cuts the power: kills a command, and takes away what it had not synced to the disk by then.

What a command syncs is read from its system calls, with strace. First each command runs to its end,
and whatever it renames into place has to be synced before. Then it is killed at a random change of
the file system, and each file that it had written and not synced is emptied: a journaling file
system keeps names in order, and content only where it was synced. The same command again has to
lead to the undisturbed result. What Git and SQLite write is their own affair.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from faults.kills import Undisturbed, finish, measure_all, try_once
from faults.programs import Kill
from faults.registries import SCENARIOS, Site
from faults.trials import Order, Trial, side_by_side

_CALLS = (
    "execve,open,openat,creat,truncate,rename,renameat,renameat2,link,linkat,unlink,unlinkat,"
    "fsync,fdatasync,syncfs,sync"
)
_LINE = re.compile(r"(?P<pid>\d+) +(?P<time>\d+\.\d+) (?P<call>\w+)\((?P<rest>.*)$")
_RESUMED = re.compile(r"(?P<pid>\d+) +\d+\.\d+ <\.\.\. \w+ resumed>(?P<rest>.*)$")
_UNFINISHED = " <unfinished ...>"
_NAME = re.compile(r'(?:\w+<(?P<folder>[^>]*)>, )?"(?P<name>(?:[^"\\]|\\.)*)"')
_OPENED = re.compile(r"= \d+<(?P<path>[^>]*)>")
_DESCRIPTOR = re.compile(r"\d+<(?P<path>[^>]*)>")
# What has to be whole, from the site: metafiles, settings, curation, records and notes of ours.
_PROMISED = re.compile(
    r"(?:registry|beside/[^/.]+)/(?:(?!\.git/|\.dvc/tmp/|\.dvc/cache/|\.dagster/)"
    r".*(?:\.dvc|\.lock|\.yaml|\.toml|/config|\.gitignore)|\.env|raw/[^/.][^/]*)|"
    r".*/registry_clones/\w+\.json"
)
# What is of no use after a power cut, but stops `dvc` when it is empty.
_READABLE = "registry/.dvc/tmp/rwlock"
_METAFILE = re.compile(r"registry/.*(\.dvc|/dvc\.lock)")
# Objects, and what keeps outputs out of Git.
_NEEDED = re.compile(
    r"registry/(\.dvc/cache/files/md5/../[0-9a-f]{30}(\.dir)?|(?!\.dvc/).*\.gitignore)"
)
_ASIDE = re.compile(r"(?P<folder>registry/\.dvc/tmp/registry/[^/]+)/\d+")
_APPENDED = "appended"
_moments: dict[str, list[float]] = {}
"""When a command that this process traced wrote something, in seconds after its first call."""
_NOT_OURS = re.compile(r"(registry|beside/[^/]+(/[^/]+)?)/\.(git|dagster)/|origin\.git/|tmp/|home/")


@dataclass(frozen=True)
class Call:
    """A system call that succeeded.

    Attributes:
        time: Seconds after the first one.
        kind: ``write``, ``rename``, ``link``, ``remove``, ``sync`` or ``sync all``.
        path: The file, from the site.
        target: The other path of a rename or link; of a write, whether it appends.
    """

    time: float
    kind: str
    path: str = ""
    target: str = ""


class Disk:
    """What of the files of a site would be lost now.

    Attributes:
        unsynced: The files whose content is not on the disk, from the site; those that were only
            appended to, as DVC does to ``.gitignore``, with True.
        unnamed: The new names in folders that were not synced.
    """

    def __init__(self) -> None:
        self.unsynced: dict[str, bool] = {}
        self.unnamed: dict[str, None] = {}

    def do(self, call: Call) -> None:
        """Follows a system call."""
        if call.kind == "write":
            self.unsynced[call.path] = call.target == _APPENDED
        elif call.kind in ("rename", "link"):
            self.unsynced.pop(call.target, None)
            for path, is_appended in [*self.unsynced.items()]:
                if path == call.path or path.startswith(f"{call.path}/"):
                    if call.kind == "rename":
                        del self.unsynced[path]
                    self.unsynced[call.target + path.removeprefix(call.path)] = is_appended
            self.unnamed[call.target] = None
        elif call.kind == "remove":
            self.unsynced.pop(call.path, None)
            self.unnamed.pop(call.path, None)
        elif call.kind == "sync":
            self.unsynced.pop(call.path, None)
            self.unnamed = {n: None for n in self.unnamed if str(Path(n).parent) != call.path}
        else:
            self.unsynced, self.unnamed = {}, {}


def run(order: Order) -> Iterator[Trial]:
    """Checks the system calls of commands, and cuts the power, until the order is over."""
    if shutil.which("strace") is None:
        raise SystemExit("power: strace is missing: `apt-get install strace`, then run this again")
    # In another order each time, as there may not be time for all.
    undisturbed = order.chance("power").sample(measure_all(order), len(SCENARIOS))
    yield from side_by_side(order, partial(_cut_one, order, undisturbed))


def trace(site: Site, command: Sequence[str], kill: Kill | None = None) -> list[Call]:
    """Runs a command and returns its system calls, until its end or until it is killed."""
    log = site.place.with_name(f"{site.place.name}.strace")
    program = str(Path(sys.executable).parent / command[0])
    tracer = ("strace", "-f", "-y", "-ttt", "-qq", "-s", "4096", "-o", str(log), "-e", _CALLS)
    ended = site.run(*tracer, program, *command[1:], kill=kill)
    if kill is None and ended.code != 0:
        raise RuntimeError(f"{' '.join(command)}: {ended.output}")
    calls = list(read_calls(log, site.place))
    log.unlink()
    return calls


def read_calls(log: Path, place: Path) -> Iterator[Call]:
    """Yields what strace wrote about files below a place, but for what Git and SQLite do."""
    pending: dict[str, str] = {}
    is_git: dict[str, bool] = {}
    first = None
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        resumed = _RESUMED.match(line)
        if resumed is not None:
            line = pending.pop(resumed["pid"], "") + resumed["rest"]
        found = _LINE.match(line)
        if found is None:
            continue
        pid, rest = found["pid"], found["rest"]
        first = first or float(found["time"])
        if rest.endswith(_UNFINISHED):
            pending[pid] = line.removesuffix(_UNFINISHED)
            continue
        if found["call"] == "execve":
            is_git[pid] = rest.split('"')[1].rpartition("/")[2].startswith("git")
        if is_git.get(pid) or " = -1 " in rest or " = ?" in rest:
            continue
        for call in _read_call(float(found["time"]) - first, found["call"], rest, str(place)):
            if not _NOT_OURS.match(call.path) and not _NOT_OURS.match(call.target):
                yield call


def _read_call(time: float, name: str, rest: str, place: str) -> Iterator[Call]:
    def inside(path: str) -> str | None:
        return path.removeprefix(f"{place}/") if path.startswith(f"{place}/") else None

    names = [
        os.path.normpath(Path(part["folder"] or "") / part["name"]) for part in _NAME.finditer(rest)
    ]
    paths = [inside(path) for path in names]
    if name in ("open", "openat", "creat"):
        opened = _OPENED.search(rest)
        path = None if opened is None else inside(opened["path"])
        if path is not None and re.search(r"O_WRONLY|O_RDWR|O_CREAT", rest):
            yield Call(time, "write", path, _APPENDED if "O_APPEND" in rest else "")
    elif name in ("rename", "renameat", "renameat2", "link", "linkat") and all(paths):
        yield Call(
            time, "link" if name.startswith("link") else "rename", str(paths[0]), str(paths[1])
        )
    elif name in ("unlink", "unlinkat") and all(paths):
        yield Call(time, "remove", str(paths[0]))
    elif name in ("fsync", "fdatasync"):
        descriptor = _DESCRIPTOR.match(rest)
        path = None if descriptor is None else inside(descriptor["path"])
        if path is not None:
            yield Call(time, "sync", path)
    elif name in ("syncfs", "sync"):
        yield Call(time, "sync all")


def find_faults(calls: Sequence[Call], before: Path) -> Iterator[str]:
    """Yields what a power cut might lose, a line each: what was named before it was synced.

    Args:
        calls: What a command did.
        before: The place of a site as it was before.
    """
    disk = Disk()
    for call in calls:
        if call.kind in ("rename", "link"):
            for path in disk.unsynced:
                if path == call.path or path.startswith(f"{call.path}/"):
                    target = call.target + path.removeprefix(call.path)
                    if any(map(_PROMISED.fullmatch, (call.target, target))) or (
                        target == _READABLE
                    ):
                        yield f"{target} got its name before it was synced"
            if _METAFILE.fullmatch(call.target):
                for path in filter(_NEEDED.fullmatch, disk.unsynced):
                    yield f"{call.target} was written before {path} was synced"
            aside = _ASIDE.fullmatch(call.target)
            if aside is not None and f"{aside['folder']}/journal.json" in disk.unsynced:
                yield f"{call.path} was set aside before the journal was synced"
        elif _PROMISED.fullmatch(call.path) and _is_in_place(call, before):
            yield f"{call.path} is written in place"
        disk.do(call)
    for path in filter(_PROMISED.fullmatch, disk.unsynced):
        yield f"{path} was not synced after it was written"
    for path in filter(_PROMISED.fullmatch, disk.unnamed):
        yield f"the folder of {path} was not synced after it got its name"


def _is_in_place(call: Call, before: Path) -> bool:
    return call.kind == "write" and call.target != _APPENDED and (before / call.path).exists()


def _cut_one(order: Order, undisturbed: Sequence[Undisturbed], number: int) -> Trial:
    one = undisturbed[number % len(undisturbed)]
    name = one.scenario.name
    if name not in _moments:
        site = one.site.copy(order.scratch / f"traced {number}")
        calls = trace(site, one.scenario.command)
        site.remove()
        _moments[name] = [c.time for c in calls if c.kind in ("write", "rename", "link")]
        faults = tuple(find_faults(calls, one.site.place))
        if faults:
            return Trial(f"system calls of registry {name}", "undisturbed", faults)
    chance = order.chance("power", number)
    kill = Kill(after=chance.choice(_moments[name]) + chance.uniform(0, 0.05))
    return try_once(order, one, kill, f"cut {number}", cut, "power cut of ")


def cut(site: Site, one: Undisturbed, kill: Kill) -> Iterator[str]:
    """Cuts the power at a moment, runs the command again, and yields what is wrong then."""
    disk = Disk()
    for call in trace(site, one.scenario.command, kill):
        disk.do(call)
    for path, is_appended in disk.unsynced.items():
        before = one.site.place / path
        if is_appended and before.exists():
            shutil.copyfile(before, site.place / path)
        else:
            _empty(site.place / path)
    yield from finish(site, one)


def _empty(path: Path) -> None:
    """Takes the content of a file away; its name and mode stay."""
    if path.is_file() and not path.is_symlink():
        mode = stat.S_IMODE(path.stat().st_mode)
        path.chmod(mode | stat.S_IWUSR)
        os.truncate(path, 0)
        path.chmod(mode)
