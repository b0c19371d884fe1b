"""Commands that bring data up to date: materialize, add, import, sync."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from registry_assets.cli.reading import FINDING, read_lineage
from registry_assets.errors import CollectionNotFoundError, RegistryError

if TYPE_CHECKING:
    from registry_assets.lineage import Lineage


@click.command()
@click.option(
    "--select", "selection", help="Assets, in Dagster's selection syntax; all by default."
)
@click.option(
    "--collection", "collections", multiple=True, metavar="NAME", help="Take NAME all the way."
)
@click.option("--force", is_flag=True, help="Run commands even though nothing changed.")
@click.pass_obj
def materialize(
    root: Path, selection: str | None, collections: tuple[str, ...], force: bool
) -> None:
    """Bring assets up to date, recorded where the UI shows it."""
    sys.exit(materialize_all(read_lineage(root), selection, collections, force))


def materialize_all(
    found: Lineage, selection: str | None, collections: Iterable[str], force: bool
) -> int:
    """Plans, runs and reports; returns the exit code."""
    from registry_assets.building import define_assets
    from registry_assets.bulk import Bulk, Failed, Made, bring_in_process
    from registry_assets.checks import report_checks
    from registry_assets.dvc_repo import DvcRepo
    from registry_assets.history import open_history
    from registry_assets.materializing import only_stale, plan_runs, select_keys
    from registry_assets.progress import Progress, report_line
    from registry_assets.reporting import sync
    from registry_assets.status import read_status

    root = found.registry.root
    selected = select_keys(define_assets(found), selection)
    with open_history(root) as instance:
        sync(found, instance, lambda _line: None)
        plan = plan_runs(found, selected, tuple(collections))
        if not force:
            plan = only_stale(plan, found, read_status(found))
        if not plan:
            if found.registry.problems:
                click.echo("Nothing to do for what can be read.")
                return FINDING
            click.echo("Nothing to do: everything is up to date.")
            return 0
        steps = sum(len({found.group_of[key].name for key in run.keys}) for run in plan)
        progress = Progress(steps)

        def say(result: Made | Failed) -> None:
            where = progress.step()
            if isinstance(result, Made):
                for path, record in result.outputs.items():
                    version = record.version
                    _say_step(result.outcome, path, version.nfiles, version.size, where)

        bulk = Bulk(DvcRepo(root), found, instance, report_line, force=force)
        failed = bring_in_process(bulk, plan, say, {"registry/command": "materialize"})
        report_checks(read_lineage(root), instance)
    for failure in failed:
        click.echo(f"registry: {failure.partition or 'run'}: {failure.error}", err=True)
    return FINDING if failed or found.registry.problems else 0


def _say_step(
    outcome: str, what: str, nfiles: int | None, size: int | None, where: str = ""
) -> None:
    from registry_assets.demo import format_size

    files = f"{nfiles} files, " if nfiles is not None else ""
    bytes_ = format_size(size) if size is not None else ""
    click.echo(f"  {outcome:<9} {what}  {files}{bytes_}  {where}".rstrip())


@click.command()
@click.argument("name")
@click.pass_obj
def add(root: Path, name: str) -> None:
    """Put the collection raw/NAME under DVC, as `dvc add` does, recorded in Dagster."""
    found = read_lineage(root)
    folder = found.registry.raw_folder
    if folder is None:
        raise CollectionNotFoundError(name, "raw")
    sys.exit(_run_one(found, folder, name))


@click.command(name="import")
@click.argument("name")
@click.option("--into", "dataset", required=True, help="The data set.")
@click.option("--from", "url", help="Another repository that has it: a Git URL or a path.")
@click.option("--rev", help="With --from: a branch, tag or commit to stay at.")
@click.option("--path", help="With --from: the path there; raw/NAME by default.")
@click.pass_obj
def import_(
    root: Path, name: str, dataset: str, url: str | None, rev: str | None, path: str | None
) -> None:
    """Take the collection NAME into a data set, without a copy, recorded in Dagster."""
    if url is None and (rev or path):
        raise click.UsageError("--rev and --path go with --from")
    found = read_lineage(root)
    chosen = found.registry.dataset(dataset)
    inputs = chosen.inputs
    if inputs is None:
        raise RegistryError(
            f"{dataset} has no folder for inputs: add one to `families` in [tool.registry_assets]"
        )
    if url is not None:
        from registry_assets.dvc_repo import DvcRepo
        from registry_assets.model import check_collection_name

        DvcRepo(root).import_from(
            url,
            path or f"raw/{check_collection_name(name)}",
            f"{inputs}/{name}",
            revision=rev,
            collections_file=chosen.collections_file,
            report=click.echo,
        )
        found = read_lineage(root)
    sys.exit(_run_one(found, inputs, name))


def _run_one(found: Lineage, folder: str, name: str) -> int:
    """Materializes one collection of one family."""
    from registry_assets.building import define_assets
    from registry_assets.checks import report_checks
    from registry_assets.history import open_history
    from registry_assets.materializing import PlannedRun, execute
    from registry_assets.model import check_collection_name
    from registry_assets.reporting import sync

    check_collection_name(name)
    root = found.registry.root
    group = next(group for group in found.groups if group.folder == folder)
    keys = tuple(output.key for output in group.outputs)
    with open_history(root) as instance:
        sync(found, instance, lambda _line: None)
        run = PlannedRun(keys, name, group.partitions)
        result = execute(define_assets(found), instance, run, force=False, tags={})
        report_checks(read_lineage(root), instance)
    for step in result.steps:
        _say_step(step.outcome, "/".join(step.key), step.nfiles, step.size)
    for failure in result.failures:
        click.echo(f"registry: {failure}", err=True)
    return FINDING if result.failures else 0


@click.command()
@click.pass_obj
def sync(root: Path) -> None:
    """Report to Dagster what changed outside it, from the metafiles."""
    from registry_assets.checks import report_checks
    from registry_assets.history import open_history
    from registry_assets.reporting import sync as report_changes

    found = read_lineage(root)
    with open_history(found.registry.root) as instance:
        count = report_changes(found, instance, click.echo)
        checked = report_checks(found, instance)
    click.echo(f"reported {count} materializations and {checked} checks")
