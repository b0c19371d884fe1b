"""What Dagster's webserver says and does, asked through GraphQL as its pages ask."""

from __future__ import annotations

import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.conftest import run

START_SECONDS = 180
RUNS_SECONDS = 180
CHANGE_SECONDS = 90
"""A minute is the promise; the machines that tests run on may be busy."""

_CODE_VERSIONS = "{ assetNodes { assetKey { path } opVersion } }"
_LOCATIONS = """{ workspaceOrError { ... on Workspace { locationEntries { name
  locationOrLoadError { ... on RepositoryLocation { repositories { name } } } } } } }"""
_LAUNCH = """mutation Launch($given: ExecutionParams!) {
  launchPipelineExecution(executionParams: $given) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on InvalidSubsetError { message }
  }
}"""
_STATUS = "{ runOrError(runId: %s) { ... on Run { status } } }"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def query(place: int | str, text: str, **variables: Any) -> Any:
    """What a webserver answers.

    Args:
        place: Its port, with the prefix of its paths behind it where it has one.
        text: In GraphQL.
        variables: Of that.
    """
    request = urllib.request.Request(
        f"http://127.0.0.1:{place}/graphql",
        data=json.dumps({"query": text, "variables": variables}).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["data"]


def look(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    """The status of what a browser asks for, and what kind of thing it is."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers.get_content_type()
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get_content_type()


def wait_for(seconds: float, found: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if result := found():
                return result
        except OSError:
            pass
        time.sleep(0.5)
    raise AssertionError(f"no {what} within {seconds} s")


def code_versions(port: int | str) -> dict[str, str]:
    """The code version of each asset, by its key."""
    nodes = query(port, _CODE_VERSIONS)["assetNodes"]
    return {"/".join(node["assetKey"]["path"]): node["opVersion"] for node in nodes}


def materialize(port: int | str, key: str, partition: str) -> None:
    """Does what the button in the UI does, and waits for the run."""
    (location,) = query(port, _LOCATIONS)["workspaceOrError"]["locationEntries"]
    (repository,) = location["locationOrLoadError"]["repositories"]
    given = {
        "selector": {
            "repositoryLocationName": location["name"],
            "repositoryName": repository["name"],
            "pipelineName": "__ASSET_JOB",
            "assetSelection": [{"path": key.split("/")}],
            "assetCheckSelection": [],
        },
        "mode": "default",
        "executionMetadata": {"tags": [{"key": "dagster/partition", "value": partition}]},
    }
    launched = query(port, _LAUNCH, given=given)["launchPipelineExecution"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    asked = _STATUS % json.dumps(launched["run"]["runId"])

    def has_succeeded() -> bool:
        status = query(port, asked)["runOrError"]["status"]
        assert status not in ("FAILURE", "CANCELED")
        return bool(status == "SUCCESS")

    wait_for(RUNS_SECONDS, has_succeeded, "successful run")


UPPER = "processed/texts/data/intermediate/upper"


def check_that_an_edit_is_seen(port: int, root: Path, suffix: int) -> None:
    """Nothing is restarted: a new parameter is a new code version."""
    before = code_versions(port)[UPPER]
    (root / "processed/texts/params.yaml").write_text(f"suffix: {suffix}\n")
    wait_for(CHANGE_SECONDS, lambda: code_versions(port)[UPPER] != before, "new code version")


def check_that_an_edit_is_seen_and_run(port: int, root: Path, suffix: int) -> None:
    """Nothing is restarted: a new parameter is a new code version, and what a run works with."""
    check_that_an_edit_is_seen(port, root, suffix)
    materialize(port, UPPER, "01_a")
    assert f"suffix: {suffix}\n" in (root / "processed/texts/dvc.lock").read_text()
    assert run(root, "dvc", "status", "processed/texts/dvc.yaml:upper@01_a").endswith(
        "up to date.\n"
    )
