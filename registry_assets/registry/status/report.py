"""The status of a registry, as text and as JSON."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import TypedDict

from registry_assets.registry.status.next_steps import describe_missing, describe_next_version
from registry_assets.registry.status.values import (
    CollectionStatus,
    OutputStatus,
    RegistryStatus,
    State,
)
from registry_assets.units import cut_middle

_MOST_NAMED = 3
_LONGEST_NOTE = 300


class StatusJson(TypedDict):
    """The status of a registry.

    Attributes:
        root: The root of the registry.
        up_to_date: Whether nothing is left to do; new folders do not count.
        raw: The collections in the raw folder.
        outputs: Imports and the outputs of stages.
        problems: What could not be read, or is ignored.
        notes: Suggestions for next steps.
    """

    root: str
    up_to_date: bool
    raw: tuple[CollectionStatus, ...]
    outputs: tuple[OutputStatus, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def describe_status(found: RegistryStatus) -> Iterator[str]:
    """A line for each collection, data set and state that needs a look, with the next command.

    Then the notes, and a sum.
    """
    for item in found.raw:
        if item.state != "tracked" and not _is_just_missing(item):
            yield f"{item.state:<10} {item.path}{_next_for(item)}"
    yield from _describe_missing(found)
    yield from _describe_outputs(found)
    kept = sum(map(_is_kept, found.outputs))
    if kept:
        verb = "is" if kept == 1 else "are"
        yield f"{'kept':<10} {_count(kept, 'output')} {verb} on the remote only{_then('dvc pull')}"
    yield from (cut_middle(note, _LONGEST_NOTE) for note in found.notes)
    yield _sum(found) + ("" if _is_current(found) else "; `registry status -v` says why")


def describe_details(found: RegistryStatus) -> Iterator[str]:
    """A line for each collection and output that needs a look, with all reasons; notes and sum."""
    for item in found.raw:
        if item.state != "tracked":
            yield f"{item.state:<10} {item.path}{_because(item.reason)}"
    for output in found.outputs:
        if output.state != "up_to_date" or _is_kept(output):
            state = "kept" if _is_kept(output) else output.state
            yield f"{state:<10} {output.path}{_because('; '.join(output.why))}"
    yield from (cut_middle(note, _LONGEST_NOTE) for note in found.notes)
    yield _sum(found)


def _sum(found: RegistryStatus) -> str:
    tracked = sum(item.state == "tracked" for item in found.raw)
    collections = sum(item.state != "loose" for item in found.raw)
    current = sum(output.state == "up_to_date" for output in found.outputs)
    return (
        f"{tracked} of {collections} collections tracked, "
        f"{current} of {len(found.outputs)} outputs up to date"
    )


def _is_kept(output: OutputStatus) -> bool:
    """Whether an output is up to date without being here: workers leave it on the remote."""
    return output.state == "up_to_date" and bool(output.why)


def _is_current(found: RegistryStatus) -> bool:
    return all(output.state == "up_to_date" for output in found.outputs)


def _because(reason: str | None) -> str:
    return f"  ({reason})" if reason else ""


def _then(command: str) -> str:
    return f"  → {command}"


def _is_just_missing(item: CollectionStatus) -> bool:
    return item.state == "missing" and item.reason == describe_missing(item.path)


def _next_for(item: CollectionStatus) -> str:
    """The next step for one collection: a command, or what stands in the way."""
    is_plain = item.reason in (None, describe_next_version(item.collection))
    if item.state in ("new", "modified") and is_plain:
        return _then(f"registry add {item.collection}")
    return _because(item.reason)


def _describe_missing(found: RegistryStatus) -> Iterator[str]:
    collections = sum(map(_is_just_missing, found.raw))
    missing = [output for output in found.outputs if output.state == "missing"]
    counts = [(collections, "collection"), (len(missing), "output")]
    said = " and ".join(_count(number, thing) for number, thing in counts if number)
    if said:
        # What the cache has is restored on the way, and told to Dagster.
        is_elsewhere = any(f"{item.path} is not in cache" in item.why for item in missing)
        command = "dvc pull" if is_elsewhere else "registry materialize"
        verb = "is" if collections + len(missing) == 1 else "are"
        yield f"{'missing':<10} {said} {verb} not in the workspace{_then(command)}"


def _describe_outputs(found: RegistryStatus) -> Iterator[str]:
    groups: dict[tuple[str, State], list[OutputStatus]] = {}
    for output in found.outputs:
        if output.state not in ("up_to_date", "missing"):
            groups.setdefault((_place_of(output.path), output.state), []).append(output)
    changing = {output.path for output in found.outputs if output.state != "up_to_date"}
    changing |= {item.path for item in found.raw if item.state != "tracked"}
    collections = {item.collection for item in found.raw}
    for (place, state), outputs in groups.items():
        command = "registry update" if state == "behind" else "registry materialize"
        why = _causes(place, outputs, changing) if state == "stale" else ""
        yield f"{state:<10} {_name(place, outputs, collections)}{why}{_then(command)}"


def _place_of(path: str) -> str:
    """The data set of an output, by its path; the folder it is in where it is of none."""
    dataset, data, _ = path.partition("/data/")
    return dataset if data else path.rpartition("/")[0]


def _name(place: str, outputs: Sequence[OutputStatus], collections: Collection[str]) -> str:
    if len(outputs) == 1:
        return outputs[0].path
    partitions = {output.partition for output in outputs if output.partition is not None}
    thing = "collection" if partitions.issubset(collections) else "partition"
    names = f" of {', '.join(partitions)}" if partitions else ""
    of = names if len(partitions) <= 1 else f" of {_count(len(partitions), thing)}"
    return f"{f'{place}: ' if place else ''}{len(outputs)} outputs{of}"


def _causes(place: str, outputs: Sequence[OutputStatus], changing: Collection[str]) -> str:
    """Why outputs are stale, but for what another line says: that what they are made of is."""
    own = {output.path for output in outputs}
    causes = dict.fromkeys(
        why.removeprefix(f"{place}/")
        for output in outputs
        for why in output.why
        if (path := why.partition(" is ")[0]) not in changing or (path in own and len(own) == 1)
    )
    more = len(causes) - _MOST_NAMED
    shown = [*islice(causes, _MOST_NAMED), *([f"{more} more reasons"] if more > 0 else [])]
    return _because("; ".join(shown))


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def status_as_json(found: RegistryStatus) -> StatusJson:
    """The JSON of `registry status --json`."""
    return {
        "root": found.root,
        "up_to_date": found.up_to_date,
        "raw": found.raw,
        "outputs": found.outputs,
        "problems": found.problems,
        "notes": found.notes,
    }
