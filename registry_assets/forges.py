"""Forges: where a pull request for a branch is opened, and the programs that open one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urlencode

from registry_assets.addresses import without_secrets

_MOST_SECONDS = 120.0
_URL = re.compile(r"https?://[^\s\"'<>]+")
_WEB = re.compile(
    r"(?:(?P<scheme>https?|ssh|git|git\+ssh)://)?(?:[^@/]+@)?(?P<host>[^@/:]+)(?::\d+(?=/))?"
    r"[:/](?P<path>.+?)(?:\.git)?/?"
)
# Azure DevOps has another host and path for SSH.
_AZURE_SSH = re.compile(r"(?:v3/)?(?P<owner>[^/]+)/(?P<project>[^/]+)/(?P<name>[^/]+)")
_MOST_DESCRIPTION = 60_000
"""Characters: GitHub takes 65,536."""

State = Literal["opened", "there", "address", "none"]


@dataclass(frozen=True)
class PullRequest:
    """What became of the pull request of a branch.

    Attributes:
        state: ``opened`` just now; ``there`` already; ``address``: it is to be opened at `url`;
            ``none``: the remote is no forge that is known.
        url: Its address, or where to open it.
        reason: Why it was not opened, where somebody tried.
    """

    state: State
    url: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Forge:
    """Where a repository is kept.

    Attributes:
        kind: Which software, by the name of the host; "" where that does not tell.
        host: The host.
        path: The path of the repository there.
    """

    kind: Literal["github", "gitlab", "bitbucket", "azure", "gitea", ""]
    host: str
    path: str

    @classmethod
    def find(cls, addresses: Sequence[str]) -> Forge | None:
        """The forge of a remote, by its addresses, the first that tells; None for plain paths."""
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
        """The page on which a person opens a pull request; None where that is not known."""
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


def _kind_of(host: str) -> Literal["github", "gitlab", "bitbucket", "azure", "gitea", ""]:
    labels = host.split(".")
    if "azure" in labels or host.endswith("visualstudio.com"):
        return "azure"
    if host == "codeberg.org" or "gitea" in host or "forgejo" in host:
        return "gitea"
    for kind in ("github", "gitlab", "bitbucket"):
        if kind in host:
            return kind
    return ""


def open_pull_request(
    root: Path,
    addresses: Sequence[str],
    branch: str,
    target: str,
    *,
    title: str,
    description: str,
    said: Sequence[str] = (),
) -> PullRequest:
    """Opens a pull request with `gh` or `glab`; where neither can, says where a person opens one.

    Args:
        root: The folder to run them in.
        addresses: Of the remote.
        branch: The branch that was pushed.
        target: The branch to merge it into.
        title: In one line.
        description: Markdown.
        said: What the server said when the branch was pushed: forges name the page to open.
    """
    forge = Forge.find(addresses)
    if forge is None:
        return PullRequest("none")
    offered = (_URL.search(line) for line in said)
    address = forge.address_to_open(branch, target)
    address = address or next((found[0] for found in offered if found), None)
    body = description[:_MOST_DESCRIPTION]
    program = _program_for(root, forge)
    if program == "gh":
        arguments = ["gh", "pr", "create", "--head", branch, "--base", target]
        done = _run(root, [*arguments, "--title", title, "--body", body])
    elif program == "glab":
        arguments = ["glab", "mr", "create", "--source-branch", branch, "--target-branch", target]
        done = _run(root, [*arguments, "--title", title, "--description", body, "--yes"])
    else:
        return PullRequest("address" if address else "none", address)
    answer = f"{done.stdout}\n{done.stderr}"
    found = _URL.search(answer)
    if done.returncode == 0:
        return PullRequest("opened", found[0] if found else None)
    if "already exists" in answer:
        return PullRequest("there", found[0] if found else None)
    reason = " ".join(without_secrets(done.stderr).split())[:300]
    return PullRequest("address" if address else "none", address, f"{program}: {reason}")


def _program_for(root: Path, forge: Forge) -> str | None:
    """The program that opens pull requests there: by the kind of forge, else by asking it."""
    by_kind = {"github": ("gh",), "gitlab": ("glab",), "": ("gh", "glab")}.get(forge.kind, ())
    for program in by_kind:
        if shutil.which(program) is None:
            continue
        knows = ["auth", "status", "--hostname", forge.host]
        if forge.kind or _run(root, [program, *knows]).returncode == 0:
            return program
    return None


def _run(root: Path, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Runs a program that must not ask anybody anything."""
    quiet = {"GH_PROMPT_DISABLED": "1", "NO_PROMPT": "1", "NO_COLOR": "1"}
    try:
        return subprocess.run(
            command,
            cwd=root,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **quiet},
            check=False,
            timeout=_MOST_SECONDS,
        )
    except subprocess.TimeoutExpired:
        reason = f"no answer within {_MOST_SECONDS:.0f} s"
        return subprocess.CompletedProcess(command, 1, "", reason)
