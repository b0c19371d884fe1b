"""Opening a pull request: with the program of the forge, else with a token, else by a person."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from registry_assets.addresses import without_secrets
from registry_assets.revisions.publishing.forge_api import ForgeApi
from registry_assets.revisions.publishing.forges import Forge

_MOST_SECONDS = 120.0
_URL = re.compile(r"https?://[^\s\"'<>]+")
_MOST_DESCRIPTION = 60_000
"""Characters: GitHub takes 65,536."""
_MOST_REASON = 300

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
    """Opens a pull request; where nothing here can, says where a person opens one.

    With `gh` or `glab` where one is installed, which know who is logged in; else with a token from
    the environment, see `forge_api`.

    Args:
        root: The folder to run programs in.
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
    if program is not None:
        done = _ask_program(root, program, branch, target, title, body)
    elif (api := ForgeApi.find(forge, os.environ)) is not None:
        answer = api.open(branch, target, title, body)
        done = PullRequest(answer.state, answer.url, answer.reason)
    else:
        done = PullRequest("address")
    if done.state != "address":
        return done
    return PullRequest("address" if address else "none", address, done.reason)


def _ask_program(
    root: Path, program: str, branch: str, target: str, title: str, body: str
) -> PullRequest:
    if program == "gh":
        arguments = ["pr", "create", "--head", branch, "--base", target]
        arguments += ["--title", title, "--body", body]
    else:
        arguments = ["mr", "create", "--source-branch", branch, "--target-branch", target]
        arguments += ["--title", title, "--description", body, "--yes"]
    done = _run(root, [program, *arguments])
    answer = f"{done.stdout}\n{done.stderr}"
    found = _URL.search(answer)
    if done.returncode == 0:
        return PullRequest("opened", found[0] if found else None)
    if "already exists" in answer:
        return PullRequest("there", found[0] if found else None)
    reason = " ".join(without_secrets(done.stderr).split())[:_MOST_REASON]
    return PullRequest("address", None, f"{program}: {reason}")


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
