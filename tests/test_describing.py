"""What Dagster is told of an output is the same, whoever made it, and complete where it can be."""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from dagster import AssetKey, DagsterInstance

from registry_assets.orchestration.building import build_definitions
from registry_assets.orchestration.describing import MADE_WITH, SUMMARY, UNREAD
from registry_assets.orchestration.history.opening import open_history
from registry_assets.orchestration.history.reporting import sync
from tests.conftest import lineage_of, run
from tests.runs import execute, plan_runs

MADE = {"dvc/outcome", "made/seconds", MADE_WITH}
COMPARED = {"files/added", "files/removed", "files/changed", "files/examples", SUMMARY}
STAGES = "processed/01_image_dataset/data"


@pytest.fixture
def photographs(demo: Path, tmp_path: Path) -> Path:
    """A registry whose first run was `registry demo`, to be changed."""
    return Path(shutil.copytree(demo, tmp_path / "registry", symlinks=True))


def described(root: Path, instance: DagsterInstance) -> dict[str, Mapping[str, object]]:
    """What the newest materialization of every output says, by path."""
    return dict(_described(root, instance))


def _described(root: Path, instance: DagsterInstance) -> Iterator[tuple[str, Mapping[str, object]]]:
    nodes = {
        (node.key, node.partition): path
        for path, node in lineage_of(root).nodes.items()
        if node.key is not None
    }
    for key in {key for key, _ in nodes}:
        told = instance.fetch_materializations(AssetKey(list(key)), limit=1000).records
        # From the oldest on, so that the newest of each partition stays.
        for record in reversed(told):
            materialization = record.asset_materialization
            assert materialization is not None
            path = nodes.get((key, materialization.partition))
            if path is not None:
                yield path, {n: value.value for n, value in materialization.metadata.items()}


def without(
    told: Mapping[str, Mapping[str, object]], names: set[str]
) -> dict[str, dict[str, object]]:
    return {
        path: {name: value for name, value in found.items() if name not in names}
        for path, found in told.items()
    }


def test_a_batch_and_the_metafiles_alone_tell_the_same(
    photographs: Path, instance: DagsterInstance
) -> None:
    with open_history(photographs) as history:
        by_batch = described(photographs, history)
    sync(lineage_of(photographs), instance, print)
    by_metafiles = described(photographs, instance)
    assert by_batch.keys() == by_metafiles.keys()
    assert without(by_batch, MADE | {"git/commit"}) == without(by_metafiles, {"git/commit"})
    raw = by_metafiles["raw/01_data_collection_16_oct_2021"]
    assert {"contact_sheet", "duplicates/files", SUMMARY} <= raw.keys()
    table = by_metafiles[f"{STAGES}/intermediate/remove_corrupted_images/{raw_name(raw)}"]
    assert table["files/origins"]


def raw_name(raw: Mapping[str, object]) -> str:
    return Path(str(raw["dvc/path"])).name


def test_a_run_of_one_partition_tells_what_a_batch_told(
    photographs: Path, instance: DagsterInstance
) -> None:
    with open_history(photographs) as history:
        by_batch = described(photographs, history)
    lineage, definitions = lineage_of(photographs), build_definitions(photographs)
    name = "01_data_collection_16_oct_2021"
    for planned in plan_runs(lineage, lineage.output_of, [name]):
        assert execute(definitions, instance, planned, force=False, tags={}).failures == ()
    by_run = described(photographs, instance)
    assert len(by_run) == 10
    ignored = MADE | COMPARED | {"git/commit"}
    chosen = {path: by_batch[path] for path in by_run}
    assert without(by_run, ignored) == without(chosen, ignored)


def test_what_the_cache_lacks_is_told_when_it_has_come(
    photographs: Path, tmp_path: Path, instance: DagsterInstance
) -> None:
    objects = photographs / ".dvc/cache/files"
    away = tmp_path / "away"
    objects.rename(away)
    first = sync(lineage_of(photographs), instance, print)
    told = described(photographs, instance)
    assert first.reported == len(told)
    lacking = {path for path, found in told.items() if UNREAD in found}
    assert lacking == set(told)
    assert not any(name.startswith("duplicates") for found in told.values() for name in found)
    assert set(first.unread) <= lacking
    # Nothing has come: there is nothing to tell again.
    assert sync(lineage_of(photographs), instance, print).reported == 0
    away.rename(objects)
    assert sync(lineage_of(photographs), instance, print).reported == len(told)
    now = described(photographs, instance)
    assert not any(UNREAD in found for found in now.values())
    assert "contact_sheet" in now["raw/01_data_collection_16_oct_2021"]
    assert sync(lineage_of(photographs), instance, print).reported == 0


def test_what_made_a_version_is_told_and_traced(photographs: Path) -> None:
    path = f"{STAGES}/intermediate/remove_corrupted_images/01_data_collection_16_oct_2021"
    with open_history(photographs) as history:
        told = described(photographs, history)
    for raw in ("registry-assets", "Python", "pillow", "dvc"):
        assert f"{raw} " in str(told[path][MADE_WITH])
    picture = min(item for item in (photographs / path).rglob("*.jpg"))
    found = json.loads(run(photographs, "registry", "trace", str(picture), "--json"))
    steps = found["chains"][0]["steps"]
    assert [step["made_with"] for step in steps if step["output"] == path] == [
        told[path][MADE_WITH]
    ]
    lines = run(photographs, "registry", "trace", str(picture)).splitlines()
    programs, _, machine = str(told[path][MADE_WITH]).partition("; ")
    place = lines.index(f"        made with {programs}")
    assert lines[place + 1] == f"        {machine}"
    assert lines[place - 1].startswith(f"    {steps[0]['stage']}, ")


def test_a_damaged_listing_is_not_told_of_again_and_again(
    photographs: Path, instance: DagsterInstance
) -> None:
    (listing, *_) = sorted((photographs / ".dvc/cache/files/md5").glob("??/*.dir"))
    listing.chmod(0o644)
    listing.write_text("[]")
    first = sync(lineage_of(photographs), instance, print)
    assert listing.parent.name + listing.name in first.unread.values()
    assert sync(lineage_of(photographs), instance, print).reported == 0
