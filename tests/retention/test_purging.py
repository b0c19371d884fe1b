"""The objects of a forgotten picture are removed, those and no others."""

from __future__ import annotations

import hashlib
import os
import pty
import shutil
import subprocess
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from dagster import DagsterInstance

from registry_assets.cli import main
from registry_assets.dvc_repo import DvcRepo
from registry_assets.errors import RefusedError, RepositoryBusyError
from registry_assets.forgotten import read_forgotten
from registry_assets.intake.initialising import init_registry
from registry_assets.orchestration.describing import CONTACT_SHEET
from registry_assets.orchestration.history.opening import open_history
from registry_assets.orchestration.webserver import build_sheet_app
from registry_assets.registry.thumbnails import (
    PREVIEW,
    THUMBNAIL,
    Thumbnails,
    count_kept_thumbnails,
)
from tests.browser import get, image_address
from tests.conftest import commit_all, copy_empty_repository, lineage_of, run, write_tree
from tests.persisting.helpers import die, is_clean
from tests.retention.conftest import DATASET, ONE, call, forget, registry
from tests.runs import define_assets, execute, plan_run

CONTENTS = {hashlib.md5(text).hexdigest() for text in (b"one\n", b"ONE\n\n")}


def objects_in(folder: Path) -> set[str]:
    return {f"{path.parent.name}{path.name}" for path in folder.glob("??/*")}


def cached(root: Path) -> set[str]:
    return objects_in(root / ".dvc/cache/files/md5")


def stored(root: Path, remote: str = ".dvc/storage") -> set[str]:
    return objects_in(root / remote / "files/md5")


def test_its_objects_leave_cache_and_remote_and_no_others_do(pushed: Path) -> None:
    forget(pushed, ONE)
    registry(pushed, "push")
    before = cached(pushed), stored(pushed)
    assert before[0] >= CONTENTS
    assert before[1] >= CONTENTS
    found = forget(pushed, ONE, "--purge", "--yes")
    assert before[0] - cached(pushed) == before[1] - stored(pushed) == CONTENTS
    left = found["left"]
    assert left["cache"]["objects"] == left["remotes"][0]["objects"] == 0
    assert left["versions"]
    assert is_clean(pushed)
    assert call(pushed, "push", "--check").returncode == 0


def test_one_command_takes_out_and_purges(pushed: Path) -> None:
    before = cached(pushed), stored(pushed)
    forget(pushed, ONE, "--purge", "--yes", "--reason", "asked for")
    assert cached(pushed) & CONTENTS == stored(pushed) & CONTENTS == set()
    assert before[0] - cached(pushed) == before[1] - stored(pushed) == CONTENTS


def test_an_older_version_then_fails_for_that_file_and_says_so_before(pushed: Path) -> None:
    old = commit_all(pushed)
    done = call(pushed, "forget", ONE, "--purge", "--yes")
    assert "will fail for the whole output" in done.stdout
    commit_all(pushed, "Forget")
    run(pushed, "git", "checkout", "--quiet", old)
    shutil.rmtree(pushed / "raw/01_a")
    pulled = subprocess.run(
        ["dvc", "pull", "raw/01_a"], cwd=pushed, capture_output=True, text=True, check=False
    )
    assert pulled.returncode != 0
    assert hashlib.md5(b"one\n").hexdigest() in pulled.stderr
    run(pushed, "dvc", "checkout", "raw/01_a/two.txt")
    assert (pushed / "raw/01_a/two.txt").read_text() == "two\n"


def test_an_import_of_a_version_that_had_it_names_it_and_not_the_network(
    pushed: Path, tmp_path: Path
) -> None:
    # Whoever imports by URL sees what is committed.
    run(pushed, "dvc", "remote", "modify", "storage", "url", str(pushed / ".dvc/storage"))
    commit_all(pushed, "Lead others to the remote")
    run(pushed, "git", "tag", "before")
    forget(pushed, ONE, "--reason", "asked to", "--purge", "--yes")
    registry(pushed, "push")
    commit_all(pushed, "Forget")
    consumer = DvcRepo(copy_empty_repository(tmp_path / "consumer"))
    folder, _, name = ONE.rpartition("/")

    def take_in(url: str, revision: str | None) -> None:
        with consumer.importing_from(
            url,
            folder,
            "taken",
            revision=revision,
            collections_file=None,
            new_files={},
            report=print,
        ) as pending:
            pending.persist()

    for url in (str(pushed), pushed.as_uri()):
        with pytest.raises(RefusedError, match="gone for good") as error:
            take_in(url, "before")
        said = str(error.value)
        assert f"{folder}/{name} was forgotten there on {date.today().year}" in said
        assert "by Test <test@example.org> (asked to)" in said
        assert "take a newer version" in said
        assert not (consumer.root / "taken.dvc").exists()
    take_in(str(pushed), None)
    assert not (consumer.root / "taken" / name).exists()


def test_what_only_older_versions_have_is_purged_by_the_path_where_it_stood(pushed: Path) -> None:
    (pushed / ONE).unlink()
    (pushed / "raw/02_b/inner/same.txt").unlink()
    registry(pushed, "materialize", "--collection", "01_a", "--collection", "02_b")
    commit_all(pushed)
    assert cached(pushed) >= CONTENTS
    found = forget(pushed, ONE, "--purge", "--yes")
    assert found["current"] == []
    assert cached(pushed) & CONTENTS == set()


def test_nothing_happens_unless_somebody_says_that_it_is_meant(pushed: Path) -> None:
    before = cached(pushed), stored(pushed)
    done = call(pushed, "forget", ONE, "--purge")
    assert done.returncode == 1
    assert "nothing was done: without a terminal, confirm with --yes" in done.stderr
    assert "Purging removes for good" in done.stdout
    assert (cached(pushed), stored(pushed)) == before
    assert run(pushed, "git", "status", "--short") == ""


@pytest.mark.parametrize(("typed", "is_meant"), [("purge", True), ("y", False)])
def test_at_a_terminal_the_word_is_typed(pushed: Path, typed: str, is_meant: bool) -> None:
    ours, theirs = pty.openpty()
    command = ["registry", "--root", str(pushed), "forget", ONE, "--purge"]
    with subprocess.Popen(
        command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        os.write(ours, f"{typed}\n".encode())
        said = process.communicate()
    os.close(ours)
    os.close(theirs)
    assert (process.returncode == 0) == is_meant, said
    assert (CONTENTS & cached(pushed) == set()) == is_meant
    assert (run(pushed, "git", "status", "--short") == "") != is_meant


def test_what_another_file_has_too_stays(pushed: Path) -> None:
    write_tree(pushed, {"raw/02_b/capital.txt": "One\n"})  # of which the same is made
    registry(pushed, "materialize", "--collection", "02_b")
    commit_all(pushed)
    found = forget(pushed, ONE, "--purge", "--yes")
    shared = hashlib.md5(b"ONE\n\n").hexdigest()
    assert found["made_of_it"] == []
    assert cached(pushed) & CONTENTS == {shared}
    upper = pushed / DATASET / "data/intermediate/upper/02_b/capital.txt"
    assert upper.read_text() == "ONE\n\n"
    assert is_clean(pushed)


def test_other_remotes_are_purged_when_they_are_named(pushed: Path, tmp_path: Path) -> None:
    run(pushed, "dvc", "remote", "add", "second", str(tmp_path / "second"))
    run(pushed, "dvc", "push", "--remote", "second")
    forget(pushed, ONE, "--purge", "--yes")
    assert stored(tmp_path, "second") >= CONTENTS
    done = call(pushed, "forget", ONE, "--purge", "--yes", "--remote", "none")
    assert done.returncode == 1
    assert "there is no remote none" in done.stderr
    left = forget(pushed, ONE, "--purge", "--yes", "--all-remotes")["left"]
    assert stored(tmp_path, "second") & CONTENTS == set()
    assert {remote["objects"] for remote in left["remotes"]} == {0}


def test_a_remote_that_does_not_answer_leaves_the_rest_done_and_is_made_up_for(
    pushed: Path, tmp_path: Path
) -> None:
    run(pushed, "dvc", "remote", "add", "second", str(tmp_path / "second"))
    run(pushed, "dvc", "push", "--remote", "second")
    (tmp_path / "second").rename(tmp_path / "unplugged")
    (tmp_path / "second").write_text("no folder")
    done = call(pushed, "forget", ONE, "--purge", "--yes", "--all-remotes")
    assert done.returncode == 1
    assert "registry: remote second" in done.stderr
    assert "Traceback" not in done.stderr
    assert cached(pushed) & CONTENTS == stored(pushed) & CONTENTS == set()
    (tmp_path / "second").unlink()
    (tmp_path / "unplugged").rename(tmp_path / "second")
    forget(pushed, ONE, "--purge", "--yes", "--all-remotes")
    assert stored(tmp_path, "second") & CONTENTS == set()


def test_killed_at_any_moment_the_same_command_does_the_rest(pushed: Path, tmp_path: Path) -> None:
    forget(pushed, ONE)
    commit_all(pushed)
    before = cached(pushed), stored(pushed)

    def work(root: Path) -> None:
        done = CliRunner().invoke(main, ["--root", str(root), "forget", ONE, "--purge", "--yes"])
        assert done.exit_code == 0, done.output

    def copy(name: str) -> Path:
        target = tmp_path / name
        run(tmp_path, "cp", "-a", str(pushed), str(target))
        config = target / ".dvc/config"
        config.write_text(config.read_text().replace(str(pushed), str(target)))
        return target

    counted = copy("counted")
    count = die(counted, lambda: work(counted), at=0)
    assert count > 5
    for at in (1, count // 2, count):
        root = copy(str(at))
        die(root, lambda root=root: work(root), at=at)  # type: ignore[misc]
        assert call(root, "forget", ONE, "--purge", "--yes").returncode == 0, at
        assert (before[0] - cached(root), before[1] - stored(root)) == (CONTENTS, CONTENTS), at
        (entry,) = read_forgotten(root).values()
        assert set(entry.purged_from) == {"cache", "storage"}, at
        shutil.rmtree(root)


def test_it_waits_for_whoever_is_at_work(pushed: Path) -> None:
    dvc = DvcRepo(pushed)
    other = DvcRepo(pushed, wait_seconds=0)
    place = [str(pushed / DATASET / "data/outputs/lines/01_a")]
    command = ["sleep", "60"]
    with subprocess.Popen(command) as holder:
        lock = f'{{"write": {{"{place[0]}": {{"pid": {holder.pid}, "cmd": "dvc repro"}}}}}}'
        (pushed / ".dvc/tmp/rwlock").write_text(lock)
        with pytest.raises(RepositoryBusyError, match="dvc repro"):
            other.remove_from_cache(CONTENTS, set, report=print)
        holder.kill()
    assert len(dvc.remove_from_cache(CONTENTS, set, report=print)) == 2


def test_a_clone_without_data_purges_the_remote(pushed: Path, tmp_path: Path) -> None:
    forget(pushed, ONE)
    registry(pushed, "push")
    commit_all(pushed, "Forget")
    run(tmp_path, "git", "clone", "--quiet", str(pushed), "clone")
    list(init_registry(tmp_path / "clone"))
    found = forget(tmp_path / "clone", ONE, "--purge", "--yes")
    assert len(found["made_of_it"]) == 1  # found by listings, which were fetched
    assert stored(pushed) & CONTENTS == set()


def test_what_could_not_be_looked_into_is_said(pushed: Path, tmp_path: Path) -> None:
    text = (pushed / DATASET / "upper.py").read_text().replace(".upper()", ".upper() + '!'")
    write_tree(pushed, {f"{DATASET}/upper.py": text})
    registry(pushed, "materialize")
    commit_all(pushed)
    registry(pushed, "gc", "--yes")  # the older results, with their listings
    (pushed / ".dvc/storage").rename(tmp_path / "unplugged")
    (pushed / ".dvc/storage").write_text("no folder")
    done = call(pushed, "forget", ONE, "--purge", "--yes")
    assert done.returncode == 1
    assert "incomplete: the cache lacks listings of older versions, and remote" in done.stderr
    (pushed / ".dvc/storage").unlink()
    (tmp_path / "unplugged").rename(pushed / ".dvc/storage")
    found = forget(pushed, ONE, "--purge", "--yes")
    assert set(found["made_of_it"]) >= {hashlib.md5(b"ONE\n\n").hexdigest()}
    assert stored(pushed) & CONTENTS == set()


# --- contact sheets -------------------------------------------------------------------------------


@pytest.fixture
def shown(demo: Path, tmp_path: Path) -> Path:
    """A copy of the demo, with sheets that runs of both kinds have recorded."""
    root = tmp_path / "shown"
    run(tmp_path, "cp", "-a", str(demo), str(root))
    # Copies of the demo have its storage in common, of which nothing may be removed.
    run(root, "dvc", "remote", "modify", "storage", "url", str(root / ".dvc/storage"))
    lineage = lineage_of(root)
    with open_history(root) as instance:
        planned = plan_run(lineage, f"raw/{SHOWN}")
        result = execute(define_assets(lineage), instance, planned, force=True, tags={})
        assert result.failures == ()
    return root


SHOWN = "01_data_collection_16_oct_2021"
PICTURE = f"raw/{SHOWN}/camera_lake/IMG_0800.jpg"


def sheets(instance: DagsterInstance) -> Iterator[tuple[str, str, str]]:
    """Path, version and address of the sheet of every materialization that has one."""
    for key in instance.get_asset_keys():
        for record in instance.fetch_materializations(key, limit=1000).records:
            materialization = record.asset_materialization
            metadata: dict[str, Any] = dict(materialization.metadata) if materialization else {}
            if CONTACT_SHEET in metadata:
                told = [metadata[n].value for n in ("dvc/path", "dvc/md5", CONTACT_SHEET)]
                yield told[0], told[1], image_address(told[2])


def kept(root: Path) -> dict[str, bytes]:
    folder = root / ".dvc/tmp/registry_assets/sheets"
    return {place.stem: place.read_bytes() for place in folder.iterdir()}


def test_contact_sheets_that_may_show_it_go_and_come_back_without_it(shown: Path) -> None:
    app = build_sheet_app(shown)
    with open_history(shown) as instance:
        told = sorted(set(sheets(instance)))
    before = {version: get(app, address).body for _, version, address in told}
    assert set(kept(shown)) == {version.removesuffix(".dir") for version in before}
    done = forget(shown, PICTURE)
    gone = {version["version"] for version in done["left"]["versions"]} & set(before)
    assert done["left"]["contact_sheets"] == len(gone) > 3
    # Nothing is lost before it is purged.
    assert {version: get(app, address).body for _, version, address in told} == before
    purged = forget(shown, PICTURE, "--purge", "--yes")
    assert purged["left"]["contact_sheets"] == 0
    assert kept(shown) == {}
    for _, version, address in told:
        answer = get(app, address)
        # What had nothing else has nothing to show.
        assert (answer.body == before[version]) == (version not in gone), version
        assert answer.status == 200 or version in gone
    assert not set(before.values()) & set(kept(shown).values()) - {
        sheet for version, sheet in before.items() if version not in gone
    }
    with open_history(shown) as instance:
        # Dagster's events are left as they are.
        assert set(told) <= set(sheets(instance))
    assert call(shown, "lineage", "--check").returncode == 0


def test_the_history_holds_no_pictures(shown: Path) -> None:
    files = [path.read_bytes() for path in (shown / ".dagster").rglob("*") if path.is_file()]
    assert any(b"contact sheet of" in content for content in files)
    assert not any(b"base64" in content for content in files)
    with open_history(shown) as instance:
        for key in instance.get_asset_keys():
            for record in instance.fetch_materializations(key, limit=1000).records:
                assert record.asset_materialization is not None
                shown_of_it = record.asset_materialization.metadata
                size = sum(len(str(value.value)) for value in shown_of_it.values())
                assert size < 12_000, (key, size)


def test_sheets_that_cannot_be_removed_are_named(shown: Path) -> None:
    folder = shown / ".dvc/tmp/registry_assets/sheets"
    folder.parent.mkdir(exist_ok=True)
    (folder / "a folder").mkdir(parents=True)
    done = call(shown, "forget", PICTURE, "--purge", "--yes")
    assert done.returncode == 1
    assert "registry: contact sheets that may show it could not be removed: " in done.stderr
    assert "a folder" in done.stderr


def test_its_thumbnails_go_and_those_of_others_stay(shown: Path) -> None:
    other = (shown / PICTURE).with_name("IMG_1200.jpg")
    md5s = [hashlib.md5(place.read_bytes()).hexdigest() for place in (shown / PICTURE, other)]
    listings, made = DvcRepo(shown).listings(), Thumbnails(shown)
    for md5 in md5s:
        for longest in (THUMBNAIL, PREVIEW):
            assert isinstance(made.make(listings, md5, longest), bytes)
    done = forget(shown, PICTURE)
    assert done["left"]["thumbnails"] == 2
    assert count_kept_thumbnails(shown, md5s) == 4
    purged = forget(shown, PICTURE, "--purge", "--yes")
    assert purged["left"]["thumbnails"] == 0
    assert [count_kept_thumbnails(shown, [md5]) for md5 in md5s] == [0, 2]


def test_a_video_goes_with_its_frames_and_its_row_in_the_tables(shown: Path) -> None:
    video = "raw/02_data_collection_20_oct_2021/city.mp4"
    done = call(shown, "forget", f"{FRAMES}/city.mp4/frame_000025.jpg")
    assert f"was made from {video}: forget that file" in done.stderr
    frames = {path: path.read_bytes() for path in (shown / FRAMES / "city.mp4").iterdir()}
    md5s = {hashlib.md5(frame).hexdigest() for frame in frames.values()}
    table = shown / FRAMES.replace("extract_frames", "measure_images") / "measurements.csv"
    assert "city.mp4" in table.read_text()
    found = forget(shown, video, "--purge", "--yes")
    assert set(found["made_of_it"]) == md5s
    assert not (md5s | {found["md5"]}) & (cached(shown) | stored(shown))
    assert "city.mp4" not in table.read_text()
    assert not list((shown / "processed").rglob("city.mp4"))
    assert found["left"]["tables"] == 1
    assert is_clean(shown)


FRAMES = (
    "processed/01_image_dataset/data/intermediate/extract_frames/02_data_collection_20_oct_2021"
)


def test_decisions_about_it_are_named(shown: Path) -> None:
    registry(shown, "deny", PICTURE, "--why", "blurred")
    found = forget(shown, PICTURE)
    (decided,) = found["left"]["decisions"]
    assert (decided["decision"], decided["why"]) == ("deny", "blurred")
    assert f"registry decisions --withdraw {found['md5']}" in call(shown, "forget", PICTURE).stdout
    registry(shown, "decisions", "--withdraw", found["md5"])
    assert forget(shown, PICTURE)["left"]["decisions"] == []
