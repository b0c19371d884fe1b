"""What is up to date and what is not, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypedDict

from registry_assets.registry.status.values import CollectionStatus, OutputStatus, RegistryStatus


class StatusJson(TypedDict):
    """What is up to date and what is not.

    Attributes:
        root: The folder of the registry.
        up_to_date: Whether nothing is left to do; new folders are somebody's next decision.
        raw: The collections in the raw folder.
        outputs: Imports and the outputs of stages.
        problems: What could not be read, or is not seen.
        notes: What is as it should be and may still be somebody's next step.
    """

    root: str
    up_to_date: bool
    raw: tuple[CollectionStatus, ...]
    outputs: tuple[OutputStatus, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def describe_status(found: RegistryStatus) -> Iterator[str]:
    """A line for each collection and output that needs a look, the notes, and a sum."""
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
    """The form of `registry status --json`."""
    return {
        "root": found.root,
        "up_to_date": found.up_to_date,
        "raw": found.raw,
        "outputs": found.outputs,
        "problems": found.problems,
        "notes": found.notes,
    }
