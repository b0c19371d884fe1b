"""Dagster's own SQLite storage, with the event log kept open while a command writes to it.

Dagster opens and closes each database for every event. This takes two thirds of the time of a
materialization, since SQLAlchemy sets up a new engine each time and SQLite checkpoints its log
whenever the last connection closes. The files and their content are the same.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any

from dagster import DagsterInstance
from sqlalchemy import create_engine, event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import StaticPool

from registry_assets.orchestration.internals import (
    SQLITE_BUSY_TIMEOUT_SECONDS,
    ConfigurableClassData,
    DagsterSqliteStorage,
    SqliteEventLogStorage,
)

_INDEX = "index"
_MOST_OPEN = 4
_RUN_PAGE_BYTES = 1024


class OpenSqliteStorage(DagsterSqliteStorage):
    """Keeps runs, events and schedules in the files of `DagsterSqliteStorage`."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data)
        closed_each_time = super().event_log_storage
        assert isinstance(closed_each_time, SqliteEventLogStorage)
        place = Path(closed_each_time.path_for_shard(_INDEX))
        self._open_event_log = OpenEventLogStorage(str(place.parent))

    @property
    def event_log_storage(self) -> "OpenEventLogStorage":
        """The event log that stays open."""
        return self._open_event_log

    def register_instance(self, instance: DagsterInstance) -> None:
        """Called by Dagster with the instance that uses this storage."""
        super().register_instance(instance)
        if not self._open_event_log.has_instance:
            self._open_event_log.register_instance(instance)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Any
    ) -> "OpenSqliteStorage":
        """Called by Dagster with the configuration of the instance."""
        return cls.from_local(inst_data=inst_data, **config_value)


class OpenEventLogStorage(SqliteEventLogStorage):
    """Keeps a connection to each of the most recently used databases; each run has one."""

    def __init__(self, base_dir: str) -> None:
        self._engines: dict[str, Engine] = {}
        self._prepared: set[str] = set()
        # Only one thread at a time uses a connection.
        self._engines_lock = Lock()
        super().__init__(base_dir)

    def run_connection(self, run_id: str | None = None) -> AbstractContextManager[Connection]:
        """Opens a transaction on the database of a run."""
        return self._connected(str(run_id))

    def index_connection(self) -> AbstractContextManager[Connection]:
        """Opens a transaction on the database of all runs."""
        return self._connected(_INDEX)

    @contextmanager
    def _connected(self, shard: str) -> Iterator[Connection]:
        with self._engines_lock:
            engine = self._engines.pop(shard, None) or self._open_engine(shard)
            self._engines[shard] = engine
            if len(self._engines) > _MOST_OPEN:
                self._engines.pop(next(iter(self._engines))).dispose()
            with engine.connect() as connection, connection.begin():
                yield connection

    def _open_engine(self, shard: str) -> Engine:
        place = Path(self.path_for_shard(shard))
        if not place.exists():
            # Created here, the file has the mode of the umask; SQLite would give it 0644.
            place.touch()
            if shard != _INDEX:
                _choose_small_pages(place)
        if shard not in self._prepared:
            # Dagster's own connection creates missing tables.
            with super().run_connection(shard):
                self._prepared.add(shard)
        return _open(self.conn_string_for_shard(shard))

    def dispose(self) -> None:
        """Closes the databases."""
        with self._engines_lock:
            while self._engines:
                self._engines.popitem()[1].dispose()
        super().dispose()


def _choose_small_pages(place: Path) -> None:
    """Makes an empty database of a file, with less left empty by each of Dagster's 25 tables.

    The database of a short run takes 60 kB instead of 150.
    """
    with (
        closing(sqlite3.connect(place)) as connection,
        # Another process that opens it first has chosen.
        suppress(sqlite3.OperationalError),
    ):
        connection.execute(f"PRAGMA page_size = {_RUN_PAGE_BYTES}")
        # This is what writes it into the file; Dagster chooses the same.
        connection.execute("PRAGMA journal_mode = WAL")


def _open(address: str) -> Engine:
    engine = create_engine(
        address,
        poolclass=StaticPool,
        connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _relax(connection: Any, _record: Any) -> None:
        # Events lost in a power cut can be reported again from the metafiles.
        connection.execute("PRAGMA synchronous = NORMAL")

    return engine
