"""Azurite, from npm: the emulator of Azure Blob Storage that Microsoft makes."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.remotes.servers.gates import RequestGate
from tests.remotes.servers.processes import (
    HOST,
    MissingServerError,
    fetched,
    find_free_port,
    install,
    install_packages,
    place_of,
    serving,
)
from tests.remotes.servers.storage import Storage

_PACKAGE = "azurite@3.35.0"
_NAME = _PACKAGE.replace("@", "-")
_NODE = ("nodejs", "npm")
_ACCOUNT = "registry"
_CONTAINER = "images"


@contextmanager
def serve(folder: Path) -> Iterator[Storage]:
    """Starts Azurite, with a container."""
    program = _find_azurite()
    key, wrong_key = (base64.b64encode(os.urandom(32)).decode() for _ in range(2))
    port = find_free_port()
    command = ["node", program, "--inMemoryPersistence", "--silent", "--skipApiVersionCheck"]
    command += ["--disableTelemetry", "--blobHost", HOST, "--blobPort", str(port)]
    env = {"AZURITE_ACCOUNTS": f"{_ACCOUNT}:{key}"}
    with serving(command, port, folder / "log", env):
        _make_container(_connection(port, key))
        gate = RequestGate(port)
        yield Storage(
            f"azure://{_CONTAINER}",
            gate,
            credentials={"connection_string": _connection(gate.port, key)},
            wrong_credentials={"connection_string": _connection(gate.port, wrong_key)},
            secrets=(wrong_key, _connection(gate.port, wrong_key)),
        )
        gate.shut()


def install_azurite() -> None:
    """Gets Azurite for this user, where it is missing, and Node.js for all."""
    if not (shutil.which("node") and shutil.which("npm")):
        install_packages(*_NODE)
    fetched(_NAME, lambda folder: install(*_npm(folder), folder=folder))


def _find_azurite() -> Path:
    folder = place_of(_NAME)
    program = folder / "node_modules/azurite/dist/src/blob/main.js"
    if not program.exists():
        raise MissingServerError("Azurite", " ".join(_npm(folder)))
    if shutil.which("node") is None:
        node = f"sudo apt-get install --no-install-recommends {' '.join(_NODE)}"
        raise MissingServerError("Node.js, which Azurite runs on,", node)
    return program


def _npm(folder: Path) -> list[str]:
    command = ["npm", "install", _PACKAGE, "--prefix", str(folder), "--ignore-scripts"]
    return [*command, "--no-audit", "--no-fund", "--loglevel=error"]


def _connection(port: int, key: str) -> str:
    return (
        f"DefaultEndpointsProtocol=http;AccountName={_ACCOUNT};AccountKey={key};"
        f"BlobEndpoint=http://{HOST}:{port}/{_ACCOUNT};"
    )


def _make_container(connection: str) -> None:
    from azure.storage.blob import BlobServiceClient

    with BlobServiceClient.from_connection_string(connection) as client:
        client.create_container(_CONTAINER)
