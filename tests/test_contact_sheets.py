"""Contact sheets of versions, made of the cache when a browser asks for them."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import shutil
import subprocess
import threading
from pathlib import Path
from urllib.parse import parse_qs
from xml.etree import ElementTree

import pytest
from PIL import Image
from starlette.applications import Starlette

from registry_assets import read_registry
from registry_assets.dvc_repo import build_listing, hash_listing
from registry_assets.errors import UnusableError
from registry_assets.look.guard import LOOK_HOSTS, LOOK_TOKEN
from registry_assets.look.places import page_address as page_address_of
from registry_assets.orchestration import webserver
from registry_assets.orchestration.describing import contact_sheet_metadata
from registry_assets.orchestration.webserver import build_sheet_app, page_routes
from registry_assets.registry import contact_sheets
from registry_assets.registry.contact_sheets import (
    clear_kept_sheets,
    count_kept_sheets,
    make_sheet,
    read_kept_sheet,
    sheet_address,
)
from tests.browser import Answer, fetch, get, image_address, page_address
from tests.conftest import copy_empty_repository, run
from tests.images.drawing import save

RED, BLUE, GREEN = (255, 0, 0), (0, 0, 255), (0, 255, 0)
KEPT = ".dvc/tmp/registry_assets/sheets"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A registry with a collection of a red and a blue picture, and what is none."""
    root = copy_empty_repository(tmp_path / "registry")
    for name, colour in (("a/red.png", RED), ("b/blue.png", BLUE)):
        save(root / "raw/01_a" / name, Image.new("RGB", (40, 40), colour))
    (root / "raw/01_a/cut.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut")
    (root / "raw/01_a/film.mp4").write_bytes((root / "raw/01_a/a/red.png").read_bytes())
    run(root, "dvc", "add", "--quiet", "raw/01_a")
    return root


@pytest.fixture
def app(root: Path) -> Starlette:
    return build_sheet_app(root)


def name_of(root: Path) -> str:
    return read_registry(root).name


def version_of(root: Path, metafile: str = "raw/01_a.dvc") -> str:
    line = next(line for line in (root / metafile).read_text().splitlines() if "md5: " in line)
    return line.rpartition("md5: ")[2].strip()


def place_of(root: Path, md5: str) -> Path:
    return root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]


def object_of(root: Path, name: str) -> Path:
    return place_of(root, hashlib.md5((root / "raw/01_a" / name).read_bytes()).hexdigest())


def colours(sheet: bytes) -> set[str]:
    with Image.open(io.BytesIO(sheet)) as image:
        assert image.format == "WEBP"
        pixels = image.convert("RGB").quantize(16).convert("RGB").getcolors() or []
    names = {"red": RED, "blue": BLUE, "green": GREEN}
    return {
        name
        for name, wanted in names.items()
        if any(all(abs(a - b) < 40 for a, b in zip(c, wanted, strict=True)) for _, c in pixels)
    }


def check_is_sheet(answer: Answer) -> None:
    assert answer.status == 200
    assert answer.headers["content-type"] == "image/webp"
    assert answer.headers["cache-control"] == "no-store"
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_version_is_shown_and_its_sheet_kept(root: Path, app: Starlette) -> None:
    md5 = version_of(root)
    assert read_kept_sheet(root, md5) is None
    answer = get(app, sheet_address(name_of(root), md5))
    check_is_sheet(answer)
    assert colours(answer.body) == {"red", "blue"}
    kept = root / KEPT / f"{md5.removesuffix('.dir')}.webp"
    assert [*kept.parent.iterdir()] == [kept]
    assert kept.read_bytes() == answer.body
    assert get(app, sheet_address(name_of(root), md5)).body == answer.body
    assert run(root, "git", "status", "--short", "--ignored=no", ".dvc/tmp") == ""
    assert get(app, sheet_address(name_of(root), md5), "HEAD").status == 200
    assert get(app, f"/registry/any/sheets/{md5.removesuffix('.dir')}.webp").status == 200


def test_an_older_version_is_shown_too(root: Path, app: Starlette) -> None:
    before = version_of(root)
    run(root, "dvc", "unprotect", "raw/01_a")
    (root / "raw/01_a/b/blue.png").unlink()
    save(root / "raw/01_a/c/green.png", Image.new("RGB", (40, 40), GREEN))
    run(root, "dvc", "add", "--quiet", "raw/01_a")
    assert colours(get(app, sheet_address(name_of(root), before)).body) == {"red", "blue"}
    assert colours(get(app, sheet_address(name_of(root), version_of(root))).body) == {
        "red",
        "green",
    }


def test_nothing_is_read_from_the_workspace(root: Path, app: Starlette) -> None:
    shutil.rmtree(root / "raw/01_a")
    assert colours(get(app, sheet_address(name_of(root), version_of(root))).body) == {"red", "blue"}


def test_of_what_is_partly_in_the_cache_that_is_shown_and_nothing_kept(
    root: Path, app: Starlette
) -> None:
    address = sheet_address(name_of(root), version_of(root))
    place = object_of(root, "b/blue.png")
    place.rename(root / "away")
    assert colours(get(app, address).body) == {"red"}
    (root / "away").rename(place)
    assert colours(get(app, address).body) == {"red", "blue"}


def text_of(answer: Answer) -> list[str]:
    assert answer.status == 404
    assert answer.headers["content-type"] == "image/svg+xml"
    assert answer.headers["cache-control"] == "no-store"
    drawn = ElementTree.fromstring(answer.body)
    return [item.text or "" for item in drawn.iter("{http://www.w3.org/2000/svg}text")]


def test_what_is_not_in_the_cache_says_how_to_have_it(root: Path, app: Starlette) -> None:
    md5 = version_of(root)
    shutil.rmtree(root / ".dvc/cache")
    said = text_of(get(app, sheet_address(name_of(root), md5)))
    assert said == ["not in the cache:", "dvc pull raw/01_a"]
    said = text_of(get(app, sheet_address(name_of(root), f"{'0' * 32}.dir")))
    assert said == ["not in the cache,", "nor the current version of anything"]
    assert not (root / KEPT).exists()


def test_a_registry_that_cannot_be_read_says_so(root: Path, app: Starlette) -> None:
    address = sheet_address(name_of(root), version_of(root))
    (root / ".dvc/config").write_text("[core\n")
    said = text_of(get(app, address))
    assert said[0].startswith(".dvc/config: DVC's configuration cannot be used")


def test_a_version_without_pictures_says_so(root: Path, app: Starlette) -> None:
    (root / "raw/02_b").mkdir()
    (root / "raw/02_b/notes.png").write_text("no picture")
    run(root, "dvc", "add", "--quiet", "raw/02_b")
    answer = get(app, sheet_address(name_of(root), version_of(root, "raw/02_b.dvc")))
    assert text_of(answer) == ["no picture that can be shown"]


def store(root: Path, listing: bytes) -> str:
    md5 = hash_listing(listing)
    place = place_of(root, md5)
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(listing)
    return md5


def test_a_listing_leads_nowhere_but_into_the_cache(root: Path, app: Starlette) -> None:
    secret = save(root.parent / "secret.png", Image.new("RGB", (40, 40), GREEN))
    cache = root / ".dvc/cache/files/md5"
    for md5 in (f"..{secret}", f"..{os.path.relpath(secret, cache / '..')}"):
        assert (cache / md5[:2] / md5[2:]).samefile(secret)
        address = sheet_address(name_of(root), store(root, build_listing([("a.png", md5)])))
        assert get(app, address).status == 404
    for damaged in (b"{", b"[1]", b'[{"md5": 1}]', json.dumps([{"relpath": "x"}]).encode()):
        assert get(app, sheet_address(name_of(root), store(root, damaged))).status == 404


@pytest.mark.parametrize(
    "target",
    [
        "/registry/x/sheets/{version}",
        "/registry/x/sheets/{version}.dir.webp",
        "/registry/x/sheets/{VERSION}.webp",
        "/registry/x/sheets/{version}0.webp",
        "/registry/x/sheets/..%2f{version}.webp",
        "/registry/x/sheets/%2e%2e.webp",
        "/registry/x/sheets/../../../pyproject.toml",
        "/registry/x/sheets/{version}%00.webp",
        "/registry/x/sheets/{version}%0a.webp",
        "/registry/x/y/sheets/{version}.webp",
        "/registry/x/sheets/",
        "/",
    ],
)
def test_nothing_else_is_served(root: Path, app: Starlette, target: str) -> None:
    version = version_of(root).removesuffix(".dir")
    answer = get(app, target.format(version=version, VERSION=version.upper()))
    assert answer.status == 404
    assert b"WEBP" not in answer.body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_it_is_there_to_be_looked_at_only(root: Path, app: Starlette, method: str) -> None:
    answer = get(app, sheet_address(name_of(root), version_of(root)), method)
    assert answer.status == 405
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert not (root / KEPT).exists()


def test_few_are_made_at_once_and_not_endlessly_many_wait(
    root: Path, app: Starlette, monkeypatch: pytest.MonkeyPatch
) -> None:
    going_on, lock = threading.Event(), threading.Lock()
    running = most = 0

    def make_slowly(place: Path, md5: str) -> bytes | None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        assert going_on.wait(30)
        with lock:
            running -= 1
        return make_sheet(place, md5)

    monkeypatch.setattr(webserver, "make_sheet", make_slowly)
    monkeypatch.setattr(webserver, "_MOST_WAITING", 6)
    address = sheet_address(name_of(root), version_of(root))

    async def ask_often() -> list[Answer]:
        asked = [asyncio.create_task(fetch(app, address)) for _ in range(8)]
        while sum(task.done() for task in asked) < 2:
            await asyncio.sleep(0.01)
        going_on.set()
        return await asyncio.gather(*asked)

    answers = asyncio.run(ask_often())
    assert sorted(answer.status for answer in answers) == [200] * 6 + [503] * 2
    assert most == 2
    assert len({answer.body for answer in answers if answer.status == 200}) == 1


def test_a_picture_that_goes_while_a_sheet_is_made_is_on_none(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    md5, build = version_of(root), contact_sheets.build_contact_sheet
    built: list[bytes | None] = []

    def build_and_lose(files: list[tuple[str, Path]]) -> bytes | None:
        built.append(build(files))
        if len(built) == 1:
            object_of(root, "b/blue.png").unlink()
            clear_kept_sheets(root)
        return built[-1]

    monkeypatch.setattr(contact_sheets, "build_contact_sheet", build_and_lose)
    sheet = make_sheet(root, md5)
    assert sheet is not None
    assert colours(sheet) == {"red"}
    assert read_kept_sheet(root, md5) is None


def test_the_newest_are_kept_and_all_of_them_cleared(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    md5 = version_of(root)
    make_sheet(root, md5)
    for number in range(5):
        place = root / KEPT / f"{number:032}.webp"
        place.write_bytes(b"older")
        os.utime(place, (number, number))
    (root / KEPT / f"{'9' * 32}.webp.1.1").write_bytes(b"half written")
    monkeypatch.setattr(contact_sheets, "MOST_KEPT", 3)
    (root / KEPT / f"{md5.removesuffix('.dir')}.webp").unlink()
    make_sheet(root, md5)
    left = {place.name for place in (root / KEPT).iterdir()}
    assert len(left) == 3
    assert f"{md5.removesuffix('.dir')}.webp" in left
    assert count_kept_sheets(root, [md5, md5, "f" * 32]) == 1
    assert clear_kept_sheets(root) == 2
    assert [*(root / KEPT).iterdir()] == []


def test_it_is_shown_where_nothing_can_be_kept(root: Path, app: Starlette) -> None:
    (root / KEPT).parent.mkdir(parents=True, exist_ok=True)
    (root / KEPT).write_text("no folder")
    answer = get(app, sheet_address(name_of(root), version_of(root)))
    assert colours(answer.body) == {"red", "blue"}


def test_those_who_share_the_registry_share_the_sheets(root: Path) -> None:
    run(root, "git", "config", "core.sharedRepository", "group")
    program = (
        "from registry_assets.orchestration.webserver import sheet_app; from tests.browser import "
        f"get; print(get(sheet_app(), {sheet_address(name_of(root), version_of(root))!r}).status)"
    )
    repository = Path(__file__).parents[1]
    done = subprocess.run(
        [shutil.which("python") or "python", "-c", f"import os; os.umask(0o077); {program}"],
        env={**os.environ, "REGISTRY_ROOT": str(root / "raw"), "PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "200\n", done.stderr
    (kept,) = (root / KEPT).iterdir()
    assert kept.stat().st_mode & 0o070 == 0o060
    assert kept.parent.stat().st_mode & 0o070 == 0o070


TOKEN = "t" * 32


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({LOOK_TOKEN: "short", LOOK_HOSTS: "photos.example"}, "openssl rand -hex 32"),
        ({LOOK_TOKEN: TOKEN}, f"{LOOK_TOKEN} needs {LOOK_HOSTS}"),
        ({LOOK_TOKEN: TOKEN, LOOK_HOSTS: " , "}, f"{LOOK_TOKEN} needs {LOOK_HOSTS}"),
        ({LOOK_TOKEN: TOKEN, LOOK_HOSTS: "*"}, f"{LOOK_TOKEN} needs {LOOK_HOSTS}"),
    ],
)
def test_settings_of_the_page_that_would_leave_it_open_are_refused(
    root: Path, settings: dict[str, str], said: str
) -> None:
    with pytest.raises(UnusableError, match=said):
        page_routes(root, settings)


def test_without_a_token_the_page_is_closed_and_says_how_to_open_it(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGISTRY_ROOT", str(root))
    monkeypatch.delenv(LOOK_TOKEN, raising=False)
    app = webserver.sheet_app()
    for target in ("", "?token=x", "api/registry", "originals/0"):
        answer = get(app, f"{page_address_of(name_of(root))}{target}")
        assert answer.status == 404
        assert b"registry look" in answer.body
        assert LOOK_TOKEN.encode() in answer.body
    assert get(app, sheet_address(name_of(root), version_of(root))).status == 200


def test_with_a_token_an_application_of_its_own_serves_the_page_too(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGISTRY_ROOT", str(root))
    monkeypatch.setenv(LOOK_TOKEN, TOKEN)
    monkeypatch.setenv(LOOK_HOSTS, "photos.example.org,127.0.0.1")
    app = webserver.sheet_app()
    page = page_address_of(name_of(root))
    # Asked from another origin, as `tests.browser` does.
    assert get(app, f"{page}api/registry").status == 403
    assert get(app, f"{page}?token={TOKEN}").status == 403
    assert get(app, sheet_address(name_of(root), version_of(root))).status == 200


def test_what_the_history_holds_is_short_and_names_no_host(tmp_path: Path) -> None:
    md5 = f"{'a' * 32}.dir"
    for path in ("raw/01_a", "raw/a]b[c", "raw/**x**<b>`y`_z_\\", f"raw/{'x' * 200}"):
        (value,) = contact_sheet_metadata("photos", path, md5).values()
        text = str(value.value)
        assert image_address(text) == f"/registry/photos/sheets/{'a' * 32}.webp"
        page, _, fragment = page_address(text).partition("#")
        assert page == "/registry/photos/look/"
        assert parse_qs(fragment) == {"source": [path]}
        assert "registry ui" in text
        # The UI shows inline what is shorter than 1000.
        assert len(text) < 700
