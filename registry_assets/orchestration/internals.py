"""All private names of Dagster that we use, and why no public name does the job.

`tests/test_private_apis.py` states what we rely on for each name, so that an incompatible Dagster
fails there with a clear message and not somewhere in a run. No other module imports from
``dagster._…``.

The SQLite storages are imported lazily: importing them, with SQLAlchemy and Alembic, takes longer
than most commands, and few commands open the history.
"""

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from io import UnsupportedOperation
from pathlib import Path
from threading import Event, Thread
from typing import IO, TYPE_CHECKING, Any

import psutil
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
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.execution import compute_logs
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus
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
    from dagster._grpc.client import DagsterGrpcClient
    from dagster._serdes import ConfigurableClassData as ConfigurableClassData
    from sqlalchemy import Table
    from starlette.routing import BaseRoute

__all__ = [
    # The tags with the provenance of a materialization. Dagster writes them only in a run; for
    # versions made outside Dagster we write them, so that Dagster takes them for up to date.
    "CODE_VERSION_TAG",
    "DATA_VERSION_TAG",
    "DEFAULT_DATA_VERSION",
    # Tags of runs; the documentation gives the strings, but no constants.
    "MAX_RETRIES_TAG",
    "NULL_EVENT_POINTER",
    "PARTITION_NAME_TAG",
    "RETRY_ON_ASSET_OR_OP_FAILURE_TAG",
    "RETRY_STRATEGY_TAG",
    # The run ID of an event that was reported outside a run.
    "RUNLESS_RUN_ID",
    "RUN_KEY_TAG",
    # The UI shows an evaluation from outside a run only if it names its target materialization;
    # within a run, Dagster adds the target.
    "AssetCheckEvaluationTargetMaterializationData",
    # Return types of public names: `define_asset_job`, check evaluations and
    # `DagsterEvent.event_specific_data`.
    "AssetCheckExecutionRecord",
    "SerializableErrorInfo",
    "UnresolvedAssetJobDefinition",
    "code_server_of",
    "copy_sensor_states",
    "event_tables",
    "find_code_server",
    "find_newest_evaluations",
    "find_postgres_address",
    "get_input_data_version_tag",
    "get_input_event_pointer_tag",
    "has_open_backfills",
    "open_instance",
    "postgres_address",
    "read_event",
    "read_migrations_once",
    # Our own automation conditions have to be records, like Dagster's, which copies and compares
    # conditions that way.
    "record",
    "run_daemon",
    "run_shards",
    "run_webserver",
    "show_logs_in_this_process",
    "show_partitions_as_missing",
    "sql_event_log",
    "stay_connected",
    "write_event",
]

_STORAGES = {
    "ConfigurableClassData": "dagster._serdes",
    "DagsterSqliteStorage": "dagster._core.storage.sqlite_storage",
    "SQLITE_BUSY_TIMEOUT_SECONDS": "dagster._core.storage.sqlite",
    "SqliteEventLogStorage": "dagster._core.storage.event_log.sqlite.sqlite_event_log",
}
"""Base classes of `OpenSqliteStorage`, which keeps its databases open: Dagster opens and closes a
database for every event, and has no setting for it."""

_LOOK_SECONDS = 0.1
"""How often a log is looked at for new lines."""
_SHOWN_BYTES = 2**16
_RECONNECT_SECONDS = 10
"""Older connections are replaced, as the server or a firewall may have closed them."""


def __getattr__(name: str) -> Any:
    if name not in _STORAGES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_STORAGES[name]), name)


def open_instance(home: Path, overrides: Mapping[str, Any]) -> DagsterInstance:
    """Open the Dagster instance of a home folder, with some of its settings replaced.

    `DagsterInstance.get` and `DagsterInstance.from_config` read settings from ``dagster.yaml``
    only, which other processes read, too; `OpenSqliteStorage` is for this process alone.

    Args:
        home: The folder with ``dagster.yaml``.
        overrides: Settings that take precedence over ``dagster.yaml``.
    """
    return DagsterInstance.from_ref(InstanceRef.from_dir(str(home), overrides=dict(overrides)))


def read_migrations_once() -> None:
    """Make Dagster read its migrations once in this process, as they stay the same.

    Dagster has Alembic import all of them, sixty modules, for each of the three databases of an
    instance, and twice for the one that each run gets: most of the time that it takes to open them.
    There is no setting for it, so we replace how Alembic reads them.
    """
    migrations: Any = import_module("dagster._core.storage.sql").ScriptDirectory
    if isinstance(migrations.from_config, _ReadOnce):
        return
    migrations.from_config = _ReadOnce(migrations.from_config)


class _ReadOnce:
    """Reads migrations when they are asked for first.

    Args:
        read: Takes Alembic's settings, of which Dagster has one for each database.
    """

    def __init__(self, read: Callable[[Any], Any]) -> None:
        self._read = read
        self._known: dict[str, Any] = {}

    def __call__(self, config: Any) -> Any:
        place = config.get_main_option("script_location")
        if place not in self._known:
            self._known[place] = self._read(config)
        return self._known[place]


def show_logs_in_this_process() -> None:
    """Make this process itself show what a step prints, which Dagster keeps in a file.

    For each of the two streams, Dagster starts `tail`, and a Python process that watches over it.
    When the step is over, it ends `tail`, which on a busy machine has not shown the last lines by
    then, or none. There is no setting for it.
    """
    compute_logs.tail_to_stream = _shown_meanwhile


@contextmanager
def _shown_meanwhile(path: str, stream: IO[str]) -> Iterator[tuple[None, None]]:
    """Copies a growing file to a stream, all of it by the end, as `tail_to_stream` does.

    Yields:
        The processes that do it: none.
    """
    try:
        # The stream itself is about to be redirected to the file.
        shown = os.dup(stream.fileno())
    except UnsupportedOperation:
        # Not redirected, either.
        yield (None, None)
        return
    is_over = Event()
    showing = Thread(target=_copy_until, args=(is_over, path, shown), daemon=True)
    showing.start()
    try:
        yield (None, None)
    finally:
        is_over.set()
        showing.join()
        os.close(shown)


def _copy_until(is_over: Event, path: str, shown: int) -> None:
    with Path(path).open("rb") as log:
        was_over = False
        while not was_over:
            # Asked before, so that all that was written until then is copied.
            was_over = is_over.wait(_LOOK_SECONDS)
            while text := log.read(_SHOWN_BYTES):
                try:
                    while text:
                        text = text[os.write(shown, text) :]
                except OSError:
                    # Nobody reads any more, or the disk is full. It stays in the file, and what
                    # this process prints next raises the same error.
                    return


def find_postgres_address(home: Path) -> str | None:
    """The address, with the password, of the PostgreSQL database in an instance's settings.

    Only Dagster's storage class resolves environment variables in the settings. It connects to the
    database when it is created, unless `should_autocreate_tables` is off.

    Args:
        home: The folder with ``dagster.yaml``.

    Returns:
        None if the settings name another storage, or use an `auth_provider` instead of a password.
    """
    data = InstanceRef.from_dir(str(home)).storage_data
    if (
        data is None
        or data.module_name != "dagster_postgres"
        or "auth_provider" in data.config_dict
    ):
        return None
    config = {**data.config_dict, "should_autocreate_tables": False}
    return postgres_address(data._replace(config_yaml=json.dumps(config)).rehydrate())


def postgres_address(storage: Any) -> str | None:
    """The address of a storage's database; None if that is not PostgreSQL."""
    return getattr(storage, "postgres_url", None)


def stay_connected(instance: DagsterInstance) -> None:
    """Make the storages of an instance keep their connections to the database server.

    By default they connect for each statement, which takes half of the time of an event. Dagster
    does the same for its webserver. For SQLite there is `OpenSqliteStorage`.
    """
    instance.optimize_for_webserver(
        statement_timeout=0, pool_recycle=_RECONNECT_SECONDS, max_overflow=-1
    )


def find_newest_evaluations(
    instance: DagsterInstance, checks: Sequence[AssetCheckKey]
) -> Mapping[AssetCheckKey, AssetCheckExecutionRecord]:
    """The newest execution of each check, without checks that were never executed.

    The only public way to find them is to search all events.
    """
    storage = instance.event_log_storage
    return storage.get_latest_asset_check_execution_by_key(list(checks))


def has_open_backfills(instance: DagsterInstance, since: datetime) -> bool:
    """Whether a backfill that was requested since then still has runs to launch.

    Dagster has no public way to list backfills.
    """
    filters = BulkActionsFilter(statuses=[BulkActionStatus.REQUESTED], created_after=since)
    return instance.get_backfills_count(filters) > 0


def show_partitions_as_missing(
    instance: DagsterInstance,
    key: AssetKey,
    partitions: DynamicPartitionsDefinition,
    names: Sequence[str],
) -> None:
    """Make Dagster count partitions of an asset as missing, and keep all events.

    Dagster counts every partition that ever had a materialization, and no storage can wipe a single
    partition. But it counts with a cache, and only adds partitions that are materialized later: a
    partition that is removed from the cache stays removed.
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
    """Copy the states of renamed sensors and schedules: whether they run, and their cursors.

    Dagster stores states by name, and has no public way to write one.

    Args:
        instance: The instance with the states. Those under the former names stay.
        new_names: The new names by former name.
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
# Dagster has no public way to add a route to its webserver. So we replace the function that creates
# the app.


def run_webserver(routes: "Sequence[BaseRoute]", wait: Callable[[], object]) -> None:
    """Run `dagster-webserver` with the arguments of this process and additional routes.

    Args:
        routes: The additional routes; they take precedence over Dagster's.
        wait: Called after all imports, before the workspace is loaded or served.
    """
    cli: Any = import_module("dagster_webserver.cli")
    create = cli.create_app_from_workspace_process_context

    def create_with_routes(*arguments: Any, **options: Any) -> Any:
        app = create(*arguments, **options)
        app.router.routes[:0] = routes
        return app

    cli.create_app_from_workspace_process_context = create_with_routes
    wait()
    cli.main()


# --- Dagster's daemon -----------------------------------------------------------------------------


def run_daemon() -> None:
    """Run `dagster-daemon` with the arguments of this process.

    With run retries enabled, the daemon warns on its first start that it ignores older events. A
    new history has no such events, so we filter the warning.
    """
    cli: Any = import_module("dagster._daemon.cli")
    said = logging.getLogger("dagster.daemon.EventLogConsumerDaemon")
    said.addFilter(lambda line: not line.getMessage().startswith("No cursor for event type"))
    cli.main()


# --- The code server ------------------------------------------------------------------------------
#
# `dagster code-server start`, which `dagster dev` and `dg dev` use too, listens on an address and
# forwards requests to a child process that has loaded the code. When asked to reload, it starts a
# new child; every webserver and daemon notices the new server id and reloads. The child is not told
# the address, but finds it on the command line of its parent.


@dataclass(frozen=True)
class CodeServer:
    """The code server for which this process has loaded the code."""

    client: "DagsterGrpcClient"

    def reload(self, seconds: int) -> None:
        """Make the server load the code again, in a new process that replaces this one.

        Args:
            seconds: Time limit.

        Raises:
            ConnectionError: If the server does not answer in time.
        """
        try:
            self.client.reload_code(timeout=seconds)
        except DagsterUserCodeUnreachableError as error:
            raise ConnectionError(f"the code server does not reload: {error}") from error


def find_code_server() -> CodeServer | None:
    """Find the code server for which this process has loaded the code; None if there is none."""
    try:
        parent = psutil.Process().parent()
        return None if parent is None else code_server_of(parent.cmdline())
    except psutil.Error:
        return None


def code_server_of(command: Sequence[str]) -> CodeServer | None:
    """The code server that a command line starts; None if it starts no code server."""
    from dagster._cli.code_server import start_command
    from dagster._grpc.client import DagsterGrpcClient

    if "code-server" not in command:
        return None
    # `code-server` is followed by `start`. Options that are left out may be in the environment.
    options = command[command.index("code-server") + 2 :]
    given = start_command.make_context("start", list(options)).params
    return CodeServer(DagsterGrpcClient(given["port"], given["socket"], given["host"]))


# --- The tables of the event log ------------------------------------------------------------------
#
# Dagster has no public way to change an event. Only `sheet_history` may write to these tables: it
# removes the contact sheets that version 0.1.0 stored in events.


def sql_event_log(instance: DagsterInstance) -> "SqlEventLogStorage | None":
    """The event log storage of an instance, if it is a SQL database with Dagster's tables."""
    from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

    storage: Any = instance.event_log_storage
    return storage if isinstance(storage, SqlEventLogStorage) else None


def run_shards(storage: "SqlEventLogStorage") -> Sequence[str]:
    """The IDs of runs whose events are in a separate database, as `run_connection` opens it."""
    from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

    if not isinstance(storage, SqliteEventLogStorage):
        return ()
    # Dagster leaves out events that were reported outside a run.
    return (RUNLESS_RUN_ID, *storage.get_all_run_ids())


def event_tables() -> "tuple[Table, Table]":
    """The table of events, and the table of assets with a copy of each asset's newest event."""
    from dagster._core.storage.event_log.schema import AssetKeyTable, SqlEventLogStorageTable

    return SqlEventLogStorageTable, AssetKeyTable


def read_event(text: str) -> Any:
    """Deserialize an event from its text in a table."""
    from dagster._serdes import deserialize_value

    return deserialize_value(text)


def write_event(event: Any) -> str:
    """Serialize an event to its text in a table."""
    from dagster._serdes import serialize_value

    return serialize_value(event)
