"""What runs in the containers of deploy/compose.yaml, without them: the same programs on loopback.

Code server, webserver and daemon know each other by `workspace.yaml` alone.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import yaml

from registry_assets import read_registry
from registry_assets.look.places import page_address
from registry_assets.orchestration.names import CHANGE_SENSOR_NAME, own_name
from registry_assets.orchestration.sensors.outside_changes import OUTDATED
from registry_assets.registry.contact_sheets import sheet_address
from tests.conftest import run
from tests.dagster_ui import (
    CHANGE_SECONDS,
    START_SECONDS,
    check_that_an_edit_is_seen,
    check_that_an_edit_is_seen_and_run,
    code_versions,
    free_port,
    look,
    materialize,
    query,
    wait_for,
)

DEPLOY = Path(__file__).parents[1] / "deploy"
END_SECONDS = 60
TICKS = """{ sensorOrError(sensorSelector: {
  repositoryLocationName: "registry_assets.definitions", repositoryName: "__repository__",
  sensorName: %s
}) { ... on Sensor { sensorState { ticks(limit: 1) { skipReason } } } } }"""


@contextmanager
def deployment(root: Path, *webserver: str, code: list[str] | None = None) -> Iterator[int]:
    """The port of the webserver of a deployment; the graph is there.

    Args:
        root: The registry.
        webserver: More options of it.
        code: Another code server than that of the file.
    """
    run(root, "registry", "sync")
    code_port, port = free_port(), free_port()
    workspace = root.parent / "workspace.yaml"
    text = (DEPLOY / "workspace.yaml").read_text()
    workspace.write_text(
        text.replace("host: code", "host: localhost").replace("4000", str(code_port))
    )
    elsewhere = {
        "--port=4000": f"--port={code_port}",
        "--port=3000": f"--port={port}",
        "--workspace=/etc/dagster/workspace.yaml": f"--workspace={workspace}",
        "python": sys.executable,
    }
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    with ExitStack() as stack:
        for name in ("code", "webserver", "daemon"):
            command = code if code and name == "code" else services[name]["command"]
            command = [elsewhere.get(word, word) for word in command]
            given = services[name]["environment"]
            environment = {
                variable: re.sub(r"\$\{REGISTRY(:\?)?\}", str(root), given[variable])
                for variable in ("REGISTRY_ROOT", "DAGSTER_HOME")
            }
            more = webserver if name == "webserver" else ()
            stack.enter_context(running(root.parent, name, [*command, *more], environment))
        yield port


@contextmanager
def running(
    folder: Path, name: str, command: list[str], environment: Mapping[str, str]
) -> Iterator[None]:
    """A program in a folder that is no registry, ended as containers are."""
    with (folder / f"{name}.log").open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(END_SECONDS)


def test_an_edit_is_seen_and_run_by_programs_that_are_started_apart(
    materialized_registry: Path,
) -> None:
    with deployment(materialized_registry) as port:
        wait_for(START_SECONDS, lambda: code_versions(port), "answer with the graph")
        check_that_an_edit_is_seen(port, materialized_registry, 2)
        check_that_an_edit_is_seen_and_run(port, materialized_registry, 3)


def test_a_code_server_that_cannot_reload_says_so_and_runs_the_edit(
    materialized_registry: Path,
) -> None:
    root = materialized_registry
    module = "--module-name=registry_assets.definitions"
    code = ["dagster", "api", "grpc", "--host=0.0.0.0", "--port=4000", module]
    name = own_name(read_registry(root), CHANGE_SENSOR_NAME)

    def says_so() -> bool:
        state = query(prefixed, TICKS % json.dumps(name))["sensorOrError"]["sensorState"]
        return any(tick["skipReason"] == OUTDATED for tick in state["ticks"])

    # What is Dagster's is below the prefix; contact sheets keep the address that events have.
    with deployment(root, "--path-prefix=/dagster", code=code) as port:
        prefixed = f"{port}/dagster"
        wait_for(START_SECONDS, lambda: code_versions(prefixed), "answer with the graph")
        sheet = sheet_address(read_registry(root).name, f"{'0' * 32}.dir")
        assert look(port, sheet) == (404, "image/svg+xml")
        # Nobody has set a token.
        assert look(port, page_address(read_registry(root).name)) == (404, "text/plain")
        (root / "processed/texts/params.yaml").write_text("suffix: 2\n")
        wait_for(CHANGE_SECONDS, says_so, "word of the change")
        materialize(prefixed, "processed/texts/data/intermediate/upper", "01_a")
        assert "suffix: 2\n" in (root / "processed/texts/dvc.lock").read_text()
