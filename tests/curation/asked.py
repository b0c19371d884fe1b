"""The collections of the demo, and what commands say about them."""

from collections import Counter
from pathlib import Path

from click.testing import CliRunner, Result

from registry_assets.cli import main

DATASET = "processed/01_image_dataset"
FIRST, SECOND = "01_data_collection_16_oct_2021", "02_data_collection_20_oct_2021"


def registry(root: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--root", str(root), *arguments])


def said(root: Path, *arguments: str) -> str:
    done = registry(root, *arguments)
    assert done.exit_code == 0, done.output + done.stderr
    return done.output


def count_made(root: Path) -> Counter[str]:
    """How many pictures each class has, by what lies in its folder."""
    outputs = root / DATASET / "data" / "outputs"
    return Counter(
        f"{light}/{visibility}"
        for light in ("day", "night")
        for visibility in ("foggy", "sharp")
        for place in (outputs / f"{light}_images" / visibility).rglob("*")
        if place.is_file() and place.name != ".gitignore"
    )
