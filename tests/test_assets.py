"""The assets that Dagster gets of a registry, and what materializing them leaves behind."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from dagster import (
    AllPartitionMapping,
    AssetKey,
    AssetMaterialization,
    DagsterInstance,
    DynamicPartitionsDefinition,
    IdentityPartitionMapping,
    SpecificPartitionsPartitionMapping,
    asset,
)
from dagster._core.definitions.data_version import (
    CachingStaleStatusResolver,
    StaleStatus,
    extract_data_version_from_entry,
)
from dagster._core.definitions.utils import DISALLOWED_NAMES
from dagster._core.loader import LoadingContextForTest
from ruamel.yaml import YAML

from registry_assets import RegistryTranslator, build_definitions
from registry_assets.making.planning import only_stale, plan_units
from registry_assets.orchestration.assets import select_keys
from registry_assets.orchestration.history.reporting import sync
from registry_assets.orchestration.sensors.folders import TAKE_IN_JOB
from registry_assets.registry.status.reading import read_status
from registry_assets.registry.translator import Key
from tests.conftest import lineage_of, run, write_tree
from tests.runs import PlannedRun, RunResult, execute, own, runs_of

TEXTS = ("processed", "texts", "data")
RAW: Key = ("raw",)
INPUTS: Key = (*TEXTS, "inputs")
UPPER: Key = (*TEXTS, "intermediate", "upper")
LINES: Key = (*TEXTS, "outputs", "lines")
NAMES: Key = (*TEXTS, "outputs", "names")
CHAIN = (RAW, INPUTS, UPPER, LINES, NAMES)


def registry(root: Path, *arguments: str) -> None:
    run(root, "registry", *arguments)


def materialize(
    root: Path,
    instance: DagsterInstance,
    *collections: str,
    select: str | None = None,
    force: bool = False,
    stale_only: bool = False,
) -> list[RunResult]:
    """Plans and runs as the command line does."""
    definitions, lineage = build_definitions(root), lineage_of(root)
    units = plan_units(lineage, select_keys(lineage, select), collections)
    if stale_only:
        units = only_stale(units, lineage, read_status(lineage))
    plan = runs_of(lineage, units)
    return [execute(definitions, instance, item, force=force, tags={}) for item in plan]


def outcomes(results: list[RunResult]) -> dict[tuple[Key, str | None], str]:
    assert [result.failures for result in results] == [()] * len(results)
    return {(step.key, step.partition): step.outcome for result in results for step in result.steps}


def newest(
    instance: DagsterInstance, key: Key, partition: str | None = None
) -> tuple[str | None, AssetMaterialization]:
    """Data version and materialization of the newest event."""
    record = instance.fetch_materializations(
        AssetKey(list(key)), limit=500, ascending=False
    ).records
    entry = next(r for r in record if r.partition_key == partition).event_log_entry
    version = extract_data_version_from_entry(entry)
    materialization = entry.asset_materialization
    assert materialization is not None
    return (version.value if version else None), materialization


def locked(root: Path, stage: str) -> dict[str, str]:
    """The md5 that ``dvc.lock`` records, by path from the data set."""
    lock = YAML(typ="safe").load(root / "processed/texts/dvc.lock")
    return {out["path"]: out["md5"] for out in lock["stages"][stage]["outs"]}


# --- what is built ---------------------------------------------------------------------------


def test_there_is_one_asset_for_each_family_and_output(text_registry: Path) -> None:
    graph = build_definitions(text_registry).resolve_asset_graph()
    assert {tuple(key.path) for key in graph.get_all_asset_keys()} == set(CHAIN)
    nodes = {tuple(key.path): graph.get(key) for key in graph.get_all_asset_keys()}
    assert {key: {tuple(p.path) for p in node.parent_keys} for key, node in nodes.items()} == {
        RAW: set(),
        INPUTS: {RAW},
        UPPER: {INPUTS},
        LINES: {UPPER},
        NAMES: {UPPER},
    }
    assert {key: node.group_name for key, node in nodes.items()} == {
        RAW: "raw",
        **dict.fromkeys((INPUTS, UPPER, LINES, NAMES), "processed__texts"),
    }
    for key, node in nodes.items():
        assert node.partitions_def == DynamicPartitionsDefinition(
            name=own(text_registry, "collections")
        )
        assert "dvc" in node.kinds
        assert ("python" in node.kinds) == (key == UPPER)
        assert node.is_materializable


def test_descriptions_lead_with_what_the_pipeline_says(text_registry: Path) -> None:
    pipeline = text_registry / "processed/texts/dvc.yaml"
    pipeline.write_text(
        pipeline.read_text().replace(
            "        - data/outputs/lines/${item}\n",
            "        - data/outputs/lines/${item}:\n            desc: How many lines there are\n",
        )
    )
    graph = build_definitions(text_registry).resolve_asset_graph()

    def described(key: Key) -> str:
        text = graph.get(AssetKey(list(key))).description
        assert text is not None
        return text

    assert described(LINES).splitlines()[0] == "How many lines there are"
    assert "wc -l" in described(LINES)
    assert described(NAMES).startswith("Made by stage `count`.")
    assert described(UPPER).startswith("Writes every file in capitals")
    assert "`raw/`" in described(RAW)
    assert "taken in" in described(INPUTS)


def test_dependencies_carry_their_partition_mapping(text_registry: Path) -> None:
    pipeline = text_registry / "processed/texts/dvc.yaml"
    pipeline.write_text(
        pipeline.read_text()
        + "  all:\n    cmd: x\n    deps: [data/intermediate/upper]\n    outs: [all.txt]\n"
        + "  one:\n    cmd: x\n    deps: [data/intermediate/upper/01_a]\n    outs: [one.txt]\n"
    )
    (text_registry / "processed/texts/collections.yaml").write_text('collections:\n  - "01_a"\n')
    graph = build_definitions(text_registry).resolve_asset_graph()

    def mapping(key: Key, upstream: Key) -> object:
        node = graph.get(AssetKey(list(key)))
        return node.partition_mappings.get(AssetKey(list(upstream)))

    assert isinstance(mapping(UPPER, INPUTS), IdentityPartitionMapping)
    assert isinstance(mapping(("processed", "texts", "all.txt"), UPPER), AllPartitionMapping)
    specific = mapping(("processed", "texts", "one.txt"), UPPER)
    assert specific == SpecificPartitionsPartitionMapping(["01_a"])


def code_versions(root: Path) -> Mapping[Key, str | None]:
    graph = build_definitions(root).resolve_asset_graph()
    return {tuple(key.path): graph.get(key).code_version for key in graph.get_all_asset_keys()}


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("dvc.yaml", "python upper.py", "python -B upper.py"),
        ("params.yaml", "suffix: 1", "suffix: 2"),
        ("upper.py", "upper()", "title()"),
    ],
)
def test_the_code_version_changes_with_whatever_the_result_depends_on_but_data(
    text_registry: Path, path: str, old: str, new: str
) -> None:
    before = code_versions(text_registry)
    assert before[RAW] is before[INPUTS] is None
    assert before[LINES] == before[NAMES] != before[UPPER]
    place = text_registry / "processed/texts" / path
    text = place.read_text()
    assert old in text
    place.write_text(text.replace(old, new))
    after = code_versions(text_registry)
    assert {key for key in before if before[key] != after[key]} == {UPPER}


def test_odd_names_make_a_loadable_code_location(text_registry: Path) -> None:
    names = ["import", "type", "my photos", "été", "データ", "a.b", "a-b", "a_b_2", "x@y"]
    write_tree(
        text_registry,
        {
            "dvc.yaml": "stages:\n"
            + "".join(
                f"  stage{n}:\n    cmd: echo > 'made/{name}'\n    outs: ['made/{name}']\n"
                for n, name in enumerate(names)
            )
            + "  output:\n    cmd: x\n    outs: [reserved]\n",
            "kept/my photos.dvc": f"outs:\n- md5: {'a' * 32}\n  hash: md5\n  path: my photos\n",
            "データ/dvc.yaml": "stages:\n  図:\n    cmd: x\n    outs: ['出力']\n",
        },
    )
    definitions = build_definitions(text_registry)
    keys = {tuple(key.path) for key in definitions.resolve_asset_graph().get_all_asset_keys()}
    assert {("made", name) for name in names} <= keys
    assert ("データ", "出力") in keys
    assert ("kept", "my photos") in keys
    assert definitions.resolve_all_job_defs()


@pytest.mark.parametrize("name", sorted(DISALLOWED_NAMES))
def test_no_op_has_a_name_that_dagster_keeps_for_itself(name: str) -> None:
    assert RegistryTranslator().op_name("dvc.yaml", name) not in DISALLOWED_NAMES


def test_no_stage_has_the_name_of_a_job_or_op_of_this_package(text_registry: Path) -> None:
    definitions = build_definitions(text_registry)
    prefix = own(text_registry, "")
    stages = {group.name for group in lineage_of(text_registry).groups}
    taken = {job.name for job in definitions.resolve_all_job_defs()}
    jobs = definitions.resolve_all_job_defs()
    taken |= {node.definition.name for job in jobs for node in job.nodes}
    ours = {name.removeprefix(prefix) for name in taken if name.startswith(prefix)} - stages
    assert {"bring", "bring_up_to_date", "in_cache", "take_in_collection"} <= ours
    for name in ours:
        assert RegistryTranslator().op_name("dvc.yaml", name) not in ours


# --- what materializing leaves ----------------------------------------------------------------


def test_a_collection_goes_all_the_way_and_again_and_moves_on(
    text_registry: Path, instance: DagsterInstance
) -> None:
    commit = run(text_registry, "git", "rev-parse", "HEAD").strip()
    results = materialize(text_registry, instance, "01_a")
    assert outcomes(results) == {
        (RAW, "01_a"): "recorded",
        (INPUTS, "01_a"): "recorded",
        (UPPER, "01_a"): "ran",
        (LINES, "01_a"): "ran",
        (NAMES, "01_a"): "ran",
    }
    assert run(text_registry, "dvc", "status").strip() == "Data and pipelines are up to date."

    # What Dagster knows is what the metafiles say.
    paths = {
        LINES: "data/outputs/lines/01_a",
        NAMES: "data/outputs/names/01_a",
        UPPER: "data/intermediate/upper/01_a",
    }
    recorded = locked(text_registry, "count@01_a") | locked(text_registry, "upper@01_a")
    for key, path in paths.items():
        version, materialization = newest(instance, key, "01_a")
        metadata = {name: value.value for name, value in materialization.metadata.items()}
        assert version == metadata["dvc/md5"] == recorded[path]
        assert metadata["dvc/path"] == f"processed/texts/{path}"
        assert metadata["git/commit"] == commit
    raw_version, raw_event = newest(instance, RAW, "01_a")
    assert raw_version is not None
    assert f"md5: {raw_version}\n" in (text_registry / "raw/01_a.dvc").read_text()
    assert newest(instance, INPUTS, "01_a")[0] == raw_version
    metadata = {name: value.value for name, value in raw_event.metadata.items()}
    assert (metadata["dvc/size"], metadata["dvc/nfiles"]) == (8, 2)
    assert (metadata["files/added"], metadata["files/removed"], metadata["files/changed"]) == (
        2,
        0,
        0,
    )
    assert [step.nfiles for step in results[0].steps if step.key == UPPER] == [2]

    # The second time there is nothing to do, unless one insists.
    before = (text_registry / "processed/texts/dvc.lock").read_text()
    assert set(outcomes(materialize(text_registry, instance, "01_a")).values()) == {"unchanged"}
    assert materialize(text_registry, instance, stale_only=True) == []
    forced = outcomes(materialize(text_registry, instance, "01_a", force=True))
    assert (forced[UPPER, "01_a"], forced[LINES, "01_a"]) == ("ran", "ran")
    assert (text_registry / "processed/texts/dvc.lock").read_text() == before

    # A new version of the collection is taken all the way, and what changed is said.
    write_tree(text_registry, {"raw/01_a/four.txt": "four\n"})
    (text_registry / "raw/01_a/one.txt").unlink()
    (text_registry / "raw/01_a/two.txt").unlink()
    write_tree(text_registry, {"raw/01_a/two.txt": "deux\n"})
    again = materialize(text_registry, instance, stale_only=True)
    assert outcomes(again)[LINES, "01_a"] == "ran"
    version, event = newest(instance, RAW, "01_a")
    assert version != raw_version
    assert {n: event.metadata[f"files/{n}"].value for n in ("added", "removed", "changed")} == {
        "added": 1,
        "removed": 1,
        "changed": 1,
    }
    assert newest(instance, UPPER, "01_a")[0] == locked(text_registry, "upper@01_a")[paths[UPPER]]
    assert newest(instance, INPUTS, "01_a")[0] == version


def test_a_changed_partition_makes_just_the_partitions_made_of_it_stale(
    text_registry: Path, instance: DagsterInstance
) -> None:
    outcomes(materialize(text_registry, instance, "01_a", "02_b"))

    def stale() -> set[tuple[Key, str]]:
        resolver = CachingStaleStatusResolver(
            instance,
            build_definitions(text_registry).resolve_asset_graph(),
            LoadingContextForTest(instance),
        )
        return {
            (key, name)
            for key in CHAIN
            for name in ("01_a", "02_b")
            if resolver.get_status(AssetKey(list(key)), name) == StaleStatus.STALE
        }

    assert stale() == set()
    write_tree(text_registry, {"raw/01_a/four.txt": "four\n"})
    # Dagster looks one step up: what comes later turns stale as its own input changes.
    outcomes(materialize(text_registry, instance, "01_a", select="key:raw"))
    assert stale() == {(INPUTS, "01_a")}
    outcomes(materialize(text_registry, instance, "01_a", select='key:"*/inputs"'))
    assert stale() == {(UPPER, "01_a")}
    outcomes(materialize(text_registry, instance, "01_a"))
    assert stale() == set()


def test_a_stage_of_a_collection_that_was_not_taken_in_says_what_to_do(
    text_registry: Path, instance: DagsterInstance
) -> None:
    definitions = build_definitions(text_registry)
    planned = PlannedRun((UPPER,), "01_a", "collections")
    result = execute(definitions, instance, planned, force=False, tags={})
    assert result.steps == ()
    assert result.failures == (
        "processed/texts/dvc.yaml:upper does not list 01_a: "
        "run `registry import 01_a --into texts`",
    )


def test_what_cannot_be_taken_in_fails_with_the_next_step(
    text_registry: Path, instance: DagsterInstance
) -> None:
    definitions = build_definitions(text_registry)
    for key, name, message in (
        (INPUTS, "01_a", r"01_a is not tracked yet: run `registry add 01_a`"),
        (UPPER, "02_b", r"does not list 02_b: run `registry import 02_b --into texts`"),
    ):
        planned = PlannedRun((key,), name, "collections")
        (failure,) = execute(definitions, instance, planned, force=False, tags={}).failures
        assert re.search(message, failure)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("01_aa", "there is no collection 01_aa: did you mean 01_a?"),
        ("09_nowhere", "put its files into raw/09_nowhere and run `registry add 09_nowhere`"),
        ("x; rm -rf ~", "cannot be the name of a collection"),
    ],
)
def test_a_mistyped_partition_fails_no_run_and_records_nothing(
    text_registry: Path, instance: DagsterInstance, name: str, why: str
) -> None:
    registry(text_registry, "add", "01_a")
    before = metafiles(text_registry)
    definitions = build_definitions(text_registry)
    partitions = own(text_registry, "collections")
    # As somebody adds it in the launch dialog.
    instance.add_dynamic_partitions(partitions, [name])
    for job in (TAKE_IN_JOB, None):
        taken = own(text_registry, TAKE_IN_JOB)
        keys = [AssetKey(list(key)) for key in (LINES, NAMES)]
        made = (
            definitions.resolve_job_def(taken)
            if job
            else definitions.resolve_implicit_job_def_def_for_assets(keys)
        )
        assert made is not None
        result = made.execute_in_process(
            instance=instance,
            partition_key=name,
            raise_on_error=False,
            asset_selection=None if job else keys,
        )
        assert result.success
        assert [e for e in result.all_events if e.is_step_materialization] == []
        seen = [e for e in result.all_events if e.event_type_value == "ASSET_OBSERVATION"]
        told = [event.asset_observation_data.asset_observation for event in seen]
        expected = {AssetKey(["raw"])} if job else set(keys)
        assert {observation.asset_key for observation in told} == expected
        assert {observation.partition for observation in told} == {name}
        assert all(why in (observation.description or "") for observation in told)
        logs = [entry.user_message for entry in instance.all_logs(result.run_id)]
        assert any(line.startswith("nothing was recorded: ") and why in line for line in logs)
    assert metafiles(text_registry) == before
    assert name in instance.get_dynamic_partitions(partitions)
    sync(lineage_of(text_registry), instance, lambda _line: None)
    assert instance.get_dynamic_partitions(partitions) == ["01_a"]


def metafiles(root: Path) -> dict[str, bytes]:
    kept = (".dvc", "dvc.lock", ".yaml", ".gitignore")
    files = (path for path in root.rglob("*") if path.name.endswith(kept) and path.is_file())
    return {str(path): path.read_bytes() for path in files if ".dagster" not in path.parts}


@pytest.mark.parametrize("place", ["raw/03_c/one.txt", "raw/03_c.zip"])
def test_what_came_after_the_definitions_were_loaded_is_no_mistyped_partition(
    text_registry: Path, instance: DagsterInstance, place: str
) -> None:
    definitions = build_definitions(text_registry)
    write_tree(text_registry, {place: "no archive"})
    planned = PlannedRun((RAW,), "03_c", "collections")
    result = execute(definitions, instance, planned, force=False, tags={})
    if place.endswith(".zip"):
        (failure,) = result.failures
        assert "03_c.zip" in failure
    else:
        assert result.failures == ()


def test_a_stage_with_several_outputs_is_never_half_persisted(
    text_registry: Path, instance: DagsterInstance
) -> None:
    outcomes(materialize(text_registry, instance, "01_a"))
    data = text_registry / "processed/texts/data/outputs"
    lock = (text_registry / "processed/texts/dvc.lock").read_text()
    before = [(data / name / "01_a").read_text() for name in ("lines", "names")]
    # From now on the second output is not made.
    pipeline = text_registry / "processed/texts/dvc.yaml"
    pipeline.write_text(pipeline.read_text().replace("&& ls data", "&& false && ls data"))
    results = materialize(text_registry, instance, "01_a", stale_only=True)
    (failure,) = [failure for result in results for failure in result.failures]
    assert "ended with exit code 1; the previous version was kept" in failure
    assert [step.key for result in results for step in result.steps] == []
    assert [(data / name / "01_a").read_text() for name in ("lines", "names")] == before
    assert (text_registry / "processed/texts/dvc.lock").read_text() == lock


def test_one_output_of_several_brings_the_others_with_it(
    text_registry: Path, instance: DagsterInstance
) -> None:
    outcomes(
        materialize(
            text_registry, instance, "01_a", select='+key:"processed/texts/data/intermediate/upper"'
        )
    )
    results = materialize(
        text_registry, instance, "01_a", select='key:"processed/texts/data/outputs/lines"'
    )
    assert outcomes(results) == {(LINES, "01_a"): "ran", (NAMES, "01_a"): "ran"}
    assert set(locked(text_registry, "count@01_a")) == {
        "data/outputs/lines/01_a",
        "data/outputs/names/01_a",
    }
    (text_registry / "processed/texts/data/outputs/lines/01_a").unlink()
    results = materialize(text_registry, instance, stale_only=True)
    assert outcomes(results) == {(LINES, "01_a"): "restored", (NAMES, "01_a"): "restored"}
    assert run(text_registry, "dvc", "status").strip() == "Data and pipelines are up to date."


def test_a_stage_over_a_family_runs_with_the_collections_there_are(
    text_registry: Path, instance: DagsterInstance
) -> None:
    pipeline = text_registry / "processed/texts/dvc.yaml"
    pipeline.write_text(
        pipeline.read_text()
        + "  all:\n    cmd: cat data/intermediate/upper/*/* > all.txt\n"
        + "    deps: [data/intermediate/upper]\n    outs: [all.txt]\n"
    )
    everything = ("processed", "texts", "all.txt")
    done = outcomes(materialize(text_registry, instance, "01_a"))
    assert done[everything, None] == "ran"
    done = outcomes(materialize(text_registry, instance, "02_b"))
    assert done[everything, None] == "ran"
    assert (text_registry / "processed/texts/all.txt").read_text().split() == [
        "ONE",
        "TWO",
        "THREE",
    ]
    assert newest(instance, everything)[0] == locked(text_registry, "all")["all.txt"]
    assert run(text_registry, "dvc", "status").strip() == "Data and pipelines are up to date."


def test_dagsters_own_command_records_in_the_same_history_from_any_folder(
    text_registry: Path, tmp_path: Path
) -> None:
    folder = "processed/texts"  # From the root it runs after `registry init`.
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    with DagsterInstance.from_config(str(home)) as history:
        history.add_dynamic_partitions(own(text_registry, "collections"), ["01_a"])
    command = [sys.executable, "-m", "dagster", "asset", "materialize"]
    command += ["-m", "registry_assets.definitions", "--select", 'key:"raw"', "--partition", "01_a"]
    run(text_registry / folder, *command, env={"DAGSTER_HOME": str(home)})
    metafile = (text_registry / "raw/01_a.dvc").read_text()
    with DagsterInstance.from_config(str(home)) as history:
        version, _ = newest(history, RAW, "01_a")
    assert f"md5: {version}\n" in metafile
    assert not list((text_registry / folder).glob(".tmp_dagster_home_*"))


# --- assets of a user's own ------------------------------------------------------------------


def test_an_asset_of_ones_own_owns_its_key_and_is_persisted(
    text_registry: Path, instance: DagsterInstance
) -> None:
    write_tree(
        text_registry,
        {"dvc.yaml": "stages:\n  report:\n    cmd: echo > report.txt\n    outs: [report.txt]\n"},
    )

    @asset(key=AssetKey(["report.txt"]), io_manager_key="dvc_io_manager")
    def mine() -> bytes:
        return b"mine\n"

    @asset(key_prefix=["reports"], io_manager_key="dvc_io_manager", deps=[AssetKey(["raw"])])
    def other() -> bytes:
        return b"other\n"

    definitions = build_definitions(text_registry, assets=[other])
    graph = definitions.resolve_asset_graph()
    assert {tuple(key.path) for key in graph.get_all_asset_keys()} == {
        *CHAIN,
        ("report.txt",),
        ("reports", "other"),
    }
    owned = build_definitions(text_registry, assets=[mine])
    assert owned.resolve_assets_def(AssetKey(["report.txt"])).op.name == "report_txt"
    assert definitions.resolve_assets_def(AssetKey(["report.txt"])).op.name == own(
        text_registry, "report"
    )
    (text_registry / "dvc.yaml").unlink()
    definitions = build_definitions(text_registry, assets=[mine, other])
    expected: dict[Key, str] = {("report.txt",): "mine\n", ("reports", "other"): "other\n"}
    for key, text in expected.items():
        result = execute(definitions, instance, PlannedRun((key,)), force=False, tags={})
        assert result.failures == ()
        version, _ = newest(instance, key)
        path = "/".join(key)
        assert f"md5: {version}\n" in (text_registry / f"{path}.dvc").read_text()
        assert (text_registry / path).read_text() == text
