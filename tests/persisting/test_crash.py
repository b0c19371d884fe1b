"""Killed at any moment: nothing is lost, nothing half recorded, and the next run ends well."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from registry_assets.dvc_repo import DvcRepo, keep_together
from registry_assets.dvc_repo.processes import name_of_mine, owner_of
from registry_assets.orchestration.io_manager import dump
from tests.conftest import run, write_tree
from tests.persisting.helpers import (
    build_repository,
    contents,
    die,
    is_clean,
    leftovers,
    make,
    metafiles,
)

MAKE = "dvc.yaml:make"
PIPELINE = """\
stages:
  make:
    cmd: sh make.sh
    deps: [make.sh]
    outs:
    - plain
    - persisting: {persist: true}
    - uncached.txt: {cache: false}
"""
SCRIPT = """\
mkdir -p plain persisting
echo "plain $1" > plain/one.txt
echo "plain too $1" > plain/two.txt
echo "persisting $1" >> persisting/log.txt
echo "uncached $1" > uncached.txt
"""


def state(root: Path) -> dict[str, str]:
    """Everything in the work tree, but for DVC's and Git's own folders."""
    found = {}
    for path in root.iterdir():
        if path.is_dir() and path.name not in {".git", ".dvc"}:
            found.update({f"{path.name}/{name}": text for name, text in contents(path).items()})
        elif path.is_file():
            found[path.name] = path.read_text()
    return found


def check_cache(root: Path) -> None:
    for path in (root / ".dvc/cache/files/md5").rglob("*"):
        # DVC's own unfinished ones are not found by any name.
        if path.is_file() and path.suffix != ".tmp":
            md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
            assert f"{path.parent.name}{path.name.removesuffix('.dir')}" == md5


def quiet(_line: str) -> None:
    pass


def recover(root: Path) -> None:
    DvcRepo(root).recover(quiet)


def kill_everywhere(
    template: Path,
    tmp_path: Path,
    work: Callable[[Path], object],
    *,
    least: int,
) -> Iterator[tuple[Path, int]]:
    """The same repository, killed at every other change of the file system that some work makes.

    `make faults` kills at any of them.
    """
    count = die(copy_of(template, tmp_path / "counted"), lambda: work(tmp_path / "counted"), at=0)
    assert count >= least
    for at in range(1, count + 1, 2):
        root = copy_of(template, tmp_path / str(at))
        die(root, lambda root=root: work(root), at=at)  # type: ignore[misc]
        yield root, at
        shutil.rmtree(root)


def copy_of(template: Path, target: Path) -> Path:
    # With its hardlinks between workspace and cache.
    run(template.parent, "cp", "-a", str(template), str(target))
    return target


def test_a_stage_killed_at_any_moment(tmp_path: Path) -> None:
    files = {"dvc.yaml": PIPELINE, "make.sh": f"set -- one\n{SCRIPT}"}
    template = build_repository(tmp_path / "template", files)
    make(template, MAKE)
    write_tree(template, {"make.sh": f"set -- two\n{SCRIPT}"})
    before = state(template)
    never_killed = copy_of(template, tmp_path / "never_killed")
    make(never_killed, MAKE)
    after = state(never_killed)
    assert before != after

    seen = set()
    for root, at in kill_everywhere(template, tmp_path, lambda r: make(r, MAKE), least=20):
        wait_for_orphans(root)
        recover(root)
        now = state(root)
        assert now in (before, after), at
        seen.add(now == after)
        make(root, MAKE)
        assert state(root) == after, at
        assert leftovers(root) == [], at
        check_cache(root)
    assert seen == {True, False}
    assert is_clean(never_killed)


FOLDER = """\
stages:
  make:
    cmd: sh make.sh
    deps: [make.sh]
    outs:
    - folder: {cache: false}
    - out.txt
"""


def test_a_run_that_gives_the_same_again_killed_at_any_moment(tmp_path: Path) -> None:
    script = "mkdir folder\nfor n in 1 2 3; do echo $n > folder/$n.txt; done\necho x > out.txt\n"
    template = build_repository(tmp_path / "template", {"dvc.yaml": FOLDER, "make.sh": script})
    make(template, MAKE)
    before = state(template)
    for root, at in kill_everywhere(
        template, tmp_path, lambda r: make(r, MAKE, force=True), least=10
    ):
        wait_for_orphans(root)
        recover(root)
        assert state(root) == before, at
        assert leftovers(root) == [], at


def wait_for_orphans(root: Path) -> None:
    """Waits for commands that were started, but not yet noted, when their parent was killed."""
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(root) and process.ppid() == 1:
                process.wait(5)
        except psutil.Error:
            continue


FILES = {f"raw/a/{n % 2}/{n}.txt": f"file {n}\n" for n in range(4)}


def set_cache_type(root: Path, link_type: str) -> None:
    (root / ".dvc/config").write_text(f"[cache]\n    type = {link_type}\n")


def put_anew(root: Path, files: Mapping[str, str]) -> None:
    """Copies of what the cache has already: it is these that DVC replaces by links."""
    shutil.rmtree(root / "raw/a")
    write_tree(root, files)


def track(root: Path, path: str = "raw/a") -> str:
    with DvcRepo(root).tracking(path, report=quiet) as pending:
        return pending.persist()[path].version.md5


@pytest.mark.parametrize("version", ["first", "second"])
def test_adding_killed_at_any_moment(tmp_path: Path, version: str) -> None:
    template = build_repository(tmp_path / "template", FILES)
    run(template, "git", "rm", "--quiet", "--cached", "-r", "raw")
    # Nothing else is good enough, so copies are replaced by links.
    set_cache_type(template, "hardlink")
    if version == "second":
        track(template)
        put_anew(template, {**FILES, "raw/a/0/new.txt": "new\n", "raw/a/new/2.txt": "another\n"})
        (template / "raw/a/1/3.txt").unlink()
    files = contents(template / "raw/a")
    never_killed = copy_of(template, tmp_path / "never_killed")
    md5 = track(never_killed)
    for root, at in kill_everywhere(template, tmp_path, track, least=8):
        # A file is replaced by a link in one go.
        assert files.keys() <= contents(root / "raw/a").keys(), at
        recover(root)
        assert contents(root / "raw/a") == files, at
        assert track(root) == md5, at
        assert contents(root / "raw/a") == files, at
        assert metafiles(root) == metafiles(never_killed), at
        assert leftovers(root) == [], at
        check_cache(root)


def test_adding_a_single_file_killed_at_any_moment(tmp_path: Path) -> None:
    template = build_repository(tmp_path / "template", {"x": ""})
    write_tree(template, {"raw/film.mp4": "frames\n", "raw/before.mp4": "frames\n"})
    # The cache has the content already, so the file is replaced by a link.
    track(template, "raw/before.mp4")
    was_gone = False
    for root, at in kill_everywhere(
        template, tmp_path, lambda root: track(root, "raw/film.mp4"), least=5
    ):
        was_gone = was_gone or not (root / "raw/film.mp4").exists()
        recover(root)
        assert (root / "raw/film.mp4").read_text() == "frames\n", at
        track(root, "raw/film.mp4")
        assert leftovers(root) == [], at
    assert was_gone


@pytest.mark.parametrize("link_type", ["hardlink", "copy"])
def test_restoring_killed_at_any_moment(tmp_path: Path, link_type: str) -> None:
    template = build_repository(tmp_path / "template", FILES)
    set_cache_type(template, link_type)
    run(template, "git", "rm", "--quiet", "--cached", "-r", "raw")
    md5 = track(template)
    files = contents(template / "raw/a")
    shutil.rmtree(template / "raw/a")
    for root, at in kill_everywhere(template, tmp_path, track, least=5):
        assert track(root) == md5, at
        assert contents(root / "raw/a") == files, at
        assert leftovers(root) == [], at


def take_in(root: Path) -> None:
    with DvcRepo(root).importing(
        "raw/a", "taken/a", collections_file="collections.yaml", report=quiet
    ) as pending:
        pending.persist()


@pytest.mark.parametrize(("version", "link_type"), [("first", "copy"), ("second", "hardlink")])
def test_importing_killed_at_any_moment(tmp_path: Path, version: str, link_type: str) -> None:
    template = build_repository(tmp_path / "template", {"collections.yaml": "collections: []\n"})
    set_cache_type(template, link_type)
    write_tree(template, FILES)
    track(template)
    if version == "second":
        take_in(template)
        write_tree(template, {"raw/a/0/new.txt": "new\n"})
        (template / "raw/a/1/3.txt").unlink()
        track(template)
    never_killed = copy_of(template, tmp_path / "never_killed")
    take_in(never_killed)
    for root, at in kill_everywhere(template, tmp_path, take_in, least=5):
        for path in root.glob("taken/*.dvc"):
            assert path.read_text().startswith("md5: "), at
        take_in(root)
        assert metafiles(root) == metafiles(never_killed), at
        assert contents(root / "taken/a") == contents(root / "raw/a"), at
        text = (root / "collections.yaml").read_text()
        assert text == (never_killed / "collections.yaml").read_text(), at
        assert leftovers(root) == [], at


def test_a_big_collection_killed_while_it_is_linked_back(tmp_path: Path) -> None:
    template = build_repository(tmp_path / "big", {"x": ""})
    set_cache_type(template, "hardlink")
    text_of = {f"raw/a/{n % 20}/{n}.txt": f"{n}\n" for n in range(1000)}
    write_tree(template, text_of)
    track(template)
    put_anew(template, {**text_of, "raw/a/new.txt": "new\n"})
    files = contents(template / "raw/a")
    never_killed = copy_of(template, tmp_path / "never_killed")
    count = die(never_killed, lambda: track(never_killed), at=0)
    md5 = track(never_killed)
    for at in (count // 4, count // 2, count // 2 + 1):
        root = copy_of(template, tmp_path / str(at))
        die(root, lambda root=root: track(root), at=at)  # type: ignore[misc]
        assert files.keys() <= contents(root / "raw/a").keys(), at
        assert track(root) == md5, at
        assert contents(root / "raw/a") == files, at
        assert leftovers(root) == [], at
        shutil.rmtree(root)


SLOW = """\
echo $$ > "$PIDS"
mkdir plain
echo half > plain/one.txt
echo "persisting $1" >> persisting/log.txt
sleep 30
echo "plain too $1" > plain/two.txt
echo "uncached $1" > uncached.txt
"""
PROGRAM = """\
import sys
from pathlib import Path
from tests.persisting.helpers import make
make(Path(sys.argv[1]), "dvc.yaml:make")
"""


def test_a_run_killed_in_its_command_ends_the_command_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = build_repository(
        tmp_path / "slow", {"dvc.yaml": PIPELINE, "make.sh": f"set -- one\n{SCRIPT}"}
    )
    make(root, MAKE)
    before = state(root)
    pids = tmp_path / "pids"
    monkeypatch.setenv("PIDS", str(pids))
    write_tree(root, {"make.sh": f"set -- two\n{SLOW}"})
    runner = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(root)], cwd=Path(__file__).parents[2]
    )
    wait_until(lambda: pids.exists() and "two" in (root / "persisting/log.txt").read_text())
    command = psutil.Process(int(pids.read_text()))
    runner.kill()
    runner.wait()
    assert command.is_running()

    write_tree(root, {"make.sh": f"set -- one\n{SCRIPT}"})
    assert make(root, MAKE).outcome == "unchanged"
    assert state(root) == before
    wait_until(lambda: not command.is_running() or command.status() == psutil.STATUS_ZOMBIE)
    assert leftovers(root) == []


def wait_until(is_so: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_what_a_living_process_set_aside_is_left_alone(tmp_path: Path) -> None:
    root = build_repository(
        tmp_path / "living", {"dvc.yaml": PIPELINE, "make.sh": f"set -- one\n{SCRIPT}"}
    )
    make(root, MAKE)
    write_tree(root, {"make.sh": f"set -- two\n{SCRIPT}"})
    unfinished = root / ".dvc/tmp/registry" / f"{name_of_mine()}.tmp"
    with DvcRepo(root).running(MAKE, report=quiet) as pending:
        unfinished.write_text("")
        pid = os.fork()
        if pid == 0:
            recover(root)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert unfinished.exists()
        assert (root / "uncached.txt").read_text() == "uncached two\n"
        pending.persist()
    assert (root / "uncached.txt").read_text() == "uncached two\n"


def test_the_clock_may_be_set_while_a_process_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = owner_of(name_of_mine())
    boot = psutil.boot_time()
    monkeypatch.setattr(psutil._psplatform, "boot_time", lambda: boot + 3600)
    assert started is not None
    assert started.is_alive


def test_a_broken_pipeline_elsewhere_does_not_stop_what_comes_next(tmp_path: Path) -> None:
    stage = "stages:\n  make:\n    cmd: echo made > out\n    outs: [out]\n"
    root = build_repository(
        tmp_path / "two",
        {"dvc.yaml": PIPELINE, "make.sh": f"set -- one\n{SCRIPT}", "other/dvc.yaml": stage},
    )
    make(root, MAKE)
    before = state(root)
    write_tree(root, {"make.sh": f"set -- two\n{SCRIPT}"})
    die(root, lambda: make(root, MAKE), at=8)
    assert leftovers(root) != []
    write_tree(root, {"dvc.yaml": "stages: [broken"})
    assert make(root, "other/dvc.yaml:make").outcome == "ran"
    write_tree(root, {"dvc.yaml": PIPELINE})
    recover(root)
    assert state(root)["uncached.txt"] == before["uncached.txt"]
    assert leftovers(root) == []


def test_a_journal_that_a_power_cut_emptied_stops_nobody_and_is_kept(tmp_path: Path) -> None:
    root = build_repository(tmp_path / "registry", {"dvc.yaml": PIPELINE, "make.sh": SCRIPT})
    left = root / ".dvc/tmp/registry/999999-12.34-abc"
    write_tree(left, {"journal.json": "", "0/one.txt": "set aside"})
    made = make(root, MAKE)
    assert made.outcome == "ran"
    (line,) = [line for line in made.said if left.name in line]
    assert "look, then remove the folder" in line
    assert (left / "0/one.txt").read_text() == "set aside"


def test_a_lock_file_that_a_kill_cut_off_stops_nobody(tmp_path: Path) -> None:
    root = build_repository(tmp_path / "registry", {"dvc.yaml": PIPELINE, "make.sh": SCRIPT})
    for text in ("", '{"write": {"/somewhere": {"pi'):
        (root / ".dvc/tmp/rwlock").write_text(text)
        assert make(root, MAKE, force=True).outcome == "ran"
        assert is_clean(root)


def test_what_is_held_stays_held_when_the_lock_file_is_damaged(tmp_path: Path) -> None:
    root = build_repository(tmp_path / "registry", {"dvc.yaml": PIPELINE, "make.sh": SCRIPT})
    rwlock, dvc = root / ".dvc/tmp/rwlock", DvcRepo(root)
    mine, other = str(root / "plain"), str(root / "uncached.txt")
    with dvc.open() as repo, dvc.holding(repo, read=[], write=[mine], report=quiet):
        rwlock.write_text("")
        with dvc.holding(repo, read=[other], write=[], report=quiet):
            assert json.loads(rwlock.read_text())["write"].keys() == {mine}
        rwlock.unlink()
    assert not any(json.loads(rwlock.read_text()).values())


def test_the_next_command_takes_what_killed_ones_held_out_of_the_lock_file(tmp_path: Path) -> None:
    root = build_repository(tmp_path / "registry", {"dvc.yaml": PIPELINE, "make.sh": SCRIPT})
    living, dead = ({"pid": pid, "cmd": "dvc repro"} for pid in (os.getppid(), 999_999))
    held = {
        "write": {"/one": dead, "/two": living},
        "read": {"/one": [dead], "/two": [dead, living]},
    }
    (root / ".dvc/tmp/rwlock").write_text(json.dumps(held))
    make(root, MAKE)
    left = json.loads((root / ".dvc/tmp/rwlock").read_text())
    assert left == {"write": {"/two": living}, "read": {"/two": [living]}}


def test_a_killed_process_that_nobody_waits_for_holds_nothing(tmp_path: Path) -> None:
    root = build_repository(tmp_path / "registry", {"dvc.yaml": PIPELINE, "make.sh": SCRIPT})
    rwlock, mine = root / ".dvc/tmp/rwlock", str(root / "plain")
    with subprocess.Popen(["sleep", "60"]) as process:
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE
        held = {"write": {mine: {"pid": process.pid, "cmd": "dvc repro"}}, "read": {}}
        rwlock.write_text(json.dumps(held))
        dvc = DvcRepo(root, wait_seconds=0.3)
        with dvc.open() as repo, dvc.holding(repo, read=[], write=[mine], report=quiet):
            (holder,) = json.loads(rwlock.read_text())["write"].values()
            assert holder["pid"] == os.getpid()


def test_another_process_that_got_the_pid_of_a_killed_one_holds_nothing(tmp_path: Path) -> None:
    root = build_repository(tmp_path / "registry", {"dvc.yaml": PIPELINE, "make.sh": SCRIPT})
    rwlock = root / ".dvc/tmp/rwlock"
    # The same time, and the same command: it may be the one that wrote the file.
    own = " ".join(psutil.Process().cmdline())
    for cmd, age, is_free in (("dvc repro", 10**6, True), ("x", 0, False), (own, 10**6, False)):
        held = {"write": {"/somewhere": {"pid": os.getppid(), "cmd": cmd}}, "read": {}}
        if cmd == own:
            held["write"]["/somewhere"]["cmd"] = " ".join(psutil.Process(os.getppid()).cmdline())
        rwlock.write_text(json.dumps(held))
        written = psutil.Process(os.getppid()).create_time() - age if age else time.time()
        os.utime(rwlock, (written, written))
        make(root, MAKE, force=True)
        assert ("/somewhere" not in json.loads(rwlock.read_text()).get("write", {})) == is_free


def test_an_asset_of_somebodys_own_killed_at_any_moment(tmp_path: Path) -> None:
    def make_own(root: Path, text: str = "two") -> None:
        dvc = DvcRepo(root)
        with dvc.session(), dvc.replacing("own/folder") as replacement:
            dump({f"{text}.txt": text.encode()}, replacement.fresh)
            replacement.swap()
            with dvc.tracking("own/folder", report=quiet) as result:
                result.persist()

    template = build_repository(tmp_path / "template", {"own/readme": "mine"})
    make_own(template, "one")
    before = state(template)
    never_killed = copy_of(template, tmp_path / "never_killed")
    make_own(never_killed)
    after = state(never_killed)
    seen = set()
    for root, at in kill_everywhere(template, tmp_path, make_own, least=10):
        recover(root)
        now = state(root)
        assert now in (before, after), at
        seen.add(now == after)
        make_own(root)
        assert state(root) == after, at
        assert leftovers(root) == [], at
        check_cache(root)
    assert seen == {True, False}


def test_a_kill_while_settings_are_written_leaves_nothing_that_git_sees(tmp_path: Path) -> None:
    root = build_repository(tmp_path / "registry", {"dvc.yaml": PIPELINE, "make.sh": SCRIPT})
    (root / ".dvc/.gitignore").write_text("/config.local\n/tmp\n/cache\n")
    before = run(root, "git", "status", "--porcelain", "--untracked-files=all")
    ends = die(root, lambda: keep_together(root), at=0)
    for at in range(1, ends + 1):
        die(root, lambda: keep_together(root), at=at)
        assert run(root, "git", "status", "--porcelain", "--untracked-files=all") == before
