"""The sensor that reports to Dagster what changed outside it."""

import json
from collections.abc import Mapping

from dagster import (
    DefaultSensorStatus,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    sensor,
)

from registry_assets.dvc_repo import DvcRepo
from registry_assets.errors import RegistryError
from registry_assets.model import Registry, is_folder
from registry_assets.orchestration.checks import report_checks
from registry_assets.orchestration.history.reporting import remove_partitions, sync
from registry_assets.orchestration.internals import find_code_server
from registry_assets.orchestration.names import CHANGE_SENSOR_NAME, own_name
from registry_assets.orchestration.sensors import MOST_SECONDS, read_cursor
from registry_assets.orchestration.sensors.metafile_stamps import read_stamps
from registry_assets.registry.lineage.building import build_lineage
from registry_assets.registry.metafile_walk import RepeatedWalk
from registry_assets.registry.reading import read_registry
from registry_assets.registry.translator import RegistryTranslator
from registry_assets.units import few_of

OUTDATED = (
    "a pipeline, code or a parameter changed since the definitions were loaded: restart what "
    "serves them (`dagster code-server start` reloads by itself)"
)
_RELOAD_SECONDS = 30
_INTERVAL_SECONDS = 10


def build_change_sensor(registry: Registry, translator: RegistryTranslator) -> SensorDefinition:
    """Builds the sensor that reports to Dagster what `dvc`, `git` or an editor changed.

    Each tick looks only at names, times and sizes of metafiles. When they have changed and then
    stayed the same for a tick (a run writes its metafile a moment before its event), the metafiles
    are read and the event log is brought up to date. When code, parameters or a pipeline changed
    since the definitions were loaded, the code location is reloaded to update code versions.

    Args:
        registry: The registry, as it was when the definitions were loaded.
        translator: The rules for names.
    """
    walk = RepeatedWalk(registry.root)
    loaded = read_stamps(registry, walk).definitions

    @sensor(
        name=own_name(registry, CHANGE_SENSOR_NAME),
        minimum_interval_seconds=_INTERVAL_SECONDS,
        default_status=DefaultSensorStatus.RUNNING,
        description="Reports what changed outside Dagster (`dvc repro`, `git pull`, an edit), from "
        "the metafiles alone.",
    )
    def watch(context: SensorEvaluationContext) -> SensorResult:
        cursor = read_cursor(context.cursor)
        stamps = read_stamps(registry, walk)
        stamp = f"{stamps.metafiles} {stamps.definitions}"
        events = context.instance.event_log_storage
        is_told = stamp == cursor.get("told") and not _is_fetched(registry, cursor.get("unread"))
        is_done = is_told and events.get_maximum_record_id() == cursor.get("event")
        try:
            lineage = None
            is_outdated = stamps.definitions != loaded
            server = find_code_server() if is_outdated else None
            if is_outdated and (server is not None or not is_done):
                # Reload only if it can be read: no sensor would be left to reload it again.
                lineage = build_lineage(read_registry(registry.root), translator)
            if server is not None:
                server.reload(_RELOAD_SECONDS)
                reason = "reloading: a pipeline, code or a parameter changed"
                return SensorResult(skip_reason=reason)
        except (RegistryError, ConnectionError) as error:
            return SensorResult(skip_reason=str(error))
        if is_done:
            left_out = cursor.get("left_out") or "nothing changed"
            return SensorResult(skip_reason=OUTDATED if is_outdated else left_out)
        if stamp not in (cursor.get("told"), cursor.get("seen")):
            cursor["seen"] = stamp
            said = "metafiles or code changed, waiting until they are quiet"
            return SensorResult(skip_reason=said, cursor=json.dumps(cursor))
        lineage = lineage or build_lineage(read_registry(registry.root), translator)
        said = ""
        if not is_told:
            done = sync(lineage, context.instance, context.log.info, most_seconds=MOST_SECONDS)
            if not done.is_complete:
                return SensorResult(
                    skip_reason=f"reported {done.reported}, the next tick continues"
                )
            cursor["told"] = stamp
            cursor["unread"] = dict(done.unread)
            said = f"{done.reported} materializations and "
        elif not lineage.registry.problems:
            # A mistyped partition key changed no metafile.
            remove_partitions(lineage, context.instance)
        # Also after runs that changed no metafile, as they hide earlier check evaluations.
        checked = report_checks(lineage, context.instance)
        cursor["event"] = events.get_maximum_record_id()
        said = f"reported {said}{checked} checks"
        problems = [f"left out: {problem}" for problem in lineage.registry.problems]
        for problem in problems:
            context.log.warning(problem)
        cursor["left_out"] = few_of(problems)
        said += f"; {few_of(problems)}" if problems else ""
        return SensorResult(skip_reason=said, cursor=json.dumps(cursor))

    return watch


def _is_fetched(registry: Registry, unread: Mapping[str, str] | None) -> bool:
    """Whether the cache now has versions that it lacked when they were reported."""
    listings = DvcRepo(registry.root).listings() if unread else None
    return listings is not None and any(
        listings.contents(md5) is not None if is_folder(md5) else listings.place_of(md5) is not None
        for md5 in (unread or {}).values()
    )
