"""The assets that stand for what DVC tracks.

One multi-asset for each stage (or family of stages) and one for each family of collections.
Dagster reads annotations at run time, so this module does without postponed ones.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache, partial
from typing import Any

from dagster import (
    AllPartitionMapping,
    AssetExecutionContext,
    AssetIn,
    AssetKey,
    AssetOut,
    AssetsDefinition,
    AssetSpec,
    DynamicPartitionsDefinition,
    IdentityPartitionMapping,
    MetadataValue,
    Nothing,
    Output,
    PartitionMapping,
    SpecificPartitionsPartitionMapping,
    multi_asset,
)

from registry_assets.curation.initial_decisions import decide_before
from registry_assets.dvc_repo import DvcRepo, PendingResult, RecordedOutput
from registry_assets.errors import (
    CollectionNotFoundError,
    CollectionNotTakenInError,
    CollectionRejectedError,
)
from registry_assets.forgotten import read_forgotten
from registry_assets.intake.archives import limits_of, unpacked
from registry_assets.intake.setting_aside import set_aside_forgotten, set_aside_unstorable
from registry_assets.model import (
    Dataset,
    ImportedInput,
    Registry,
    Settings,
    check_collection_name,
)
from registry_assets.orchestration.io_manager import IO_MANAGER_KEY, PendingOutput
from registry_assets.orchestration.metadata import decisions_metadata, look_for_duplicates
from registry_assets.orchestration.resources import DvcRepoResource, MaterializeConfig
from registry_assets.orchestration.sensors.automation import build_condition
from registry_assets.provenance.origin_table import read_ancestry
from registry_assets.registry.decisions import new_files_of
from registry_assets.registry.lineage.building import build_lineage
from registry_assets.registry.lineage.graph import AssetGroup, Lineage, Upstream
from registry_assets.registry.reading import read_registry
from registry_assets.registry.status.arrivals import (
    reason_against,
)
from registry_assets.registry.translator import COLLECTIONS, Key, RegistryTranslator

Report = Callable[[str], None]


def build_registry_assets(
    registry: Registry,
    translator: RegistryTranslator | None = None,
    *,
    skip: Sequence[AssetKey] = (),
) -> list[AssetsDefinition | AssetSpec]:
    """Builds the assets of a registry.

    Args:
        registry: What the metafiles declare.
        translator: The rules for names; the default ones when None.
        skip: Keys that somebody else's code defines.
    """
    return build_lineage_assets(build_lineage(registry, translator), skip=skip)


def build_lineage_assets(
    lineage: Lineage, *, skip: Sequence[AssetKey] = ()
) -> list[AssetsDefinition | AssetSpec]:
    """Builds the assets of a graph that was built already; see `build_registry_assets`."""
    skipped = {tuple(key.path) for key in skip}
    assets: list[AssetsDefinition | AssetSpec] = [
        AssetSpec(AssetKey(list(key)), description=f"Outside this repository: `{address}`.")
        for key, address in lineage.sources.items()
        if key not in skipped
    ]
    for group in lineage.groups:
        if not skipped.intersection(output.key for output in group.outputs):
            assets.append(_build_assets(lineage, group))
    return assets


def partitions_definition(group: AssetGroup) -> DynamicPartitionsDefinition | None:
    """The partitions of a group's assets."""
    return DynamicPartitionsDefinition(name=group.partitions) if group.partitions else None


def _build_assets(lineage: Lineage, group: AssetGroup) -> AssetsDefinition:
    output_names = {f"output_{n}": output for n, output in enumerate(group.outputs)}
    condition = build_condition(lineage, group)

    @multi_asset(
        name=group.name,
        outs={
            name: AssetOut(
                key=AssetKey(list(output.key)),
                description=output.description,
                io_manager_key=IO_MANAGER_KEY,
                group_name=group.group,
                code_version=group.code_version,
                automation_condition=condition,
                kinds=set(output.kinds),
                metadata=lineage.translator.metadata(output.path, group.address),
            )
            for name, output in output_names.items()
        },
        ins={f"input_{n}": _input(upstream) for n, upstream in enumerate(group.upstream)},
        partitions_def=partitions_definition(group),
    )
    def materialize(
        context: AssetExecutionContext, config: MaterializeConfig, dvc_repo: DvcRepoResource
    ) -> Iterator[Output[Any]]:
        partition = context.partition_key if context.has_partition_key else None
        dvc = dvc_repo.dvc()
        report = context.log.info
        with (
            dvc.session(),
            bring(
                dvc, lineage, group, partition, config.force, report, update=config.update
            ) as result,
        ):
            # Read when the result is recorded, once for all outputs.
            read = cache(partial(read_ancestry, dvc, lineage, group, partition))
            ancestry = None if group.kind == "raw" else read
            duplicates = _look_for_duplicates(dvc, lineage, group, partition)
            decisions = partial(decisions_metadata, lineage.registry, group, partition)
            for name, output in output_names.items():
                path = group.path_of(output, partition)
                yield Output(PendingOutput(result, path, ancestry, duplicates, decisions), name)

    return materialize


def _look_for_duplicates(
    dvc: DvcRepo, lineage: Lineage, group: AssetGroup, partition: str | None
) -> Callable[[RecordedOutput], Mapping[str, MetadataValue]] | None:
    """What looks for pictures of a collection that others have; None where it is no collection."""
    if partition is None or group.partitions != COLLECTIONS or group.kind == "import":
        return None
    return partial(look_for_duplicates, dvc, lineage, partition, is_raw=group.kind == "raw")


def _input(upstream: Upstream) -> AssetIn:
    """An edge of the graph, under a name that Dagster takes: `deps` would name it after the key."""
    mapping: PartitionMapping | None = None
    if upstream.partitions == "same":
        mapping = IdentityPartitionMapping()
    elif upstream.partitions == "all":
        mapping = AllPartitionMapping()
    elif upstream.partitions is not None:
        mapping = SpecificPartitionsPartitionMapping(list(upstream.partitions))
    return AssetIn(AssetKey(list(upstream.key)), partition_mapping=mapping, dagster_type=Nothing)


def bring(
    dvc: DvcRepo,
    lineage: Lineage,
    group: AssetGroup,
    partition: str | None,
    force: bool,
    report: Report,
    *,
    update: bool = False,
) -> AbstractContextManager[PendingResult]:
    """Brings the outputs of a group into the workspace, for one partition.

    A collection that came after the lineage was read is found by its metafiles.

    Args:
        dvc: The repository.
        lineage: The graph.
        group: What to bring.
        partition: Which of it.
        force: Whether commands run even though nothing changed.
        report: Takes progress.
        update: Whether an import from elsewhere moves on to what its source has now. One from
            this repository always does.

    Raises:
        RegistryError: with the next step in its message.
    """
    if group.kind == "stage":
        return _bring_stage(dvc, lineage, group, partition, force, report)
    output = group.outputs[0]
    path = group.path_of(output, partition)
    if partition is not None:
        check_collection_name(partition)
    address = group.address_of(partition)
    # Before anything is unpacked, moved or stored.
    dvc.check_seen(address)
    known = dvc.read_dvc_file(address)
    raw_folder = lineage.registry.raw_folder
    if isinstance(known, ImportedInput):
        is_from_here = known.repository is None and not known.source.is_external
        source = known.source.path
        if not is_from_here or not dvc.path_of(f"{source}.dvc").exists():
            follows = update or (is_from_here and dvc.path_of(source).exists())
            return (dvc.updating if follows else dvc.restoring)(address, report=report)
    elif group.kind == "raw" or known is not None:
        settings = lineage.registry.settings
        return _bring_raw(dvc, path, group, partition, settings, force, report)
    else:
        source = f"{raw_folder}/{partition}"
    dataset = _dataset_of(lineage.registry, group.folder)
    return dvc.importing(
        source,
        path,
        collections_file=dataset.collections_file if dataset else None,
        new_files=new_files_of(dataset, partition) if dataset and partition else None,
        report=report,
    )


@contextmanager
def _bring_raw(
    dvc: DvcRepo,
    path: str,
    group: AssetGroup,
    partition: str | None,
    settings: Settings,
    force: bool,
    report: Report,
) -> Iterator[PendingResult]:
    place = dvc.path_of(path)
    address = group.address_of(partition)
    is_collection = settings.is_collection(path)
    limits = limits_of(settings)
    with unpacked(place, limits, report) if partition is not None else nullcontext():
        is_tracked = dvc.path_of(address).exists()
        if not is_tracked and not os.path.lexists(place):
            raise CollectionNotFoundError(place.name, dvc.relative(place.parent))
        is_link = place.is_symlink() and not place.is_file()
        reason = reason_against(place.name, place) if place.exists() or is_link else None
        # An empty folder may be the next version of a collection, but not its first. What `dvc add`
        # made of a single file stays as it is.
        if reason is not None and (not is_tracked or is_link):
            raise CollectionRejectedError(path, reason)
        if place.is_dir():
            if not is_tracked:
                dvc.check_trackable(path)
            aside = set_aside_unstorable(
                place,
                dvc.cache_folder,
                is_ignored=dvc.rule_above(place) if is_collection else None,
                read_recorded=cache(lambda: dvc.read_recorded_files(address, path)),
            )
            if aside:
                # Ignore files of its own may be among that.
                dvc.forget_ignored()
            aside |= set_aside_forgotten(place, read_forgotten(dvc.root))
            for name, reason in aside.items():
                report(f"set aside {path}/{name}: {reason}")
        with dvc.tracking(
            path, metafile=address, force=force, is_complete=is_collection, report=report
        ) as result:
            yield result


def _bring_stage(
    dvc: DvcRepo,
    lineage: Lineage,
    group: AssetGroup,
    partition: str | None,
    force: bool,
    report: Report,
) -> AbstractContextManager[PendingResult]:
    address = group.address_of(partition)
    if partition is not None and partition not in group.addresses:
        _check_taken_in(dvc, lineage, group, partition, address)
    inputs = tuple(_input_addresses(lineage, group, partition))
    before = decide_before(dvc, lineage, group, partition, report)
    return dvc.running(address, inputs=inputs, force=force, report=report, before=before)


def _check_taken_in(
    dvc: DvcRepo, lineage: Lineage, group: AssetGroup, partition: str, address: str
) -> None:
    if dvc.declares(address):
        return
    dataset = next((d for d in lineage.registry.datasets if _lies_in(group.metafile, d)), None)
    raise CollectionNotTakenInError(
        partition, group.address.partition("@")[0], dataset.name if dataset else ""
    )


def _input_addresses(lineage: Lineage, group: AssetGroup, partition: str | None) -> Iterator[str]:
    """The metafiles that record what a stage reads, also of a collection that is new."""
    for upstream in group.upstream:
        maker = lineage.group_of.get(upstream.key)
        if maker is None:
            continue
        if upstream.partitions == "same":
            yield maker.address_of(partition)
        elif upstream.partitions == "all":
            # Which items there are changes with every collection, so they are read again.
            yield from _addresses_now(lineage, upstream.key)
        elif upstream.partitions is None:
            yield maker.address
        else:
            yield from (maker.address_of(name) for name in upstream.partitions)


def _addresses_now(lineage: Lineage, key: Key) -> Iterator[str]:
    group = build_lineage(read_registry(lineage.registry.root), lineage.translator).group_of.get(
        key
    )
    yield from group.addresses.values() if group else ()


def _dataset_of(registry: Registry, folder: str | None) -> Dataset | None:
    return next((d for d in registry.datasets if folder and d.inputs == folder), None)


def _lies_in(metafile: str, dataset: Dataset) -> bool:
    return metafile.startswith(f"{dataset.path}/") or not dataset.path
