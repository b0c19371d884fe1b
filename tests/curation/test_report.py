"""`registry report`, and the other places where its table stands."""

from __future__ import annotations

import base64
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from dagster import AssetKey, TableMetadataValue
from PIL import Image

from registry_assets.curation import left_out_page
from registry_assets.curation.left_out import build_rows, format_table, read_counts
from registry_assets.images import read_measurements
from registry_assets.orchestration.history.opening import open_history
from scripts.json_reference import PRINTED
from tests.conftest import commit_all, lineage_of, run
from tests.curation.asked import DATASET, FIRST, registry, said
from tests.images.drawing import save
from tests.test_json_reference import check

DATA = f"{DATASET}/data/intermediate"
DARK, GOOD = "camera_mountain/IMG_2100.jpg", "camera_lake/IMG_0800.jpg"


def reported(root: Path) -> dict[str, Any]:
    found = json.loads(said(root, "report", "01_image_dataset", "--json"))
    check(found, PRINTED["report"])
    (counts,) = found
    return dict(counts)


def files_in(folder: Path) -> int:
    return sum(place.is_file() and place.name != ".gitignore" for place in folder.rglob("*"))


def test_the_numbers_are_those_of_the_outputs_and_the_tables(demo: Path) -> None:
    counts = reported(demo)
    for part in (*counts["collections"], counts["total"]):
        name = part["collection"] or "*"
        rows = [
            row
            for table in demo.glob(f"{DATA}/measure_images/{name}/measurements.csv")
            for row in read_measurements(table)
        ]
        kept = sum(map(files_in, demo.glob(f"{DATA}/remove_dark_and_bright_images/{name}")))
        assert (part["kept"], part["left_out"]) == (kept, len(rows) - kept)
        for label, number in part["classes"].items():
            light, sight = label.split("/")
            folders = demo.glob(f"{DATASET}/data/outputs/{light}_images/{sight}/{name}")
            assert sum(map(files_in, folders)) == number
        unreadable = Counter(row.reason for row in rows if row.reason)
        told = {
            **{kind: n for kind, n in part["reasons"].items() if kind not in part["details"]},
            **{reason: n for found in part["details"].values() for reason, n in found.items()},
        }
        assert {r: n for r, n in told.items() if not r.startswith("too ")} == unreadable
        assert sum(part["reasons"].values()) == part["left_out"]
        assert part["pending"] == 0
    assert counts["unmeasured"] == []


def test_reasons_are_grouped_by_what_stands_before_the_colon(demo: Path) -> None:
    counts = read_counts(lineage_of(demo), lineage_of(demo).registry.dataset("01_image_dataset"))
    rows = build_rows(counts)
    at = [row.name for row in rows].index("corrupt")
    assert (rows[at].kind, rows[at].counts, rows[at].total) == ("reason", (1, 2), 3)
    details = [row for row in rows[at + 1 : at + 4] if row.kind == "detail"]
    assert sum(row.total for row in details) == 3
    assert all(row.name.startswith("corrupt: ") for row in details)


def test_the_text_has_every_number_and_stays_narrow_with_many_collections(root: Path) -> None:
    wide = said(root, "report")
    assert wide.splitlines()[0] == DATASET
    assert re.search(r"too dark +1 +1 +2\n", wide)
    names = [f"{number + 10}_a_collection_with_a_long_name" for number in range(12)]
    for name in names:
        save(root / "raw" / name / "x.png")
    chosen = [argument for name in names for argument in ("--collection", name)]
    said(root, "materialize", "--select", 'key:"raw" or key:"*/data/inputs"', *chosen)
    text = said(root, "report")
    assert "not measured: 10_a_collection" in text
    # What is counted: all else only follows from it.
    measured = 'key:"*/extract_frames" or key:"*/measure_images"'
    said(root, "materialize", "--select", measured)
    text = said(root, "report")
    # One row for each collection, one column for each reason, and the details below.
    assert re.search(r"10_a_collection_with_a_long_name +1 ", text)
    assert re.search(r"total +\d+ ", text)
    assert "pending: 12 files: run `registry materialize`\n" in text
    assert max(map(len, text.splitlines())) < 300
    page = (root / "page.html").resolve()
    said(root, "report", "--html", str(page))
    assert '<tr class="collection"><td>10_a_collection_with_a_long_name</td>' in page.read_text()
    assert "1  corrupt: premature end of data segment\n" in text


def test_decisions_and_what_is_pending_are_counted(root: Path) -> None:
    said(root, "deny", f"raw/{FIRST}/{GOOD}", "--why", "a thumb")
    said(root, "allow", f"raw/{FIRST}/{DARK}", "--why", "stars")
    counts = reported(root)
    assert counts["collections"][0]["decisions"] == {"allowed": 1, "denied": 1, "duplicate": 0}
    assert [part["pending"] for part in counts["collections"]] == [2, 0]
    text = said(root, "report")
    assert f"pending: 2 files: run `registry materialize --collection {FIRST}`\n" in text
    said(root, "materialize", "--collection", FIRST)
    assert reported(root)["total"]["pending"] == 0


def test_the_first_pictures_of_a_class_are_pending_too(root: Path) -> None:
    place = root / DATASET / "params.yaml"
    text = place.read_text()
    place.write_text(text.replace("fog_image_threshold: 500", "fog_image_threshold: 0"))
    said(root, "materialize")
    assert "day/foggy" not in reported(root)["total"]["classes"]
    place.write_text(text)
    counts = reported(root)["total"]
    assert counts["pending"] == counts["classes"]["day/foggy"] + counts["classes"]["night/foggy"]
    assert counts["pending"] == 5


def test_an_output_whose_listing_is_not_here_is_named_and_nothing_in_it_is_pending(
    root: Path,
) -> None:
    lineage = lineage_of(root)
    path = f"{DATASET}/data/outputs/day_images/sharp/{FIRST}"
    version = lineage.nodes[path].version
    assert version is not None
    (root / ".dvc/cache/files/md5" / version.md5[:2] / version.md5[2:]).unlink()
    counts = reported(root)
    assert (counts["total"]["pending"], counts["unread"]) == (0, [path])
    assert f"the listing of {path} is not in the cache" in said(root, "report")
    done = registry(root, "why", f"{FIRST}/camera_lake/IMG_1200.jpg")
    assert done.exit_code == 1
    assert "pending" not in done.stdout
    assert "incomplete" in done.stderr


def test_a_data_set_without_measures_says_so(materialized_registry: Path) -> None:
    assert "no table of measurements" in said(materialized_registry, "report", "texts")
    assert "no data set has tables of measurements" in said(materialized_registry, "report")
    assert json.loads(said(materialized_registry, "report", "--json")) == []


class Page(HTMLParser):
    """The tags of a page, the pictures in it and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.addresses: list[str] = []
        self.pictures: dict[str, bytes] = {}
        self.said = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        found = dict(attrs)
        assert not [name for name in found if name.startswith("on")]
        self.addresses += [str(found[name]) for name in ("src", "href") if name in found]
        if tag == "img":
            data = str(found["src"]).removeprefix("data:image/webp;base64,")
            self.pictures[str(found["alt"])] = base64.b64decode(data)

    def handle_data(self, data: str) -> None:
        self.said += data


def write_page(root: Path) -> Page:
    said(root, "report", "--html", str(root / "out" / "page.html"))
    return Page((root / "out" / "page.html").read_text(encoding="utf-8"))


def test_the_page_shows_what_is_left_out_and_asks_nobody_for_anything(root: Path) -> None:
    page = write_page(root)
    assert {DARK, "camera_lake/IMG_1330.jpg", "sunset.jpg"} < set(page.pictures)
    assert len(page.pictures) == 4
    for data in page.pictures.values():
        with Image.open(io.BytesIO(data)) as image:
            assert image.format == "WEBP"
            assert max(image.size) <= 160
            assert not image.getexif()
    assert not page.tags.keys() & {"script", "link", "iframe", "object", "form", "base"}
    assert all(address.startswith("data:image/webp;base64,") for address in page.addresses)
    assert "camera_lake/IMG_2100.jpg" in page.said
    assert "premature end of data segment" in page.said
    assert "mean brightness 11.6 ≤ 20" in page.said


def test_names_on_the_page_are_text(root: Path) -> None:
    name = "</p><script>alert(1)</script><img src=x onerror=alert(1)>.png".replace("/", "∕")
    save(root / "raw/03_new" / name, Image.new("RGB", (40, 30)))
    said(root, "materialize", "--collection", "03_new")
    page = write_page(root)
    assert name in page.pictures
    assert name in page.said
    assert page.tags["script"] == 0


def test_the_page_stays_small_and_says_how_many_are_not_shown(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        save(
            root / "raw/03_dark" / f"{number:02}.png",
            Image.new("RGB", (40, 30), (number % 20,) * 3),
        )
    said(root, "materialize", "--collection", "03_dark")
    page = write_page(root)
    assert "03_dark: 40 files, 16 of them not shown" in page.said
    assert len([name for name in page.pictures if re.fullmatch(r"\d\d\.png", name)]) == 24
    monkeypatch.setattr(left_out_page, "_MOST_SHOWN", 10)
    page = write_page(root)
    assert len(page.pictures) <= 10
    assert "more in other collections not shown" in page.said


def test_a_picture_that_is_not_in_the_cache_is_named(root: Path) -> None:
    md5 = next(
        row.md5
        for row in read_measurements(root / f"{DATA}/measure_images/{FIRST}/measurements.csv")
        if row.path == DARK
    )
    place = next(root.glob(f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}"))
    place.unlink()
    page = write_page(root)
    assert DARK not in page.pictures
    assert "not in the cache of this machine" in page.said


def told(root: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The metadata of the newest materialization of the stages with verdicts, by stage."""
    with open_history(root) as history:
        for stage in ("measure_images", "remove_corrupted_images", "remove_dark_and_bright_images"):
            key = AssetKey([*DATA.split("/"), stage])
            for record in history.fetch_materializations(key, limit=10).records:
                event = record.asset_materialization
                assert event is not None
                if event.partition == FIRST:
                    yield stage, dict(event.metadata)
                    break


def test_dagster_shows_the_same_table_of_each_stage(root: Path) -> None:
    found = dict(told(root))
    counts = reported(root)["collections"][0]
    for stage, metadata in found.items():
        table = metadata["images/reasons"]
        assert isinstance(table, TableMetadataValue)
        rows = {str(r.data["what"]): int(str(r.data["files"])) for r in table.records}
        kept = files_in(root / DATA / stage / FIRST) if stage != "measure_images" else None
        assert kept in (None, rows["kept"])
        assert rows["kept"] == metadata["images/kept"].value
        assert rows["corrupt: premature end of data segment"] == 1
        assert ("too dark" in rows) == (stage == "remove_dark_and_bright_images")
    last = found["remove_dark_and_bright_images"]
    assert last["images/kept"].value == counts["kept"]
    assert last["images/left_out"].value == counts["left_out"]


def test_the_demo_prints_the_table(root: Path) -> None:
    printed = said(root, "demo")
    lineage = lineage_of(root)
    counts = read_counts(lineage, lineage.registry.dataset("01_image_dataset"))
    for line in format_table(counts):
        assert f"  {line}\n" in printed


def test_a_publication_says_what_is_kept_and_left_out_and_what_changed(
    root: Path, tmp_path: Path
) -> None:
    run(tmp_path, "git", "init", "--quiet", "--bare", "origin.git")
    run(root, "git", "remote", "add", "origin", str(tmp_path / "origin.git"))
    commit_all(root)
    run(root, "git", "push", "--quiet", "-u", "origin", "HEAD")
    place = root / DATASET / "params.yaml"
    place.write_text(
        place.read_text().replace("dark_image_threshold: 20", "dark_image_threshold: 5")
    )
    said(root, "materialize")
    printed = said(root, "publish", "--dry-run")
    assert "## Kept and left out" in printed
    line = next(line for line in printed.splitlines() if line.startswith(f"- {DATASET}: "))
    assert re.search(r": 22 kept \(\+2\), 9 left out \(-2\): 3 corrupt, .*2 too bright", line)
    assert "0 too dark (-2)" in line
