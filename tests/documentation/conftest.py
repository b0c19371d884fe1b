"""The site, built once for all tests."""

from __future__ import annotations

import fcntl
import os
import re
import sys
from pathlib import Path

import pytest

from tests.conftest import run

ROOT = Path(__file__).parents[2]


def build_site(folder: Path, config: Path = ROOT / "mkdocs.yml") -> Path:
    """Builds the site as `make docs` does; fails the test if MkDocs warns of anything."""
    (recipe,) = re.findall(r"(-m mkdocs build.*)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    where = ("--config-file", str(config), "--site-dir", str(folder))
    run(ROOT, sys.executable, *recipe.split(), *where, env={"NO_MKDOCS_2_WARNING": "1"})
    return folder


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built site."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    with (shared / "site.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        built = shared / "site"
        return built if built.exists() else build_site(built)
