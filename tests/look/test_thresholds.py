"""What the page says about other thresholds, beside what the stages then make."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from registry_assets.errors import NotFoundError
from registry_assets.look.listing import count_facets, list_pictures
from registry_assets.look.open_registry import OpenRegistry
from registry_assets.look.picture import show_picture
from registry_assets.look.queries import BadRequestError
from registry_assets.look.thresholds import try_thresholds
from tests.conftest import run
from tests.curation.asked import DATASET, count_made

TRIED = {"dark_image_threshold": 70, "day_night_image_threshold": 140, "fog_image_threshold": 300}


@pytest.fixture
def copy(demo: Path, tmp_path: Path) -> Path:
    """A copy of the demo registry, to be changed."""
    root = tmp_path / "registry"
    run(tmp_path, "cp", "-a", str(demo), str(root))
    return root


def try_out(root: Path, values: dict[str, Any]) -> Any:
    query = {"source": DATASET, "values": json.dumps(values)}
    return try_thresholds(OpenRegistry(root), query)


def write_params(root: Path, values: dict[str, Any]) -> None:
    place = root / DATASET / "params.yaml"
    text = place.read_text()
    for name, value in values.items():
        text = re.sub(rf"^{name}: .*$", f"{name}: {value}", text, flags=re.MULTILINE)
    place.write_text(text)


def test_counts_are_what_materializing_then_makes(copy: Path) -> None:
    before = count_made(copy)
    tried = try_out(copy, TRIED)
    write_params(copy, TRIED)
    pending = list_pictures(OpenRegistry(copy), {"source": DATASET})
    run(copy, "registry", "materialize")
    after = count_made(copy)

    counts = tried["counts"]
    classes = {name: count for name, count in counts.items() if "/" in name}
    assert {name: was for name, (was, _) in classes.items() if was} == before
    assert {name: now for name, (_, now) in classes.items() if now} == after
    assert before != after
    changes = tried["changes"]
    assert changes["in"] - changes["out"] == after.total() - before.total()
    assert len(tried["rows"]) == sum(changes.values())
    waiting = [(row["collection"], row["path"]) for row in pending["rows"] if row["pending"]]
    assert sorted(waiting) == sorted((row["collection"], row["path"]) for row in tried["rows"])
    now = list_pictures(OpenRegistry(copy), {"source": DATASET})
    assert not any(row["pending"] for row in now["rows"])


def test_pictures_nearest_to_the_threshold_come_first(demo: Path) -> None:
    rows = try_out(demo, {"day_night_image_threshold": 160})["rows"]

    assert len(rows) > 2
    distances = [row["distance"] for row in rows]
    assert distances == sorted(distances)
    assert all(row["distance"] == pytest.approx(160 - row["brightness"]) for row in rows)
    assert {(row["before"][:3], row["after"][:5]) for row in rows} == {("day", "night")}


def test_collections_add_up(demo: Path) -> None:
    tried = try_out(demo, TRIED)

    for kind, count in tried["changes"].items():
        assert sum(item[kind] for item in tried["by_collection"]) == count


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ('{"dark_image_threshold": 220}', "has to be less than"),
        ('{"dark_image_threshold": "x"}', "is not a number"),
        ('{"dark_image_threshold": NaN}', "finite"),
        ('{"frames_per_second": 3}', "no threshold frames_per_second"),
        ("7", "is not a number"),
        (f'{{"dark_image_threshold": {10**400}}}', "is not a number"),
    ],
)
def test_values_that_make_no_sense_are_refused(demo: Path, values: str, said: str) -> None:
    with pytest.raises(BadRequestError, match=said):
        try_thresholds(OpenRegistry(demo), {"source": DATASET, "values": values})


def test_a_raw_collection_is_a_gallery_without_verdicts(demo: Path) -> None:
    source = "raw/02_data_collection_20_oct_2021"

    found = list_pictures(OpenRegistry(demo), {"source": source})

    assert "coffee.jpg" in {row["path"] for row in found["rows"]}
    assert all(row["here"] and row["md5"] and row["outcome"] == "kept" for row in found["rows"])
    tried = try_thresholds(OpenRegistry(demo), {"source": source})
    assert tried["parameters"] == []


def test_windows_are_parts_of_one_sorted_list(demo: Path) -> None:
    opened = OpenRegistry(demo)
    query = {"source": DATASET, "sort": "brightness", "descending": "1"}

    whole = list_pictures(opened, {**query, "limit": "500"})
    parts = [
        row
        for offset in range(0, whole["count"], 7)
        for row in list_pictures(opened, {**query, "offset": str(offset), "limit": "7"})["rows"]
    ]

    assert parts == whole["rows"]
    measured = [row["brightness"] for row in parts if row["brightness"] is not None]
    assert measured == sorted(measured, reverse=True)
    assert parts[len(measured) :] == [row for row in parts if row["brightness"] is None]


def test_facets_add_up_to_what_is_shown(demo: Path) -> None:
    found = count_facets(OpenRegistry(demo), {"source": DATASET})

    for name, values in found["facets"].items():
        assert sum(item["count"] for item in values) == found["count"], name


def test_a_picture_comes_with_verdicts_trace_and_versions(demo: Path) -> None:
    query = {
        "source": DATASET,
        "collection": "02_data_collection_20_oct_2021",
        "path": "sunset.jpg",
    }

    found = show_picture(OpenRegistry(demo), query)

    assert found["reason"] == "too bright"
    assert any("bright_image_threshold" in line for line in found["why"])
    assert any(
        line.endswith("raw/02_data_collection_20_oct_2021/sunset.jpg") for line in found["trace"]
    )
    held = {name: item["outputs"] for item in found["versions"] for name in item["names"]}
    assert f"{DATASET}/data/inputs/02_data_collection_20_oct_2021" in held["the work tree"]
    assert any(name.startswith("refs/") or "main" in name or "master" in name for name in held)


def test_a_picture_that_is_gone_is_said_so(demo: Path) -> None:
    with pytest.raises(NotFoundError, match="reload the page"):
        show_picture(OpenRegistry(demo), {"source": DATASET, "collection": "x", "path": "../x"})
