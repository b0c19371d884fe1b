"""Dagster definitions for a DVC repository."""

import os
from collections.abc import Sequence, Set
from pathlib import Path

from dagster import (
    AssetsDefinition,
    Definitions,
    DynamicPartitionsDefinition,
    JobDefinition,
    SensorDefinition,
)

from registry_assets.errors import RegistryError
from registry_assets.model import Registry
from registry_assets.orchestration.assets import build_lineage_assets
from registry_assets.orchestration.batch_job import build_bring_job
from registry_assets.orchestration.checks import build_asset_checks, build_cache_schedule
from registry_assets.orchestration.internals import UnresolvedAssetJobDefinition
from registry_assets.orchestration.io_manager import IO_MANAGER_KEY, DvcIOManager
from registry_assets.orchestration.names import collections_definition, own_name
from registry_assets.orchestration.publish_job import build_publish_job
from registry_assets.orchestration.sensors.automation import build_follow_sensor
from registry_assets.orchestration.sensors.edits import build_edit_sensor
from registry_assets.orchestration.sensors.folders import build_arrival_sensor, build_take_in_job
from registry_assets.orchestration.sensors.imports import build_import_sensor
from registry_assets.orchestration.sensors.outside_changes import build_change_sensor
from registry_assets.registry.home import check_home
from registry_assets.registry.lineage.building import build_lineage
from registry_assets.registry.lineage.graph import Lineage
from registry_assets.registry.reading import read_registry
from registry_assets.registry.sharing import share_history
from registry_assets.registry.translator import COLLECTIONS, Key, RegistryTranslator


def build_definitions(
    root: str | Path,
    *,
    translator: RegistryTranslator | None = None,
    assets: Sequence[AssetsDefinition] = (),
) -> Definitions:
    """Builds Dagster definitions for a DVC repository.

    Nothing of this process is changed, nor is an executor or a logger set for what else is in the
    code location. Runs of single assets are quickest in one process: pass
    `Definitions(executor=in_process_executor)` beside these where nothing speaks against it. Where
    several people share the files of the registry, call
    `registry.sharing.share_files` in a code location of your own: it sets the umask.

    Args:
        root: Any folder of the repository.
        translator: The rules for names; the default ones when None.
        assets: Assets of your own. One whose key names an output owns that key: it is not
            generated a second time. With `io_manager_key="dvc_io_manager"` what they return is
            persisted through DVC, and the dynamic partitions `collections` are those of this
            registry. In a code location with several registries, use the key that begins with the
            registry's name: `"harbour__dvc_io_manager"`.

    Raises:
        NotFoundError: when there is no DVC repository.
        MetafileError: when settings or a list of collections cannot be read.
        RegistryError: when your own assets replace some outputs of a stage but not all of them, or
            when DAGSTER_HOME is the history of the registry that this one was copied from.
    """
    lineage = build_lineage(read_registry(Path(root)), translator)
    registry = lineage.registry
    check_home(registry.root)
    if "DAGSTER_HOME" in os.environ:
        # Dagster's own processes write files there without loading this module.
        share_history(Path(os.environ["DAGSTER_HOME"]))
    own_keys = [key for asset in assets for key in asset.keys]
    _check_owned(lineage, {tuple(key.path) for key in own_keys})
    generated = build_lineage_assets(lineage, skip=own_keys)
    jobs: list[JobDefinition | UnresolvedAssetJobDefinition] = [
        build_bring_job(registry, lineage.translator),
        build_publish_job(registry, lineage.translator),
    ]
    sensors: list[SensorDefinition] = [build_change_sensor(registry, lineage.translator)]
    if registry.settings.import_check_seconds:
        sensors.append(build_import_sensor(registry, lineage.translator))
    follow = build_follow_sensor(lineage, skip=own_keys)
    if follow is not None:
        sensors.append(follow)
    by_collection = [
        asset
        for asset in generated
        if isinstance(asset, AssetsDefinition)
        and asset.partitions_def == collections_definition(registry)
    ]
    if by_collection and registry.raw_folder is not None:
        job = build_take_in_job(registry, by_collection)
        jobs.append(job)
        sensors.append(build_arrival_sensor(lineage, registry.raw_folder, job))
        if registry.settings.modified_check_seconds:
            sensors.append(build_edit_sensor(registry, lineage.translator, job))
    return Definitions(
        assets=[*generated, *(_with_own_partitions(registry, asset) for asset in assets)],
        asset_checks=build_asset_checks(lineage, lineage.output_of),
        jobs=jobs,
        sensors=sensors,
        schedules=[build_cache_schedule(lineage)] if lineage.output_of else [],
        resources=build_resources(registry, assets),
    )


def _with_own_partitions(registry: Registry, asset: AssetsDefinition) -> AssetsDefinition:
    """An asset of a user's own, its `collections` being those of this registry."""
    shared = DynamicPartitionsDefinition(name=COLLECTIONS)
    if asset.partitions_def != shared:
        return asset
    own = collections_definition(registry)
    return asset.map_asset_specs(lambda spec: spec.replace_attributes(partitions_def=own))


def _check_owned(lineage: Lineage, owned: Set[Key]) -> None:
    """Checks that the user's assets replace all outputs of a stage or none.

    Raises:
        RegistryError: when they replace some of them.
    """
    for group in lineage.groups:
        keys = {output.key for output in group.outputs}
        left = sorted("/".join(key) for key in keys - owned)
        if left and keys & owned:
            some = ", ".join(sorted("/".join(key) for key in keys & owned))
            raise RegistryError(
                f"{some} is made together with {', '.join(left)}: have your own assets make all of "
                "them, give yours another key, or take the output out of its stage"
            )


def build_resources(
    registry: Registry, assets: Sequence[AssetsDefinition] = ()
) -> dict[str, DvcIOManager]:
    """What assets need to run, by the keys that they ask for it by.

    Args:
        registry: Where outputs are recorded.
        assets: Assets of a user's own. The short key is there for them only, as other registries
            of a code location may have such, too.
    """
    manager = DvcIOManager(root=str(registry.root))
    resources = {own_name(registry, IO_MANAGER_KEY): manager}
    if any(IO_MANAGER_KEY in asset.required_resource_keys for asset in assets):
        resources[IO_MANAGER_KEY] = manager
    return resources
