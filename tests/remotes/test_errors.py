"""The errors of storage libraries become ours, with their words and without secrets."""

from __future__ import annotations

import socket

import aiohttp
import asyncssh
import botocore.exceptions
import google.auth.exceptions
import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ServiceRequestError
from dvc_objects.fs.errors import AuthError
from gcsfs.retry import HttpError

from registry_assets.dvc_repo.remote_errors import RemotePlace, translate
from registry_assets.errors import (
    RemoteAccessError,
    RemoteError,
    RemoteUnreachableError,
)
from registry_assets.units import install_command

SECRET = "Zm9v/YmFy+cXV4=="
PLACE = RemotePlace("storage", "s3://bucket/x", (SECRET,))

ADDRESS = f"http://127.0.0.1:9/x?token={SECRET}"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (asyncssh.PermissionDenied("no"), RemoteAccessError),
        (asyncssh.KeyEncryptionError("Incorrect passphrase"), RemoteAccessError),
        (AuthError("Authentication via connection string failed"), RemoteAccessError),
        (botocore.exceptions.NoCredentialsError(), RemoteAccessError),
        (ClientAuthenticationError("no"), RemoteAccessError),
        (google.auth.exceptions.RefreshError("invalid_grant"), RemoteAccessError),
        (HttpError({"code": 401, "message": "Invalid Credentials"}), RemoteAccessError),
        (OSError("Forbidden: bucket\nno access"), RemoteAccessError),
        (PermissionError(13, "Permission denied"), RemoteAccessError),
        (aiohttp.ServerDisconnectedError(), RemoteUnreachableError),
        (asyncssh.ConnectionLost("Connection lost"), RemoteUnreachableError),
        (
            botocore.exceptions.EndpointConnectionError(endpoint_url=ADDRESS),
            RemoteUnreachableError,
        ),
        (ConnectionRefusedError(111, "Connection refused"), RemoteUnreachableError),
        (FileNotFoundError("The specified bucket does not exist"), RemoteUnreachableError),
        (google.auth.exceptions.TransportError("no route"), RemoteUnreachableError),
        (HttpError({"code": 503, "message": "try later"}), RemoteUnreachableError),
        (HttpResponseError("Service\nunavailable"), RemoteError),
        (ServiceRequestError(f"Cannot connect to {ADDRESS}"), RemoteUnreachableError),
        (socket.gaierror(-2, "Name or service not known"), RemoteUnreachableError),
        (TimeoutError(), RemoteUnreachableError),
        (ImportError("s3 is supported, but requires 'dvc-s3'"), RemoteError),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else type(value).__name__,
)
def test_an_error_of_a_library_is_one_line_with_the_next_step(
    error: Exception, kind: type[RemoteError]
) -> None:
    found = translate(error, PLACE)
    assert type(found) is kind
    assert str(found).startswith("remote storage (s3://bucket/x) ")
    assert "\n" not in str(found)
    assert SECRET not in str(found)


def test_what_an_error_was_caused_by_tells_its_kind() -> None:
    error = RuntimeError("it did not work")
    error.__cause__ = ConnectionResetError(104, "Connection reset by peer")
    assert "cannot be reached (Connection reset by peer)" in str(translate(error, PLACE))


def test_a_missing_extra_is_named() -> None:
    found = str(translate(ImportError(), PLACE))
    command = install_command("registry-assets[s3]")
    assert command.endswith("pip install 'registry-assets[s3]'")
    assert f"needs another package: run `{command}`" in found
    other = RemotePlace("storage", "webdav://example.org/x", ())
    assert "pip install 'dvc-webdav'" in str(translate(ImportError(), other))
