"""What the other clones that share a cache have recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from registry_assets.dvc_repo import DvcRepo
from registry_assets.errors import RegistryError
from registry_assets.registry.lineage.building import build_lineage
from registry_assets.registry.lineage.graph import Lineage
from registry_assets.registry.reading import read_registry
from registry_assets.revisions.changes.version_history import VersionHistory, read_version_history


@dataclass(frozen=True)
class CloneHistory:
    """What a clone has recorded.

    Attributes:
        dvc: The clone.
        lineage: Its current graph.
        history: Every version that its metafiles, or those of any commit, record.
        linked: The objects that symbolic links in its work tree lead to, recorded or not.
    """

    dvc: DvcRepo
    lineage: Lineage
    history: VersionHistory
    linked: frozenset[str] = frozenset()


@dataclass(frozen=True)
class OtherClones:
    """The other clones that use a cache.

    Attributes:
        histories: What those have recorded that can be read.
        unknown: Those of which what they need is not known here, each with the next step.
    """

    histories: tuple[CloneHistory, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def roots(self) -> tuple[str, ...]:
        """The roots of the readable clones."""
        return tuple(str(clone.dvc.root) for clone in self.histories)


def find_problems(lineage: Lineage, history: VersionHistory) -> tuple[str, ...]:
    """What cannot be read in a clone, and may need any object."""
    return (*lineage.registry.problems, *history.kept_unread)


def read_history(dvc: DvcRepo) -> CloneHistory:
    """Read what a clone has recorded."""
    lineage = build_lineage(read_registry(dvc.root, dvc))
    return CloneHistory(dvc, lineage, read_version_history(lineage.registry))


def read_other_clones(dvc: DvcRepo) -> OtherClones:
    """Read what every other clone that uses the cache of this one has recorded."""
    found = dvc.read_clones()
    histories, unknown = read_histories(found.readable)
    return OtherClones(histories, (*found.unknown, *unknown))


def read_histories(
    roots: Sequence[Path],
) -> tuple[tuple[CloneHistory, ...], tuple[str, ...]]:
    """Read what clones have recorded; return a message for each that cannot be read."""
    histories, unknown = [], []
    for root in roots:
        try:
            dvc = DvcRepo(root, registers=False)
            clone = replace(read_history(dvc), linked=dvc.find_symlinked())
            histories.append(clone)
            unknown += [
                f"it is not known what the clone {root} needs, because {problem}: fix that first"
                for problem in find_problems(clone.lineage, clone.history)
            ]
        except (RegistryError, OSError) as error:
            unknown.append(f"the clone {root} cannot be read: {error}")
    return tuple(histories), tuple(unknown)
