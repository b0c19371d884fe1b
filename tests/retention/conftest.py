"""A registry with the same file in two collections, processed, committed and pushed."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from registry_assets.cli import main
from tests.commands import program
from tests.conftest import commit_all, make_once, run, write_tree
from tests.persisting.helpers import copy_repository

DATASET = "processed/texts"
ONE = "raw/01_a/one.txt"
SAME = "raw/02_b/inner/same.txt"

Registry = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def _pushed(_text_registry: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    def make(root: Path) -> None:
        copy_repository(_text_registry, root)
        (root / ".env").unlink()
        write_tree(
            root,
            {
                ONE: "one\n",
                "raw/01_a/two.txt": "two\n",
                SAME: "one\n",
                "raw/02_b/three.txt": "three\n",
                f"{DATASET}/upper.py": UPPER,
                f"{DATASET}/collections.yaml": 'collections:\n  - "01_a"\n  - "02_b"\n',
            },
        )
        for name in ("01_a", "02_b"):
            registry(root, "materialize", "--collection", name)
        commit_all(root, "Take two collections in")
        registry(root, "push")

    return make_once(tmp_path_factory, "pushed", make)


UPPER = """\
import pathlib, sys
source, target = map(pathlib.Path, sys.argv[1:])
target.mkdir(parents=True)
for path in sorted(source.rglob("*.txt")):
    place = target / path.relative_to(source)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(path.read_text().upper() + "\\n")
"""


@pytest.fixture
def pushed(_pushed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its own copy, with the links between workspace and cache."""
    root = tmp_path / "registry"
    run(tmp_path, "cp", "-a", str(_pushed), str(root))
    config = root / ".dvc" / "config"
    config.write_text(config.read_text().replace(str(_pushed), str(root)))
    commit_all(root, "Move")
    monkeypatch.chdir(tmp_path)
    return root


def call(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What `registry` answers, whatever its exit status."""
    # In this process, as those fork most that is made here.
    done = CliRunner().invoke(main, ["--root", str(root), *arguments])
    return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)


def registry(root: Path, *arguments: str) -> None:
    """Has `registry` do something, which succeeds."""
    done = call(root, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def call_as_anybody(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As `call`, but for root, too, a folder without permissions cannot be read."""
    caps = "-dac_override,-dac_read_search"
    as_anybody = ["setpriv", f"--inh-caps={caps}", f"--bounding-set={caps}"]
    return subprocess.run(
        [
            *(as_anybody if os.geteuid() == 0 else ()),
            *(program("registry"), "--root", str(root), *arguments),
        ],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )


@contextmanager
def without_permissions(folder: Path) -> Iterator[None]:
    """While nobody but root can list a folder."""
    before = folder.stat().st_mode
    folder.chmod(0)
    try:
        yield
    finally:
        folder.chmod(before)


def forget(root: Path, file: str | Path, *options: str, code: int = 0) -> dict[str, Any]:
    """What `registry forget` does and says in JSON."""
    done = call(root, "forget", str(file), "--json", *options)
    assert done.returncode == code, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found
