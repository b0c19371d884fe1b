"""`registry look`: what it prints, where it opens, and how it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from registry_assets.look.serving import DEFAULT_PORT
from tests.commands import program
from tests.conftest import commit_all, run
from tests.dagster_ui import free_port
from tests.look.conftest import MARKUP
from tests.look.served import serving


def call(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What the command says that does not get to serve."""
    return subprocess.run(
        ["registry", "--root", str(root), "look", "--no-browser", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


BROWSER = """#!/bin/sh
case $1 in file://*) ;; *) exit 1;; esac
place=${1#file://}
stat -c %a "$place" > "$0.opened.partial"
cat "$place" >> "$0.opened.partial"
mv "$0.opened.partial" "$0.opened"
"""


def test_the_browser_is_led_to_the_address_by_a_file_of_this_user(
    root: Path, tmp_path: Path
) -> None:
    browser, opened = tmp_path / "browser", tmp_path / "browser.opened"
    browser.write_text(BROWSER)
    browser.chmod(0o700)
    command = [program("registry"), "--root", str(root), "look", "--port", str(free_port())]
    env = {**os.environ, "BROWSER": f"{browser} %s"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as started:
        assert started.stdout is not None
        address = started.stdout.readline().strip()
        end = time.monotonic() + 60
        while not opened.exists() and time.monotonic() < end:
            time.sleep(0.05)
        mode, _, page = opened.read_text().partition("\n")
        started.send_signal(signal.SIGINT)
        assert started.wait(30) == 0
    assert mode == "600"
    assert f"url={address}" in page
    assert list((root / ".dvc/tmp/registry_assets").glob("open-*")) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_says_its_address_once_it_answers_and_ends_in_silence(root: Path, number: int) -> None:
    port = free_port()
    with serving(root, port=port) as served:
        assert served.address == f"http://127.0.0.1:{port}/?token={served.token}"
        assert served.open().get().status == 200
        # Nobody else holds a connection, and somebody does.
        with socket.create_connection(("127.0.0.1", port)):
            assert served.interrupt(number) == (0, "", "")


@pytest.mark.parametrize("imported", ["registry_assets.look", "registry_assets.look.serving"])
def test_an_interrupt_while_it_starts_is_answered_in_silence(root: Path, imported: str) -> None:
    """At the first and the last of what the command imports, which Python is asked to say."""
    command = [program("registry"), "--root", str(root), "look", "--no-browser"]
    env = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    ) as started:
        assert started.stdout is not None
        assert started.stderr is not None
        assert any(line.split()[-1] == imported for line in started.stderr)
        started.send_signal(signal.SIGINT)
        errors = started.stderr.read().splitlines()
        assert [line for line in errors if not line.startswith("import time:")] == []
        assert started.stdout.read() == ""
        assert started.wait(30) == 0


def test_it_takes_a_free_port_when_the_default_one_is_taken_and_says_so(root: Path) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", DEFAULT_PORT))
            taken.listen()
        except OSError:
            # Somebody else on this machine has it, which is as good.
            pass
        with serving(root, port=None) as served:
            port = urlsplit(served.address).port
            assert port not in (DEFAULT_PORT, None)
            assert served.open().get().status == 200
            code, _, errors = served.interrupt()
        assert code == 0
        assert errors == f"registry: port {DEFAULT_PORT} is taken, so this is on {port}\n"


def test_a_port_that_was_asked_for_and_is_taken_is_refused(root: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = call(root, "--port", str(port))
    assert (done.returncode, done.stdout) == (1, "")
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert f"`registry look --port {port % 65535 + 1}`" in done.stderr


def test_a_host_that_is_not_here_is_refused(root: Path) -> None:
    done = call(root, "--host", "192.0.2.1")
    assert done.returncode == 1
    assert "cannot listen on 192.0.2.1" in done.stderr
    assert "registry look --host 127.0.0.1" in done.stderr


def test_it_warns_who_else_can_look(root: Path) -> None:
    with serving(root, "--host", "0.0.0.0") as served:
        assert urlsplit(served.address).hostname == socket.gethostname().lower()
        port = urlsplit(served.address).port
        assert served.send("/", headers={"Host": f"127.0.0.1:{port}"}).status == 403
        _, _, errors = served.interrupt()
    (warning,) = errors.splitlines()
    assert "reached from other machines" in warning
    assert "see all pictures and decide" in warning


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nothing", "there is no folder nothing: choose one of photos"),
        ("../photos", "there is no folder ../photos"),
    ],
)
def test_an_unknown_folder_is_refused_before_it_serves(root: Path, name: str, said: str) -> None:
    done = call(root, name)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr


def test_an_unknown_data_set_or_version_is_refused_before_it_serves(demo: Path) -> None:
    done = call(demo, "02_none")
    assert (done.returncode, done.stdout) == (1, "")
    assert "there is no data set 02_none: choose one of 01_image_dataset" in done.stderr
    for versions in (["v9"], ["HEAD", "v9"]):
        done = call(demo, "01_image_dataset", *versions)
        assert (done.returncode, done.stdout) == (1, "")
        assert "v9" in done.stderr


def test_no_repository_is_refused(tmp_path: Path) -> None:
    done = call(tmp_path)
    assert done.returncode == 1
    assert "no DVC repository" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["01_image_dataset"], "source=processed/01_image_dataset"),
        (["processed/01_image_dataset/"], "source=processed/01_image_dataset"),
        (
            ["02_data_collection_20_oct_2021"],
            "source=raw/02_data_collection_20_oct_2021",
        ),
        (
            ["01_image_dataset", "HEAD"],
            "source=processed/01_image_dataset&tab=versions&a=HEAD&b=",
        ),
        (
            ["01_image_dataset", "HEAD", "main"],
            "source=processed/01_image_dataset&tab=versions&a=HEAD&b=main",
        ),
    ],
)
def test_it_opens_at_what_was_asked_for(demo: Path, arguments: list[str], fragment: str) -> None:
    with serving(demo, *arguments) as served:
        assert urlsplit(served.address).fragment == fragment


def test_any_folder_of_a_dvc_repository_has_its_pictures_and_names_are_data(root: Path) -> None:
    commit_all(root)
    with serving(root, "photos") as served:
        assert urlsplit(served.address).fragment == "source=photos"
        served.open()
        overview = served.get("api/registry").json
        assert overview["folders"] == [{"path": "photos", "kind": "raw", "collection": None}]
        assert overview["datasets"] == []
        assert overview["author"] == "Test <test@example.org>"
        found = served.get("api/pictures", source="photos").json
        assert MARKUP in {row["path"] for row in found["rows"]}
        assert served.get("api/pictures", source="nothing").status == 404


def test_it_says_what_there_is(demo: Path) -> None:
    with serving(demo) as served:
        served.open()
        overview = served.get("api/registry").json
        (dataset,) = overview["datasets"]
        assert dataset == {
            "name": "01_image_dataset",
            "path": "processed/01_image_dataset",
            "has_measures": True,
            "has_decisions": True,
            "collections": ["01_data_collection_16_oct_2021", "02_data_collection_20_oct_2021"],
        }
        assert {folder["kind"] for folder in overview["folders"]} == {"raw", "import", "stage"}
        assert overview["versions"] == {"processed/01_image_dataset": []}
        assert overview["state"] == served.get("api/state").json["state"]


def test_a_clone_without_data_lists_its_pictures_and_fetches_them_when_asked(
    demo: Path, tmp_path: Path
) -> None:
    root, source = tmp_path / "clone", "processed/01_image_dataset"
    run(tmp_path, "registry", "clone", str(demo), str(root), "--no-data")
    with serving(root) as served:
        served.open()
        found = served.get("api/pictures", source=source).json
        row = next(row for row in found["rows"] if row["outcome"] == "kept")
        assert {row["here"] for row in found["rows"] if row["outcome"] == "kept"} == {False}
        assert served.get(f"thumbnails/{row['md5']}").json["absent"] == "here"
        assert served.post("api/fetch", {"md5s": [row["md5"]]}).json["fetched"] == 1
        assert served.get(f"thumbnails/{row['md5']}").status == 200
        shown = served.get(
            "api/picture", source=source, collection=row["collection"], path=row["path"]
        )
        assert shown.json["here"] is True
        _, _, errors = served.interrupt()
    assert "listings that the cache lacks" in errors
    assert "fetching the measures in " in errors


def test_where_listings_are_nowhere_it_says_so_and_shows_the_rest(root: Path) -> None:
    (listing,) = (root / ".dvc/cache/files/md5").rglob("*.dir")
    listing.unlink()
    with serving(root) as served:
        assert served.open().get("api/registry").status == 200
        _, _, errors = served.interrupt()
    assert "the listing of photos is not in the cache: `dvc fetch photos`" in errors


def test_a_registry_that_cannot_be_read_any_more_says_so(root: Path) -> None:
    with serving(root) as served:
        served.open()
        (root / "photos.dvc").write_text("outs: [")
        time.sleep(1.1)
        found = served.get("api/state")
        assert found.status == 200
        (root / ".dvc/config").write_text("[core\n")
        time.sleep(1.1)
        found = served.get("api/registry")
        assert found.status == 409
        assert "configuration" in found.json["error"]
    assert run(root, "git", "status", "--short")
