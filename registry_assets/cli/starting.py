"""Commands for making a registry and starting to use it: init, clone, new, demo."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from shlex import quote

import click
from click.core import ParameterSource

from registry_assets.cli.looking import check_lineage
from registry_assets.cli.publishing import push_all
from registry_assets.cli.reading import (
    FINDING,
    read_lineage,
    read_status_too,
)
from registry_assets.cli.running import (
    materialize_all,
    report_outside_changes,
    say_restored,
)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--upgrade", is_flag=True, help="Replace the stages of data sets with those of this version."
)
def init(folder: Path, upgrade: bool) -> None:
    """Make FOLDER a registry, or set up an existing one here."""
    from registry_assets.intake.initialising import init_registry
    from registry_assets.registry.sharing import share_files

    _check_root(folder)
    share_files(folder)
    for line in init_registry(folder, upgrade=upgrade):
        click.echo(line)
    click.echo(
        f"{folder} is ready: put photographs into {folder / 'raw' / 'NAME'}, then run "
        "`registry materialize --collection NAME`, or `registry ui` to have it done in the UI"
    )


@click.command()
@click.argument("url")
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@click.option("--no-data", is_flag=True, help="Fetch no data now; rerun without it to do so.")
def clone(url: str, folder: Path | None, no_data: bool) -> None:
    """Clone the registry at URL, and set it up on this machine.

    Fetches its data and reports it to Dagster. Without DIR, the folder is named after URL. Safe to
    rerun. Exit 1 if some data could not be fetched.
    """
    from registry_assets.dvc_repo import DvcRepo
    from registry_assets.intake.cloning import clone_repository, default_folder, fit_clone
    from registry_assets.registry.sharing import share_files

    _check_root(folder or Path(default_folder(url)))
    root = clone_repository(url, folder, click.echo)
    share_files(root)
    for line in fit_clone(root):
        click.echo(line)
    is_complete = True
    if not no_data:
        dvc = DvcRepo(root)
        click.echo("fetching the data")
        with dvc.session(), dvc.standing_still(click.echo), dvc.reading_once():
            data = dvc.restore_all(click.echo)
        say_restored(data)
        is_complete = not data.missing
    found = read_lineage(root)
    report_outside_changes(found, lambda _line: None)
    click.echo(f"{root} is ready: run `registry status` or `registry ui` there")
    sys.exit(0 if is_complete and not found.registry.problems else FINDING)


@click.command()
@click.argument("dataset", required=False)
@click.option(
    "--like", metavar="OTHER", help="Copy code, parameters and pipeline of the data set OTHER."
)
@click.option("--template", metavar="NAME", help="The template (default: the first in the list).")
@click.option("--list", "lists", is_flag=True, help="Only list the templates.")
@click.pass_obj
def new(
    root: Path, dataset: str | None, like: str | None, template: str | None, lists: bool
) -> None:
    """Make the data set DATASET from a template or from OTHER.

    It has code, parameters and a pipeline, but no collections. Without DATASET, list the templates.
    """
    from registry_assets.intake.datasets import TEMPLATES, make_dataset

    if like is not None and template is not None:
        raise click.UsageError("--like does not go with --template")
    if dataset is None or lists:
        if dataset or like or template:
            raise click.UsageError("give a DATASET and no --list to make a data set")
        for name, known in TEMPLATES.items():
            click.echo(f"{name:<18} {known.description}")
        return
    found = read_lineage(root)
    for line in make_dataset(found.registry, dataset, template=template, like=like):
        click.echo(line)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@click.pass_obj
def demo(root: Path, folder: Path | None) -> None:
    """Run the main job on sample photographs and print a summary.

    FOLDER is made a registry first (default: use the current registry).
    """
    if folder is not None:
        _check_root(folder)
    # Printed before imports that take seconds.
    click.echo(
        "Processing two sample collections, from raw/ to sorted images, takes about half a minute",
        err=True,
    )
    from registry_assets.cli.demo import CHECKOUT, summarise
    from registry_assets.dvc_repo import DvcRepo
    from registry_assets.intake.initialising import (
        check_samples_fit,
        copy_samples,
        fit_to_machine,
        init_registry,
    )
    from registry_assets.registry.reading import read_registry
    from registry_assets.registry.sharing import share_files

    if folder is not None:
        root = folder
        share_files(root)
        for line in init_registry(root):
            click.echo(line)
    dvc = DvcRepo(root)
    if not dvc.root.samefile(CHECKOUT):
        check_samples_fit(read_registry(dvc.root, dvc))
    for line in fit_to_machine(dvc.root):
        click.echo(line)
    names = copy_samples(dvc.root)
    with dvc.session():
        found, status = read_status_too(dvc)
        click.echo("Starting Dagster, which records each step", err=True)
        code = materialize_all(dvc, found, status, collections=names)
    if code:
        sys.exit(code)
    click.echo("Pushing to the default remote")
    code = push_all(dvc, full=False, report=lambda line: click.echo(f"  {line}"))
    found = read_lineage(dvc.root)
    click.echo("Comparing what DVC recorded with what Dagster shows: ", nl=False)
    code = check_lineage(found) or code
    click.echo()
    for line in summarise(found):
        click.echo(line)
    ui = "registry ui" if root == Path() else f"registry --root {quote(str(root))} ui"
    if dvc.root.samefile(CHECKOUT):
        ui = "make ui"
    click.echo(f"\nWhere to look next: `{ui}`, then the address that it prints")
    sys.exit(code)


def _check_root(folder: Path) -> None:
    """Make sure that --root, if given, is the folder to make a registry of.

    Raises:
        UsageError: when it is another one.
    """
    context = click.get_current_context()
    root: Path = context.find_root().params["root"]
    is_given = context.find_root().get_parameter_source("root") is not ParameterSource.DEFAULT
    if is_given and os.path.realpath(root) != os.path.realpath(folder):
        raise click.UsageError(
            f"--root {root} and {folder} are two folders: leave --root out, and end with the one "
            f"to make a registry of: `registry {context.info_name} … DIR`"
        )
