"""The sensors: new folders of raw data, and what changed outside Dagster."""

import json
import os
import time
import urllib.request
from collections.abc import Callable

from dagster import (
    AssetsDefinition,
    AssetSelection,
    DagsterInstance,
    DagsterRun,
    DefaultSensorStatus,
    DynamicPartitionsDefinition,
    RunRequest,
    RunsFilter,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    define_asset_job,
    sensor,
)
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.storage.tags import (
    MAX_RETRIES_TAG,
    PARTITION_NAME_TAG,
    RETRY_ON_ASSET_OR_OP_FAILURE_TAG,
    RETRY_STRATEGY_TAG,
    RUN_KEY_TAG,
)

from registry_assets.arriving.arrivals import find_arrivals, measure_extent
from registry_assets.arriving.following import keys_that_follow
from registry_assets.checks import report_checks
from registry_assets.errors import RegistryError
from registry_assets.history.event_log import asset_key
from registry_assets.history.reporting import sync
from registry_assets.lineage.building import build_lineage
from registry_assets.lineage.graph import Lineage
from registry_assets.model import Registry
from registry_assets.registry import read_registry
from registry_assets.sensors import MOST_SECONDS
from registry_assets.sensors.metafile_stamps import read_stamps
from registry_assets.translator import COLLECTIONS, RegistryTranslator

TAKE_IN_JOB = "take_in_collection"
SENSOR_NAME = "new_raw_collections"
CHANGE_SENSOR_NAME = "outside_changes"

CODE_LOCATION = "registry_assets.definitions"
"""The name that Dagster gives the code location when it loads that module."""

UI_ADDRESS = "REGISTRY_UI_ADDRESS"
"""The environment variable that says where the webserver of `registry ui` listens."""

# A run whose process died starts again, from its start, as what was done is done. One that failed
# says why. The instance has to have `run_retries` enabled.
_RETRIES = {
    MAX_RETRIES_TAG: "2",
    RETRY_ON_ASSET_OR_OP_FAILURE_TAG: "false",
    RETRY_STRATEGY_TAG: "ALL_STEPS",
}

_RELOAD_SECONDS = 30
_INTERVAL_SECONDS = 10
# A look at ten thousand folders takes 0.05 s, and somebody waits for it.
_ARRIVAL_INTERVAL_SECONDS = 5


def build_take_in_job(assets: list[AssetsDefinition]) -> UnresolvedAssetJobDefinition:
    """The job that takes one collection all the way: add, import, every stage."""
    return define_asset_job(
        TAKE_IN_JOB,
        # The checks count every partition; the sensor for outside changes has them say it after.
        selection=AssetSelection.assets(
            *(key for asset in assets for key in asset.keys)
        ).without_checks(),
        partitions_def=DynamicPartitionsDefinition(name=COLLECTIONS),
        tags=_RETRIES,
        description="Takes one collection all the way: registers it, takes it into the data sets "
        "and runs their stages. The sensor leaves out the data sets that do not want it.",
    )


def build_arrival_sensor(
    lineage: Lineage, folder: str, job: UnresolvedAssetJobDefinition
) -> SensorDefinition:
    """The sensor that asks for one run for each new folder or archive that has settled.

    Looks at names only, and into folders that DVC does not track. The key of a run holds what
    the folder held when it was asked for, so that Dagster, which remembers keys for good, starts
    one run for one state of a folder, also after a restart.

    Args:
        lineage: For the root, the settings, and the assets that take the collection in.
        folder: The folder to watch, from the root.
        job: What to run, with the name of the new folder as partition key.
    """
    registry = lineage.registry
    settle_seconds = registry.settings.settle_seconds

    @sensor(
        name=SENSOR_NAME,
        job=job,
        minimum_interval_seconds=_ARRIVAL_INTERVAL_SECONDS,
        default_status=DefaultSensorStatus.RUNNING,
        description=f"Takes in a new folder or archive of {folder}/ once nothing in it has changed "
        f"for {settle_seconds:g} seconds.",
    )
    def watch(context: SensorEvaluationContext) -> SensorResult:
        reported: dict[str, str] = json.loads(context.cursor) if context.cursor else {}
        now = time.time()
        requests, waiting, rejected = [], [], {}
        for arrival in find_arrivals(registry.root / folder):
            if arrival.reason is not None:
                rejected[arrival.path.name] = arrival.reason
                continue
            try:
                extent = measure_extent(arrival.path)
            except FileNotFoundError:  # taken away meanwhile
                continue
            if now - extent.changed < settle_seconds:
                waiting.append(f"{arrival.path.name} is still changing")
                continue
            run_key = f"{arrival.name}:{extent.nfiles}:{extent.size}:{extent.changed:.3f}"
            newest = newest_run(context.instance, arrival.name, run_key)
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
        partitions = DynamicPartitionsDefinition(name=COLLECTIONS)
        return SensorResult(
            run_requests=requests,
            skip_reason=None
            if requests
            else SkipReason("; ".join(said) or f"nothing new in {folder}/"),
            cursor=json.dumps(rejected, sort_keys=True),
            dynamic_partitions_requests=[partitions.build_add_request(names)] if names else [],
        )

    return watch


def newest_run(instance: DagsterInstance, collection: str, run_key: str) -> DagsterRun | None:
    """The newest run for a collection, if there was one for what its folder holds now."""
    if not instance.get_runs_count(RunsFilter(tags={RUN_KEY_TAG: run_key})):
        return None
    for_it = RunsFilter(job_name=TAKE_IN_JOB, tags={PARTITION_NAME_TAG: collection})
    return next(iter(instance.get_runs(for_it, limit=1)), None)


def build_change_sensor(registry: Registry, translator: RegistryTranslator) -> SensorDefinition:
    """The sensor that tells Dagster what `dvc`, `git` or an editor changed.

    Looks at names, times and sizes of metafiles only. When they have changed, and been quiet for
    a tick (a run records its version first and its event a moment later), the metafiles are read
    and the event log is brought up to them. When code, parameters or a pipeline changed since the
    definitions were loaded, the code location is reloaded, as code versions are read then.

    Args:
        registry: As it was when the definitions were loaded.
        translator: The rules for names.
    """
    loaded = read_stamps(registry).definitions

    @sensor(
        name=CHANGE_SENSOR_NAME,
        minimum_interval_seconds=_INTERVAL_SECONDS,
        default_status=DefaultSensorStatus.RUNNING,
        description="Reports what changed outside Dagster (`dvc repro`, `git pull`, an edit), from "
        "the metafiles alone.",
    )
    def watch(context: SensorEvaluationContext) -> SensorResult:
        cursor = json.loads(context.cursor) if context.cursor else {}
        stamps = read_stamps(registry)
        try:
            lineage = None
            if stamps.definitions != loaded:
                # After definitions that cannot be loaded, no sensor would be there to ask again.
                lineage = build_lineage(read_registry(registry.root), translator)
                if reload_code_location(context.log.info):
                    reason = "reloading: a pipeline, code or a parameter changed"
                    return SensorResult(skip_reason=reason)
        except RegistryError as error:
            return SensorResult(skip_reason=str(error))
        stamp = f"{stamps.metafiles} {stamps.definitions}"
        if stamp == cursor.get("told"):
            return SensorResult(skip_reason="nothing changed")
        if stamp != cursor.get("seen"):
            cursor["seen"] = stamp
            said = "metafiles or code changed, waiting until they are quiet"
        else:
            lineage = lineage or build_lineage(read_registry(registry.root), translator)
            done = sync(lineage, context.instance, context.log.info, most_seconds=MOST_SECONDS)
            said = f"reported {done.reported} materializations"
            if done.is_complete:
                checked = report_checks(lineage, context.instance)
                cursor["told"] = stamp
                said += f" and {checked} checks"
            else:
                said += ", and goes on"
        return SensorResult(skip_reason=said, cursor=json.dumps(cursor))

    return watch


def reload_code_location(report: Callable[[str], None]) -> bool:
    """Asks the webserver that `registry ui` started to load the definitions anew.

    Returns:
        Whether it was asked; False where there is no such webserver.
    """
    address = os.environ.get(UI_ADDRESS)
    if not address:
        return False
    mutation = (
        f'mutation {{ reloadRepositoryLocation(repositoryLocationName: "{CODE_LOCATION}") '
        "{ __typename } }"
    )
    request = urllib.request.Request(
        f"{address}/graphql",
        data=json.dumps({"query": mutation}).encode(),
        headers={"content-type": "application/json"},
    )
    try:
        urllib.request.urlopen(request, timeout=_RELOAD_SECONDS).close()
    except OSError as error:
        report(f"{address} did not answer: {error}; reload the code location by hand")
        return False
    return True
