"""Commands that show the registry: status, lineage, trace, duplicates."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from registry_assets.cli import deciding, models
from registry_assets.cli.reading import (
    FINDING,
    open_history,
    read_lineage,
    read_status_too,
    say_json,
    say_left_out,
)

if TYPE_CHECKING:
    from registry_assets.provenance.finding import Trace
    from registry_assets.registry.lineage.graph import Lineage
    from registry_assets.registry.status.values import RegistryStatus


_DISTANCE = "Also pictures whose perceptual hashes differ in at most this many of 64 bits."


@click.command()
@click.option("-v", "--verbose", is_flag=True, help="A line for each output, with all reasons.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
@click.pass_obj
def status(root: Path, verbose: bool, as_json: bool) -> None:
    """Show what is not up to date, and the next command.

    Exit 1 if anything is not up to date.
    """
    from registry_assets.registry.status.report import (
        describe_details,
        describe_status,
        status_as_json,
    )

    found = find_status(root)
    if as_json:
        say_json(status_as_json(found))
    else:
        for line in describe_details(found) if verbose else describe_status(found):
            click.echo(line)
    sys.exit(0 if found.up_to_date else FINDING)


def find_status(root: Path) -> RegistryStatus:
    """Read the status, from the cache if no file changed since."""
    from registry_assets.registry.status.last_status import observe

    now = observe(root)
    if now is not None and now.status is not None:
        say_left_out(now.status.problems)
        return now.status
    from registry_assets.dvc_repo import DvcRepo

    dvc = DvcRepo(root)
    with dvc.session():
        found, status = read_status_too(dvc, now)
        if now is not None:
            now.keep(found.registry, status, dvc)
    return status


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
@click.option("--check", is_flag=True, help="Compare metafiles, asset graph, event log and cache.")
@click.option("--full", is_flag=True, help="With --check: also hash every object in the cache.")
@click.pass_obj
def lineage(root: Path, as_json: bool, check: bool, full: bool) -> None:
    """Show the graph of outputs, or compare it with Dagster."""
    from registry_assets.registry.lineage.report import describe_lineage, lineage_as_json

    if full and not check:
        raise click.UsageError("--full goes with --check")
    found = read_lineage(root)
    if check:
        sys.exit(check_lineage(found, most_hashed=None if full else 0))
    if as_json:
        say_json(lineage_as_json(found))
        return
    for line in describe_lineage(found):
        click.echo(line)


def check_lineage(found: Lineage, *, most_hashed: int | None = 0) -> int:
    """Compare Dagster with the metafiles, print differences, and return the exit code."""
    from registry_assets.orchestration.building import build_definitions
    from registry_assets.orchestration.comparison import compare

    root = found.registry.root
    with open_history(root) as instance:
        comparison = compare(found, build_definitions(root), instance, most_hashed=most_hashed)
    for difference in comparison.differences:
        click.echo(str(difference))
    if comparison.differences:
        count = len(comparison.differences)
        click.echo(f"{count} difference{'s' if count > 1 else ''}", err=True)
        return FINDING
    click.echo(
        f"{comparison.outputs} outputs, {comparison.edges} edges and "
        f"{comparison.materializations} newest materializations agree"
    )
    return 0


@click.command()
@click.argument("name", required=False)
@click.option("--distance", type=click.IntRange(0, 64), help=_DISTANCE)
@click.option(
    "--leave-out",
    "dataset",
    metavar="DATASET",
    help="Keep only the first copy of each picture in this data set.",
)
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
@click.pass_obj
def duplicates(
    root: Path, name: str | None, distance: int | None, dataset: str | None, as_json: bool
) -> None:
    """List duplicate pictures, or only those with a copy in NAME.

    Compares content; with --distance, also perceptual hashes. --leave-out records decisions, as
    `registry deny` does; pictures that somebody allowed stay. Exit 1 if there are any duplicates.
    """
    if dataset is not None:
        if name is not None or as_json:
            raise click.UsageError("--leave-out goes with --distance only")
        deciding.leave_out(root, dataset, distance)
        return
    from registry_assets.curation.duplicates import find_duplicates, raw_versions
    from registry_assets.dvc_repo import DvcRepo
    from registry_assets.errors import NotTrackedError, describe_unread

    lineage = read_lineage(root)
    if name is not None and name not in raw_versions(lineage):
        raise NotTrackedError(f"{name} is not tracked yet: run `registry add {name}`")
    names = None if name is None else [name]
    found = find_duplicates(
        lineage, DvcRepo(root).listings(), names, distance=distance, within=True
    )
    folder = lineage.registry.raw_folder
    if as_json:
        say_json(found.found)
    else:
        for item in found.found:
            how = "same" if item.distance is None else f"alike {item.distance}"
            other = f"{folder}/{item.other}/{item.other_path}"
            click.echo(f"{how:<10} {folder}/{item.collection}/{item.path}  {other}")
        for (one, other), (same, alike) in found.counts().items():
            pair = one if one == other else f"{one} and {other}"
            click.echo(f"{pair}: {same} the same, {alike} alike")
        if not found.found:
            click.echo("no duplicates")
    if found.unread:
        paths = [f"{folder}/{item}" for item in found.unread]
        click.echo(f"registry: incomplete: {describe_unread(paths)}", err=True)
    if found.unmeasured:
        click.echo(
            f"registry: incomplete: no table of measurements for {', '.join(found.unmeasured)}: "
            "`registry materialize` makes it, if a data set has a stage for it",
            err=True,
        )
    sys.exit(FINDING if found.found or found.unread else 0)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--forward", is_flag=True, help="Also list which data sets hold it, or what was made from it."
)
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
@click.option("--no-runs", is_flag=True, help="Do not look up Dagster's runs; faster.")
@click.pass_obj
def trace(root: Path, file: Path, forward: bool, as_json: bool, no_runs: bool) -> None:
    """Show where FILE came from: raw file, stages and commits.

    Finds FILE by its content: it may also be outside the registry, or recorded but not in the
    workspace. With an MLflow server configured, --forward also lists the models that were trained
    on it. FILE may then also be a model, models:/NAME/VERSION, which is traced back to its raw
    collections.
    """
    from registry_assets.errors import describe_unread
    from registry_assets.provenance.finding import trace_file
    from registry_assets.provenance.models.report import describe_trained
    from registry_assets.provenance.report import describe_trace, trace_as_json

    if models.is_model(file):
        if forward:
            raise click.UsageError("--forward goes with a file, not with a model")
        models.say_model(root, str(file), as_json)
        return
    lineage = read_lineage(root)
    found = trace_file(lineage, file, forward=forward)
    if not no_runs:
        found = _find_runs(found, lineage.registry.root)
    trained = models.find_models(lineage, found.md5) if forward else None
    if as_json:
        say_json(trace_as_json(found, trained))
    else:
        for line in (*describe_trace(found, lineage.registry), *describe_trained(trained)):
            click.echo(line)
    gaps = [*((describe_unread(found.unread),) if found.unread else ()), *models.gaps(trained)]
    for gap in gaps:
        click.echo(f"registry: incomplete: {gap}", err=True)
    if gaps:
        sys.exit(FINDING)


def _find_runs(found: Trace, root: Path) -> Trace:
    from registry_assets.provenance.finding import with_runs
    from registry_assets.registry.home import has_history

    if not has_history(root) or not found.chains:
        return found
    from registry_assets.orchestration.history.event_log import find_run

    with open_history(root) as instance:
        return with_runs(found, partial(find_run, instance))
