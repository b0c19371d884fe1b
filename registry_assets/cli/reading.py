"""What every command starts with: the graph, the history, the exit code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from dagster import DagsterInstance

    from registry_assets.dvc_repo import DvcRepo
    from registry_assets.registry.lineage.graph import Lineage
    from registry_assets.registry.status.values import RegistryStatus

FINDING = 1
"""The exit code of a finding or a failure."""


def read_lineage(root: Path, dvc: DvcRepo | None = None) -> Lineage:
    """Reads the graph of a registry; prints which metafiles had to be left out."""
    from registry_assets.registry.lineage.building import build_lineage
    from registry_assets.registry.reading import read_registry

    lineage = build_lineage(read_registry(root, dvc))
    say_left_out(lineage.registry.problems)
    return lineage


def read_status_too(dvc: DvcRepo) -> tuple[Lineage, RegistryStatus]:
    """Reads the graph and the status of a registry, loading the metafiles once for both."""
    from registry_assets.registry.status.reading import read_status

    with dvc.reading_once():
        lineage = read_lineage(dvc.root, dvc)
        return lineage, read_status(lineage, dvc)


@contextmanager
def open_history(root: Path, *, launches_runs: bool = False) -> Iterator[DagsterInstance]:
    """Opens Dagster's history of a registry; warns if that is not the registry's own."""
    from registry_assets.orchestration.history import opening
    from registry_assets.registry.home import find_exported_home

    elsewhere = find_exported_home(root)
    if elsewhere is not None:
        click.echo(f"registry: the history is in {elsewhere}, where DAGSTER_HOME leads", err=True)
    with opening.open_history(root, launches_runs=launches_runs) as instance:
        yield instance


def say_left_out(problems: Iterable[str]) -> None:
    """Prints which metafiles had to be left out."""
    for problem in problems:
        click.echo(f"registry: left out: {problem}", err=True)
