"""A crowd: 8 processes with 50 commands each on one registry, `dvc` and `git` among them.

No command may fail for a lock that waiting would have got, and what each of them recorded has to be
there at the end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from itertools import count
from multiprocessing import get_context
from random import Random

from faults.registries import DATASET, Site, build_base, shoot
from faults.trials import Order, Trial
from faults.wholeness import look, wrongs

_PROCESSES = 8
_COMMANDS = 50
# DVC itself gives up after three seconds; that somebody else has a lock is no fault of ours there.
_DVC_GAVE_UP = re.compile(r"Unable to acquire lock|is busy|is being blocked")
_GIT_GAVE_UP = re.compile(r"index\.lock|cannot lock ref|HEAD\.lock")


def run(order: Order) -> Iterator[Trial]:
    """Lets the crowd work, as often as there is time for, at least once."""
    for number in count():
        if number and order.is_over:
            return
        site = build_base(order.shared / "base").copy(order.scratch / f"crowd {number}")
        yield from crowd(site, order, number, _PROCESSES, _COMMANDS)


def crowd(site: Site, order: Order, number: int, processes: int, commands: int) -> Iterator[Trial]:
    """Lets a crowd work in a site, and looks at what is there at the end."""
    with ProcessPoolExecutor(processes, get_context("fork")) as pool:
        work = partial(_work, site, order, number, commands)
        for done in as_completed([pool.submit(work, member) for member in range(processes)]):
            yield from done.result()
    yield Trial("the registry after a crowd", f"crowd {number}", tuple(_check(site, processes)))


def _work(site: Site, order: Order, number: int, commands: int, member: int) -> list[Trial]:
    """What one member does: collections of its own, and whatever concerns all."""
    chance, trials = order.chance("crowd", number, member), []
    mine = f"m{member}"
    shoot(site, mine)
    first = [("registry", "add", mine), ("registry", "import", mine, "--into", DATASET)]
    for step in range(commands):
        if step >= len(first) and order.is_over:
            break
        command = first[step] if step < len(first) else _choose(chance, site, mine, step)
        ended = site.run(*command)
        words = " ".join(command[:2])
        faults = []
        if ended.code != 0 and not _is_right(command, ended.output):
            faults.append(f"{' '.join(command)} ended with {ended.code}: {ended.output[-500:]}")
        trials.append(
            Trial(f"{words} in a crowd", f"crowd {number}, {mine}, {step}", tuple(faults))
        )
    return trials


def _choose(chance: Random, site: Site, mine: str, step: int) -> tuple[str, ...]:
    what = chance.randrange(9)
    if what == 0:
        shoot(site, mine, 1, f"step{step}")
        return ("registry", "add", mine)
    return (
        ("registry", "update", mine),
        ("registry", "materialize"),
        ("registry", "status"),
        ("registry", "sync"),
        ("registry", "publish", "--dry-run"),
        ("dvc", "status", "--quiet"),
        ("git", "status", "--porcelain"),
        ("git", "commit", "--quiet", "--allow-empty", "--message", f"{mine} {step}"),
    )[what - 1]


def _is_right(command: tuple[str, ...], output: str) -> bool:
    """Whether a failure is as it should be."""
    if command[0] == "git":
        return bool(_GIT_GAVE_UP.search(output))
    if command[:2] == ("dvc", "status"):
        # With --quiet, it fails when anything is not up to date.
        return not output.strip() or bool(_DVC_GAVE_UP.search(output))
    # What another member is about to record is edited, or not up to date, and no error.
    is_told = command[1] in ("status", "materialize")
    return is_told and not re.search("^registry: |Traceback", output, re.MULTILINE)


def _check(site: Site, processes: int) -> Iterator[str]:
    for command in ("update", "materialize"):
        ended = site.run("registry", command)
        if ended.code != 0:
            yield f"registry {command} afterwards: {ended.output[-500:]}"
    listed = (site.root / DATASET / "collections.yaml").read_text(encoding="utf-8")
    lock = (site.root / DATASET / "dvc.lock").read_text(encoding="utf-8")
    for member in range(processes):
        for place in (f"raw/m{member}.dvc", f"{DATASET}/data/inputs/m{member}.dvc"):
            if not (site.root / place).exists():
                yield f"{place} is lost"
        if f'"m{member}"' not in listed:
            yield f"m{member} is not in collections.yaml"
        for stage in ("upper", "count"):
            if f"{stage}@m{member}:" not in lock:
                yield f"{stage}@m{member} is not in dvc.lock"
    for command, said in look(site).items():
        if "--porcelain" not in command and not str(said).endswith("(0)"):
            yield f"{command}: {said}"
        if command.startswith("dvc") and "up to date" not in str(said):
            yield f"{command}: {said}"
    yield from wrongs(site)
