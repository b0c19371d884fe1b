"""Kills commands with all that they started, at random moments, and runs them again.

Every second kill comes after a random time, wherever the command then is; the others come right
before a random change of the file system, which the same seed finds again.
"""

from __future__ import annotations

import multiprocessing
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from faults.programs import Kill, find_running
from faults.registries import SCENARIOS, WITH_WORKERS, Scenario, Site, build_base
from faults.trials import Order, Trial, side_by_side
from faults.wholeness import State, damages, differences, state_of, wrongs

# How long what was started may take to notice that its parent is gone.
_END_SECONDS = 10
_LOCK = re.compile(r"if none runs any more, remove (.+\.lock), then run this again")


class TooLateError(Exception):
    """A command ended before it was killed."""


@dataclass(frozen=True)
class Undisturbed:
    """A scenario, and what it comes to when nothing disturbs it.

    Attributes:
        site: The site that it starts from.
        seconds: How long the command takes.
        changes: How often it changes the file system.
        state: What the registry is afterwards.
    """

    scenario: Scenario
    site: Site
    seconds: float
    changes: int
    state: State

    @property
    def done(self) -> Site:
        """The site after the command."""
        return Site(self.site.place.with_name(f"{self.scenario.name} done"))

    def repeat(self, place: Path) -> tuple[int, State]:
        """Runs the command a second time, in a new place: its exit code and what it leads to."""
        site = self.done.copy(place)
        code = site.run(*self.scenario.command).code
        state = state_of(site)
        site.remove()
        return code, state


def run(order: Order) -> Iterator[Trial]:
    """Kills every command in turn, until the order is over."""
    undisturbed = measure_all(order)
    for one in undisturbed:
        wrong = tuple(wrongs(one.done))
        if wrong:
            yield Trial(f"registry {one.scenario.name}", "undisturbed", wrong)
    yield from side_by_side(order, partial(_kill_one, order, undisturbed))


def measure_all(order: Order) -> Sequence[Undisturbed]:
    """Builds the registry of each scenario, and lets its command end; once for all parts."""
    return measure(order.shared, order.jobs, SCENARIOS)


@cache
def measure(scratch: Path, jobs: int, scenarios: tuple[Scenario, ...]) -> Sequence[Undisturbed]:
    """Builds the registries of scenarios in a new folder, and lets their commands end."""
    done = {"": build_base(scratch / "base")}
    found: list[Undisturbed] = []
    context = multiprocessing.get_context("fork")
    while left := [scenario for scenario in scenarios if scenario.name not in done]:
        now = [scenario for scenario in left if scenario.after in done]
        with context.Pool(jobs) as pool:
            found.extend(pool.map(partial(_measure, done), now, chunksize=1))
        done |= {one.scenario.name: one.done for one in found}
    return found


def _measure(done: Mapping[str, Site], scenario: Scenario) -> Undisturbed:
    scratch = done[""].place.parent
    before = done[scenario.after].copy(scratch / scenario.name)
    scenario.prepare(before)
    # Once for what it imports, so that the time counts without.
    first = before.copy(scratch / f"{scenario.name} first")
    first.run(*scenario.command)
    first.remove()
    site = before.copy(scratch / f"{scenario.name} done")
    ended = site.run(*scenario.command, count=True)
    if ended.code != 0:
        raise RuntimeError(f"{' '.join(scenario.command)}: {ended.output}")
    return Undisturbed(scenario, before, ended.seconds, ended.changes, state_of(site))


def _kill_one(order: Order, undisturbed: Sequence[Undisturbed], number: int) -> Trial:
    one = undisturbed[number % len(undisturbed)]
    chance = order.chance(number)
    rounds = number // len(undisturbed)
    if one.scenario.name == WITH_WORKERS and rounds % 3:
        kill = Kill(after=chance.uniform(0, one.seconds), only="registry work")
    elif rounds % 2:
        kill = Kill(after=chance.uniform(0, one.seconds))
    else:
        kill = Kill(at=chance.randint(1, one.changes))
    return try_once(order, one, kill, f"trial {number}", disturb)


def try_once(
    order: Order,
    one: Undisturbed,
    kill: Kill,
    name: str,
    disturb: Callable[[Site, Undisturbed, Kill], Iterator[str]],
    how: str = "",
) -> Trial:
    """Disturbs a command in a copy of its site, which stays if anything is wrong then.

    Args:
        order: What the part is given.
        one: The command.
        kill: When it is killed.
        name: The name of the copy.
        disturb: Disturbs it, runs it again, and yields what is wrong then, a line each.
        how: What precedes the name of the command in that of the kind of trial.
    """
    site = one.site.copy(order.scratch / name)
    try:
        faults = tuple(disturb(site, one, kill))
    except TooLateError:
        site.remove()
        return Trial("commands that ended before the kill", f"{one.scenario.name}, {kill}, {name}")
    if not faults:
        site.remove()
    return Trial(f"{how}registry {one.scenario.name}", f"{kill}, {name}", faults)


def disturb(site: Site, one: Undisturbed, kill: Kill) -> Iterator[str]:
    """Kills a command, runs it again, and yields what is wrong then, a line each.

    Raises:
        TooLateError: when there was nothing left to kill.
    """
    if not site.run(*one.scenario.command, kill=kill).is_killed:
        raise TooLateError
    for damage in damages(site):
        yield f"right after the kill: {damage}"
    yield from finish(site, one)


def finish(site: Site, one: Undisturbed) -> Iterator[str]:
    """Runs a disturbed command again, and yields what is wrong then, a line each."""
    again = site.run(*one.scenario.command)
    lock = _LOCK.search(again.output)
    if lock is not None:
        # A killed `git` leaves it, and nothing tells whose it is: people have to look.
        Path(lock[1]).unlink()
        again = site.run(*one.scenario.command)
    end = time.monotonic() + _END_SECONDS
    while find_running(site.place) and time.monotonic() < end:
        time.sleep(0.1)
    state = state_of(site)
    other = list(differences(one.state, state))
    if again.code != 0 or other:
        # It may have been done already when it was disturbed.
        code, twice = one.repeat(site.place.with_name(f"{site.place.name} repeated"))
        if again.code not in (0, code):
            yield f"the same again ended with {again.code}: {again.output[-500:]}"
        if other and list(differences(twice, state)):
            yield from other
    yield from wrongs(site, was_disturbed=True)
