"""The command that sends data to the remote: push."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from registry_assets.cli.reading import FINDING

if TYPE_CHECKING:
    from registry_assets.dvc_repo import DvcRepo

_FEW = 3


@click.command()
@click.option("--check", is_flag=True, help="Send nothing, only say what the remote lacks.")
@click.option("--full", is_flag=True, help="Read back and hash everything that is there, too.")
@click.pass_obj
def push(root: Path, check: bool, full: bool) -> None:
    """Send to the remote what it lacks, and look that all of it is there.

    With --full, what is damaged there is replaced. Exit 1 when something is missing or damaged.
    """
    from registry_assets.dvc_repo import DvcRepo

    dvc = DvcRepo(root)
    sys.exit(_check(dvc, full) if check else push_all(dvc, full=full, report=click.echo))


def push_all(dvc: DvcRepo, *, full: bool, report: Callable[[str], None]) -> int:
    """Pushes, says what is nowhere, and returns the exit code."""
    missing = dvc.push(full=full, report=report).missing
    for item in missing[:_FEW]:
        report(f"missing  {item}")
    if missing:
        report(
            f"{len(missing)} files or listings are neither on the remote as they should be nor in "
            "the cache: push from a machine that has them, or materialize them again"
        )
    return FINDING if missing else 0


def _check(dvc: DvcRepo, full: bool) -> int:
    states = dvc.read_remote_states(full=full)
    for path, state in sorted(states.items()):
        for what, items in (("missing", state.missing), ("damaged", state.damaged)):
            if items:
                click.echo(f"{what:<8} {path}  ({len(items)} of {state.objects} objects)")
    if any(state.missing or state.damaged for state in states.values()):
        return FINDING
    click.echo(f"the remote has all of {len(states)} outputs")
    return 0
