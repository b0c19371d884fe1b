"""The sensor that watches the folder that collections are dropped into."""

import json
import time

from dagster import (
    AssetsDefinition,
    AssetSelection,
    DefaultSensorStatus,
    DynamicPartitionsDefinition,
    RunRequest,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    define_asset_job,
    sensor,
)
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from registry_assets.arrivals import find_arrivals, measure_extent
from registry_assets.model import Registry
from registry_assets.translator import COLLECTIONS

TAKE_IN_JOB = "take_in_collection"
SENSOR_NAME = "new_raw_collections"
_INTERVAL_SECONDS = 10


def build_take_in_job(assets: list[AssetsDefinition]) -> UnresolvedAssetJobDefinition:
    """The job that takes one collection all the way: add, import, every stage."""
    return define_asset_job(
        TAKE_IN_JOB,
        selection=AssetSelection.assets(*(key for asset in assets for key in asset.keys)),
        partitions_def=DynamicPartitionsDefinition(name=COLLECTIONS),
        description="Takes one collection all the way: registers it, takes it into the data sets "
        "and runs their stages.",
    )


def build_arrival_sensor(
    registry: Registry, folder: str, job: UnresolvedAssetJobDefinition
) -> SensorDefinition:
    """The sensor that asks for one run for each new folder that has settled.

    Looks at names only, and into folders that DVC does not track. The key of a run holds what
    the folder held when it was asked for, so that Dagster, which remembers keys for good, starts
    one run for one state of a folder, also after a restart.

    Args:
        registry: For its root and settings.
        folder: The folder to watch, from the root.
        job: What to run, with the name of the new folder as partition key.
    """
    settle_seconds = registry.settings.settle_seconds

    @sensor(
        name=SENSOR_NAME,
        job=job,
        minimum_interval_seconds=_INTERVAL_SECONDS,
        default_status=DefaultSensorStatus.RUNNING,
        description=f"Takes in a new folder of {folder}/ once nothing in it has changed for "
        f"{settle_seconds:g} seconds.",
    )
    def watch(context: SensorEvaluationContext) -> SensorResult:
        reported: dict[str, str] = json.loads(context.cursor) if context.cursor else {}
        now = time.time()
        requests, waiting, rejected = [], [], {}
        for arrival in find_arrivals(registry.root / folder):
            if arrival.reason is not None:
                rejected[arrival.name] = arrival.reason
                continue
            try:
                extent = measure_extent(arrival.path)
            except FileNotFoundError:  # taken away meanwhile
                continue
            if now - extent.changed < settle_seconds:
                waiting.append(arrival.name)
                continue
            run_key = f"{arrival.name}:{extent.nfiles}:{extent.size}:{extent.changed:.3f}"
            requests.append(RunRequest(run_key=run_key, partition_key=arrival.name))
        for name, reason in rejected.items():
            if reported.get(name) != reason:
                context.log.warning(f"{folder}/{name} is left alone: {reason}")
        said = [f"{name} is still changing" for name in waiting]
        said += [f"{name} is left alone: {reason}" for name, reason in rejected.items()]
        return SensorResult(
            run_requests=requests,
            skip_reason=None
            if requests
            else SkipReason("; ".join(said) or f"nothing new in {folder}/"),
            cursor=json.dumps(rejected, sort_keys=True),
            dynamic_partitions_requests=[
                DynamicPartitionsDefinition(name=COLLECTIONS).build_add_request(
                    [request.partition_key for request in requests if request.partition_key]
                )
            ]
            if requests
            else [],
        )

    return watch
