"""Dagster's own SQLite storage, with the event log kept open while a command writes to it.

Dagster opens and closes each database for every event: two thirds of what a materialization costs
are spent on that, as SQLAlchemy sets every engine up anew and SQLite moves its log into the
database whenever the last connection closes. The files and what is in them are the same.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy import create_engine, event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import StaticPool

_MOST_OPEN = 4


class OpenSqliteStorage(DagsterSqliteStorage):
    """Runs, events and schedules where `DagsterSqliteStorage` keeps them."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data)
        self._event_log_storage = OpenEventLogStorage(self._event_log_storage._base_dir)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Any
    ) -> "OpenSqliteStorage":
        """What Dagster calls with the configuration of the instance."""
        return cls.from_local(inst_data=inst_data, **config_value)


class OpenEventLogStorage(SqliteEventLogStorage):
    """One connection to each of the databases that were used last, of which each run has one."""

    def __init__(self, base_dir: str) -> None:
        self._engines: dict[str, Engine] = {}
        super().__init__(base_dir)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            engine = self._engines.pop(shard, None) or self._open(shard)
            self._engines[shard] = engine
            if len(self._engines) > _MOST_OPEN:
                self._engines.pop(next(iter(self._engines))).dispose()
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.connect() as connection, connection.begin():
                yield connection

    def _open(self, shard: str) -> Engine:
        place = Path(self.path_for_shard(shard))
        if not place.exists():
            # Made here, it has the mode that the umask says; by SQLite, 0644.
            place.touch()
        return _open(self.conn_string_for_shard(shard))

    def dispose(self) -> None:
        """Closes the databases."""
        with self._db_lock:
            while self._engines:
                self._engines.popitem()[1].dispose()
        super().dispose()


def _open(address: str) -> Engine:
    # One thread at a time uses the connection, as Dagster's own lock sees to that.
    engine = create_engine(
        address,
        poolclass=StaticPool,
        connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _relax(connection: Any, _record: Any) -> None:
        # What a power cut takes from the end of the log, the metafiles still tell.
        connection.execute("PRAGMA synchronous = NORMAL")

    return engine
