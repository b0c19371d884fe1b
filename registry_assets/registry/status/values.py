"""What is up to date and what is not, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

RawState = Literal["new", "tracked", "modified", "missing", "rejected", "loose"]
State = Literal["up_to_date", "stale", "behind", "never_run", "missing"]


@dataclass(frozen=True)
class CollectionStatus:
    """A collection in the raw folder.

    Attributes:
        state: ``new``: DVC does not know it yet. ``rejected``: it cannot be taken in, for `reason`.
            ``modified``: it differs from its recorded version. ``missing``: it is not in the
            workspace. ``loose``: no collection, but photographs and videos outside any folder.
    """

    collection: str
    path: str
    state: RawState
    reason: str | None = None
    md5: str | None = None
    size: int | None = None
    nfiles: int | None = None


@dataclass(frozen=True)
class OutputStatus:
    """An import, or the output of a stage.

    Attributes:
        state: ``behind``: an import whose source has moved on. ``never_run``: no version is
            recorded. ``missing``: it is recorded, but not in the workspace.
        why: What changed, in words.
    """

    path: str
    asset: str
    partition: str | None
    state: State
    why: tuple[str, ...]
    md5: str | None


@dataclass(frozen=True)
class RegistryStatus:
    """The status of everything that a registry declares.

    Attributes:
        problems: What could not be read, or is not seen.
        notes: What is as it should be and may still be somebody's next step.
    """

    root: str
    raw: tuple[CollectionStatus, ...]
    outputs: tuple[OutputStatus, ...]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def up_to_date(self) -> bool:
        """Whether nothing is left to do; new folders are somebody's next decision."""
        return (
            not self.problems
            and all(output.state == "up_to_date" for output in self.outputs)
            and not any(item.state in ("modified", "missing") for item in self.raw)
        )

    def as_json(self) -> dict[str, Any]:
        """The form of `registry status --json`."""
        return {
            "root": self.root,
            "up_to_date": self.up_to_date,
            "raw": [asdict(item) for item in self.raw],
            "outputs": [asdict(output) for output in self.outputs],
            "problems": list(self.problems),
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RegistryStatus:
        """The other way round."""
        return cls(
            data["root"],
            tuple(CollectionStatus(**item) for item in data["raw"]),
            tuple(OutputStatus(**{**item, "why": tuple(item["why"])}) for item in data["outputs"]),
            tuple(data["problems"]),
            tuple(data["notes"]),
        )
