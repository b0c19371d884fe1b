"""Workers, schedulers and remotes that die while a stage is made."""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from dvc.config import Config

from tests.conftest import commit_all, write_tree
from tests.persisting.helpers import leftovers, metafiles
from tests.workers.cluster import Cluster, Machine, end, serving_cluster, wait_until
from tests.workers.faults.conftest import COLLECTIONS, REMOTE, TEXTS, Twin
from tests.workers.head import Head, begin_two, check_undisturbed, materialize, settle


def at_work_on(cluster: Cluster, name: str) -> Machine:
    """The machine whose worker runs the command for a collection, which has begun."""
    wait_until(lambda: cluster.runs(name), f"the beginning of the command for {name}")

    def found() -> Machine | None:
        for machine in cluster.machines.values():
            for process in machine.processes_at_work():
                with suppress(psutil.Error):
                    if f"data/inputs/{name}" in " ".join(process.cmdline()):
                        return machine
        return None

    machine: Machine = wait_until(found, f"the command for {name}")
    return machine


def check_left_nothing(cluster: Cluster) -> None:
    """Checks that no command runs, and that dead workers have no work tree."""
    wait_until(lambda: not cluster.processes_at_work(), "the end of commands", 15)
    for machine in cluster.machines.values():
        if machine.process.poll() is not None:
            wait_until(lambda m=machine: not m.trees(), "the end of work trees", 10)


def test_a_worker_killed_in_the_middle_is_replaced(
    registry: Path, twin: Twin, own_cluster: Cluster
) -> None:
    own_cluster.start_worker("one")
    own_cluster.start_worker("two")
    own_cluster.wait_for_workers(2)
    settle(registry, scheduler=own_cluster.address)
    own_cluster.hold("01_a")
    head = Head(registry, "materialize")
    machine = at_work_on(own_cluster, "01_a")
    commands = machine.processes_at_work()
    machine.process.kill()
    machine.process.wait()
    wait_until(lambda: not any(map(_runs_on, commands)), "the end of the command", 10)
    own_cluster.release()
    ended = head.wait()
    assert ended.code == 0, ended
    assert len(own_cluster.runs("01_a")) == 2
    check_undisturbed(registry, twin.metafiles)
    check_left_nothing(own_cluster)


def _runs_on(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_a_unit_that_kills_its_worker_each_time_is_given_up(
    registry: Path, own_cluster: Cluster
) -> None:
    for name in ("one", "two"):
        own_cluster.start_worker(name, has_nanny=True)
    own_cluster.wait_for_workers(2)
    settle(registry, scheduler=own_cluster.address)
    own_cluster.let_kill("02_b")
    ended = Head(registry, "materialize").wait()
    assert ended.code == 1
    (line,) = ended.errors
    assert "upper@02_b" in line
    assert "given up" in line
    # Dask gives it to four workers at most, and to four more if one could not say that it began.
    assert 2 <= len(own_cluster.runs("02_b")) <= 8
    # All others were made.
    lock = (registry / TEXTS / "dvc.lock").read_text()
    assert [name for name in COLLECTIONS if f"count@{name}" in lock] == ["01_a", "03_c", "04_d"]
    assert leftovers(registry) == []
    check_left_nothing(own_cluster)


def test_a_full_disk_is_named_and_is_not_the_last_word(
    registry: Path, twin: Twin, own_cluster: Cluster, tmp_path: Path
) -> None:
    own_cluster.start_worker("full", before=on_small_disk(tmp_path / "cluster" / "full" / "work"))
    own_cluster.wait_for_workers(1)
    settle(registry, scheduler=own_cluster.address)
    before = metafiles(registry)
    ended = materialize(registry, "--collection", "01_a")
    assert ended.code == 1
    (line,) = ended.errors
    assert "its disk is full" in line
    assert metafiles(registry) == before
    assert leftovers(registry) == []
    own_cluster.start_worker("good")
    own_cluster.wait_for_workers(2)
    # The good one is busy at first.
    own_cluster.hold(*COLLECTIONS)
    head = Head(registry, "materialize")
    wait_until(lambda: "its disk is full" in head.said, "the full disk")
    own_cluster.release()
    ended = head.wait()
    assert ended.code == 0, ended
    check_undisturbed(registry, twin.metafiles)


def on_small_disk(folder: Path) -> list[str]:
    """A program that runs another one where a folder is on a disk of a few kilobytes."""
    folder.mkdir(parents=True, exist_ok=True)
    script = 'mount -t tmpfs -o size=64k none "$0" && exec "$@"'
    return ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, str(folder)]


def test_a_worker_that_loses_the_remote_is_not_the_last_word(
    registry: Path, twin: Twin, own_cluster: Cluster, tmp_path: Path
) -> None:
    remote = tmp_path / "remote"
    # Each machine has a path of its own to the same remote.
    with Config(str(registry / ".dvc")).edit("repo") as config:
        config["remote"] = {}
    commit_all(registry)
    ways = {name: tmp_path / f"way-{name}" for name in ("head", "one", "two")}
    for name, way in ways.items():
        way.symlink_to(remote)
        if name != "head":
            own_cluster.start_worker(name)
        folder = tmp_path / "global" if name == "head" else own_cluster.machines[name].home
        folder = folder / "dvc-global"
        folder.mkdir(parents=True)
        (folder / "config").write_text(f"['remote \"{REMOTE}\"']\n    url = {way}\n")
    own_cluster.wait_for_workers(2)
    settle(registry, scheduler=own_cluster.address)
    own_cluster.hold("01_a")
    environment = {"DVC_GLOBAL_CONFIG_DIR": str(tmp_path / "global" / "dvc-global")}
    head = Head(registry, "materialize", environment=environment)
    way = ways[at_work_on(own_cluster, "01_a").name]
    way.unlink()
    way.write_text("no folder any more")
    own_cluster.release()
    ended = head.wait()
    assert ended.code == 0, ended
    with Config(str(registry / ".dvc")).edit("repo") as config:
        config["remote"] = {REMOTE: {"url": str(remote)}}
    check_undisturbed(registry, twin.metafiles)
    check_left_nothing(own_cluster)


def test_a_scheduler_that_is_gone_is_said_and_a_rerun_finds_what_was_pushed(
    registry: Path, twin: Twin, own_cluster: Cluster
) -> None:
    for name in ("one", "two"):
        own_cluster.start_worker(name)
    own_cluster.wait_for_workers(2)
    head = begin_two(registry, own_cluster)
    assert own_cluster.scheduler is not None
    own_cluster.scheduler.kill()
    own_cluster.scheduler.wait()
    began = time.monotonic()
    own_cluster.release("01_a")
    ended = head.wait(45)
    assert time.monotonic() - began < 30
    assert ended.code == 1
    (line,) = ended.errors
    assert "scheduler" in line
    assert "is gone" in line
    assert leftovers(registry) == []
    # Workers end by themselves, and their commands with them.
    for machine in own_cluster.machines.values():
        machine.process.wait(60)
    check_left_nothing(own_cluster)
    own_cluster.release()
    own_cluster.start_scheduler()
    own_cluster.start_worker("three")
    settle(registry, scheduler=own_cluster.address)
    ended = materialize(registry)
    assert ended.code == 0, ended
    assert own_cluster.runs("01_a") == ["01_a"]
    check_undisturbed(registry, twin.metafiles)


def other_versions(folder: Path, **versions: str) -> dict[str, str]:
    """The environment of a machine that has other versions of packages."""
    for name, version in versions.items():
        place = folder / f"{name}-{version}.dist-info"
        place.mkdir(parents=True)
        (place / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
    return {"PYTHONPATH": str(folder)}


def test_a_worker_of_another_version_is_refused_in_words(
    registry: Path, twin: Twin, own_cluster: Cluster, tmp_path: Path
) -> None:
    own_cluster.start_worker("old", environment=other_versions(tmp_path / "old", pillow="1.0"))
    own_cluster.wait_for_workers(1)
    settle(registry, scheduler=own_cluster.address)
    before = metafiles(registry)
    ended = materialize(registry)
    assert ended.code == 1
    assert ended.err.count("is not used: pillow is 1.0 instead of") == 1
    (line,) = ended.errors
    assert 'to "any"' in line
    assert own_cluster.runs() == []
    assert metafiles(registry) == before
    good = own_cluster.start_worker("good")
    own_cluster.wait_for_workers(2)
    ended = materialize(registry)
    assert ended.code == 0, ended
    assert ended.err.count("is not used") <= 1
    check_undisturbed(registry, twin.metafiles)
    settle(registry, scheduler=own_cluster.address, versions="any")
    end(good.process)
    assert materialize(registry, "--force", "--collection", "01_a").code == 0
    assert sorted(own_cluster.runs()) == ["01_a", *COLLECTIONS]
    check_undisturbed(registry, twin.metafiles)


def test_a_worker_keeps_nothing_of_one_that_was_killed(
    registry: Path, own_cluster: Cluster
) -> None:
    own_cluster.start_worker("one")
    own_cluster.wait_for_workers(1)
    settle(registry, scheduler=own_cluster.address)
    own_cluster.hold("01_a")
    head = Head(registry, "materialize", "--collection", "01_a")
    machine = at_work_on(own_cluster, "01_a")
    # The guard, too, as when a machine loses its power.
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            said = process.cmdline()
            if "registry-guard" in said and said[-1].startswith(str(machine.work)):
                process.kill()
    machine.process.kill()
    machine.process.wait()
    assert machine.trees()
    own_cluster.start_worker("one")
    own_cluster.release()
    ended = head.wait()
    assert ended.code == 0, ended
    assert len(machine.trees()) == 1
    check_left_nothing(own_cluster)


def test_a_worker_without_this_package_is_not_the_last_word(
    registry: Path, twin: Twin, own_cluster: Cluster, tmp_path: Path
) -> None:
    write_tree(tmp_path, {"old/registry_assets/__init__.py": '"""An old version."""\n'})
    own_cluster.start_worker("old", environment={"PYTHONPATH": str(tmp_path / "old")})
    own_cluster.start_worker("good")
    own_cluster.wait_for_workers(2)
    settle(registry, scheduler=own_cluster.address)
    ended = materialize(registry)
    assert ended.code == 0, ended
    assert ended.err.count("is not used: it lacks this package") == 1
    check_undisturbed(registry, twin.metafiles)


def test_orders_for_a_worker_that_dies_go_to_those_that_come(
    registry: Path, twin: Twin, own_cluster: Cluster, tmp_path: Path
) -> None:
    own_cluster.start_worker("old", environment=other_versions(tmp_path / "old", pillow="1.0"))
    good = own_cluster.start_worker("good")
    own_cluster.wait_for_workers(2)
    settle(registry, scheduler=own_cluster.address)
    own_cluster.hold(*COLLECTIONS)
    head = Head(registry, "materialize")
    wait_until(lambda: "is not used" in head.said and own_cluster.runs(), "a refusal")
    good.process.kill()
    own_cluster.start_worker("better")
    own_cluster.release()
    ended = head.wait()
    assert ended.code == 0, ended
    check_undisturbed(registry, twin.metafiles)


def test_a_worker_that_hangs_is_started_again(
    registry: Path, twin: Twin, tmp_path: Path, forks: str
) -> None:
    # By default, the scheduler waits for five minutes.
    settings = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "1s"}
    with serving_cluster(tmp_path / "cluster", forks, settings) as cluster:
        cluster.start_worker("one", has_nanny=True)
        cluster.wait_for_workers(1)
        settle(registry, scheduler=cluster.address)
        cluster.hold("01_a")
        head = Head(registry, "materialize")
        at_work_on(cluster, "01_a")
        (worker,) = psutil.Process(cluster.machines["one"].process.pid).children()[-1:]
        worker.suspend()
        wait_until(lambda: not _runs_on(worker), "the end of the worker")
        cluster.release()
        ended = head.wait()
        assert ended.code == 0, ended
        check_undisturbed(registry, twin.metafiles)
        check_left_nothing(cluster)


@pytest.mark.parametrize("who", ["worker", "scheduler"])
def test_a_machine_that_hangs_does_not_keep_the_head_from_being_stopped(
    registry: Path, own_cluster: Cluster, who: str
) -> None:
    for name in ("one", "two"):
        own_cluster.start_worker(name)
    own_cluster.wait_for_workers(2)
    settle(registry, scheduler=own_cluster.address)
    own_cluster.hold("01_a", "02_b")
    head = Head(registry, "materialize", "--collection", "01_a", "--collection", "02_b")
    machine = at_work_on(own_cluster, "01_a")
    hung = machine.process if who == "worker" else own_cluster.scheduler
    assert hung is not None
    wait_until(lambda: len(own_cluster.runs()) == 2, "two commands")
    hung.send_signal(signal.SIGSTOP)
    try:
        head.process.send_signal(signal.SIGINT)
        assert head.wait(40).code != 0
    finally:
        hung.send_signal(signal.SIGCONT)
    assert leftovers(registry) == []
    assert "may run on to their end" in head.said
    # A worker that wakes up hears that it is to stop; of a scheduler that slept, none does.
    if who == "scheduler":
        own_cluster.release()
    check_left_nothing(own_cluster)
