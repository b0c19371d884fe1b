"""Duplicates and versions, as the page shows them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from registry_assets.curation.duplicate_groups import group_same
from tests.conftest import commit_all, copy_empty_repository, run
from tests.images.drawing import save
from tests.look.conftest import md5_of
from tests.look.served import Served, serving

DATASET = "processed/01_image_dataset"
ONE, OTHER = "01_data_collection_16_oct_2021", "02_data_collection_20_oct_2021"


@pytest.fixture(scope="module")
def registry(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo at two versions: in the second, a collection with copies, and other thresholds."""
    folder = tmp_path_factory.mktemp("versions")
    root = folder / "registry"
    run(folder, "cp", "-a", str(demo), str(root))
    run(root, "git", "tag", "01_image_dataset/v1")
    new = root / "raw/03_new"
    new.mkdir()
    source = next((root / "raw" / ONE).rglob("IMG_0800.jpg"))
    (new / "copy.jpg").write_bytes(source.read_bytes())
    (new / "again.jpg").write_bytes(source.read_bytes())
    with Image.open(source) as image:
        save(new / "smaller.jpg", image.convert("RGB").resize((300, 200)), quality=60)
    for name in ("plain_1.png", "plain_2.png"):
        save(new / name, Image.new("RGB", (30, 30), (120, int(name[6]), 0)))
    params = root / DATASET / "params.yaml"
    params.write_text(
        params.read_text().replace("night_image_threshold: 100", "night_image_threshold: 130")
    )
    run(root, "registry", "materialize", "--collection", "03_new")
    run(root, "registry", "materialize")
    commit_all(root, "Second")
    return root


@pytest.fixture(scope="module")
def served(registry: Path) -> Iterator[Served]:
    with serving(registry) as served:
        yield served.open()


def groups(served: Served, **query: str) -> Any:
    found = served.get("api/duplicates", source=DATASET, **query)
    assert found.status == 200, found
    return found.json


def places(group: Any) -> set[str]:
    return {f"{row['collection']}/{row['path']}" for row in group["pictures"]}


def test_the_same_content_is_a_group_across_and_within(served: Served) -> None:
    found = groups(served)
    same = [group for group in found["groups"] if group["kind"] == "same"]
    (copies,) = [group for group in same if "03_new/copy.jpg" in places(group)]
    assert copies["across"] is True
    assert {"03_new/copy.jpg", "03_new/again.jpg"} < places(copies)
    assert len({row["md5"] for row in copies["pictures"]}) == 1
    assert {row["distance"] for row in copies["pictures"]} == {0}
    assert found["unmeasured"] == []
    assert found["total"] == len(found["groups"])


def test_similar_pictures_are_a_group_with_their_distance(served: Served) -> None:
    alike = [group for group in groups(served)["groups"] if group["kind"] == "alike"]
    (found,) = [group for group in alike if "03_new/smaller.jpg" in places(group)]
    # Of those with the same content one stands for all.
    assert len({row["md5"] for row in found["pictures"]}) == len(found["pictures"]) == 2
    assert found["across"] is True
    assert found["pictures"][0]["distance"] == 0
    assert 0 <= found["pictures"][1]["distance"] <= 5
    assert not [group for group in groups(served)["groups"] if "plain" in str(places(group))]
    for distance in ("-1", "65", "x"):
        assert served.get("api/duplicates", source=DATASET, distance=distance).status == 400


def test_a_folder_without_measures_has_those_with_the_same_content(tmp_path: Path) -> None:
    root = copy_empty_repository(tmp_path / "registry")
    for name in ("a", "b"):
        save(root / f"photos/{name}.png", Image.new("RGB", (9, 9), "red"))
        (root / f"photos/{name}.jpg").write_bytes(b"")
    run(root, "dvc", "add", "--quiet", "photos")
    with serving(root) as served:
        found = served.open().get("api/duplicates", source="photos").json
    (group,) = found["groups"]
    assert [row["path"] for row in group["pictures"]] == ["a.png", "b.png"]
    assert (group["kind"], group["across"]) == ("same", False)


def test_files_of_unknown_content_are_no_duplicates() -> None:
    assert group_same([(("a", "1"), ""), (("a", "2"), "")]) == []


# --- versions -------------------------------------------------------------------------------------


def compare(served: Served, a: str, b: str, source: str = DATASET) -> Any:
    found = served.get("api/diff", source=source, a=a, b=b)
    assert found.status == 200, found
    return found.json


def named(rows: Any) -> set[str]:
    return {f"{row['collection']}/{row['path']}" for row in rows}


def test_what_came_and_moved_is_what_the_command_says(registry: Path, served: Served) -> None:
    found = compare(served, "v1", "")
    assert {"03_new/copy.jpg", "03_new/smaller.jpg"} <= named(found["came"])
    assert found["went"] == []
    assert {(row["from"], row["to"]) for row in found["moved"]} <= {
        ("day_images/sharp", "night_images/sharp"),
        ("day_images/foggy", "night_images/foggy"),
    }
    said = run(registry, "registry", "diff", "01_image_dataset/v1", "--dataset", "01_image_dataset")
    assert str(len(found["moved"])) in said
    changed = [item for item in found["reasons"] if item["kind"] == "parameter"]
    (reason,) = [item for item in changed if "day_night_image_threshold" in item["what"]]
    assert (reason["before"], reason["after"]) == (100, 130)
    assert {item["role"] for item in found["families"]} <= {"raw", "input", "end"}
    assert found["b"] == "the work tree"
    assert found["unread"] == []
    for row in (*found["came"], *found["moved"]):
        assert row["here"] is True
        place = next(
            (registry / DATASET / "data/outputs").rglob(f"{row['collection']}/{row['path']}")
        )
        assert row["md5"] == md5_of(place)


def test_the_other_way_round_it_went(served: Served) -> None:
    forth, back = compare(served, "v1", ""), compare(served, "", "v1")
    assert named(back["went"]) == named(forth["came"])
    assert named(back["moved"]) == named(forth["moved"])
    assert {(row["to"], row["from"]) for row in back["moved"]} == {
        (row["from"], row["to"]) for row in forth["moved"]
    }
    assert back["came"] == []


def test_pictures_that_only_an_earlier_version_has_are_shown_when_it_is_compared(
    demo: Path, tmp_path: Path
) -> None:
    root = tmp_path / "registry"
    run(tmp_path, "cp", "-a", str(demo), str(root))
    run(root, "git", "tag", "before")
    gone = next((root / "raw" / ONE).rglob("IMG_0800.jpg"))
    md5 = md5_of(gone)
    gone.unlink()
    run(root, "registry", "materialize", "--collection", ONE)
    with serving(root) as served:
        served.open()
        assert served.get(f"thumbnails/{md5}").json["absent"] == "unknown"
        found = compare(served, "before", "")
        assert md5 in {row["md5"] for row in found["went"]}
        assert served.get(f"thumbnails/{md5}").status == 200


def test_a_raw_collection_is_compared_too(served: Served) -> None:
    tag = "01_image_dataset/v1"
    found = compare(served, tag, "HEAD", "raw/03_new")
    assert "03_new/plain_1.png" in named(found["came"])
    assert compare(served, tag, "HEAD", f"raw/{ONE}")["came"] == []


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"source": DATASET, "a": "v1", "b": "v1"}, 400),
        ({"source": DATASET}, 400),
        ({"a": "v1"}, 400),
        ({"source": DATASET, "a": "v9"}, 404),
        ({"source": DATASET, "a": "--output=x"}, 404),
        ({"source": DATASET, "a": "a\0b"}, 404),
        ({"source": DATASET, "a": "HEAD", "b": "$(touch x)"}, 404),
    ],
    ids=str,
)
def test_an_unknown_version_is_named(served: Served, query: dict[str, str], status: int) -> None:
    found = served.get("api/diff", **query)
    assert (found.status, bool(found.json["error"])) == (status, True)
