"""What every command starts with, and how it ends."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from registry_assets.lineage import Lineage

FINDING = 1
"""The exit code of a finding or a failure."""


def read_lineage(root: Path) -> Lineage:
    """Reads the graph of a registry; says which metafiles had to be left out."""
    from registry_assets.lineage_building import build_lineage
    from registry_assets.registry import read_registry

    lineage = build_lineage(read_registry(root))
    say_left_out(lineage.registry.problems)
    return lineage


def say_left_out(problems: Iterable[str]) -> None:
    """Says which metafiles had to be left out."""
    for problem in problems:
        click.echo(f"registry: left out: {problem}", err=True)
