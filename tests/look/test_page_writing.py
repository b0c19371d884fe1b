"""What the page writes, beside what the command line and the stages make of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.chromium import watched_context
from tests.conftest import commit_all, run
from tests.curation.asked import DATASET, FIRST, SECOND, count_made
from tests.look.served import serving


@pytest.fixture
def root(demo: Path, tmp_path: Path) -> Path:
    """A registry of its own after `registry demo`."""
    root = tmp_path / "registry"
    run(tmp_path, "cp", "-a", str(demo), str(root))
    return root


@pytest.fixture
def page(root: Path, browser: Browser) -> Iterator[Page]:
    """The page of that registry."""
    with (
        serving(root) as served,
        watched_context(browser, served.host) as watched,
    ):
        yield watched.open(served.address)


def show(page: Page, **place: str) -> None:
    address = page.url.partition("#")[0]
    page.goto("about:blank")
    page.goto(f"{address}#{urlencode({'source': DATASET, **place})}")


def decided(root: Path, collection: str) -> str:
    return (root / DATASET / "decisions" / f"{collection}.yaml").read_text(encoding="utf-8")


def test_denying_writes_the_entry_and_taking_back_removes_it(root: Path, page: Page) -> None:
    show(page)
    coffee = page.get_by_role("gridcell", name="coffee.jpg")
    coffee.click(modifiers=["Control"])
    page.keyboard.press("d")
    dialog = page.get_by_role("dialog", name="Deny pictures")
    page.keyboard.type("a cup is no landscape")
    dialog.get_by_role("button", name="Deny").click()
    notice = page.locator(".notice")
    expect(notice).to_contain_text("Denied 1 picture")
    expect(notice).to_contain_text("Next: registry materialize")
    text = decided(root, SECOND)
    assert "a cup is no landscape" in text
    assert "coffee.jpg" in text
    assert "only_here" not in text
    author = run(root, "git", "config", "user.name").strip()
    assert author in text
    expect(page.get_by_role("gridcell", name="coffee.jpg, denied")).to_be_visible()
    page.get_by_role("tab", name="Decisions").click()
    listed = page.get_by_role("gridcell")
    expect(listed).to_have_count(1)
    expect(listed).to_contain_text("a cup is no landscape")
    expect(page.get_by_role("grid")).to_be_focused()
    page.keyboard.press("u")
    expect(page.get_by_text("Nothing was decided yet.")).to_be_visible()
    assert "coffee.jpg" not in decided(root, SECOND)


def test_several_are_allowed_at_once_in_their_collections(root: Path, page: Page) -> None:
    show(page, reason="too dark")
    expect(page.get_by_role("gridcell")).to_have_count(2)
    expect(page.get_by_role("gridcell").first).to_contain_text("too dark")
    page.get_by_role("grid").focus()
    page.keyboard.press("Control+a")
    page.keyboard.press("a")
    dialog = page.get_by_role("dialog", name="Allow pictures")
    expect(dialog.get_by_role("listitem")).to_have_count(2)
    page.keyboard.type("night is wanted")
    dialog.get_by_role("checkbox", name="only here").check()
    dialog.get_by_role("button", name="Allow").click()
    expect(page.locator(".notice")).to_contain_text("Allowed 2 pictures")
    for collection in (FIRST, SECOND):
        assert "night is wanted" in decided(root, collection)
        assert "only_here: true" in decided(root, collection)
    expect(page.get_by_text("No picture passes these filters.")).to_be_visible()


def test_what_a_slider_shows_is_what_is_then_made(root: Path, page: Page) -> None:
    show(page, tab="thresholds")
    before = count_made(root)
    page.get_by_role("slider", name="day_night_image_threshold").fill("140")
    page.get_by_role("slider", name="bright_image_threshold").fill("158")
    expect(page.locator(".moves.class")).not_to_have_attribute("data-count", "0")
    expect(page.locator(".moves.out")).not_to_have_attribute("data-count", "0")
    rows = page.locator("tr[data-outcome*='/']")
    promised = {
        row.get_attribute("data-outcome"): int(row.locator("td").nth(1).inner_text())
        for row in rows.all()
    }
    comments = re.findall(r"#.*", (root / DATASET / "params.yaml").read_text(encoding="utf-8"))
    page.get_by_role("button", name="Write to params.yaml").click()
    notice = page.locator(".notice")
    expect(notice).to_contain_text("Written to params.yaml")
    expect(notice).to_contain_text("Next: registry materialize")
    text = (root / DATASET / "params.yaml").read_text(encoding="utf-8")
    assert "day_night_image_threshold: 140" in text
    assert re.findall(r"#.*", text) == comments
    expect(page.get_by_text("Nothing changes.")).to_be_visible()
    run(root, "registry", "materialize")
    made = count_made(root)
    assert made != before
    assert made == Counter({name: number for name, number in promised.items() if number})


def test_of_duplicates_one_stays(root: Path, browser: Browser) -> None:
    twins = root / "raw/03_twins"
    twins.mkdir()
    coffee = (root / f"raw/{SECOND}/coffee.jpg").read_bytes()
    for name in ("one.png", "two.png"):
        (twins / name).write_bytes(coffee)
    run(root, "registry", "materialize", "--collection", "03_twins")
    with (
        serving(root) as served,
        watched_context(browser, served.host) as watched,
    ):
        page = watched.open(
            f"{served.address}#{urlencode({'source': DATASET, 'tab': 'duplicates'})}"
        )
        group = page.locator(".group").filter(has_text="Same content")
        expect(group).to_have_count(1)
        expect(group.get_by_role("radio")).to_have_count(3)
        group.get_by_role("radio", name="two.png").check()
        group.get_by_role("button", name="Deny the others").click()
        dialog = page.get_by_role("dialog", name="Deny pictures")
        expect(dialog.get_by_label("Why")).to_have_value("duplicate of 03_twins/two.png")
        expect(dialog.get_by_role("listitem")).to_have_count(2)
        dialog.get_by_role("button", name="Deny").click()
        expect(page.locator(".notice")).to_contain_text("Denied 2 pictures")
        show(page, text="o", collection="03_twins")
        expect(page.get_by_role("gridcell", name="two.png, kept")).to_be_visible()
        expect(page.get_by_role("gridcell", name="one.png, duplicate")).to_be_visible()
        assert 'path: "one.png"' in decided(root, "03_twins")
        assert "03_twins/two.png" in decided(root, SECOND)

        # Another is chosen after all.
        show(page, tab="duplicates")
        group.get_by_role("radio", name="coffee.jpg").check()
        group.get_by_role("button", name="Deny the others").click()
        expect(dialog.get_by_role("listitem")).to_have_count(2)
        dialog.get_by_role("button", name="Deny").click()
        expect(page.locator(".notice")).to_contain_text("Denied 2 pictures")
        assert "md5" not in decided(root, SECOND)
        expect(group.locator("figure", has_text="two.png")).to_contain_text("duplicate")
        group.get_by_role("radio", name="two.png").check()
        group.get_by_role("button", name="Deny the others").click()
        dialog.get_by_role("button", name="Deny").click()
        expect(dialog).to_be_hidden()
    assert "03_twins/two.png" in decided(root, SECOND)
    run(root, "registry", "materialize")
    held = sorted(
        place.name
        for place in (root / DATASET / "data/outputs/day_images/sharp/03_twins").iterdir()
        if place.name != ".gitignore"
    )
    assert held == ["two.png"]


def test_two_versions_show_what_came_went_and_moved(root: Path, browser: Browser) -> None:
    params = root / DATASET / "params.yaml"
    text = params.read_text(encoding="utf-8")
    text = text.replace("day_night_image_threshold: 100", "day_night_image_threshold: 140")
    params.write_text(text.replace("dark_image_threshold: 20", "dark_image_threshold: 75"))
    run(root, "registry", "materialize")
    commit_all(root)
    with (
        serving(root) as served,
        watched_context(browser, served.host) as watched,
    ):
        place = {"source": DATASET, "tab": "versions"}
        page = watched.open(f"{served.address}#{urlencode(place)}")
        expect(page.get_by_text("Choose two versions")).to_be_visible()
        page.get_by_label("Version A").fill("HEAD~1")
        page.get_by_label("Version B").fill("HEAD")
        page.get_by_role("button", name="Compare").click()
        moved = page.get_by_role("grid", name="Moved").get_by_role("gridcell")
        expect(moved.first).to_contain_text("day_images/sharp → night_images/sharp")
        went = page.get_by_role("grid", name="Went").get_by_role("gridcell")
        gone = went.count()
        assert gone > 0
        page.get_by_role("button", name="Swap A and B").click()
        came = page.get_by_role("grid", name="Came").get_by_role("gridcell")
        expect(came).to_have_count(gone)
        came.first.click()
        expect(page.get_by_role("dialog", name="Picture")).to_be_visible()
