"""Registries to look at, servers of them, and browsers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import ExifTags, Image
from playwright.sync_api import Browser

from tests.chromium import WatchedContext, running_chromium, watched_context
from tests.conftest import commit_all, copy_empty_repository, make_once, run
from tests.images.drawing import encode, noise, save
from tests.look.served import Served, serving

HOSTILE = (
    "<img src=x onerror=alert(1)>.jpg",
    '"><b>bold.jpg',
    "\u05ea\u05de\u05d5\u05e0\u05d4 \u202egpj.exe.jpg",
    f"{'x' * 150}/{'y' * 150}.jpg",
    "&amp;%2e%2e#?.jpg",
    "two\nlines.jpg",
)
"""Names of files that a page could take for something else."""

DESCRIPTION = "<b>described</b><script>alert(3)</script>"
"""What the EXIF of these files says."""

MANY = 2500

MARKUP = "<img src=x onerror=alert(1)>\"'&.png"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def _pictures(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo, with hostile names in the data set, and a raw collection of many pictures."""

    def make(root: Path) -> None:
        run(demo, "cp", "-a", str(demo), str(root))
        exif = Image.Exif()
        exif[ExifTags.Base.ImageDescription] = DESCRIPTION
        for number, name in enumerate(HOSTILE):
            save(root / "raw/03_hostile" / name, noise(seed=number), exif=exif)
        for number in range(MANY):
            save(root / f"raw/04_many/{number:05}.jpg", noise(8, 8, seed=number + 1000))
        run(root, "registry", "add", "04_many")
        run(root, "registry", "materialize", "--collection", "03_hostile")
        commit_all(root)

    return make_once(tmp_path_factory, "pictures", make)


@pytest.fixture(scope="module")
def server(_pictures: Path) -> Iterator[str]:
    """The address of the page, with the token; nothing is changed in its registry."""
    with serving(_pictures) as served:
        yield served.address


@pytest.fixture
def watched(browser: Browser, server: str) -> Iterator[WatchedContext]:
    """A browser that may open the page; see `tests.chromium`."""
    with watched_context(browser, urlsplit(server).netloc) as watched:
        # The cookie, without a page that shows pictures: those of the tests take long enough.
        assert watched.context.request.get(server).ok
        yield watched


def md5_of(place: Path) -> str:
    return hashlib.md5(place.read_bytes()).hexdigest()


def object_of(root: Path, md5: str) -> Path:
    return root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A DVC repository without settings, with a folder of pictures and of what is none."""
    root = copy_empty_repository(tmp_path / "registry")
    folder = root / "photos"
    save(folder / "large.jpg", Image.new("RGB", (3000, 1500), (200, 30, 30)))
    exif = Image.Exif()
    exif[0x0112] = 6
    save(folder / "turned.jpg", Image.new("RGB", (400, 200), (30, 30, 200)), exif=exif)
    save(folder / MARKUP, Image.new("RGB", (40, 40), (30, 200, 30)))
    picture = encode(Image.effect_noise((300, 300), 50), "JPEG")
    (folder / "cut.jpg").write_bytes(picture[: len(picture) // 2])
    (folder / "notes.txt").write_text("<script>alert(1)</script>")
    (folder / "empty.jpg").write_bytes(b"")
    run(root, "dvc", "add", "--quiet", "photos")
    return root


@pytest.fixture
def served(root: Path) -> Iterator[Served]:
    with serving(root) as served:
        yield served.open()
