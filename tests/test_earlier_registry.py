"""A registry as version 0.1.0 left it, with all of its history, goes on without a question.

`earlier/0.1.0/README.md` says how it was made. It is unpacked at another place than where it was.
"""

from __future__ import annotations

import importlib
import json
import pickle
import re
import sqlite3
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterInstance, Definitions, SensorResult, build_sensor_context
from dagster._core.remote_origin import ManagedGrpcPythonEnvCodeLocationOrigin
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    SensorInstigatorData,
)
from dagster._core.workspace.load import location_origins_from_yaml_paths

import registry_assets
from registry_assets import RegistryError, build_definitions
from registry_assets.orchestration.describing import CONTACT_SHEET
from registry_assets.orchestration.history.opening import open_history
from registry_assets.orchestration.history.reporting import sync
from registry_assets.orchestration.webserver import build_sheet_app
from tests.browser import get, image_address
from tests.conftest import lineage_of, run
from tests.images.drawing import save
from tests.runs import own

EARLIER = Path(__file__).parent / "earlier" / "0.1.0"
FORMER_PLACE = "/tmp/registry-0.1.0"
DATASET = "processed/01_image_dataset"
KEPT = ".dvc/tmp/registry_assets"
OUTPUTS = 39
COLLECTIONS = {"01_harbour", "02_forest", "03_lake", "05_market"}

SENSORS = {
    "follow_changes",
    "import_sources",
    "modified_raw_collections",
    "new_raw_collections",
    "outside_changes",
}


@pytest.fixture(scope="session")
def _unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("earlier") / "0.1.0"
    with tarfile.open(EARLIER / "registry.tar.xz") as archive:
        # With what is read-only, and with links between cache and workspace.
        archive.extractall(place, filter="tar")
    return place


@pytest.fixture
def root(_unpacked: Path, tmp_path: Path) -> Path:
    """A copy of its own, beside its Git remote and with its storage at another path."""
    run(tmp_path, "cp", "-a", f"{_unpacked}/.", str(tmp_path))
    local = f"['remote \"storage\"']\n    url = {tmp_path / 'storage'}\n"
    (tmp_path / "registry/.dvc/config.local").write_text(local)
    return tmp_path / "registry"


@pytest.fixture
def history(root: Path) -> Iterator[DagsterInstance]:
    with open_history(root) as instance:
        yield instance


def registry(root: Path, *arguments: str, code: int = 0) -> str:
    """What a command says; it asks nothing, and no line of it frightens anybody."""
    done = subprocess.run(
        ["registry", *arguments],
        cwd=root,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == code, f"{arguments}\n{done.stdout}\n{done.stderr}"
    # Progress is said there, too.
    said = done.stdout + done.stderr
    frightening = r"Traceback|Exception|Error|No module|[Ww]arning|\[y/N\]|^registry: "
    assert not re.search(frightening, said, re.MULTILINE), said
    return said


def count_materializations(root: Path) -> int:
    """How many materializations the history knows."""
    events = sqlite3.connect(root / ".dagster/history/runs/index.db")
    with events:
        (count,) = events.execute(
            "SELECT count(*) FROM event_logs WHERE dagster_event_type = 'ASSET_MATERIALIZATION'"
        ).fetchone()
    events.close()
    return int(count)


def materialized(instance: DagsterInstance) -> dict[str, set[str]]:
    """The partitions of each asset that the history knows as materialized."""
    return {
        key.to_user_string(): set(instance.get_materialized_partitions(key))
        for key in instance.all_asset_keys()
    }


def metafiles(root: Path) -> dict[str, bytes]:
    files = run(root, "git", "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    return {file: (root / file).read_bytes() for file in files if (root / file).exists()}


def test_reading_commands_find_everything_as_it_was_and_write_no_metafile(root: Path) -> None:
    before, told = metafiles(root), count_materializations(root)
    assert registry(root, "status") == (
        f"{len(COLLECTIONS) - 1} of {len(COLLECTIONS) - 1} collections tracked, "
        f"{OUTPUTS - 3} of {OUTPUTS - 3} outputs up to date\n"
    )
    said = registry(root, "lineage", "--check")
    assert f"{OUTPUTS} outputs" in said
    assert "agree" in said
    assert json.loads(registry(root, "status", "--json"))["up_to_date"] is True
    assert "01_image_dataset/v1" in registry(root, "versions")
    assert "a thumb in it" in registry(root, "decisions")
    assert "01_harbour" in registry(root, "duplicates", "02_forest", code=1)
    registry(root, "gc")
    said = registry(root, "trace", f"{DATASET}/data/outputs/day_images/sharp/01_harbour/quay.jpg")
    assert "raw/01_harbour/quay.jpg" in said
    assert metafiles(root) == before
    assert run(root, "git", "status", "--short") == ""
    assert count_materializations(root) == told


def test_nothing_is_made_or_told_again_without_a_change(root: Path) -> None:
    before, told = metafiles(root), count_materializations(root)
    for _ in range(2):
        assert "Nothing to do" in registry(root, "materialize")
        registry(root, "sync")
    assert metafiles(root) == before
    assert count_materializations(root) == told


def test_a_copy_leads_dagster_to_its_own_history(root: Path) -> None:
    assert f"{FORMER_PLACE}/registry/.dagster" in (root / ".env").read_text()
    registry(root, "sync")
    assert (root / ".env").read_text() == f"DAGSTER_HOME={root / '.dagster'}\n"
    assert (root / ".dagster/dagster.yaml").resolve() == root / "dagster.yaml"


def test_the_history_shows_every_partition_and_run_as_before(
    root: Path, history: DagsterInstance
) -> None:
    seen = materialized(history)
    dataset = {name: keys for name, keys in seen.items() if name.startswith(DATASET)}
    assert len(dataset) == 9
    # What was taken in on another branch has a history, too.
    assert all(keys >= COLLECTIONS for keys in dataset.values()), dataset
    assert seen["raw"] >= COLLECTIONS - {"05_market"}
    runs = history.get_runs()
    assert {run.status.value for run in runs} == {"SUCCESS", "FAILURE"}
    assert {"take_in_collection", "__ASSET_JOB"} <= {run.job_name for run in runs}
    for made in runs:
        for event in history.all_logs(made.run_id):
            assert event.user_message is not None
    definitions = build_definitions(root)
    graph = definitions.resolve_asset_graph()
    assert {key.to_user_string() for key in graph.materializable_asset_keys} == {"raw", *dataset}
    assert not history.get_dynamic_partitions(own(root, "collections"))
    sync(lineage_of(root), history, lambda _line: None)
    assert set(history.get_dynamic_partitions(own(root, "collections"))) >= COLLECTIONS
    # Another process may still run the version that knows the former name.
    assert set(history.get_dynamic_partitions("collections")) >= COLLECTIONS
    registered = set(graph.asset_check_keys)
    said = history.event_log_storage.get_latest_asset_check_execution_by_key(sorted(registered))
    assert len(said) == len(registered)


def test_a_changed_threshold_makes_anew_what_follows_from_it(root: Path) -> None:
    parameters = root / DATASET / "params.yaml"
    text = parameters.read_text()
    parameters.write_text(
        text.replace("day_night_image_threshold: 100", "day_night_image_threshold: 30")
    )
    said = registry(root, "materialize")
    assert "classify_day_night_and_foggy_images" in said
    assert "measure_images@" not in said
    assert "up to date" in registry(root, "status")
    assert run(root, "dvc", "status", "--quiet", f"{DATASET}/dvc.yaml") == ""
    registry(root, "lineage", "--check")


def test_a_new_collection_goes_all_the_way_beside_the_old_ones(root: Path) -> None:
    told = count_materializations(root)
    save(root / "raw/06_new/one.jpg")
    assert "recorded raw/06_new" in registry(root, "add", "06_new")
    registry(root, "import", "06_new", "--into", "01_image_dataset")
    said = registry(root, "materialize")
    assert "06_new" in said
    assert "01_harbour" not in said
    assert count_materializations(root) < told + 20
    registry(root, "lineage", "--check")


def test_the_tag_is_checked_out_with_its_data_and_back(root: Path) -> None:
    picture = root / "raw/01_harbour/new.jpg"
    assert picture.exists()
    registry(root, "checkout", "01_image_dataset/v1")
    assert not picture.exists()
    assert not (root / "raw/03_lake").exists()
    registry(root, "status")
    registry(root, "checkout", "-")
    assert picture.exists()
    assert run(root, "git", "branch", "--show-current").strip() == "main"
    registry(root, "lineage", "--check")


def test_its_data_set_is_upgraded_when_asked_and_then_has_the_tables_of_now(root: Path) -> None:
    table = root / DATASET / "data/intermediate/measure_images/02_forest/measurements.csv"
    run(root, "dvc", "checkout", "-q", "--force")
    before = table.read_text().splitlines()
    registry(root, "init", ".", "--upgrade")
    # Nothing of it was edited, so nothing is left for anybody to merge.
    assert not list((root / DATASET).rglob("*.new"))
    registry(root, "materialize")
    for old, new in zip(before, table.read_text().splitlines(), strict=True):
        assert new.startswith(f"{old},")
    assert "up to date" in registry(root, "status")


def test_one_picture_is_forgotten_in_every_version(root: Path) -> None:
    md5 = run(root, "md5sum", "raw/02_forest/path.jpg").split()[0]
    registry(root, "sync", "--strip-sheets")
    registry(root, "forget", "raw/02_forest/path.jpg", "--reason", "asked to")
    assert not (root / "raw/02_forest/path.jpg").exists()
    assert md5 in (root / "forgotten.yaml").read_text()
    assert "up to date" in registry(root, "status")


PICTURE = b"data:image/jpeg;base64,"


def files_with(root: Path, text: bytes) -> list[str]:
    files = (path for path in (root / ".dagster").rglob("*") if path.is_file())
    return [path.name for path in files if text in path.read_bytes()]


def pieces_of_sheets(root: Path) -> list[bytes]:
    """A piece of the middle of each sheet that a materialization holds, as some end alike."""
    events = sqlite3.connect(root / ".dagster/history/runs/index.db")
    texts = [text for (text,) in events.execute("SELECT event FROM event_logs")]
    events.close()
    sheets = [text.partition(PICTURE.decode())[2].partition(")")[0] for text in texts]
    return [sheet[len(sheet) // 2 :][:200].encode() for sheet in sheets if sheet]


def test_nothing_is_forgotten_until_the_history_is_without_pictures(root: Path) -> None:
    before = metafiles(root)
    command = ["registry", "--root", str(root), "forget", "raw/02_forest/path.jpg"]
    for options in ([], ["--purge", "--yes"], ["--dry-run"]):
        done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "`registry sync --strip-sheets`" in done.stderr
        assert metafiles(root) == before
    pieces = pieces_of_sheets(root)
    assert len(pieces) == 45
    assert all(files_with(root, piece) for piece in pieces)
    registry(root, "sync", "--strip-sheets")
    assert not any(files_with(root, piece) for piece in pieces)
    said = registry(root, "forget", "raw/02_forest/path.jpg", "--purge", "--yes")
    assert "removed 1 object from the cache" in said


def test_what_an_earlier_history_showed_is_stripped_once_and_shown_as_before(root: Path) -> None:
    told, size = count_materializations(root), disk_use(root)
    assert len(files_with(root, PICTURE)) > 10
    said = registry(root, "sync", "--strip-sheets")
    assert re.fullmatch(r"took 45 contact sheets, 3\d\d\.\d kB, out of Dagster's history\n", said)
    assert files_with(root, PICTURE) == []
    assert size - disk_use(root) > 300_000
    assert registry(root, "sync", "--strip-sheets") == (
        "took 0 contact sheets out of Dagster's history\n"
    )
    registry(root, "sync")
    registry(root, "lineage", "--check")
    assert count_materializations(root) == told
    app, statuses = build_sheet_app(root), []
    with open_history(root) as instance:
        assert {run.status.value for run in instance.get_runs()} == {"SUCCESS", "FAILURE"}
        for key in instance.get_asset_keys():
            for record in instance.fetch_materializations(key, limit=1000).records:
                assert record.asset_materialization is not None
                metadata = record.asset_materialization.metadata
                if CONTACT_SHEET in metadata:
                    address = image_address(str(metadata[CONTACT_SHEET].value))
                    assert str(metadata["dvc/md5"].value).removesuffix(".dir") in address
                    statuses.append(get(app, address).status)
        for made in instance.get_runs():
            assert instance.all_logs(made.run_id)
    assert len(statuses) == 45
    assert statuses.count(200) > 30


def disk_use(root: Path) -> int:
    return sum(path.stat().st_size for path in (root / ".dagster").rglob("*") if path.is_file())


def test_what_an_earlier_version_adds_later_is_noticed(root: Path) -> None:
    index = root / ".dagster/history/runs/index.db"
    with sqlite3.connect(index) as events:
        (event,) = events.execute(
            "SELECT event FROM event_logs WHERE event LIKE '%base64%' ORDER BY id DESC LIMIT 1"
        ).fetchone()
    events.close()
    registry(root, "sync", "--strip-sheets")
    registry(root, "forget", "raw/02_forest/path.jpg", "--dry-run")
    columns = "run_id, dagster_event_type, timestamp, step_key, asset_key, partition"
    with sqlite3.connect(index) as events:
        events.execute(
            f"INSERT INTO event_logs (event, {columns}) SELECT ?, {columns} FROM event_logs"
            " WHERE dagster_event_type = 'ASSET_MATERIALIZATION' ORDER BY id DESC LIMIT 1",
            (event,),
        )
    events.close()
    command = ["registry", "--root", str(root), "forget", "raw/02_forest/path.jpg", "--dry-run"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "`registry sync --strip-sheets`" in done.stderr
    assert "took 1 contact sheet, " in registry(root, "sync", "--strip-sheets")
    registry(root, "forget", "raw/02_forest/path.jpg", "--dry-run")


def test_dagster_loads_the_definitions_that_the_workspace_names(root: Path) -> None:
    (origin,) = location_origins_from_yaml_paths([str(root / "workspace.yaml")])
    assert isinstance(origin, ManagedGrpcPythonEnvCodeLocationOrigin)
    assert origin.location_name == "registry_assets.definitions"
    target = origin.loadable_target_origin
    assert target.module_name == "registry_assets.definitions"
    program = (
        f"from {target.module_name} import defs;"
        "print(*(sensor.name for sensor in defs.get_repository_def().sensor_defs))"
    )
    assert set(run(root, sys.executable, "-c", program).split()) == {
        own(root, name) for name in SENSORS
    }


def sensor_states(instance: DagsterInstance) -> dict[str, InstigatorState]:
    states = instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)
    return {state.instigator_name: state for state in states}


def cursor_of(state: InstigatorState) -> str | None:
    assert isinstance(state.instigator_data, SensorInstigatorData)
    return state.instigator_data.cursor


def tick(
    name: str, definitions: Definitions, instance: DagsterInstance, cursor: str | None
) -> SensorResult:
    context = build_sensor_context(
        instance=instance, cursor=cursor, definitions=definitions, sensor_name=name
    )
    result = definitions.resolve_sensor_def(name)(context)
    assert isinstance(result, SensorResult)
    return result


def test_sensors_go_on_from_their_old_cursors_and_report_nothing_again(
    root: Path, history: DagsterInstance
) -> None:
    former = sensor_states(history)
    assert set(former) >= SENSORS
    stopped = former["import_sources"].with_status(InstigatorStatus.STOPPED)
    history.update_instigator_state(stopped)
    told = count_materializations(root)
    # As `registry ui` does before it starts a daemon.
    sync(lineage_of(root), history, lambda _line: None)
    states = sensor_states(history)
    assert states[own(root, "import_sources")].status == InstigatorStatus.STOPPED
    # Another process may still run the version that knows the former names.
    assert {name: cursor_of(states[name]) for name in SENSORS} == {
        name: cursor_of(former[name]) for name in SENSORS
    }
    definitions = build_definitions(root)
    repository = definitions.get_repository_def()
    for name in sorted(own(root, name) for name in SENSORS):
        cursor = cursor_of(states[name])
        assert cursor, name
        if name == own(root, "follow_changes"):
            data = repository.get_sensor_def(name).evaluate_tick(
                build_sensor_context(
                    instance=history,
                    cursor=cursor,
                    repository_def=repository,
                    sensor_name=name,
                )
            )
            assert not data.run_requests, name
            continue
        for _ in range(2):
            result = tick(name, definitions, history, cursor)
            assert not result.run_requests, name
            assert not result.asset_events, name
            cursor = result.cursor or cursor
    assert count_materializations(root) == told
    assert history.get_runs_count() == len(history.get_runs())


@pytest.mark.parametrize(
    "cursor", ["", "no JSON", "[1, 2]", '"text"', '{"01_harbour": 1}', '{"told": [], "seen": {}}']
)
def test_a_cursor_that_cannot_be_read_is_replaced_in_silence(cursor: str) -> None:
    from registry_assets.orchestration.sensors import read_cursor

    assert isinstance(read_cursor(cursor), dict)


@pytest.mark.parametrize("cursor", ["no JSON", '{"01_harbour": 1, "told": [], "seen": {}}'])
def test_no_sensor_fails_over_a_cursor_of_another_version(
    root: Path, history: DagsterInstance, cursor: str
) -> None:
    definitions = build_definitions(root)
    for name in sorted(own(root, name) for name in SENSORS - {"follow_changes"}):
        result = tick(name, definitions, history, cursor)
        assert not result.run_requests, name


def set_driver(root: Path, python: str) -> None:
    """Has the line that 0.1.0 wrote name an environment that is there."""
    line = run(root, "git", "config", "merge.registry.driver").strip()
    assert "-m registry_assets.merge_driver %O %A %B %P" in line
    former = f"{FORMER_PLACE}/venv/bin/python"
    assert former in line
    run(root, "git", "config", "merge.registry.driver", line.replace(former, python))


def test_the_merge_driver_that_git_was_told_of_merges_by_entry(root: Path) -> None:
    set_driver(root, sys.executable)
    run(root, "git", "merge", "--quiet", "--no-edit", "side")
    text = (root / DATASET / "collections.yaml").read_text()
    assert all(f'"{name}"' in text for name in {*COLLECTIONS, "04_side"})
    run(root, "dvc", "checkout", "--quiet")
    # The threshold and the decision came after the branch was made, and touch none of it.
    assert "up to date" in registry(root, "status")
    assert registry(root, "materialize")
    registry(root, "lineage", "--check")


def test_without_its_environment_git_merges_lines_and_says_no_more(root: Path) -> None:
    done = subprocess.run(
        ["git", "merge", "--no-edit", "side"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "CONFLICT" in done.stdout
    assert "No module" not in done.stderr
    registry(root, "resolve")


class _Gone:
    """Pickled, it names a module that is not there any more."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (re.compile, ("x",))


GARBAGE: dict[str, bytes] = {
    "emptied": b"",
    "binary": bytes(range(256)),
    "a pickle of what is gone": pickle.dumps(_Gone()).replace(b"re\x94", b"zz\x94"),
    "deep": b"[" * 100_000,
    "a list": b"[1, 2]",
    "a word": b'"registry_assets.status.values"',
    "no fields": b"{}",
    "other fields": json.dumps(
        {"unseen": 1, "entries": {"module": "registry_assets.gone"}, "status": None, "caches": 1}
    ).encode(),
    "a path that is none": json.dumps(
        [{"outside": ["\0"], "unseen": None, "stamp": "", "surroundings": ""}, {"root": "/"}]
    ).encode(),
}


@pytest.fixture
def garbage(root: Path) -> Callable[[bytes], None]:
    """Plants something in the place of all that is remembered between commands."""
    places = [root / KEPT / name for name in ("registry.json", "last_look.json")]
    places += (root / ".dvc/tmp").rglob("measures-*.sqlite")
    places.append(root / ".dagster/registry_assets.json")
    assert all(place.exists() for place in places), places
    assert len(places) == 4

    def plant(data: bytes) -> None:
        for place in places:
            place.write_bytes(data)

    return plant


def test_whatever_lies_where_something_is_remembered_is_replaced_in_silence(
    root: Path, garbage: Callable[[bytes], None]
) -> None:
    expected = registry(root, "status")
    for name, data in GARBAGE.items():
        garbage(data)
        assert registry(root, "status") == expected, name
    garbage(GARBAGE["other fields"])
    # Nothing is kept of what changed a moment ago.
    time.sleep(2.1)
    registry(root, "status")
    assert "Nothing to do" in registry(root, "materialize")
    for place in ("registry.json", "last_look.json"):
        json.loads((root / KEPT / place).read_bytes())
        assert b"registry_assets.gone" not in (root / KEPT / place).read_bytes()
    # And where pictures are measured.
    save(root / "raw/06_new/one.jpg")
    assert "measure_images@06_new" in registry(root, "materialize", "--collection", "06_new")


def test_what_was_left_of_an_arrival_by_another_version_is_no_obstacle(root: Path) -> None:
    shoot = root.parent / "shoot"
    save(shoot / "one.jpg")
    arriving = root / "raw/.arriving/06_new"
    for text in ("no JSON", '{"other": 1}', "[]"):
        arriving.mkdir(parents=True, exist_ok=True)
        (arriving / "note.json").write_text(text)
        registry(root, "status")
    (arriving / "copied.jsonl").write_text('{"other": 1}\n"x"\nno JSON\n')
    assert "recorded raw/06_new" in registry(root, "add", str(shoot), "--name", "06_new")


def names_of_modules() -> dict[str, set[str]]:
    """What 0.1.0 had its users import or call: in code, settings, stages and the README."""
    return {
        "registry_assets": {
            "DvcIOManager",
            "DvcRegistryComponent",
            "Lineage",
            "Registry",
            "RegistryError",
            "RegistryTranslator",
            "build_definitions",
            "build_lineage",
            "build_registry_assets",
            "read_registry",
        },
        # .git/config; the program `registry`. What workspace.yaml names is loaded above.
        "registry_assets.merge_driver": {"main"},
        "registry_assets.cli": {"main"},
        # The README: models in one's own training code.
        "registry_assets.models.links": {"ModelLinks"},
        # Stages that were shipped, which are files of the registry from then on.
        "registry_assets.errors": {"AlgorithmVersionError", "MetafileError", "RegistryError"},
        "registry_assets.images.contents": {"MAX_PIXELS"},
    }


@pytest.mark.parametrize("module", names_of_modules())
def test_what_earlier_code_imports_is_there(module: str) -> None:
    found = importlib.import_module(module)
    assert [name for name in names_of_modules()[module] if not hasattr(found, name)] == []


def test_every_public_name_stays_one() -> None:
    assert names_of_modules()["registry_assets"] <= set(registry_assets.__all__)


def test_stages_that_were_shipped_find_what_they_import(root: Path) -> None:
    stages = sorted([*EARLIER.glob("src/*.py"), *(root / DATASET / "src").glob("*.py")])
    assert len(stages) > 10
    # What decided in a stage is said to be one of an earlier version, with the next step.
    told = "registry_assets.deciding.on_arrival"
    with pytest.raises((SystemExit, RegistryError), match=r"registry init \. --upgrade"):
        importlib.import_module(told).decide_on_arrival()
    imports = re.compile(r"^from (registry_assets[\w.]*) import (\([^)]*\)|[^\n(]+)", re.MULTILINE)
    seen = 0
    for stage in stages:
        for module, names in imports.findall(stage.read_text(encoding="utf-8")):
            if module == told:
                continue
            found = importlib.import_module(module)
            for name in filter(None, re.split(r"[\s,()]+", names)):
                assert hasattr(found, name), f"{stage.name}: {module}.{name}"
                seen += 1
    assert seen > 20
