"""`registry clone`: the second person has a working registry in one step, or a word about it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from registry_assets.dvc_repo.initialising import why_unshared
from registry_assets.intake.cloning import default_folder
from registry_assets.orchestration.history.event_log import read_seen
from registry_assets.orchestration.history.opening import open_history
from registry_assets.registry.contact_sheets import make_sheet
from registry_assets.registry.home import ENV_FILE, HOME
from registry_assets.revisions.changes.merge_driver import NAME
from tests.commands import program
from tests.conftest import commit_all, lineage_of, run, write_tree
from tests.persisting.helpers import copy_repository, is_clean


def call(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What `registry` answers in a folder, whatever its exit status."""
    return subprocess.run(
        ["registry", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def clone(folder: Path, *arguments: str, code: int = 0) -> str:
    done = call(folder, "clone", *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def publish(root: Path) -> Path:
    """Pushes all of a registry to a bare repository and a folder beside it; returns the former."""
    run(root, "dvc", "remote", "add", "-d", "-f", "storage", str(root.parent / "nas"))
    commit_all(root)
    run(root, "registry", "push")
    hub = root.parent / "hub.git"
    run(root.parent, "git", "clone", "--quiet", "--bare", str(root), str(hub))
    return hub


@pytest.fixture(scope="module")
def _made(_text_registry: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = copy_repository(_text_registry, tmp_path_factory.mktemp("made") / "registry")
    (root / ".env").unlink()
    write_tree(root, {"raw/01_a/one.txt": "one\n", "raw/01_a/two.txt": "two\n"})
    run(root, "registry", "materialize", "--collection", "01_a")
    run(root, "registry", "push")
    return root


@pytest.fixture
def made(_made: Path, tmp_path: Path) -> Path:
    """A registry with a collection that went all the way, pushed to its own storage."""
    root = tmp_path / "registry"
    run(tmp_path, "cp", "-a", str(_made), str(root))
    config = root / ".dvc" / "config"
    config.write_text(config.read_text().replace(str(_made), str(root)))
    commit_all(root)
    return root


@pytest.fixture
def hub(made: Path) -> Path:
    """The same on a server: a bare repository, and a folder as remote."""
    return publish(made)


def is_working(root: Path) -> None:
    """Whether all is here, as it was recorded, and Dagster knows it."""
    assert call(root, "status").returncode == 0
    assert run(root, "git", "status", "--porcelain") == ""
    assert is_clean(root)
    assert run(root, "git", "config", f"merge.{NAME}.driver")
    assert str(root / HOME) in (root / ENV_FILE).read_text()
    lineage = lineage_of(root)
    with open_history(root) as instance:
        seen = {
            (str(a.key), a.partition): s.version for a, s in read_seen(lineage, instance).items()
        }
    recorded = {
        (str(output.key), partition): node.version.md5
        for output in lineage.output_of.values()
        for partition, path in output.paths.items()
        if (node := lineage.nodes[path]).version is not None
    }
    assert seen == recorded
    assert call(root, "lineage", "--check").returncode == 0


def test_one_command_makes_a_working_registry(hub: Path, tmp_path: Path) -> None:
    here = tmp_path / "second"
    here.mkdir()
    said = clone(here, str(hub))
    assert "5 outputs: " in said
    is_working(here / "hub")
    assert [place.name for place in here.iterdir()] == ["hub"]
    again = clone(here, str(hub))
    assert "is already a clone of" in again
    assert ": adding what is missing" in again
    assert "5 outputs: 0 restored from the cache, 0 pulled" in again
    is_working(here / "hub")


def test_a_registry_is_restored_from_git_and_the_remote_alone(demo: Path, tmp_path: Path) -> None:
    run(tmp_path, "cp", "-a", str(demo), str(tmp_path / "first"))
    first = tmp_path / "first"
    hub = publish(first)
    before = {path: n.version for path, n in lineage_of(first).nodes.items()}
    shutil.rmtree(first)
    clone(tmp_path, str(hub), "restored")
    root = tmp_path / "restored"
    is_working(root)
    lineage = lineage_of(root)
    assert {path: node.version for path, node in lineage.nodes.items()} == before
    raw = lineage.nodes["raw/01_data_collection_16_oct_2021"].version
    assert raw is not None
    assert make_sheet(root, raw.md5) is not None
    with open_history(root) as instance:
        seen = read_seen(lineage, instance)
        assert all(found.is_described for found in seen.values())
    done = run(root, "registry", "materialize")
    assert done == "Nothing to do: everything is up to date.\n"


def test_what_was_cut_off_goes_on(hub: Path, tmp_path: Path) -> None:
    clone(tmp_path, str(hub), "second", "--no-data")
    root = tmp_path / "second"
    assert not (root / "raw/01_a").exists()
    assert (root / ENV_FILE).exists()
    (tmp_path / "nas").rename(tmp_path / "away")
    said = clone(tmp_path, str(hub), "second", code=1)
    assert f"there is no folder {tmp_path / 'nas'} on this machine" in said
    assert "missing  raw/01_a" in said
    assert "5 outputs could not be fetched" in said
    (tmp_path / "away").rename(tmp_path / "nas")
    write_tree(root, {"processed/texts/data/intermediate/upper/01_a/one.txt": "mine\n"})
    said = clone(tmp_path, str(hub), "second")
    assert "edited   processed/texts/data/intermediate/upper/01_a  (left as it is)" in said
    assert (root / "processed/texts/data/intermediate/upper/01_a/one.txt").read_text() == "mine\n"
    shutil.rmtree(root / "processed/texts/data/intermediate/upper/01_a")
    clone(tmp_path, str(hub), "second")
    is_working(root)


def test_a_remote_that_cannot_be_reached_is_the_next_step(hub: Path, tmp_path: Path) -> None:
    clone(tmp_path, str(hub), "second", "--no-data")
    nowhere = ("dvc", "remote", "modify", "--local", "storage", "url", "http://127.0.0.1:9/x")
    run(tmp_path / "second", *nowhere)
    said = clone(tmp_path, str(hub), "second", code=1)
    assert "5 outputs could not be fetched: check its address and the network, then run" in said


def test_a_pipe_in_the_place_of_data_is_left_as_it_is(hub: Path, tmp_path: Path) -> None:
    clone(tmp_path, str(hub), "second", "--no-data")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "second/raw/01_a").symlink_to(tmp_path / "pipe")
    said = clone(tmp_path, str(hub), "second")
    assert "edited   raw/01_a  (left as it is)" in said


def test_an_ignore_file_that_is_no_text_is_named(made: Path, hub: Path, tmp_path: Path) -> None:
    (made / ".dvcignore").write_bytes(b"\xff\xfe*\n")
    commit_all(made)
    run(made, "git", "push", "--quiet", str(hub), "HEAD:main")
    assert ".dvcignore: it is not UTF-8: save it as such" in clone(tmp_path, str(hub), code=1)


def test_objects_that_the_remote_lacks_are_named(made: Path, hub: Path, tmp_path: Path) -> None:
    listing = next((tmp_path / "nas").rglob("*.dir"))
    listing.unlink()
    said = clone(tmp_path, str(hub), "second", code=1)
    assert "outputs could not be fetched: run `registry push` on a machine that has them" in said
    run(made, "registry", "push")
    clone(tmp_path, str(hub), "second")
    is_working(tmp_path / "second")


def test_a_clone_of_a_clone_reaches_the_storage_of_the_first(made: Path, tmp_path: Path) -> None:
    for origin, name in ((made.name, "second"), ("second", "third")):
        said = clone(tmp_path, origin, name)
        assert "registry push" in said  # It is on this machine only, and so it says.
        is_working(tmp_path / name)
    assert (tmp_path / "third/raw/01_a/one.txt").read_text() == "one\n"
    # By Git alone, too, and by an address of its own kind.
    run(tmp_path, "git", "clone", "--quiet", f"file://{tmp_path}/third", "fourth")
    run(tmp_path / "fourth", "registry", "materialize")
    assert (tmp_path / "fourth/raw/01_a/one.txt").read_text() == "one\n"


def test_storage_behind_a_bare_repository_is_said_to_be_out_of_reach(
    made: Path, tmp_path: Path
) -> None:
    run(tmp_path, "git", "clone", "--quiet", "--bare", str(made), "hub.git")
    run(tmp_path / "hub.git", "git", "remote", "remove", "origin")
    said = clone(tmp_path, "hub.git", "second", code=1)
    assert "the remote storage is told from where each clone lies" in said
    assert "missing  raw/01_a" in said


def test_a_cache_that_is_not_mounted_is_not_made(made: Path, hub: Path, tmp_path: Path) -> None:
    shutil.move(made / ".dvc/cache", tmp_path / "disk")
    run(made, "dvc", "cache", "dir", str(tmp_path / "disk"))
    commit_all(made)
    run(made, "git", "push", "--quiet", str(hub), "main")
    (tmp_path / "disk").rename(tmp_path / "unmounted")
    said = clone(tmp_path, str(hub), "second", code=1)
    assert f"there is no folder {tmp_path / 'disk'}, where the settings lead DVC's cache" in said
    assert not (tmp_path / "disk").exists()
    assert "there is no folder" in call(tmp_path / "second", "init", ".").stdout
    assert not (tmp_path / "disk").exists()
    (tmp_path / "unmounted").rename(tmp_path / "disk")
    said = clone(tmp_path, str(hub), "second")
    assert "5 outputs: 5 restored from the cache, 0 pulled" in said
    is_working(tmp_path / "second")


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("git@example.org:team/photos.git", "photos"),
        ("example.org:photos", "photos"),
        ("https://example.org/photos.git/", "photos"),
        ("ssh://example.org:22/~ada/photos", "photos"),
        ("/srv/photos/.git", "photos"),
        ("../photos/", "photos"),
        ("photos.bundle", "photos"),
    ],
)
def test_the_folder_is_named_as_git_names_it(address: str, name: str) -> None:
    assert default_folder(address) == name


def test_a_registry_below_the_top_is_found(made: Path, tmp_path: Path) -> None:
    outer = tmp_path / "outer"
    (outer / "photos").mkdir(parents=True)
    run(outer, "git", "init", "--quiet")
    run(outer, "registry", "init", "photos")
    write_tree(outer, {"photos/raw/01_a/one.txt": "one\n"})
    run(outer / "photos", "dvc", "remote", "add", "-d", "-f", "storage", str(tmp_path / "nas"))
    run(outer / "photos", "registry", "add", "01_a")
    run(outer / "photos", "registry", "push")
    commit_all(outer)
    clone(tmp_path, str(outer), "second")
    assert (tmp_path / "second/photos/raw/01_a/one.txt").read_text() == "one\n"
    assert call(tmp_path / "second/photos", "status").returncode == 0
    (outer / "other").mkdir()
    run(outer, "registry", "init", "other")
    commit_all(outer)
    said = clone(tmp_path, str(outer), "third", code=1)
    assert "contains several DVC repositories (other/, photos/), so the clone was deleted" in said
    assert not (tmp_path / "third").exists()


def test_an_empty_folder_is_filled_where_it_is(hub: Path, tmp_path: Path) -> None:
    here = tmp_path / "empty"
    here.mkdir()
    before = here.stat().st_ino
    clone(here, str(hub), ".")
    assert here.stat().st_ino == before
    is_working(here)


@pytest.mark.parametrize(
    ("address", "folder", "said"),
    [
        ("nothing", None, "nothing cannot be reached (fatal: repository 'nothing' does not exist)"),
        ("http://127.0.0.1:1/x.git", None, "127.0.0.1:1/x.git cannot be reached"),
        ("plain", "there", "contains no DVC repository, so the clone was deleted"),
        ("unborn", "there", "contains no DVC repository, so the clone was deleted"),
        ("plain", "full", "is not empty and is no clone of plain"),
        ("hub.git", "plain", "is not empty and is no clone of hub.git"),
        ("hub.git", "full/file", "is a file or a link: choose another folder"),
        ("hub.git", "registry/raw/there", "lies in the DVC repository"),
        ("hub.git", "a{b}", "choose another name or place"),
        ("/", None, "no folder name follows from /"),
    ],
)
def test_what_cannot_be_is_said_and_leaves_nothing(
    hub: Path, tmp_path: Path, address: str, folder: str | None, said: str
) -> None:
    for name in ("plain", "unborn"):
        run(tmp_path, "git", "init", "--quiet", name)
    write_tree(tmp_path, {"plain/file": "x\n", "full/file": "x\n"})
    commit_all(tmp_path / "plain")
    before = sorted(tmp_path.rglob("*"))
    assert said in clone(tmp_path, address, *([folder] if folder else []), code=1)
    assert [place for place in sorted(tmp_path.rglob("*")) if place not in before] == []


def test_a_default_branch_that_is_not_there_is_made_up_for(hub: Path, tmp_path: Path) -> None:
    run(hub, "git", "symbolic-ref", "HEAD", "refs/heads/elsewhere")
    clone(tmp_path, str(hub), "second")
    is_working(tmp_path / "second")
    assert run(tmp_path / "second", "git", "rev-parse", "--abbrev-ref", "@{u}") == "origin/main\n"
    run(hub, "git", "branch", "older", "main")
    said = clone(tmp_path, str(hub), "third", code=1)
    assert "names elsewhere as its default branch, which it does not have; it has main, old" in said
    assert f"`git clone -b BRANCH {hub} DIR`, then `registry clone {hub} DIR`" in said
    assert not (tmp_path / "third").exists()
    run(tmp_path, "git", "clone", "--quiet", "-b", "main", str(hub), "third")
    clone(tmp_path, str(hub), "third")
    is_working(tmp_path / "third")


def test_a_folder_beside_the_registry_that_one_is_in_is_outside_of_it(
    made: Path, hub: Path, tmp_path: Path
) -> None:
    clone(made, "../hub.git", "../second", "--no-data")
    assert (tmp_path / "second/.dvc").is_dir()
    assert "lies in the DVC repository" in clone(made, "../hub.git", "raw/../third", code=1)
    (tmp_path / "link").symlink_to(made / "raw")
    assert "lies in the DVC repository" in clone(tmp_path, "hub.git", "link/third", code=1)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_clone_that_is_killed_leaves_no_registry(
    hub: Path, tmp_path: Path, how: signal.Signals
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    slow = {**os.environ, "GIT_SSH_COMMAND": "sh -c 'exec sleep 60'"}
    command = [program("registry"), "clone", "ssh://127.0.0.1/hub.git"]
    with subprocess.Popen(
        command,
        cwd=here,
        env=slow,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        while not any(here.glob(".hub.cloning-*/hub")):
            time.sleep(0.05)
        if how is signal.SIGINT:
            os.killpg(process.pid, how)
        else:
            process.kill()
            process.wait()
            # Git is by itself now.
            os.killpg(process.pid, signal.SIGKILL)
    left = [place.name for place in here.iterdir()]
    assert len(left) == (how is signal.SIGKILL)
    said = clone(here, str(hub))
    assert all(name in said for name in left)
    is_working(here / "hub")


REMOTES = {
    "none": ([], "there is no default remote"),
    "local only": (
        [("remote", "add", "-d", "--local", "storage", "{tmp}/nas")],
        "in this machine's own settings, which Git leaves out",
    ),
    "address local only": (
        [
            ("remote", "add", "-d", "storage", "x"),
            ("remote", "remove", "storage"),
            ("config", "core.remote", "storage"),
            ("remote", "add", "--local", "storage", "{tmp}/nas"),
        ],
        "in this machine's own settings, which Git leaves out",
    ),
    "relative": ([("remote", "add", "-d", "storage", "../nas")], "told from where each clone lies"),
    "not there": (
        [("remote", "add", "-d", "storage", "{tmp}/not/there")],
        "there is no folder {tmp}/not/there on this machine",
    ),
}


@pytest.mark.parametrize("kind", REMOTES)
def test_a_remote_that_only_this_machine_has_is_said(
    text_registry: Path, tmp_path: Path, kind: str
) -> None:
    commands, said = REMOTES[kind]
    said = said.format(tmp=tmp_path)
    (tmp_path / "nas").mkdir()
    run(text_registry, "dvc", "remote", "remove", "storage")
    for command in commands:
        run(text_registry, "dvc", *(word.format(tmp=tmp_path) for word in command))
    pushed = call(text_registry, "push")
    assert said in pushed.stderr
    commit_all(text_registry)
    if kind == "none":
        # `registry init` makes one for this machine.
        said = "in this machine's own settings, which Git leaves out"
    assert said in call(text_registry, "init", ".").stdout
    run(tmp_path, "git", "clone", "--quiet", "--bare", str(text_registry), "hub.git")
    shutil.rmtree(text_registry)
    said = said if "local" not in kind else "which Git leaves out"
    assert said in clone(tmp_path, "hub.git", "second")


def test_a_remote_that_everybody_reaches_is_not_worth_a_word(hub: Path, tmp_path: Path) -> None:
    clone(tmp_path, str(hub), "second")
    assert why_unshared(tmp_path / "second") is None
    assert "dvc remote" not in call(tmp_path / "second", "push").stderr
    assert "dvc remote" not in call(tmp_path / "second", "init", ".").stdout
