"""The sensor that finds edited collections, and registers them if the settings say so."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from dagster import (
    DefaultSensorStatus,
    RunRequest,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)

from registry_assets.model import Registry, metafile_of
from registry_assets.orchestration.checks import report_checks
from registry_assets.orchestration.history.event_log import asset_key
from registry_assets.orchestration.internals import UnresolvedAssetJobDefinition
from registry_assets.orchestration.names import EDIT_SENSOR_NAME, collections_definition, own_name
from registry_assets.orchestration.sensors import MOST_SECONDS, read_cursor
from registry_assets.orchestration.sensors.folders import newest_run
from registry_assets.registry.lineage.building import build_lineage
from registry_assets.registry.lineage.taking_in import keys_that_follow
from registry_assets.registry.reading import read_registry
from registry_assets.registry.status.edits import EditScan, look_for_edits
from registry_assets.registry.translator import RegistryTranslator

_MOST_SAID = 20

_FIELDS = {field.name for field in fields(EditScan)}


def build_edit_sensor(
    registry: Registry, translator: RegistryTranslator, job: UnresolvedAssetJobDefinition
) -> SensorDefinition:
    """Builds the sensor for collections that differ from what their metafiles record.

    Its log and skip reasons name the collections that `registry status` calls modified. With
    `modified = "register"`, it requests one run for each new state of a collection, which records
    that state as the next version and updates the data sets that have taken the collection in.

    Args:
        registry: The registry.
        translator: The rules for names.
        job: The job to run, with the name of the collection as partition key.
    """
    settings = registry.settings
    registers = settings.modified == "register"
    action = "records them as new versions" if registers else "leaves them to `registry add`"

    @sensor(
        name=own_name(registry, EDIT_SENSOR_NAME),
        job=job,
        minimum_interval_seconds=max(int(settings.modified_check_seconds), 1),
        default_status=DefaultSensorStatus.RUNNING,
        description=f"Finds collections that were edited after they were registered, and {action}.",
    )
    def watch(context: SensorEvaluationContext) -> SensorResult:
        told = read_cursor(context.cursor)
        before = {
            name: EditScan(**look)
            for name, look in told.items()
            if isinstance(look, dict)
            and look.keys() == _FIELDS  # else another version of the package wrote it
        }
        found = dict(look_for_edits(registry, before, most_seconds=MOST_SECONDS))
        # The next tick begins with those for which this one had no time.
        folder = registry.root / str(registry.raw_folder)
        looks = {name: look for name, look in before.items() if _is_recorded(folder, name)} | found
        looks = {name: looks[name] for name in sorted(looks, key=lambda name: name in found)}
        for name, look in found.items():
            is_told = look.is_missing or look == before.get(name)
            if look.finding is not None and not is_told:
                context.log.warning(look.finding)
        gone = {name for name, look in looks.items() if look.is_missing}
        if gone != {name for name, look in before.items() if look.is_missing}:
            # One line for all, as a fresh clone has none of them. The checks are reported here,
            # since no metafile changed and the other sensor does nothing.
            if gone:
                findings = [str(looks[name].finding) for name in sorted(gone)]
                context.log.warning(_few(findings))
            now = build_lineage(read_registry(registry.root), translator)
            report_checks(now, context.instance)
        edited = [name for name, look in looks.items() if look.is_edited] if registers else []
        lineage = build_lineage(read_registry(registry.root), translator) if edited else None
        requests, failed = [], []
        for name in edited:
            run_key = f"{registry.name}:{name}:edit:{_digest(looks[name].stamp)}"
            newest = newest_run(context.instance, job.name, name, run_key)
            if newest is not None and newest.is_finished:
                failed.append(
                    f"run {newest.run_id[:8]} did not record {name}: `registry add {name}`"
                )
            elif newest is None and lineage is not None:
                keys = keys_that_follow(lineage, name, is_new=False)
                requests.append(
                    RunRequest(
                        run_key=run_key,
                        partition_key=name,
                        asset_selection=list(map(asset_key, keys)),
                        asset_check_keys=[],
                    )
                )
        said = failed + [look.finding for look in looks.values() if look.finding is not None]
        return SensorResult(
            run_requests=requests,
            skip_reason=None
            if requests
            else SkipReason(_few(said) or "all collections are as they were registered"),
            dynamic_partitions_requests=[collections_definition(registry).build_add_request(edited)]
            if edited
            else [],
            cursor=json.dumps({name: asdict(look) for name, look in looks.items()}),
        )

    return watch


def _is_recorded(folder: Path, name: str) -> bool:
    return (folder / metafile_of(name)).exists()


def _few(said: Sequence[str]) -> str:
    more = len(said) - _MOST_SAID
    return "; ".join(said[:_MOST_SAID]) + (f"; and {more} more" if more > 0 else "")


def _digest(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:16]
