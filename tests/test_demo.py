"""The main job on the sample photographs, from the outside."""

import csv
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from registry_assets.dvc_repo.initialising import probe_link_type
from registry_assets.intake.initialising import init_registry
from tests.conftest import commit_all, run, write_tree
from tests.persisting.helpers import die

DATASET = "processed/01_image_dataset"
COLLECTIONS = ("01_data_collection_16_oct_2021", "02_data_collection_20_oct_2021")
CLASSES = [f"{light}_images/{sight}" for light in ("day", "night") for sight in ("foggy", "sharp")]
CHECKOUT = Path(__file__).parents[1]


def images_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_everything_agrees_afterwards(demo: Path) -> None:
    assert "20 outputs" in run(demo, "registry", "lineage", "--check")
    assert json.loads(run(demo, "registry", "status", "--json"))["up_to_date"] is True
    assert json.loads(run(demo, "dvc", "status", "--json")) == {}
    assert run(demo, "git", "status", "--porcelain") == ""


def test_a_second_run_does_nothing_and_says_so(demo: Path) -> None:
    before = (demo / DATASET / "dvc.lock").read_bytes()
    said = run(demo, "registry", "demo")
    assert said.startswith("Nothing to do")
    assert (demo / DATASET / "dvc.lock").read_bytes() == before
    assert run(demo, "git", "status", "--porcelain") == ""


def test_the_first_demo_of_a_clone_tells_of_nothing_that_is_missing(
    demo: Path, tmp_path: Path
) -> None:
    run(tmp_path, "git", "clone", "--quiet", str(demo), "clone")
    clone = tmp_path / "clone"
    # So nothing leads to data that the metafiles record.
    run(clone, "git", "remote", "remove", "origin")
    run(clone, "registry", "init", ".")
    done = subprocess.run(
        ["registry", "demo"], cwd=clone, capture_output=True, text=True, check=True
    )
    said = done.stdout + done.stderr
    for words in ("cache", "pull", "missing", "cannot", "lacks"):
        assert words not in said
    lines = [line.split("  [")[0] for line in said.splitlines()]
    told = [line.strip() for line in lines if line.startswith("  ")]
    assert len(told) == len(set(told))
    assert "restored" in said
    assert " ran " in said
    assert (clone / DATASET / "dvc.lock").read_bytes() == (demo / DATASET / "dvc.lock").read_bytes()


def test_the_summary_says_how_many_and_why(demo: Path) -> None:
    said = run(demo, "registry", "demo")
    found = ("too dark", "too bright", "corrupt: ", "empty file", "hidden file", "registry ui")
    for words in found:
        assert words in said
    for name in COLLECTIONS:
        assert name in said


def test_collections_of_somebody_are_left_alone(text_registry: Path) -> None:
    run(text_registry, "registry", "add", "01_a")
    commit_all(text_registry)
    for root, folder in ((text_registry, []), (text_registry.parent, [text_registry.name])):
        done = subprocess.run(
            ["registry", "demo", *folder], cwd=root, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert "has collections of its own (01_a)" in done.stderr
        assert "run it in another folder, `registry demo DIR`" in done.stderr
        assert not any((text_registry / "raw" / name).exists() for name in COLLECTIONS)


def test_the_metafiles_in_the_repository_are_what_the_demo_writes(demo: Path) -> None:
    written = {path.relative_to(demo).as_posix() for path in demo.rglob("*.dvc") if path.is_file()}
    assert len(written) == 4
    for path in (*written, f"{DATASET}/dvc.lock"):
        assert (demo / path).read_text() == (CHECKOUT / path).read_text()


def test_metafiles_equal_those_of_the_dvc_command_line(demo: Path, tmp_path: Path) -> None:
    twin = tmp_path / "twin"
    run(tmp_path, "registry", "init", str(twin))
    inputs = twin / DATASET / "data" / "inputs"
    inputs.mkdir(parents=True)
    for name in COLLECTIONS:
        shutil.copytree(CHECKOUT / "samples" / name, twin / "raw" / name)
        run(twin, "dvc", "add", "--quiet", f"raw/{name}")
        run(twin, "dvc", "import-url", "--quiet", f"raw/{name}", f"{DATASET}/data/inputs/{name}")
    shutil.copy(demo / DATASET / "collections.yaml", twin / DATASET / "collections.yaml")
    shutil.copytree(demo / DATASET / "decisions", twin / DATASET / "decisions")
    run(twin / DATASET, "dvc", "repro", "--quiet")

    listed = run(demo, "git", "ls-files", "raw", "processed").splitlines()
    compared = [path for path in listed if path.endswith((".dvc", ".gitignore"))]
    assert len(compared) > 10
    for path in compared:
        assert (twin / path).read_bytes() == (demo / path).read_bytes(), path
    assert entries(twin / DATASET / "dvc.lock") == entries(demo / DATASET / "dvc.lock")


def entries(lock: Path) -> dict[str, str]:
    """The text of every entry; their order is the order in which stages ran."""
    found: dict[str, str] = {}
    for line in lock.read_text().split("stages:\n", 1)[1].splitlines():
        if line.startswith("  ") and not line.startswith("   "):
            name = line
            found[name] = ""
        else:
            found[name] += f"{line}\n"
    return found


def naive_class(path: Path) -> str:
    """The class by the definitions, pixel by pixel, written apart from the product."""
    with Image.open(path) as image:
        if image.mode.startswith("I;16"):
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        rgb = np.asarray(image.convert("RGB")).astype(float)
        grey = np.asarray(Image.fromarray(rgb.astype(np.uint8)).convert("L")).astype(float)
    brightness = rgb.max(axis=2).mean()
    variance = grey.var(axis=1).mean()
    if not 20 < brightness < 200:
        return "removed"
    return (
        f"{'day' if brightness >= 100 else 'night'}_images/{'foggy' if variance < 500 else 'sharp'}"
    )


def test_classes_agree_with_an_independent_computation(demo: Path) -> None:
    seen = 0
    for name in COLLECTIONS:
        intact = demo / DATASET / "data/intermediate/remove_corrupted_images" / name
        expected: dict[str, set[str]] = {label: set() for label in (*CLASSES, "removed")}
        for path in images_of(intact):
            expected[naive_class(intact / path)].add(path)
        for label in CLASSES:
            assert images_of(demo / DATASET / "data/outputs" / label / name) == expected[label]
            seen += len(expected[label])
        assert expected["removed"]
    assert seen == 20


def test_every_class_and_every_reason_occurs(demo: Path) -> None:
    for label in CLASSES:
        assert any(images_of(demo / DATASET / "data/outputs" / label / c) for c in COLLECTIONS)
    reasons = {row["reason"].split(":")[0] for row in table_rows(demo)}
    assert reasons >= {"", "corrupt", "empty file", "hidden file", "not an image", "video"}


def table_rows(root: Path) -> Iterator[dict[str, str]]:
    for table in root.glob(f"{DATASET}/data/intermediate/measure_images/*/measurements.csv"):
        with table.open(encoding="utf-8", newline="") as stream:
            yield from csv.DictReader(stream)


def test_files_are_passed_on_byte_for_byte(demo: Path) -> None:
    compared = 0
    for label in CLASSES:
        for name in COLLECTIONS:
            folder = demo / DATASET / "data/outputs" / label / name
            for path in images_of(folder):
                original = demo / "raw" / name / path
                if original.exists():
                    assert (folder / path).read_bytes() == original.read_bytes()
                    compared += 1
    # All but the four frames, which no collection holds.
    assert compared == 16


def test_a_fresh_clone_pulls_the_same_files(demo: Path, tmp_path: Path) -> None:
    run(tmp_path, "git", "clone", "--quiet", str(demo), "clone")
    clone = tmp_path / "clone"
    # Leads DVC to the storage of the registry on this machine, which no committed file names.
    run(clone, "registry", "init", ".")
    run(clone, "dvc", "pull", "--quiet")
    for folder in ("raw", f"{DATASET}/data"):
        assert images_of(clone / folder) == images_of(demo / folder)
    assert json.loads(run(clone, "dvc", "status", "--json")) == {}
    assert json.loads(run(clone, "registry", "status", "--json"))["up_to_date"] is True
    assert run(clone, "git", "status", "--porcelain") == ""


def test_a_fresh_clone_is_materialized_by_pulling(demo: Path, tmp_path: Path) -> None:
    run(tmp_path, "git", "clone", "--quiet", str(demo), "clone")
    clone = tmp_path / "clone"
    said = run(clone, "registry", "materialize")
    assert " ran " not in said
    assert "restored" in said
    assert json.loads(run(clone, "dvc", "status", "--json")) == {}
    assert run(clone, "git", "status", "--porcelain") == ""
    assert "20 outputs" in run(clone, "registry", "lineage", "--check")


def test_another_repository_imports_the_data_set(demo: Path, bare: Path, tmp_path: Path) -> None:
    path = f"{DATASET}/data/outputs/day_images"
    have = {image for image in images_of(demo / path) if not image.endswith(".gitignore")}
    assert have
    # Whoever imports by URL sees what is committed: there the remote has to be led to a place that
    # others reach.
    shared = tmp_path / "shared"
    run(tmp_path, "git", "clone", "--quiet", str(demo), str(shared))
    run(shared, "dvc", "remote", "modify", "storage", "url", str(demo / ".dvc/storage"))
    commit_all(shared)
    for form, address in (("path", str(demo)), ("url", f"file://{shared}")):
        run(bare, "dvc", "import", "--quiet", address, path, "-o", form)
        got = images_of(bare / form)
        assert {image for image in got if not image.endswith(".gitignore")} == have


def test_dvc_repro_finds_nothing_to_do(demo: Path) -> None:
    before = (demo / DATASET / "dvc.lock").read_bytes()
    said = run(demo / DATASET, "dvc", "repro")
    assert "Running stage" not in said
    assert (demo / DATASET / "dvc.lock").read_bytes() == before


def test_init_refuses_a_file_and_leaves_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    done = subprocess.run(
        ["registry", "init", str(tmp_path / "file")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "is a file" in done.stderr
    write_tree(tmp_path / "mine", {"README.md": "mine\n", "raw/a/x.txt": "x\n"})
    run(tmp_path, "registry", "init", "mine")
    assert (tmp_path / "mine" / "README.md").read_text() == "mine\n"
    run(tmp_path / "mine", "registry", "materialize", "--collection", "a", "--select", 'key:"raw"')
    assert (tmp_path / "mine" / "raw" / "a.dvc").exists()


def test_init_that_was_killed_is_finished_by_the_same_again(tmp_path: Path) -> None:
    def files(root: Path) -> dict[str, bytes]:
        found = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
        kept = (path for path in found if path.parts[0] not in (".git", ".dagster", ".env"))
        return {str(path): (root / path).read_bytes() for path in kept if "tmp" not in path.parts}

    def init(number: int) -> Path:
        # The name of the registry is in its files.
        root = tmp_path / f"{number}/registry"
        root.mkdir(parents=True, exist_ok=True)
        list(init_registry(root))
        return root

    count = die(tmp_path / "0", lambda: init(0), at=0)
    whole = files(tmp_path / "0/registry")
    status = run(tmp_path / "0/registry", "git", "status", "--porcelain")
    for at in (*range(2, 14, 2), *range(14, count - 30, count // 4), *range(count - 30, count, 4)):
        die(tmp_path / f"{at}", lambda at=at: init(at), at=at)  # type: ignore[misc]
        assert files(init(at)) == whole, at
        assert run(tmp_path / f"{at}/registry", "git", "status", "--porcelain") == status, at
        assert not (tmp_path / f"{at}/registry/.git/registry-init").exists()


def test_a_killed_probe_of_links_leaves_nothing_that_git_sees(bare: Path) -> None:
    before = run(bare, "git", "status", "--porcelain")
    for at in (2, 3):
        die(bare, lambda: probe_link_type(bare), at=at)
        assert run(bare, "git", "status", "--porcelain") == before


def test_init_makes_a_registry_that_plain_dagster_finds(tmp_path: Path) -> None:
    run(tmp_path, "registry", "init", "fresh")
    root = tmp_path / "fresh"
    write_tree(root, {"raw/a/x.txt": "x\n"})
    run(root, "registry", "add", "a")
    env = {"DAGSTER_HOME": str(root / ".dagster")}
    run(
        root, "dagster", "asset", "materialize", "--select", 'key:"raw"', "--partition", "a",
        "-m", "registry_assets.definitions", env=env,
    )  # fmt: skip
    assert (root / ".dagster" / "dagster.yaml").samefile(root / "dagster.yaml")
    assert not list(root.glob(".tmp_dagster_home_*"))
