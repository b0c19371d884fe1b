"""All that we use of Dagster beyond its public interface, and why nothing public serves.

`tests/test_private_apis.py` says of each name what we rely on, so that an upgrade fails there, in
words, and not somewhere in a run. No other module imports from ``dagster._…``.

The SQLite storages are imported when they are asked for: with SQLAlchemy and Alembic they take
longer than most commands, of which few open the history.
"""

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster import (
    AssetCheckKey,
    AssetKey,
    DagsterInstance,
    DynamicPartitionsDefinition,
    partition_loading_context,
)
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)
from dagster._core.definitions.data_version import (
    CODE_VERSION_TAG,
    DATA_VERSION_TAG,
    DEFAULT_DATA_VERSION,
    NULL_EVENT_POINTER,
    get_input_data_version_tag,
    get_input_event_pointer_tag,
)
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.instance.ref import InstanceRef
from dagster._core.instance.utils import RUNLESS_RUN_ID
from dagster._core.scheduler.instigation import InstigatorState
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecord
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value
from dagster._core.storage.tags import (
    MAX_RETRIES_TAG,
    PARTITION_NAME_TAG,
    RETRY_ON_ASSET_OR_OP_FAILURE_TAG,
    RETRY_STRATEGY_TAG,
    RUN_KEY_TAG,
)
from dagster._record import copy, record
from dagster_shared.error import SerializableErrorInfo

if TYPE_CHECKING:
    from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
    from dagster._core.storage.event_log.sqlite.sqlite_event_log import (
        SqliteEventLogStorage as SqliteEventLogStorage,
    )
    from dagster._core.storage.sqlite import (
        SQLITE_BUSY_TIMEOUT_SECONDS as SQLITE_BUSY_TIMEOUT_SECONDS,
    )
    from dagster._core.storage.sqlite_storage import DagsterSqliteStorage as DagsterSqliteStorage
    from dagster._serdes import ConfigurableClassData as ConfigurableClassData
    from sqlalchemy import Table
    from starlette.routing import BaseRoute

__all__ = [
    # The provenance of a materialization is in its tags, which Dagster writes in a run and nobody
    # else can: of what was made outside, we write them, so that it counts as up to date.
    "CODE_VERSION_TAG",
    "DATA_VERSION_TAG",
    "DEFAULT_DATA_VERSION",
    # How Dagster tags runs, of which its documentation gives the strings only.
    "MAX_RETRIES_TAG",
    "NULL_EVENT_POINTER",
    "PARTITION_NAME_TAG",
    "RETRY_ON_ASSET_OR_OP_FAILURE_TAG",
    "RETRY_STRATEGY_TAG",
    # What stands for the run of an event that was reported outside any.
    "RUNLESS_RUN_ID",
    "RUN_KEY_TAG",
    # An evaluation reported outside a run shows in the UI only if it says of what it was; within
    # one, Dagster sees to that.
    "AssetCheckEvaluationTargetMaterializationData",
    # The types of what public functions give: `define_asset_job`, evaluations of checks,
    # `DagsterEvent.event_specific_data`.
    "AssetCheckExecutionRecord",
    "SerializableErrorInfo",
    "UnresolvedAssetJobDefinition",
    "copy_sensor_states",
    "event_tables",
    "find_newest_evaluations",
    "get_input_data_version_tag",
    "get_input_event_pointer_tag",
    "open_instance",
    # A condition of our own with a field has to be a record, as Dagster's own are: its automation
    # copies and compares conditions as such.
    "read_event",
    "record",
    "run_dagster",
    "run_shards",
    "run_webserver",
    "show_partitions_as_missing",
    "sql_event_log",
    "write_event",
]

_STORAGES = {
    "ConfigurableClassData": "dagster._serdes",
    "DagsterSqliteStorage": "dagster._core.storage.sqlite_storage",
    "SQLITE_BUSY_TIMEOUT_SECONDS": "dagster._core.storage.sqlite",
    "SqliteEventLogStorage": "dagster._core.storage.event_log.sqlite.sqlite_event_log",
}
"""What the storage that stays open is made of: Dagster opens and closes each database for every
event, and no setting says otherwise."""


def __getattr__(name: str) -> Any:
    if name not in _STORAGES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_STORAGES[name]), name)


def open_instance(home: Path, overrides: Mapping[str, Any]) -> DagsterInstance:
    """The instance whose home is a folder, with some of its settings replaced.

    `DagsterInstance.get` and `DagsterInstance.from_config` take settings from ``dagster.yaml``
    alone, and the storage that stays open is for this process, not for everybody's file.

    Args:
        home: The folder with its ``dagster.yaml``.
        overrides: Goes before what that says.
    """
    return DagsterInstance.from_ref(InstanceRef.from_dir(str(home), overrides=dict(overrides)))


def find_newest_evaluations(
    instance: DagsterInstance, checks: Sequence[AssetCheckKey]
) -> Mapping[AssetCheckKey, AssetCheckExecutionRecord]:
    """The newest execution of each check, of those that were ever executed.

    The public `DagsterInstance` has no reader of checks; events would have to be searched, for as
    long as the history is.
    """
    storage = instance.event_log_storage
    return storage.get_latest_asset_check_execution_by_key(list(checks))


def show_partitions_as_missing(
    instance: DagsterInstance,
    key: AssetKey,
    partitions: DynamicPartitionsDefinition,
    names: Sequence[str],
) -> None:
    """Has Dagster count partitions of an asset as missing, and keeps every event.

    It counts each that ever had a materialization, and its storages cannot wipe a single partition.
    But it counts in a cache, to which it only adds what is materialized later: what is taken out
    there stays out.
    """
    counted = get_and_update_asset_status_cache_value(instance, key, partitions)
    if counted is None or not instance.event_log_storage.can_write_asset_status_cache():
        return
    with partition_loading_context(None, instance):
        there = counted.deserialize_materialized_partition_subsets(partitions)
        gone = [name for name in names if name in there]
        if gone:
            left = there - partitions.subset_with_partition_keys(gone)
            instance.update_asset_cached_status_data(
                key, counted._replace(serialized_materialized_partition_subset=left.serialize())
            )


def copy_sensor_states(instance: DagsterInstance, new_names: Mapping[str, str]) -> None:
    """Gives sensors and schedules that were renamed what Dagster keeps of them: on, off, cursors.

    There is nothing public that writes a state: Dagster keeps them by name.

    Args:
        instance: Where they are kept. States under the former names stay.
        new_names: By former name.
    """
    if instance.schedule_storage is None:
        return
    states = instance.all_instigator_state()
    kept = {state.selector_id for state in states}
    for state in states:
        name = new_names.get(state.instigator_name)
        if name is not None:
            origin = copy(state.origin, instigator_name=name)
            renamed = InstigatorState(
                origin, state.instigator_type, state.status, state.instigator_data
            )
            if renamed.selector_id not in kept:
                instance.add_instigator_state(renamed)


# --- Dagster's webserver --------------------------------------------------------------------------
#
# Dagster has no way to add a route to its webserver, and `dagster dev` none to start another one.
# Both are programs, of which one function each is replaced: whatever else they do, they still do.


def run_webserver(routes: "Sequence[BaseRoute]") -> None:
    """`dagster-webserver`, by the arguments of this process, with routes in front of its own."""
    cli: Any = import_module("dagster_webserver.cli")
    create = cli.create_app_from_workspace_process_context

    def create_with_routes(*arguments: Any, **options: Any) -> Any:
        app = create(*arguments, **options)
        app.router.routes[:0] = routes
        return app

    cli.create_app_from_workspace_process_context = create_with_routes
    cli.main()


def run_dagster(webserver: str) -> None:
    """`dagster`, by the arguments of this process, with a webserver of ours for `dagster dev`.

    Args:
        webserver: The module to run in place of ``dagster_webserver``.
    """
    cli: Any = import_module("dagster._cli")
    dev: Any = import_module("dagster._cli.dev")
    start = dev.open_ipc_subprocess

    def start_ours(parts: Sequence[str], **options: Any) -> Any:
        ours = [webserver if part == "dagster_webserver" else part for part in parts]
        return start(ours, **options)

    dev.open_ipc_subprocess = start_ours
    cli.main()


# --- The tables of the event log ------------------------------------------------------------------
#
# Events are for ever, and nothing public changes one. What version 0.1.0 wrote into them is taken
# out once (`sheet_history`); nothing else of ours may touch these tables.


def sql_event_log(instance: DagsterInstance) -> "SqlEventLogStorage | None":
    """What keeps the events of an instance, where that is a database with Dagster's tables."""
    from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

    storage: Any = instance.event_log_storage
    return storage if isinstance(storage, SqlEventLogStorage) else None


def run_shards(storage: "SqlEventLogStorage") -> Sequence[str]:
    """The runs whose events are in databases of their own, which `run_connection` opens."""
    from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

    if not isinstance(storage, SqliteEventLogStorage):
        return ()
    # Dagster leaves out what was reported outside any run.
    return (RUNLESS_RUN_ID, *storage.get_all_run_ids())


def event_tables() -> "tuple[Table, Table]":
    """The table of all events, and that of assets, which has a copy of the newest of each."""
    from dagster._core.storage.event_log.schema import AssetKeyTable, SqlEventLogStorageTable

    return SqlEventLogStorageTable, AssetKeyTable


def read_event(text: str) -> Any:
    """What a table has of an event, as an object."""
    from dagster._serdes import deserialize_value

    return deserialize_value(text)


def write_event(event: Any) -> str:
    """The same, as a table has it."""
    from dagster._serdes import serialize_value

    return serialize_value(event)
