"""Dagster's webserver and daemon, as `registry ui` starts them."""

import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import psutil
import pytest
from PIL import Image

from registry_assets import read_registry
from registry_assets.dvc_repo import build_listing, hash_listing
from registry_assets.intake.initialising import init_registry
from registry_assets.look.places import page_address
from registry_assets.registry.contact_sheets import sheet_address
from tests.commands import program
from tests.conftest import run
from tests.dagster_ui import (
    CHANGE_SECONDS,
    RUNS_SECONDS,
    START_SECONDS,
    free_port,
    look,
    query,
    wait_for,
)
from tests.images.drawing import encode

RUNS = "{ runsOrError { ... on Runs { results { status tags { key value } } } } }"
GRAPH = """{ assetNodes { assetKey { path } groupName
  partitionStats { numMaterialized numPartitions } dependencyKeys { path } } }"""


STALENESS = """{ assetNodes {
  assetKey { path }
  a: staleStatus(partition: "01_a")
  b: staleStatus(partition: "02_b")
} }"""


def stale(port: int) -> set[tuple[str, str]]:
    return {
        (node["assetKey"]["path"][-1], name)
        for node in query(port, STALENESS)["assetNodes"]
        for name in ("a", "b")
        if node[name] != "FRESH"
    }


def check_that_changes_are_seen(port: int, root: Path) -> None:
    """Nothing is restarted: an edit shows as stale, and what `dvc` does about it as fresh."""
    assert stale(port) == set()
    (root / "processed/texts/params.yaml").write_text("suffix: 2\n")
    upper = {("upper", "a"), ("upper", "b")}
    wait_for(CHANGE_SECONDS, lambda: stale(port) == upper, "sign that the parameter changed")
    run(root, "dvc", "repro", "--quiet", "--single-item", "processed/texts/dvc.yaml:upper@02_b")
    only_a = {("upper", "a")}
    wait_for(CHANGE_SECONDS, lambda: stale(port) == only_a, "sign that dvc ran one item")
    run(root, "registry", "materialize")
    wait_for(CHANGE_SECONDS, lambda: stale(port) == set(), "sign that all is made")


def check_that_contact_sheets_are_served(port: int, root: Path) -> None:
    """On Dagster's own port, before all that Dagster serves."""
    picture = encode(Image.new("RGB", (40, 40), "red"), "PNG")
    listing = build_listing([("a.png", hashlib.md5(picture).hexdigest())])
    md5 = hash_listing(listing)
    for name, content in ((hashlib.md5(picture).hexdigest(), picture), (md5, listing)):
        place = root / ".dvc/cache/files/md5" / name[:2] / name[2:]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    address = sheet_address(read_registry(root).name, md5)
    assert look(port, address) == (200, "image/webp")
    assert look(port, address, "HEAD") == (200, "image/webp")
    assert look(port, address, "POST")[0] == 405
    nothing = sheet_address(read_registry(root).name, f"{'0' * 32}.dir")
    assert look(port, nothing) == (404, "image/svg+xml")
    assert look(port, "/registry/x/sheets/..%2f..%2fetc.webp")[1] == "text/html"
    assert look(port, "/server_info") == (200, "application/json")
    assert look(port, "/assets/raw") == (200, "text/html")
    assert look(port, "/favicon.png") == (200, "image/png")
    check_websocket(port)


def check_that_the_page_is_served(port: int, root: Path, token: str) -> None:
    """On Dagster's own port, for those who have the token; it leads to Dagster's own page."""

    def ask(target: str, **headers: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", target, headers=headers)
        return connection.getresponse()

    page = page_address(read_registry(root).name)
    assert ask(page).status == ask("/?token=wrong").status == 403
    door = ask(f"/?token={token}")
    assert (door.status, door.headers["location"]) == (303, "/")
    cookie = door.headers["set-cookie"].partition(";")[0]
    assert ask(f"{page}api/registry", Cookie=cookie).status == 200
    assert ask(f"{page}api/registry", Cookie=cookie, Host=f"evil.example:{port}").status == 403
    assert ask(page.rstrip("/"), Cookie=cookie).headers["location"] == page
    # What is Dagster's stays as it is.
    assert "set-cookie" not in ask("/").headers
    assert ask("/?view=token").status == 200


def check_websocket(port: int) -> None:
    """Dagster's UI hears of changes by one."""
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.sendall(
            (
                f"GET /graphql HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
                "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: graphql-ws\r\n\r\n"
            ).encode()
        )
        assert connection.recv(1000).startswith(b"HTTP/1.1 101 ")


def test_folders_are_taken_in_by_the_sensor_and_seen_in_the_ui(text_registry: Path) -> None:
    settings = text_registry / "pyproject.toml"
    settings.write_text(settings.read_text().replace("settle_seconds = 30", "settle_seconds = 1"))
    (text_registry / "raw" / "bad name").mkdir()
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [program("registry"), "--root", str(text_registry), "ui", "--port", str(port)]
    said = text_registry.parent / "ui.log"
    with said.open("w") as log:
        server = subprocess.Popen(command, cwd="/", stdout=log, stderr=subprocess.STDOUT)
    started: list[psutil.Process] = []
    try:
        printed = re.compile(rf"^{re.escape(address)}/\?token=([\w-]{{43}})$", re.MULTILINE)
        found = wait_for(START_SECONDS, lambda: printed.search(said.read_text()), "address")
        # It is said when there is the graph to see, and not before.
        assert query(port, GRAPH)["assetNodes"]
        warned = re.findall(
            r".*(?:warning|superseded|deprecated).*", said.read_text(), re.IGNORECASE
        )
        assert warned == []

        def both_done() -> bool:
            runs = query(port, RUNS)["runsOrError"]["results"]
            assert not any(item["status"] == "FAILURE" for item in runs)
            return [item["status"] for item in runs] == ["SUCCESS", "SUCCESS"]

        wait_for(RUNS_SECONDS, both_done, "two successful runs")
        runs = query(port, RUNS)["runsOrError"]["results"]
        tags = [{tag["key"]: tag["value"] for tag in item["tags"]} for item in runs]
        assert {item["dagster/partition"] for item in tags} == {"01_a", "02_b"}
        nodes = {"/".join(n["assetKey"]["path"]): n for n in query(port, GRAPH)["assetNodes"]}
        assert set(nodes) == {
            "raw",
            "processed/texts/data/inputs",
            "processed/texts/data/intermediate/upper",
            "processed/texts/data/outputs/lines",
            "processed/texts/data/outputs/names",
        }
        for node in nodes.values():
            assert node["partitionStats"] == {"numMaterialized": 2, "numPartitions": 2}
        inputs = nodes["processed/texts/data/inputs"]
        assert inputs["dependencyKeys"] == [{"path": ["raw"]}]
        check_that_contact_sheets_are_served(port, text_registry)
        check_that_the_page_is_served(port, text_registry, found[1])
        # It was said once, by the command.
        assert said.read_text().count(found[1]) == 1
        check_that_changes_are_seen(port, text_registry)
        started = psutil.Process(server.pid).children(recursive=True)
        assert started
    finally:
        server.send_signal(signal.SIGINT)
        code = server.wait(60)
    assert code == 0
    _, alive = psutil.wait_procs(started, timeout=30)
    assert not alive
    assert "10 outputs" in run(text_registry, "registry", "lineage", "--check")
    status = json.loads(run(text_registry, "registry", "status", "--json"))
    assert status["up_to_date"] is True
    assert {item["state"] for item in status["raw"]} == {"tracked", "rejected"}


@pytest.mark.parametrize("why", ["the name is taken", "settings"])
def test_what_is_refused_is_all_that_is_said(text_registry: Path, tmp_path: Path, why: str) -> None:
    home = tmp_path / "shared"
    home.mkdir()
    shutil.copy(text_registry / "dagster.yaml", home)
    run(text_registry, "registry", "sync", env={"DAGSTER_HOME": str(home)})
    other = tmp_path / "other"
    list(init_registry(other))
    (other / ".env").unlink()
    if why == "settings":
        with (home / "dagster.yaml").open("a") as settings:
            settings.write("no_such_setting: 1\n")
        said = "no_such_setting"
    else:
        settings_file = other / "pyproject.toml"
        name = read_registry(text_registry).name
        settings_file.write_text(
            settings_file.read_text().replace('name = "other"\nbox', f'name = "{name}"\nbox')
        )
        said = f"another registry in this Dagster instance is named {name}"
    done = subprocess.run(
        ["registry", "ui", "--port", str(free_port())],
        cwd=other,
        env={**os.environ, "DAGSTER_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    where, refused = done.stderr.splitlines()
    assert where == f"registry: using the history in {home}, as DAGSTER_HOME is set"
    assert said in refused


def test_an_interrupt_while_everything_starts_is_answered_in_silence(text_registry: Path) -> None:
    list(init_registry(text_registry))
    command = [program("registry"), "ui", "--port", str(free_port())]
    with subprocess.Popen(
        command, cwd=text_registry, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "Starting Dagster; Ctrl-C stops it\n"
        started.send_signal(signal.SIGINT)
        rest, errors = started.communicate(timeout=60)
    assert started.returncode == 0
    assert (rest, errors) == ("", "")
