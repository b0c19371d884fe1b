"""Opening a pull request with the forge's command line, or naming the page to open it on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from registry_assets.addresses import without_secrets
from registry_assets.revisions.publishing.forges import Forge, Kind
from registry_assets.units import cut

_MOST_SECONDS = 120.0
_URL = re.compile(r"https?://[^\s\"'<>]+")
_PAGE = re.compile(r"https?://[^\s\"'<>]+/(?:pulls?|-/merge_requests)/\d+")
"""The URL of a pull request."""
_MOST_DESCRIPTION = 60_000
"""In characters; GitHub accepts 65,536."""
_MOST_REASON = 300

State = Literal["opened", "there", "address", "none"]


@dataclass(frozen=True)
class PullRequest:
    """The pull request of a branch.

    Attributes:
        state: ``opened``: just now. ``there``: it existed already. ``address``: open it at `url`.
            ``none``: the remote is not a known forge.
        url: The URL of the pull request, or the page to open it on.
        reason: Why opening it failed.
    """

    state: State
    url: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class _Program:
    """The command line of a forge, which stores the login.

    Attributes:
        name: The command.
        logins: Arguments that print the host if the user is logged in there. ``{host}`` is filled
            in.
        create: Arguments that open a pull request and print its URL.
        options: Options of `create` for the branch, the target, the title and the description.
        pages: Arguments that list open pull requests, one per line with branch and URL; needed if
            `create` does not print the URL of an existing one. ``{branch}`` is filled in.
    """

    name: str
    logins: tuple[str, ...]
    create: tuple[str, ...]
    options: tuple[str, str, str, str]
    pages: tuple[str, ...] = ()


_GH = _Program(
    "gh",
    ("auth", "status", "--hostname", "{host}"),
    ("pr", "create"),
    ("--head", "--base", "--title", "--body"),
)
_GLAB = _Program(
    "glab",
    ("auth", "status", "--hostname", "{host}"),
    ("mr", "create", "--yes"),
    ("--source-branch", "--target-branch", "--title", "--description"),
    ("mr", "list", "--source-branch", "{branch}", "--output", "json"),
)
_TEA = _Program(
    "tea",
    ("logins", "list", "--output", "simple"),
    ("pulls", "create"),
    ("--head", "--base", "--title", "--description"),
    ("pulls", "list", "--fields", "head,url", "--limit", "100", "--output", "simple"),
)
_PROGRAMS: Mapping[Kind, tuple[_Program, ...]] = {
    "github": (_GH,),
    "gitlab": (_GLAB,),
    "gitea": (_TEA,),
    "": (_GH, _GLAB, _TEA),
}


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
    """Open a pull request with `gh`, `glab` or `tea`, or else find the page to open it on.

    Args:
        root: The folder to run programs in.
        addresses: The URLs of the remote.
        branch: The pushed branch.
        target: The branch to merge it into.
        title: The title.
        description: The description, in Markdown.
        said: The output of `git push`, in which forges name the page to open.
    """
    forge = Forge.find(addresses)
    if forge is None:
        return PullRequest("none")
    reason = None
    program = _program_for(root, forge)
    if program is not None:
        values = (branch, target, title, description[:_MOST_DESCRIPTION])
        done = _ask_program(root, program, values)
        if done.state != "address":
            return done
        reason = done.reason
    offered = (_URL.search(line) for line in said)
    address = forge.address_to_open(branch, target)
    address = address or next((found[0] for found in offered if found), None)
    return PullRequest("address" if address else "none", address, reason)


def _ask_program(root: Path, program: _Program, values: tuple[str, str, str, str]) -> PullRequest:
    given = [word for pair in zip(program.options, values, strict=True) for word in pair]
    done = _run(root, [program.name, *program.create, *given])
    answer = f"{done.stdout}\n{done.stderr}"
    pages = _PAGE.findall(answer)
    if done.returncode == 0:
        # URLs before the last may come from the description.
        return PullRequest("opened", pages[-1] if pages else None)
    if "already exists" in answer:
        page = pages[-1] if pages else _find_page(root, program, values[0])
        return PullRequest("there", page)
    reason = cut(" ".join(without_secrets(done.stderr).split()), _MOST_REASON)
    return PullRequest("address", None, f"{program.name}: {reason}")


def _find_page(root: Path, program: _Program, branch: str) -> str | None:
    """The URL of the existing pull request; None if it cannot be found."""
    if not program.pages:
        return None
    listed = _run(root, [program.name, *(word.format(branch=branch) for word in program.pages)])
    for line in listed.stdout.splitlines():
        page = _PAGE.search(line)
        if page and branch in re.split(r"[\s\"]+", line):
            return page[0]
    return None


def _program_for(root: Path, forge: Forge) -> _Program | None:
    """The program for a forge: by its kind; for an unknown kind, one that is logged in there."""
    for program in _PROGRAMS.get(forge.kind, ()):
        if shutil.which(program.name) is None:
            continue
        if forge.kind or _is_logged_in(root, program, forge.host):
            return program
    return None


def _is_logged_in(root: Path, program: _Program, host: str) -> bool:
    done = _run(root, [program.name, *(word.format(host=host) for word in program.logins)])
    words = re.split(r"[^\w.-]+", f"{done.stdout}\n{done.stderr}".lower())
    return done.returncode == 0 and host in words


def _run(root: Path, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a program without prompts."""
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
