"""The pictures of data sets with and without tables of measurements."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from registry_assets.curation.pictures import read_pictures
from registry_assets.curation.placement import read_placement
from registry_assets.dvc_repo import DvcRepo
from registry_assets.errors import NotFoundError, RegistryError
from registry_assets.look.gallery import Galleries
from registry_assets.look.places import find_source
from tests.conftest import lineage_of, run

PIPELINE = """\
stages:
  choose:
    cmd: mkdir -p chosen && cp data/pics/a*.png data/pics/b*.png chosen
    deps: [data/pics]
    outs: [chosen]
  shrink:
    cmd: mkdir -p small && cp chosen/a*.png small && cat chosen/a[12].png > small/made.png
    deps: [chosen]
    outs: [small]
"""


def build_plain_repository(root: Path) -> None:
    """A DVC repository without our settings, with one pipeline in its root."""
    pictures = root / "data" / "pics"
    pictures.mkdir(parents=True)
    for number, name in enumerate(("a1", "a2", "b1", "c1")):
        Image.new("RGB", (8, 6), (40 * number, 90, 10)).save(pictures / f"{name}.png")
    (pictures / "notes.txt").write_text("no picture\n")
    (root / "dvc.yaml").write_text(PIPELINE)
    for command in (
        ["git", "init", "-q"],
        ["dvc", "init", "-q"],
        ["dvc", "add", "-q", "data/pics"],
    ):
        run(root, *command)
    run(root, "dvc", "repro", "-q")


def test_a_plain_pipeline_shows_what_each_stage_left_out(tmp_path: Path) -> None:
    build_plain_repository(tmp_path)
    gallery = Galleries(lineage_of(tmp_path), DvcRepo(tmp_path).listings()).open("")

    rows = [gallery.row(number) for number in range(len(gallery.pictures.columns))]
    assert {(row["path"], row["outcome"], row["class"], row["stage"]) for row in rows} == {
        ("a1.png", "kept", "small", ""),
        ("a2.png", "kept", "small", ""),
        ("made.png", "kept", "small", ""),
        ("b1.png", "left out", "", "shrink"),
        ("c1.png", "left out", "", "choose"),
    }
    assert all(row["here"] for row in rows)


def test_a_data_set_in_the_root_is_a_dot(tmp_path: Path) -> None:
    build_plain_repository(tmp_path)
    lineage = lineage_of(tmp_path)

    assert lineage.registry.dataset(".").path == find_source(lineage, ".") == ""
    assert read_pictures(lineage, ".").dataset == lineage.registry.dataset(".")
    with pytest.raises(NotFoundError, match=r"choose one of \.$"):
        find_source(lineage, "gone")


def test_what_the_stages_made_agrees_with_the_verdicts(demo: Path) -> None:
    lineage, listings = lineage_of(demo), DvcRepo(demo).listings()

    pictures = read_pictures(lineage, "01_image_dataset", listings)
    placement = read_placement(lineage, listings, pictures)

    assert not placement.is_pending(pictures).any()
    assert placement.unread == ()
    assert (placement.output >= 0).sum() == 20
    stages = pictures.stages
    assert (stages.measuring, stages.intact, stages.thresholds) == (
        "measure_images",
        "remove_corrupted_images",
        "remove_dark_and_bright_images",
    )


def test_what_only_the_remote_has_is_named(tmp_path: Path) -> None:
    build_plain_repository(tmp_path)
    shutil.rmtree(tmp_path / ".dvc" / "cache")
    listings = DvcRepo(tmp_path).listings()

    whole = read_pictures(lineage_of(tmp_path), "", listings)
    folder = read_pictures(lineage_of(tmp_path), "data/pics", listings)

    assert len(whole.columns) == len(folder.columns) == 0
    assert whole.unread == ("data/pics", "small")
    assert folder.unread == ("data/pics",)


def test_a_damaged_table_is_named_with_the_next_step(demo: Path, tmp_path: Path) -> None:
    root = tmp_path / "registry"
    run(tmp_path, "cp", "-a", str(demo), str(root))
    name = "01_data_collection_16_oct_2021"
    table = root / f"processed/01_image_dataset/data/intermediate/measure_images/{name}"
    text = (table / "measurements.csv").read_text()
    (table / "measurements.csv").unlink()
    (table / "measurements.csv").write_text(text.replace(",640,", ",inf,", 1))

    with pytest.raises(RegistryError, match=r"measurements\.csv is damaged.*materialize --force"):
        read_pictures(lineage_of(root), "01_image_dataset", DvcRepo(root).listings())
