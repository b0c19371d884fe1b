"""Stages made by workers, when nothing goes wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import DagsterInstance
from distributed import Client, Worker
from dvc.config import Config

from registry_assets import build_definitions
from registry_assets.orchestration.batch_job import BRING_JOB, BRING_OP
from registry_assets.orchestration.history.opening import open_history
from tests.commands import program
from tests.conftest import commit_all, lineage_of, run
from tests.persisting.helpers import contents, copy_repository, metafiles
from tests.remotes.servers import SERVERS
from tests.remotes.servers.storage import Storage
from tests.runs import define_assets, execute, own, plan_run
from tests.workers.cluster import CONTROL, Cluster
from tests.workers.faults.conftest import COLLECTIONS, REMOTE, TEXTS, Twin, share
from tests.workers.head import Head, check_undisturbed, materialize, settle

UPPER = f"{TEXTS}/data/intermediate/upper"


@pytest.fixture(autouse=True)
def _fresh(cluster: Cluster) -> Iterator[None]:
    """Each test begins with workers that have made nothing, and leaves none at work."""
    cluster.begin_anew()
    yield
    assert cluster.processes_at_work() == []


def test_no_worker_is_profiled_where_that_makes_it_hang(registry: Path, cluster: Cluster) -> None:
    settle(registry, scheduler=cluster.address)
    assert materialize(registry, "--collection", "01_a").code == 0
    with Client(cluster.address, set_as_default=False) as client:
        found = client.run(_is_profiled).values()
    at_work = {name for name, machine in cluster.machines.items() if machine.trees()}
    assert at_work
    has_fault = sys.version_info[:2] == (3, 11)
    assert {name: is_profiled for name, is_profiled in found if name in at_work} == dict.fromkeys(
        at_work, not has_fault
    )


def _is_profiled(dask_worker: Worker) -> tuple[object, bool]:
    return dask_worker.name, dask_worker.periodic_callbacks["profile"].is_running()


def test_the_registry_is_as_dvc_repro_makes_it(
    registry: Path, twin: Twin, cluster: Cluster
) -> None:
    settle(registry, scheduler=cluster.address)
    ended = materialize(registry)
    assert ended.code == 0, ended
    assert sorted(cluster.runs()) == list(COLLECTIONS)
    check_undisturbed(registry, twin.metafiles)
    assert contents(registry / UPPER / "01_a")["0.txt"] == "01_A 0\n"
    # Nothing is left to do, on this machine or on another one.
    assert "Nothing to do" in materialize(registry).out
    assert sorted(cluster.runs()) == list(COLLECTIONS)


@pytest.fixture
def storage(tmp_path: Path, _isolated_machine: None) -> Iterator[Storage]:
    """A server on loopback; `tests/remotes/test_workers.py` has a worker use one of each kind."""
    (tmp_path / "server").mkdir()
    with SERVERS["ssh"](tmp_path / "server") as found:
        yield found


def test_a_server_keeps_the_data_and_each_machine_its_own_credentials(
    registry: Path, twin: Twin, cluster: Cluster, storage: Storage
) -> None:
    settings = {"url": storage.place_for("registry"), "jobs": 4, **storage.settings}
    share(registry, settings, storage.credentials)
    settle(registry, scheduler=cluster.address)
    folders = [machine.home / "dvc-global" for machine in cluster.machines.values()]
    refused = materialize(registry, "--select", f'key:"{UPPER}"')
    assert refused.code == 1
    assert cluster.runs() == []
    for folder in folders:
        folder.mkdir()
        lines = [f"    {name} = {value}" for name, value in storage.credentials.items()]
        (folder / "config").write_text("\n".join([f"['remote \"{REMOTE}\"']", *lines, ""]))
    try:
        ended = materialize(registry)
    finally:
        for folder in folders:
            shutil.rmtree(folder)
    assert ended.code == 0, ended
    assert sorted(cluster.runs()) == list(COLLECTIONS)
    check_undisturbed(registry, twin.metafiles)


def test_outputs_may_stay_on_the_remote(registry: Path, twin: Twin, cluster: Cluster) -> None:
    settle(registry, scheduler=cluster.address, keep="remote", stages='{"upper*" = {}}')
    # `count` runs here, and reads what workers kept on the remote.
    only_upper = materialize(registry, "--select", f'key:"{UPPER}"')
    assert only_upper.code == 0, only_upper
    assert sorted(cluster.runs()) == list(COLLECTIONS)
    assert not (registry / UPPER / "01_a").exists()
    # What is downstream is not up to date yet.
    status = Head(registry, "status", "--json").wait()
    assert status.code == 1
    states = {item["path"]: item for item in json.loads(status.out)["outputs"]}
    kept = states[f"{UPPER}/01_a"]
    assert kept["state"] == "up_to_date"
    assert "it is kept on the remote" in kept["why"][0]
    short, details = Head(registry, "status").wait(), Head(registry, "status", "-v").wait()
    assert f"kept       {len(COLLECTIONS)} outputs are on the remote only" in short.out
    assert f"kept       {UPPER}/01_a  (it is kept on the remote" in details.out
    ended = materialize(registry)
    assert ended.code == 0, ended
    assert metafiles(registry) == twin.metafiles
    run(registry, "registry", "lineage", "--check")
    assert "Nothing to do" in materialize(registry).out
    assert sorted(cluster.runs()) == list(COLLECTIONS)
    run(registry, "dvc", "pull", "--quiet")
    check_undisturbed(registry, twin.metafiles)


def test_everything_downstream_runs_where_the_data_is(
    registry: Path, twin: Twin, cluster: Cluster
) -> None:
    settle(registry, scheduler=cluster.address, keep="remote")
    ended = materialize(registry)
    assert ended.code == 0, ended
    assert metafiles(registry) == twin.metafiles
    assert not (registry / UPPER / "01_a").exists()
    assert not (registry / TEXTS / "data/outputs/lines/01_a").exists()
    run(registry, "dvc", "pull", "--quiet")
    check_undisturbed(registry, twin.metafiles)


def test_processes_on_this_machine_share_its_cache(
    registry: Path, twin: Twin, tmp_path: Path
) -> None:
    settle(registry, local=2)
    (tmp_path / "control").mkdir()
    command = [program("registry"), "materialize"]
    done = subprocess.run(
        command,
        cwd=registry,
        capture_output=True,
        text=True,
        env={**os.environ, CONTROL: str(tmp_path / "control")},
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done
    check_undisturbed(registry, twin.metafiles)
    shown = run(registry, "registry", "materialize")
    assert "Nothing to do" in shown


def test_a_command_may_carry_orders(
    registry: Path, twin: Twin, cluster: Cluster, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    carry = f"exec env HOME={tmp_path} REGISTRY_WORK_FOLDER={work} registry work - --attached"
    settle(registry, command=carry, at_once=2)
    ended = materialize(registry, environment={CONTROL: str(cluster.control)})
    assert ended.code == 0, ended
    assert sorted(cluster.runs()) == list(COLLECTIONS)
    check_undisturbed(registry, twin.metafiles)
    assert list((work / "trees").iterdir()) == []


def test_a_run_of_one_partition_goes_to_workers(
    registry: Path, cluster: Cluster, instance: DagsterInstance
) -> None:
    settle(registry, scheduler=cluster.address)
    lineage = lineage_of(registry)
    planned = plan_run(lineage, f"{UPPER}/02_b")
    result = execute(define_assets(lineage), instance, planned, force=False, tags={})
    assert result.failures == ()
    assert [step.outcome for step in result.steps] == ["ran"]
    assert cluster.runs() == ["02_b"]
    assert (registry / UPPER / "02_b").is_dir()


def test_the_job_goes_to_workers_and_tells_where_they_are(
    registry: Path, twin: Twin, cluster: Cluster
) -> None:
    settle(registry, scheduler=cluster.address)
    run(registry, "registry", "sync")
    with open_history(registry) as history:
        job = build_definitions(registry).resolve_job_def(own(registry, BRING_JOB))
        result = job.execute_in_process(
            instance=history, run_config={"ops": {BRING_OP: {"config": {}}}}
        )
        assert result.success
        made = [
            event.step_materialization_data.materialization
            for event in result.all_events
            if event.is_step_materialization
        ]
    upper = [item for item in made if item.asset_key.path[-1] == "upper"]
    assert len(upper) == len(COLLECTIONS)
    for item in upper:
        assert item.metadata["made/machine"].value == os.uname().nodename
        assert {"made/run_seconds", "made/queue_seconds"} <= item.metadata.keys()
    assert sorted(cluster.runs()) == list(COLLECTIONS)
    check_undisturbed(registry, twin.metafiles)


def test_a_result_of_before_is_recorded_as_it_is(
    registry: Path, twin: Twin, cluster: Cluster
) -> None:
    settle(registry, scheduler=cluster.address)
    assert materialize(registry).code == 0
    place = registry / TEXTS / "program.py"
    program_text = place.read_text()
    place.write_text(program_text.replace(".upper()", ".upper() * 2"))
    assert materialize(registry).code == 0
    assert contents(registry / UPPER / "01_a")["0.txt"] == "01_A 0\n" * 2
    place.write_text(program_text)
    before = cluster.runs()
    ended = materialize(registry)
    assert ended.code == 0, ended
    assert cluster.runs() == before
    check_undisturbed(registry, twin.metafiles)
    # Nor if nothing was recorded, as when the other command is first to store its result.
    run(registry, "git", "checkout", "--quiet", "HEAD", "--", TEXTS)
    assert materialize(registry).code == 0
    assert cluster.runs() == before
    check_undisturbed(registry, twin.metafiles)


def test_two_heads_may_ask_for_the_same(
    registry: Path, twin: Twin, cluster: Cluster, tmp_path: Path
) -> None:
    settle(registry, scheduler=cluster.address)
    (tmp_path / "other").mkdir()
    other = copy_repository(registry, tmp_path / "other" / "registry")
    heads = [Head(root, "materialize") for root in (registry, other, registry)]
    for head in heads:
        ended = head.wait()
        assert ended.code == 0, ended
    for root in (registry, other):
        check_undisturbed(root, twin.metafiles)


def test_no_credential_of_the_head_travels(
    registry: Path, cluster: Cluster, tmp_path: Path
) -> None:
    secrets = ["of-the-environment-61c0", "of-the-settings-93e7", "of-the-user-20aa"]
    with Config(str(registry / ".dvc")).edit("local") as config:
        config["remote"]["mirror"] = {"url": "https://example.org/data", "password": secrets[1]}
    settle(registry, scheduler=cluster.address)
    environment = {
        "AWS_SECRET_ACCESS_KEY": secrets[0],
        "DVC_GLOBAL_CONFIG_DIR": str(tmp_path / "global"),
    }
    (tmp_path / "global").mkdir()
    (tmp_path / "global" / "config").write_text(
        f"['remote \"other\"']\n    url = https://me:{secrets[2]}@example.org/data\n"
    )
    # With a failure, whose report says more than a success.
    (registry / TEXTS / "data/inputs/04_d").rename(tmp_path / "gone")
    program_file = registry / TEXTS / "program.py"
    program_file.write_text(
        f"{program_file.read_text()}\nname == '03_c' and sys.exit(str(os.environ))\n"
    )
    commit_all(registry)
    ended = materialize(registry, environment=environment)
    assert ended.code == 1
    assert "environ" in ended.err
    found = [ended.out, ended.err]
    # The same orders as they travel.
    order = tmp_path / "order"
    settle(registry, command=f"head -n 1 > {order}", at_once=1)
    assert materialize(registry, environment=environment).code == 1
    asked = json.loads(order.read_bytes())
    assert asked["order"]["stage"]["address"].startswith(TEXTS)
    found.append(order.read_text())
    places = [*cluster.folder.rglob("*"), *(registry / ".dagster").rglob("*")]
    for place in places:
        if place.is_file() and not place.is_symlink():
            found.append(place.read_bytes().decode(errors="replace"))
    for secret in secrets:
        assert not [text[:200] for text in found if secret in text]


WITHOUT = """
import sys
from registry_assets.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print([name for name in ("dask", "distributed") if name in sys.modules])
"""


def test_without_the_setting_dask_is_not_imported(registry: Path, tmp_path: Path) -> None:
    said = run(
        registry,
        *(sys.executable, "-c", WITHOUT, "materialize", "--select", f'key:"{UPPER}"'),
        env={CONTROL: str(tmp_path)},
    )
    assert said.splitlines()[-1] == "[]"
    assert (registry / UPPER / "01_a").is_dir()


def test_without_the_extra_the_message_names_it(registry: Path, cluster: Cluster) -> None:
    settle(registry, scheduler=cluster.address)
    lacking = "import sys; sys.modules['distributed'] = None"
    start = "from registry_assets.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", f"{lacking}; {start}", "materialize"],
        cwd=registry,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "registry-assets[dask]" in done.stderr
    assert len(done.stderr.splitlines()) <= 2, done.stderr
    assert cluster.runs() == []
