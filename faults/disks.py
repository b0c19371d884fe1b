"""Disks that fill up, are read-only, gone or slow, and a quota that is used up.

Those of cache, workspace, history and temporary files are small file systems of their own, mounted
where nobody else sees them, which takes root; one with a quota is a Btrfs. Slow disks, and quotas
that are used up at any call, are made of system calls that wait or fail, with strace. The command
has to succeed, or to name the next step in one line and to lose nothing; with space on the disk
again, the same command leads to the undisturbed result.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from faults.kills import Undisturbed, finish, measure_all
from faults.programs import Ended
from faults.registries import Site, move_cache
from faults.trials import Order, Trial, side_by_side
from faults.wholeness import damages

_NEW_MOUNTS = 0x00020000  # CLONE_NEWNS of unshare(2)
_SIZE = 32 * 2**20
# Commands write some kilobytes: with what is left, they get to different places.
_MOST_LEFT = 96 * 2**10
_NEXT_STEP = re.compile(
    r"free some|mount|make (it|its folder) writable|ask |check (that|whether)|move "
)
_UNCLEAR = re.compile(r"Traceback|should not happen")
# What commands need, by its folder in a site.
_PLACES = {
    "cache": "disk",
    "workspace": "registry",
    "history": "registry/.dagster",
    "temporary files": "tmp",
}
_OVER_QUOTA = "over quota"
_TROUBLES = ("full", "read-only", "gone", _OVER_QUOTA)
# A Btrfs cannot be smaller than 109 MiB.
_IMAGE_SIZE = 128 * 2**20
_SUBVOLUME = "0/256"
# What gives a file its name or its place on the disk; "?" is for what not every machine has.
_CALLS = (
    "?mkdir,mkdirat,?link,linkat,?symlink,symlinkat,?rename,?renameat,renameat2,fsync,fdatasync,"
    "syncfs,copy_file_range,fallocate,ftruncate"
)
_SLOW_SECONDS = 0.01
_MOST_CALLS = 60
_SHARE_OF_CALLS = 0.3


@dataclass(frozen=True)
class Disk:
    """A small file system that a folder of a site is on.

    Attributes:
        folder: The folder.
        store: Where the file system itself is.
    """

    folder: Path
    store: Path

    def put_in_place(self, trouble: str) -> None:
        """Moves a folder to a new disk."""
        self.store.mkdir()
        if trouble == _OVER_QUOTA:
            self._make_btrfs()
        else:
            _call("mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(self.store))
            (self.store / "content").mkdir()
        _call("cp", "-a", f"{self.folder}/.", str(self.store / "content"))
        # What lies below the mount is what is there when it is gone.
        shutil.rmtree(self.folder)
        self.folder.mkdir()
        self.mount()

    def _make_btrfs(self) -> None:
        image = self.store.with_name("image")
        with image.open("wb") as file:
            file.truncate(_IMAGE_SIZE)
        _call("mkfs.btrfs", "--quiet", "--mixed", str(image))
        _call("mount", "-o", "loop", str(image), str(self.store))
        _call("btrfs", "quota", "enable", str(self.store))
        _call("btrfs", "quota", "rescan", "-w", str(self.store))
        # Around it is no limit, so that it can be lifted again.
        _call("btrfs", "subvolume", "create", str(self.store / "content"))

    def mount(self) -> None:
        """Mounts the disk at the folder."""
        _call("mount", "--bind", str(self.store / "content"), str(self.folder))

    def begin(self, trouble: str, left: int) -> None:
        """Fills disk or quota up to some bytes, or makes the disk read-only or gone."""
        if trouble == "full":
            free = os.statvfs(self.store)
            with (self.store / "filler").open("wb") as filler:
                os.posix_fallocate(filler.fileno(), 0, free.f_bavail * free.f_frsize - left)
        elif trouble == _OVER_QUOTA:
            self._limit(str(self._used() + left))
        elif trouble == "read-only":
            _call("mount", "-o", "remount,bind,ro", str(self.folder))
        else:
            _call("umount", str(self.folder))

    def end(self, trouble: str) -> None:
        """Undoes `begin`."""
        if trouble == "full":
            (self.store / "filler").unlink()
        elif trouble == _OVER_QUOTA:
            self._limit("none")
        elif trouble == "read-only":
            _call("mount", "-o", "remount,bind,rw", str(self.folder))
        else:
            self.mount()

    def _used(self) -> int:
        _call("btrfs", "filesystem", "sync", str(self.store))
        shown = _call("btrfs", "qgroup", "show", "--raw", str(self.store))
        return int(re.findall(rf"^{_SUBVOLUME} +(\d+)", shown, re.MULTILINE)[0])

    def _limit(self, size: str) -> None:
        _call("btrfs", "qgroup", "limit", size, _SUBVOLUME, str(self.store))

    def remove(self) -> None:
        """Removes the disk with all that is on it."""
        _call("umount", str(self.folder))
        _call("umount", str(self.store))


def run(order: Order) -> Iterator[Trial]:
    """Disturbs each command in each way, in random order, until the order is over."""
    if os.geteuid() != 0:
        yield Trial("disks", "not tried", ("mounting takes root: `sudo make faults ARGS=disks`",))
        return
    for program, package in (("strace", "strace"), ("mkfs.btrfs", "btrfs-progs")):
        if shutil.which(program) is None:
            missing = f"{program} is missing: `apt-get install {package}`"
            yield Trial("disks", "not tried", (missing,))
            return
    undisturbed = measure_all(order)
    yield from side_by_side(order, partial(_disturb_one, order, undisturbed))


def _disturb_one(order: Order, undisturbed: Sequence[Undisturbed], number: int) -> Trial:
    _mount_privately()
    chance = order.chance("disks", number)
    one = undisturbed[number % len(undisturbed)]
    if chance.random() < _SHARE_OF_CALLS:
        return _disturb_calls_of(order, one, number)
    place, trouble = chance.choice([*_PLACES]), chance.choice(_TROUBLES)
    if place == "workspace" and trouble == "gone":
        trouble = "full"
    left = chance.randrange(_MOST_LEFT)
    site = one.site.copy(order.scratch / f"disk {number}")
    faults = tuple(disturb(site, one, place, trouble, left))
    if not faults:
        site.remove()
    is_filled = trouble in ("full", _OVER_QUOTA)
    how = f"{place} {trouble}" + (f" but for {left} bytes" if is_filled else "")
    return Trial(f"{place} {trouble}", f"registry {one.scenario.name}, {how}, {number}", faults)


def _disturb_calls_of(order: Order, one: Undisturbed, number: int) -> Trial:
    chance = order.chance("calls", number)
    since = chance.choice((None, chance.randint(1, _MOST_CALLS)))
    site = one.site.copy(order.scratch / f"calls {number}")
    faults = tuple(disturb_calls(site, one, since))
    if not faults:
        site.remove()
    kind = "a slow disk" if since is None else "a quota that is used up"
    how = "" if since is None else f", from call {since} on"
    return Trial(kind, f"registry {one.scenario.name}{how}, {number}", faults)


def disturb_calls(site: Site, one: Undisturbed, since: int | None) -> Iterator[str]:
    """Runs a command whose system calls fail or wait, then without, and yields what is wrong.

    Args:
        site: The site.
        one: The command.
        since: The call from which on a quota is used up, in each process; None for a slow disk.
    """
    how = f"delay_enter={_SLOW_SECONDS:.3f}s" if since is None else f"error=EDQUOT:when={since}+"
    program, *arguments = one.scenario.command
    ended = site.run(
        *("strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={_CALLS}"),
        *("-e", f"inject={_CALLS}:{how}"),
        *(str(Path(sys.executable).parent / program), *arguments),
    )
    if since is None and ended.code != 0:
        yield f"a slow disk is no error: {ended.output.strip()[-400:]}"
    yield from _judge(ended)
    for damage in damages(site):
        yield f"right after the trouble: {damage}"
    yield from finish(site, one)


def disturb(site: Site, one: Undisturbed, place: str, trouble: str, left: int) -> Iterator[str]:
    """Runs a command with a disk in trouble, then without, and yields what is wrong."""
    if place == "cache":
        move_cache(site)
    disk = Disk(site.place / _PLACES[place], site.place / "store")
    disk.put_in_place(trouble)
    try:
        disk.begin(trouble, left)
        ended = site.run(*one.scenario.command)
        # SQLite maps the index of its log into memory. Where Btrfs has no room for a page of it,
        # the kernel kills the process, which may lose as little as by any other kill.
        if trouble != _OVER_QUOTA or ended.code != -signal.SIGBUS:
            yield from _judge(ended)
        disk.end(trouble)
        if (place, trouble) == ("history", "gone"):
            # What was told went into the empty folder below.
            site.run("registry", "sync")
        for damage in damages(site):
            yield f"right after the trouble: {damage}"
        yield from finish(site, one)
    finally:
        disk.remove()


def _judge(ended: Ended) -> Iterator[str]:
    if ended.code != 0:
        last = ended.output.strip()[-400:]
        if _UNCLEAR.search(ended.output):
            yield f"an unclear error: {last}"
        elif not _NEXT_STEP.search(ended.output):
            yield f"no next step: {last}"


def disturb_apart(
    site: Site, one: Undisturbed, place: str, trouble: str, left: int
) -> tuple[str, ...]:
    """Does `disturb` in a process of its own, whose mounts end with it."""
    with ProcessPoolExecutor(1, get_context("fork"), _mount_privately) as pool:
        return pool.submit(_disturb, site, one, place, trouble, left).result()


def _disturb(site: Site, one: Undisturbed, place: str, trouble: str, left: int) -> tuple[str, ...]:
    return tuple(disturb(site, one, place, trouble, left))


def _mount_privately() -> None:
    """Has this process see mounts that no other sees."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_MOUNTS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    _call("mount", "--make-rprivate", "/")


def _call(*command: str) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
    return done.stdout
