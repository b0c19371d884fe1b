"""Archives in the raw folder, and folders from elsewhere, become collections: once, and whole."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from registry_assets.cli import main
from registry_assets.errors import RegistryError
from registry_assets.intake.adding import choose_addition
from registry_assets.intake.copying import Copied, copy_collection
from registry_assets.orchestration.history.opening import open_history
from registry_assets.registry.reading import read_registry
from registry_assets.registry.status.arrivals import find_arrivals
from registry_assets.registry.status.reading import read_status
from registry_assets.registry.status.staging import Landing, Note
from tests.conftest import lineage_of, run, write_tree
from tests.persisting.helpers import die


def registry(root: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--root", str(root), *arguments])


def zip_files(archive: Path, files: dict[str, str]) -> None:
    with zipfile.ZipFile(archive, "w") as opened:
        for name, text in files.items():
            opened.writestr(name, text)


def test_an_archive_becomes_a_collection_and_goes_out_of_the_way(text_registry: Path) -> None:
    raw = text_registry / "raw"
    zip_files(raw / "03_c.zip", {"03_c/one.txt": "one\n"})
    zip_files(raw / "04_d.zip", {"../out.txt": "out\n"})
    done = registry(text_registry, "add", "raw/03_c.zip")
    assert done.exit_code == 0, done.output
    assert (raw / "03_c/one.txt").read_text() == "one\n"
    assert (raw / "03_c.dvc").exists()
    assert not (raw / "03_c.zip").exists()
    assert zipfile.is_zipfile(raw / ".set_aside/03_c.zip")

    refused = registry(text_registry, "add", "04_d")
    assert refused.exit_code == 1
    assert "'../out.txt' in it leads out of the collection" in refused.stderr
    assert (raw / "04_d.zip").exists()
    assert not (raw / "out.txt").exists()
    # Remembered until the archive is another one.
    told = {arrival.path.name: arrival.reason for arrival in find_arrivals(raw)}
    assert "leads out" in str(told["04_d.zip"])
    zip_files(raw / "04_d.zip", {"one.txt": "one\n"})
    assert {a.path.name: a.reason for a in find_arrivals(raw)}["04_d.zip"] is None
    # What is being unpacked may hold anything.
    write_tree(raw, {".arriving/04_d/content/bad.dvc": "no metafile: [\n"})
    status = read_status(lineage_of(text_registry))
    assert status.problems == ()
    assert {item.collection: item.state for item in status.raw}["04_d"] == "new"
    assert run(text_registry, "git", "status", "--short", "--", "raw/.arriving") == ""


def test_a_name_that_is_taken_is_said_and_nothing_is_unpacked(text_registry: Path) -> None:
    raw = text_registry / "raw"
    zip_files(raw / "01_a.zip", {"x.txt": "x"})
    zip_files(raw / "05.zip", {"x.txt": "x"})
    shutil.copy(raw / "05.zip", raw / "05.tar")
    zip_files(raw / "b d.zip", {"x.txt": "x"})
    told = {arrival.path.name: arrival.reason for arrival in find_arrivals(raw)}
    assert "there is a collection 01_a already" in str(told["01_a.zip"])
    assert "05.tar has the same name" in str(told["05.zip"])
    assert "letters, digits" in str(told["b d.zip"])
    assert registry(text_registry, "add", "raw/01_a").exit_code == 0
    assert (raw / "01_a.zip").exists()
    assert not (raw / "01_a/x.txt").exists()


def test_loose_photographs_and_other_archives_are_named_and_not_recorded(
    text_registry: Path,
) -> None:
    raw = text_registry / "raw"
    for name in ("IMG_1.JPG", "clip.mp4", "notes.txt", "old.rar", "older.tar.zst", "tracked.jpg"):
        (raw / name).write_bytes(name.encode())
    run(text_registry, "dvc", "add", "--quiet", "raw/tracked.jpg")
    (raw / "lost").symlink_to("nowhere")
    zip_files(raw / "03_c.Zip", {"x.txt": "x"})
    status = read_status(lineage_of(text_registry))
    told = {item.path: (item.state, str(item.reason)) for item in status.raw}
    assert told["raw/IMG_1.JPG"][0] == "loose"
    assert "it and 1 more lie in raw/ itself" in told["raw/IMG_1.JPG"][1]
    assert "raw/clip.mp4" not in told
    assert "raw/notes.txt" not in told
    assert told["raw/old.rar"][0] == "rejected"
    assert ".tar.zst archives are not supported: unpack it" in told["raw/older.tar.zst"][1]
    assert told["raw/03_c.Zip"] == ("new", "None")
    assert told["raw/tracked.jpg"][0] == "tracked"
    assert "broken symbolic link to nowhere" in told["raw/lost"][1]
    before = sorted(text_registry.rglob("*.dvc"))
    for words, reason in {
        ("add", "IMG_1.JPG"): "raw/IMG_1.JPG cannot be taken in: it is a file, and a collection",
        ("add", str(raw / "clip.mp4")): "move it to raw/NAME/clip.mp4",
        ("add", "raw/old.rar"): "raw/old.rar cannot be taken in: .rar archives are not supported",
        ("add", "old"): "old.rar cannot be taken in: .rar archives are not supported",
        ("materialize", "--collection", "IMG_1.JPG"): "it is a file, and a collection is a folder",
        ("add", "lost"): "it is a broken symbolic link to nowhere",
    }.items():
        done = registry(text_registry, *words)
        assert done.exit_code == 1
        assert reason in done.stderr
        assert done.stderr.count("registry: ") == 1
    assert sorted(text_registry.rglob("*.dvc")) == before
    for _ in range(2):
        done = registry(text_registry, "add", "raw/03_c.Zip")
        assert done.exit_code == 0, done.output
    assert (raw / "03_c/x.txt").exists()
    (raw / "tracked.jpg").write_bytes(b"another")
    assert registry(text_registry, "add", "tracked.jpg").exit_code == 0


@pytest.fixture
def shoot(tmp_path: Path) -> Path:
    """A folder elsewhere, with what a file system may hold besides files."""
    folder = tmp_path / "nas/shoot"
    write_tree(folder, {f"day/{n}.jpg": str(n) for n in range(9)})
    (folder / "first.jpg").symlink_to("day/0.jpg")
    os.mkfifo(folder / "pipe")
    return folder


def test_a_folder_from_elsewhere_is_copied_under_another_name(
    text_registry: Path, shoot: Path
) -> None:
    raw = text_registry / "raw"
    done = registry(text_registry, "add", str(shoot), "--name", "03_c")
    assert done.exit_code == 0, done.output
    assert "11 of 11 files" in done.stderr
    assert {p.name: p.read_text() for p in (raw / "03_c/day").iterdir()} == {
        p.name: p.read_text() for p in (shoot / "day").iterdir()
    }
    assert (raw / "03_c.dvc").exists()
    assert "not a regular file" in (raw / "03_c/pipe").read_text()
    assert (shoot / "day/0.jpg").stat().st_ino != (raw / "03_c/day/0.jpg").stat().st_ino
    again = registry(text_registry, "add", str(shoot), "--name", "03_c")
    assert again.exit_code == 1
    assert "choose another name with --name" in again.stderr
    assert registry(text_registry, "add", str(shoot / "nothing")).exit_code == 1
    assert registry(text_registry, "add", "01_a", "--link").exit_code == 2
    assert not [place for place in (raw / ".arriving").iterdir() if place.is_dir()]


class InterruptedHereError(Exception):
    """The process was ended here."""


def test_what_was_interrupted_goes_on_and_copies_nothing_twice(
    text_registry: Path, shoot: Path
) -> None:
    landing = Landing(text_registry / "raw", "03_c")

    def stop_at_six(copied: Copied) -> None:
        if copied.files == 6:
            raise InterruptedHereError

    with pytest.raises(InterruptedHereError):
        copy_collection(shoot, landing, stop_at_six)
    assert not landing.target.exists()
    assert [arrival.name for arrival in find_arrivals(text_registry / "raw")] == ["01_a", "02_b"]
    # A file changed meanwhile, another one went, and a line of the journal was cut short.
    (shoot / "day/1.jpg").write_text("another")
    (shoot / "day/2.jpg").unlink()
    with landing.journal.open("a") as journal:
        journal.write('{"path": "da')
    before = (landing.folder / "day/0.jpg").stat().st_ino
    told: list[Copied] = []
    copy_collection(shoot, landing, told.append)
    assert told[-1].kept == 4
    assert (landing.target / "day/0.jpg").stat().st_ino == before
    assert (landing.target / "day/1.jpg").read_text() == "another"
    assert not (landing.target / "day/2.jpg").exists()
    # Ended before it was registered: the same command finds it in its place.
    addition = choose_addition(read_registry(text_registry), str(shoot), "03_c")
    assert (addition.name, addition.source) == ("03_c", shoot.resolve())
    copy_collection(shoot, landing, told.append)
    with pytest.raises(RegistryError, match="another name"):
        choose_addition(read_registry(text_registry), str(shoot / "day"), "03_c")


def test_what_was_killed_once_it_was_registered_is_finished_by_the_same_again(
    text_registry: Path, shoot: Path
) -> None:
    arguments = ["add", str(shoot), "--name", "03_c"]
    assert registry(text_registry, *arguments).exit_code == 0
    metafile = (text_registry / "raw/03_c.dvc").read_text()
    # What stays if the first one dies before the last step.
    Landing(text_registry / "raw", "03_c").write_note(Note(str(shoot.resolve()), "copied"))
    again = registry(text_registry, *arguments)
    assert again.exit_code == 0, again.output
    assert (text_registry / "raw/03_c.dvc").read_text() == metafile
    assert not (text_registry / "raw/.arriving/03_c").exists()
    assert registry(text_registry, *arguments).exit_code == 1


def test_links_share_the_file_and_changes_meanwhile_are_noticed(
    text_registry: Path, shoot: Path
) -> None:
    landing = Landing(text_registry / "raw", "03_c")
    copy_collection(shoot, landing, lambda _copied: None, link=True)
    assert (shoot / "day/0.jpg").stat().st_ino == (landing.target / "day/0.jpg").stat().st_ino

    def write_more(copied: Copied) -> None:
        (shoot / f"late-{copied.files}.jpg").write_text("late")

    other = Landing(text_registry / "raw", "04_d")
    with pytest.raises(RegistryError, match="changed while it was copied"):
        copy_collection(shoot, other, write_more)
    assert not other.target.exists()
    with other.held(), pytest.raises(RegistryError, match="another process"):
        copy_collection(shoot, other, write_more)


def test_the_note_of_an_addition_goes_last_so_that_the_same_again_removes_the_rest(
    tmp_path: Path,
) -> None:
    for at in range(1, 8):
        root = tmp_path / str(at)
        landing = Landing(root / "raw", "a")
        with landing.held():
            landing.write_note(Note("/card", "copied"))
        die(root, landing.forget, at=at)
        left = [path for path in (root / "raw/.arriving/a").rglob("*") if path.is_file()]
        assert left == [] or landing.read_note() is not None, at


def test_several_are_added_and_imported_in_one_run(text_registry: Path, shoot: Path) -> None:
    raw = text_registry / "raw"
    (raw / "03_empty").mkdir()
    added = registry(text_registry, "add", "02_b", "raw/01_a", "03_empty", str(shoot), "01_a")
    # One that cannot be added keeps none of the others out.
    assert added.exit_code == 1
    assert "03_empty cannot be taken in: it contains no files" in added.stderr
    assert {p.name for p in raw.glob("*.dvc")} == {"01_a.dvc", "02_b.dvc", f"{shoot.name}.dvc"}
    assert not (raw / ".arriving" / shoot.name).exists()
    assert f"`registry import 02_b 01_a {shoot.name} --into texts` imports them" in added.stdout
    # The shell finds metafiles, too.
    again = registry(text_registry, "add", *map(str, sorted(raw.glob("0[12]_*"))))
    assert again.exit_code == 0, again.output
    assert "unchanged raw/01_a: 2 files" in again.stdout
    names = ["01_a", shoot.name, "02_b"]
    imported = registry(text_registry, "import", *names, "--into", "texts")
    assert imported.exit_code == 0, imported.output
    inputs = text_registry / "processed/texts/data/inputs"
    assert {p.stem for p in inputs.glob("*.dvc")} == {*names}
    with open_history(text_registry) as instance:
        commands = [run.tags["registry/command"] for run in instance.get_runs()]
    assert commands == ["import", "add", "add"]


def test_nothing_is_added_where_one_of_several_cannot_be_told(
    text_registry: Path, shoot: Path, tmp_path: Path
) -> None:
    write_tree(tmp_path, {f"elsewhere/{shoot.name}/one.txt": "one\n"})
    refused = registry(
        text_registry, "add", "01_a", str(shoot), str(tmp_path / "elsewhere" / shoot.name)
    )
    assert refused.exit_code == 1
    assert "add it on its own, with --name" in refused.stderr
    assert (
        "there is no collection 09_nope" in registry(text_registry, "add", "01_a", "09_nope").stderr
    )
    one_name = registry(text_registry, "add", str(shoot), "01_a", "--name", "03_c")
    assert "--name goes with one folder or archive" in one_name.stderr
    one_path = ["--into", "texts", "--from", str(tmp_path), "--path", "raw/x"]
    assert (
        "--path goes with one NAME" in registry(text_registry, "import", "a", "b", *one_path).stderr
    )
    assert not list((text_registry / "raw").glob("*.dvc"))
