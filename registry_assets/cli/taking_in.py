"""Commands for collections: add, import, update, take-out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from registry_assets.cli.reading import FINDING, open_history, read_lineage
from registry_assets.cli.running import make_units, say_copied
from registry_assets.errors import RegistryError
from registry_assets.model import metafile_of

if TYPE_CHECKING:
    from dagster import AssetObservation

    from registry_assets.making.batch import Failed, MakeOptions
    from registry_assets.making.unit import Unit
    from registry_assets.model import Dataset
    from registry_assets.registry.lineage.graph import Lineage
    from registry_assets.registry.status.imports import ImportState
    from registry_assets.registry.status.last_status import Observation


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="NAME|PATH..")
@click.option(
    "--name", help="Name of the new collection (default: the name of the folder or archive)."
)
@click.option("--link", is_flag=True, help="Hardlink files from elsewhere instead of copying them.")
@click.pass_obj
def add(root: Path, sources: tuple[str, ...], name: str | None, link: bool) -> None:
    """Track collections with DVC, and record them in Dagster.

    Adds raw/NAME, or a folder or archive (.zip, .tar, .tar.gz, .tar.bz2, .tar.xz) at any path,
    which is copied or unpacked into raw/ first. Safe to rerun after an interruption.
    """
    from registry_assets.dvc_repo import DvcRepo
    from registry_assets.intake.adding import bring_in, choose_additions, finish_addition
    from registry_assets.intake.next_steps import after_adding
    from registry_assets.leftovers import describe_left_out
    from registry_assets.registry.status.unknown_names import check_collection_exists

    if name is not None and len(sources) > 1:
        raise click.UsageError("--name goes with one folder or archive")
    found = read_lineage(root)
    registry = found.registry
    additions = choose_additions(registry, sources, name)
    if (name or link) and any(addition.source is None for addition in additions):
        raise click.UsageError("--name and --link go with a folder or archive from elsewhere")
    for addition in additions:
        if addition.source is None:
            check_collection_exists(found, addition.name)
    for addition in additions:
        left_out = bring_in(registry, addition, say_copied(addition.name), link=link)
        if left_out:
            click.echo(f"    {addition.name}: {describe_left_out(left_out)}", err=True)
    units = [_unit_in(found, registry.raw_folder or "", addition.name) for addition in additions]
    with DvcRepo(registry.root).session():
        now, failed = _make(found, units, "add")
        _say_failed(failed)
        unadded = {failure.unit.partition for failure in failed}
        added = [addition for addition in additions if addition.name not in unadded]
        for addition in added:
            finish_addition(registry, addition)
        if added:
            names = [addition.name for addition in added]
            _say_duplicates(now, names)
            click.echo(after_adding(now, names))
    sys.exit(FINDING if failed else 0)


def _say_failed(failed: Sequence[Failed]) -> None:
    for failure in failed:
        click.echo(f"registry: {failure.error}", err=True)


def _say_duplicates(now: Lineage, names: Sequence[str]) -> None:
    """Print how many files of collections are duplicates, within them or of others."""
    from registry_assets.curation.duplicates import describe, find_duplicates
    from registry_assets.dvc_repo import DvcRepo

    found = find_duplicates(now, DvcRepo(now.registry.root).listings(), names, within=True)
    for name in names:
        of = "" if len(names) == 1 else f"{name}: "
        for line in describe(found, name):
            click.echo(f"  {of}{line}: `registry duplicates {name}` lists them")


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]..")
@click.option("--check", is_flag=True, help="Only list imports that are behind; exit 1 if any are.")
@click.pass_obj
def update(root: Path, names: tuple[str, ...], check: bool) -> None:
    """Update all imports, or those named, to their current sources."""
    from registry_assets.dvc_repo import source_session
    from registry_assets.intake.next_steps import after_taking_in
    from registry_assets.registry.status.imports import choose_imports, compare_imports
    from registry_assets.registry.status.last_status import observe

    now = None if check else observe(root)
    found = read_lineage(root)
    chosen = choose_imports(found.registry, names)
    states = []
    with source_session():
        for state in compare_imports(found.registry, chosen):
            states.append(state)
            _say_state(state)
        failures = [] if check else _update(found, [s for s in states if s.can_update])
    if not check and not any(state.can_update for state in states):
        _tell_what_is_untold(found, now)
    for failure in failures:
        click.echo(f"registry: {failure}", err=True)
    left = [s for s in states if s.is_finding and (check or not s.can_update)]
    if check:
        click.echo(f"{len(states) - len(left)} of {len(states)} imports are up to date")
    else:
        updated = sum(state.can_update for state in states) - len(failures)
        current = sum(state.state == "current" for state in states)
        click.echo(f"updated {updated} of {len(states)} imports, {current} were up to date")
        if updated and not failures:
            click.echo(after_taking_in(found, [s.path for s in states if s.can_update]))
    sys.exit(FINDING if left or failures or found.registry.problems else 0)


def _tell_what_is_untold(found: Lineage, now: Observation | None) -> None:
    """Tell Dagster what an interrupted command had recorded.

    Args:
        found: The graph.
        now: The state of the registry's files before it was read.
    """
    from registry_assets.registry.home import choose_home

    home = choose_home(found.registry.root)
    if now is not None and now.is_synced(home):
        return
    from registry_assets.orchestration.history.reporting import sync

    with open_history(found.registry.root) as instance:
        sync(found, instance, lambda _line: None)
    if now is not None:
        now.mark_synced(home)


def _say_state(state: ImportState) -> None:
    if state.state in ("unreachable", "gone"):
        click.echo(f"registry: {state.path}: {state.why}", err=True)
    elif state.state != "current":
        click.echo(f"{state.state:<10} {state.path}  ({state.why})")


def _update(found: Lineage, states: Sequence[ImportState]) -> list[str]:
    """Update imports to the current version of their sources; return what failed."""
    from registry_assets.making.batch import MakeOptions
    from registry_assets.making.planning import units_of
    from registry_assets.orchestration.sensors.imports import build_observation

    observed = [build_observation(found, state) for state in states]
    units = units_of(found, (state.path for state in states))
    options = MakeOptions(update=True)
    _, failed = _make(found, units, "update", options, observed=list(filter(None, observed)))
    return [f"{failure.unit.paths[0]}: {failure.error}" for failure in failed]


@click.command(name="import")
@click.argument("names", nargs=-1, required=True, metavar="NAME..")
@click.option("--into", "dataset", required=True, help="The data set.")
@click.option("--from", "url", help="Import from another repository: a Git URL or a path.")
@click.option("--rev", help="With --from: the branch, tag or commit to import.")
@click.option("--path", help="With --from: the path in that repository (default: raw/NAME).")
@click.pass_obj
def import_(
    root: Path,
    names: tuple[str, ...],
    dataset: str,
    url: str | None,
    rev: str | None,
    path: str | None,
) -> None:
    """Import the collections NAME into a data set, without a copy.

    The imports are recorded in Dagster.
    """
    if url is None and (rev or path):
        raise click.UsageError("--rev and --path go with --from")
    if path and len(names) > 1:
        raise click.UsageError("--path goes with one NAME")
    from registry_assets.intake.next_steps import after_taking_in
    from registry_assets.registry.status.unknown_names import check_collection_exists

    found = read_lineage(root)
    chosen = found.registry.dataset(dataset)
    inputs = chosen.inputs
    if inputs is None:
        raise RegistryError(
            f"{dataset} has no folder for imports: add one to `families` in [tool.registry_assets]"
        )
    units = {name: _unit_in(found, inputs, name) for name in names}
    if url is None:
        for name in units:
            check_collection_exists(found, name)
        now, failed = _make(found, [*units.values()], "import")
    else:
        from registry_assets.dvc_repo import source_session
        from registry_assets.making.batch import MakeOptions
        from registry_assets.making.unit import ForeignSource

        sources = {
            unit.address: ForeignSource(url, path or f"raw/{name}", rev)
            for name, unit in units.items()
        }
        with source_session():
            now, failed = _make(found, [*units.values()], "import", MakeOptions(sources=sources))
    _say_failed(failed)
    unmade = {failure.unit.address for failure in failed}
    made = [p for unit in units.values() if unit.address not in unmade for p in unit.paths]
    if made:
        click.echo(after_taking_in(now, made))
    sys.exit(FINDING if failed else 0)


@click.command(name="take-out")
@click.argument("name")
@click.option("--from", "dataset", required=True, help="The data set.")
@click.option("--force", is_flag=True, help="Also remove edits that are saved nowhere.")
@click.pass_obj
def take_out(root: Path, name: str, dataset: str, force: bool) -> None:
    """Remove the collection NAME and its outputs from a data set.

    The raw collection stays, and the cache keeps all versions.
    """
    from registry_assets.dvc_repo import DvcRepo
    from registry_assets.model import check_collection_name
    from registry_assets.orchestration.checks import report_checks
    from registry_assets.orchestration.history.reporting import sync
    from registry_assets.registry.lineage.taking_in import stages_of

    found = read_lineage(root)
    chosen = found.registry.dataset(dataset)
    metafile = metafile_of(f"{chosen.inputs}/{check_collection_name(name)}")
    addresses = stages_of(found, chosen, name)
    has_it = bool(addresses) or (found.registry.root / metafile).exists()
    removed: Sequence[str] = ()
    if has_it:
        removed = DvcRepo(root).take_out(
            name,
            metafile=metafile,
            addresses=addresses,
            collections_file=chosen.collections_file,
            force=force,
            report=click.echo,
        )
    for path in removed:
        click.echo(f"  removed   {path}")
    left = read_lineage(root)
    with open_history(left.registry.root) as instance:
        sync(left, instance, lambda _line: None)
        report_checks(left, instance)
    _reconsider_duplicates(root, left, chosen, name)
    if not has_it:
        # What follows the removal was done, as an interrupted command may have ended before that.
        raise RegistryError(f"{dataset} does not have {name}: `registry status` lists what it has")
    for path in sorted({t for p in removed for t in found.downstream_of.get(p, ())} - {*removed}):
        click.echo(f"  stays     {path}, which was made from it")


def _reconsider_duplicates(root: Path, left: Lineage, dataset: Dataset, gone: str) -> None:
    """Restore pictures that were left out as duplicates of those in the removed collection."""
    from registry_assets.cli.deciding import say_left_out
    from registry_assets.curation.deciding import Decider

    changed = Decider(left).reconsider(dataset, [f"{gone}/"])
    if changed:
        say_left_out(root, dataset, changed)


def _unit_in(found: Lineage, folder: str, name: str) -> Unit:
    """The unit of one collection in a family, even if it does not exist yet."""
    from registry_assets.making.unit import Unit
    from registry_assets.model import check_collection_name

    group = next(group for group in found.groups if group.folder == folder)
    return Unit(group, check_collection_name(name))


def _make(
    found: Lineage,
    units: Sequence[Unit],
    command: str,
    options: MakeOptions | None = None,
    *,
    observed: Sequence[AssetObservation] = (),
) -> tuple[Lineage, list[Failed]]:
    """Report outside changes to Dagster, then make units.

    Returns:
        The graph afterwards, and the units that failed.
    """
    from registry_assets.dvc_repo import DvcRepo
    from registry_assets.orchestration.history.reporting import sync

    if not units:
        return found, []
    dvc = DvcRepo(found.registry.root)
    with dvc.session(), open_history(found.registry.root) as instance:
        sync(found, instance, lambda _line: None)
        for observation in observed:
            instance.report_runless_asset_event(observation)
        return make_units(dvc, found, instance, units, command, options)
