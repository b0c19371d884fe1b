"""What file managers and NAS leave in folders is part of no collection, and changes none."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest

from registry_assets.dvc_repo import DvcRepo
from registry_assets.intake.initialising import init_registry
from registry_assets.intake.setting_aside import SET_ASIDE_FOLDER
from registry_assets.intake.unpacking import UnpackingLimits, unpack
from registry_assets.leftovers import find_leftover, find_leftover_in, ignore_lines
from registry_assets.registry.reading import read_registry
from registry_assets.registry.status.arrivals import find_arrivals
from registry_assets.registry.status.reading import read_status
from tests.conftest import commit_all, copy_empty_repository, lineage_of, run, write_tree
from tests.intake.test_raw_is_data import files_in, registry

LEFT = {
    ".DS_Store": "x\n",
    "deep/._one.txt": "x\n",
    "deep/Thumbs.db": "x\n",
    "desktop.ini": "x\n",
    "@eaDir/one.txt/SYNOPHOTO_THUMB_M.jpg": "x\n",
    "#recycle/gone.txt": "x\n",
    "deep/$RECYCLE.BIN/gone.txt": "x\n",
    ".Trash-1000/files/gone.txt": "x\n",
    "System Volume Information/IndexerVolumeGuid": "x\n",
    "__MACOSX/._one.txt": "x\n",
}
SHOT = {"one.txt": "1\n", "deep/two.txt": "2\n", ".picasa.ini": "star=yes\n", "IMG.xmp": "3\n"}


def test_what_file_managers_leave_stays_and_changes_nothing(text_registry: Path) -> None:
    root = text_registry
    write_tree(root / "raw/01_a", LEFT)
    write_tree(root / "raw", {"@eaDir/x": "x", "lost+found/y": "y", "04_d/.DS_Store": "x"})
    assert [arrival.name for arrival in find_arrivals(root / "raw")] == ["01_a", "02_b", "04_d"]
    assert list(find_arrivals(root / "raw"))[2].reason == "it contains no files"
    done = registry(root, "add", "01_a")
    assert done.exit_code == 0, done.output
    assert f"left out {len(LEFT)} files left by a file manager" in done.stderr
    version = read_registry(root).raw[0].output.version
    assert version is not None
    assert version.nfiles == 2
    assert LEFT.items() <= files_in(root / "raw/01_a").items()
    write_tree(root / "raw/01_a", {"deep/.DS_Store": "y\n", "@eaDir/two.txt/x.jpg": "y\n"})
    assert read_status(lineage_of(root)).raw[0].state == "tracked"
    assert run(root, "dvc", "status") == "Data and pipelines are up to date.\n"
    commit_all(root)
    # Nor does it stand in the way of going back to where the collection was not.
    run(root, "git", "branch", "before", "HEAD^")
    shutil.rmtree(root / "raw/02_b")
    done = registry(root, "checkout", "before")
    assert done.exit_code == 0, done.output


def test_where_dvc_does_not_ignore_it_it_is_set_aside_and_what_was_recorded_stays(
    text_registry: Path,
) -> None:
    root = text_registry
    (root / ".dvcignore").write_text("# Of somebody else.\n")
    write_tree(root / "raw/01_a", LEFT)
    assert registry(root, "add", "01_a").exit_code == 0
    assert files_in(root / "raw/01_a") == {"one.txt": "one\n", "two.txt": "two\n"}
    assert LEFT.items() <= files_in(root / "raw" / SET_ASIDE_FOLDER / "01_a").items()
    # DVC takes it in, and from then on the collection has it.
    write_tree(root / "raw/02_b", {".DS_Store": "x\n", "dvc.yaml.txt": "x\n"})
    run(root, "dvc", "add", "--quiet", "raw/02_b")
    write_tree(root / "raw/02_b", {"dvc.yaml": "x\n", "more.txt": "x\n"})
    run(root, "dvc", "add", "--quiet", "raw/02_b")
    before = files_in(root / "raw/02_b")
    write_tree(root / "raw/02_b", {"another.txt": "x\n"})
    assert read_status(lineage_of(root)).raw[1].state == "modified"
    assert registry(root, "add", "02_b").exit_code == 0
    assert files_in(root / "raw/02_b") == {**before, "another.txt": "x\n"}
    assert run(root, "dvc", "status") == "Data and pipelines are up to date.\n"


def test_what_file_managers_leave_is_not_brought_along(text_registry: Path, tmp_path: Path) -> None:
    root = text_registry
    write_tree(tmp_path / "03_c", {**SHOT, **LEFT})
    with zipfile.ZipFile(tmp_path / "04_d.zip", "w") as archive:
        for name, text in (SHOT | LEFT).items():
            archive.writestr(f"04_d/{name}", text)
    for name in ("03_c", "04_d.zip"):
        done = registry(root, "add", str(tmp_path / name))
        assert done.exit_code == 0, done.output
        assert f"left out {len(LEFT)} files left by a file manager or NAS: " in done.stderr
        assert "1 #recycle, 1 $RECYCLE.BIN" in done.stderr
        assert files_in(root / "raw" / name[:4]) == SHOT
    unpack(tmp_path / "04_d.zip", tmp_path / "content", UnpackingLimits(free_bytes=0))
    assert not (root / "raw" / SET_ASIDE_FOLDER).exists()


def test_a_registry_from_before_gets_the_lines_that_change_no_version(bare: Path) -> None:
    root = bare
    write_tree(root / "raw/01_a", {"one.txt": "1\n", "Thumbs.db": "x\n"})
    run(root, "dvc", "add", "--quiet", "raw/01_a")
    (said,) = (line for line in init_registry(root) if line.startswith("[Tt]humbs.db"))
    assert "raw/01_a contains such files: add the line [Tt]humbs.db" in said
    lines = (root / ".dvcignore").read_text().splitlines()
    assert [line for line in ignore_lines().values() if line not in lines] == ["[Tt]humbs.db"]
    assert run(root, "dvc", "status") == "Data and pipelines are up to date.\n"
    assert not any(line.startswith("added leftovers") for line in init_registry(root))
    assert (root / ".dvcignore").read_text().splitlines() == lines


def test_without_knowing_what_was_recorded_no_line_is_written(tmp_path: Path) -> None:
    root = copy_empty_repository(tmp_path / "registry")
    write_tree(root / "raw/01_a", {"one.txt": "1\n"})
    run(root, "dvc", "add", "--quiet", "raw/01_a")
    shutil.rmtree(root / ".dvc/cache")
    before = (root / ".dvcignore").read_text()
    assert any("raw/01_a may contain some: run `dvc fetch`" in s for s in init_registry(root))
    assert (root / ".dvcignore").read_text() == before


@pytest.mark.parametrize("name", [*LEFT, "a/#snapshot/b/c.jpg", "lost+found/#12", "a/.nfs00001a2b"])
def test_the_list_says_what_dvc_ignores(bare: Path, name: str) -> None:
    (bare / ".dvcignore").write_text("".join(f"{line}\n" for line in ignore_lines().values()))
    write_tree(bare, {f"raw/{name}": "x", f"raw/{name}.jpg/keep.jpg": "x"} | {"raw/a/b.jpg": "x"})
    assert find_leftover_in(name)
    kept = {place.relative_to(bare).as_posix() for place in DvcRepo(bare).find_files(bare / "raw")}
    assert f"raw/{name}" not in kept
    assert {path for path in kept if find_leftover_in(path)} == set()
    assert "raw/a/b.jpg" in kept


@pytest.mark.parametrize(
    "name", ["recycle", "eaDir", "thumbs", "Thumbs.db.jpg", ".picasa.ini", "_IMG.jpg", "x._y.jpg"]
)
def test_nothing_else_is_on_the_list(name: str) -> None:
    assert find_leftover(name) is None
    assert find_leftover(name, is_folder=True) is None
