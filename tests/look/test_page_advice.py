"""The commands that the page names exist."""

from __future__ import annotations

import re
from pathlib import Path

import registry_assets.look
from registry_assets.cli import main

PAGE = Path(registry_assets.look.__file__).parent / "page"


def test_each_registry_command_that_the_page_names_exists() -> None:
    text = "".join(place.read_text(encoding="utf-8") for place in sorted(PAGE.glob("*.js")))
    named = set(re.findall(r"[\"`]registry ([a-z-]+)", text))
    assert {"add", "import", "tag"} <= named
    assert named <= set(main.commands)
