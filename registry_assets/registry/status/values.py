"""The status of a registry, as values."""

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
        collection: The name of the collection.
        path: The path, from the root.
        state: ``new``: DVC does not track it yet. ``rejected``: it cannot be added, see `reason`.
            ``modified``: it differs from its recorded version. ``missing``: it is not in the
            workspace. ``loose``: not a collection, but images and videos outside any folder.
        reason: The reason for the state, or the next step; None when there is nothing to add.
        md5: The recorded version; None when there is none.
        size: Total size in bytes, where recorded.
        nfiles: Number of files, where recorded.
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
        path: The path, from the root.
        asset: The key of its asset, with slashes.
        partition: The partition of that asset; None when it is not partitioned.
        state: ``behind``: an import whose source has a newer version. ``never_run``: no version is
            recorded. ``missing``: it is recorded, but not in the workspace.
        why: What changed.
        md5: The recorded version; None when there is none.
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
        problems: What could not be read, or is ignored.
        notes: Suggestions for next steps.
    """

    root: str
    raw: tuple[CollectionStatus, ...]
    outputs: tuple[OutputStatus, ...]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def up_to_date(self) -> bool:
        """Whether nothing is left to do; new folders do not count."""
        return (
            not self.problems
            and all(output.state == "up_to_date" for output in self.outputs)
            and not any(item.state in ("modified", "missing") for item in self.raw)
        )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RegistryStatus:
        """The inverse of `asdict`; also accepts the lists that JSON turns tuples into."""
        return cls(
            data["root"],
            tuple(CollectionStatus(**item) for item in data["raw"]),
            tuple(OutputStatus(**{**item, "why": tuple(item["why"])}) for item in data["outputs"]),
            tuple(data["problems"]),
            tuple(data["notes"]),
        )
