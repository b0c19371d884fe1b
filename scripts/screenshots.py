"""Makes the pictures of the documentation: the page and Dagster's UI on a fresh demo registry.

Run it as `make screenshots`. It needs Chromium, as tests do: `make servers` installs it.
"""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from PIL import Image
from playwright.sync_api import Page

from tests.chromium import running_chromium
from tests.dagster_ui import free_port

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
DATASET = "processed/01_image_dataset"
ASSET = "assets/processed/01_image_dataset/data/outputs/day_images_sharp"
FIRST, SECOND = "01_data_collection_16_oct_2021", "02_data_collection_20_oct_2021"

_WIDTH, _HEIGHT = 1280, 800
_GRAPH_HEIGHT = 900
"""Of the pictures of Dagster's UI, whose graph is cut off otherwise."""
_QUALITY = 85
_FRAME, _LAST_FRAME = 180, 2000
"""Milliseconds that each picture of a moving one is shown."""
_ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
_PATIENCE = 60_000
"""Milliseconds until something has to be there."""
_SETTLES = 3_000
"""Milliseconds in which the graph gets its colours."""


Prepare = Callable[[Page], None]
"""What is done on a page before its picture is taken."""


def main() -> None:
    """Makes the registry, starts the pages, and takes the pictures."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "photographs"
        build_registry(root)
        report = Path(scratch) / "report.html"
        run(root, "registry", "report", "--html", str(report))
        with running_chromium() as browser:
            page = browser.new_page(viewport={"width": _WIDTH, "height": _HEIGHT})
            page.set_default_timeout(_PATIENCE)
            page.goto(report.as_uri())
            take(page, "report")
            with serving(root, "look", "--no-browser") as address:
                for name, (place, prepare) in LOOK.items():
                    # Another fragment of the same page would load nothing.
                    page.goto("about:blank")
                    page.goto(f"{address}#source={DATASET}&{place}")
                    prepare(page)
                    take(page, name)
                page.goto("about:blank")
                page.goto(f"{address}#source={DATASET}&tab=thresholds")
                take_moving(page, "dragging", drag_darker(page))
            change(root / DATASET / "params.yaml", "fog_image_threshold", 400)
            run(root, "registry", "sync")
            with serving(root, "ui", "--port", str(free_port())) as address:
                page.goto(address)
                page.get_by_text("Hide navigation").first.click()
                page.set_viewport_size({"width": _WIDTH, "height": _GRAPH_HEIGHT})
                for name, (place, prepare) in UI.items():
                    page.goto(f"{address.partition('?')[0]}{place}")
                    prepare(page)
                    take(page, name)


def build_registry(root: Path) -> None:
    """Makes the demo registry, with two versions of the data set, a decision and a duplicate."""
    run(root.parent, "registry", "init", root.name)
    run(root, "registry", "demo")
    commit(root, "Sort the first photographs")
    run(root, "git", "tag", "first")
    change(root / DATASET / "params.yaml", "day_night_image_threshold", 120)
    collection = root / "raw" / "03_market_square"
    collection.mkdir()
    for name in ("coffee.jpg", "dogs.webp"):
        source = root / "raw" / SECOND / name
        (collection / name).write_bytes(source.read_bytes())
    with Image.open(
        root / "raw" / "01_data_collection_16_oct_2021/camera_lake/IMG_1200.jpg"
    ) as one:
        one.save(collection / "pagoda.jpg", quality=70)
    run(root, "registry", "add", "03_market_square")
    run(root, "registry", "import", "03_market_square", "--into", "01_image_dataset")
    denied = f"raw/{FIRST}/camera_mountain/IMG_0630.jpg"
    run(root, "registry", "deny", denied, "--why", "a hand before the lens")
    run(root, "registry", "materialize")
    commit(root, "Take in the market square")


def change(params: Path, name: str, value: float) -> None:
    """Changes a parameter."""
    text = params.read_text(encoding="utf-8")
    params.write_text(re.sub(rf"(?m)^{name}: .*$", f"{name}: {value}", text), encoding="utf-8")


def commit(root: Path, message: str) -> None:
    """Commits everything."""
    run(root, "git", "add", "--all")
    run(root, "git", "commit", "--quiet", "--message", message)


def run(folder: Path, *command: str) -> None:
    """Runs a command; what it says is shown if it fails."""
    done = subprocess.run(
        command, cwd=folder, env=_ENVIRONMENT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


@contextmanager
def serving(root: Path, *arguments: str) -> Iterator[str]:
    """Runs a command that serves a page, and gives its address."""
    process = subprocess.Popen(
        ["registry", *arguments], cwd=root, env=_ENVIRONMENT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield find_address(process.stdout)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(_PATIENCE / 1000)


def find_address(said: IO[str]) -> str:
    """The address that a command prints on a line of its own."""
    for line in said:
        if line.startswith("http://"):
            return line.strip().partition("#")[0]
    raise SystemExit("no address was printed")


def take(page: Page, name: str) -> None:
    """Takes a picture of what the page shows."""
    page.wait_for_load_state("networkidle")
    write(name, [shoot(page)])


def take_moving(page: Page, name: str, moments: Iterator[None]) -> None:
    """Takes a moving picture.

    Args:
        page: The page.
        name: The name of the picture.
        moments: Changes the page before each of its pictures.
    """
    shots = []
    for _ in moments:
        page.wait_for_load_state("networkidle")
        shots.append(shoot(page))
    write(name, shots)


def shoot(page: Page) -> Image.Image:
    """What the page shows."""
    with Image.open(io.BytesIO(page.screenshot())) as shot:
        return shot.convert("RGB")


def write(name: str, shots: Sequence[Image.Image]) -> None:
    """Writes a picture, a moving one if there are several shots."""
    place = FOLDER / f"{name}.webp"
    first, *rest = shots
    if rest:
        times = [_FRAME] * len(rest) + [_LAST_FRAME]
        first.save(
            place,
            quality=_QUALITY,
            method=6,
            save_all=True,
            append_images=rest,
            duration=times,
            loop=0,
        )
    else:
        first.save(place, quality=_QUALITY, method=6)
    print(f"{place.name}: {place.stat().st_size / 1000:.0f} kB")


def wait_for_pictures(page: Page) -> None:
    """Waits until there are pictures, and none is on its way."""
    page.locator("img").first.wait_for()


def drag_a_slider(page: Page) -> None:
    """Moves the slider between day and night."""
    slider = page.get_by_role("slider", name="day_night_image_threshold")
    slider.wait_for()
    slider.fill("90")
    wait_for_pictures(page)


def drag_darker(page: Page) -> Iterator[None]:
    """Moves the slider for pictures that are too dark, step by step."""
    slider = page.get_by_role("slider", name="dark_image_threshold")
    slider.wait_for()
    for value in (*range(20, 96, 5), 95, 95):
        slider.fill(str(value))
        page.wait_for_timeout(_FRAME)
        yield


def open_a_picture(page: Page) -> None:
    """Opens the picture that is too bright, and waits for what is known of it."""
    wait_for_pictures(page)
    page.get_by_text("IMG_1330.jpg").first.dblclick()
    page.get_by_text("bright_image_threshold").first.wait_for()


def open_reasons(page: Page) -> None:
    """Opens what changed between two versions besides pictures."""
    wait_for_pictures(page)
    page.get_by_text("Why", exact=True).click()


def wait_for_graph(page: Page) -> None:
    """Waits for the boxes, and for their colours, which come later and which nothing names."""
    page.get_by_text("night_images_sharp").first.wait_for()
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(_SETTLES)


def show_the_sheet(page: Page) -> None:
    """Scrolls to the contact sheet of a partition."""
    page.get_by_text("contact_sheet", exact=True).first.wait_for()
    page.locator("img[src*='/sheets/']").first.wait_for()
    page.get_by_text("dvc/outcome", exact=True).first.evaluate("row => row.scrollIntoView(true)")


def wait_for_the_check(page: Page) -> None:
    """Waits for what the check found."""
    page.get_by_text("Evaluation result").first.wait_for()
    page.get_by_text("stale").first.wait_for()


LOOK: Mapping[str, tuple[str, Prepare]] = {
    "gallery": ("tab=gallery", wait_for_pictures),
    "why": ("tab=gallery", open_a_picture),
    "thresholds": ("tab=thresholds", drag_a_slider),
    "duplicates": ("tab=duplicates", wait_for_pictures),
    "versions": ("tab=versions&a=first&b=", open_reasons),
}
"""The pictures of the page: the place in it, and what is done there."""

UI: Mapping[str, tuple[str, Prepare]] = {
    "graph": (
        "locations/registry_assets.definitions/asset-groups/processed__01_image_dataset/lineage",
        wait_for_graph,
    ),
    "partition": (f"{ASSET}?view=partitions&partition={SECOND}", show_the_sheet),
    "checks": (f"{ASSET}?view=checks&checkDetail=matches_dvc_lock", wait_for_the_check),
}
"""The pictures of Dagster's UI: the address in it, and what is done there."""

if __name__ == "__main__":
    main()
