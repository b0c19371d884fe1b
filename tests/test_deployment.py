"""Code server, webserver and daemon as programs of their own, as in docs/deployment.md.

They know each other by `workspace.yaml` alone; in containers they run on several machines.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from registry_assets.orchestration.sensors.outside_changes import CHANGE_SENSOR_NAME, OUTDATED
from tests.conftest import run, write_tree
from tests.dagster_ui import (
    CHANGE_SECONDS,
    START_SECONDS,
    check_that_an_edit_is_seen_and_run,
    code_versions,
    free_port,
    materialize,
    query,
    wait_for,
)

END_SECONDS = 60
TICKS = """{ sensorsOrError(repositorySelector: {
  repositoryLocationName: "registry_assets", repositoryName: "__repository__"
}) { ... on Sensors { results { name sensorState { ticks(limit: 1) { skipReason } } } } } }"""


@contextmanager
def running(root: Path, name: str, *command: str) -> Iterator[None]:
    """A program of Dagster, until it is left."""
    with (root.parent / f"{name}.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=root,
            env={**os.environ, "DAGSTER_HOME": str(root / ".dagster"), "REGISTRY_ROOT": str(root)},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(END_SECONDS)


@contextmanager
def deployment(root: Path, *code_server: str) -> Iterator[int]:
    """The port of the webserver of a deployment; the graph is there."""
    run(root, "registry", "sync")
    code, port = free_port(), free_port()
    workspace = root.parent / "workspace.yaml"
    write_tree(
        root.parent,
        {
            "workspace.yaml": "load_from:\n  - grpc_server:\n      host: localhost\n"
            f"      port: {code}\n      location_name: registry_assets\n"
        },
    )
    where = ("--host", "0.0.0.0", "--port", str(code))
    others = ("--workspace", str(workspace))
    with ExitStack() as stack:
        module = ("--module-name", "registry_assets.definitions")
        stack.enter_context(running(root, "code", *code_server, *where, *module))
        serve = ("dagster_webserver", "--port", str(port), *others)
        stack.enter_context(running(root, "webserver", *serve))
        stack.enter_context(running(root, "daemon", "dagster._daemon", "run", *others))
        wait_for(START_SECONDS, lambda: code_versions(port), "answer with the graph")
        yield port


def test_an_edit_is_seen_and_run_with_a_code_server_elsewhere(materialized_registry: Path) -> None:
    with deployment(materialized_registry, "dagster", "code-server", "start") as port:
        check_that_an_edit_is_seen_and_run(port, materialized_registry, 2)
        check_that_an_edit_is_seen_and_run(port, materialized_registry, 3)


def test_a_server_that_cannot_reload_says_so_and_runs_the_edit(
    materialized_registry: Path,
) -> None:
    root = materialized_registry
    with deployment(root, "dagster", "api", "grpc") as port:
        (root / "processed/texts/params.yaml").write_text("suffix: 2\n")

        def says_so() -> bool:
            sensors = query(port, TICKS)["sensorsOrError"]["results"]
            (watch,) = [item for item in sensors if item["name"].endswith(CHANGE_SENSOR_NAME)]
            return any(tick["skipReason"] == OUTDATED for tick in watch["sensorState"]["ticks"])

        wait_for(CHANGE_SECONDS, says_so, "word of the change")
        upper = "processed/texts/data/intermediate/upper"
        materialize(port, upper, "01_a")
        assert "suffix: 2\n" in (root / "processed/texts/dvc.lock").read_text()
