"""Recognising the forge of a remote, and its page for opening a pull request."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, urlencode

from registry_assets.addresses import without_secrets

_WEB = re.compile(
    r"(?:(?P<scheme>https?|ssh|git|git\+ssh)://)?(?:[^@/]+@)?(?P<host>[^@/:]+)(?::\d+(?=/))?"
    r"[:/](?P<path>.+?)(?:\.git)?/?"
)
# Azure DevOps has another host and path for SSH.
_AZURE_SSH = re.compile(r"(?:v3/)?(?P<owner>[^/]+)/(?P<project>[^/]+)/(?P<name>[^/]+)")
Kind = Literal["github", "gitlab", "bitbucket", "azure", "gitea", ""]
"""The forge software; "" if the host name does not tell."""


@dataclass(frozen=True)
class Forge:
    """The forge that hosts a repository.

    Attributes:
        kind: The forge software, by the host name.
        host: The host.
        path: The path of the repository on the host.
    """

    kind: Kind
    host: str
    path: str

    @classmethod
    def find(cls, addresses: Sequence[str]) -> Forge | None:
        """The forge of a remote, by its URLs; None for plain paths."""
        found = [forge for address in addresses if (forge := cls._of(address)) is not None]
        return next((forge for forge in found if forge.kind), found[0] if found else None)

    @classmethod
    def _of(cls, address: str) -> Forge | None:
        match = _WEB.fullmatch(without_secrets(address))
        is_other_url = match is not None and match["scheme"] is None and "://" in address
        if match is None or is_other_url or (match["scheme"] is None and ":" not in address):
            return None
        host = match["host"].lower()
        return cls(_kind_of(host), host, match["path"].lstrip("/"))

    def address_to_open(self, branch: str, target: str) -> str | None:
        """The page on which to open a pull request; None if unknown."""
        base = f"https://{self.host}/{quote(self.path)}"
        source, into = quote(branch), quote(target)
        if self.kind == "github":
            return f"{base}/compare/{into}...{source}?expand=1"
        if self.kind == "gitlab":
            query = {
                "merge_request[source_branch]": branch,
                "merge_request[target_branch]": target,
            }
            return f"{base}/-/merge_requests/new?{urlencode(query)}"
        if self.kind == "bitbucket":
            return f"{base}/pull-requests/new?{urlencode({'source': branch, 'dest': target})}"
        if self.kind == "gitea":
            return f"{base}/compare/{into}...{source}"
        if self.kind == "azure":
            refs = urlencode({"sourceRef": branch, "targetRef": target})
            return f"{self._azure_base()}/pullrequestcreate?{refs}"
        return None

    def _azure_base(self) -> str:
        over_ssh = _AZURE_SSH.fullmatch(self.path)
        if self.host.startswith("ssh.") and over_ssh:
            parts = map(quote, over_ssh.group("owner", "project", "name"))
            return "https://dev.azure.com/{}/{}/_git/{}".format(*parts)
        return f"https://{self.host}/{quote(self.path)}"


def _kind_of(host: str) -> Kind:
    labels = host.split(".")
    if "azure" in labels or host.endswith("visualstudio.com"):
        return "azure"
    if host == "codeberg.org" or "gitea" in host or "forgejo" in host:
        return "gitea"
    for kind in ("github", "gitlab", "bitbucket"):
        if kind in host:
            return kind
    return ""
