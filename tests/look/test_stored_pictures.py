"""Pictures of the cache: served by content, and no others."""

from __future__ import annotations

import io
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from registry_assets.dvc_repo import DvcRepo
from registry_assets.images.shrinking import make_thumbnail
from registry_assets.registry import thumbnails
from registry_assets.registry.thumbnails import (
    PREVIEW,
    THUMBNAIL,
    Thumbnails,
    clear_kept_thumbnails,
    count_kept_thumbnails,
)
from tests.conftest import run
from tests.dagster_ui import wait_for
from tests.images.drawing import encode, save
from tests.look.conftest import md5_of, object_of
from tests.look.served import Served, serving

KEPT = ".dvc/tmp/registry_assets/thumbnails"


def kept(root: Path) -> list[Path]:
    return sorted(place for place in (root / KEPT).rglob("*") if place.is_file())


def size_of(webp: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(webp)) as image:
        assert image.format == "WEBP"
        return image.size


def test_a_picture_is_small_upright_and_made_once(root: Path, served: Served) -> None:
    md5 = md5_of(root / "photos/large.jpg")
    found = served.get(f"thumbnails/{md5}")
    assert (found.status, found.headers["content-type"]) == (200, "image/webp")
    assert found.headers["cache-control"] == "no-store"
    assert size_of(found.body) == (256, 128)
    assert size_of(served.get(f"previews/{md5}").body) == (2048, 1024)
    small, large = kept(root / "")[1], kept(root)[0]
    assert [small.read_bytes(), large.name] == [found.body, f"{md5}.webp"]
    small.write_bytes(b"as it was kept")
    assert served.get(f"thumbnails/{md5}").body == b"as it was kept"
    assert served.get(f"thumbnails/{md5}", "HEAD").body == b""
    turned = md5_of(root / "photos/turned.jpg")
    assert size_of(served.get(f"thumbnails/{turned}").body) == (128, 256)
    assert size_of(served.get(f"previews/{turned}").body) == (200, 400)
    assert run(root, "git", "status", "--short", ".dvc/tmp") == ""


@pytest.mark.parametrize("name", ["cut.jpg", "notes.txt", "empty.jpg"])
def test_what_cannot_be_shown_says_why(root: Path, served: Served, name: str) -> None:
    for size in ("thumbnails", "previews"):
        found = served.get(f"{size}/{md5_of(root / 'photos' / name)}")
        assert found.status == 404
        assert found.json["absent"] == "unreadable"
        assert found.json["message"]
    assert kept(root) == []


def test_what_the_cache_lacks_says_so_and_is_shown_once_it_is_there(
    root: Path, served: Served
) -> None:
    md5 = md5_of(root / "photos/large.jpg")
    place = object_of(root, md5)
    place.rename(root / "away")
    for kind in ("thumbnails", "previews", "originals"):
        found = served.get(f"{kind}/{md5}")
        assert (found.status, found.json["absent"]) == (404, "here")
        assert "fetch it" in found.json["message"]
    (root / "away").rename(place)
    assert served.get(f"thumbnails/{md5}").status == 200


def test_an_original_is_saved_and_never_shown(root: Path, served: Served) -> None:
    for name in ("large.jpg", "notes.txt", "cut.jpg"):
        place = root / "photos" / name
        found = served.get(f"originals/{md5_of(place)}")
        assert (found.status, found.body) == (200, place.read_bytes())
        assert found.headers["content-type"] == "application/octet-stream"
        assert found.headers["content-disposition"] == "attachment"
        assert found.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("kind", ["thumbnails", "previews", "originals"])
def test_only_what_the_registry_records_is_served(root: Path, served: Served, kind: str) -> None:
    secret = encode(Image.new("RGB", (40, 40), "red"), "PNG")
    (root / "loose.png").write_bytes(secret)
    md5 = md5_of(root / "loose.png")
    object_of(root, md5).parent.mkdir(exist_ok=True)
    object_of(root, md5).write_bytes(secret)
    found = served.get(f"{kind}/{md5}")
    assert (found.status, found.json["absent"]) == (404, "unknown")
    listing = next(place for place in (root / ".dvc/cache/files/md5").rglob("*.dir"))
    version = listing.parent.name + listing.name
    for other in (version, version.removesuffix(".dir"), "0" * 32, md5.upper(), f"{md5}0", "x"):
        assert served.get(f"{kind}/{other}").status == 404
    for path in ("..%2f..%2fphotos%2flarge.jpg", "/etc/passwd", "%2e%2e/%2e%2e/.dvc/config", ""):
        found = served.get(f"{kind}/{path}")
        assert found.status in (403, 404)
        assert b"core" not in found.body


def test_what_is_recorded_later_is_served_then_and_what_is_no_more_is_not(
    root: Path, served: Served
) -> None:
    before = md5_of(root / "photos/large.jpg")
    assert served.get(f"thumbnails/{before}").status == 200
    state = served.settled_state()
    run(root, "dvc", "unprotect", "photos")
    (root / "photos/large.jpg").unlink()
    save(root / "photos/new.jpg", Image.new("RGB", (40, 40), "white"))
    run(root, "dvc", "add", "--quiet", "photos")
    fresh = md5_of(root / "photos/new.jpg")
    wait_for(10, lambda: served.get(f"thumbnails/{fresh}").status == 200, "new picture")
    assert served.get(f"thumbnails/{before}").json["absent"] == "unknown"
    assert served.settled_state() != state


def test_many_ask_at_once(root: Path, tmp_path: Path) -> None:
    for number in range(40):
        save(root / f"many/{number}.png", Image.new("RGB", (60, 60), (number * 6, 0, 0)))
    run(root, "dvc", "add", "--quiet", "many")
    md5s = [md5_of(root / f"many/{number}.png") for number in range(40)] * 3
    with serving(root) as one, serving(root) as other, ThreadPoolExecutor(16) as pool:
        one.open()
        other.open()
        asked = [(one if number % 2 else other, md5) for number, md5 in enumerate(md5s)]
        found = list(pool.map(lambda item: item[0].get(f"thumbnails/{item[1]}"), asked))
    assert {answer.status for answer in found} == {200}
    assert len({answer.body for answer in found}) == 40
    assert [place.suffix for place in kept(root)] == [".webp"] * 40


def test_fetching_brings_what_the_remote_has_and_says_what_it_lacks(
    root: Path, served: Served, tmp_path: Path
) -> None:
    large, turned, cut = (
        md5_of(root / "photos" / name) for name in ("large.jpg", "turned.jpg", "cut.jpg")
    )
    object_of(root, large).rename(tmp_path / "large")
    found = served.post("api/fetch", {"md5s": [large]})
    assert found.json["fetched"] == 0
    (missing,) = found.json["missing"]
    assert missing["md5"] == large
    assert "no default remote" in missing["message"]
    (tmp_path / "large").rename(object_of(root, large))
    run(root, "dvc", "remote", "add", "--default", "storage", str(tmp_path / "storage"))
    run(root, "dvc", "push", "--quiet")
    for md5 in (large, turned):
        object_of(root, md5).unlink()
    shutil.rmtree(tmp_path / "storage/files/md5" / turned[:2])
    found = served.post("api/fetch", {"md5s": [large, turned, cut, "0" * 32, large]})
    assert found.status == 200
    assert found.json["fetched"] == 2
    told = {item["md5"]: item["message"] for item in found.json["missing"]}
    assert set(told) == {turned, "0" * 32}
    assert "lacks photos/turned.jpg" in told[turned] or "lacks turned.jpg" in told[turned]
    assert "does not record" in told["0" * 32]
    assert md5_of(object_of(root, large)) == large
    assert served.get(f"thumbnails/{large}").status == 200


@pytest.mark.parametrize(
    "body", [{}, {"md5s": []}, {"md5s": "x"}, {"md5s": ["x"]}, {"md5s": [1]}, {"md5s": ["../x"]}]
)
def test_fetching_takes_md5s_and_nothing_else(served: Served, body: object) -> None:
    found = served.post("api/fetch", body)
    assert found.status == 400
    assert "`md5s`" in found.json["error"]


# --- what is kept ---------------------------------------------------------------------------------


def test_those_of_a_picture_are_cleared_and_no_others(root: Path) -> None:
    listings = DvcRepo(root).listings()
    one, other = (md5_of(root / "photos" / name) for name in ("large.jpg", "turned.jpg"))
    made = Thumbnails(root)
    for md5 in (one, other):
        for longest in (THUMBNAIL, PREVIEW):
            assert isinstance(made.make(listings, md5, longest), bytes)
    partial = root / KEPT / str(THUMBNAIL) / one[:2] / f"{one}.webp.1.1"
    partial.write_bytes(b"half written")
    assert count_kept_thumbnails(root, [one, one]) == 2
    assert clear_kept_thumbnails(root, [one, "f" * 32]) == 2
    assert [place.stem for place in kept(root)] == [other, other]


def test_a_picture_that_goes_while_it_is_made_small_is_not_shown(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    md5 = md5_of(root / "photos/large.jpg")

    def make_and_lose(place: Path, longest: int) -> object:
        made = make_thumbnail(place, longest)
        place.unlink()
        clear_kept_thumbnails(root, [md5])
        return made

    monkeypatch.setattr("registry_assets.images.shrinking.make_thumbnail", make_and_lose)
    assert Thumbnails(root).make(DvcRepo(root).listings(), md5, THUMBNAIL) is None
    assert kept(root) == []


def test_the_newest_are_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(6):
        save(root / f"many/{number}.png", Image.effect_noise((60, 60), 50 + number))
    run(root, "dvc", "add", "--quiet", "many")
    md5s = [md5_of(root / f"many/{number}.png") for number in range(6)]
    listings = DvcRepo(root).listings()
    one = Thumbnails(root).make(listings, md5s[0], THUMBNAIL)
    assert isinstance(one, bytes)
    monkeypatch.setattr(thumbnails, "MOST_KEPT_BYTES", 4 * len(one))
    monkeypatch.setattr(thumbnails, "_WRITTEN_BETWEEN_CHECKS", 0)
    for md5 in md5s[1:]:
        Thumbnails(root).make(listings, md5, THUMBNAIL)
    left = kept(root)
    assert sum(place.stat().st_size for place in left) <= 4 * len(one)
    assert 2 <= len(left) <= 4
    assert md5s[-1] in {place.stem for place in left}
    assert md5s[0] not in {place.stem for place in left}


def test_it_is_shown_where_nothing_can_be_kept(root: Path, served: Served) -> None:
    (root / KEPT).parent.mkdir(parents=True, exist_ok=True)
    (root / KEPT).write_text("no folder")
    assert served.get(f"thumbnails/{md5_of(root / 'photos/large.jpg')}").status == 200
