"""Parts of the reference that are made from the code: settings, public names, tables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

import registry_assets
from registry_assets.images.videos import COLUMNS as VIDEO_COLUMNS
from registry_assets.images.videos import ExtractedVideo
from registry_assets.model import Settings, Workers
from scripts.docstrings import as_markdown, find_attributes

DATASET = Path(__file__).parents[1] / "processed/01_image_dataset/README.md"
"""What describes the tables of the shipped data set, and goes with it into every registry."""

RESULTS = Path(__file__).parents[1] / "bench/RESULTS.md"
OTHERS = ("dvc", "DVC", "original", "Oxen", "Xvc", "CleanVision")
"""What the alternatives that are no limits begin with."""
"""What `make bench` writes."""

EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "name": ('name = "harbour_photos"',),
    "key_prefix": ('key_prefix = "photos"', 'key_prefix = "team/photos"'),
    "box_names": ('box_names = "distinct"',),
    "families": ('families = ["raw/*", "processed/*/data/inputs/*"]',),
    "settle_seconds": ("settle_seconds = 120",),
    "import_check_seconds": ("import_check_seconds = 0",),
    "git": ('git = "commit"',),
    "protected_branches": ('protected_branches = ["main", "release"]',),
    "publish_branch": ('publish_branch = "photos/{name}-{id}"',),
    "modified": ('modified = "register"',),
    "modified_check_seconds": ("modified_check_seconds = 600",),
    "archive_most_ratio": ("archive_most_ratio = 20",),
    "archive_most_files": ("archive_most_files = 50_000",),
    "archive_free_gigabytes": ("archive_free_gigabytes = 50",),
    "duplicate_distance": ("duplicate_distance = 3",),
    "take_in": ('take_in = { 01_image_dataset = ["0[1-5]_*", "harbour_*"], 02_faces = "manual" }',),
    "leave_out_duplicates": ('leave_out_duplicates = { 01_image_dataset = "same" }',),
    "workers": (
        'workers = { scheduler = "tcp://10.0.0.5:8786", stages = { train = { GPU = 1 } } }',
        "workers = { local = 4 }",
    ),
    "mlflow_tracking_uri": ('mlflow_tracking_uri = "http://127.0.0.1:5000"',),
}
"""Lines of `[tool.registry_assets]` by setting, each other than the default."""


TABLES: Mapping[str, type] = {"workers": Workers}
"""Settings that are tables with settings of their own."""


def write_settings() -> str:
    """A section for each setting: what it is for, its default and an example."""
    said = find_attributes(Settings)
    parts = []
    for setting in fields(Settings):
        default = default_line(setting)
        # TOML has no None: such a setting is left out.
        meaning = as_markdown(said[setting.name]).replace("None for", "if not set,")
        lines = [f"## {setting.name}", "", meaning, ""]
        lines += [f"Default: `{default}`" if default else "Not set by default.", ""]
        lines += ["```toml", *EXAMPLES[setting.name], "```", ""]
        if setting.name in TABLES:
            lines += [f"It is a table, `[tool.registry_assets.{setting.name}]`:", ""]
            lines += _describe_table(TABLES[setting.name])
        parts.append("\n".join(lines))
    return "\n".join(parts)


def _describe_table(described: type) -> list[str]:
    """The settings in a table of their own."""
    said = find_attributes(described)
    rows = [
        f"| `{setting.name}` | {as_markdown(said[setting.name])} |" for setting in fields(described)
    ]
    return ["| setting | |", "|---|---|", *rows, ""]


def default_line(setting: Field[Any]) -> str | None:
    """The line of TOML that says what holds without the setting; None if no line says that."""
    default = setting.default
    if default is MISSING:
        assert setting.default_factory is not MISSING
        default = setting.default_factory()
    if default is None:
        return None
    if setting.name == "key_prefix":
        return f"{setting.name} = {_as_toml('/'.join(default))}"
    return f"{setting.name} = {_as_toml(default)}"


def _as_toml(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple):
        return f"[{', '.join(map(_as_toml, value))}]"
    if isinstance(value, Mapping):
        assert not value
        return "{}"
    return f"{value:_.15g}" if isinstance(value, float) else f"{value:_}"


def write_python() -> str:
    """A directive of mkdocstrings for each public name."""
    return "\n".join(f"::: registry_assets.{name}\n" for name in registry_assets.__all__)


def write_section(title: str) -> str:
    """A section of the description of the shipped data set, without its heading."""
    text = DATASET.read_text(encoding="utf-8")
    found = re.search(
        rf"^## {re.escape(title)}\n\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL
    )
    if found is None:
        raise ValueError(f"{DATASET} has no section {title}")
    return found[1]


def write_videos() -> str:
    """The columns of `videos.csv`."""
    said = find_attributes(ExtractedVideo)
    # The docstring says of `height` what it says of `width`.
    said["height"] = "In pixels, as `width`."
    rows = (f"| `{column}` | {as_markdown(said[column])} |" for column in VIDEO_COLUMNS)
    return "\n".join(["| column | |", "|---|---|", *rows, ""])


def write_measured() -> str:
    """What was measured beside the tools that people would use instead."""
    rows = [
        "| work | this package | the alternative | which is | times faster |",
        "|---|---|---|---|---|",
    ]
    for line in RESULTS.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 7 and cells[1].startswith(OTHERS):
            work, instead, here, seconds, times, *_ = cells
            faster = times.removesuffix(" x")
            shown = faster if float(faster) >= 1 else f"**{faster}**: slower"
            rows.append(f"| {work} | {here} s | {seconds} s | {instead} | {shown} |")
    return "\n".join([*rows, ""])
