"""Remotes that stall, drop, refuse, cut short or lie, while data is pushed and pulled.

Each time the command fails in one clear line, or succeeds; nothing wrong gets into the cache or the
workspace, nothing is lost, and the same again works once the trouble is over.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Lock

from dvc.config import Config

from faults import troubled_proxy
from faults.trials import Order, Trial, side_by_side
from faults.troubled_proxy import TROUBLES
from faults.wholeness import damaged_objects, find_objects
from tests.remotes.servers import SERVERS
from tests.remotes.servers.gates import ConnectionGate
from tests.remotes.servers.storage import Storage

NAME = "01_a"
FILES = 6
FILE_SIZE = 20_000
_SECONDS = 300
_Task = tuple[str, str | None]
"""A kind of server, and what its proxy does; None if the way breaks off."""
_SILENCE = "silence"
# How long the other side may be silent, for SSH.
_ALIVE = "Host *\n\tServerAliveInterval 2\n\tServerAliveCountMax 2\n"
_BUG = "this should not happen"
# Each library tries again in its own way; what can be set is set to once. Those of Azure and Google
# wait for minutes between their tries, whatever is set: commands find this module at their start.
_IMPATIENCE = """\
import asyncio
patient = asyncio.sleep
asyncio.sleep = lambda delay, result=None: patient(delay / 20, result)
"""
_ONCE = {"AWS_MAX_ATTEMPTS": "1", "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}
_QUICK = {
    "ssh": {"timeout": "5"},
    "s3": {"read_timeout": "4", "connect_timeout": "4"},
    "azure": {"read_timeout": "4", "connection_timeout": "4"},
}
PROXIED = ("s3", "azure", "gs")
"""The kinds of servers that a proxy can stand before."""


def run(order: Order) -> Iterator[Trial]:
    """Pushes and pulls through the troubles of each kind of server, in random order."""
    base = build_registry(order.scratch / "base")
    _be_impatient(order.scratch / "impatience")
    config = Path.home() / ".ssh/config"
    config.parent.mkdir(exist_ok=True)
    config.write_text(_ALIVE, encoding="utf-8")
    tasks: list[_Task] = [(kind, None) for kind in SERVERS]
    tasks += [("ssh", _SILENCE), *((kind, how) for kind in PROXIED for how in TROUBLES)]
    served: dict[str, Storage] = {}
    # A trial disturbs all of a server.
    locks = {kind: Lock() for kind in SERVERS}

    def work(number: int) -> Trial:
        # There is no time for all of them: others come with another seed.
        shuffled = order.chance("remotes", number // len(tasks)).sample(tasks, len(tasks))
        kind, how = shuffled[number % len(tasks)]
        with locks[kind]:
            try:
                if kind not in served:
                    # Without a space, which would end the path in the settings of sshd.
                    folder = order.scratch / f"{number}_server_of_{kind}"
                    folder.mkdir()
                    served[kind] = stack.enter_context(SERVERS[kind](folder))
            except RuntimeError as error:
                return Trial(f"remote {kind}", "not tried", (str(error),))
            if how in (None, _SILENCE):
                return try_gate(order, base, kind, served[kind], number, how)
            return try_trouble(order, base, kind, served[kind], how, number)

    with ExitStack() as stack:
        yield from side_by_side(order, work, ThreadPoolExecutor(order.jobs))


def _be_impatient(folder: Path) -> None:
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_IMPATIENCE, encoding="utf-8")
    others = [path for path in (os.environ.get("PYTHONPATH"),) if path]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), *others])


def build_registry(root: Path) -> Path:
    """A registry with a collection of texts that is up to date, committed."""
    _check(root.parent, "registry", "init", str(root))
    shutil.rmtree(root / "processed")
    folder = root / "raw" / NAME
    folder.mkdir(parents=True)
    chance = random.Random(5)
    for file in range(FILES):
        (folder / f"{file}.txt").write_text(chance.randbytes(FILE_SIZE // 2).hex(), "utf-8")
    _check(root, "registry", "add", NAME)
    _check(root, "git", "add", "--all")
    _check(root, "git", "commit", "--quiet", "--message", "Start")
    return root


def try_trouble(
    order: Order, base: Path, kind: str, storage: Storage, trouble: str, number: int
) -> Trial:
    """Pushes and pulls through a proxy before a server that does one thing wrong."""
    chance = order.chance("remotes", kind, trouble, number)
    with troubled_proxy.serving(storage.gate.port, chance) as proxy:
        share = chance.choice((0.1, 0.3, 1.0))

        def begin() -> None:
            proxy.trouble, proxy.share = trouble, share

        def end() -> None:
            proxy.trouble = None

        behind = storage.by_port(proxy.port)
        settings = {**behind.settings, **_QUICK.get(kind, {})}
        site = _Site(order.scratch / f"{number} {kind}", base, behind, settings)
        return Trial(f"remote {kind}", f"{trouble}, {share:.0%}", tuple(site.try_(begin, end)))


def try_gate(
    order: Order, base: Path, kind: str, storage: Storage, number: int, how: str | None
) -> Trial:
    """Pushes and pulls while the way to a server breaks off, or nothing more comes through."""
    gate = storage.gate
    size = order.chance("remotes", kind, number).randrange(2 * FILES * FILE_SIZE)
    settings = {**storage.settings, **_QUICK.get(kind, {})}
    site = _Site(order.scratch / f"{number} {kind}", base, storage, settings)
    if how == _SILENCE and isinstance(gate, ConnectionGate):
        faults = site.try_(lambda: gate.be_silent_after(size), gate.reopen)
    else:
        faults = site.try_(lambda: gate.shut_after(size), gate.reopen)
    return Trial(f"remote {kind}", f"{how or 'breaks off'} after {size} bytes", tuple(faults))


class _Site:
    """A registry with a remote, and a clone of it without data."""

    def __init__(
        self, place: Path, base: Path, storage: Storage, settings: Mapping[str, str]
    ) -> None:
        self._root, self._clone = place / "registry", place / "clone"
        place.mkdir()
        subprocess.run(["cp", "-a", str(base), str(self._root)], check=True)
        own = {"url": storage.place_for(place.name.replace(" ", "-")), "jobs": 4, **settings}
        with Config(str(self._root / ".dvc")).edit("repo") as config:
            config["remote"] = {"storage": own}
            config["core"]["remote"] = "storage"
        _check(self._root, "git", "commit", "--quiet", "--all", "--message", "Share")
        _check(place, "git", "clone", "--quiet", str(self._root), "clone")
        if storage.credentials:
            for root in (self._root, self._clone):
                with Config(str(root / ".dvc")).edit("local") as config:
                    config["remote"] = {"storage": dict(storage.credentials)}

    def try_(self, begin: Callable[[], None], end: Callable[[], None]) -> Iterator[str]:
        """Pushes and pulls during a trouble, and again after it; yields what is wrong."""
        wanted = _contents(self._root)
        for root, command in (
            (self._root, ("registry", "push")),
            (self._clone, ("registry", "checkout", "main")),
        ):
            begin()
            done = _call(root, *command)
            end()
            yield from _unclear(" ".join(command), done)
            yield from damaged_objects(dict(find_objects(root / ".dvc/cache")))
            found = _contents(root)
            if found != wanted and (root == self._root or found):
                yield f"{' '.join(command)}: {len(found)} of {len(wanted)} files, or others"
            done = _call(root, *command)
            if done is None or done.returncode != 0:
                yield f"{' '.join(command)} again: {done and done.stdout[-500:]}"
            if root == self._root:
                check = _call(root, *command, "--check", "--full")
                if check is None or check.returncode != 0:
                    yield f"the remote lacks something: {check and check.stdout[-500:]}"
        if _contents(self._clone) != wanted:
            yield "the clone has other files"


def _unclear(command: str, done: subprocess.CompletedProcess[str] | None) -> Iterator[str]:
    if done is None:
        yield f"{command} went on for {_SECONDS} s"
    elif done.returncode not in (0, 1) or "Traceback" in done.stdout or _BUG in done.stdout:
        yield f"{command} ends in {done.returncode}: {done.stdout[-700:]}"
    elif done.returncode == 1 and not re.search(r"^(registry: |missing )", done.stdout, re.M):
        yield f"{command} fails and does not say why: {done.stdout[-700:]}"


def _contents(root: Path) -> dict[str, str]:
    folder = root / "raw" / NAME
    return {p.name: p.read_text("utf-8") for p in folder.iterdir()} if folder.is_dir() else {}


def _call(root: Path, *command: str) -> subprocess.CompletedProcess[str] | None:
    """Runs a command; None if it does not end."""
    try:
        return subprocess.run(
            command,
            cwd=root,
            env={**os.environ, **_ONCE},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None


def _check(root: Path, *command: str) -> None:
    done = _call(root, *command)
    if done is None or done.returncode != 0:
        raise RuntimeError(f"{command}: {done and done.stdout}")
