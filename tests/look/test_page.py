"""The page in a browser, over the server that `registry look` starts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.chromium import WatchedContext, watched_context
from tests.conftest import run
from tests.look.conftest import DESCRIPTION, HOSTILE, MANY
from tests.look.served import serving

DATASET = "processed/01_image_dataset"
ALL = 31 + len(HOSTILE)
SPELLED_OUT = str.maketrans({"\u202e": "\\u202e", "\n": "\\u000a"})
"""How the page shows signs that would hide or reorder others."""


def open_at(watched: WatchedContext, address: str, **place: str) -> Page:
    """Opens the page at a place in it, and waits for its first pictures."""
    page = watched.open(f"{address}#{urlencode({'source': DATASET, **place})}")
    expect(page.locator(".tile:not(.empty)").first).to_be_visible()
    return page


def place_of(page: Page) -> list[tuple[str, str]]:
    return parse_qsl(urlsplit(page.url).fragment)


def tile(page: Page, name: str) -> Locator:
    return page.get_by_role("gridcell", name=name)


def active_name(page: Page) -> str:
    """The name of the tile that the grid says is the active one."""
    shown = page.get_by_role("grid").get_attribute("aria-activedescendant")
    return page.locator(f"[id='{shown}'] .name").inner_text()


def test_each_picture_has_its_name_its_values_and_why_it_is_left_out(
    watched: WatchedContext, server: str
) -> None:
    page = open_at(watched, server)
    expect(page.get_by_text(f"{ALL} pictures", exact=True)).to_be_visible()
    kept = tile(page, "coffee.jpg, kept day/sharp, brightness 158.6, contrast 2,649")
    expect(kept).to_contain_text("158.6")
    expect(kept.locator("img.loaded")).to_be_visible()
    left_out = tile(page, "deep_sky.jpg, too dark")
    expect(left_out).to_have_class(re.compile(r"\bout\b"))
    expect(left_out).to_contain_text("too dark")
    expect(tile(page, "brushes.png, corrupt")).to_contain_text("broken PNG file")


def test_filters_add_up_stand_in_the_address_and_go_back(
    watched: WatchedContext, server: str
) -> None:
    page = open_at(watched, server)
    page.get_by_role("checkbox", name="too dark").check()
    expect(page.get_by_text(f"2 of {ALL} pictures")).to_be_visible()
    page.get_by_role("checkbox", name="01_data_collection").check()
    expect(page.get_by_text(f"1 of {ALL} pictures")).to_be_visible()
    expect(page.get_by_role("gridcell")).to_have_count(1)
    assert ("reason", "too dark") in place_of(page)
    page.go_back()
    expect(page.get_by_text(f"2 of {ALL} pictures")).to_be_visible()
    page.get_by_role("button", name="Remove filter reason: too dark").click()
    expect(page.get_by_text(f"{ALL} pictures", exact=True)).to_be_visible()
    page.reload()
    expect(page.get_by_text(f"{ALL} pictures", exact=True)).to_be_visible()


def test_a_link_opens_with_its_filters_and_clear_all_takes_them_away(
    watched: WatchedContext, server: str
) -> None:
    page = open_at(watched, server, reason="too bright", brightness="200..255")
    expect(page.get_by_text(f"2 of {ALL} pictures")).to_be_visible()
    page.get_by_role("button", name="Clear all").click()
    expect(page.get_by_text(f"{ALL} pictures", exact=True)).to_be_visible()


def test_a_range_brushed_on_the_histogram_is_a_filter(watched: WatchedContext, server: str) -> None:
    page = open_at(watched, server)
    plot = page.get_by_role("group", name="brightness").locator(".u-over")
    box = plot.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 1, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 3, box["y"] + 20, steps=5)
    page.mouse.up()
    low, high = (page.get_by_label(f"brightness {end}") for end in ("from", "to"))
    expect(low).not_to_have_value("")
    shown = page.get_by_role("gridcell")
    expect(shown).not_to_have_count(ALL)
    limits = float(low.input_value()), float(high.input_value())
    assert 0 <= limits[0] < limits[1] < 100
    for label in shown.evaluate_all("tiles => tiles.map(tile => tile.ariaLabel)"):
        found = re.search(r"brightness ([\d.]+)", label)
        assert found is not None, label
        assert limits[0] - 0.05 <= float(found[1]) <= limits[1] + 0.05
    high.fill("20")
    high.press("Enter")
    expect(page.get_by_text(f"2 of {ALL} pictures")).to_be_visible()


def test_a_search_finds_names_and_says_when_it_finds_none(
    watched: WatchedContext, server: str
) -> None:
    page = open_at(watched, server)
    page.keyboard.press("/")
    page.keyboard.type("coffee")
    expect(page.get_by_role("gridcell")).to_have_count(1)
    page.keyboard.type("pot")
    expect(page.get_by_text("No picture passes these filters.")).to_be_visible()
    page.get_by_role("button", name="Clear all filters").click()
    expect(page.get_by_text(f"{ALL} pictures", exact=True)).to_be_visible()


def test_the_keyboard_moves_selects_opens_and_closes(watched: WatchedContext, server: str) -> None:
    page = open_at(watched, server)
    names = page.locator(".tile .name").all_inner_texts()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert active_name(page) == names[2]
    page.keyboard.press("x")
    page.keyboard.press("Shift+ArrowRight")
    expect(page.get_by_role("toolbar")).to_contain_text("2 selected")
    assert active_name(page) == names[3]
    page.keyboard.press("Enter")
    viewer = page.get_by_role("dialog", name="Picture")
    expect(viewer.get_by_role("heading", level=2)).to_contain_text(names[3])
    expect(viewer).to_contain_text(f"4 of {ALL}")
    page.keyboard.press("ArrowRight")
    expect(viewer).to_contain_text(f"5 of {ALL}")
    page.keyboard.press("Escape")
    expect(viewer).to_be_hidden()
    assert active_name(page) == names[4]
    page.keyboard.press("Escape")
    expect(page.get_by_role("toolbar")).to_be_hidden()
    page.keyboard.press("Control+a")
    expect(page.get_by_role("toolbar")).to_contain_text(f"{ALL} selected")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_contain_text("search names")


def test_a_picture_says_why_it_is_where_it_is_and_the_back_button_closes_it(
    watched: WatchedContext, server: str
) -> None:
    page = open_at(watched, server)
    tile(page, "deep_sky.jpg").click()
    viewer = page.get_by_role("dialog", name="Picture")
    expect(viewer).to_contain_text("mean brightness 17.2 ≤ 20 (dark_image_threshold): too dark")
    expect(viewer).to_contain_text("raw/02_data_collection_20_oct_2021/deep_sky.jpg")
    expect(viewer.locator("img:not(.small)")).to_have_js_property("complete", True)
    page.go_back()
    expect(viewer).to_be_hidden()
    expect(page.get_by_text(f"{ALL} pictures", exact=True)).to_be_visible()


def test_a_link_to_a_content_opens_its_picture(watched: WatchedContext, server: str) -> None:
    page = open_at(watched, server)
    tile(page, "coffee.jpg").click()
    viewer = page.get_by_role("dialog", name="Picture")
    expect(viewer).to_contain_text("Trace")
    md5 = dict(place_of(page))["picture"]
    page.close()
    linked = open_at(watched, server, picture=md5)
    expect(linked.get_by_role("heading", name="coffee.jpg")).to_be_visible()
    linked.keyboard.press("Escape")
    expect(linked.get_by_role("dialog", name="Picture")).to_be_hidden()


def test_a_decision_without_a_reason_is_refused(watched: WatchedContext, server: str) -> None:
    page = open_at(watched, server)
    written: list[str] = []
    page.on("request", lambda asked: written.append(asked.url) if asked.method != "GET" else None)
    page.keyboard.press("d")
    dialog = page.get_by_role("dialog", name="Deny pictures")
    expect(dialog.get_by_label("Why")).to_be_focused()
    page.keyboard.type("  \n ")
    dialog.get_by_role("button", name="Deny").click()
    expect(dialog.get_by_role("alert")).to_contain_text("A reason is needed")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert written == []


def test_what_is_said_while_a_picture_is_large_is_in_sight(
    watched: WatchedContext, server: str
) -> None:
    page = open_at(watched, server, text="coffee.jpg")
    tile(page, "coffee.jpg, kept").click()
    viewer = page.get_by_role("dialog", name="Picture")
    expect(viewer).to_contain_text("day_night_image_threshold")
    page.keyboard.press("u")
    expect(viewer.get_by_role("status")).to_contain_text("Nothing was decided")
    page.keyboard.press("Escape")
    expect(viewer).to_be_hidden()
    expect(page.get_by_role("status")).to_contain_text("Nothing was decided")


def test_a_slider_shows_what_changes_before_anything_is_written(
    watched: WatchedContext, server: str
) -> None:
    page = watched.open(f"{server}#{urlencode({'source': DATASET, 'tab': 'thresholds'})}")
    slider = page.get_by_role("slider", name="dark_image_threshold")
    expect(page.get_by_text("Nothing changes.")).to_be_visible()
    write = page.get_by_role("button", name="Write to params.yaml")
    expect(write).to_be_disabled()
    slider.fill("75")
    moves = page.locator(".moves.out")
    expect(moves).not_to_have_attribute("data-count", "0")
    fallen = int(moves.get_attribute("data-count") or 0)
    expect(page.get_by_role("gridcell")).to_have_count(fallen)
    first = page.get_by_role("gridcell").first
    expect(first).to_contain_text("→ too dark")
    distances = [
        float(text)
        for label in page.locator(".tile .values").all_inner_texts()
        for text in re.findall(r"\(([\d.]+) off\)", label)
    ]
    assert distances == sorted(distances)
    row = page.locator("tr[data-outcome='too dark']")
    expect(row).to_contain_text(f"+{fallen}")
    by_collection = page.locator("tr[data-collection] td:nth-child(3)").all_inner_texts()
    assert sum(map(int, by_collection)) == fallen
    expect(write).to_be_enabled()
    watched.expected.append("400 (Bad Request)")
    slider.fill("210")
    expect(page.get_by_role("alert")).to_contain_text("has to be less than")
    # The numbers of before would seem to be those of what is refused.
    expect(moves).to_be_hidden()
    expect(page.get_by_role("gridcell")).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("Nothing changes.")).to_be_visible()
    field = page.get_by_role("spinbutton", name="dark_image_threshold")
    field.fill("")
    field.blur()
    expect(field).to_have_value("20")


def test_hostile_names_are_text(watched: WatchedContext, server: str) -> None:
    page = open_at(watched, server, collection="03_hostile")
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    viewer = page.get_by_role("dialog", name="Picture")
    dialog = page.get_by_role("dialog", name="Deny pictures")
    for name in HOSTILE:
        shown = Path(name).name.translate(SPELLED_OUT)
        found = page.locator(".tile .name").get_by_text(shown, exact=True)
        expect(found).to_be_visible()
        found.click()
        expect(viewer.get_by_role("heading", level=2)).to_have_text(name.translate(SPELLED_OUT))
        expect(viewer).to_contain_text("Trace")
        expect(viewer).to_contain_text(DESCRIPTION)
        expect(viewer.locator("img:not(.small)")).to_be_visible()
        page.keyboard.press("d")
        expect(dialog.get_by_role("listitem")).to_contain_text(name.translate(SPELLED_OUT))
        assert dialogs == []
        assert page.locator("img[src=x], b").count() == 0
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        page.keyboard.press("Escape")
        expect(viewer).to_be_hidden()


def test_a_long_list_holds_only_what_is_in_sight(watched: WatchedContext, server: str) -> None:
    page = open_at(watched, server, source="raw/04_many")
    expect(page.get_by_text(f"{MANY:,} pictures")).to_be_visible()
    assert page.locator(".tile").count() < 100
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.keyboard.press("End")
    expect(tile(page, f"{MANY - 1:05}.jpg")).to_be_visible()
    expect(tile(page, f"{MANY - 1:05}.jpg").locator("img.loaded")).to_be_visible()
    assert active_name(page) == f"{MANY - 1:05}.jpg"
    assert page.locator(".tile").count() < 100
    assert sum("/api/pictures" in url for url in asked) <= 2
    page.keyboard.press("Control+a")
    page.keyboard.press("Home")
    expect(page.get_by_role("toolbar")).to_contain_text(f"{MANY:,} selected")
    page.mouse.move(800, 500)
    for _ in range(20):
        page.mouse.wheel(0, 1500)
    expect(page.locator(".tile.empty")).to_have_count(0)
    assert page.locator(".tile").count() < 100


def test_a_window_of_another_width_shows_the_same_pictures(
    watched: WatchedContext, server: str
) -> None:
    page = open_at(watched, server, source="raw/04_many")
    grid = page.get_by_role("grid", name="Pictures")
    expect(page.get_by_text(f"{MANY:,} pictures")).to_be_visible()
    grid.evaluate("grid => grid.scrollTop = grid.scrollHeight / 2")
    middle = tile(page, f"{MANY // 2:05}.jpg")
    expect(middle).to_be_in_viewport()
    page.set_viewport_size({"width": 700, "height": 900})
    expect(grid).to_have_attribute("aria-colcount", "2")
    expect(middle).to_be_in_viewport()


def test_dark_mode_is_dark(browser: Browser, server: str) -> None:
    shades = {}
    for is_dark in (False, True):
        with watched_context(browser, urlsplit(server).netloc, dark=is_dark) as watched:
            page = open_at(watched, server)
            colour = page.locator("body").evaluate("body => getComputedStyle(body).backgroundColor")
            shades[is_dark] = max(map(int, re.findall(r"\d+", colour)))
    assert shades[True] < 60 < 200 < shades[False]


@pytest.fixture
def changing(_pictures: Path, tmp_path: Path) -> Path:
    """A registry of its own, to be changed while somebody looks."""
    root = tmp_path / "registry"
    run(tmp_path, "cp", "-a", str(_pictures), str(root))
    return root


@pytest.fixture
def page_of_changing(changing: Path, browser: Browser) -> Iterator[tuple[WatchedContext, str]]:
    with (
        serving(changing) as served,
        watched_context(browser, served.host) as watched,
    ):
        yield watched, served.address


def test_an_open_page_shows_what_changed_and_keeps_filters_and_selection(
    changing: Path, page_of_changing: tuple[WatchedContext, str]
) -> None:
    page = open_at(*page_of_changing, collection="02_data_collection_20_oct_2021")
    tile(page, "coffee.jpg, kept").click(modifiers=["Control"])
    # The registry was written a moment ago: until it has settled, nothing tells a change from that.
    with page.expect_response(
        lambda asked: "api/state" in asked.url and "unknown" not in asked.text()
    ):
        pass
    params = changing / DATASET / "params.yaml"
    text = params.read_text(encoding="utf-8")
    params.write_text(text.replace("bright_image_threshold: 200", "bright_image_threshold: 150"))
    expect(page.locator(".notice")).to_contain_text("The registry changed")
    expect(tile(page, "coffee.jpg, too bright")).to_be_visible()
    expect(page.get_by_role("toolbar")).to_contain_text("1 selected")
    assert ("collection", "02_data_collection_20_oct_2021") in place_of(page)


def test_a_picture_that_only_the_remote_has_is_marked_and_fetched(
    changing: Path, tmp_path: Path, browser: Browser
) -> None:
    run(changing, "dvc", "remote", "add", "--default", "store", str(tmp_path / "store"))
    run(changing, "dvc", "push", "--quiet")
    for place in (changing / ".dvc/cache/files").rglob("*"):
        if place.is_file() and place.suffix != ".dir":
            place.unlink()
    with (
        serving(changing) as served,
        watched_context(browser, served.host) as watched,
    ):
        page = watched.open(
            f"{served.address}#{urlencode({'source': 'raw/02_data_collection_20_oct_2021'})}"
        )
        away = tile(page, "coffee.jpg")
        expect(away).to_contain_text("only on the remote")
        away.get_by_text("Fetch").click()
        expect(away.locator("img.loaded")).to_be_visible()
