from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, expect

from tests.chromium import WatchedContext, running_chromium, watched_context
from tests.conftest import commit_all, run
from tests.images.drawing import noise, save
from tests.look.server import looking

HOSTILE = (
    "<img src=x onerror=alert(1)>.jpg",
    '"><b>bold.jpg',
    "\u05ea\u05de\u05d5\u05e0\u05d4 \u202egpj.exe.jpg",
    f"{'x' * 150}/{'y' * 150}.jpg",
    "&amp;%2e%2e#?.jpg",
    "two\nlines.jpg",
)
"""Names of files that a page could take for something else."""

MANY = 2500

expect.set_options(timeout=20_000)  # for a machine that does much else


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def _pictures(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo, with hostile names in the data set, and a raw collection of many pictures."""
    root = tmp_path_factory.mktemp("pictures") / "registry"
    run(demo, "cp", "-a", str(demo), str(root))
    for number, name in enumerate(HOSTILE):
        save(root / "raw/03_hostile" / name, noise(seed=number))
    for number in range(MANY):
        save(root / f"raw/04_many/{number:05}.jpg", noise(8, 8, seed=number + 1000))
    run(root, "registry", "add", "03_hostile")
    run(root, "registry", "add", "04_many")
    run(root, "registry", "import", "03_hostile", "--into", "01_image_dataset")
    run(root, "registry", "materialize")
    commit_all(root)
    return root


@pytest.fixture(scope="module")
def server(_pictures: Path) -> Iterator[str]:
    """The address of the page, with the token; nothing is changed in its registry."""
    with looking(_pictures) as address:
        yield address


@pytest.fixture
def watched(browser: Browser, server: str) -> Iterator[WatchedContext]:
    """A browser that may open the page; see `tests.chromium`."""
    with watched_context(browser, urlsplit(server).netloc) as watched:
        watched.open(server).close()
        yield watched
