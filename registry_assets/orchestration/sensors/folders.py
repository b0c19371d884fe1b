"""The sensor that takes in new folders of raw data, and the job that it requests."""

import json
import time

from dagster import (
    AssetsDefinition,
    AssetSelection,
    DagsterInstance,
    DagsterRun,
    DefaultSensorStatus,
    RunRequest,
    RunsFilter,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    define_asset_job,
    in_process_executor,
    sensor,
)

from registry_assets.dvc_repo import DvcRepo
from registry_assets.fingerprint import measure_extent
from registry_assets.model import Registry
from registry_assets.orchestration.history.event_log import asset_key
from registry_assets.orchestration.internals import (
    MAX_RETRIES_TAG,
    PARTITION_NAME_TAG,
    RETRY_ON_ASSET_OR_OP_FAILURE_TAG,
    RETRY_STRATEGY_TAG,
    RUN_KEY_TAG,
    UnresolvedAssetJobDefinition,
)
from registry_assets.orchestration.names import (
    ARRIVAL_SENSOR_NAME,
    collections_definition,
    own_name,
)
from registry_assets.orchestration.sensors import read_cursor
from registry_assets.registry.lineage.graph import Lineage
from registry_assets.registry.lineage.taking_in import keys_that_follow
from registry_assets.registry.status.arrivals import find_arrivals, reject_unseen

TAKE_IN_JOB = "take_in_collection"

# Retries a run whose process died, with all its steps: those that are done have nothing to do. A
# run that failed is not retried. The instance needs `run_retries` enabled.
_RETRIES = {
    MAX_RETRIES_TAG: "2",
    RETRY_ON_ASSET_OR_OP_FAILURE_TAG: "false",
    RETRY_STRATEGY_TAG: "ALL_STEPS",
}

# Short, since people wait for it, and looking at ten thousand folders takes only 0.05 s.
_ARRIVAL_INTERVAL_SECONDS = 5


def build_take_in_job(
    registry: Registry, assets: list[AssetsDefinition]
) -> UnresolvedAssetJobDefinition:
    """Builds the job that takes one collection all the way: add, import and all stages."""
    return define_asset_job(
        own_name(registry, TAKE_IN_JOB),
        executor_def=in_process_executor,
        # A check looks at every partition; the sensor for outside changes evaluates them later.
        selection=AssetSelection.assets(
            *(key for asset in assets for key in asset.keys)
        ).without_checks(),
        tags=_RETRIES,
        description="Takes one collection all the way: registers it, takes it into the data sets "
        "and runs their stages. The sensor leaves out data sets whose `take_in` excludes it.",
    )


def build_arrival_sensor(
    lineage: Lineage, folder: str, job: UnresolvedAssetJobDefinition
) -> SensorDefinition:
    """Builds the sensor that requests a run for each new folder or archive that has settled.

    It looks at names, and into folders that DVC does not track. The run key contains the state of
    the folder. Since Dagster remembers run keys forever, it starts only one run for each state of a
    folder, even after a restart.

    Args:
        lineage: The graph.
        folder: The folder to watch, from the root.
        job: The job to run, with the name of the new folder as partition key.
    """
    registry = lineage.registry
    settle_seconds = registry.settings.settle_seconds

    @sensor(
        name=own_name(registry, ARRIVAL_SENSOR_NAME),
        job=job,
        minimum_interval_seconds=_ARRIVAL_INTERVAL_SECONDS,
        default_status=DefaultSensorStatus.RUNNING,
        description=f"Takes in a new folder or archive of {folder}/ once nothing in it has changed "
        f"for {settle_seconds:g} seconds.",
    )
    def watch(context: SensorEvaluationContext) -> SensorResult:
        reported = read_cursor(context.cursor)
        now = time.time()
        requests, waiting, rejected = [], [], {}
        for arrival in reject_unseen(DvcRepo(registry.root), find_arrivals(registry.root / folder)):
            if arrival.reason is not None:
                rejected[arrival.path.name] = arrival.reason
                continue
            try:
                extent = measure_extent(arrival.path)
            except FileNotFoundError:  # removed meanwhile
                continue
            if now - extent.changed < settle_seconds:
                waiting.append(f"{arrival.path.name} is still changing")
                continue
            held = f"{extent.nfiles}:{extent.size}:{extent.changed:.3f}"
            run_key = f"{registry.name}:{arrival.name}:{held}"
            newest = newest_run(context.instance, job.name, arrival.name, run_key)
            if newest is None:
                keys = keys_that_follow(lineage, arrival.name, is_new=True)
                requests.append(
                    RunRequest(
                        run_key=run_key,
                        partition_key=arrival.name,
                        asset_selection=list(map(asset_key, keys)),
                        asset_check_keys=[],
                    )
                )
            elif newest.is_finished:
                rejected[arrival.path.name] = (
                    f"run {newest.run_id[:8]} did not register it: `registry add {arrival.name}` "
                    "tries again and says why"
                )
            else:
                waiting.append(f"{arrival.path.name} is being taken in")
        for name, reason in rejected.items():
            if reported.get(name) != reason:
                context.log.warning(f"{folder}/{name} is left alone: {reason}")
        said = [*waiting, *(f"{name} is left alone: {why}" for name, why in rejected.items())]
        names = [request.partition_key for request in requests if request.partition_key]
        partitions = collections_definition(registry)
        return SensorResult(
            run_requests=requests,
            skip_reason=None
            if requests
            else SkipReason("; ".join(said) or f"nothing new in {folder}/"),
            cursor=json.dumps(rejected, sort_keys=True),
            dynamic_partitions_requests=[partitions.build_add_request(names)] if names else [],
        )

    return watch


def newest_run(
    instance: DagsterInstance, job: str, collection: str, run_key: str
) -> DagsterRun | None:
    """The newest run for a collection, if one was requested for the current state of its folder."""
    if not instance.get_runs_count(RunsFilter(tags={RUN_KEY_TAG: run_key})):
        return None
    for_it = RunsFilter(job_name=job, tags={PARTITION_NAME_TAG: collection})
    return next(iter(instance.get_runs(for_it, limit=1)), None)
