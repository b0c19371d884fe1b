"""Shared by the commands: reads the graph, opens the history, prints JSON."""

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
    from registry_assets.registry.status.last_status import Observation
    from registry_assets.registry.status.values import RegistryStatus

FINDING = 1
"""The exit code of a finding or a failure."""


def read_lineage(root: Path, dvc: DvcRepo | None = None) -> Lineage:
    """Read the graph of a registry; print which metafiles cannot be read."""
    from registry_assets.registry.lineage.building import build_lineage
    from registry_assets.registry.reading import read_registry

    lineage = build_lineage(read_registry(root, dvc))
    say_left_out(lineage.registry.problems)
    return lineage


def read_status_too(dvc: DvcRepo, now: Observation | None = None) -> tuple[Lineage, RegistryStatus]:
    """Read the graph and the status of a registry, and load the metafiles once for both.

    Args:
        dvc: The repository.
        now: The state of the registry's files, observed just before.
    """
    from registry_assets.registry.status.reading import read_status

    with dvc.reading_once():
        lineage = read_lineage(dvc.root, dvc)
        return lineage, read_status(lineage, dvc, None if now is None else now.known)


@contextmanager
def open_history(root: Path, *, launches_runs: bool = False) -> Iterator[DagsterInstance]:
    """Open Dagster's history of a registry; warn if DAGSTER_HOME is exported."""
    from registry_assets.orchestration.history import opening
    from registry_assets.registry.home import choose_home, find_exported_home, read_env

    elsewhere = find_exported_home(root)
    if elsewhere is not None:
        click.echo(f"registry: using the history in {elsewhere}, as DAGSTER_HOME is set", err=True)
    home = choose_home(root).resolve()
    with ExitStack() as stack:
        # As in Dagster's own commands, `.env` takes precedence over exported variables.
        variables = read_env(root)
        # Dagster writes files there, too, and assets may call `DagsterInstance.get`.
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
    """Restore the handler of SIGINT if a shell started this process in the background.

    Such a shell makes the process ignore SIGINT, and Dagster then ignores SIGTERM, too
    (`dagster._utils.interrupts`). Child processes of a run would inherit that, and the run would
    wait for them forever.
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
    """Print which metafiles cannot be read and are left out."""
    for problem in problems:
        click.echo(f"registry: left out: {problem}", err=True)


def say_json(value: object) -> None:
    """Print a value for `--json`; scripts/json_reference.py makes the reference."""
    click.echo(json.dumps(value, indent=2, default=_as_plain))


def _as_plain(value: Any) -> Any:
    # Other values, such as a parameter that is a date, become text.
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)
