"""What every command starts with: the graph, the history, the exit code."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    from registry_assets.registry.home import choose_home, find_exported_home, read_env

    elsewhere = find_exported_home(root)
    if elsewhere is not None:
        click.echo(f"registry: the history is in {elsewhere}, where DAGSTER_HOME leads", err=True)
    home = choose_home(root).resolve()
    with ExitStack() as stack:
        # As in Dagster's own commands, where what it says goes before what is exported, too.
        variables = read_env(root)
        # What Dagster itself writes goes there, too, and assets may ask it for its instance.
        stack.enter_context(_exported({**variables, "DAGSTER_HOME": str(home)}))
        stack.enter_context(_hearing_interrupts())
        yield stack.enter_context(opening.open_history(root, launches_runs=launches_runs))


@contextmanager
def _exported(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _hearing_interrupts() -> Iterator[None]:
    """Has this process hear SIGINT, where a shell started it in the background.

    Such a shell has it ignored, and Dagster handles SIGTERM alike (`dagster._utils.interrupts`).
    What it starts for a run would inherit that, and the run would wait for ever for it to end.
    """
    is_deaf = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if not is_deaf or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def say_left_out(problems: Iterable[str]) -> None:
    """Prints which metafiles had to be left out."""
    for problem in problems:
        click.echo(f"registry: left out: {problem}", err=True)


def say_json(value: object) -> None:
    """Prints what `--json` asks for; docs/json.md is the reference."""
    click.echo(json.dumps(value, indent=2, default=_as_plain))


def _as_plain(value: Any) -> Any:
    # A date, as a parameter may be one, is told as text.
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)
