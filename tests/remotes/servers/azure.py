"""Azurite, from npm: the emulator of Azure Blob Storage that Microsoft makes."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.remotes.servers.gates import RequestGate
from tests.remotes.servers.processes import HOST, fetched, find_free_port, install, serving
from tests.remotes.servers.storage import Storage

_VERSION = "3.35.0"
_ACCOUNT = "registry"
_CONTAINER = "images"


@contextmanager
def serve(folder: Path) -> Iterator[Storage]:
    """Starts Azurite, getting it first where it is not there, with a container."""
    program = fetched(f"azurite-{_VERSION}", _fetch) / "node_modules/azurite/dist/src/blob/main.js"
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


def _fetch(folder: Path) -> None:
    install(
        "npm", "install", f"azurite@{_VERSION}", "--prefix", str(folder), "--ignore-scripts",
        "--no-audit", "--no-fund", "--loglevel=error", folder=folder,
    )  # fmt: skip


def _connection(port: int, key: str) -> str:
    return (
        f"DefaultEndpointsProtocol=http;AccountName={_ACCOUNT};AccountKey={key};"
        f"BlobEndpoint=http://{HOST}:{port}/{_ACCOUNT};"
    )


def _make_container(connection: str) -> None:
    from azure.storage.blob import BlobServiceClient

    with BlobServiceClient.from_connection_string(connection) as client:
        client.create_container(_CONTAINER)
