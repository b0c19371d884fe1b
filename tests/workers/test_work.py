"""`registry work` as a process: what becomes of its command, its tree and its disk."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from registry_assets.dvc_repo.processes import name_of_mine
from registry_assets.workers.orders import Answer
from registry_assets.workers.place import CACHE, FOLDER, GIGABYTES
from tests.conftest import commit_all, write_tree
from tests.workers.conftest import TEXTS
from tests.workers.ordering import answer_of, ask, entry_of, line_of, make, recorded, work

_MOST_SECONDS = 20


@pytest.fixture
def machine(tmp_path: Path) -> Mapping[str, str]:
    """The environment of a worker that has nothing of this machine."""
    home = tmp_path / "home of the worker"
    home.mkdir()
    nothing = dict.fromkeys(("GIT_CONFIG_GLOBAL", "XDG_CACHE_HOME", CACHE, FOLDER), "")
    del nothing["GIT_CONFIG_GLOBAL"]
    return {
        **nothing,
        "HOME": str(home),
        "DVC_GLOBAL_CONFIG_DIR": str(home / "dvc"),
        "DVC_SITE_CACHE_DIR": str(home / "site"),
        "STARTED": str(tmp_path / "started"),
    }


def place_of(machine: Mapping[str, str]) -> Path:
    return Path(machine["HOME"]) / ".cache" / "registry_assets" / "work"


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + _MOST_SECONDS
    while not is_so():
        assert time.monotonic() < end, "it did not become so"
        time.sleep(0.02)


def group_once_started(machine: Mapping[str, str]) -> int:
    """The process group of the command, once it runs."""
    started = Path(machine["STARTED"])
    wait_until(lambda: started.exists() and started.read_text().endswith("\n"))
    return int(started.read_text())


def members(group: int) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.Error):
            continue
    return found


def trees(machine: Mapping[str, str]) -> list[Path]:
    return list(place_of(machine).glob("trees/*"))


def test_an_order_from_standard_input_is_carried_out_on_another_machine(
    registry: Path, machine: Mapping[str, str]
) -> None:
    code = registry / "processed/texts/upper.py"
    code.write_text(code.read_text().replace("upper()", "title()"))
    worker = work(ask(registry, f"{TEXTS}upper@01_a"), machine, is_forked=False)
    # While it is on its way, somebody edits it again: what was sent counts.
    wanted = recorded(registry, f"{TEXTS}upper@01_a")
    code.write_text("raise SystemExit(1)\n")
    answer = answer_of(worker)
    assert entry_of(answer) == wanted
    assert trees(machine) == []
    assert {path.name for path in place_of(machine).iterdir()} == {"cache", "running", "trees"}


def test_an_order_may_be_a_file(registry: Path, machine: Mapping[str, str], tmp_path: Path) -> None:
    (tmp_path / "order.json").write_text(line_of(ask(registry, f"{TEXTS}fails")))
    done = subprocess.run(
        ["registry", "work", str(tmp_path / "order.json")],
        capture_output=True,
        text=True,
        env={**os.environ, **machine},
        check=False,
    )
    assert done.returncode == 1
    answer = Answer.from_json(json.loads(done.stdout))
    assert answer.problem is not None
    assert answer.problem.kind == "failed"
    assert done.stderr == "> echo so far && exit 3\nso far\n"


@pytest.mark.parametrize("text", ["", "no JSON\n", "{}\n", '{"order": {"stage": 1}}\n'])
def test_what_is_no_order_is_one_clear_line(text: str) -> None:
    done = subprocess.run(
        ["registry", "work"], input=text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("registry: this is no order of a stage")
    assert len(done.stderr.splitlines()) == 1


def test_it_does_not_import_dagster(registry: Path, machine: Mapping[str, str]) -> None:
    code = (
        "import sys\nfrom registry_assets.cli import main\n"
        "try:\n    main(['work'])\n"
        "finally:\n    print([n for n in sys.modules if n.startswith('dagster')], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=line_of(ask(registry, f"{TEXTS}twice")),
        capture_output=True,
        text=True,
        env={**os.environ, **machine},
        check=False,
    )
    assert done.stderr.splitlines()[-1] == "[]"
    assert done.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_command_too(
    registry: Path, machine: Mapping[str, str], number: signal.Signals
) -> None:
    worker = work(ask(registry, f"{TEXTS}slow"), machine, is_forked=False)
    group = group_once_started(machine)
    assert len(members(group)) >= 2
    worker.send_signal(number)
    answer = answer_of(worker)
    assert answer.problem is not None
    assert answer.problem.kind == "stopped"
    assert members(group) == []
    assert trees(machine) == []


def test_an_attached_worker_ends_with_whoever_asked(
    registry: Path, machine: Mapping[str, str]
) -> None:
    worker = work(ask(registry, f"{TEXTS}slow"), machine, "--attached")
    group = group_once_started(machine)
    assert worker.stdin is not None
    worker.stdin.close()
    answer = answer_of(worker)
    assert answer.problem is not None
    assert answer.problem.kind == "stopped"
    assert members(group) == []


def test_a_worker_that_is_killed_leaves_neither_command_nor_tree(
    registry: Path, machine: Mapping[str, str]
) -> None:
    worker = work(ask(registry, f"{TEXTS}slow"), machine, is_forked=False)
    group = group_once_started(machine)
    (tree,) = trees(machine)
    guards = [child for child in psutil.Process(worker.pid).children() if child.pid != group]
    assert len(guards) == 1
    worker.kill()
    worker.wait()
    wait_until(lambda: not members(group))
    wait_until(lambda: not tree.exists())
    wait_until(lambda: not guards[0].is_running())
    # The tree had links to them.
    objects = list((place_of(machine) / "cache/files/md5").glob("*/*"))
    assert {stat.S_IMODE(path.stat().st_mode) for path in objects} == {0o444}


def test_a_command_that_does_not_hear_is_killed(registry: Path, machine: Mapping[str, str]) -> None:
    text = (registry / "processed/texts/dvc.yaml").read_text()
    deaf = text.replace("cmd: echo $$ > $STARTED;", "cmd: trap '' TERM; echo $$ > $STARTED;")
    write_tree(registry, {"processed/texts/dvc.yaml": deaf})
    worker = work(ask(registry, f"{TEXTS}slow"), machine, is_forked=False)
    group = group_once_started(machine)
    worker.kill()
    worker.wait()
    wait_until(lambda: not members(group))


def test_the_next_worker_removes_what_the_guard_could_not(
    registry: Path, machine: Mapping[str, str]
) -> None:
    worker = work(ask(registry, f"{TEXTS}slow"), machine, is_forked=False)
    group = group_once_started(machine)
    (tree,) = trees(machine)
    for child in psutil.Process(worker.pid).children():
        if child.pid != group:
            child.kill()
    worker.kill()
    worker.wait()
    assert members(group)
    assert tree.exists()
    alive = place_of(machine) / "trees" / name_of_mine()
    alive.mkdir()
    entry_of(answer_of(work(ask(registry, f"{TEXTS}twice"), machine)))
    assert members(group) == []
    wait_until(lambda: trees(machine) == [alive])
    assert list(place_of(machine).glob("running/*")) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk that has room for a work tree, and for little more."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=17m", "none", str(disk)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        if "CI" in os.environ:
            pytest.fail("CI has to mount a small disk, which takes root")
        pytest.skip("only root may mount a small disk")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk_is_the_problem_of_this_worker_only(registry: Path, small_disk: Path) -> None:
    stages = (
        "stages:\n"
        "  fills:\n    cmd: head -c 30000000 /dev/zero > large\n    outs: [large]\n"
        "  grows:\n    cmd: head -c 9000000 /dev/zero > first && cp first second\n"
        "    outs: [first, second]\n"
        "  small:\n    cmd: echo 1 > small\n    outs: [small]\n"
    )
    write_tree(registry, {"full/dvc.yaml": stages})
    for stage in ("fills", "grows"):
        answer = make(ask(registry, f"full/dvc.yaml:{stage}"), small_disk / "work")
        assert answer.problem is not None
        assert answer.problem.kind == "unusable"
        assert "its disk is full" in answer.problem.reason
    assert make(ask(registry, "full/dvc.yaml:small"), small_disk / "work").problem is None


def test_a_remote_that_is_lost_half_way_is_a_problem_and_then_none(
    registry: Path, place: Path
) -> None:
    asked = ask(registry, f"{TEXTS}upper@01_a")
    remote = registry.parent / "remote"
    text = (registry / "processed/texts/dvc.yaml").read_text()
    away = f"mv {remote} {remote}.away && touch {remote} && python upper.py"
    write_tree(registry, {"processed/texts/dvc.yaml": text.replace("python upper.py", away)})
    lost = make(ask(registry, f"{TEXTS}upper@01_a"), place)
    assert lost.problem is not None
    assert lost.problem.kind == "unusable"
    assert f"remote store ({remote})" in lost.problem.reason
    remote.unlink()
    remote.with_name("remote.away").rename(remote)
    write_tree(registry, {"processed/texts/dvc.yaml": text})
    assert entry_of(make(asked, place)) == recorded(registry, f"{TEXTS}upper@01_a")


def test_the_cache_of_workers_stays_small_and_keeps_what_was_used_last(
    registry: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = "stages:\n" + "".join(
        f"  s{n}:\n    cmd: head -c 100000 /dev/zero | tr '\\0' {n} > f{n}\n    outs: [f{n}]\n"
        for n in range(5)
    )
    write_tree(registry, {"many/dvc.yaml": stages})
    commit_all(registry)
    monkeypatch.setenv(GIGABYTES, "0.00025")
    for n in range(5):
        assert make(ask(registry, f"many/dvc.yaml:s{n}"), place).problem is None
        time.sleep(0.02)
    kept = {path.read_text()[0] for path in (place / "cache").glob("files/md5/*/*")}
    assert kept == {"3", "4"}
    # Another worker began a stage before they were used: it may still need them.
    mark = place / "running" / name_of_mine()
    mark.touch()
    os.utime(mark, (0, 0))
    for n in range(5):
        assert make(ask(registry, f"many/dvc.yaml:s{n}", force=True), place).problem is None
    kept = {path.read_text()[0] for path in (place / "cache").glob("files/md5/*/*")}
    assert kept == {"0", "1", "2", "3", "4"}
    mark.unlink()
    entry_of(make(ask(registry, f"{TEXTS}twice"), place))
