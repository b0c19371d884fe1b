"""Several processes at work on one repository: all of them end well, and nothing gets lost."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from registry_assets.dvc_repo import DvcRepo
from registry_assets.errors import RepositoryBusyError
from tests.conftest import run, write_tree
from tests.persisting.helpers import (
    INPUT_FILE,
    INPUTS,
    LINES,
    RAW,
    UPPER,
    at_once,
    build_repository,
    contents,
    copy_repository,
    die,
    is_clean,
    leftovers,
    lock_entries,
    make,
    make_upper,
    materialize,
    metafiles,
    take_in,
)

NAMES = [f"{n:02}_many" for n in range(5)]


def all_the_way(root: Path, name: str) -> list[str]:
    return [materialize(root, key, name).outcome for key in (RAW, INPUTS, UPPER, LINES)]


def test_several_collections_at_once_give_what_one_after_the_other_gives(
    text_registry: Path, tmp_path: Path
) -> None:
    for name in NAMES:
        write_tree(text_registry, {f"raw/{name}/{n}.txt": f"{name} {n}\n" for n in range(3)})
    alone = copy_repository(text_registry, tmp_path / "alone")
    for name in NAMES:
        all_the_way(alone, name)

    outcomes = at_once(*(partial(all_the_way, text_registry, name) for name in NAMES))

    assert outcomes == [["recorded", "recorded", "ran", "ran"]] * len(NAMES)
    assert lock_entries(text_registry) == lock_entries(alone)
    assert len(lock_entries(alone)) == 2 * len(NAMES)
    lines = {name: sorted(text.splitlines()) for name, text in metafiles(text_registry).items()}
    assert lines == {name: sorted(text.splitlines()) for name, text in metafiles(alone).items()}
    # The first collection to come is the first in the list.
    listed = text_registry / "processed/texts/collections.yaml"
    assert sorted(listed.read_text().splitlines()) == sorted(
        (alone / "processed/texts/collections.yaml").read_text().splitlines()
    )
    assert is_clean(text_registry)
    assert leftovers(text_registry) == []
    held = json.loads((text_registry / ".dvc/tmp/rwlock").read_text())
    assert not any(held.values())


def test_results_recorded_at_the_same_moment_are_all_there(tmp_path: Path) -> None:
    pipeline = (
        "stages:\n  make:\n    foreach: [a, b, c, d, e, f, g, h]\n"
        "    do:\n      cmd: echo ${item} > ${item}.txt\n      outs: ['${item}.txt']\n"
    )
    root = build_repository(tmp_path / "many", {"dvc.yaml": pipeline})
    together = multiprocessing.get_context("fork").Barrier(8)

    def make_one(name: str) -> None:
        with DvcRepo(root).running(f"dvc.yaml:make@{name}", report=print) as pending:
            together.wait(60)
            pending.persist()

    at_once(*(partial(make_one, name) for name in "abcdefgh"))
    assert set(lock_entries(root, ".")) == {f"make@{name}" for name in "abcdefgh"}
    ignored = (root / ".gitignore").read_text().split()
    assert sorted(ignored) == [f"/{name}.txt" for name in "abcdefgh"]


PIPELINE = """\
stages:
  make:
    cmd: sh make.sh
    deps: [make.sh, in.txt]
    outs: [out.txt, {log.txt: {persist: true}}]
  first:
    cmd: cat folder/* > first.txt
    deps: [folder]
    outs: [first.txt]
  second:
    cmd: cat folder/* | sort > second.txt
    deps: [folder]
    outs: [second.txt]
"""
MAKE = "dvc.yaml:make"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COUNTER", str(tmp_path / "counter"))
    script = 'echo ran >> "$COUNTER"; cat in.txt >> log.txt; sleep 0.5; cat in.txt > out.txt\n'
    files = {"dvc.yaml": PIPELINE, "make.sh": script, "in.txt": "words\n"}
    root = build_repository(tmp_path / "registry", files)
    write_tree(root, {f"folder/{n}.txt": f"{n}\n" for n in range(300)})
    with DvcRepo(root).tracking("folder", report=print) as pending:
        pending.persist()
    return root


def test_a_second_run_of_the_same_stage_waits_and_finds_it_done(root: Path) -> None:
    both = at_once(partial(make, root, MAKE), partial(make, root, MAKE))
    assert sorted(made.outcome for made in both) == ["ran", "unchanged"]
    waited = next(made for made in both if made.outcome == "unchanged")
    assert any("waiting" in line and "PID" in line for line in waited.said)
    assert (root.parent / "counter").read_text() == "ran\n"
    assert (root / "log.txt").read_text() == "words\n"
    assert len({made.records["out.txt"].version for made in both}) == 1


def test_two_stages_fetch_the_same_missing_input(root: Path) -> None:
    shutil.rmtree(root / "folder")
    both = at_once(
        partial(make, root, "dvc.yaml:first", inputs=["folder.dvc"]),
        partial(make, root, "dvc.yaml:second", inputs=["folder.dvc"]),
    )
    assert [made.outcome for made in both] == ["ran", "ran"]
    assert len(contents(root / "folder")) == 300
    assert len((root / "first.txt").read_text().splitlines()) == 300


@pytest.mark.parametrize("link_type", ["hardlink", "copy"])
def test_several_load_the_same_missing_input(root: Path, link_type: str) -> None:
    (root / ".dvc/config").write_text(f"[cache]\n    type = {link_type}\n")
    write_tree(root, {f"folder/{n}.txt": f"{n}\n" for n in range(1000)})
    with DvcRepo(root).tracking("folder", report=print) as pending:
        pending.persist()
    before = contents(root / "folder")
    shutil.rmtree(root / "folder")

    def load(seconds: float) -> None:
        time.sleep(seconds)
        DvcRepo(root).ensure_in_workspace(["folder.dvc"], report=print)

    at_once(*(partial(load, 0.1 * n) for n in range(4)))
    assert contents(root / "folder") == before
    assert leftovers(root) == []


def test_a_folder_that_is_being_written_can_be_looked_at(root: Path) -> None:
    def write() -> None:
        end = time.monotonic() + 1
        while time.monotonic() < end:
            for n in range(100):
                (root / f"folder/new{n}.txt").write_text("new")
            for n in range(100):
                (root / f"folder/new{n}.txt").unlink()

    def look() -> int:
        end, count = time.monotonic() + 1, 0
        while time.monotonic() < end:
            assert "folder" in DvcRepo(root).output_states(["folder.dvc"])
            count += 1
        return count

    _, count = at_once(write, look)
    assert count


def test_an_input_is_not_moved_on_while_it_is_read(root: Path) -> None:
    began = root.parent / "began"
    script = f"touch {began}; sleep 0.5; ls taken > out.txt; ls taken > log.txt\n"
    write_tree(root, {"make.sh": script})
    (root / "dvc.yaml").write_text(PIPELINE.replace("in.txt]", "taken]"))

    def take() -> None:
        with DvcRepo(root).importing("folder", "taken", report=print) as pending:
            pending.persist()

    def move_on() -> None:
        while not began.exists():
            time.sleep(0.02)
        take()

    take()
    write_tree(root, {"folder/new.txt": "new\n"})
    with DvcRepo(root).tracking("folder", report=print) as pending:
        pending.persist()
    at_once(partial(make, root, MAKE, inputs=["taken.dvc"]), move_on)
    assert "new.txt" not in (root / "out.txt").read_text().splitlines()
    assert (root / "taken/new.txt").exists()
    # It is only behind: the next run reads the new version.
    assert make(root, MAKE, inputs=["taken.dvc"]).outcome == "ran"
    assert "new.txt" in (root / "out.txt").read_text().splitlines()


def test_dvc_at_the_command_line_meanwhile(text_registry: Path) -> None:
    take_in(text_registry, "01_a", "02_b")
    started, done = text_registry.parent / "started", text_registry.parent / "done"
    slow = (
        f"import os, time\nis_slow, end = '01_a' in sys.argv[1], time.monotonic() + 60\n"
        f"while is_slow and not os.path.exists({str(done)!r}) and time.monotonic() < end:\n"
        f"    time.sleep(0.05)\n"
    )
    script = text_registry / "processed/texts/upper.py"
    script.write_text(script.read_text().replace("source, target", f"{slow}source, target"))
    said: list[str] = []

    def report(line: str) -> None:
        said.append(line)
        if line.startswith("> python"):
            started.write_text("")

    def run_ours() -> None:
        address = "processed/texts/dvc.yaml:upper@01_a"
        inputs = [INPUT_FILE.format("01_a")]
        with DvcRepo(text_registry).running(address, inputs=inputs, report=report) as pending:
            pending.persist()

    def run_dvc() -> tuple[str, str, str]:
        while not started.exists():
            time.sleep(0.02)
        status = run(text_registry, "dvc", "status", "processed/texts/dvc.yaml:upper@02_b")
        other = run(text_registry, "dvc", "repro", "processed/texts/dvc.yaml:upper@02_b")
        same = subprocess.run(
            ["dvc", "repro", "processed/texts/dvc.yaml:upper@01_a"],
            cwd=text_registry,
            capture_output=True,
            text=True,
            check=False,
        )
        done.write_text("")
        return status, other, f"{same.returncode} {same.stderr}"

    ours, theirs = at_once(run_ours, run_dvc)
    assert ours is None
    assert theirs is not None
    status, other, same = theirs
    assert "upper@02_b" in status
    assert "Running stage" in other
    assert same.startswith("255 ")
    assert "(PID " in same
    assert "is busy" in same
    # What they wrote meanwhile is both there.
    assert set(lock_entries(text_registry)) == {"upper@01_a", "upper@02_b"}
    assert make_upper(text_registry, "01_a").outcome == "unchanged"
    assert make_upper(text_registry, "02_b").outcome == "unchanged"


def hold_and_write(root: Path, ready: Path, done: Path, what: str) -> None:
    dvc = DvcRepo(root)
    with dvc.open() as repo:
        if what == "output":
            lock = dvc.holding(repo, read=[], write=[str(root / "out.txt")], report=print)
        else:
            lock = dvc.write_lock(repo, print)
        with lock:
            ready.write_text(str(os.getpid()))
            while not done.exists():
                time.sleep(0.02)


@pytest.mark.parametrize("what", ["output", "repository"])
def test_who_holds_a_lock_for_too_long_is_named(root: Path, what: str) -> None:
    ready, done = root.parent / "ready", root.parent / "done"

    def give_up() -> str:
        while not ready.exists():
            time.sleep(0.02)
        try:
            with DvcRepo(root, wait_seconds=0.3).running(MAKE, report=print) as pending:
                pending.persist()
        except RepositoryBusyError as error:
            return str(error)
        finally:
            done.write_text("")
        return "it did not give up"

    _, said = at_once(partial(hold_and_write, root, ready, done, what), give_up)
    assert said is not None
    assert f"PID {ready.read_text()}" in said
    # DVC's rwlock has the arguments of a process, the system all of its command line.
    command = sys.argv if what == "output" else psutil.Process().cmdline()
    assert " ".join(command) in said
    assert said.startswith("gave up after waiting ")
    assert not (root / "dvc.lock").exists()
    assert not (root / "out.txt").exists()
    assert leftovers(root) == []
    assert make(root, MAKE).outcome == "ran"


def test_one_of_many_puts_back_what_a_killed_one_left(root: Path) -> None:
    make(root, MAKE)
    write_tree(root, {"in.txt": "others\n"})
    die(root, lambda: make(root, MAKE), at=8)
    assert leftovers(root) != []
    made = at_once(
        partial(make, root, MAKE),
        partial(make, root, "dvc.yaml:first", inputs=["folder.dvc"]),
        partial(make, root, "dvc.yaml:second", inputs=["folder.dvc"]),
        partial(make, root, "dvc.yaml:first", inputs=["folder.dvc"]),
    )
    assert made[0].outcome == "ran"
    said = [line for one in made for line in one.said if "was interrupted" in line]
    assert len(said) == 1
    # Once by the first run, once by the last: not by the one that was killed.
    assert (root / "log.txt").read_text() == "words\nothers\n"
    assert leftovers(root) == []
