"""What we rely on beyond the public interfaces of Dagster, DVC and the rest, name by name.

When an upgrade fails here, the message says what the name is used for. What follows from them is
held to its promises elsewhere; here is what can be told in a few lines.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import pkgutil
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from datetime import datetime, timezone
from enum import Enum
from importlib import import_module
from pathlib import Path
from types import FunctionType
from typing import Any

import av
import imageio.v3 as iio
import psutil
import pytest
from alembic.script import ScriptDirectory
from dagster import (
    AssetCheckEvaluation,
    AssetKey,
    AssetMaterialization,
    AutomationCondition,
    DagsterInstance,
    DataVersion,
    DynamicPartitionsDefinition,
    define_asset_job,
)
from dagster._core.execution import compute_logs
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorStatus,
    InstigatorType,
    SensorInstigatorData,
)
from dagster._grpc.client import DagsterGrpcClient
from dvc.config import Config
from dvc.dvcfile import ProjectFile, SingleStageFile
from dvc.fs import localfs
from dvc.ignore import DvcIgnoreFilter
from dvc.repo import Repo
from dvc.stage.loader import SingleStageLoader
from dvc_data.hashfile.hash_info import HashInfo
from imageio.plugins.pyav import PyAVPlugin
from sqlalchemy import select

import registry_assets
from registry_assets.dvc_repo import internals as dvc_internals
from registry_assets.dvc_repo.folders.state import FileStatus, find_known, tell_objects
from registry_assets.dvc_repo.run_cache import RunCache
from registry_assets.orchestration import internals
from registry_assets.orchestration.history.event_storage import OpenSqliteStorage
from registry_assets.orchestration.internals import open_instance, show_partitions_as_missing

PACKAGE = Path(registry_assets.__file__).parent
MAY_USE_DAGSTER = {
    "orchestration/internals.py",
}
PRIVATE_IN_DAGSTER = ("dagster._", "dagster_shared")
DVC_INTERNALS = "dvc_repo/internals.py"
OTHERS_THAT_ARE_PRIVATE = {
    "images/video_decoding.py": {"_container"},
    "images/workers.py": {"_max_workers"},
}
# Documented in spite of their names: of named tuples, and of `os`.
PUBLIC = {"_asdict", "_fields", "_replace", "_exit"}


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[DagsterInstance]:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    own = {"module": OpenSqliteStorage.__module__, "class": OpenSqliteStorage.__name__}
    overrides = {"storage": {"custom": {**own, "config": {"base_dir": str(tmp_path)}}}}
    with open_instance(tmp_path, overrides) as opened:
        yield opened


@pytest.mark.parametrize(
    ("name", "value", "purpose"),
    [
        ("CODE_VERSION_TAG", "dagster/code_version", "reporting what DVC made outside Dagster"),
        ("DATA_VERSION_TAG", "dagster/data_version", "reporting what DVC made outside Dagster"),
        ("DEFAULT_DATA_VERSION", DataVersion("INITIAL"), "inputs that were never materialized"),
        ("NULL_EVENT_POINTER", "NULL", "inputs that were never materialized"),
        ("RUNLESS_RUN_ID", "", "telling events of runs from reported ones"),
        ("MAX_RETRIES_TAG", "dagster/max_retries", "retries of the job that takes folders in"),
        ("RETRY_STRATEGY_TAG", "dagster/retry_strategy", "retries of that job"),
        (
            "RETRY_ON_ASSET_OR_OP_FAILURE_TAG",
            "dagster/retry_on_asset_or_op_failure",
            "retries of that job",
        ),
        ("RUN_KEY_TAG", "dagster/run_key", "finding the run that the folder sensor asked for"),
        ("PARTITION_NAME_TAG", "dagster/partition", "finding the runs of a collection"),
    ],
)
def test_what_dagster_writes_into_tags_is_as_before(name: str, value: object, purpose: str) -> None:
    changed = f"{name} is another one, also in the histories that there are; used for {purpose}"
    assert getattr(internals, name) == value, changed


def test_the_tags_of_inputs_end_with_the_key_of_their_asset() -> None:
    key, purpose = AssetKey(["a", "b"]), "history/reporting.py writes what an output was made of"
    version, event = (
        internals.get_input_data_version_tag(key),
        internals.get_input_event_pointer_tag(key),
    )
    assert version == "dagster/input_data_version/a/b", purpose
    assert event == "dagster/input_event_pointer/a/b", purpose


def test_an_evaluation_says_of_which_materialization_it_is() -> None:
    target = internals.AssetCheckEvaluationTargetMaterializationData(
        storage_id=7, run_id="some", timestamp=1.5
    )
    assert (target.storage_id, target.run_id) == (7, "some"), "checks.py reads and builds one"
    taken = inspect.signature(AssetCheckEvaluation).parameters
    assert "target_materialization_data" in taken, "checks.py reports evaluations with one"


def test_a_job_of_assets_is_of_the_type_that_ours_are_declared_as() -> None:
    job = define_asset_job("some")
    assert isinstance(job, internals.UnresolvedAssetJobDefinition), "building.py, sensors/"


def test_a_condition_that_is_a_record_is_equal_by_its_field() -> None:
    @internals.record
    class Ours(AutomationCondition[AssetKey]):
        inputs: str

    purpose = "sensors/automation.py defines conditions of its own"
    assert Ours(inputs="a") == Ours(inputs="a"), purpose
    assert Ours(inputs="a") != Ours(inputs="b"), purpose
    assert hash(Ours(inputs="a")) == hash(Ours(inputs="a")), purpose


def test_the_storage_that_stays_open_is_the_one_that_events_go_to(
    instance: DagsterInstance,
) -> None:
    ours = instance.event_log_storage
    assert type(ours).__name__ == "OpenEventLogStorage", "Dagster uses another event log"
    assert instance.event_log_storage is ours, "a new event log for each use stays open for none"
    instance.report_runless_asset_event(AssetMaterialization("a"))
    records = instance.fetch_materializations(AssetKey("a"), limit=1).records
    assert len(records) == 1, "an event was reported and cannot be read"
    assert records[0].run_id == internals.RUNLESS_RUN_ID, "history/event_log.py compares with it"


def test_the_database_of_a_run_has_small_pages(instance: DagsterInstance) -> None:
    # Each of Dagster's tables takes one at least, in a database for each run.
    with instance.event_log_storage.run_connection("a-run") as connection:
        assert connection.exec_driver_sql("PRAGMA page_size").scalar() == 1024
        assert connection.exec_driver_sql("PRAGMA page_count").scalar() < 60


@pytest.mark.parametrize("name", ["run_connection", "index_connection"])
def test_the_event_log_connects_in_two_public_ways(name: str) -> None:
    source = inspect.getsource(internals.SqliteEventLogStorage)
    assert hasattr(internals.SqliteEventLogStorage, name), f"history/event_storage.py has {name}"
    # All but these two methods themselves go through them, or the open databases are passed by.
    assert source.count("self._connect(") == 2, "Dagster connects elsewhere, too"


def test_migrations_are_read_once_for_all_databases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As in a process that has opened no history yet.
    unchanged = getattr(ScriptDirectory.from_config, "_read", ScriptDirectory.from_config)
    monkeypatch.setattr(ScriptDirectory, "from_config", unchanged)
    read: list[str] = []
    begin = ScriptDirectory.__init__

    def counted(self: ScriptDirectory, place: Any, *arguments: Any, **options: Any) -> None:
        read.append(str(place))
        begin(self, place, *arguments, **options)

    monkeypatch.setattr(ScriptDirectory, "__init__", counted)
    for home in (tmp_path / "one", tmp_path / "two"):
        internals.read_migrations_once()
        home.mkdir()
        with DagsterInstance.local_temp(str(home)) as opened:
            opened.report_runless_asset_event(AssetMaterialization("a"))
    assert len(read) == 1, "history/opening.py reckons that Dagster asks Alembic in this way"


def test_what_a_step_prints_is_kept_in_a_file_and_shown_to_the_end_by_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compute_logs, "tail_to_stream", compute_logs.tail_to_stream)
    internals.show_logs_in_this_process()
    line, shown, kept = "a line that is kept\n", tmp_path / "shown", tmp_path / "kept"
    before = psutil.Process().children()
    with shown.open("w") as stream:
        with compute_logs.mirror_stream_to_file(stream, str(kept)):
            assert psutil.Process().children() == before, "opening.py does without `tail`"
            for _ in range(50_000):
                stream.write(line)
        stream.write("after it\n")
    assert kept.read_text() == line * 50_000
    assert shown.read_text() == line * 50_000 + "after it\n"


def test_a_step_goes_on_where_nobody_reads_what_it_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    monkeypatch.setattr(compute_logs, "tail_to_stream", compute_logs.tail_to_stream)
    internals.show_logs_in_this_process()
    kept = tmp_path / "kept"
    with (
        os.fdopen(theirs, "w") as stream,
        compute_logs.mirror_stream_to_file(stream, str(kept)),
    ):
        stream.write("a line\n")
    assert kept.read_text() == "a line\n"


def test_a_backfill_is_open_until_it_has_started_its_runs(instance: DagsterInstance) -> None:
    since = datetime.fromtimestamp(time.time() - 60, timezone.utc)
    assert not internals.has_open_backfills(instance, since)
    backfill = PartitionBackfill(
        backfill_id="some",
        status=BulkActionStatus.REQUESTED,
        from_failure=False,
        tags={},
        backfill_timestamp=time.time(),
        asset_selection=[AssetKey("a")],
        serialized_asset_backfill_data="{}",
    )
    instance.add_backfill(backfill)
    assert internals.has_open_backfills(instance, since), "history/reporting.py waits for it"
    instance.update_backfill(backfill.with_status(BulkActionStatus.COMPLETED_SUCCESS))
    assert not internals.has_open_backfills(instance, since), "history/reporting.py waits for it"


def test_a_partition_that_is_taken_out_of_the_count_stays_out(instance: DagsterInstance) -> None:
    key, partitions = AssetKey("a"), DynamicPartitionsDefinition(name="some")
    instance.add_dynamic_partitions("some", ["one", "two", "three"])
    for name in ("one", "two"):
        instance.report_runless_asset_event(AssetMaterialization(key, partition=name))
    show_partitions_as_missing(instance, key, partitions, ["one"])
    instance.report_runless_asset_event(AssetMaterialization(key, partition="three"))
    counted = internals.get_and_update_asset_status_cache_value(instance, key, partitions)
    assert counted is not None
    with internals.partition_loading_context(None, instance):
        there = counted.deserialize_materialized_partition_subsets(partitions)
        assert set(there.get_partition_keys()) == {"two", "three"}, (
            "history/reporting.py shows what the checked-out commit lacks as missing"
        )


def test_what_is_kept_of_a_sensor_is_copied_to_its_new_name(instance: DagsterInstance) -> None:
    location = RegisteredCodeLocationOrigin("photos")
    repository = RemoteRepositoryOrigin(location, "__repository__")
    for name, cursor in (("former", "1"), ("kept", "2"), ("renamed", "3"), ("other", "4")):
        data = SensorInstigatorData(cursor=cursor)
        origin = RemoteInstigatorOrigin(repository_origin=repository, instigator_name=name)
        status = InstigatorStatus.STOPPED
        state = internals.InstigatorState(origin, InstigatorType.SENSOR, status, data)
        instance.add_instigator_state(state)
    internals.copy_sensor_states(instance, {"former": "new", "kept": "renamed", "gone": "never"})
    states = {state.instigator_name: state for state in instance.all_instigator_state()}
    assert set(states) == {"former", "kept", "renamed", "other", "new"}
    assert states["new"].status == InstigatorStatus.STOPPED
    assert states["new"].instigator_data == states["former"].instigator_data
    assert states["renamed"].instigator_data == SensorInstigatorData(cursor="3")


def test_the_address_of_a_server_is_known_before_anybody_connects(tmp_path: Path) -> None:
    # Nobody listens there.
    address = "postgresql://team@127.0.0.1:1/history"
    settings = f"storage: {{postgres: {{postgres_url: '{address}'}}}}\n"
    (tmp_path / "dagster.yaml").write_text(settings)
    assert internals.find_postgres_address(tmp_path) == address, "history/opening.py tries it once"


def test_storages_take_how_long_a_connection_stays_open() -> None:
    _, *taken = inspect.signature(DagsterInstance.optimize_for_webserver).parameters
    assert taken == ["statement_timeout", "pool_recycle", "max_overflow"], "stay_connected"


@pytest.mark.parametrize(
    ("name", "parameters", "purpose"),
    [
        ("get_latest_storage_id_by_partition", ["asset_key", "event_type"], "event_log.py"),
        ("get_asset_records", ["asset_keys"], "checks.py"),
        ("get_handlers", [], "history/opening.py, to fail before a run does"),
    ],
)
def test_readers_of_an_instance_that_are_not_documented_take_what_we_give(
    name: str, parameters: list[str], purpose: str
) -> None:
    _, *taken = inspect.signature(getattr(DagsterInstance, name)).parameters
    assert taken[: len(parameters)] == parameters, f"used in {purpose}"


def test_only_internals_imports_what_is_private_in_dagster() -> None:
    """Finds imports, also within functions; not what is reached through attributes or by name."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        place = path.relative_to(PACKAGE).as_posix()
        if not place.startswith("shipped/") and place not in MAY_USE_DAGSTER:
            names = [name for name in _imported(path) if name.startswith(PRIVATE_IN_DAGSTER)]
            found |= {place: names} if names else {}
    assert found == {}, "import it in orchestration/internals.py, with the reason"


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[Repo]:
    opened = Repo.init(str(tmp_path), no_scm=True)
    yield opened
    opened.close()


def test_a_configuration_is_edited_as_dvc_does_and_written_by_us(repo: Repo) -> None:
    taken = list(inspect.signature(Config._save_config).parameters)
    assert taken == ["self", "level", "conf_dict"], "WholeConfig replaces it"
    place = Path(repo.dvc_dir) / Config.CONFIG_LOCAL
    place.write_text("[core]\n    site_cache_dir = /ä\n", encoding="utf-8")
    old = place.stat().st_ino
    with dvc_internals.WholeConfig(repo.dvc_dir).edit("local") as edited:
        edited["remote"]["mine"] = {"url": "/ö"}
    assert place.read_text(encoding="utf-8") == (
        "[core]\n    site_cache_dir = /ä\n['remote \"mine\"']\n    url = /ö\n"
    ), "Config.edit saves in another way, or _pack_named names sections otherwise"
    assert place.stat().st_ino != old, "Config.edit writes in place, and not by _save_config"
    assert Config(repo.dvc_dir)["remote"]["mine"]["url"] == "/ö", "DVC does not read what we write"


def test_sections_of_a_configuration_are_named_as_dvc_names_them() -> None:
    packed = dvc_internals._pack_named(
        {
            "core": {},
            "cache": {"type": "copy"},
            "remote": {"a": {"url": "/b"}},
            "machine": {},
            "db": {},
        }
    )
    assert packed == {"cache": {"type": "copy"}, 'remote "a"': {"url": "/b"}}, "WholeConfig"


@pytest.mark.parametrize(
    ("executable", "started"),
    [
        (None, "some"),
        ("/bin/bash", ["/bin/bash", "--noprofile", "--norc", "-c", "some"]),
        ("/bin/zsh", ["/bin/zsh", "--no-rcs", "-c", "some"]),
        ("/bin/sh", ["/bin/sh", "-c", "some"]),
    ],
)
def test_a_command_is_given_to_a_shell_as_before(
    executable: str | None, started: str | list[str]
) -> None:
    changed = "commands.py starts stages in another way than it did; `dvc repro` does, too"
    assert dvc_internals.shell_command(executable, "some") == started, changed


def test_what_is_known_of_a_file_is_told_and_found_as_by_dvc(repo: Repo, tmp_path: Path) -> None:
    changed = "DVC's state of files: what one of us saves, the other has to find"
    places = [tmp_path / "one", tmp_path / "two.jpg", tmp_path / "old", tmp_path / "later"]
    for number, place in enumerate(places):
        place.write_bytes(b"x" * 10**number)
        os.utime(place, ns=(0, 1_700_000_000_000_000_000 + 123_456_789 * number))
    files = {str(place): FileStatus.of(place.stat()) for place in places}
    md5s = {path: f"{number}" * 32 for number, path in enumerate(files)}
    tell_objects(repo, [(path, md5s[path], status) for path, status in files.items()])
    ours = dict(repo.state.hashes.get_many(files))
    assert {path: repo.state.get(path, localfs)[1].value for path in files} == md5s, changed
    assert find_known(repo, localfs, files) == md5s, changed
    for path, md5 in md5s.items():
        repo.state.save(path, localfs, HashInfo("md5", md5))
    assert dict(repo.state.hashes.get_many(files)) == ours, changed
    # As by DVC 2 and by a version to come, and after an edit.
    one, two, old, later = files
    entry = json.loads(ours[old])
    repo.state.save(two, localfs, HashInfo("md5-dos2unix", md5s[two]))
    repo.state.hashes[old] = json.dumps(
        {key: entry[key] for key in ("checksum", "size")} | {"hash_info": {"md5": md5s[old]}}
    )
    repo.state.hashes[later] = json.dumps(json.loads(ours[later]) | {"version": 99})
    assert find_known(repo, localfs, files) == {one: md5s[one]}, changed
    repo.state.hashes[old] = json.dumps({"note": "later key order", **entry}, indent=1)
    assert find_known(repo, localfs, files) == {one: md5s[one], old: md5s[old]}, changed
    Path(one).write_bytes(b"y")
    assert find_known(repo, localfs, {one: FileStatus.of(Path(one).stat())}) == {}, changed


def test_patterns_of_ignore_files_are_merged_on_the_way_down(tmp_path: Path) -> None:
    (tmp_path / "a/nested/.dvc").mkdir(parents=True)
    (tmp_path / ".dvcignore").write_text("*.tmp\n")
    (tmp_path / "a/.dvcignore").write_text("logs/\n!kept.tmp\n")
    found = dvc_internals.patterns_above(
        DvcIgnoreFilter(localfs, str(tmp_path)), str(tmp_path / "a")
    )
    purpose = "folders/ignoring.py says what a folder loses to the ignore files above it"
    assert found.dirname == str(tmp_path), purpose
    place = str(tmp_path / "a")
    assert found.matches(place, "one.tmp"), purpose
    assert not found.matches(place, "kept.tmp"), purpose
    assert found.matches(place, "logs", is_dir=True), purpose
    assert not found.matches(place, "nested", is_dir=True), "a repository in it is no pattern"
    rules = [(bool(rule[0].match("a/logs/")), *rule[1:3]) for rule in found.ignore_spec]
    assert (True, True, True) in rules, "a rule starts with regex, ignored, for folders only"


def test_what_was_read_already_is_what_dvc_loads_stages_from(repo: Repo) -> None:
    purpose = "loading.py assigns what it read"
    file = ProjectFile(repo, str(Path(repo.root_dir) / "dvc.yaml"))
    file.contents = {"stages": {"some": {"cmd": "true", "outs": ["a"]}}}
    recorded = {"cmd": "true", "outs": [{"path": "a", "md5": "5" * 32, "hash": "md5"}]}
    file.lockfile_contents = {"stages": {"some": recorded}}
    (out,) = file.stages["some"].outs
    assert out.hash_info.value == "5" * 32, purpose
    single = SingleStageFile(repo, str(Path(repo.root_dir) / "a.dvc"))
    stages = SingleStageLoader(single, {"outs": [{"path": "a", "md5": "5" * 32}]}, "outs: …")
    assert stages[None].outs[0].hash_info.value == "5" * 32, purpose


def test_the_run_cache_lies_where_dvc_has_it(repo: Repo) -> None:
    place = Path(repo.cache.legacy.path) / "runs"
    assert Path(repo.stage_cache.cache_dir) == place, "run_cache.py reads and writes there"


def test_entries_of_the_run_cache_are_named_and_written_as_by_dvc(
    repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, entries = Path(repo.root_dir), Path(repo.stage_cache.cache_dir)
    monkeypatch.chdir(root)
    (root / "a").write_text("1")
    kept = {"outs": ["b"], "metrics_no_cache": ["c.json"]}
    stage = repo.run(name="some", cmd="cp a b; cp a c.json", deps=["a"], **kept)
    theirs = _read_entries(entries)
    shutil.rmtree(entries)
    RunCache(repo).save(stage)
    assert theirs, "DVC keeps its run cache in another form"
    assert _read_entries(entries) == theirs, (
        "run_cache.py hashes what DVC hashes, and writes what it writes"
    )


@pytest.mark.parametrize("kind", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_a_pool_knows_how_many_workers_it_has(kind: type[Executor]) -> None:
    with kind(3) as pool:  # type: ignore[call-arg]
        purpose = "images/workers.py takes 64 for granted, and as many more images into memory"
        assert getattr(pool, "_max_workers", None) == 3, purpose


def test_a_video_that_imageio_opened_has_the_container_of_pyav() -> None:
    video = next(Path(__file__).parents[1].glob("samples/**/*.mp4"))
    with iio.imopen(video, "r", plugin=PyAVPlugin) as reader:
        container = getattr(reader, "_container", None)
        purpose = "images/video_decoding.py reads times and rotation of frames from it"
        assert isinstance(container, av.container.InputContainer), purpose


def test_only_internals_names_what_is_private_elsewhere() -> None:
    """Finds imports, attributes, and `getattr` with the name itself."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        place = path.relative_to(PACKAGE).as_posix()
        if place.startswith("shipped/") or place == DVC_INTERNALS:
            continue
        imported = {
            part
            for name in _imported(path)
            if not name.startswith(("registry_assets.", "__future__", *PRIVATE_IN_DAGSTER))
            for part in name.split(".")
            if part.startswith("_")
        }
        names = (imported | _private_attributes(path)) - OTHERS_THAT_ARE_PRIVATE.get(place, set())
        found |= {place: names} if names else {}
    assert found == {}, f"of DVC, name it in {DVC_INTERNALS}, with the reason"


def test_only_internals_replaces_what_is_private_elsewhere() -> None:
    found = set()
    for module in pkgutil.walk_packages([str(PACKAGE)], "registry_assets."):
        if ".shipped" in module.name or module.name.endswith("__main__"):
            continue
        for kind in vars(import_module(module.name)).values():
            # An enumeration gets such methods from its own metaclass.
            is_ours = inspect.isclass(kind) and kind.__module__ == module.name
            if is_ours and not issubclass(kind, Enum):
                found |= {f"{module.name}.{kind.__name__}.{name}" for name in _replaced(kind)}
    assert found == {"registry_assets.dvc_repo.internals.WholeConfig._save_config"}


def _replaced(kind: type) -> Iterator[str]:
    """Methods that start with ``_`` and replace one of a class that is not ours."""
    others = [b for b in kind.__mro__ if not b.__module__.startswith("registry_assets")]
    for name, value in vars(kind).items():
        is_method = isinstance(value, FunctionType | property | classmethod | staticmethod)
        if is_method and name.startswith("_") and not name.endswith("__"):
            yield from (name for base in others if name in vars(base))


def _private_attributes(path: Path) -> set[str]:
    """Attributes that start with ``_``, but for those that the module defines itself."""
    named, own = set(), set(PUBLIC)
    for node in ast.walk(ast.parse(path.read_bytes())):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name):
                own.add(name)
            case ast.FunctionDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
                own.add(name)
            case ast.Attribute(attr=name):
                named.add(name)
            case ast.Call(func=ast.Name(id="getattr"), args=[_, ast.Constant(value=str(name)), *_]):
                named.add(name)
    return {name for name in named - own if name.startswith("_") and not name.endswith("__")}


def _read_entries(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_the_webserver_makes_its_application_by_the_function_that_is_replaced() -> None:
    webserver = import_module("dagster_webserver.cli")
    purpose = "`registry ui` starts a webserver that has contact sheets, too"
    host = inspect.getsource(webserver.host_dagster_ui_with_workspace_process_context)
    assert "app = create_app_from_workspace_process_context(" in host, purpose
    assert callable(webserver.main), purpose


def test_the_daemon_warns_once_that_it_begins_with_what_comes() -> None:
    consumer = import_module("dagster._daemon.auto_run_reexecution.event_log_consumer")
    purpose = "run_daemon takes that line, which is for nobody, out of the first start"
    assert '"No cursor for event type' in inspect.getsource(consumer), purpose
    assert consumer.EventLogConsumerDaemon.__name__ == "EventLogConsumerDaemon", purpose
    assert callable(import_module("dagster._daemon.cli").main), "daemon.py runs it"


def test_who_has_the_code_loaded_is_a_child_of_the_code_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = import_module("dagster._grpc.server")
    proxy = import_module("dagster._grpc.proxy_server").DagsterProxyApiServicer
    purpose = "sensors/outside_changes.py has the code server reload, whose command line it reads"
    assert "open_ipc_subprocess(" in inspect.getsource(server.open_server_process), purpose
    assert "self._reload_location()" in inspect.getsource(proxy.ReloadCode), purpose
    assert "timeout" in inspect.signature(DagsterGrpcClient.reload_code).parameters, purpose

    assert internals.find_code_server() is None, "this process is nobody's"
    command = ["python", "-m", "dagster", "code-server", "start", "-m", "some"]
    found = internals.code_server_of([*command, "--port=4000"])
    assert found is not None, purpose
    assert (found.client.host, found.client.port, found.client.socket) == ("localhost", 4000, None)
    monkeypatch.setenv("DAGSTER_CODE_SERVER_SOCKET", "/some/socket")
    found = internals.code_server_of(command)
    assert found is not None, purpose
    assert (found.client.port, found.client.socket) == (None, "/some/socket"), purpose


def test_an_event_is_written_into_a_table_as_it_was_read(instance: DagsterInstance) -> None:
    purpose = "sheet_history.py rewrites the events that hold pictures of version 0.1.0"
    instance.report_runless_asset_event(AssetMaterialization("a", metadata={"b": 1}))
    storage = internals.sql_event_log(instance)
    assert storage is not None, purpose
    events, assets = internals.event_tables()
    assert {"id", "event"} <= set(events.c.keys()), purpose
    assert {"id", "last_materialization"} <= set(assets.c.keys()), purpose
    with storage.index_connection() as connection:
        (text,) = connection.execute(select(events.c.event)).one()
    assert internals.write_event(internals.read_event(text)) == text, purpose
    assert "" in internals.run_shards(storage), purpose
