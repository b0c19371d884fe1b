"""One unit brought up to date: a collection, an import, or one item of a stage.

Runs in the UI, batches and commands all make units here. The result is a `PendingResult`: the
outputs are in the workspace and locked, and `PendingResult.persist` records them in the metafiles.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache

from registry_assets.curation.initial_decisions import decide_before
from registry_assets.dvc_repo import DvcRepo, PendingResult
from registry_assets.errors import RejectedError
from registry_assets.forgotten import read_forgotten
from registry_assets.intake.archives import limits_of, unpacked
from registry_assets.intake.setting_aside import set_aside_forgotten, set_aside_unstorable
from registry_assets.model import (
    Dataset,
    ImportedInput,
    Registry,
    check_collection_name,
    metafile_of,
    no_collection,
)
from registry_assets.registry.decisions import new_files_of
from registry_assets.registry.lineage.building import build_lineage
from registry_assets.registry.lineage.graph import AssetGroup, Lineage
from registry_assets.registry.lineage.taking_in import not_taken_in
from registry_assets.registry.reading import read_registry
from registry_assets.registry.status.arrivals import reason_against
from registry_assets.registry.translator import Key
from registry_assets.workers.crew import hiring

Report = Callable[[str], None]


@dataclass(frozen=True)
class Unit:
    """All outputs of a group that are made together, for one partition or for none."""

    group: AssetGroup
    partition: str | None = None

    @property
    def address(self) -> str:
        """The stage or ``.dvc`` file that declares it, which may not exist yet."""
        return self.group.address_of(self.partition)

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of its outputs, from the root."""
        return tuple(self.group.path_of(output, self.partition) for output in self.group.outputs)

    @property
    def keys(self) -> tuple[Key, ...]:
        """The keys of the assets of its outputs."""
        return tuple(output.key for output in self.group.outputs)


@dataclass(frozen=True)
class ForeignSource:
    """The source of an import from another repository.

    Attributes:
        url: The repository: a Git URL or a local path.
        path: The path in it.
        revision: A branch, tag or commit; the newest commit when None.
    """

    url: str
    path: str
    revision: str | None = None


def make(
    dvc: DvcRepo,
    lineage: Lineage,
    unit: Unit,
    report: Report,
    *,
    force: bool = False,
    update: bool = False,
    source: ForeignSource | None = None,
) -> AbstractContextManager[PendingResult]:
    """Brings the outputs of a unit into the workspace.

    The graph may be older than the unit: the metafiles of a new collection are read here.

    Args:
        dvc: The repository.
        lineage: The graph.
        unit: The unit.
        report: Takes a line of progress.
        force: Whether to run commands even though nothing changed.
        update: Whether to update an import from elsewhere to the newest version of its source. An
            import from this repository is always updated.
        source: The source of a new import (default: the raw folder of this repository).

    Raises:
        RegistryError: with the next step in its message.
    """
    group, partition, address = unit.group, unit.partition, unit.address
    if group.kind == "stage":
        return _make_stage(dvc, lineage, unit, report, force=force)
    (path,) = unit.paths
    if partition is not None:
        check_collection_name(partition)
    dataset = _dataset_of(lineage.registry, group.folder)
    new_files = new_files_of(dataset, partition) if dataset and partition else None
    collections_file = dataset.collections_file if dataset else None
    if source is not None:
        return dvc.importing_from(
            source.url,
            source.path,
            path,
            revision=source.revision,
            collections_file=collections_file,
            new_files=new_files,
            report=report,
        )
    # Checked before anything is unpacked, moved or stored.
    dvc.check_seen(address)
    known = dvc.read_dvc_file(address)
    if isinstance(known, ImportedInput):
        is_from_here = known.repository is None and not known.source.is_external
        origin = known.source.path
        if not is_from_here or not dvc.path_of(metafile_of(origin)).exists():
            is_updated = update or (is_from_here and dvc.path_of(origin).exists())
            return (dvc.updating if is_updated else dvc.restoring)(address, report=report)
    elif group.kind == "raw" or known is not None:
        return _make_raw(dvc, lineage.registry, unit, report, force=force)
    else:
        origin = f"{lineage.registry.raw_folder}/{partition}"
    return dvc.importing(
        origin, path, collections_file=collections_file, new_files=new_files, report=report
    )


@contextmanager
def _make_stage(
    dvc: DvcRepo, lineage: Lineage, unit: Unit, report: Report, *, force: bool
) -> Iterator[PendingResult]:
    _check_taken_in(dvc, lineage, unit)
    inputs = tuple(_input_addresses(lineage, unit))
    before = decide_before(dvc, lineage, unit.group, unit.partition, report)
    with (
        hiring(dvc, lineage.registry, [unit.address], report) as crew,
        dvc.running(
            unit.address, inputs=inputs, force=force, report=report, before=before, elsewhere=crew
        ) as result,
    ):
        yield result


@contextmanager
def _make_raw(
    dvc: DvcRepo, registry: Registry, unit: Unit, report: Report, *, force: bool
) -> Iterator[PendingResult]:
    (path,), address = unit.paths, unit.address
    place = dvc.path_of(path)
    is_collection = registry.settings.is_collection(path)
    limits = limits_of(registry.settings)
    with unpacked(place, limits, report) if unit.partition is not None else nullcontext():
        is_tracked = dvc.path_of(address).exists()
        if not is_tracked and not os.path.lexists(place):
            raise no_collection(place.name, dvc.relative(place.parent))
        is_link = place.is_symlink() and not place.is_file()
        reason = reason_against(place.name, place) if place.exists() or is_link else None
        # An empty folder may be the next version of a collection, but not its first one. A single
        # file that `dvc add` tracks stays tracked as it is.
        if reason is not None and (not is_tracked or is_link):
            raise RejectedError(path, reason)
        if place.is_dir():
            if not is_tracked:
                dvc.check_trackable(path)
            dvc.check_not_dangling(path, address)
            aside = set_aside_unstorable(
                place,
                dvc.cache_folder,
                is_ignored=dvc.rule_above(place) if is_collection else None,
                read_recorded=cache(lambda: dvc.read_recorded_files(address, path)),
            )
            if aside:
                # Files with ignore rules may be among them.
                dvc.forget_ignored()
            aside |= set_aside_forgotten(place, read_forgotten(dvc.root))
            for name, reason in aside.items():
                report(f"set aside {path}/{name}: {reason}")
        with dvc.tracking(
            path, metafile=address, force=force, is_complete=is_collection, report=report
        ) as result:
            yield result


def _check_taken_in(dvc: DvcRepo, lineage: Lineage, unit: Unit) -> None:
    """Checks that a stage is declared for a collection that the graph does not know yet.

    Raises:
        NotTrackedError: when the data set has not taken the collection in.
    """
    group, partition = unit.group, unit.partition
    if partition is None or partition in group.addresses or dvc.declares(unit.address):
        return
    dataset = next((d for d in lineage.registry.datasets if _lies_in(group.metafile, d)), None)
    stage = group.address.partition("@")[0]
    raise not_taken_in(partition, stage, dataset.name if dataset else "")


def _input_addresses(lineage: Lineage, unit: Unit) -> Iterator[str]:
    """The metafiles that record the inputs of a stage, also for a new collection."""
    for upstream in unit.group.upstream:
        maker = lineage.group_of.get(upstream.key)
        if maker is None:
            continue
        names = upstream.read_by(unit.partition)
        if names is None:
            # The stage reads all items, and new collections add some: read them again.
            yield from _addresses_now(lineage, upstream.key)
        else:
            yield from map(maker.address_of, names)


def _addresses_now(lineage: Lineage, key: Key) -> Iterator[str]:
    group = build_lineage(read_registry(lineage.registry.root), lineage.translator).group_of.get(
        key
    )
    yield from group.addresses.values() if group else ()


def _dataset_of(registry: Registry, folder: str | None) -> Dataset | None:
    return next((d for d in registry.datasets if folder and d.inputs == folder), None)


def _lies_in(metafile: str, dataset: Dataset) -> bool:
    return metafile.startswith(f"{dataset.path}/") or not dataset.path
