"""Commands that let data go: forget, gc."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from registry_assets.cli import models
from registry_assets.cli.reading import FINDING, open_history, read_lineage, say_json
from registry_assets.cli.running import make_units
from registry_assets.errors import RegistryError, describe_unread

if TYPE_CHECKING:
    from registry_assets.dvc_repo import DvcRepo
    from registry_assets.making.batch import Failed
    from registry_assets.registry.lineage.graph import Lineage
    from registry_assets.retention.planning import Forgetting
    from registry_assets.retention.remaining_copies import RemainingCopies


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--reason", default="", help="The reason, for the record.")
@click.option(
    "--dry-run", is_flag=True, help="Only print where it is, and what the command would do."
)
@click.option("--purge", is_flag=True, help="Also remove its objects from cache and remote.")
@click.option(
    "--remote", "remotes", multiple=True, metavar="NAME", help="With --purge: from this remote."
)
@click.option("--all-remotes", is_flag=True, help="With --purge: from every remote.")
@click.option("--yes", is_flag=True, help="With --purge: do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
@click.pass_obj
def forget(
    root: Path,
    file: Path,
    reason: str,
    dry_run: bool,
    purge: bool,
    remotes: tuple[str, ...],
    all_remotes: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Remove all copies of image FILE and everything made from it.

    Copies are removed from raw and data sets. FILE is a path, here or elsewhere, or an md5.
    Afterwards the command lists what is left: older versions in the cache and on remotes. --purge
    removes those objects too, for good.
    """
    from registry_assets.dvc_repo import DvcRepo
    from registry_assets.orchestration.sheet_history import check_no_sheets
    from registry_assets.provenance.models.report import describe_trained
    from registry_assets.retention import report as forget_report
    from registry_assets.retention.planning import find_left, plan_forgetting, record
    from registry_assets.retention.purging import purge as purge_objects

    if not purge and (remotes or all_remotes or yes):
        raise click.UsageError("--remote, --all-remotes and --yes go with --purge")
    dvc = DvcRepo(root)
    with dvc.session():
        found = read_lineage(root, dvc)
        check_no_sheets(found.registry.root)
        plan = plan_forgetting(found, file, dvc)
    said = partial(click.echo, err=as_json)
    chosen = _choose_remotes(dvc, remotes, is_all=all_remotes) if purge else ()
    for line in forget_report.describe_plan(plan):
        said(line)
    failures = [describe_unread(plan.unread)] if plan.unread else []
    if purge and plan.blocked:
        failures.append("nothing was purged: a current version still has the picture")
    elif purge and not dry_run:
        _confirm(dvc, found, plan, chosen, said, yes=yes)
    # Another one, as what is ignored is read once in each, and a person may take long to answer.
    with dvc.session():
        if not dry_run:
            entry = record(dvc, plan, reason)
            failures += _take_out(dvc, found, plan, err=as_json)
            found = read_lineage(root, dvc)
            failures += [] if failures else find_left(found, dvc, plan)
            for line in forget_report.describe_links(dvc.find_in_cache([plan.md5])):
                said(line)
            if purge and not failures:
                failures += purge_objects(dvc, plan.occurrences, entry, chosen, said)
        remains = _remaining_copies_of(dvc, found, plan)
        trained = models.find_models(found, plan.md5)
    if as_json:
        say_json(forget_report.forgetting_as_json(plan, remains, trained, failures))
    else:
        lines = forget_report.describe_remaining_copies(remains, is_done=not dry_run)
        for line in (*lines, *describe_trained(trained)):
            click.echo(line)
    gaps = [*((plan.problem,) if plan.problem else ()), *models.gaps(trained)]
    for failure in (*failures, *(f"incomplete: {gap}" for gap in gaps)):
        click.echo(f"registry: {failure}", err=True)
    is_incomplete = purge and plan.problem is not None
    has_failed = bool(failures or plan.blocked or found.registry.problems)
    sys.exit(FINDING if has_failed or is_incomplete else 0)


def _choose_remotes(dvc: DvcRepo, names: Sequence[str], *, is_all: bool) -> tuple[str, ...]:
    """The remotes to purge: those named, all, or the default one if there is one."""
    known = dvc.remote_names()
    for name in names:
        if name not in known:
            has = ", ".join(known) or "none"
            raise RegistryError(f"there is no remote {name}: `dvc remote list` shows them ({has})")
    if names or is_all:
        return tuple(names) or known
    default = dvc.default_remote()
    return () if default is None else (default,)


def _confirm(
    dvc: DvcRepo,
    found: Lineage,
    plan: Forgetting,
    remotes: Sequence[str],
    said: Callable[[str], None],
    *,
    yes: bool,
) -> None:
    """Print what will be removed for good, and ask for confirmation."""
    from registry_assets.retention.report import describe_purge

    for line in describe_purge(plan, _remaining_copies_of(dvc, found, plan), remotes):
        said(line)
    if yes:
        return
    if not sys.stdin.isatty():
        raise RegistryError("nothing was done: without a terminal, confirm with --yes")
    if click.prompt("Type purge to go on", default="", show_default=False, err=True) != "purge":
        raise RegistryError("nothing was done, as it was not confirmed")


def _take_out(dvc: DvcRepo, found: Lineage, plan: Forgetting, *, err: bool) -> list[str]:
    """Record collections without the picture, and materialize everything downstream."""
    from registry_assets.making.planning import units_of
    from registry_assets.orchestration.history.reporting import sync
    from registry_assets.retention.planning import forget_measures, take_files_out

    # An interrupted command may have set outputs with the picture aside.
    dvc.recover(partial(click.echo, err=err))
    take_files_out(dvc, found, plan)
    failed: Sequence[Failed] = ()
    with open_history(found.registry.root) as instance:
        # Also what this command recorded before it was interrupted.
        sync(found, instance, lambda _line: None)
        if plan.renewed:
            units = units_of(found, plan.renewed)
            _, failed = make_units(dvc, found, instance, units, "forget", err=err)
    forget_measures(dvc.root, plan.occurrences.contents)
    return [f"{item.unit.partition or item.unit.address}: {item.error}" for item in failed]


def _remaining_copies_of(dvc: DvcRepo, found: Lineage, plan: Forgetting) -> RemainingCopies:
    from registry_assets.retention.remaining_copies import find_remaining_copies
    from registry_assets.revisions.changes.version_history import read_version_history

    history = read_version_history(found.registry, dvc.run_cache_folder)
    return find_remaining_copies(dvc, found, history, plan.occurrences, plan.content.size)


@click.command()
@click.option("--yes", is_flag=True, help="Free what nothing needs, without asking.")
@click.option(
    "--raw", is_flag=True, help="Also free originals that no commit and no remote has, for good."
)
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
@click.pass_obj
def gc(root: Path, yes: bool, raw: bool, as_json: bool) -> None:
    """Show what the cache holds, and free what nothing needs.

    Keeps what a branch, tag or stash refers to, what is staged, what the metafiles record now, and
    raw files that no commit and no remote has, as they cannot be restored. If several clones share
    the cache, it keeps what any of them needs. Asks at a terminal; elsewhere it needs --yes.
    Remotes are not touched.
    """
    from registry_assets.dvc_repo import DvcRepo
    from registry_assets.retention import disk_use_report
    from registry_assets.retention.disk_use import free, read_disk_use
    from registry_assets.units import count_of, format_size

    dvc = DvcRepo(root)
    with dvc.session():
        found = read_lineage(root, dvc)
        use = read_disk_use(found, dvc)
    told = disk_use_report.disk_use_as_json(use)
    for line in () if as_json else disk_use_report.describe_disk_use(use, found, raw=raw):
        click.echo(line)
    wanted = use.objects_to_free(raw=raw)
    is_any = bool(wanted) or use.unfinished > 0
    asks = not yes and not as_json and is_any and use.is_known and sys.stdin.isatty()
    question = (
        f"Free {count_of(len(wanted), 'object')}, including originals, for good?"
        if raw and use.originals
        else "Free it?"
    )
    if use.shares_cache:
        question = f"{disk_use_report.UNREGISTERED}. {question}"
        if wanted and yes:
            click.echo(f"registry: {disk_use_report.UNREGISTERED}", err=True)
    if is_any and (yes or (asks and click.confirm(question, err=True))):
        removed = free(found, dvc, use, partial(click.echo, err=True), raw=raw)
        told["removed"] = len(removed)
        if not as_json:
            size = format_size(sum(item.size for item in removed))
            click.echo(f"freed     {size}: {count_of(len(removed), 'object')} removed")
    elif is_any and not as_json and not asks:
        blocked = "nothing is freed until it is known what is needed: see `unknown` above"
        command = "registry gc --raw" if raw else "registry gc"
        click.echo(f"`{command} --yes` frees it" if use.is_known else blocked)
    if as_json:
        say_json(told)
