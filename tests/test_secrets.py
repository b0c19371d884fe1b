"""Secrets are told to nobody: in no output, log, history, metafile or temporary file."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import commit_all

CANARY = "canary4d0fZq"
"""What each secret begins with; a number follows."""

NOWHERE = "127.0.0.1:9"
# Where people put them.
OWN = (".dvc/config", ".dvc/config.local", ".git/config")
ENVIRONMENT = {
    "AWS_SECRET_ACCESS_KEY": f"{CANARY}1",
    "AWS_SESSION_TOKEN": f"{CANARY}2",
    "AWS_MAX_ATTEMPTS": "1",
    "MLFLOW_TRACKING_URI": f"http://user:{CANARY}3@{NOWHERE}",
}
COMMANDS = (
    ("publish", "--branch", "mine"),
    ("clone", f"https://user:{CANARY}4@{NOWHERE}/x.git", "../elsewhere"),
    ("import", "01_a", "--into", "texts", "--from", f"https://{NOWHERE}/x.git?sig={CANARY}5"),
    ("push",),
    ("materialize", "--select", "raw"),
    ("--debug", "push", "--check"),
)
REMOTES = {
    "s3": (
        f"url = s3://bucket/x\n    endpointurl = http://{NOWHERE}",
        f"access_key_id = AKIA\n    secret_access_key = {CANARY}6\n    session_token = {CANARY}7",
    ),
    "http": (f"url = http://user:{CANARY}8@{NOWHERE}/x", f"password = {CANARY}9"),
}


@pytest.fixture
def root(text_registry: Path) -> Path:
    """A registry whose data is nowhere, with a secret in each address."""
    for command in (
        ("registry", "add", "01_a"),
        ("git", "remote", "add", "origin", f"https://user:{CANARY}0@{NOWHERE}/x.git"),
    ):
        subprocess.run(command, cwd=text_registry, check=True, capture_output=True)
    commit_all(text_registry)
    for folder in (".dvc/cache/files/md5", "raw/01_a"):
        shutil.rmtree(text_registry / folder)
    return text_registry


@pytest.mark.parametrize("kind", REMOTES)
def test_no_secret_is_in_what_a_command_says_or_leaves(
    kind: str, root: Path, tmp_path: Path
) -> None:
    shared, own = REMOTES[kind]
    section = "['remote \"r\"']\n    "
    (root / ".dvc/config").write_text(f"[core]\n    remote = r\n{section}{shared}\n")
    (root / ".dvc/config.local").write_text(f"{section}{own}\n")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    for command in COMMANDS:
        done = subprocess.run(
            ["registry", *command],
            cwd=root,
            env={**os.environ, **ENVIRONMENT, "TMPDIR": str(temporary)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1, (command, done.stdout + done.stderr)
        assert NOWHERE in done.stderr + done.stdout, (command, done.stdout + done.stderr)
        assert CANARY not in done.stdout + done.stderr, command
    assert list(leaks(root)) + list(leaks(temporary)) == []


def leaks(folder: Path) -> Iterator[Path]:
    """The files in which a secret is, but for those where it was put."""
    for place in folder.rglob("*"):
        is_other = place.is_file() and place.relative_to(folder).as_posix() not in OWN
        if is_other and CANARY.encode() in place.read_bytes():
            yield place
