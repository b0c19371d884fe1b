"""The collections of the demo, and what commands say about them."""

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
