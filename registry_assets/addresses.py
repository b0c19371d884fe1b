"""Addresses of repositories: whether two name the same one, and how they may be shown."""

from __future__ import annotations

import re

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>[^\s'\"<>]*)")
# As Git reads it (git-clone, "GIT URLS"): no slash before the first colon.
_SCP_LIKE = re.compile(r"(?:(?P<user>[^@/:]+)@)?(?P<host>[^@/:]+):(?!//)(?P<path>.+)")
_WITH_USER_NAMES = {"ssh", "git+ssh", "ssh+git", "sftp"}


def without_secrets(text: str) -> str:
    """Returns a text with the passwords and tokens taken out of every URL in it.

    What stands before the host goes, except for the user of an SSH address, and so does a query,
    as it may be signed.
    """

    def shown(found: re.Match[str]) -> str:
        scheme, rest = found["scheme"], found["rest"]
        before_query, is_query, _ = rest.partition("?")
        before_path, slash, path = before_query.partition("/")
        user, _, host = before_path.rpartition("@")
        name = user.partition(":")[0]
        kept = f"{name}@" if name and scheme.lower() in _WITH_USER_NAMES else ""
        return f"{scheme}://{kept}{host}{slash}{path}{'?…' if is_query else ''}"

    return _URL.sub(shown, text)


def is_local(address: str) -> bool:
    """Whether an address is a path on this machine, not a URL."""
    return "://" not in address and not _SCP_LIKE.fullmatch(address)


def is_same_repository(one: str, other: str) -> bool:
    """Whether two addresses lead to the same repository: same host, same path.

    How one gets there (the protocol, the user) does not matter, nor does a `.git` at the end.
    """
    return _identity(one) == _identity(other)


def _identity(address: str) -> tuple[str, str]:
    url = _URL.fullmatch(address)
    scp_like = _SCP_LIKE.fullmatch(address)
    if url:
        host, _, path = url["rest"].partition("/")
        path = f"/{path}"
        if url["scheme"].lower() == "file":
            host = ""
    elif scp_like:
        host, path = scp_like["host"], f"/{scp_like['path'].removeprefix('/')}"
    else:
        host, path = "", address
    return host.rpartition("@")[2].lower(), path.rstrip("/").removesuffix(".git").rstrip("/")
