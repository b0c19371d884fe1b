"""Imports and their sources: what is behind, moving on as `dvc update` does, and what is gone."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from dagster import AssetKey, DagsterInstance, SensorResult, build_sensor_context
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from registry_assets import build_definitions, read_registry
from registry_assets.addresses import is_same_repository, without_secrets
from registry_assets.cli import main
from registry_assets.dvc_repo import DvcRepo
from registry_assets.errors import MetafileError
from registry_assets.git_repo import find_rev
from registry_assets.orchestration.history.opening import open_history
from registry_assets.orchestration.names import IMPORT_SENSOR_NAME
from registry_assets.orchestration.sensors.imports import look_at_sources
from registry_assets.registry.status.imports import ImportState, choose_imports, compare_imports
from registry_assets.settings import read_settings
from tests.commands import program
from tests.conftest import commit_all, lineage_of, run, write_tree
from tests.persisting.helpers import contents, copy_repository, leftovers, metafiles
from tests.runs import own

INPUTS = "processed/texts/data/inputs"
FAR = f"{INPUTS}/far"


def registry(root: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--root", str(root), *arguments])


@pytest.fixture(scope="module")
def _source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("source") / "source"
    write_tree(root, {"raw/far/one.txt": "one\n", "raw/far/sub/two.txt": "two\n"})
    write_tree(root, {"docs/plain.txt": "plain\n"})
    run(root, "git", "init", "--quiet")
    run(root, "dvc", "init", "--quiet")
    run(root, "dvc", "remote", "add", "--quiet", "-d", "far", str(root.parent / "far storage"))
    publish(root)
    return root


@pytest.fixture
def source(_source: Path, tmp_path: Path) -> Path:
    """Another repository: a collection under DVC, with a remote of its own, and a plain folder."""
    shutil.copytree(_source.parent / "far storage", tmp_path / "far storage")
    root = copy_repository(_source, tmp_path / "source")
    config = root / ".dvc" / "config"
    config.write_text(config.read_text().replace(str(_source.parent), str(tmp_path)))
    run(root, "git", "commit", "--quiet", "--all", "--amend", "--no-edit")
    run(root, "git", "tag", "v1")
    return root


def publish(root: Path, message: str = "Change") -> str:
    """Adds, pushes and commits the collection of the source."""
    run(root, "dvc", "add", "--quiet", "raw/far")
    run(root, "dvc", "push", "--quiet")
    return commit_all(root, message)


def change(root: Path, text: str = "new\n") -> str:
    write_tree(root, {"raw/far/new.txt": text})
    return publish(root)


def squash(root: Path) -> str:
    """Puts one new commit, with the same files, in the place of the newest."""
    run(root, "git", "commit", "--quiet", "--amend", "--message", "All in one")
    run(root, "git", "tag", "--delete", "v1")
    return run(root, "git", "rev-parse", "HEAD").strip()


def take(root: Path, url: object, *more: str, name: str = "far") -> None:
    done = registry(root, "import", name, "--into", "texts", "--from", str(url), *more)
    assert done.exit_code == 0, done.output


def states(root: Path) -> dict[str, ImportState]:
    found = read_registry(root)
    return {s.path: s for s in compare_imports(found, choose_imports(found, []))}


def update_as_dvc_does(root: Path, twin: Path, *paths: str) -> dict[str, bytes]:
    """What `dvc update` makes of a copy of a registry."""
    copy_repository(root, twin)
    run(twin, "dvc", "update", "--quiet", *(f"{path}.dvc" for path in paths or (FAR,)))
    return metafiles(twin)


BOTH = (f"{INPUTS}/by_path", f"{INPUTS}/by_url")


def take_both(root: Path, source: Path) -> None:
    """Imports the collection of the source by its path and by its URL."""
    for path, address in zip(BOTH, (source, file_url(source)), strict=True):
        take(root, address, "--path", "raw/far", name=Path(path).name)


def is_clean(root: Path, *paths: str) -> bool:
    """Whether `dvc status` has nothing to say of imports."""
    said = run(root, "dvc", "status", *(f"{path}.dvc" for path in paths or (FAR,))).strip()
    return said == "Data and pipelines are up to date."


def file_url(folder: Path) -> str:
    return f"file://{folder}"


# --- addresses and revisions --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:secret@example.org/r.git", "https://example.org/r.git"),
        ("https://secret@example.org/r.git", "https://example.org/r.git"),
        ("at 'https://me:se@cret@example.org/r'!", "at 'https://example.org/r'!"),
        ("https://example.org/f?token=secret&x=1", "https://example.org/f?…"),
        ("ssh://git:secret@example.org:22/r", "ssh://git@example.org:22/r"),
        ("git@example.org:team/r.git", "git@example.org:team/r.git"),
        ("file:///data/r", "file:///data/r"),
        ("/data/r", "/data/r"),
    ],
)
def test_no_secret_of_a_url_is_shown(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("git@example.org:team/r.git", "https://example.org/team/r", True),
        ("https://me:secret@Example.org/team/r.git/", "ssh://git@example.org/team/r", True),
        ("/data/r", "file:///data/r", True),
        ("https://example.org/team/r", "https://example.org/team/r2", False),
        ("https://example.org/team/r", "https://example.com/team/r", False),
        ("/data/r", "https://example.org/data/r", False),
    ],
)
def test_addresses_of_one_repository_are_told_from_others(one: str, other: str, same: bool) -> None:
    assert is_same_repository(one, other) is same


def test_a_name_is_looked_up_as_git_does() -> None:
    refs = {
        "HEAD": "1",
        "refs/heads/main": "1",
        "refs/heads/x": "2",
        "refs/tags/x": "3",
        "refs/tags/x^{}": "4",
    }
    assert find_rev(refs, None) == "1"
    assert find_rev(refs, "main") == "1"
    assert find_rev(refs, "x") == "4"
    assert find_rev(refs, "refs/heads/x") == "2"
    assert find_rev(refs, "gone") is None


# --- importing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("is_url", [True, False])
def test_whatever_another_repository_has_is_imported_as_dvc_does(
    text_registry: Path, source: Path, tmp_path: Path, is_url: bool
) -> None:
    url = file_url(source) if is_url else str(source)
    twin = copy_repository(text_registry, tmp_path / "twin")
    (twin / INPUTS).mkdir(parents=True)
    paths = {"a": "raw/far", "b": "raw/far/sub", "c": "docs", "d": "docs/plain.txt", "e": "raw"}
    for name, path in paths.items():
        take(text_registry, url, "--path", path, name=name)
        run(twin, "dvc", "import", "--quiet", url, path, "-o", f"{INPUTS}/{name}")
    assert len(metafiles(text_registry)) > len(paths)
    assert metafiles(text_registry) == metafiles(twin)
    assert is_clean(text_registry, *(f"{INPUTS}/{name}" for name in paths))
    assert leftovers(text_registry) == []


def test_what_is_not_there_is_not_imported_and_nothing_is_left(
    text_registry: Path, source: Path
) -> None:
    before = metafiles(text_registry)
    run(source, "git", "tag", "--annotate", "--message", "Second", "v2")
    branch = run(source, "git", "branch", "--show-current").strip()
    there = (
        f"so nothing was imported: name one of those that it has with --rev, as {branch}, v1, v2"
    )
    (source.parent / "empty").mkdir()
    run(source.parent, "git", "init", "--quiet", "empty")
    for address, more, words in (
        (file_url(source), ["--path", "raw/near"], "has no raw/near, so nothing was imported"),
        (file_url(source), ["--rev", "nowhere"], f"has no revision nowhere, {there}"),
        (source, ["--rev", "nowhere"], f"has no revision nowhere, {there}"),
        (source.parent / "empty", [], "nothing is committed there yet"),
    ):
        done = registry(
            text_registry, "import", "far", "--into", "texts", "--from", str(address), *more
        )
        assert done.exit_code == 1
        assert words in done.stderr
        assert "cannot be reached" not in done.stderr
        assert metafiles(text_registry) == before


def test_a_work_tree_in_disorder_is_not_what_is_imported(text_registry: Path, source: Path) -> None:
    write_tree(source, {"raw/far/draft.txt": "not committed\n"})
    run(source, "dvc", "add", "--quiet", "raw/far")
    take(text_registry, source)
    assert not (text_registry / FAR / "draft.txt").exists()
    assert states(text_registry)[FAR].state == "current"


# --- another repository -------------------------------------------------------------------------


def test_an_import_moves_on_as_dvc_update_does(
    text_registry: Path, source: Path, tmp_path: Path
) -> None:
    take_both(text_registry, source)
    assert registry(text_registry, "update", "--check").exit_code == 0
    commit = change(source)

    checked = registry(text_registry, "update", "--check")
    assert checked.exit_code == 1
    for path in BOTH:
        (line,) = (line for line in checked.stdout.splitlines() if path in line)
        assert line.startswith(f"behind     {path}")
        assert commit[:7] in line
        assert not (text_registry / path / "new.txt").exists()

    theirs = update_as_dvc_does(text_registry, tmp_path / "twin", *BOTH)
    done = registry(text_registry, "update")
    assert done.exit_code == 0, done.output
    assert metafiles(text_registry) == theirs
    for path in BOTH:
        assert contents(text_registry / path)["new.txt"] == "new\n"
    assert is_clean(text_registry, *BOTH)
    assert leftovers(text_registry) == []
    assert registry(text_registry, "update", "--check").exit_code == 0


def test_an_update_is_a_materialization_that_dagster_calls_fresh(
    text_registry: Path, source: Path
) -> None:
    take(text_registry, file_url(source))
    change(source)
    assert registry(text_registry, "update", "far").exit_code == 0
    version = lineage_of(text_registry).nodes[FAR].version
    assert version is not None
    key = AssetKey(INPUTS.split("/"))
    with open_history(text_registry) as instance:
        event = instance.get_latest_materialization_event(key)
        assert event is not None
        assert event.run_id
        assert event.asset_materialization is not None
        assert event.asset_materialization.partition == "far"
        assert (event.asset_materialization.tags or {})["dagster/data_version"] == version.md5
        assert fresh(text_registry, instance, key, "far")
    assert registry(text_registry, "lineage", "--check").exit_code == 0


def fresh(root: Path, instance: DagsterInstance, key: AssetKey, partition: str) -> bool:
    resolver = CachingStaleStatusResolver(
        instance, build_definitions(root).resolve_asset_graph(), LoadingContextForTest(instance)
    )
    return resolver.get_status(key, partition) == StaleStatus.FRESH


def test_an_import_that_dvc_made_is_fresh_once_it_was_reported(
    text_registry: Path, source: Path
) -> None:
    (text_registry / INPUTS).mkdir(parents=True)
    run(text_registry, "dvc", "import", "--quiet", file_url(source), "raw/far", "-o", FAR)
    assert registry(text_registry, "sync").exit_code == 0
    with open_history(text_registry) as instance:
        assert fresh(text_registry, instance, AssetKey(INPUTS.split("/")), "far")


def test_a_commit_that_leaves_the_data_alone_is_not_behind(
    text_registry: Path, source: Path, tmp_path: Path
) -> None:
    take(text_registry, file_url(source))
    before = (text_registry / f"{FAR}.dvc").read_text()
    write_tree(source, {"docs/plain.txt": "other\n"})
    commit = commit_all(source)
    assert registry(text_registry, "update", "--check").exit_code == 0
    assert (text_registry / f"{FAR}.dvc").read_text() == before
    assert states(text_registry)[FAR].state == "moved"

    theirs = update_as_dvc_does(text_registry, tmp_path / "twin")
    assert registry(text_registry, "update").exit_code == 0
    assert metafiles(text_registry) == theirs
    assert commit in (text_registry / f"{FAR}.dvc").read_text()
    assert is_clean(text_registry)


def test_a_pinned_revision_is_respected(text_registry: Path, source: Path, tmp_path: Path) -> None:
    commit = run(source, "git", "rev-parse", "HEAD").strip()
    run(source, "git", "branch", "dev")
    revs = {"tag": "v1", "commit": commit, "short_commit": commit[:9], "branch": "dev"}
    for kind, rev in revs.items():
        # A server does not look up what is shortened; a folder on this machine does.
        address = source if kind == "short_commit" else file_url(source)
        take(text_registry, address, "--path", "raw/far", "--rev", rev, name=kind)
    change(source)
    assert registry(text_registry, "update").exit_code == 0
    for kind in revs:
        assert not (text_registry / INPUTS / kind / "new.txt").exists()
        assert commit in (text_registry / INPUTS / f"{kind}.dvc").read_text()

    run(source, "git", "branch", "--force", "dev", "main")
    paths = [f"{INPUTS}/{kind}" for kind in revs]
    theirs = update_as_dvc_does(text_registry, tmp_path / "twin", *paths)
    assert registry(text_registry, "update", *revs).exit_code == 0
    moved = [kind for kind in revs if (text_registry / INPUTS / kind / "new.txt").exists()]
    assert moved == ["branch"]
    assert metafiles(text_registry) == theirs


def test_what_the_source_lacks_now_is_said_and_kept(text_registry: Path, source: Path) -> None:
    take(text_registry, file_url(source), "--rev", "v1")
    take(text_registry, file_url(source), "--path", "docs", name="docs")
    run(source, "git", "tag", "--delete", "v1")
    shutil.rmtree(source / "docs")
    commit_all(source)
    before = metafiles(text_registry)
    for arguments in (["update", "--check"], ["update"]):
        done = registry(text_registry, *arguments)
        assert done.exit_code == 1
        assert "no longer has v1" in done.stderr
        assert "no longer has docs" in done.stderr
        assert len(done.stderr.splitlines()) == 2
    assert metafiles(text_registry) == before
    assert (text_registry / FAR / "one.txt").exists()


@pytest.fixture
def server(source: Path) -> Iterator[str]:
    """The address of the source on a Git server on this machine."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["--export-all", "--reuseaddr", "--listen=127.0.0.1", f"--port={port}"]
    process = subprocess.Popen(
        ["git", "daemon", *options, f"--base-path={source.parent}"],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.1)
        yield f"git://127.0.0.1:{port}/{source.name}"
    finally:
        # It has nothing to put away, and may not hear politer signals.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


def test_an_import_over_the_network_has_the_same_life(
    text_registry: Path, source: Path, server: str
) -> None:
    take(text_registry, server, "--rev", "main")
    assert registry(text_registry, "update", "--check").exit_code == 0
    change(source)
    assert registry(text_registry, "update", "--check").exit_code == 1
    assert registry(text_registry, "update").exit_code == 0
    assert (text_registry / FAR / "new.txt").exists()
    squash(source)
    assert states(text_registry)[FAR].state == "lost"


def test_the_next_command_removes_the_temporary_files_of_a_killed_one(
    text_registry: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # DVC makes its clone, then reads the listing, which does not end.
    (listing,) = (tmp_path / "far storage").rglob("*.dir")
    listing.unlink()
    os.mkfifo(listing)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    (temporary / "registry-assets.of_me").mkdir()
    if os.geteuid() == 0:
        (temporary / "registry-assets.anothers").mkdir()
        os.chown(temporary / "registry-assets.anothers", 12345, 12345)
    monkeypatch.setenv("TMPDIR", str(temporary))
    before = sorted(temporary.iterdir())
    command = ("import", "far", "--into", "texts", "--from", file_url(source))
    running = subprocess.Popen([program("registry"), *command], cwd=text_registry)
    try:
        end = time.monotonic() + 60
        while not (made := [*temporary.rglob("*dvc-clone")]):
            assert time.monotonic() < end
            assert running.poll() is None
            time.sleep(0.02)
        run(text_registry, "registry", "status")
        assert all(folder.exists() for folder in made), "it still runs"
    finally:
        running.kill()
        running.wait()
    assert all(folder.exists() for folder in made)
    run(text_registry, "registry", "status")
    assert sorted(temporary.iterdir()) == before


# --- commits that are gone ----------------------------------------------------------------------


def test_a_commit_that_was_squashed_away_gives_way_to_one_with_the_same_content(
    text_registry: Path, source: Path, tmp_path: Path
) -> None:
    take_both(text_registry, source)
    gone = run(source, "git", "rev-parse", "HEAD").strip()
    commit = squash(source)
    checked = registry(text_registry, "update", "--check")
    assert checked.exit_code == 1
    for path in BOTH:
        (line,) = (line for line in checked.stdout.splitlines() if path in line)
        assert line.startswith(f"lost       {path}")
        assert gone[:7] in line
    theirs = update_as_dvc_does(text_registry, tmp_path / "twin", *BOTH)
    assert registry(text_registry, "update").exit_code == 0
    assert metafiles(text_registry) == theirs
    for path in BOTH:
        assert commit in (text_registry / f"{path}.dvc").read_text()
    assert registry(text_registry, "update", "--check").exit_code == 0


def test_a_commit_that_is_gone_and_other_content_is_behind_and_says_both(
    text_registry: Path, source: Path
) -> None:
    take(text_registry, file_url(source))
    gone = run(source, "git", "rev-parse", "HEAD").strip()
    squash(source)
    change(source)
    checked = registry(text_registry, "update", "--check")
    assert checked.exit_code == 1
    assert f"behind     {FAR}" in checked.stdout
    assert f"the imported commit {gone[:7]} is gone" in checked.stdout


def test_a_pinned_commit_that_is_gone_is_pinned_anew_to_the_same_content_only(
    text_registry: Path, source: Path
) -> None:
    gone = run(source, "git", "rev-parse", "HEAD").strip()
    take(text_registry, file_url(source), "--rev", gone)
    commit = squash(source)
    assert registry(text_registry, "update").exit_code == 0
    written = (text_registry / f"{FAR}.dvc").read_text()
    assert f"rev: {commit}" in written
    assert f"rev_lock: {commit}" in written
    assert gone not in written
    assert is_clean(text_registry)

    run(source, "git", "commit", "--quiet", "--amend", "--message", "Again")
    change(source)
    done = registry(text_registry, "update")
    assert done.exit_code == 1
    assert f"commit {commit[:7]}, to which it is pinned, is gone" in done.stderr
    assert (text_registry / f"{FAR}.dvc").read_text() == written


def test_data_taken_at_a_commit_that_is_gone_is_still_restored(
    text_registry: Path, source: Path
) -> None:
    take(text_registry, file_url(source))
    squash(source)
    lose(text_registry)
    assert registry(text_registry, "materialize", "--select", f'key:"{INPUTS}"').exit_code == 0
    assert contents(text_registry / FAR)["one.txt"] == "one\n"

    # With other content there now, the remote of this repository may have it.
    storage = text_registry / ".dvc/storage"
    shutil.copytree(text_registry / ".dvc/cache/files", storage / "files", dirs_exist_ok=True)
    change(source)
    lose(text_registry)
    done = registry(text_registry, "materialize", "--select", f'key:"{INPUTS}"')
    assert done.exit_code == 0, done.output
    assert contents(text_registry / FAR) == {"one.txt": "one\n", "sub/two.txt": "two\n"}

    shutil.rmtree(storage)
    lose(text_registry)
    done = registry(text_registry, "materialize", "--select", f'key:"{INPUTS}"')
    assert done.exit_code == 1
    assert "Traceback" not in done.output


def lose(root: Path) -> None:
    """Leaves nothing of the data of an import on this machine."""
    shutil.rmtree(root / FAR)
    shutil.rmtree(root / ".dvc/cache")


def test_a_listing_that_is_nested_too_deeply_is_damaged_and_not_out_of_reach(
    text_registry: Path, source: Path
) -> None:
    listing = b"[" * 100_000 + b"]" * 100_000
    md5 = hashlib.md5(listing).hexdigest()
    metafile = source / "raw/far.dvc"
    recorded = re.sub(r"[0-9a-f]{32}\.dir", f"{md5}.dir", metafile.read_text())
    metafile.write_text(recorded)
    for cache in (source / ".dvc/cache", source.parent / "far storage"):
        place = cache / "files/md5" / md5[:2] / f"{md5[2:]}.dir"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(listing)
    shutil.rmtree(source / "raw/far")
    commit_all(source, "Nest")
    done = registry(
        text_registry,
        "import",
        "far",
        "--into",
        "texts",
        "--from",
        str(source),
        "--path",
        "raw/far",
    )
    assert done.exit_code == 1
    assert "is damaged (nested too deeply)" in done.stderr


# --- failures -----------------------------------------------------------------------------------


def test_a_source_that_does_not_answer_is_one_line_without_secrets_and_the_rest_goes_on(
    text_registry: Path, source: Path
) -> None:
    take(text_registry, file_url(source), "--path", "raw/far", name="one")
    take(text_registry, source, "--path", "raw/far", name="two")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    metafile = text_registry / INPUTS / "one.dvc"
    url = f"http://me:secret@127.0.0.1:{port}/r.git"
    metafile.write_text(metafile.read_text().replace(file_url(source), url))
    change(source)
    for arguments in (["update", "--check"], ["update"]):
        done = registry(text_registry, *arguments)
        assert done.exit_code == 1
        (line,) = (line for line in done.stderr.splitlines() if line.startswith("registry: "))
        assert f"{INPUTS}/one: http://127.0.0.1:{port}/r.git cannot be reached" in line
        assert "secret" not in done.output
    assert (text_registry / INPUTS / "two/new.txt").exists()
    shown = registry(text_registry, "lineage", "--json").output
    assert "secret" not in shown
    assert "127.0.0.1" in shown


def test_an_update_that_fails_keeps_the_previous_version(
    text_registry: Path, source: Path, tmp_path: Path
) -> None:
    take(text_registry, file_url(source))
    before = metafiles(text_registry)
    write_tree(source, {"raw/far/new.txt": "not pushed\n"})
    run(source, "dvc", "add", "--quiet", "raw/far")
    commit_all(source)
    done = registry(text_registry, "update")
    assert done.exit_code == 1
    assert FAR in done.stderr
    assert "Traceback" not in done.output
    assert metafiles(text_registry) == before
    assert contents(text_registry / FAR) == {"one.txt": "one\n", "sub/two.txt": "two\n"}
    assert leftovers(text_registry) == []


def test_an_import_that_was_edited_by_hand_is_not_overwritten(
    text_registry: Path, source: Path
) -> None:
    take(text_registry, file_url(source))
    (text_registry / FAR / "one.txt").unlink()
    write_tree(text_registry, {f"{FAR}/one.txt": "mine\n"})
    before = metafiles(text_registry)
    change(source)
    done = registry(text_registry, "update")
    assert done.exit_code == 1
    assert "saved nowhere" in done.stderr
    assert (text_registry / FAR / "one.txt").read_text() == "mine\n"
    assert metafiles(text_registry) == before


def test_an_update_waits_for_the_lock(text_registry: Path, source: Path) -> None:
    take(text_registry, file_url(source))
    change(source)
    done: list[Result] = []
    dvc = DvcRepo(text_registry)
    updating = threading.Thread(target=lambda: done.append(registry(text_registry, "update")))
    with dvc.open() as repo, dvc.write_lock(repo, print):
        updating.start()
        time.sleep(4)  # DVC gives up after three seconds
        assert not (text_registry / FAR / "new.txt").exists()
    updating.join()
    assert done[0].exit_code == 0, done[0].output
    assert (text_registry / FAR / "new.txt").exists()


def test_a_name_that_no_import_has_is_refused(text_registry: Path, source: Path) -> None:
    take(text_registry, file_url(source))
    done = registry(text_registry, "update", "fare")
    assert done.exit_code == 1
    assert f"no import is called fare: there are {FAR}" in done.stderr


# --- this repository ----------------------------------------------------------------------------


def test_imports_from_this_repository_are_chosen_by_name_or_path(text_registry: Path) -> None:
    for name in ("01_a", "02_b"):
        assert registry(text_registry, "add", name).exit_code == 0
        assert registry(text_registry, "import", name, "--into", "texts").exit_code == 0
    (text_registry / "processed/second").mkdir()
    run(text_registry, "dvc", "import-url", "--quiet", "raw/01_a", "processed/second/01_a")
    for name in ("01_a", "02_b"):
        write_tree(text_registry, {f"raw/{name}/more.txt": name})
        assert registry(text_registry, "add", name).exit_code == 0

    assert {path for path, s in states(text_registry).items() if s.state == "behind"} == {
        f"{INPUTS}/01_a",
        f"{INPUTS}/02_b",
        "processed/second/01_a",
    }
    status = json.loads(registry(text_registry, "status", "--json").stdout)
    why = {item["path"]: item["why"] for item in status["outputs"]}
    assert f"`registry update {INPUTS}/01_a`" in why[f"{INPUTS}/01_a"][0]

    assert registry(text_registry, "update", f"{INPUTS}/02_b").exit_code == 0
    assert (text_registry / INPUTS / "02_b/more.txt").exists()
    assert not (text_registry / INPUTS / "01_a/more.txt").exists()
    assert registry(text_registry, "update", "01_a").exit_code == 0
    assert (text_registry / INPUTS / "01_a/more.txt").exists()
    assert (text_registry / "processed/second/01_a/more.txt").exists()
    assert registry(text_registry, "update", "--check").exit_code == 0
    assert is_clean(text_registry, f"{INPUTS}/01_a")


@pytest.fixture
def hub(text_registry: Path, tmp_path: Path) -> str:
    """The address of the repository that the text registry is pushed to."""
    bare = tmp_path / "hub.git"
    run(tmp_path, "git", "init", "--quiet", "--bare", str(bare))
    assert registry(text_registry, "add", "01_a").exit_code == 0
    commit_all(text_registry)
    run(text_registry, "dvc", "push", "--quiet")
    run(text_registry, "git", "remote", "add", "origin", file_url(bare))
    run(text_registry, "git", "push", "--quiet", "origin", "main")
    return file_url(bare)


def test_an_import_by_an_own_address_is_drawn_from_raw_and_has_a_life(
    text_registry: Path, hub: str
) -> None:
    take(text_registry, hub, name="01_a")
    (text_registry / "processed/second").mkdir()
    run(text_registry, "dvc", "import", "--quiet", ".", "raw/01_a", "-o", "processed/second/01_a")
    own = [f"{INPUTS}/01_a", "processed/second/01_a"]
    lineage = lineage_of(text_registry)
    assert {("raw/01_a", path) for path in own} <= set(lineage.edges)
    assert not lineage.sources
    assert registry(text_registry, "sync").exit_code == 0
    assert registry(text_registry, "lineage", "--check").exit_code == 0

    write_tree(text_registry, {"raw/01_a/more.txt": "more\n"})
    assert registry(text_registry, "add", "01_a").exit_code == 0
    status = json.loads(registry(text_registry, "status", "--json").stdout)
    found = {item["path"]: item["state"] for item in status["outputs"]}
    assert {found[path] for path in own} == {"behind"}
    assert "inputs" not in registry(text_registry, "materialize").stdout

    commit_all(text_registry)
    run(text_registry, "dvc", "push", "--quiet")
    run(text_registry, "git", "push", "--quiet", "origin", "main")
    assert registry(text_registry, "update", "01_a").exit_code == 0
    for path in own:
        assert (text_registry / path / "more.txt").exists()
    assert registry(text_registry, "update", "--check").exit_code == 0
    assert registry(text_registry, "lineage", "--check").exit_code == 0
    # Every commit here is a new one there, and would be the next after an update.
    commit_all(text_registry)
    assert {s.state for s in states(text_registry).values()} == {"current"}


def test_a_relative_address_does_not_depend_on_where_one_stands(
    text_registry: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (text_registry / INPUTS).mkdir(parents=True)
    run(text_registry, "dvc", "import", "--quiet", "../source", "raw/far", "-o", FAR)
    commit = change(source)
    monkeypatch.chdir(text_registry / "raw")
    assert registry(text_registry, "update").exit_code == 0
    written = (text_registry / f"{FAR}.dvc").read_text()
    assert "url: ../source\n" in written
    assert commit in written
    assert (text_registry / FAR / "new.txt").exists()


# --- paths and URLs -----------------------------------------------------------------------------


@pytest.mark.parametrize("is_folder", [True, False])
def test_an_import_from_a_path_outside_moves_on_as_dvc_update_does(
    text_registry: Path, tmp_path: Path, is_folder: bool
) -> None:
    write_tree(tmp_path / "outside", {"one.txt": "one\n", "sub/two.txt": "two\n"})
    outside = tmp_path / "outside" if is_folder else tmp_path / "outside/one.txt"
    (text_registry / INPUTS).mkdir(parents=True)
    run(text_registry, "dvc", "import-url", "--quiet", str(outside), FAR)
    assert registry(text_registry, "update", "--check").exit_code == 0
    write_tree(tmp_path / "outside", {"one.txt": "one, again\n"})
    assert registry(text_registry, "update", "--check").exit_code == 1
    theirs = update_as_dvc_does(text_registry, tmp_path / "twin")
    assert registry(text_registry, "update").exit_code == 0
    assert metafiles(text_registry) == theirs
    assert is_clean(text_registry)
    assert leftovers(text_registry) == []

    shutil.rmtree(tmp_path / "outside")
    done = registry(text_registry, "update")
    assert done.exit_code == 1
    assert "no longer exists" in done.stderr


def test_an_import_of_what_a_stage_makes_here_moves_on_as_dvc_update_does(
    text_registry: Path, tmp_path: Path
) -> None:
    assert registry(text_registry, "materialize", "--collection", "02_b").exit_code == 0
    made = "processed/texts/data/outputs/lines/02_b"
    (text_registry / "processed/second").mkdir()
    run(text_registry, "dvc", "import-url", "--quiet", made, "processed/second/lines")
    write_tree(text_registry, {"raw/02_b/four.txt": "four\n"})
    run(text_registry, "dvc", "add", "--quiet", "raw/02_b")
    run(text_registry, "dvc", "update", "--quiet", f"{INPUTS}/02_b.dvc")
    run(text_registry, "dvc", "repro", "--quiet", "processed/texts/dvc.yaml")
    assert states(text_registry)["processed/second/lines"].state == "behind"
    theirs = update_as_dvc_does(text_registry, tmp_path / "twin", "processed/second/lines")
    assert registry(text_registry, "update").exit_code == 0
    assert metafiles(text_registry) == theirs
    assert is_clean(text_registry, "processed/second/lines")


class _Files(http.server.SimpleHTTPRequestHandler):
    """Serves files with an ETag, as most servers do and Python's own does not."""

    def end_headers(self) -> None:
        path = Path(self.translate_path(self.path))
        if path.is_file():
            self.send_header("ETag", f'"{path.stat().st_mtime_ns}"')
        super().end_headers()

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    folder = tmp_path / "served"
    write_tree(folder, {"one.txt": "one\n"})
    handler = partial(_Files, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_an_import_from_a_url_moves_on_as_dvc_update_does(
    text_registry: Path, tmp_path: Path, served: tuple[Path, str]
) -> None:
    folder, url = served
    (text_registry / INPUTS).mkdir(parents=True)
    run(text_registry, "dvc", "import-url", "--quiet", f"{url}/one.txt", FAR)
    assert registry(text_registry, "update", "--check").exit_code == 0
    write_tree(folder, {"one.txt": "one, again\n"})
    theirs = update_as_dvc_does(text_registry, tmp_path / "twin")
    assert registry(text_registry, "update", "--check").exit_code == 1
    assert registry(text_registry, "update").exit_code == 0
    assert metafiles(text_registry) == theirs
    assert (text_registry / FAR).read_text() == "one, again\n"

    (folder / "one.txt").unlink()
    assert states(text_registry)[FAR].state == "gone"


def test_a_server_that_is_down_is_not_taken_for_a_file_that_is_gone(
    text_registry: Path, served: tuple[Path, str]
) -> None:
    _, url = served
    (text_registry / INPUTS).mkdir(parents=True)
    run(text_registry, "dvc", "import-url", "--quiet", f"{url}/one.txt", FAR)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
    metafile = text_registry / f"{FAR}.dvc"
    metafile.write_text(metafile.read_text().replace(url.rpartition(":")[2], port))
    found = states(text_registry)[FAR]
    assert found.state == "unreachable", found
    done = registry(text_registry, "update")
    assert done.exit_code == 1
    assert "cannot be reached" in done.stderr


# --- the sensor ---------------------------------------------------------------------------------


def tick(root: Path, instance: DagsterInstance, cursor: str | None = None) -> SensorResult:
    definitions = build_definitions(root)
    context = build_sensor_context(
        instance=instance,
        cursor=cursor,
        definitions=definitions,
        sensor_name=own(root, IMPORT_SENSOR_NAME),
    )
    result = definitions.resolve_sensor_def(own(root, IMPORT_SENSOR_NAME))(context)
    assert isinstance(result, SensorResult)
    return result


def said(result: SensorResult) -> str:
    assert not result.run_requests
    assert result.skip_reason is not None
    return result.skip_reason.skip_message or ""


def test_the_sensor_says_what_is_behind_and_updates_nothing(
    text_registry: Path, source: Path, instance: DagsterInstance
) -> None:
    take(text_registry, file_url(source))
    first = tick(text_registry, instance)
    assert said(first) == "1 imports are what their sources have"
    before = metafiles(text_registry)
    commit = change(source)
    second = tick(text_registry, instance, first.cursor)
    assert f"{FAR} is behind" in said(second)
    (observation,) = second.asset_events
    assert (
        observation.asset_key
        in build_definitions(text_registry).resolve_asset_graph().get_all_asset_keys()
    )
    assert observation.asset_key.path[-2:] == ["raw", "far"]
    shown = {name: value.value for name, value in observation.metadata.items()}
    assert shown["git/commit"] == commit
    newest = states(text_registry)[FAR].newest
    assert newest is not None
    assert shown["dvc/md5"] == newest
    assert metafiles(text_registry) == before

    # The same is not told twice, nor is the source cloned again: here it cannot be any more.
    shutil.rmtree(source / ".git/objects")
    (source / ".git/objects").mkdir()
    third = tick(text_registry, instance, second.cursor)
    assert said(third) == said(second)
    assert not third.asset_events
    assert third.cursor == second.cursor


def test_an_error_of_one_source_does_not_keep_the_sensor_from_the_others(
    text_registry: Path, source: Path, instance: DagsterInstance
) -> None:
    take(text_registry, source, "--path", "raw/far", name="one")
    take(text_registry, file_url(source), "--path", "raw/far", name="two")
    metafile = text_registry / INPUTS / "one.dvc"
    metafile.write_text(metafile.read_text().replace(str(source), "/nowhere"))
    change(source)
    result = tick(text_registry, instance)
    assert f"{INPUTS}/one is unreachable" in said(result)
    assert f"{INPUTS}/two is behind" in said(result)


def test_each_import_has_its_turn_where_sources_are_slow(text_registry: Path, source: Path) -> None:
    for name in ("one", "two", "three"):
        take(text_registry, source, "--path", "raw/far", name=name)
    lineage, known, turns = lineage_of(text_registry), {}, []
    for _ in range(7):
        # Each look takes half a minute by this clock.
        known = look_at_sources(lineage, known, clock=map(float, count(0, 29)).__next__)
        turns.append(next(reversed(known)).rpartition("/")[2])
    assert sorted(turns[:3]) == ["one", "three", "two"]
    assert turns[3:] == [*turns[:3], turns[0]]


def test_how_often_sources_are_looked_at_is_a_setting(text_registry: Path) -> None:
    def names() -> set[str]:
        sensors = build_definitions(text_registry).sensors or ()
        return {sensor.name for sensor in sensors}

    name = own(text_registry, IMPORT_SENSOR_NAME)
    sensor = build_definitions(text_registry).resolve_sensor_def(name)
    assert sensor.minimum_interval_seconds == 3600
    settings = text_registry / "pyproject.toml"
    text = settings.read_text()
    settings.write_text(f"{text}import_check_seconds = 60\n")
    sensor = build_definitions(text_registry).resolve_sensor_def(name)
    assert sensor.minimum_interval_seconds == 60
    settings.write_text(f"{text}import_check_seconds = 0\n")
    assert name not in names()
    settings.write_text(f'{text}import_check_seconds = "often"\n')
    with pytest.raises(MetafileError, match="import_check_seconds must be a number"):
        read_settings(text_registry)
