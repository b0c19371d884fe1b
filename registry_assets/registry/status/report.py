"""The status of a registry, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypedDict

from registry_assets.registry.status.values import CollectionStatus, OutputStatus, RegistryStatus


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
    """A line for each collection and output that needs attention, the notes, and a summary."""
    for item in found.raw:
        if item.state != "tracked":
            yield f"{item.state:<10} {item.path}{_because(item.reason)}"
    for output in found.outputs:
        if output.state != "up_to_date":
            yield f"{output.state:<10} {output.path}{_because('; '.join(output.why))}"
    yield from found.notes
    tracked = sum(item.state == "tracked" for item in found.raw)
    collections = sum(item.state != "loose" for item in found.raw)
    current = sum(output.state == "up_to_date" for output in found.outputs)
    yield (
        f"{tracked} of {collections} collections tracked, "
        f"{current} of {len(found.outputs)} outputs up to date"
    )


def _because(reason: str | None) -> str:
    return f"  ({reason})" if reason else ""


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
