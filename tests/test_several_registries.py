"""Several registries in one Dagster: each one's history is what it would be alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from dagster import (
    AssetKey,
    DagsterInstance,
    Definitions,
    DynamicPartitionsDefinition,
    asset,
    build_sensor_context,
    define_asset_job,
    json_console_logger,
    mem_io_manager,
    multiprocess_executor,
)
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, InstigatorType

from registry_assets import build_definitions, read_registry
from registry_assets.errors import RefusedError
from registry_assets.model import Registry
from registry_assets.orchestration.history.event_log import read_seen
from registry_assets.orchestration.history.opening import open_history
from registry_assets.orchestration.history.reporting import sync
from registry_assets.orchestration.names import collections_definition, own_name
from tests.conftest import commit_all, lineage_of, run, write_tree
from tests.runs import PlannedRun, execute, own

Told = Mapping[tuple[str, str | None], str]
"""The newest data version of each asset and partition, keys without a prefix."""


def copy_registry(root: Path, place: Path, *lines: str, name: str | None = None) -> Path:
    """A copy with a history of its own in Git, and more settings."""
    shutil.copytree(root, place, symlinks=True)
    config = place / ".dvc/config"
    config.write_text(config.read_text().replace(str(root), str(place)))
    set_names(place, *lines, name=name)
    commit_all(place, f"Make {place.name}")
    branch = run(place, "git", "symbolic-ref", "--short", "HEAD").strip()
    # Another first commit: not a clone.
    run(place, "git", "checkout", "--quiet", "--orphan", "other")
    run(place, "git", "commit", "--quiet", "--message", f"Start {place.name}")
    run(place, "git", "branch", "-D", "--quiet", branch)
    return place


def set_names(root: Path, *lines: str, name: str | None = None) -> None:
    """Has the settings name a registry, after its folder by default, and nothing else but lines."""
    text = "\n".join(["[tool.registry_assets]", f'name = "{name or root.name}"', *lines])
    (root / "pyproject.toml").write_text(f"{text}\n")


def tell(root: Path, instance: DagsterInstance) -> None:
    sync(lineage_of(root), instance, lambda _line: None)


def told(root: Path, instance: DagsterInstance) -> Told:
    lineage = lineage_of(root)
    length = len(lineage.registry.settings.key_prefix)
    return {
        ("/".join(seen.key[length:]), seen.partition): newest.version
        for seen, newest in read_seen(lineage, instance).items()
    }


def partitions(root: Path, instance: DagsterInstance) -> set[str]:
    return set(instance.get_dynamic_partitions(collections_of(root)))


def collections_of(root: Path) -> str:
    name = collections_definition(read_registry(root)).name
    assert name is not None
    return name


def add(root: Path, name: str, text: str) -> None:
    write_tree(root, {f"raw/{name}/one.txt": text})
    run(root, "dvc", "add", "--quiet", f"raw/{name}")


def remove(root: Path, name: str) -> None:
    shutil.rmtree(root / "raw" / name)
    (root / f"raw/{name}.dvc").unlink()


@pytest.fixture
def harbour(finished_registry: Path, tmp_path: Path) -> Path:
    return copy_registry(finished_registry, tmp_path / "harbour")


@pytest.fixture
def forest(finished_registry: Path, tmp_path: Path) -> Path:
    return copy_registry(finished_registry, tmp_path / "forest", 'key_prefix = "forest"')


def test_the_history_of_each_is_what_it_would_be_alone(
    harbour: Path, forest: Path, instance: DagsterInstance, tmp_path: Path
) -> None:
    alone = {}
    for root in (harbour, forest):
        home = tmp_path / f"history of {root.name}"
        home.mkdir()
        alone[root] = DagsterInstance.local_temp(str(home))

    def tell_both() -> None:
        for root, history in alone.items():
            tell(root, history)
            tell(root, instance)
        for root, history in alone.items():
            assert told(root, instance) == told(root, history) != {}
            assert partitions(root, instance) == partitions(root, history)

    tell_both()
    add(harbour, "03_pier", "pier\n")
    add(forest, "03_glade", "glade\n")
    tell_both()
    assert "03_glade" not in partitions(harbour, instance)
    add(harbour, "01_a", "edited\n")
    remove(forest, "03_glade")
    tell_both()
    assert "03_pier" in partitions(harbour, instance)
    assert "03_glade" not in partitions(forest, instance)
    assert told(forest, instance)["raw", "03_glade"] == "absent"
    remove(harbour, "03_pier")
    tell_both()
    for history in alone.values():
        history.dispose()


def test_they_merge_with_each_other_and_with_a_host_that_has_its_own(
    harbour: Path, forest: Path, instance: DagsterInstance
) -> None:
    @asset
    def theirs() -> None: ...

    host = Definitions(
        assets=[theirs],
        jobs=[define_asset_job("publish", selection=[theirs])],
        executor=multiprocess_executor,
        loggers={"console": json_console_logger},
        resources={"io_manager": mem_io_manager},
    )
    merged = Definitions.merge(host, build_definitions(harbour), build_definitions(forest))
    Definitions.validate_loadable(merged)
    repository = merged.get_repository_def()
    names = {job.name for job in repository.get_all_jobs()} | {
        *(sensor.name for sensor in repository.sensor_defs),
        *(schedule.name for schedule in repository.schedule_defs),
    }
    ours = {name for name in names if name not in ("publish", "__ASSET_JOB")}
    assert {name.partition("__")[0] for name in ours} == {"harbour", "forest"}
    assert ours >= {"harbour__publish", "forest__outside_changes"}
    groups = {spec.group_name for spec in merged.resolve_all_asset_specs()} - {"default"}
    assert {name.removeprefix("forest__") for name in groups if "forest" in name} == {
        name for name in groups if "forest" not in name
    }
    write_tree(harbour, {"raw/03_pier/one.txt": "pier\n"})
    run_ = PlannedRun((("raw",),), "03_pier", "collections")
    # The host's executor starts processes, and this one is enough.
    definitions = Definitions.merge(build_definitions(harbour), build_definitions(forest))
    assert execute(definitions, instance, run_, force=False, tags={}).failures == ()
    assert (harbour / "raw/03_pier.dvc").exists()
    assert not (forest / "raw/03_pier").exists()


def test_sensors_of_each_look_into_its_own_folder(
    harbour: Path, forest: Path, instance: DagsterInstance
) -> None:
    merged = Definitions.merge(build_definitions(harbour), build_definitions(forest))
    write_tree(harbour, {"raw/03_pier/one.txt": "pier\n"})
    repository = merged.get_repository_def()
    asked = {}
    for root in (harbour, forest):
        sensor = repository.get_sensor_def(own_name(read_registry(root), "outside_changes"))
        with build_sensor_context(instance=instance, repository_def=repository) as context:
            asked[root.name] = sensor.evaluate_tick(context).skip_message
    assert all("waiting until they are quiet" in str(said) for said in asked.values()), asked


def test_the_same_keys_are_refused_with_the_setting_that_helps(
    finished_registry: Path, harbour: Path, instance: DagsterInstance, tmp_path: Path
) -> None:
    tell(harbour, instance)
    second = copy_registry(finished_registry, tmp_path / "second")
    before = told(harbour, instance)
    with pytest.raises(
        RefusedError,
        match=r'another registry in this Dagster instance, harbour .*key_prefix = "second"',
    ):
        tell(second, instance)
    assert told(harbour, instance) == before
    assert partitions(second, instance) == set()
    set_names(second, 'key_prefix = "second"')
    tell(second, instance)
    assert told(second, instance) == before


def test_the_same_name_is_refused(
    finished_registry: Path, harbour: Path, instance: DagsterInstance, tmp_path: Path
) -> None:
    tell(harbour, instance)
    prefix = 'key_prefix = "second"'
    second = copy_registry(finished_registry, tmp_path / "second", prefix, name="harbour")
    with pytest.raises(
        RefusedError, match="another registry in this Dagster instance is named harbour, in"
    ):
        tell(second, instance)
    set_names(second, prefix)
    tell(second, instance)


def test_a_clone_or_a_moved_registry_is_the_same_one(
    harbour: Path, instance: DagsterInstance, tmp_path: Path
) -> None:
    tell(harbour, instance)
    before = told(harbour, instance)
    run(tmp_path, "git", "clone", "--quiet", str(harbour), "clone")
    tell(tmp_path / "clone", instance)
    assert told(tmp_path / "clone", instance) == before
    moved = harbour.rename(tmp_path / "elsewhere")
    tell(moved, instance)
    assert told(moved, instance) == before


def test_a_registry_without_a_commit_is_copied_with_its_history(
    finished_registry: Path, tmp_path: Path
) -> None:
    first = tmp_path / "first"
    shutil.copytree(finished_registry, first, symlinks=True)
    shutil.rmtree(first / ".git")
    run(first, "git", "init", "--quiet")
    with open_history(first) as history:
        tell(first, history)
    second = tmp_path / "second"
    shutil.copytree(first, second, symlinks=True)
    with open_history(second) as history:
        tell(second, history)
        assert told(second, history)


def test_a_registry_without_a_commit_is_moved_beside_others(
    finished_registry: Path, instance: DagsterInstance, tmp_path: Path
) -> None:
    first = tmp_path / "first"
    shutil.copytree(finished_registry, first, symlinks=True)
    shutil.rmtree(first / ".git")
    run(first, "git", "init", "--quiet")
    tell(first, instance)
    before = told(first, instance)
    moved = first.rename(tmp_path / "moved")
    tell(moved, instance)
    assert told(moved, instance) == before


def test_the_same_path_on_another_machine_is_another_registry(
    harbour: Path, forest: Path, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(harbour, instance)
    shutil.rmtree(harbour)
    forest.rename(harbour)
    set_names(harbour)
    monkeypatch.setattr("platform.node", lambda: "elsewhere")
    with pytest.raises(RefusedError, match="named harbour, in"):
        tell(harbour, instance)


def test_claims_of_another_version_are_read(harbour: Path, instance: DagsterInstance) -> None:
    tell(harbour, instance)
    storage, name = instance.daemon_cursor_storage, "registry_assets/registries"
    (claim,) = json.loads(storage.get_cursor_values({name})[name]).values()
    del claim["host"], claim["inode"]
    storage.set_cursor_values({name: json.dumps({"harbour": {**claim, "colour": "blue"}})})
    tell(harbour, instance)
    assert told(harbour, instance)


def test_a_registry_that_is_given_another_name_keeps_what_dagster_knows_of_it(
    harbour: Path, instance: DagsterInstance
) -> None:
    tell(harbour, instance)
    before = told(harbour, instance)
    repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("photos"), "__repository__")
    origin = RemoteInstigatorOrigin(
        repository_origin=repository, instigator_name=own(harbour, "outside_changes")
    )
    status = InstigatorStatus.STOPPED
    instance.add_instigator_state(InstigatorState(origin, InstigatorType.SENSOR, status, None))
    write_tree(harbour, {"raw/04_new/one.txt": "new\n"})
    instance.add_dynamic_partitions(collections_of(harbour), ["04_new"])
    set_names(harbour, name="photos")
    tell(harbour, instance)
    assert told(harbour, instance) == before
    assert "04_new" in partitions(harbour, instance)
    states = {state.instigator_name: state for state in instance.all_instigator_state()}
    assert states["photos__outside_changes"].status == InstigatorStatus.STOPPED


def test_two_registries_of_one_git_repository_are_two(
    finished_registry: Path, tmp_path: Path, instance: DagsterInstance
) -> None:
    top = tmp_path / "top"
    for name in ("one", "two"):
        shutil.copytree(finished_registry, top / name, symlinks=True)
        shutil.rmtree(top / name / ".git")
        set_names(top / name)
    run(top, "git", "init", "--quiet")
    commit_all(top)
    tell(top / "one", instance)
    with pytest.raises(RefusedError, match='key_prefix = "two"'):
        tell(top / "two", instance)


@pytest.mark.parametrize("first", ["", 'key_prefix = "early"'])
def test_a_prefix_is_chosen_before_the_first_event(
    harbour: Path, instance: DagsterInstance, first: str
) -> None:
    set_names(harbour, first)
    tell(harbour, instance)
    before = told(harbour, instance)
    set_names(harbour, 'key_prefix = "late"')
    with pytest.raises(RefusedError, match="the prefix is part of every asset key"):
        tell(harbour, instance)
    set_names(harbour, first)
    tell(harbour, instance)
    assert told(harbour, instance) == before


CLASSES = """\
stages:
  classify:
    cmd: classify
    outs: [day/foggy, night/foggy]
"""
BOX_NAMES = 'box_names = "distinct"'


@pytest.mark.parametrize("is_written_down", [True, False])
def test_names_of_boxes_are_chosen_before_the_first_event_too(
    harbour: Path, instance: DagsterInstance, is_written_down: bool
) -> None:
    write_tree(harbour, {"classes/dvc.yaml": CLASSES})
    for name in ("day", "night"):
        write_tree(harbour, {f"classes/{name}/foggy": name})
    run(harbour / "classes", "dvc", "commit", "-q", "-f")
    commit_all(harbour)
    tell(harbour, instance)
    before = told(harbour, instance)
    assert ("classes/day/foggy", None) in before
    if not is_written_down:
        # Version 0.1.0 did not write down whose history it is.
        (key,) = instance.daemon_cursor_storage.get_cursor_values({"registry_assets/registries"})
        instance.daemon_cursor_storage.set_cursor_values({key: "{}"})
    set_names(harbour, BOX_NAMES)
    with pytest.raises(RefusedError, match='started with box_names = "last", and asset keys'):
        tell(harbour, instance)
    set_names(harbour)
    tell(harbour, instance)
    assert told(harbour, instance) == before


def test_names_of_boxes_are_free_where_they_change_no_key(
    harbour: Path, instance: DagsterInstance
) -> None:
    tell(harbour, instance)
    before = told(harbour, instance)
    set_names(harbour, BOX_NAMES)
    tell(harbour, instance)
    assert told(harbour, instance) == before


def test_a_prefix_is_refused_also_over_a_history_that_names_no_registry(
    harbour: Path, forest: Path, instance: DagsterInstance
) -> None:
    tell(harbour, instance)
    # Version 0.1.0 did not write down whose history it is.
    (key,) = instance.daemon_cursor_storage.get_cursor_values({"registry_assets/registries"})
    instance.daemon_cursor_storage.set_cursor_values({key: "{}"})
    set_names(harbour, 'key_prefix = "late"')
    with pytest.raises(RefusedError, match="started without one"):
        tell(harbour, instance)
    # Another registry's history without one does not concern it.
    tell(forest, instance)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ('name = "two words"', "name must be letters"),
        ("name = 3", "name must be letters"),
        ('key_prefix = "a//b"', "key_prefix must be"),
        ("key_prefix = []", "key_prefix must be"),
        ("box_names = true", 'box_names must be "last" or "distinct"'),
    ],
)
def test_names_that_cannot_be_are_refused(bare: Path, settings: str, said: str) -> None:
    (bare / "pyproject.toml").write_text(f"[tool.registry_assets]\n{settings}\n")
    with pytest.raises(Exception, match=said):
        read_registry(bare)


def test_a_registry_is_called_after_its_folder(tmp_path: Path) -> None:
    for folder, name in {
        "photos": "photos",
        "our photos (2)": "our_photos_2",
        "Bäume": "Baume",
        "фото": "registry",
        "a]b)c": "a_b_c",
    }.items():
        assert Registry(tmp_path / folder).name == name


def test_assets_of_ones_own_say_collections_and_mean_those_of_their_registry(
    harbour: Path, forest: Path, instance: DagsterInstance
) -> None:
    @asset(
        key=["reports", "length"],
        partitions_def=DynamicPartitionsDefinition(name="collections"),
        io_manager_key="dvc_io_manager",
        deps=[AssetKey("raw")],
    )
    def length() -> bytes:
        return b"3\n"

    definitions = Definitions.merge(
        build_definitions(harbour, assets=[length]), build_definitions(forest)
    )
    found = definitions.resolve_assets_def(AssetKey(["reports", "length"]))
    assert found.partitions_def == collections_definition(read_registry(harbour))
    planned = PlannedRun((("reports", "length"),), "01_a", "collections")
    assert execute(definitions, instance, planned, force=False, tags={}).failures == ()
    assert (harbour / "reports/length/01_a").read_text() == "3\n"
