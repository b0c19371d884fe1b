"""One run of a stage as plain values, which another machine can make without the whole registry.

A `ResolvedStage` has no variables left in it, and states the version of everything that it reads.
A `MadeStage` states what came out. Both are JSON; the forms in them are DVC's own: a definition is
an entry of ``dvc.yaml`` (`dvc.stage.serialize.to_pipeline_file`), an entry is one of ``dvc.lock``
(`dvc.stage.serialize.to_single_stage_lockfile`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from threading import Event
from typing import Any, Literal, Protocol


@dataclass(frozen=True)
class DataVersion:
    """A version of an output.

    Attributes:
        path: From the root.
        md5: The version; of a folder, that of its listing.
        hash_name: DVC's name of the hash: ``md5``, or ``md5-dos2unix`` as of DVC 2.
        size: In bytes.
        nfiles: The number of files of a folder.
        remote: The remote that the metafile names for it (default: the default remote).
    """

    path: str
    md5: str
    hash_name: str = "md5"
    size: int | None = None
    nfiles: int | None = None
    remote: str | None = None


@dataclass(frozen=True)
class ResolvedStage:
    """A run of a stage.

    Attributes:
        address: The stage, by its path from the root.
        definition: Its entry of ``dvc.yaml``, without variables.
        entry: Its entry of ``dvc.lock`` before the run: the versions of its dependencies and the
            values of its parameters; without outputs.
        inputs: The outputs of other stages and ``.dvc`` files to check out before the run; all
            dependencies besides these are files of the snapshot.
        previous: The previous versions of its ``persist`` outputs, to check out, too.
        force: Whether the command runs even if the run cache has its outputs.
    """

    address: str
    definition: Mapping[str, Any]
    entry: Mapping[str, Any]
    inputs: tuple[DataVersion, ...] = ()
    previous: tuple[DataVersion, ...] = ()
    force: bool = False

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ResolvedStage:
        """From JSON."""
        versions = {
            name: tuple(DataVersion(**item) for item in data[name])
            for name in ("inputs", "previous")
        }
        return cls(**{**data, **versions})


@dataclass(frozen=True)
class MadeStage:
    """The outputs of a stage, in a cache or on a remote.

    Attributes:
        outcome: ``ran``, or ``restored`` if they were found in a run cache.
        entry: The stage's entry of ``dvc.lock``, with its outputs.
        seconds: How long it took, without fetching inputs and storing outputs.
        machine: The name of the machine.
        is_in_cache: Whether the outputs are in a cache that this machine shares; else they are on
            the remote that the metafile names for each output.
        versions: The versions of the software that made them, by name.
    """

    outcome: Literal["ran", "restored"]
    entry: Mapping[str, Any]
    seconds: float
    machine: str
    is_in_cache: bool
    versions: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


class Elsewhere(Protocol):
    """Other machines that make stages."""

    @property
    def most_at_once(self) -> int:
        """How many stages to have in progress at a time."""

    @property
    def keeps_remote(self) -> bool:
        """Whether outputs stay on the remote, instead of being fetched into the workspace."""

    def make(
        self,
        stage: ResolvedStage,
        files: Sequence[str],
        send: Callable[[Sequence[str]], None],
        report: Callable[[str], None],
        stop: Event,
    ) -> MadeStage:
        """Makes a stage on another machine, and waits for it.

        Called from several threads.

        Args:
            stage: The stage.
            files: The dependencies that are files or folders outside DVC, from the root.
            send: Puts the objects of inputs, given by their paths, where workers find them.
            report: Takes the output of the command, line by line.
            stop: When set, the command is terminated.

        Raises:
            StageFailedError: when the command fails, is stopped, or does not make an output.
            RepositoryChangedError: when a dependency changed meanwhile.
            RegistryError: when no machine could make it.
        """
