"""Commands that bring data up to date: materialize, sync; and functions for other commands."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from registry_assets.cli.reading import FINDING, open_history, read_lineage, read_status_too
from registry_assets.units import first_of

if TYPE_CHECKING:
    from dagster import DagsterInstance

    from registry_assets.dvc_repo import DvcRepo, Restored
    from registry_assets.intake.copying import Copied
    from registry_assets.making.batch import Failed, MakeOptions
    from registry_assets.making.unit import Unit
    from registry_assets.registry.lineage.graph import Lineage
    from registry_assets.registry.status.last_status import Observation
    from registry_assets.registry.status.values import RegistryStatus

_MOST_MISSING = 20
_NOTHING_TO_DO = "Nothing to do: everything is up to date."


@click.command()
@click.option("--select", "selection", help="Assets, in Dagster's selection syntax (default: all).")
@click.option(
    "--collection",
    "collections",
    multiple=True,
    metavar="NAME",
    help="Also import NAME into data sets that lack it, and make everything from it; repeatable.",
)
@click.option("--force", is_flag=True, help="Run commands even though nothing changed.")
@click.pass_obj
def materialize(
    root: Path, selection: str | None, collections: tuple[str, ...], force: bool
) -> None:
    """Bring assets up to date; the runs appear in the UI."""
    from registry_assets.registry.home import choose_home
    from registry_assets.registry.status.last_status import observe

    now = observe(root)
    status = None if now is None else now.status
    if (
        now is not None
        and status is not None
        and status.up_to_date
        and not (selection or collections or force)
        and now.is_synced(choose_home(now.root))
    ):
        click.echo(_NOTHING_TO_DO)
        return
    from registry_assets.dvc_repo import DvcRepo

    dvc = DvcRepo(root)
    with dvc.session():
        if status is None:
            found, status = read_status_too(dvc, now)
            now = None if now is None else now.keep(found.registry, status, dvc)
        else:
            found = read_lineage(root, dvc)
            known = None if now is None else now.known
            if known is not None:
                dvc.take_known(known)
        code = materialize_all(dvc, found, status, selection, collections, force=force, now=now)
    sys.exit(code)


def materialize_all(
    dvc: DvcRepo,
    found: Lineage,
    status: RegistryStatus,
    selection: str | None = None,
    collections: Collection[str] = (),
    *,
    force: bool = False,
    now: Observation | None = None,
) -> int:
    """Bring assets up to date, print what was done, and return the exit code.

    Args:
        dvc: The repository.
        found: The graph.
        status: The status of the graph.
        selection: The assets, in Dagster's selection syntax; None for all.
        collections: Collections to import into data sets, with everything downstream.
        force: Whether commands run even though nothing changed.
        now: The state of the registry's files before it was read, in the session that goes on.
    """
    from registry_assets.making.batch import MakeOptions
    from registry_assets.making.planning import describe_edit, plan_bringing
    from registry_assets.orchestration.assets import select_keys
    from registry_assets.orchestration.history.reporting import sync
    from registry_assets.registry.home import choose_home
    from registry_assets.registry.status.unknown_names import check_collection_exists

    root = found.registry.root
    for name in collections:
        check_collection_exists(found, name)
    selected = None if selection is None else select_keys(found, selection)
    plan = plan_bringing(found, dvc, status, selected, tuple(collections), force=force)
    for path, edit in plan.edited.items():
        click.echo(f"  {describe_edit(found, path, edit)}")
    with open_history(root) as instance:
        sync(found, instance, lambda _line: None)
        if now is not None:
            now.mark_synced(choose_home(root))
        if not plan.units:
            # A killed command may have recorded all, and not removed what it had set aside.
            dvc.recover(partial(click.echo, err=True))
            if found.registry.problems:
                click.echo("Nothing to do for what can be read.")
                return FINDING
            click.echo("Everything else is up to date." if plan.edited else _NOTHING_TO_DO)
            return FINDING if plan.edited else 0
        if len(plan.units) > 1:
            click.echo(f"{len(plan.units)} steps to bring up to date", err=True)
        options = MakeOptions(force=force)
        _, failed = make_units(dvc, found, instance, plan.units, "materialize", options)
        if now is not None:
            look_again(dvc, instance, now)
    # Steps that were skipped because another one failed have a cause: they are not printed. What
    # concerns many, as a scheduler that is gone, is said once.
    for said in dict.fromkeys(str(failure.error) for failure in failed if failure.cause is None):
        click.echo(f"registry: {said}", err=True)
    return FINDING if failed or plan.edited or found.registry.problems else 0


def look_again(dvc: DvcRepo, instance: DagsterInstance, before: Observation) -> None:
    """Observe a registry after a run, so that the next command knows what was recorded.

    Called in the session of the run, in which unchanged folders are not hashed again.

    Args:
        dvc: The repository.
        instance: The Dagster instance that recorded the run.
        before: The state of the registry's files when the session began.
    """
    from registry_assets.orchestration.history.reporting import sync
    from registry_assets.registry.home import choose_home
    from registry_assets.registry.status.last_status import observe

    now = observe(dvc.root)
    if now is None or not now.is_settled or not now.has_settings_of(before):
        return
    dvc.forget_ignored()
    found, status = read_status_too(dvc, now)
    now = now.keep(found.registry, status, dvc)
    sync(found, instance, lambda _line: None)
    now.mark_synced(choose_home(dvc.root))


def make_units(
    dvc: DvcRepo,
    found: Lineage,
    instance: DagsterInstance,
    units: Sequence[Unit],
    command: str,
    options: MakeOptions | None = None,
    *,
    err: bool = False,
) -> tuple[Lineage, list[Failed]]:
    """Make units in one run, and print the outcome of each.

    Args:
        dvc: The repository.
        found: The graph.
        instance: The Dagster instance that records the run.
        units: The units.
        command: The command, for a tag of the run.
        options: Options for making them.
        err: Whether to print to standard error.

    Returns:
        The graph afterwards, and the units that failed.
    """
    from registry_assets.making.batch import Made, MakeOptions
    from registry_assets.making.progress import Progress, build_reporter
    from registry_assets.orchestration.batch_job import Batch, make_in_process
    from registry_assets.orchestration.checks import report_checks

    progress = Progress(len(units)) if len(units) > 1 else None

    def say(result: Made | Failed) -> None:
        where = progress.step() if progress else ""
        if isinstance(result, Made):
            for path, record in result.outputs.items():
                say_step(result.outcome, path, record.summary, where, err=err)

    batch = Batch(dvc, found, instance, build_reporter(), options or MakeOptions())
    failed = make_in_process(batch, units, say, {"registry/command": command})
    report_checks(batch.lineage, instance)
    return batch.lineage, failed


def say_step(outcome: str, path: str, summary: str, where: str = "", *, err: bool = False) -> None:
    """Print the outcome of one output."""
    from registry_assets.making.progress import describe_step

    click.echo(f"  {describe_step(outcome, path, summary)}  {where}".rstrip(), err=err)


def say_restored(data: Restored, more: str = "") -> None:
    """Print how much data was restored, and the next step if some is missing.

    Args:
        data: The result of restoring.
        more: A text to add to the first line.
    """
    click.echo(
        f"{data.outputs} outputs: {len(data.linked)} restored from the cache, {len(data.pulled)} "
        f"pulled{more}"
    )
    for path in data.edited:
        click.echo(f"edited   {path}  (left as it is)")
    named = first_of(data.missing, _MOST_MISSING)
    for path, reason in named:
        click.echo(f"missing  {path}  ({reason})")
    if data.missing:
        unnamed = len(data.missing) - len(named)
        step = "run `registry push` on a machine that has them, then run this again"
        if data.away is not None:
            step = data.away.next_step
        click.echo(
            (f"… and {unnamed} more\n" if unnamed > 0 else "")
            + f"{len(data.missing)} outputs could not be fetched: {step}"
        )


def say_copied(name: str) -> Callable[[Copied], None]:
    """Return a function that prints the progress of copying, at intervals and at the end."""
    from registry_assets.units import format_size

    on_terminal = sys.stderr.isatty()
    started = said = time.monotonic()

    def say(copied: Copied) -> None:
        nonlocal said
        now, is_done = time.monotonic(), copied.files == copied.all_files
        if not is_done and now - said < (0.2 if on_terminal else 5.0):
            return
        said = now
        share = max(copied.files - copied.kept, 1) / max(copied.all_files - copied.kept, 1)
        left = (now - started) / share - (now - started)
        line = (
            f"    {name}: {copied.files:,} of {copied.all_files:,} files, "
            f"{format_size(copied.size)} of {format_size(copied.whole_size)}"
        )
        line += f", {copied.kept:,} there already" if copied.kept else ""
        line += "" if is_done else f", {left:.0f} s left"
        click.echo(
            f"\r{line}\x1b[K" if on_terminal else line, nl=is_done or not on_terminal, err=True
        )

    return say


@click.command()
@click.option(
    "--strip-sheets",
    is_flag=True,
    help="Only remove contact sheets of version 0.1.0 from old events.",
)
@click.pass_obj
def sync(root: Path, strip_sheets: bool) -> None:
    """Report to Dagster what changed outside of it."""
    found = read_lineage(root)
    if not strip_sheets:
        report_outside_changes(found, click.echo)
        return
    from registry_assets.orchestration import sheet_history
    from registry_assets.units import format_size

    taken = sheet_history.strip_sheets(found.registry)
    size = f", {format_size(taken.size)}," if taken.sheets else ""
    some = "contact sheet" if taken.sheets == 1 else "contact sheets"
    click.echo(f"took {taken.sheets} {some}{size} out of Dagster's history")


def report_outside_changes(found: Lineage, report: Callable[[str], None]) -> None:
    """Report to Dagster what the metafiles record, and print the number of events."""
    from registry_assets.orchestration.checks import report_checks
    from registry_assets.orchestration.history.postgres import shown_database
    from registry_assets.orchestration.history.reporting import sync as report_changes

    with open_history(found.registry.root) as instance:
        database = shown_database(instance)
        count = report_changes(found, instance, report).reported
        checked = report_checks(found, instance)
    to = "" if database is None else f" to {database}"
    click.echo(f"reported {count} materializations and {checked} checks{to}")
