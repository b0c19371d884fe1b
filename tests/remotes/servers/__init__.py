"""Servers that data can be pushed to, one module each: real ones, on loopback, for a test."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from tests.remotes.servers import azure, folder, gs, s3, ssh
from tests.remotes.servers.storage import Storage

SERVERS: Mapping[str, Callable[[Path], AbstractContextManager[Storage]]] = {
    "folder": folder.serve,
    "ssh": ssh.serve,
    "s3": s3.serve,
    "azure": azure.serve,
    "gs": gs.serve,
}
