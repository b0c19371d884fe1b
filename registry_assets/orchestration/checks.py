"""Asset checks: they show in the asset graph whether data is up to date and in the cache.

Each asset has these two checks, and raw data a third one for files that collections share. A family
is one asset, so a check counts its partitions and names a few of them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from dagster import (
    AssetCheckEvaluation,
    AssetCheckExecutionContext,
    AssetCheckKey,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetKey,
    AssetSelection,
    Config,
    DagsterInstance,
    DefaultScheduleStatus,
    In,
    MetadataValue,
    Nothing,
    OpDefinition,
    Out,
    ScheduleDefinition,
    TableRecord,
    define_asset_job,
    in_process_executor,
    op,
)
from pydantic import Field

from registry_assets.curation.duplicates import (
    check_duplicates,
    fingerprint_collections,
    raw_versions,
)
from registry_assets.orchestration.history.event_log import asset_key
from registry_assets.orchestration.internals import (
    AssetCheckEvaluationTargetMaterializationData,
    AssetCheckExecutionRecord,
    find_newest_evaluations,
)
from registry_assets.orchestration.names import CACHE_SCHEDULE, own_name
from registry_assets.registry.lineage.building import build_lineage
from registry_assets.registry.lineage.graph import Lineage
from registry_assets.registry.reading import read_registry
from registry_assets.registry.status.check_results import (
    COMPARED,
    FINGERPRINT,
    WITH_WORKSPACE,
    CheckResult,
    Finding,
    check_cache,
    check_recorded_status,
    check_status,
)
from registry_assets.registry.translator import Key

MATCHES_DVC_LOCK = "matches_dvc_lock"
IN_CACHE = "in_cache"
NO_DUPLICATES = "no_duplicates"
CACHE_JOB = "check_cache"

_MOST_EXAMPLES = 20


class CacheCheckConfig(Config):
    """How thoroughly to check the cache."""

    mode: Literal["sampled", "full"] = Field(
        default="sampled", description="Hash a random sample of the objects, or all."
    )
    sample: int = Field(default=100, ge=0, description="How many files to hash in a sample.")


def build_asset_checks(lineage: Lineage, keys: Iterable[Key]) -> list[AssetChecksDefinition]:
    """Builds the checks of a registry.

    Args:
        lineage: The graph.
        keys: The assets to check: those that the registry generates.
    """
    checked = [asset_key(key) for key in keys]
    registry, translator = lineage.registry, lineage.translator
    root = registry.root
    if not checked:
        return []

    @op(
        name=own_name(registry, MATCHES_DVC_LOCK),
        **_ins_and_outs(checked),
        description="Compares the workspace with the metafiles, as `dvc status` does.",
    )
    def matches_dvc_lock(context: AssetCheckExecutionContext) -> Iterator[AssetCheckResult]:
        now = build_lineage(read_registry(root), translator)
        selected = _selected(context)
        yield from _results(selected, MATCHES_DVC_LOCK, check_status(now, selected))

    @op(
        name=own_name(registry, IN_CACHE),
        **_ins_and_outs(checked),
        description="Checks that the cache has the objects of the recorded versions, and hashes "
        "a sample of them, or all with `mode: full`.",
    )
    def in_cache(
        context: AssetCheckExecutionContext, config: CacheCheckConfig
    ) -> Iterator[AssetCheckResult]:
        now = build_lineage(read_registry(root), translator)
        most_hashed = None if config.mode == "full" else config.sample
        selected = _selected(context)
        yield from _results(selected, IN_CACHE, check_cache(now, selected, most_hashed))

    @op(
        name=own_name(registry, NO_DUPLICATES),
        **_ins_and_outs(checked[:1]),
        description="Compares the files of all collections by content, using their listings.",
    )
    def no_duplicates(context: AssetCheckExecutionContext) -> Iterator[AssetCheckResult]:
        verdict = check_duplicates(build_lineage(read_registry(root), translator))
        yield from _results(
            _selected(context), NO_DUPLICATES, dict.fromkeys(_selected(context), verdict)
        )

    up_to_date = "Up to date, as `registry status` says."
    objects = "The objects are in the cache and hash to their names."
    unique = "No two collections have a file of the same content."
    raw = [key for key in _raw_keys(lineage) if asset_key(key) in checked]
    return [
        _checks_of(matches_dvc_lock, checked, MATCHES_DVC_LOCK, up_to_date),
        _checks_of(in_cache, checked, IN_CACHE, objects),
        *(_checks_of(no_duplicates, [asset_key(key)], NO_DUPLICATES, unique) for key in raw),
    ]


def build_cache_schedule(lineage: Lineage) -> ScheduleDefinition:
    """Builds the schedule that checks the cache every night."""
    keys = (AssetCheckKey(asset_key(key), IN_CACHE) for key in lineage.output_of)
    job = define_asset_job(
        own_name(lineage.registry, CACHE_JOB),
        executor_def=in_process_executor,
        selection=AssetSelection.checks(*keys),
        description="Checks that the cache has the objects of all recorded versions, and hashes a "
        "sample of them.",
    )
    return ScheduleDefinition(
        name=own_name(lineage.registry, CACHE_SCHEDULE),
        job=job,
        cron_schedule="0 3 * * *",
        default_status=DefaultScheduleStatus.RUNNING,
    )


def _ins_and_outs(keys: Sequence[AssetKey]) -> dict[str, Any]:
    """The `ins` and `out` arguments of an op that checks assets.

    `multi_asset_check` derives names from asset keys and fails for a key with a space in it.
    """
    return {
        "ins": {f"asset_{number}": In(Nothing) for number, _ in enumerate(keys)},
        "out": {f"check_{number}": Out(is_required=False) for number, _ in enumerate(keys)},
    }


def _checks_of(
    node: OpDefinition, keys: Sequence[AssetKey], name: str, description: str
) -> AssetChecksDefinition:
    checks: AssetChecksDefinition = AssetChecksDefinition.create(
        node_def=node,
        resource_defs={},
        keys_by_input_name={f"asset_{number}": key for number, key in enumerate(keys)},
        check_specs_by_output_name={
            f"check_{number}": AssetCheckSpec(name, asset=key, description=description)
            for number, key in enumerate(keys)
        },
        can_subset=True,
    )
    return checks


def _selected(context: AssetCheckExecutionContext) -> list[Key]:
    return [tuple(key.asset_key.path) for key in sorted(context.selected_asset_check_keys)]


def _results(
    selected: Sequence[Key], name: str, results: Mapping[Key, CheckResult]
) -> Iterator[AssetCheckResult]:
    gone = CheckResult(
        "No metafile declares this asset any more: reload the code location.",
        {},
        (Finding("", "gone", "no metafile declares it"),),
    )
    for key in selected:
        verdict = results.get(key, gone)
        yield AssetCheckResult(asset_key=asset_key(key), check_name=name, **_arguments(verdict))


def report_checks(lineage: Lineage, instance: DagsterInstance) -> int:
    """Evaluates checks outside runs, and reports the results that changed.

    Returns:
        The number of evaluations reported.
    """
    history = _History(lineage, instance)
    results = {
        MATCHES_DVC_LOCK: _status_results(lineage, history),
        IN_CACHE: _first_cache_results(lineage, history),
        NO_DUPLICATES: _duplicates_results(lineage, history),
    }
    for name, of_assets in results.items():
        for key, verdict in of_assets.items():
            history.report(key, name, verdict)
    return sum(map(len, results.values()))


class _History:
    """The newest check evaluations and materializations of the assets of a registry."""

    def __init__(self, lineage: Lineage, instance: DagsterInstance) -> None:
        self._instance = instance
        self._keys = [*lineage.output_of]
        assets = instance.get_asset_records([asset_key(key) for key in self._keys])
        self._materialized = {
            tuple(asset.asset_entry.asset_key.path): record
            for asset in assets
            if (record := asset.asset_entry.last_materialization_record) is not None
        }

    def newest(self, name: str) -> dict[Key, AssetCheckExecutionRecord]:
        """The newest evaluation of a check, by asset."""
        keys = {AssetCheckKey(asset_key(key), name): key for key in self._keys}
        records = find_newest_evaluations(self._instance, list(keys))
        return {
            keys[check_key]: record
            for check_key, record in records.items()
            if isinstance(record.evaluation, AssetCheckEvaluation)
        }

    def says(self, key: Key, record: AssetCheckExecutionRecord | None, fingerprint: object) -> bool:
        """Whether an evaluation is still current and the UI still shows it.

        The UI hides evaluations older than the newest materialization of an asset, even if that has
        the same data version (`AssetCheckExecutionRecord.targets_latest_materialization`).
        """
        if record is None or _said(record, FINGERPRINT) != fingerprint:
            return False
        latest = self._materialized.get(key)
        if latest is None or latest.run_id == record.run_id:
            return True
        target = record.evaluation.target_materialization_data if record.evaluation else None
        if target is None:
            return latest.timestamp < record.create_timestamp
        return latest.storage_id == target.storage_id

    def report(self, key: Key, name: str, verdict: CheckResult) -> None:
        """Writes an evaluation that targets the newest materialization."""
        latest = self._materialized.get(key)
        self._instance.report_runless_asset_event(
            AssetCheckEvaluation(
                asset_key=asset_key(key),
                check_name=name,
                target_materialization_data=latest
                and AssetCheckEvaluationTargetMaterializationData(
                    storage_id=latest.storage_id, run_id=latest.run_id, timestamp=latest.timestamp
                ),
                **_arguments(verdict),
            )
        )


def _status_results(lineage: Lineage, history: _History) -> Mapping[Key, CheckResult]:
    """The results of `matches_dvc_lock` that changed, or that the UI does not show any more.

    They come from the metafiles alone. Only assets that failed when somebody compared the workspace
    are compared with it again.
    """
    newest = history.newest(MATCHES_DVC_LOCK)
    results = check_recorded_status(lineage, lineage.output_of)
    seen = [
        key
        for key, record in newest.items()
        if record.evaluation is not None
        and not record.evaluation.passed
        and _said(record, COMPARED) == WITH_WORKSPACE
    ]
    if seen:
        results |= check_status(lineage, seen)
    return {
        key: verdict
        for key, verdict in results.items()
        if not history.says(key, newest.get(key), verdict.counts[FINGERPRINT])
    }


def _first_cache_results(lineage: Lineage, history: _History) -> Mapping[Key, CheckResult]:
    """The results of `in_cache`, without hashing, for assets that have none yet."""
    newest = history.newest(IN_CACHE)
    recorded = {
        node.key for node in lineage.nodes.values() if node.key and node.address and node.version
    }
    return check_cache(lineage, sorted(recorded - newest.keys()), most_hashed=0)


def _raw_keys(lineage: Lineage) -> list[Key]:
    """The key of the asset of raw collections, if there is one."""
    folder = lineage.registry.raw_folder
    groups = (g for g in lineage.groups if g.kind == "raw" and g.folder == folder)
    return [group.outputs[0].key for group in groups if folder is not None]


def _duplicates_results(lineage: Lineage, history: _History) -> Mapping[Key, CheckResult]:
    """The results of `no_duplicates`, if versions changed since it was evaluated last."""
    newest = history.newest(NO_DUPLICATES)
    now = fingerprint_collections(lineage)
    return {
        key: check_duplicates(lineage)
        for key in _raw_keys(lineage)
        if raw_versions(lineage) and not history.says(key, newest.get(key), now)
    }


def _arguments(verdict: CheckResult) -> dict[str, Any]:
    """The arguments that `AssetCheckResult` and `AssetCheckEvaluation` share."""
    metadata: dict[str, MetadataValue] = {
        name: MetadataValue.int(value) if isinstance(value, int) else MetadataValue.text(value)
        for name, value in verdict.counts.items()
    }
    if verdict.findings:
        examples = verdict.findings[:_MOST_EXAMPLES]
        metadata["examples"] = MetadataValue.table(
            [TableRecord({"path": f.path, "state": f.state, "why": f.why}) for f in examples]
        )
    return {
        "passed": verdict.passed,
        "severity": AssetCheckSeverity.ERROR if verdict.is_error else AssetCheckSeverity.WARN,
        "description": verdict.description,
        "metadata": metadata,
    }


def _said(record: AssetCheckExecutionRecord, name: str) -> object:
    metadata = record.evaluation.metadata if record.evaluation is not None else {}
    return metadata[name].value if name in metadata else None
