"""`registry export`: folders that other programs read, of the work tree and of versions."""

from __future__ import annotations

import csv
import json
import os
import resource
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet
import pytest
from PIL import Image

from registry_assets.curation.exporting import export_dataset
from registry_assets.images.contents import hash_file
from registry_assets.images.measurements import COLUMNS, read_measurements
from tests.conftest import commit_all, lineage_of, run, write_tree
from tests.curation.asked import DATASET, FIRST, SECOND, registry, said
from tests.images.drawing import noise, save

DARK, GOOD = "camera_mountain/IMG_2100.jpg", "camera_lake/IMG_0800.jpg"
CLASSES = ["day_foggy", "day_sharp", "night_foggy", "night_sharp"]


def export(root: Path, *options: str) -> Path:
    place = root.parent / "out"
    said(root, "export", "01_image_dataset", "--to", str(place), *options)
    return place


def refused(root: Path, *options: str) -> str:
    """Why an export fails; it leaves nothing."""
    place = root.parent / "refused"
    before = set(root.parent.iterdir())
    done = registry(root, "export", "01_image_dataset", "--to", str(place), *options)
    assert done.exit_code == 1, done.output
    assert set(root.parent.iterdir()) == before
    return done.stderr


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def contents(root: Path) -> dict[str, list[str]]:
    """The md5s of the pictures in the outputs, by class."""
    found: dict[str, list[str]] = {}
    for label in CLASSES:
        light, sight = label.split("_")
        folder = root / DATASET / f"data/outputs/{light}_images/{sight}"
        files = (place for place in folder.rglob("*") if place.is_file())
        found[label] = sorted(hash_file(place) for place in files if place.name != ".gitignore")
    return found


def exported(place: Path) -> dict[str, list[str]]:
    return {label: sorted(map(hash_file, (place / "train" / label).iterdir())) for label in CLASSES}


def test_an_imagefolder_has_every_picture_in_its_class_with_metadata_beside(root: Path) -> None:
    place = export(root)
    assert exported(place) == contents(root)
    rows = rows_of(place / "train" / "metadata.csv")
    listed = {row["file_name"]: row for row in rows}
    found = {
        path.relative_to(place / "train").as_posix(): path for path in (place / "train").glob("*/*")
    }
    assert listed.keys() == found.keys()
    assert len(rows) == len(listed) == 20
    for name, row in listed.items():
        assert row["label"] == name.split("/")[0]
        assert row["md5"] == hash_file(found[name])
    good = listed[f"day_foggy/{FIRST}__camera_lake__IMG_0800.jpg"]
    assert (good["collection"], good["path"]) == (FIRST, GOOD)
    measured = next(
        row
        for row in read_measurements(
            root / DATASET / f"data/intermediate/measure_images/{FIRST}/measurements.csv"
        )
        if row.path == GOOD
    )
    assert float(good["mean_brightness"]) == measured.mean_brightness
    # Where types are inferred from the first rows, a column without a value has none.
    assert all(any(row[name] for row in rows) for name in rows[0])


def test_tables_have_all_files_with_verdicts_and_every_column_of_the_measurements(
    root: Path,
) -> None:
    said(root, "deny", f"raw/{FIRST}/{GOOD}", "--why", "a thumb")
    place = export(root, "--as", "csv")
    rows = {(row["collection"], row["path"]): row for row in rows_of(place / "table.csv")}
    assert len(rows) == 31
    dark, good = rows[FIRST, DARK], rows[FIRST, GOOD]
    assert (dark["outcome"], dark["stage"]) == ("too dark", "remove_dark_and_bright_images")
    assert (good["decision"], good["decided_by"]) == ("deny", "Ada <ada@example.org>")
    assert (good["decided_why"], good["pending"]) == ("a thumb", "true")
    assert good["output"] == "day_images/foggy"
    assert rows[FIRST, "notes.txt"]["filepath"] == ""
    assert rows[SECOND, "city.mp4"]["filepath"] == ""
    assert {*COLUMNS} - {"readable", "thumbnail"} <= rows[FIRST, DARK].keys()
    for row in rows.values():
        if row["filepath"]:
            assert row["filepath"] == str(place / row["file_name"])
            assert hash_file(row["filepath"]) == row["md5"]
    assert sum(bool(row["filepath"]) for row in rows.values()) == 29


def test_parquet_has_the_same_with_types(root: Path) -> None:
    place = export(root, "--as", "parquet")
    table = pyarrow.parquet.read_table(place / "table.parquet")
    shutil.rmtree(place)
    rows = rows_of(export(root, "--as", "csv") / "table.csv")
    assert table.column_names == list(rows[0])
    types = {name: str(table.schema.field(name).type) for name in table.column_names}
    assert types["mean_brightness"] == "double"
    assert types["width"] == types["frame"] == "int64"
    assert types["pending"] == "bool"
    for row, typed in zip(rows, table.to_pylist(), strict=True):
        for name, text in row.items():
            value = typed[name]
            if isinstance(value, bool):
                assert text == str(value).lower(), name
            elif isinstance(value, float):
                assert float(text) == value, name
            else:
                assert text == ("" if value is None else str(value)), name


def test_parquet_without_pyarrow_names_the_extra(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "pyarrow"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    why = refused(root, "--as", "parquet")
    assert "pip install 'registry-assets[export]'" in why


def objects(root: Path) -> dict[int, Path]:
    """The objects of the cache by inode."""
    return {
        place.stat().st_ino: place
        for place in (root / ".dvc/cache/files/md5").rglob("*")
        if place.is_file()
    }


def test_files_are_read_only_links_as_cache_type_says_or_copies(root: Path) -> None:
    there = objects(root)
    run(root, "dvc", "config", "--local", "cache.type", "hardlink,copy")
    linked = [place for place in (export(root) / "train").glob("*/*") if place.stat().st_size]
    # Of a file system with reflinks, these come first; they share nothing with the cache.
    if any(place.stat().st_ino in there for place in linked):
        assert all(place.stat().st_ino in there for place in linked)
        assert all(place.stat().st_mode & 0o222 == 0 for place in linked)
    shutil.rmtree(root.parent / "out")
    for options, kind in ((("--copy",), "hardlink,copy"), ((), "copy"), ((), "symlink")):
        run(root, "dvc", "config", "--local", "cache.type", kind)
        copied = list((export(root, *options) / "train").glob("*/*"))
        for place in copied:
            assert not place.is_symlink()
            assert place.stat().st_ino not in there
            assert os.access(place, os.W_OK)
        shutil.rmtree(root.parent / "out")


def test_the_user_is_told_when_files_are_shared_with_the_cache(root: Path) -> None:
    place = root.parent / "out"
    text = said(root, "export", "01_image_dataset", "--to", str(place))
    is_shared = any(found.stat().st_nlink > 1 for found in (place / "train").glob("*/*"))
    assert ("copy a file before editing it" in text) == is_shared
    assert "exported 20 pictures" in text
    assert "8  day/sharp" in text


def test_a_version_has_its_own_files_thresholds_and_decisions(root: Path) -> None:
    run(root, "git", "tag", "01_image_dataset/v1")
    before = contents(root)
    said(root, "deny", f"raw/{FIRST}/{GOOD}", "--why", "a thumb")
    params = root / DATASET / "params.yaml"
    params.write_text(
        params.read_text().replace("dark_image_threshold: 20", "dark_image_threshold: 5")
    )
    said(root, "materialize")
    assert contents(root) != before
    commit_all(root)
    place = export(root, "--version", "v1")
    assert exported(place) == before
    shutil.rmtree(place)
    rows = rows_of(export(root, "--version", "HEAD~1", "--as", "csv") / "table.csv")
    found = {(row["collection"], row["path"]): row for row in rows}
    assert (found[FIRST, DARK]["outcome"], found[FIRST, GOOD]["decision"]) == ("too dark", "")
    assert run(root, "git", "status", "--porcelain") == ""
    assert json.loads(run(root, "dvc", "status", "--json")) == {}
    assert "there is no commit, branch or tag v9" in refused(root, "--version", "v9")


def test_what_only_the_remote_has_is_fetched_also_for_a_version(root: Path) -> None:
    run(root, "dvc", "push", "--quiet")
    commit_all(root)
    before = contents(root)
    shutil.rmtree(root / ".dvc/cache")
    shutil.rmtree(root / DATASET / "data")
    place = export(root, "--version", "HEAD")
    assert exported(place) == before


def test_what_nobody_has_is_an_error_with_the_command(root: Path) -> None:
    row = next(
        row
        for row in read_measurements(
            root / DATASET / f"data/intermediate/measure_images/{FIRST}/measurements.csv"
        )
        if row.path == GOOD
    )
    for folder in (".dvc/cache", ".dvc/storage"):
        for place in root.glob(f"{folder}/files/md5/{row.md5[:2]}/{row.md5[2:]}"):
            place.unlink()
    why = refused(root)
    assert f"{FIRST}/{GOOD}" in why
    assert f"`dvc fetch -R {DATASET}`" in why


def test_outputs_that_are_not_up_to_date_are_refused_where_classes_count(root: Path) -> None:
    said(root, "deny", f"raw/{FIRST}/{GOOD}", "--why", "a thumb")
    assert "1 file would end up elsewhere" in refused(root)
    said(root, "materialize")
    assert len(rows_of(export(root) / "train" / "metadata.csv")) == 19


def test_a_folder_with_files_and_one_in_the_registry_are_refused(root: Path) -> None:
    place = root.parent / "out"
    write_tree(place, {"mine.txt": "mine"})
    done = registry(root, "export", "01_image_dataset", "--to", str(place))
    assert done.exit_code == 1
    assert "has files already" in done.stderr
    assert [path.name for path in place.iterdir()] == ["mine.txt"]
    for inside in ("raw/03_new", f"{DATASET}/data/outputs/new", ".dvc/new"):
        done = registry(root, "export", "01_image_dataset", "--to", str(root / inside))
        assert done.exit_code == 1
        assert "is part of the registry" in done.stderr
        assert not (root / inside).exists()
    (place / "mine.txt").unlink()
    assert exported(export(root)) == contents(root)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Lets no file get larger, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_an_export_that_breaks_off_leaves_nothing(root: Path) -> None:
    save(root / "raw/03_new/large.png", noise(1200, 1200))
    said(root, "materialize", "--collection", "03_new")
    lineage, place = lineage_of(root), root.parent / "out"
    before = set(root.parent.iterdir())
    with files_of_at_most(3_000_000), pytest.raises(OSError, match="File too large"):
        export_dataset(
            lineage, "01_image_dataset", place, "imagefolder", may_hardlink=False, report=print
        )
    assert set(root.parent.iterdir()) == before


def test_hostile_names_stay_apart_and_inside_the_folder(root: Path) -> None:
    names = [
        *("a/b__c.png", "a__b/c.png", "A__b/C.PNG", "a_test.png", "val/x.png", "x::y.png"),
        *("no_suffix", "line\nbreak.png", f"{'l' * 220}.png", "é.png", "wrong.jpg"),
    ]
    for number, name in enumerate(names):
        place = root / "raw/03_new" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        grey = Image.effect_noise((64, 48), 100).point(lambda value, n=number: min(255, value + n))
        grey.convert("RGB").save(place, "PNG")
    said(root, "materialize", "--collection", "03_new")
    place = export(root)
    rows = [row for row in rows_of(place / "train/metadata.csv") if row["collection"] == "03_new"]
    assert len({row["file_name"].casefold() for row in rows}) == len(rows) == len(names)
    for row in rows:
        path = place / "train" / row["file_name"]
        assert hash_file(path) == row["md5"]
        # Its content, not its name, says what it is.
        assert path.suffix.lower() == ".png"
        assert len(path.name.encode()) < 255
        assert path.parent.parent == place / "train"
        assert not set(path.name) & set('/\\:*?"<>|\n')


def test_formats_that_take_a_plugin_are_passed_on_apart(root: Path) -> None:
    from pillow_heif import register_heif_opener

    register_heif_opener()
    save(root / "raw/03_new/one.heic")
    save(root / "raw/03_new/two.png")
    said(root, "materialize", "--collection", "03_new")
    place = root.parent / "out"
    text = said(root, "export", "01_image_dataset", "--to", str(place))
    (other,) = (found for found in (place / "other").rglob("*") if found.is_file())
    assert other.name == "03_new__one.heic"
    assert "1 picture in formats that Pillow reads with plugins only" in text
    names = [row["path"] for row in rows_of(place / "train/metadata.csv")]
    assert "two.png" in names
    assert "one.heic" not in names


PIPELINE = """\
stages:
  split:
    foreach: ${collections}
    do:
      cmd: >-
        mkdir -p data/outputs/a/${item} data/outputs/b/${item}
        && cp data/inputs/${item}/a* data/outputs/a/${item}
        && cp data/inputs/${item}/b* data/outputs/b/${item}
      deps:
        - data/inputs/${item}
      outs:
        - data/outputs/a/${item}
        - data/outputs/b/${item}
"""


def test_a_data_set_without_measures_is_exported_by_its_last_outputs(
    text_registry: Path,
) -> None:
    root = text_registry
    shutil.rmtree(root / "processed/texts")
    write_tree(
        root,
        {
            "processed/split/dvc.yaml": f"vars: [collections.yaml]\n{PIPELINE}",
            "processed/split/collections.yaml": "collections: []\n",
        },
    )
    for name in ("a1.png", "a2.png", "b1.png"):
        save(
            root / "raw/03_c" / name,
            Image.new("RGB", (8, 8), (len(name), ord(name[1]), ord(name[0]))),
        )
    said(root, "add", "03_c")
    said(root, "import", "03_c", "--into", "split")
    said(root, "materialize", "--collection", "03_c")
    said(root, "export", "split", "--to", str(root.parent / "out"))
    found = sorted(
        p.relative_to(root.parent / "out").as_posix() for p in (root.parent / "out").rglob("*.png")
    )
    assert found == ["train/a/03_c__a1.png", "train/a/03_c__a2.png", "train/b/03_c__b1.png"]
    rows = rows_of(root.parent / "out/train/metadata.csv")
    assert {row["label"] for row in rows} == {"a", "b"}
