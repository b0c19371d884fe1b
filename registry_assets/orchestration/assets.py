"""The assets that represent what DVC tracks.

There is one multi-asset for each stage (or family of stages) and one for each family of
collections. Dagster reads annotations at run time, so they are not postponed here.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from dagster import (
    AllPartitionMapping,
    AssetExecutionContext,
    AssetIn,
    AssetKey,
    AssetObservation,
    AssetOut,
    AssetsDefinition,
    AssetSelection,
    AssetSpec,
    Config,
    DagsterError,
    IdentityPartitionMapping,
    Nothing,
    Output,
    PartitionMapping,
    SpecificPartitionsPartitionMapping,
    multi_asset,
)
from pydantic import Field

from registry_assets.dvc_repo import DvcRepo
from registry_assets.errors import NotFoundError, RefusedError, RegistryError
from registry_assets.making.unit import Unit, make
from registry_assets.model import (
    Registry,
)
from registry_assets.orchestration.describing import Describer
from registry_assets.orchestration.io_manager import IO_MANAGER_KEY, PendingOutput
from registry_assets.orchestration.names import own_name, partitions_definition
from registry_assets.orchestration.sensors.automation import build_condition
from registry_assets.provenance.origin_table import read_ancestry
from registry_assets.registry.lineage.building import build_lineage
from registry_assets.registry.lineage.graph import AssetGroup, Lineage, Upstream
from registry_assets.registry.status.unknown_names import check_collection_exists
from registry_assets.registry.translator import COLLECTIONS, Key, RegistryTranslator


class MaterializeConfig(Config):
    """Launch-time options of a run."""

    force: bool = Field(
        default=False, description="Run the command even though nothing changed since dvc.lock."
    )
    update: bool = Field(
        default=False,
        description="Update an import from elsewhere to the newest version of its source, as `dvc "
        "update` does; otherwise the recorded version is restored.",
    )


def build_registry_assets(
    registry: Registry,
    translator: RegistryTranslator | None = None,
    *,
    skip: Sequence[AssetKey] = (),
) -> list[AssetsDefinition | AssetSpec]:
    """Builds the assets of a registry.

    Args:
        registry: The registry, as its metafiles declare it.
        translator: The rules for names (default: `RegistryTranslator`).
        skip: Asset keys to leave out, as other code defines them.
    """
    return build_lineage_assets(build_lineage(registry, translator), skip=skip)


def build_lineage_assets(
    lineage: Lineage, *, skip: Sequence[AssetKey] = ()
) -> list[AssetsDefinition | AssetSpec]:
    """Builds the assets of an existing graph; see `build_registry_assets`."""
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


def select_keys(lineage: Lineage, selection: str | None) -> frozenset[Key]:
    """The keys that a selection in Dagster's syntax matches; all keys when it is None.

    Raises:
        RegistryError: when the selection cannot be parsed or matches no asset.
    """
    if selection is None:
        return frozenset(lineage.output_of)
    built = build_lineage_assets(lineage)
    assets = [item for item in built if isinstance(item, AssetsDefinition)]
    specs = [item for item in built if isinstance(item, AssetSpec)]
    if specs:
        assets.append(AssetsDefinition(specs=specs))
    try:
        chosen = AssetSelection.from_string(selection)
        keys = frozenset(tuple(key.path) for key in chosen.resolve(assets))
    except DagsterError as error:
        raise RegistryError(f"cannot read the selection {selection!r}: {error}") from error
    if not keys:
        raise RegistryError(
            f"the selection {selection!r} names no asset: `registry lineage` lists what there is"
        )
    return keys


def _build_assets(lineage: Lineage, group: AssetGroup) -> AssetsDefinition:
    registry = lineage.registry
    output_names = {f"output_{n}": output for n, output in enumerate(group.outputs)}
    condition = build_condition(lineage, group)

    @multi_asset(
        name=own_name(registry, group.name),
        outs={
            name: AssetOut(
                key=AssetKey(list(output.key)),
                description=output.description,
                io_manager_key=own_name(registry, IO_MANAGER_KEY),
                group_name=group.group,
                code_version=group.code_version,
                automation_condition=condition,
                kinds=set(output.kinds),
                metadata=lineage.translator.metadata(output.path, group.address),
                # Nothing comes of a partition key that is no collection.
                is_required=group.partitions != COLLECTIONS,
            )
            for name, output in output_names.items()
        },
        ins={f"input_{n}": _input(upstream) for n, upstream in enumerate(group.upstream)},
        partitions_def=partitions_definition(registry, group),
    )
    def materialize(
        context: AssetExecutionContext, config: MaterializeConfig
    ) -> Iterator[Output[Any]]:
        partition = context.partition_key if context.has_partition_key else None
        unit = Unit(group, partition)
        if partition is not None and group.partitions == COLLECTIONS:
            try:
                check_collection_exists(lineage, partition)
            except (NotFoundError, RefusedError) as error:
                _say_unknown(context, unit, str(error))
                return
        dvc = DvcRepo(registry.root)
        # Called only when the result is recorded, and once for all outputs.
        tracer = partial(read_ancestry, dvc, lineage, group, partition)
        describer = Describer(dvc, lineage, tracer)
        problems: list[RegistryError] = []
        with (
            dvc.session(),
            make(
                dvc,
                lineage,
                unit,
                context.log.info,
                force=config.force,
                update=config.update,
            ) as result,
        ):
            for name, path in zip(output_names, unit.paths, strict=True):
                yield Output(PendingOutput(result, path, unit, describer, problems), name)
        if problems:
            raise problems[0]

    return materialize


def _say_unknown(context: AssetExecutionContext, unit: Unit, why: str) -> None:
    """Says that a partition key is no collection, in the log and at the assets of the run.

    Whoever mistyped it in the launch dialog sees it there. The key goes away when the sensor for
    outside changes looks next.
    """
    context.log.warning(f"nothing was recorded: {why}")
    for key in unit.keys:
        context.log_event(
            AssetObservation(
                AssetKey(list(key)),
                description=why,
                metadata={"problem": why},
                partition=unit.partition,
            )
        )


def _input(upstream: Upstream) -> AssetIn:
    """An edge of the graph, as an input, since the name that `deps` gives it may be invalid."""
    mapping: PartitionMapping | None = None
    if upstream.partitions == "same":
        mapping = IdentityPartitionMapping()
    elif upstream.partitions == "all":
        mapping = AllPartitionMapping()
    elif upstream.partitions is not None:
        mapping = SpecificPartitionsPartitionMapping(list(upstream.partitions))
    return AssetIn(AssetKey(list(upstream.key)), partition_mapping=mapping, dagster_type=Nothing)
