"""The sensor that compares imports with their sources."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields

from dagster import (
    AssetObservation,
    DefaultSensorStatus,
    MetadataValue,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    sensor,
)

from registry_assets.dvc_repo import source_session
from registry_assets.model import Registry
from registry_assets.orchestration.history.event_log import asset_key
from registry_assets.orchestration.names import IMPORT_SENSOR_NAME, own_name
from registry_assets.orchestration.sensors import MOST_SECONDS, read_cursor
from registry_assets.registry.lineage.building import build_lineage
from registry_assets.registry.lineage.graph import Lineage
from registry_assets.registry.reading import read_registry
from registry_assets.registry.status.imports import ImportState, compare_import
from registry_assets.registry.translator import RegistryTranslator

_FIELDS = {field.name for field in fields(ImportState)}


def build_import_sensor(registry: Registry, translator: RegistryTranslator) -> SensorDefinition:
    """Builds the sensor that reports which imports are behind; it updates none.

    It asks each source for its commits, and clones the source if they are new. The cursor keeps the
    results, so that a source without new commits is not cloned again. The version that a source has
    now becomes an observation of its external asset.

    Args:
        registry: The registry.
        translator: The rules for names.
    """
    seconds = registry.settings.import_check_seconds

    @sensor(
        name=own_name(registry, IMPORT_SENSOR_NAME),
        minimum_interval_seconds=max(int(seconds), 1),
        default_status=DefaultSensorStatus.RUNNING,
        description="Compares imports with their sources and reports those that are behind; "
        "`registry update` updates them.",
    )
    def watch(context: SensorEvaluationContext) -> SensorResult:
        before = read_cursor(context.cursor)
        lineage = build_lineage(read_registry(registry.root), translator)
        known = {
            path: ImportState(**told)
            for path, told in before.items()
            if isinstance(told, dict)
            and told.keys() == _FIELDS  # else another version of the package wrote it
        }
        now = look_at_sources(lineage, known)
        events, said = [], []
        for path, state in now.items():
            if state.is_finding:
                said.append(f"{path} is {state.state}: {state.why}")
            if asdict(state) == before.get(path):
                continue
            if state.is_finding:
                context.log.warning(said[-1])
            observation = build_observation(lineage, state)
            if observation is not None:
                events.append(observation)
        return SensorResult(
            skip_reason="; ".join(said) or f"{len(now)} imports are what their sources have",
            asset_events=events,
            cursor=json.dumps({path: asdict(state) for path, state in now.items()}),
        )

    return watch


def look_at_sources(
    lineage: Lineage,
    before: Mapping[str, ImportState],
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, ImportState]:
    """Compares imports with their sources, as many as time allows.

    Args:
        lineage: The graph.
        before: The previous result; the least recently compared imports come first.
        clock: Returns the time in seconds.

    Returns:
        The newest known state of each import by path, to be passed as `before` the next time.
    """
    registry, started = lineage.registry, clock()
    turn = {path: number for number, path in enumerate(before)}
    waiting, looked_at = {}, {}
    with source_session():
        for imported in sorted(registry.inputs, key=lambda item: turn.get(item.output.path, -1)):
            path = imported.output.path
            if clock() - started < MOST_SECONDS:
                looked_at[path] = compare_import(registry, imported, before.get(path))
            elif path in before:
                waiting[path] = before[path]
    return {**waiting, **looked_at}


def build_observation(lineage: Lineage, state: ImportState) -> AssetObservation | None:
    """Builds an observation of the external asset of a source, with the version that it has now.

    Returns:
        None if that version is unknown, or if the source is in this repository and therefore has
        materializations.
    """
    node = lineage.nodes.get(state.source)
    if node is None or node.key is None or node.key not in lineage.sources:
        return None
    if state.newest is None:
        return None
    metadata: dict[str, MetadataValue] = {"dvc/md5": MetadataValue.text(state.newest)}
    if state.commit is not None:
        metadata["git/commit"] = MetadataValue.text(state.commit)
    rev = lineage.registry.import_of[state.path].rev
    if rev is not None:
        metadata["git/rev"] = MetadataValue.text(rev)
    if state.state == "behind":
        metadata["behind"] = MetadataValue.text(f"{state.path}: `registry update {state.path}`")
    # Not as a data version: Dagster would call all partitions of a family stale when the source of
    # one of them changes.
    return AssetObservation(
        asset_key(node.key),
        description=state.why or "The import is up to date with this source.",
        metadata=metadata,
    )
