"""What travels to a worker and back, as JSON: an order, and its answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from registry_assets.dvc_repo.resolved import MadeStage, ResolvedStage

FORMAT = 1

ProblemKind = Literal[
    "failed",  # the command failed, or did not make an output
    "stopped",  # the command was stopped on request
    "lacking",  # inputs are neither in the worker's cache nor on a remote
    "outdated",  # a file of the snapshot differs from the recorded dependency
    "refused",  # the worker has other versions of the libraries that results depend on
    "settings",  # what the registry configures does not suit workers
    "unusable",  # remote, disk or Git of this worker: another worker, or a later try, may do it
]


@dataclass(frozen=True)
class Order:
    """A stage to make on a worker.

    Attributes:
        stage: The stage.
        snapshot: The commit of the snapshot of code and metafiles (`git_repo.snapshots`).
        prefix: The root of the registry within the snapshot, such as ``data/``; "" at its top.
        edits: The content of files that changed since the snapshot, in base64, by path from the
            root; None for one that is gone.
        beacon: The name of a file in the cache of the one who orders. A worker that finds it in
            its own cache shares that cache.
        versions: The versions that results depend on (`workers.versions`); empty for any.
        format: Of this class.
    """

    stage: ResolvedStage
    snapshot: str
    prefix: str = ""
    edits: Mapping[str, str | None] = field(default_factory=dict)
    beacon: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    format: int = FORMAT

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Order:
        """From JSON."""
        return cls(**{**data, "stage": ResolvedStage.from_json(data["stage"])})


@dataclass(frozen=True)
class Problem:
    """Why a worker could not make a stage.

    Attributes:
        kind: See `ProblemKind`.
        reason: A clause or sentence for people, without credentials.
        paths: The inputs that are lacking, or the dependency that is outdated.
        lines: The last lines of the command's output.
        machine: The name of the machine.
    """

    kind: ProblemKind
    reason: str
    paths: Sequence[str] = ()
    lines: Sequence[str] = ()
    machine: str = ""


@dataclass(frozen=True)
class Answer:
    """The answer to an order: what was made, or why not.

    Attributes:
        made: What was made.
        problem: Why nothing was made.
        versions: The versions of this package, Python and libraries on the worker.
        log: The end of the command's output.
    """

    made: MadeStage | None = None
    problem: Problem | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    log: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Answer:
        """From JSON."""
        made, problem = data["made"], data["problem"]
        return cls(
            MadeStage(**made) if made else None,
            Problem(**problem) if problem else None,
            data["versions"],
            data["log"],
        )
