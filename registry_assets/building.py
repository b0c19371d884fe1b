"""Dagster definitions for a repository."""

from collections.abc import Sequence
from pathlib import Path

from dagster import (
    AssetsDefinition,
    Definitions,
    JobDefinition,
    SensorDefinition,
    colored_console_logger,
    in_process_executor,
)
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from registry_assets.assets import build_registry_assets
from registry_assets.import_sensor import build_import_sensor
from registry_assets.io_manager import IO_MANAGER_KEY, DvcIOManager
from registry_assets.model import Registry
from registry_assets.progress import PROGRESS_LOGGER, progress_logger
from registry_assets.registry import read_registry
from registry_assets.resources import DvcRepoResource
from registry_assets.sensors import (
    build_arrival_sensor,
    build_change_sensor,
    build_take_in_job,
)
from registry_assets.translator import COLLECTIONS, RegistryTranslator


def build_definitions(
    root: str | Path,
    *,
    translator: RegistryTranslator | None = None,
    assets: Sequence[AssetsDefinition] = (),
) -> Definitions:
    """Builds Dagster definitions for a DVC repository.

    Args:
        root: Any folder of the repository.
        translator: The rules for names; the default ones when None.
        assets: Assets of your own. One whose key names an output owns that key: it is not
            generated a second time. With `io_manager_key="dvc_io_manager"` what they return is
            persisted through DVC.

    Raises:
        RegistryNotFoundError: when there is no DVC repository.
        MetafileError: when settings or a list of collections cannot be read.
    """
    return define(read_registry(Path(root)), translator=translator, assets=assets)


def define(
    registry: Registry,
    *,
    translator: RegistryTranslator | None = None,
    assets: Sequence[AssetsDefinition] = (),
) -> Definitions:
    """Builds the definitions of `build_definitions` for a registry that was read already."""
    own_keys = [key for asset in assets for key in asset.keys]
    generated = build_registry_assets(registry, translator, skip=own_keys)
    translator = translator or RegistryTranslator()
    jobs: list[JobDefinition | UnresolvedAssetJobDefinition] = []
    sensors: list[SensorDefinition] = [build_change_sensor(registry, translator)]
    if registry.settings.import_check_seconds:
        sensors.append(build_import_sensor(registry, translator))
    by_collection = [
        asset
        for asset in generated
        if isinstance(asset, AssetsDefinition)
        and getattr(asset.partitions_def, "name", None) == COLLECTIONS
    ]
    if by_collection and registry.raw_folder is not None:
        job = build_take_in_job(by_collection)
        jobs.append(job)
        sensors.append(build_arrival_sensor(registry, registry.raw_folder, job))
    return Definitions(
        assets=[*generated, *assets],
        jobs=jobs,
        sensors=sensors,
        resources={
            IO_MANAGER_KEY: DvcIOManager(root=str(registry.root)),
            "dvc_repo": DvcRepoResource(root=str(registry.root)),
        },
        loggers={"console": colored_console_logger, PROGRESS_LOGGER: progress_logger},
        # One collection is one run: a process for each of its steps would cost seconds each.
        executor=in_process_executor,
    )
