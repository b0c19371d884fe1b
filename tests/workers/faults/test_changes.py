"""What people do to the head while stages are made on workers."""

from __future__ import annotations

import os
import random
import signal
import socket
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from registry_assets.registry.home import HOME
from registry_assets.workers.place import FOLDER
from tests.commands import program
from tests.conftest import run, write_tree
from tests.persisting.helpers import copy_repository, leftovers, metafiles
from tests.remotes.servers.processes import HOST, find_free_port
from tests.workers.cluster import CONTROL, Cluster, wait_until
from tests.workers.faults.conftest import COLLECTIONS, TEXTS, Twin
from tests.workers.head import Head, begin_two, check_undisturbed, materialize, settle

PROGRAM = f"{TEXTS}/program.py"


@pytest.fixture(autouse=True)
def _fresh(cluster: Cluster) -> Iterator[None]:
    """Each test begins with workers that have made nothing, and leaves none at work."""
    cluster.begin_anew()
    yield
    cluster.release()
    wait_until(lambda: not cluster.processes_at_work(), "the end of commands", 10)


def are_held(registry: Path, collections: Iterable[str]) -> bool:
    """Whether the head has locked the stages of some collections."""
    locks = registry / ".dvc/tmp/rwlock"
    held = locks.read_text() if locks.exists() else ""
    return all(f"{TEXTS}/data/intermediate/upper/{name}" in held for name in collections)


def test_code_edited_meanwhile_is_noticed_and_nothing_is_lost(
    registry: Path, twin: Twin, cluster: Cluster
) -> None:
    settle(registry, scheduler=cluster.address)
    before = (registry / PROGRAM).read_text()
    cluster.hold(*COLLECTIONS)
    head = Head(registry, "materialize")
    # All are prepared with the code as it was: else those that come later take the new one.
    wait_until(lambda: are_held(registry, COLLECTIONS), "all stages")
    wait_until(lambda: len(cluster.runs()) == 2, "two commands")
    (registry / PROGRAM).write_text(before.replace("upper()", "title()"))
    cluster.release()
    ended = head.wait()
    assert ended.code == 1
    assert ended.errors
    assert all("program.py changed" in line for line in ended.errors), ended
    assert leftovers(registry) == []
    # What was made of the code before is found.
    (registry / PROGRAM).write_text(before)
    assert materialize(registry).code == 0
    assert sorted(cluster.runs()) == list(COLLECTIONS)
    check_undisturbed(registry, twin.metafiles)


def test_the_branch_switched_meanwhile_is_noticed_and_nothing_is_lost(
    registry: Path, twin: Twin, cluster: Cluster
) -> None:
    head = begin_two(registry, cluster)
    before = metafiles(registry)
    run(registry, "git", "switch", "--quiet", "--create", "other")
    cluster.release()
    ended = head.wait()
    assert ended.code == 1
    assert all("the checked-out branch changed" in line for line in ended.errors), ended
    assert metafiles(registry) == before
    assert leftovers(registry) == []
    run(registry, "git", "switch", "--quiet", "-")
    assert materialize(registry).code == 0
    assert sorted(cluster.runs()) == list(COLLECTIONS)
    check_undisturbed(registry, twin.metafiles)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_stopping_the_head_ends_the_commands_on_workers(
    registry: Path, twin: Twin, cluster: Cluster, sent: signal.Signals
) -> None:
    settle(registry, scheduler=cluster.address)
    cluster.hold(*COLLECTIONS)
    before = metafiles(registry)
    head = Head(registry, "materialize")
    wait_until(lambda: len(cluster.runs()) == 2, "two commands")
    head.process.send_signal(sent)
    began = time.monotonic()
    wait_until(lambda: not cluster.processes_at_work(), "the end of commands", 8)
    assert head.wait(20).code not in (0, None)
    assert time.monotonic() - began < 10
    assert metafiles(registry) == before
    assert leftovers(registry) == []
    # What was waiting on the scheduler does not begin later.
    time.sleep(1)
    assert len(cluster.runs()) == 2
    cluster.release()
    assert materialize(registry).code == 0
    check_undisturbed(registry, twin.metafiles)


def test_the_head_killed_before_recording_finds_what_was_made(
    registry: Path, twin: Twin, cluster: Cluster
) -> None:
    head = begin_two(registry, cluster)
    before = metafiles(registry)
    head.kill()
    cluster.release()
    wait_until(lambda: not cluster.processes_at_work(), "the end of commands")
    assert metafiles(registry) == before
    wait_until(lambda: _runs_on(registry.parent / "remote") == 2, "what was pushed")
    ended = materialize(registry)
    assert ended.code == 0, ended
    assert sorted(cluster.runs()) == list(COLLECTIONS)
    check_undisturbed(registry, twin.metafiles)


def _runs_on(remote: Path) -> int:
    """The number of entries in the run cache of a remote."""
    return len([place for place in (remote / "runs").rglob("*") if place.is_file()])


def test_the_head_killed_between_two_records_goes_on_from_there(
    registry: Path, cluster: Cluster
) -> None:
    twin = copy_repository(registry, registry.parent / "twin" / "registry")
    settle(registry, scheduler=cluster.address)
    cluster.hold("02_b")
    head = Head(registry, "materialize", "--collection", "01_a", "--collection", "02_b")
    lock = registry / TEXTS / "dvc.lock"
    wait_until(lambda: lock.exists() and "count@01_a" in lock.read_text(), "the first records")
    head.kill()
    cluster.release()
    ended = materialize(registry)
    assert ended.code == 0, ended
    assert cluster.runs("01_a") == ["01_a"]
    # As if `dvc repro` had been interrupted at the same point.
    for target in ("count@01_a", ""):
        command = ["dvc", "repro", "--quiet", *([target] if target else [])]
        run(twin / TEXTS, *command, env={CONTROL: str(registry.parent)})
    check_undisturbed(registry, metafiles(twin))


def test_a_scheduler_that_does_not_answer_is_named(registry: Path) -> None:
    port = find_free_port()
    settle(registry, scheduler=f"tcp://{HOST}:{port}")
    began = time.monotonic()
    ended = Head(registry, "materialize").wait()
    assert time.monotonic() - began < 30
    assert ended.code == 1
    (line,) = ended.errors
    assert f"no Dask scheduler answers at tcp://{HOST}:{port}" in line
    with socket.create_server((HOST, port)):
        ended = Head(registry, "materialize").wait()
    assert ended.code == 1
    (line,) = ended.errors
    assert f"no Dask scheduler answers at tcp://{HOST}:{port}" in line


def test_resources_that_no_worker_has_are_named(registry: Path, cluster: Cluster) -> None:
    settle(registry, scheduler=cluster.address, stages="{ upper = { GPU = 4 } }")
    head = Head(registry, "materialize")
    head.wait_until_said("waiting for a worker with GPU=4")
    head.process.send_signal(signal.SIGINT)
    assert head.wait(10).code != 0
    assert cluster.runs() == []


def test_stages_go_where_the_resources_are(registry: Path, twin: Twin, cluster: Cluster) -> None:
    settle(registry, scheduler=cluster.address, stages='{ upper = { GPU = 1 }, "*" = {} }')
    assert materialize(registry).code == 0
    assert cluster.machines["two"].trees()
    check_undisturbed(registry, twin.metafiles)
    objects = cluster.machines["two"].work / "cache/files/md5"
    assert len(list(objects.glob("*/*.dir"))) >= 2 * len(COLLECTIONS)


def test_no_worker_is_said_and_the_first_one_is_used(
    registry: Path, twin: Twin, own_cluster: Cluster
) -> None:
    settle(registry, scheduler=own_cluster.address)
    head = Head(registry, "materialize")
    head.wait_until_said("waiting for a worker")
    own_cluster.start_worker("late")
    ended = head.wait()
    assert ended.code == 0, ended
    check_undisturbed(registry, twin.metafiles)


def test_stopping_a_command_that_carries_orders_ends_what_it_started(
    registry: Path, cluster: Cluster, tmp_path: Path
) -> None:
    work = tmp_path / "machine" / "work"
    carry = f"sh -c 'env REGISTRY_WORK_FOLDER={work} registry work - --attached'"
    settle(registry, command=carry, at_once=2)
    cluster.hold(*COLLECTIONS)
    head = Head(registry, "materialize", environment={CONTROL: str(cluster.control)})
    wait_until(lambda: len(cluster.runs()) == 2, "two commands")
    head.process.send_signal(signal.SIGINT)
    assert head.wait(20).code != 0
    assert _working_in(work) == []
    wait_until(lambda: list((work / "trees").iterdir()) == [], "clean work trees", 10)
    assert leftovers(registry) == []
    assert cluster.runs() == cluster.runs()[:2]


def _working_in(folder: Path) -> list[object]:
    from tests.workers.cluster import Machine

    return list(Machine("", folder.parent, None).processes_at_work())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("command", "said"),
    [("head -n 1 > /dev/null; echo so >&2; exit 7", "so"), ("true", "no answer")],
)
def test_a_command_without_an_answer_is_named(registry: Path, command: str, said: str) -> None:
    settle(registry, command=command, at_once=2)
    ended = Head(registry, "materialize", "--collection", "01_a").wait()
    assert ended.code == 1
    assert "gave no answer" in ended.err
    assert said in ended.err
    assert leftovers(registry) == []


def test_a_command_that_does_not_read_its_order_can_be_stopped(registry: Path) -> None:
    # More than fits into a pipe.
    write_tree(registry, {"notes.md": random.Random(3).randbytes(200_000).hex()})
    settle(registry, command="exec sleep 600", at_once=1)
    head = Head(registry, "materialize", "--collection", "01_a")

    def started() -> list[psutil.Process]:
        return [p for p in psutil.process_iter() if _is_sleep_of(p, registry)]

    wait_until(started, "the command")
    head.process.send_signal(signal.SIGINT)
    assert head.wait(15).code != 0
    assert started() == []
    assert leftovers(registry) == []


def _is_sleep_of(process: psutil.Process, root: Path) -> bool:
    with suppress(psutil.Error):
        return process.cmdline() == ["sleep", "600"] and process.cwd() == str(root)
    return False


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_processes_on_this_machine_end_with_the_head(
    registry: Path, cluster: Cluster, tmp_path: Path, sent: signal.Signals
) -> None:
    settle(registry, local=2)
    cluster.hold(*COLLECTIONS)
    work = tmp_path / "machine" / "work"
    environment = {CONTROL: str(cluster.control), FOLDER: str(work)}
    head = Head(registry, "materialize", environment=environment, program=program("registry"))
    wait_until(lambda: len(cluster.runs()) == 2, "two commands")
    if sent == signal.SIGINT:
        # As a terminal does on Ctrl-C.
        os.killpg(head.process.pid, sent)
    else:
        head.process.send_signal(sent)
    assert head.wait(20).code != 0
    wait_until(lambda: not _working_in(work), "the end of the commands", 10)
    wait_until(lambda: list((work / "trees").iterdir()) == [], "the end of work trees", 10)
    assert leftovers(registry) == [] or sent == signal.SIGKILL
    assert "distributed" not in head.said


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_terminating_a_run_of_one_partition_ends_its_command(
    registry: Path, cluster: Cluster, sent: signal.Signals
) -> None:
    settle(registry, scheduler=cluster.address)
    run(registry, "registry", "sync")
    cluster.hold("01_a")
    key = f'key:"{TEXTS}/data/intermediate/upper"'
    head = Head(
        registry,
        *("asset", "materialize", "-m", "registry_assets.definitions"),
        *("--select", key, "--partition", "01_a"),
        program=os.fspath(Path(sys.executable).parent / "dagster"),
        environment={"DAGSTER_HOME": str(registry / HOME)},
    )
    wait_until(cluster.runs, "the command")
    head.process.send_signal(sent)
    wait_until(lambda: not cluster.processes_at_work(), "the end of the command", 10)
    assert head.wait(20).code != 0
    assert leftovers(registry) == []
    assert not (registry / TEXTS / "dvc.lock").exists()
