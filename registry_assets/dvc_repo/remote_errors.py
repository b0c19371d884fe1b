"""Translating the errors of storage libraries.

Errors are recognized by class name, as only the libraries of installed extras can be imported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from dvc.exceptions import DvcException
from dvc_objects.fs.errors import RemoteMissingDepsError

from registry_assets.addresses import without_secrets
from registry_assets.errors import (
    RegistryError,
    RemoteAccessError,
    RemoteError,
    RemoteUnreachableError,
)
from registry_assets.units import cut, install_command

if TYPE_CHECKING:
    from dvc.repo import Repo

# Classes of errors: the top-level package and the name.
_REFUSED = {
    "asyncssh.KeyEncryptionError",
    "asyncssh.KeyImportError",
    "asyncssh.PermissionDenied",
    "azure.ClientAuthenticationError",
    "botocore.NoCredentialsError",
    "botocore.PartialCredentialsError",
    "botocore.ProfileNotFound",
    "builtins.PermissionError",
    "dvc_objects.AuthError",
    "google.GoogleAuthError",
}
_UNREACHABLE = {
    "aiohttp.ClientConnectionError",
    "aiohttp.ClientPayloadError",
    "asyncio.TimeoutError",
    "asyncssh.ChannelOpenError",
    "asyncssh.DisconnectError",
    "asyncssh.SFTPConnectionLost",
    "asyncssh.SFTPNoConnection",
    "azure.ServiceRequestError",
    "azure.ServiceResponseError",
    "botocore.ConnectionError",
    "botocore.HTTPClientError",
    "builtins.ConnectionError",
    "builtins.TimeoutError",
    "google.TransportError",
    "requests.ConnectionError",
    "socket.gaierror",
    "urllib3.HTTPError",
}
_REFUSED_STATUS = (401, 403)
_ABSENT_STATUS = (404, 410)
_FIRST_SERVER_FAULT = 500

_EXTRAS = ("azure", "gs", "s3", "ssh")
_SECRET_SETTINGS = {
    "access_key_id",
    "account_key",
    "client_secret",
    "connection_string",
    "custom_auth_header",
    "oss_key_secret",
    "passphrase",
    "password",
    "sas_token",
    "secret_access_key",
    "session_token",
    "sse_customer_key",
    "token",
}
_SECRET_PARTS = {"accountkey", "sharedaccesssignature"}
_FILES = ("credentialpath", "keyfile")
_MOST_WORDS = 200
_ERRNO = re.compile(r"^\[Errno -?\d+\] ")


@dataclass(frozen=True)
class RemotePlace:
    """A remote as named in messages.

    Attributes:
        name: Its name in DVC's configuration.
        url: Its URL without secrets.
        secrets: The passwords, keys and tokens in its configuration.
    """

    name: str
    url: str
    secrets: tuple[str, ...]

    @property
    def scheme(self) -> str:
        """The kind of storage; "" for a folder."""
        scheme, found, _ = self.url.partition("://")
        return scheme if found else ""

    def without_secrets(self, text: str) -> str:
        """The text without passwords, keys and tokens of this remote."""
        for secret in self.secrets:
            text = text.replace(secret, "…").replace(quote(secret, safe=""), "…")
        return without_secrets(text)


def place_of(repo: Repo, name: str) -> RemotePlace:
    """Reads name and URL of a remote from the configuration.

    Raises:
        RemoteAccessError: when a configured key file is missing; otherwise its path would be sent
            as if it were the key.
    """
    config: Mapping[str, Any] = repo.config["remote"].get(name.lower(), {})
    place = RemotePlace(name, without_secrets(str(config.get("url", ""))), _secrets_in(config))
    for setting in _FILES:
        path = config.get(setting)
        if path and not Path(path).expanduser().is_file():
            raise RemoteAccessError(name, place.url, f"its {setting} {path} does not exist")
    return place


def _secrets_in(config: Mapping[str, Any]) -> tuple[str, ...]:
    found = [str(value) for key, value in config.items() if key in _SECRET_SETTINGS and value]
    for text in tuple(found):
        parts = (part.partition("=") for part in text.split(";"))
        found += [value for key, _, value in parts if key.lower() in _SECRET_PARTS and value]
    # The longest first, as one may contain another.
    return tuple(sorted(found, key=len, reverse=True))


@contextmanager
def reaching_remote(place: RemotePlace) -> Iterator[None]:
    """Turns any other error into a `RemoteError`.

    The original error is not chained: Dagster would store its text, which may have secrets.

    Raises:
        RemoteError: with the library's message, without secrets.
    """
    try:
        yield
    except (RegistryError, DvcException):
        raise
    except Exception as error:
        raise translate(error, place) from None


def translate(error: BaseException, place: RemotePlace) -> RemoteError:
    """The `RemoteError` for an error of a storage library."""
    if isinstance(error, ImportError | RemoteMissingDepsError):
        scheme = place.scheme
        package = f"registry-assets[{scheme}]" if scheme in _EXTRAS else f"dvc-{scheme}"
        return RemoteError(
            place.name,
            place.url,
            "needs another package",
            f"run `{install_command(package)}`",
        )
    for cause in _chain(error):
        kind = _kind_of(cause)
        if kind is not None:
            return kind(place.name, place.url, _words(cause, place))
    step = "check its settings, `dvc remote list` and `dvc config --list` show them"
    return RemoteError(place.name, place.url, f"cannot be used ({_words(error, place)})", step)


def hidden_cause(missing: FileNotFoundError) -> BaseException | None:
    """The real cause of a `FileNotFoundError`, if the file is not known to be missing.

    fsspec raises it for an HTTP server that does not answer, or refuses access.
    """
    cause = missing.__cause__
    status = getattr(cause, "status", None)
    is_refused = isinstance(status, int) and status not in _ABSENT_STATUS
    is_away = isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError)
    return cause if is_refused or is_away else None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _kind_of(
    error: BaseException,
) -> type[RemoteAccessError | RemoteUnreachableError] | None:
    names = {f"{cls.__module__.partition('.')[0]}.{cls.__name__}" for cls in type(error).__mro__}
    status = _status_of(error)
    # Google's transport errors are subclasses of its authentication error.
    if names & _UNREACHABLE and not names & (_REFUSED - {"google.GoogleAuthError"}):
        return RemoteUnreachableError
    if names & _REFUSED or status in _REFUSED_STATUS:
        return RemoteAccessError
    if isinstance(error, OSError) or status in _ABSENT_STATUS or status >= _FIRST_SERVER_FAULT:
        return RemoteUnreachableError
    return None


def _status_of(error: BaseException) -> int:
    """The HTTP status of an error; 0 if it has none."""
    if isinstance(error, OSError) and str(error).startswith("Forbidden: "):
        return _REFUSED_STATUS[1]  # gcsfs
    for attribute in ("status_code", "status", "code"):
        status = getattr(error, attribute, None)
        if isinstance(status, int):
            return status
    return 0


def _words(error: BaseException, place: RemotePlace) -> str:
    """The message of an error, shortened and on one line."""
    text = _ERRNO.sub("", str(error)).partition("\nRequestId")[0]
    if isinstance(error, FileNotFoundError):
        text = f"not found: {text}"
    text = place.without_secrets(" ".join(text.split()) or type(error).__name__)
    return cut(text, _MOST_WORDS)
