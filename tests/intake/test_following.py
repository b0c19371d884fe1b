"""Which data sets take a collection in, and taking it out again."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from dagster import DagsterInstance, DynamicPartitionsDefinition
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value

from registry_assets.cli import main
from registry_assets.dvc_repo import DvcRepo
from registry_assets.dvc_repo.metafiles import without_collection, without_entries
from registry_assets.errors import MetafileError
from registry_assets.model import TakeIn
from registry_assets.orchestration.assets import select_keys
from registry_assets.orchestration.history.opening import open_history
from registry_assets.registry.lineage.taking_in import keys_that_follow, stages_of
from registry_assets.registry.reading import read_settings
from registry_assets.registry.translator import COLLECTIONS
from tests.conftest import commit_all, lineage_of, run, write_tree
from tests.intake.test_edits import configure
from tests.persisting.helpers import INPUTS, materialize
from tests.runs import own, plan_runs
from tests.test_sensor import set_settle_seconds, tick


def registry(root: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--root", str(root), *arguments])


def ends(keys: object) -> set[str]:
    return {key[-1] for key in keys}  # type: ignore[attr-defined]


ALL = {"raw", "inputs", "upper", "lines", "names"}


def test_patterns_say_what_is_taken_in(tmp_path: Path) -> None:
    settings = tmp_path / "pyproject.toml"
    table = '[tool.registry_assets.take_in]\na = "0[12]_*"\n"p/b" = ["x", "y*"]\nc = "manual"\n'
    settings.write_text(table)
    told = read_settings(tmp_path).take_in
    wanted = {
        name: [c for c in ("01_a", "03_a", "x", "y_2", "manual") if rule.wants(c)]
        for name, rule in told.items()
    }
    assert wanted == {"a": ["01_a"], "p/b": ["x", "y_2"], "c": []}
    assert TakeIn().wants("anything")
    for wrong in ("take_in = 1", "take_in = { a = 1 }", "take_in = { a = [1] }", 'modified = "x"'):
        settings.write_text(f"[tool.registry_assets]\n{wrong}\n")
        with pytest.raises(MetafileError, match=r"take_in|modified"):
            read_settings(tmp_path)


def test_a_data_set_takes_in_what_its_pattern_fits(
    materialized_registry: Path, instance: DagsterInstance
) -> None:
    root = materialized_registry
    set_settle_seconds(root, 0)
    assert ends(keys_that_follow(lineage_of(root), "02_b", is_new=True)) == ALL
    # What was never taken in does not follow an edit.
    assert ends(keys_that_follow(lineage_of(root), "02_b", is_new=False)) == {"raw"}
    assert ends(keys_that_follow(lineage_of(root), "01_a", is_new=False)) == ALL
    configure(root, 'take_in = { texts = "0[3-9]*", typo = "*" }')
    lineage = lineage_of(root)
    assert any("take_in names typo" in problem for problem in lineage.registry.problems)
    assert ends(keys_that_follow(lineage, "02_b", is_new=True)) == {"raw"}
    assert ends(keys_that_follow(lineage, "01_a", is_new=True)) == ALL
    (request,) = tick(root, instance).run_requests or ()
    assert request.partition_key == "02_b"
    assert request.asset_selection is not None
    assert ends(key.path for key in request.asset_selection) == {"raw"}
    plan = plan_runs(lineage, select_keys(lineage, None), ["01_a", "02_b"])
    assert {run.partition: ends(run.keys) for run in plan} == {"01_a": ALL, "02_b": {"raw"}}


def shown_in_graph(root: Path, name: str) -> set[str]:
    """The partitions of an asset that Dagster's UI counts as materialized."""
    with open_history(root) as history:
        (key,) = [key for key in history.all_asset_keys() if key.path[-1] == name]
        partitions = DynamicPartitionsDefinition(name=own(root, COLLECTIONS))
        counted = get_and_update_asset_status_cache_value(history, key, partitions)
        assert counted is not None
        with partition_loading_context(None, history):
            shown = counted.deserialize_materialized_partition_subsets(partitions)
            return set(shown.get_partition_keys())


def test_taking_out_data_that_was_never_recorded_says_so(materialized_registry: Path) -> None:
    root = materialized_registry
    run(root, "dvc", "add", "--quiet", "raw/02_b")
    assert registry(root, "import", "02_b", "--into", "texts").exit_code == 0
    path = "processed/texts/data/intermediate/upper/02_b"
    write_tree(root, {f"{path}/own.txt": "mine\n"})
    refused = registry(root, "take-out", "02_b", "--from", "texts")
    assert refused.exit_code == 1
    assert f"{path} was never recorded and is saved nowhere: keep it with `dvc" in refused.stderr
    assert (root / path / "own.txt").read_text() == "mine\n"
    run(root, "dvc", "commit", "--quiet", "--force", path)
    taken_out = registry(root, "take-out", "02_b", "--from", "texts")
    assert taken_out.exit_code == 0, taken_out.output


def test_taking_out_again_tells_what_a_killed_one_did_not(materialized_registry: Path) -> None:
    root = materialized_registry
    run(root, "dvc", "add", "--quiet", "raw/02_b")
    assert registry(root, "materialize", "--collection", "02_b").exit_code == 0
    lineage = lineage_of(root)
    dataset = lineage.registry.dataset("texts")
    DvcRepo(root).take_out(
        "02_b",
        metafile=f"{dataset.inputs}/02_b.dvc",
        addresses=stages_of(lineage, dataset, "02_b"),
        collections_file=dataset.collections_file,
        force=False,
        report=print,
    )
    assert registry(root, "lineage", "--check").exit_code == 1
    assert registry(root, "take-out", "02_b", "--from", "texts").exit_code == 1
    agreed = registry(root, "lineage", "--check")
    assert agreed.exit_code == 0, agreed.output


def test_taking_out_replaces_the_ignore_file_and_never_empties_it(
    materialized_registry: Path, tmp_path: Path
) -> None:
    root = materialized_registry
    run(root, "dvc", "add", "--quiet", "raw/02_b")
    assert registry(root, "import", "02_b", "--into", "texts").exit_code == 0
    file, former = root / "processed/texts/data/inputs/.gitignore", tmp_path / "former"
    former.hardlink_to(file)
    assert registry(root, "take-out", "02_b", "--from", "texts").exit_code == 0
    assert file.read_text() == "/01_a\n"
    assert former.read_text() == "/01_a\n/02_b\n"


def test_what_a_killed_removal_left_is_no_edit(materialized_registry: Path) -> None:
    root = materialized_registry
    write_tree(root, {"raw/02_b/more.txt": "more\n"})
    run(root, "dvc", "add", "--quiet", "raw/02_b")
    assert registry(root, "import", "02_b", "--into", "texts").exit_code == 0
    (root / "processed/texts/data/inputs/02_b/two.txt").unlink()
    done = registry(root, "take-out", "02_b", "--from", "texts")
    assert done.exit_code == 0, done.output
    assert not (root / "processed/texts/data/inputs/02_b").exists()


def test_updating_again_tells_what_a_killed_one_did_not(materialized_registry: Path) -> None:
    root = materialized_registry
    write_tree(root, {"raw/01_a/new.txt": "new\n"})
    assert registry(root, "add", "01_a").exit_code == 0
    materialize(root, INPUTS, "01_a")
    assert registry(root, "lineage", "--check").exit_code == 1
    assert "updated 0 of 1 imports, 1 were up" in registry(root, "update").stdout
    agreed = registry(root, "lineage", "--check")
    assert agreed.exit_code == 0, agreed.output


def test_taking_out_leaves_what_was_there_before(materialized_registry: Path) -> None:
    root = materialized_registry
    run(root, "dvc", "add", "--quiet", "raw/02_b")
    commit_all(root)
    before = run(root, "git", "rev-parse", "HEAD:processed")
    done = registry(root, "materialize", "--collection", "02_b")
    assert done.exit_code == 0, done.output
    commit_all(root)
    inputs = root / "processed/texts/data/inputs/02_b"
    (inputs / "two.txt").unlink()
    (inputs / "two.txt").write_text("edited")
    refused = registry(root, "take-out", "02_b", "--from", "texts")
    assert refused.exit_code == 1
    assert "the difference is saved nowhere" in refused.stderr
    assert run(root, "git", "status", "--short") == ""
    (inputs / "two.txt").write_text("two\n")

    assert shown_in_graph(root, "upper") == {"01_a", "02_b"}
    cached = sorted((root / ".dvc/cache").rglob("*"))
    done = registry(root, "take-out", "02_b", "--from", "texts")
    assert done.exit_code == 0, done.output
    assert "removed   processed/texts/data/outputs/lines/02_b" in done.output
    # What Dagster counts as there; of what was, all events stay.
    assert shown_in_graph(root, "upper") == shown_in_graph(root, "inputs") == {"01_a"}
    assert shown_in_graph(root, "raw") == {"01_a", "02_b"}
    with open_history(root) as history:
        (key,) = [key for key in history.all_asset_keys() if key.path[-1] == "upper"]
        assert len(history.fetch_materializations(key, limit=9).records) == 3
    launched = registry(root, "materialize", "--select", "key:*upper", "--collection", "02_b")
    assert "run `registry import 02_b --into texts`" in launched.stderr
    commit_all(root)
    assert run(root, "git", "rev-parse", "HEAD:processed") == before
    assert not list((root / "processed").rglob("02_b"))
    assert (root / "raw/02_b/two.txt").exists()
    assert run(root, "dvc", "status").strip() == "Data and pipelines are up to date."
    again = registry(root, "take-out", "02_b", "--from", "texts")
    assert again.exit_code == 1
    assert " does not have 02_b: " in again.stderr
    assert sorted((root / ".dvc/cache").rglob("*")) == cached


def test_texts_of_metafiles_lose_one_entry_and_nothing_else() -> None:
    listed = '# remark\ncollections:\n  - "01_a"  # first\n  - "02_b"\n  - "03_c"  # third\n'
    assert without_collection(listed, "02_b") == listed.replace('  - "02_b"\n', "")
    assert without_collection(listed, "04_d") == listed
    assert without_collection('collections:\n  - "01_a"\n', "01_a") == "collections: []\n"
    lock = "schema: '2.0'\nstages:\n  a@1:\n    cmd: x\n  a@10:\n    cmd: y\n  b:\n    cmd: z\n"
    assert without_entries(lock, ["a@1", "c"]) == lock.replace("  a@1:\n    cmd: x\n", "")
    assert without_entries(lock, ["a@10", "b"]) == lock[: lock.index("  a@10")]
    assert without_entries(lock, ["a@1", "a@10", "b"]) == ""
    # Not in the shape that DVC gives it: rewritten as DVC would.
    odd = lock.replace("  b:", "  # remark\n  b:")
    assert without_entries(odd, ["a@1"]) == odd.replace("  a@1:\n    cmd: x\n", "")
    assert without_entries(odd, ["a@1", "a@10", "b"]) == ""
    more = f"{odd}datasets:\n- name: one\n"
    assert without_entries(more, ["a@1", "a@10", "b"]).endswith("datasets:\n- name: one\n")
