"""A history in PostgreSQL is told what one in SQLite is; what its server refuses is one line."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from urllib.parse import quote

import pytest
from click.testing import CliRunner, Result
from dagster import (
    AssetKey,
    AssetMaterialization,
    DagsterInstance,
    MetadataValue,
    SensorResult,
    build_sensor_context,
    evaluate_automation_conditions,
)

from registry_assets import build_definitions, read_registry
from registry_assets.cli import main
from registry_assets.errors import MetafileError, UnusableError
from registry_assets.orchestration.describing import CONTACT_SHEET
from registry_assets.orchestration.history.event_log import (
    ABSENT,
    AssetPartition,
    Seen,
    asset_key,
    read_seen,
)
from registry_assets.orchestration.history.opening import open_history
from registry_assets.orchestration.internals import (
    get_and_update_asset_status_cache_value,
    partition_loading_context,
)
from registry_assets.orchestration.names import ARRIVAL_SENSOR_NAME as ARRIVALS
from registry_assets.orchestration.names import CHANGE_SENSOR_NAME, own_name, partitions_definition
from registry_assets.registry.home import HOME
from tests.conftest import commit_all, copy_empty_repository, lineage_of, run, write_tree
from tests.postgres_server import PASSWORD, USER, PostgresServer, serve
from tests.test_sensor import set_settle_seconds
from tests.test_several_registries import add, copy_registry, partitions, remove, tell
from tests.test_several_registries import told as versions

VARIABLE = "TEAM_HISTORY"
SETTINGS = f"""\
telemetry:
  enabled: false
storage:
  postgres:
    postgres_url:
      env: {VARIABLE}
"""
DATASET = "processed/texts"
_numbers = count()


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with serve() as found:
        yield found


@dataclass(frozen=True)
class Database:
    """A database of a test.

    Attributes:
        server: Where it is.
        name: What it is called there.
    """

    server: PostgresServer
    name: str

    @property
    def address(self) -> str:
        return self.server.address(self.name)

    def count(self, event: str = "ASSET_MATERIALIZATION") -> int:
        """How many events of a type are in there."""
        statement = f"SELECT count(*) FROM event_logs WHERE dagster_event_type = '{event}'"
        ((number,),) = self.server.execute(statement, database=self.name)
        assert isinstance(number, int)
        return number

    def holds(self, text: str) -> bool:
        """Whether a text is anywhere in what it has of events."""
        columns = {"event_logs": "event", "asset_keys": "last_materialization"}
        return any(
            self.server.execute(
                f"SELECT 1 FROM {table} WHERE {column} LIKE '%{text}%'", database=self.name
            )
            for table, column in columns.items()
        )

    def empty(self) -> None:
        """Deletes it with all that is in it, and makes it anew."""
        self.server.execute(
            f"DROP DATABASE {self.name} WITH (FORCE)", f"CREATE DATABASE {self.name}"
        )


@pytest.fixture(scope="module")
def _template(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with Dagster's tables, as making those takes long."""
    name = "template_history"
    server.execute(f"CREATE DATABASE {name}")
    root = copy_empty_repository(tmp_path_factory.mktemp("template") / "registry", HOME)
    (root / "dagster.yaml").write_text(SETTINGS)
    # Opens it, and tells it nothing.
    run(root, "registry", "lineage", "--check", env={VARIABLE: server.address(name)})
    return name


@pytest.fixture
def database(server: PostgresServer, _template: str, monkeypatch: pytest.MonkeyPatch) -> Database:
    """A database that Dagster has told nothing yet, which the environment names."""
    name = f"history_{next(_numbers)}"
    server.execute(f"CREATE DATABASE {name} TEMPLATE {_template}")
    found = Database(server, name)
    monkeypatch.setenv(VARIABLE, found.address)
    return found


@pytest.fixture
def team(text_registry: Path, database: Database) -> Path:
    """A registry whose settings lead to the database; with a SQLite history from before."""
    assert (text_registry / HOME / "history").is_dir()
    (text_registry / "dagster.yaml").write_text(SETTINGS)
    assert database.count() == 0
    return text_registry


def registry(root: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--root", str(root), *arguments])


def work(root: Path) -> str:
    """A day's work, with each command that opens the history; returns what `trace` says."""
    run(root, "registry", "add", "01_a")
    run(root, "registry", "import", "01_a", "--into", DATASET)
    run(root, "registry", "materialize", "--collection", "02_b")
    commit_all(root, "Take two collections in")
    shutil.rmtree(root / "raw/01_a")
    write_tree(root, {"raw/01_a/one.txt": "another one\n", "raw/01_a/four.txt": "four\n"})
    run(root, "registry", "add", "01_a")
    run(root, "registry", "update", "01_a")
    run(root, "registry", "materialize")
    run(root, "registry", "take-out", "02_b", "--from", DATASET)
    run(root, "registry", "forget", "raw/01_a/four.txt", "--reason", "asked to")
    run(root, "registry", "sync")
    run(root, "registry", "lineage", "--check")
    run(root, "registry", "status")
    return run(root, "registry", "trace", "raw/01_a/one.txt", "--json")


def told(root: Path) -> list[tuple[object, ...]]:
    """What the history says of each materialization, oldest first, but when and by which run."""
    lineage = lineage_of(root)
    found = []
    with open_history(root) as instance:
        for key in sorted(lineage.group_of):
            records = instance.fetch_materializations(asset_key(key), limit=1000).records
            for record in reversed(records):
                event = record.asset_materialization
                assert event is not None
                tags = {
                    name: value
                    for name, value in (event.tags or {}).items()
                    if name.startswith(("dagster/data_version", "dagster/input_data_version"))
                }
                found.append((key, event.partition, sorted(tags.items()), sorted(event.metadata)))
    return found


def test_a_days_work_is_told_as_to_sqlite(team: Path, database: Database, tmp_path: Path) -> None:
    other = tmp_path / "other" / "registry"
    run(tmp_path, "mkdir", "other")
    run(tmp_path, "cp", "-a", str(team), str(other))
    (other / "dagster.yaml").unlink()
    with ThreadPoolExecutor() as threads:
        traced, _ = threads.map(work, (team, other))
    assert json.loads(traced)["chains"][0]
    assert database.count() > 0
    assert (other / HOME / "history/runs/index.db").exists()
    assert told(team) == told(other)


def test_a_database_that_was_deleted_is_told_all_again(team: Path, database: Database) -> None:
    run(team, "registry", "materialize", "--collection", "01_a")
    before = {asset: seen.version for asset, seen in seen_in(team).items()}
    assert before
    database.empty()
    assert f"reported {len(before)} materializations" in run(team, "registry", "sync")
    run(team, "registry", "lineage", "--check")
    assert {asset: seen.version for asset, seen in seen_in(team).items()} == before
    # Nothing is taken for told that another database was told.
    database.empty()
    run(team, "registry", "materialize")
    assert database.count() == len(before)


def seen_in(root: Path) -> Mapping[AssetPartition, Seen]:
    with open_history(root) as instance:
        return read_seen(lineage_of(root), instance)


def test_commands_say_which_database_they_tell(team: Path, database: Database) -> None:
    shown = f"postgresql://team@127.0.0.1:{database.server.port}/{database.name}"
    said = run(team, "registry", "sync")
    assert said.endswith(f" checks to {shown}\n")


def test_settings_that_are_written_later_hold(bare: Path, database: Database) -> None:
    assert not (bare / HOME / "dagster.yaml").is_symlink()
    (bare / "dagster.yaml").write_text(SETTINGS)
    assert database.name in registry(bare, "sync").stdout


def test_settings_of_an_exported_home_hold(
    text_registry: Path, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = {
        "username": USER,
        "password": {"env": "TEAM_PASSWORD"},
        "hostname": "127.0.0.1",
        "port": database.server.port,
        "db_name": database.name,
    }
    settings = {"storage": {"postgres": {"postgres_db": parts}}, "telemetry": {"enabled": False}}
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "dagster.yaml").write_text(json.dumps(settings))
    monkeypatch.setenv("TEAM_PASSWORD", PASSWORD)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    assert database.name in registry(text_registry, "sync").stdout


def test_a_variable_of_env_is_read_as_by_dagster(
    team: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is in there goes before what is exported, as with Dagster's own commands.
    monkeypatch.setenv(VARIABLE, database.address + "_of_somebody_else")
    with (team / ".env").open("a") as stream:
        stream.write(f"# the database of the team\n{VARIABLE}='{database.address}'\n")
    assert database.name in registry(team, "sync").stdout
    assert "somebody_else" in os.environ[VARIABLE]


def test_a_fresh_clone_knows_the_runs(team: Path, tmp_path: Path) -> None:
    run(team, "registry", "add", "01_a")
    commit_all(team)
    run(team, "registry", "push")
    clone = tmp_path / "clone"
    run(tmp_path, "git", "clone", "--quiet", str(team), str(clone))
    run(clone, "dvc", "remote", "modify", "--local", "storage", "url", f"{team}/.dvc/storage")
    run(clone, "dvc", "fetch", "--quiet", "raw/01_a")
    assert not (clone / HOME).exists()
    traced = run(clone, "registry", "trace", str(team / "raw/01_a/one.txt"), "--json")
    ((step, *_),) = (chain["steps"] for chain in json.loads(traced)["chains"])
    assert step["run"]


def test_what_the_commit_lacks_counts_as_missing(team: Path) -> None:
    run(team, "registry", "add", "01_a")
    run(team, "registry", "add", "02_b")
    commit_all(team)
    assert materialized_partitions(team, "raw") == {"01_a", "02_b"}
    run(team, "git", "rm", "--quiet", "raw/02_b.dvc")
    run(team, "registry", "sync")
    assert materialized_partitions(team, "raw") == {"01_a"}
    run(team, "git", "reset", "--quiet", "--hard")
    run(team, "registry", "sync")
    assert materialized_partitions(team, "raw") == {"01_a", "02_b"}


def materialized_partitions(root: Path, key: str) -> set[str]:
    """The partitions of an asset that Dagster's UI shows as filled."""
    lineage = lineage_of(root)
    partitions = partitions_definition(lineage.registry, lineage.group_of[(key,)])
    assert partitions is not None
    with open_history(root) as instance:
        counted = get_and_update_asset_status_cache_value(instance, AssetKey(key), partitions)
        assert counted is not None
        with partition_loading_context(None, instance):
            filled = counted.deserialize_materialized_partition_subsets(partitions)
            return set(filled.get_partition_keys())


def test_sensors_tell_and_ask_for_what_changed(team: Path, database: Database) -> None:
    set_settle_seconds(team, 0)
    run(team, "registry", "materialize", "--collection", "01_a")
    definitions = build_definitions(team)
    with open_history(team) as instance:
        before = evaluate_automation_conditions(definitions, instance)
        assert before.total_requested == 0
        write_tree(team, {"raw/01_a/new.txt": "new\n"})
        run(team, "dvc", "add", "--quiet", "raw/01_a")
        told_before = database.count()
        seen = tick(team, instance, CHANGE_SENSOR_NAME)
        done = tick(team, instance, CHANGE_SENSOR_NAME, seen.cursor)
        assert "reported 1 materializations" in str(done.skip_reason)
        assert database.count() == told_before + 1
        again = tick(team, instance, CHANGE_SENSOR_NAME, done.cursor)
        assert "nothing changed" in str(again.skip_reason)
        arrived = tick(team, instance, ARRIVALS).run_requests or ()
        assert [request.partition_key for request in arrived] == ["02_b"]
        follows = evaluate_automation_conditions(definitions, instance, cursor=before.cursor)
        assert follows.total_requested == 4, "the import, and the three assets made from it"


def tick(
    root: Path, instance: DagsterInstance, name: str, cursor: str | None = None
) -> SensorResult:
    definitions, name = build_definitions(root), own_name(read_registry(root), name)
    context = build_sensor_context(
        instance=instance, definitions=definitions, sensor_name=name, cursor=cursor
    )
    result = definitions.resolve_sensor_def(name)(context)
    assert isinstance(result, SensorResult)
    return result


SHEET = "![contact sheet](data:image/jpeg;base64,c2hlZXQ=)"


def test_contact_sheets_of_an_earlier_version_are_taken_out(team: Path, database: Database) -> None:
    run(team, "registry", "add", "01_a")
    run(team, "registry", "forget", "raw/01_a/one.txt", "--dry-run")
    with open_history(team) as instance:
        metadata = {CONTACT_SHEET: MetadataValue.md(SHEET)}
        instance.report_runless_asset_event(
            AssetMaterialization("raw", partition="01_a", metadata=metadata)
        )
    done = registry(team, "forget", "raw/01_a/one.txt", "--dry-run")
    assert "`registry sync --strip-sheets`" in done.stderr
    assert database.holds("base64")
    assert "took 1 contact sheet, " in run(team, "registry", "sync", "--strip-sheets")
    assert not database.holds("base64")
    run(team, "registry", "forget", "raw/01_a/one.txt", "--dry-run")


WRONG = "wr0ng-pass"
REFUSALS = {
    "a password": ("team:{wrong}@127.0.0.1:{port}/postgres", "correct the user and the password"),
    "no password": ("team@127.0.0.1:{port}/postgres", "write the password in `storage`"),
    "a port": ("team:{password}@127.0.0.1:1/postgres", "Connection refused: make sure that"),
    "a host": ("team:{password}@not-there.invalid/postgres", "correct the host in `storage` of"),
    "a database": ("team:{password}@127.0.0.1:{port}/not_there", "create it with `createdb`"),
    "a user": ("guest:{password}@127.0.0.1:{port}/postgres", "correct the user"),
    "a schema": ("visitor:{password}@127.0.0.1:{port}/postgres", "permission denied"),
    "what is not encoded": ("team:pass@{password}@127.0.0.1:{port}/postgres", "correct the host"),
    "what looks like a port": ("team:a@b:{password}@127.0.0.1/postgres", "percent-encode all but"),
    "another scheme": ("postgres://team:{password}@127.0.0.1/postgres", "postgresql://USER"),
    "no address": ("{password}", "postgresql://USER"),
}


@pytest.fixture(scope="module")
def visitor(server: PostgresServer) -> None:
    """A role that may look, and make nothing."""
    server.execute(f"CREATE ROLE visitor LOGIN PASSWORD '{PASSWORD}'")


@pytest.mark.usefixtures("visitor")
@pytest.mark.parametrize("what", REFUSALS)
def test_what_the_server_refuses_is_one_line_without_the_password(
    bare: Path, server: PostgresServer, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, words = REFUSALS[what]
    secrets = {"password": quote(PASSWORD, safe=""), "wrong": WRONG}
    address = address.format(port=server.port, **secrets)
    is_whole = "://" in address or "@" not in address
    monkeypatch.setenv(VARIABLE, address if is_whole else f"postgresql://{address}")
    (bare / "dagster.yaml").write_text(SETTINGS)
    done = registry(bare, "sync")
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert words in line
    assert "dagster.yaml" in line or "grant" in line
    assert not any(secret in line for secret in (PASSWORD, *secrets.values(), "pass@", "***"))


def test_a_server_that_does_not_answer_is_named(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"postgresql://team@127.0.0.1:{silent.getsockname()[1]}/postgres"
        monkeypatch.setenv(VARIABLE, address)
        monkeypatch.setenv("PGCONNECT_TIMEOUT", "2")
        (bare / "dagster.yaml").write_text(SETTINGS)
        (line,) = registry(bare, "sync").stderr.splitlines()
    assert f"{address}: timeout expired: make sure that the server is running" in line


def test_a_password_that_is_a_number_is_not_shown(bare: Path) -> None:
    database = {"username": "team", "hostname": "127.0.0.1", "db_name": "a", "password": 12345678}
    settings = {"storage": {"postgres": {"postgres_db": database}}}
    (bare / "dagster.yaml").write_text(json.dumps(settings))
    (line,) = registry(bare, "sync").stderr.splitlines()
    assert "postgres_db:password" in line
    assert "12345678" not in line


def test_a_variable_that_is_not_set_is_named(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    (bare / "dagster.yaml").write_text(SETTINGS)
    (line,) = registry(bare, "sync").stderr.splitlines()
    assert f"the environment variable {VARIABLE} is not set: set it" in line


def test_the_extra_that_is_missing_is_named(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dagster_postgres", None)
    (bare / "dagster.yaml").write_text(SETTINGS)
    words = r"install `registry-assets\[postgres\]`"
    with pytest.raises(MetafileError, match=words), open_history(bare):
        pass


def test_a_server_that_goes_away_is_named(team: Path, database: Database) -> None:
    def go_away() -> None:
        with open_history(team) as instance:
            instance.report_runless_asset_event(AssetMaterialization("a"))
            database.server.execute(f"DROP DATABASE {database.name} WITH (FORCE)")
            instance.report_runless_asset_event(AssetMaterialization("a"))

    with pytest.raises(UnusableError) as raised:
        go_away()
    assert database.name in str(raised.value)
    assert "\n" not in str(raised.value)


def test_databases_of_sqlite_that_somebody_else_owns_are_left_alone(team: Path) -> None:
    before = [(path, path.stat()) for path in sorted((team / HOME / "history").rglob("*.db"))]
    assert before
    run(team, "registry", "add", "01_a")
    assert [(path, path.stat()) for path, _ in before] == before


def test_each_of_two_registries_in_one_database_has_the_history_it_has_alone(
    finished_registry: Path, database: Database, tmp_path: Path
) -> None:
    pair = [
        copy_registry(finished_registry, tmp_path / "harbour"),
        copy_registry(finished_registry, tmp_path / "forest", 'key_prefix = "forest"'),
    ]
    for root in pair:
        (root / "dagster.yaml").write_text(SETTINGS)
    with ExitStack() as stack:
        histories = {root: stack.enter_context(open_history(root)) for root in pair}
        for root, instance in histories.items():
            tell(root, instance)
            write_tree(root, {"raw/04_new/one.txt": root.name})
            run(root, "registry", "materialize", "--collection", "04_new")
            add(root, f"03_{root.name}", root.name)
            tell(root, instance)
        for root, instance in histories.items():
            add(root, "01_a", f"edited in {root.name}\n")
            run(root, "registry", "materialize")
            remove(root, f"03_{root.name}")
            tell(root, instance)
        for root, instance in histories.items():
            alone = stack.enter_context(DagsterInstance.ephemeral())
            tell(root, alone)
            gone = {("raw", f"03_{root.name}"): ABSENT}
            assert versions(root, instance) == versions(root, alone) | gone
            assert partitions(root, instance) == partitions(root, alone) == {"01_a", "04_new"}
