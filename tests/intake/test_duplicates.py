"""Pictures that several collections have: found, said on arrival, and warned of."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from dagster import AssetCheckKey, AssetKey, DagsterInstance
from PIL import Image

from registry_assets.cli import main
from registry_assets.curation.duplicates import find_duplicates
from registry_assets.dvc_repo.listings import Listings, build_listing, hash_listing
from registry_assets.model import EMPTY_MD5
from registry_assets.orchestration.assets import select_keys
from registry_assets.orchestration.checks import NO_DUPLICATES, report_checks
from registry_assets.orchestration.history.opening import open_history
from tests.conftest import lineage_of, run, write_tree
from tests.runs import define_assets, execute, plan_runs

MEASURE = """\
vars:
  - collections.yaml
stages:
  measure:
    foreach: ${collections}
    do:
      cmd: python measure.py data/inputs/${item} data/measure/${item}
      deps:
        - data/inputs/${item}
      outs:
        - data/measure/${item}
"""

PROGRAM = """\
import pathlib, sys
from registry_assets.images import measure_collection, write_measurements
source, target = map(pathlib.Path, sys.argv[1:])
target.mkdir(parents=True)
write_measurements(target / "measurements.csv", measure_collection(source))
"""


def picture(place: Path, seed: int, size: int = 128) -> None:
    """A smooth picture of its own, which is the same picture at any size."""
    place.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6), np.uint8)
    image = Image.fromarray(coarse).resize((128, 128), Image.Resampling.BICUBIC)
    image.resize((size, size)).save(place)


@pytest.fixture
def root(text_registry: Path) -> Path:
    """A registry with three collections: the second has a copy, the third a smaller picture."""
    shutil.rmtree(text_registry / "raw/01_a")
    shutil.rmtree(text_registry / "raw/02_b")
    write_tree(text_registry / "processed/texts", {"dvc.yaml": MEASURE, "measure.py": PROGRAM})
    raw = text_registry / "raw"
    for seed in range(3):
        picture(raw / f"01_a/{seed}.png", seed)
    shutil.copytree(raw / "01_a", raw / "02_b/deep")
    (raw / "02_b/deep/2.png").unlink()
    picture(raw / "02_b/own.png", 9)
    picture(raw / "03_c/small.jpg", 9, 96)
    for name in ("01_a/empty.txt", "03_c/empty.txt"):
        (raw / name).touch()
    return text_registry


def listed(root: Path, *arguments: str) -> list[tuple[str, str, int | None]]:
    done = CliRunner().invoke(main, ["--root", str(root), "duplicates", "--json", *arguments])
    found = json.loads(done.stdout)
    assert done.exit_code == (1 if found else 0)
    return [
        (f"{d['collection']}/{d['path']}", f"{d['other']}/{d['other_path']}", d["distance"])
        for d in found
    ]


def metadata_of(instance: DagsterInstance, key: str, partition: str) -> Mapping[str, Any]:
    records = instance.fetch_materializations(AssetKey(key.split("/")), limit=100).records
    (event,) = (r.asset_materialization for r in records if r.partition_key == partition)
    assert event is not None
    return {name: value.value for name, value in event.metadata.items()}


def test_what_others_have_is_said_on_arrival_listed_and_warned_of(root: Path) -> None:
    run(root, "dvc", "add", "--quiet", "raw/01_a")
    assert listed(root) == []
    with open_history(root) as instance:
        for name in ("02_b", "03_c"):
            lineage = lineage_of(root)
            definitions = define_assets(lineage)
            for planned in plan_runs(lineage, select_keys(lineage, None), [name]):
                assert not execute(definitions, instance, planned, force=False, tags={}).failures
        arrived = metadata_of(instance, "raw", "02_b")
        assert arrived["duplicates/files"] == 2
        assert arrived["duplicates/examples"].records[0].data["other file"] == "0.png"
        # By content there is nothing; the table of measurements tells more.
        assert metadata_of(instance, "raw", "03_c")["duplicates/files"] == 0
        measured = metadata_of(instance, "processed/texts/data/measure", "03_c")
        assert measured["duplicates/files"] == 1
        report_checks(lineage_of(root), instance)
        key = AssetCheckKey(AssetKey("raw"), NO_DUPLICATES)
        check = instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
        assert check.evaluation is not None
        assert not check.evaluation.passed  # type: ignore[union-attr]

    same = [("02_b/deep/0.png", "01_a/0.png", None), ("02_b/deep/1.png", "01_a/1.png", None)]
    assert listed(root) == listed(root, "02_b") == same
    assert listed(root, "01_a") == [(other, mine, None) for mine, other, _ in same]
    assert listed(root, "03_c") == []
    ((mine, other, distance),) = listed(root, "03_c", "--distance", "5")
    assert (mine, other) == ("03_c/small.jpg", "02_b/own.png")
    assert distance is not None
    assert len(listed(root, "--distance", "5")) == 3


def test_notes_of_what_was_set_aside_are_nobodys_picture(text_registry: Path) -> None:
    raw = text_registry / "raw"
    for place in (raw / "03_c/a", raw / "03_c/b", raw / "04_d"):
        picture(place / "own.png", len(place.parts))
        (place / "x.jpg").symlink_to("/nowhere")
        (place / ".dvcignore").write_text("*.txt\n")
    for name in ("03_c", "04_d"):
        done = CliRunner().invoke(main, ["--root", str(text_registry), "add", name])
        assert done.exit_code == 0, done.output
        assert "set aside" in done.output
        assert ("registry duplicates" in done.output) == (name == "03_c")
    assert listed(text_registry) == [("03_c/b/own.png", "03_c/a/own.png", None)]


@pytest.mark.parametrize("seed", range(20))
def test_what_is_found_is_what_comparing_each_with_each_finds(
    text_registry: Path, tmp_path: Path, seed: int
) -> None:
    random = Random(seed)
    lineage, listings = lineage_of(text_registry), Listings([tmp_path / "cache"])
    collections = {
        f"c{number}": {
            f'{n} "md5" é.jpg': f"{random.randrange(60):032x}" for n in range(random.randrange(12))
        }
        for number in range(6)
    }
    collections["c3"]["empty"] = collections["c4"]["empty"] = EMPTY_MD5
    versions = {}
    for name, files in collections.items():
        listing = build_listing(files.items())
        if name == "c5":
            # As valid, but not in the form that DVC writes.
            listing = json.dumps(json.loads(listing), indent=1).encode()
        versions[name] = hash_listing(listing)
        if name != "c2":
            place = tmp_path / "cache" / versions[name][:2] / versions[name][2:]
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(listing)
    del collections["c2"]
    for within in (False, True):
        for asked in (None, ["c4"], ["c1", "c5"]):
            found = find_duplicates(lineage, listings, asked, versions=versions, within=within)
            mine = {(d.collection, collections[d.collection][d.path], d.other) for d in found.found}
            assert mine == set(_compared(collections, asked, within=within))
            assert "c2" in found.unread


def _compared(
    collections: Mapping[str, Mapping[str, str]], asked: list[str] | None, *, within: bool
) -> Iterator[tuple[str, str, str]]:
    for one, other in product(collections, collections):
        mine, theirs = list(collections[one].values()), list(collections[other].values())
        for md5 in set(mine) & set(theirs) - {EMPTY_MD5}:
            if one == other:
                is_meant = within and (asked is None or one in asked) and mine.count(md5) > 1
            else:
                is_meant = one > other if asked is None else one in asked
            if is_meant:
                yield one, md5, other


def test_what_a_collection_has_twice_is_listed_and_no_warning(root: Path) -> None:
    raw = root / "raw"
    for name in ("02_b", "03_c"):
        shutil.rmtree(raw / name)
    shutil.copy(raw / "01_a/0.png", raw / "01_a/9_again.png")
    picture(raw / "01_a/8_small.jpg", 1, 96)
    with open_history(root) as instance:
        lineage = lineage_of(root)
        definitions = define_assets(lineage)
        for planned in plan_runs(lineage, select_keys(lineage, None), ["01_a"]):
            assert not execute(definitions, instance, planned, force=False, tags={}).failures
        assert metadata_of(instance, "raw", "01_a")["duplicates/files"] == 0
    same = ("01_a/9_again.png", "01_a/0.png", None)
    assert listed(root) == listed(root, "01_a") == [same]
    alike, again = listed(root, "--distance", "5")
    assert alike[:2] == ("01_a/8_small.jpg", "01_a/1.png")
    assert again == same
    done = CliRunner().invoke(main, ["--root", str(root), "duplicates", "--distance", "5"])
    assert "01_a: 1 the same, 1 alike" in done.stdout
    # A table of a version that measured no thumbnails cannot tell.
    table = root / "processed/texts/data/measure/01_a/measurements.csv"
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    table.unlink()
    with table.open("w", newline="") as file:
        columns = [name for name in rows[0] if name != "thumbnail"]
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    assert listed(root, "--distance", "5") == [same]
    done = CliRunner().invoke(main, ["--root", str(root), "duplicates", "--distance", "5"])
    assert "no table of measurements for 01_a" in done.stderr
