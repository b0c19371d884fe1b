"""One difference at a time between metafiles, asset graph and event log is found and mended."""

import shutil
from pathlib import Path

import pytest
from dagster import AssetKey, DagsterInstance, Definitions, asset
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from registry_assets import build_definitions
from registry_assets.orchestration.comparison import compare
from registry_assets.orchestration.history.event_log import of_node, read_seen
from registry_assets.orchestration.history.reporting import sync
from tests.conftest import commit_all, history_in, lineage_of, run, write_tree
from tests.runs import own

DATA = "processed/texts/data"
PATHS = (
    "raw/01_a",
    f"{DATA}/inputs/01_a",
    f"{DATA}/intermediate/upper/01_a",
    f"{DATA}/outputs/lines/01_a",
    f"{DATA}/outputs/names/01_a",
)


@pytest.fixture
def root(materialized_registry: Path) -> Path:
    return materialized_registry


@pytest.fixture
def instance(its_history: DagsterInstance) -> DagsterInstance:
    return its_history


def lines(
    root: Path, instance: DagsterInstance, definitions: Definitions | None = None
) -> list[str]:
    found = compare(lineage_of(root), definitions or build_definitions(root), instance)
    return [str(difference) for difference in found.differences]


def mend(root: Path, instance: DagsterInstance) -> list[str]:
    """Reports what changed outside Dagster; returns the lines that it says."""
    said: list[str] = []
    count = sync(lineage_of(root), instance, said.append).reported
    assert count == len(said)
    assert lines(root, instance) == []
    return said


def recorded(root: Path, path: str) -> str:
    version = lineage_of(root).node(path).version
    assert version is not None
    return version.md5


def test_all_three_agree_after_a_run(root: Path, instance: DagsterInstance) -> None:
    found = compare(lineage_of(root), build_definitions(root), instance)
    assert found.differences == ()
    assert (found.outputs, found.materializations) == (5, 5)
    # The import, and upper.py and inputs to upper, and upper to lines and names.
    assert found.edges == 1 + 2 + 2
    assert mend(root, instance) == []


def seen_versions(root: Path, instance: DagsterInstance) -> dict[str, str]:
    lineage = lineage_of(root)
    seen = read_seen(lineage, instance)
    assets = {path: of_node(node) for path, node in lineage.nodes.items()}
    return {p: seen[asset].version for p, asset in assets.items() if asset and asset in seen}


def test_each_output_has_the_version_of_its_metafile(root: Path, instance: DagsterInstance) -> None:
    versions = seen_versions(root, instance)
    assert versions == {path: recorded(root, path) for path in PATHS}


def test_an_edited_lock_entry_is_one_difference_and_sync_mends_it(
    root: Path, instance: DagsterInstance
) -> None:
    before = recorded(root, PATHS[3])
    lock = root / "processed/texts/dvc.lock"
    edited = "0" * 31 + "a"
    text = lock.read_text()
    assert text.count(before) == 1
    lock.write_text(text.replace(before, f"'{edited}'"))
    write_tree(root, {f".dvc/cache/files/md5/{edited[:2]}/{edited[2:]}": "what it names\n"})
    assert lines(root, instance) == [
        f"{PATHS[3]}: recorded as {edited}, newest materialization is {before}: registry sync"
    ]
    assert mend(root, instance) == [f"reported {PATHS[3]}"]
    # And back again, as checking out another commit does.
    lock.write_text(text)
    assert mend(root, instance) == [f"reported {PATHS[3]}"]
    assert seen_versions(root, instance)[PATHS[3]] == before


def test_a_lost_history_is_a_difference_for_each_output_and_sync_mends_it(
    root: Path, instance: DagsterInstance, tmp_path: Path
) -> None:
    home = tmp_path / "another"
    home.mkdir()
    with history_in(home) as fresh:
        assert sorted(lines(root, fresh)) == [
            f"{path}: Dagster has no materialization of it: registry sync" for path in sorted(PATHS)
        ]
        said = mend(root, fresh)
        assert set(said) == {f"reported {path}" for path in PATHS}
        # Upstream first, so that nothing looks older than what it was made of.
        assert said.index(f"reported {PATHS[0]}") < said.index(f"reported {PATHS[1]}")
        assert said.index(f"reported {PATHS[1]}") < said.index(f"reported {PATHS[2]}")
        assert said.index(f"reported {PATHS[2]}") < said.index(f"reported {PATHS[3]}")
        assert fresh.get_dynamic_partitions(own(root, "collections")) == ["01_a"]


def test_a_run_of_dvc_is_reported(root: Path, instance: DagsterInstance) -> None:
    before = recorded(root, PATHS[2])
    script = root / "processed/texts/upper.py"
    script.write_text(script.read_text().replace("upper()", "title()"))
    run(root, "dvc", "repro", "--quiet", "processed/texts/dvc.yaml")
    after = recorded(root, PATHS[2])
    assert lines(root, instance) == [
        f"{PATHS[2]}: recorded as {after}, newest materialization is {before}: registry sync",
        *(
            f"{path}: its metafile and Dagster name different versions of "
            "processed/texts/data/intermediate/upper: registry sync"
            for path in PATHS[3:]
        ),
    ]
    assert mend(root, instance) == [f"reported {path}" for path in PATHS[2:]]


NEW = "  extra:\n    cmd: echo > extra.txt\n    deps: [data/intermediate/upper]\n"


def test_a_stage_that_is_not_loaded_yet_is_one_difference(
    root: Path, instance: DagsterInstance
) -> None:
    loaded = build_definitions(root)
    pipeline = root / "processed/texts/dvc.yaml"
    pipeline.write_text(pipeline.read_text() + NEW + "    outs: [extra.txt]\n")
    assert lines(root, instance, loaded) == [
        "processed/texts/extra.txt: there is no such asset in Dagster: reload the code location"
    ]
    assert lines(root, instance) == []


def test_an_edge_that_is_not_loaded_yet_or_gone_is_one_difference(
    root: Path, instance: DagsterInstance
) -> None:
    before = build_definitions(root)
    pipeline = root / "processed/texts/dvc.yaml"
    text = pipeline.read_text()
    wanted = "        - data/intermediate/upper/${item}\n      outs"
    assert wanted in text
    pipeline.write_text(text.replace(wanted, f"        - data/inputs/${{item}}\n{wanted}"))
    expected = f"{DATA}/outputs/{{}}: Dagster {{}} the edge from {DATA}/inputs: "
    assert lines(root, instance, before) == [
        expected.format(name, "lacks") + "reload the code location" for name in ("lines", "names")
    ]
    after = build_definitions(root)
    pipeline.write_text(text)
    expected = expected.replace("{} the edge", "has an edge")
    assert lines(root, instance, after) == [
        expected.format(name) + "reload the code location" for name in ("lines", "names")
    ]


def test_a_stage_that_is_gone_is_one_difference(root: Path, instance: DagsterInstance) -> None:
    pipeline = root / "processed/texts/dvc.yaml"
    text = pipeline.read_text()
    pipeline.write_text(text + NEW + "    outs: [extra.txt]\n")
    loaded = build_definitions(root)
    pipeline.write_text(text)
    assert lines(root, instance, loaded) == [
        "processed/texts/extra.txt: no metafile declares this asset: reload the code location"
    ]


def test_an_asset_of_ones_own_is_no_difference(root: Path, instance: DagsterInstance) -> None:
    @asset(key=["mine"])
    def mine() -> None:
        return None

    @asset(key=PATHS[0].split("/")[:1])
    def raw() -> None:
        return None

    assert lines(root, instance, build_definitions(root, assets=[mine])) == []
    # One that owns a path has the edges that its author gave it.
    assert lines(root, instance, build_definitions(root, assets=[raw])) == []


def test_a_broken_metafile_is_one_difference(
    root: Path, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    write_tree(root, {"broken/dvc.yaml": "stages:\n  x:\n    cmd: [\n"})
    (line,) = lines(root, instance)
    assert line.startswith("broken/dvc.yaml:4: ")
    assert line.endswith(": this metafile cannot be read: mend it by hand")


def test_a_collection_that_dvc_took_in_is_reported_with_its_partition(
    root: Path, instance: DagsterInstance
) -> None:
    run(root, "dvc", "add", "--quiet", "raw/02_b")
    assert lines(root, instance) == [
        "raw/02_b: Dagster has no materialization of it: registry sync"
    ]
    assert mend(root, instance) == ["reported raw/02_b"]
    assert set(instance.get_dynamic_partitions(own(root, "collections"))) == {"01_a", "02_b"}


def test_a_history_that_is_wiped_is_reported_anew(root: Path, instance: DagsterInstance) -> None:
    for path in PATHS:
        instance.wipe_assets([AssetKey(list(lineage_of(root).node(path).key or ()))])
    assert len(lines(root, instance)) == len(PATHS)
    assert len(mend(root, instance)) == len(PATHS)


def test_an_object_that_is_not_in_the_cache_is_one_difference(
    root: Path, instance: DagsterInstance
) -> None:
    md5 = recorded(root, PATHS[3])
    (root / f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}").unlink()
    assert lines(root, instance) == [
        f"{PATHS[3]}: 1 of 1 objects of it are not in the cache: dvc pull {PATHS[3]}"
    ]


def test_what_the_commit_does_not_have_is_told_as_absent_and_comes_back(
    root: Path, instance: DagsterInstance
) -> None:
    with_it = commit_all(root, "With")
    run(root, "git", "checkout", "--quiet", "HEAD~1")
    shutil.rmtree(root / "raw/01_a")
    said = mend(root, instance)
    assert len(said) == 5
    assert all(line.endswith("as absent") for line in said)
    assert "01_a" not in instance.get_dynamic_partitions(own(root, "collections"))
    assert mend(root, instance) == []
    run(root, "git", "checkout", "--quiet", with_it)
    assert mend(root, instance) == [f"reported {path}" for path in PATHS]
    assert seen_versions(root, instance) == {path: recorded(root, path) for path in PATHS}


def test_after_a_change_outside_exactly_what_is_stale_is_stale_in_dagster(
    root: Path, instance: DagsterInstance
) -> None:
    def stale() -> set[str]:
        definitions = build_definitions(root)
        resolver = CachingStaleStatusResolver(
            instance, definitions.resolve_asset_graph(), LoadingContextForTest(instance)
        )
        nodes = lineage_of(root).nodes
        return {
            path
            for path in PATHS
            if resolver.get_status(AssetKey(list(nodes[path].key or ())), "01_a")
            != StaleStatus.FRESH
        }

    assert stale() == set()
    # A new version of raw, added with dvc: the import is behind.
    write_tree(root, {"raw/01_a/three.txt": "three\n"})
    run(root, "dvc", "add", "--quiet", "raw/01_a")
    mend(root, instance)
    assert stale() == {PATHS[1]}
    # A new version of the import, too: now the stage that reads it is stale.
    run(root, "dvc", "update", "--quiet", f"{PATHS[1]}.dvc")
    mend(root, instance)
    assert stale() == {PATHS[2]}
    run(root, "dvc", "repro", "--quiet", "processed/texts/dvc.yaml")
    mend(root, instance)
    assert stale() == set()


def test_a_history_that_starts_behind_is_told_the_older_version_first(
    root: Path, tmp_path: Path
) -> None:
    write_tree(root, {"raw/01_a/three.txt": "three\n"})
    run(root, "dvc", "add", "--quiet", "raw/01_a")
    (tmp_path / "fresh").mkdir()
    with history_in(tmp_path / "fresh") as fresh:
        said = mend(root, fresh)
        assert said[:3] == ["reported raw/01_a", "reported raw/01_a as it was", said[0]]
        resolver = CachingStaleStatusResolver(
            fresh,
            build_definitions(root).resolve_asset_graph(),
            LoadingContextForTest(fresh),
        )
        assert resolver.get_status(AssetKey("raw"), "01_a") == StaleStatus.FRESH
        inputs = AssetKey(["processed", "texts", "data", "inputs"])
        assert resolver.get_status(inputs, "01_a") == StaleStatus.STALE
        assert seen_versions(root, fresh)["raw/01_a"] == recorded(root, "raw/01_a")


@pytest.mark.parametrize("is_repaired", [False, True])
def test_what_older_versions_have_is_looked_at_in_full(
    root: Path, instance: DagsterInstance, is_repaired: bool
) -> None:
    def in_full() -> list[str]:
        found = compare(lineage_of(root), build_definitions(root), instance, most_hashed=None)
        return [str(difference) for difference in found.differences]

    commit_all(root)
    run(root, "git", "tag", "v1")
    run(root, "dvc", "checkout", "--quiet", "--relink")
    write_tree(root, {"raw/01_a/two.txt": "two\n"})
    if is_repaired:
        with (root / "raw/01_a/one.txt").open("a") as stream:
            stream.write("more\n")
    else:
        (root / "raw/01_a/one.txt").unlink()
    run(root, "registry", "materialize", "--collection", "01_a")
    if not is_repaired:
        one = root / ".dvc/cache/files/md5/5b/bf5a52328e7439ae6e719dfe712200"
        one.chmod(0o644)
        one.write_text("1\n")
        one.chmod(0o444)
    sync(lineage_of(root), instance, lambda _line: None)
    every = in_full()
    said = [line for line in every if line.startswith("raw/01_a")]
    assert said, every
    if is_repaired:
        (line,) = said
        assert "one.txt of an older version (" in line
        assert "tag v1" in line
    else:
        assert said[0].startswith("raw/01_a/one.txt of an older version")
        assert "is damaged" in said[0]
