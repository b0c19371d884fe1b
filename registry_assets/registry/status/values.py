"""What is up to date and what is not, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

RawState = Literal["new", "tracked", "modified", "missing", "rejected", "loose"]
State = Literal["up_to_date", "stale", "behind", "never_run", "missing"]


@dataclass(frozen=True)
class CollectionStatus:
    """A collection in the raw folder.

    Attributes:
        collection: Its name.
        path: Where it is, from the root.
        state: ``new``: DVC does not know it yet. ``rejected``: it cannot be taken in, for `reason`.
            ``modified``: it differs from its recorded version. ``missing``: it is not in the
            workspace. ``loose``: no collection, but photographs and videos outside any folder.
        reason: Why it is in this state, where there is more to say.
        md5: The recorded version; None where none is.
        size: Its bytes, where recorded.
        nfiles: Its files, where recorded.
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
        path: Where it is, from the root.
        asset: The key of its asset, with slashes.
        partition: Which partition of that it is; None where the asset has none.
        state: ``behind``: an import whose source has moved on. ``never_run``: no version is
            recorded. ``missing``: it is recorded, but not in the workspace.
        why: What changed, in words.
        md5: The recorded version; None where none is.
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

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RegistryStatus:
        """The status that `asdict` made a dictionary of, also when that was JSON meanwhile."""
        return cls(
            data["root"],
            tuple(CollectionStatus(**item) for item in data["raw"]),
            tuple(OutputStatus(**{**item, "why": tuple(item["why"])}) for item in data["outputs"]),
            tuple(data["problems"]),
            tuple(data["notes"]),
        )
