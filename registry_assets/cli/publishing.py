"""Commands for sharing and merging work: push, publish, resolve."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from registry_assets.cli.reading import FINDING, read_lineage, say_json
from registry_assets.units import first_of

if TYPE_CHECKING:
    from registry_assets.dvc_repo import DvcRepo

_FEW = 3


@click.command()
@click.option("--branch", help="Branch name (default: derived from its content).")
@click.option("--message", help="Commit subject (default: derived from its content).")
@click.option("--dry-run", is_flag=True, help="Only print what would be published.")
@click.option(
    "--switch", is_flag=True, help="Check out the branch afterwards, without changing a file."
)
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
@click.pass_obj
def publish(
    root: Path, branch: str | None, message: str | None, dry_run: bool, switch: bool, as_json: bool
) -> None:
    """Push data, then its metafiles, and open a pull request.

    The metafiles are committed to a separate branch. Your work tree, the index and the checked-out
    branch do not change.
    """
    if dry_run and switch:
        raise click.UsageError("--switch does not go with --dry-run")
    from registry_assets.curation.left_out import describe_totals
    from registry_assets.revisions.publishing import publication
    from registry_assets.revisions.publishing import pushing as publishing
    from registry_assets.revisions.publishing.planning import plan_publication

    found = read_lineage(root)
    plan = plan_publication(found, branch=branch, title=message, count_pictures=describe_totals)
    said = partial(click.echo, err=as_json)
    if isinstance(plan, publication.Nothing):
        if not dry_run:
            plan = publishing.publish_data(plan, found.registry.root, said)
        if as_json:
            say_json(publication.publication_as_json(plan))
        else:
            click.echo(plan.reason)
        if switch and plan.branch is not None and plan.tree is not None:
            publishing.switch(found.registry.root, plan.branch, plan.tree)
        if plan.data is not None and plan.data.missing:
            sys.exit(FINDING)
        return
    for warning in plan.warnings:
        click.echo(f"registry: {warning}", err=True)
    if dry_run:
        if as_json:
            say_json(publication.publication_as_json(plan))
            return
        click.echo(f"branch {plan.branch}, to merge into {plan.target} of {plan.remote.name}")
        for file in plan.files:
            click.echo(f"  {'A' if not file.before else 'M' if file.after else 'D'} {file.path}")
        click.echo(f"\n# {plan.title}\n\n{plan.description}")
        return
    done = publishing.publish(plan, found.registry.root, said)
    if switch and not plan.is_committed:
        publishing.switch(found.registry.root, plan.branch, plan.tree)
    if as_json:
        say_json(publication.publication_as_json(done))
        return
    request = publication.describe_pull_request(done.pull_request)
    if request:
        click.echo(request)


@click.command()
@click.pass_obj
def resolve(root: Path) -> None:
    """Resolve merge conflicts in metafiles, and list stale outputs.

    Merges metafiles by entry. Run it when `git merge`, `git rebase` or `git pull` stops with
    conflicts, and again after it has finished.
    """
    from registry_assets.revisions.publishing.resolving import describe_conflict, find_stale
    from registry_assets.revisions.publishing.resolving import resolve as resolve_conflicts

    found = resolve_conflicts(root)
    if not found.files:
        click.echo("Nothing to resolve.")
        return
    lineage = read_lineage(root)
    for file in found.files:
        state = "resolved" if file.is_resolved else "left"
        click.echo(f"{state:<9} {file.path}" + (f"  ({file.reason})" if file.reason else ""))
    stale = find_stale(lineage)
    stale_paths = {output.path for output in stale}
    for address in found.conflicts:
        click.echo(describe_conflict(lineage, address, stale_paths))
    for output in stale:
        click.echo(f"{output.state:<9} {output.path}  ({'; '.join(output.why)})")
    if stale:
        click.echo("`registry materialize` brings what is stale up to date")
    if found.is_complete:
        step = found.next_step or "git commit"
        click.echo(f"Everything is resolved: run `{step}`, then `dvc pull` to fetch new data")
        return
    left = " ".join(file.path for file in found.files if not file.is_resolved)
    click.echo(
        "Resolve what is left and run `registry resolve` again, or mark the files as resolved: "
        f"git add {left}"
    )
    sys.exit(FINDING)


@click.command()
@click.option("--check", is_flag=True, help="Only list what the remote lacks; push nothing.")
@click.option("--full", is_flag=True, help="Also read back and hash everything on the remote.")
@click.pass_obj
def push(root: Path, check: bool, full: bool) -> None:
    """Push missing objects, and verify that the remote has all.

    With --full, damaged objects are replaced. Exit 1 if anything is missing or damaged.
    """
    from registry_assets.dvc_repo import DvcRepo, why_unshared

    dvc = DvcRepo(root)
    reason = why_unshared(dvc.root)
    if reason is not None:
        click.echo(f"registry: {reason}", err=True)
    sys.exit(_check(dvc, full) if check else push_all(dvc, full=full, report=click.echo))


def push_all(dvc: DvcRepo, *, full: bool, report: Callable[[str], None]) -> int:
    """Push, print which data could not be pushed, and return the exit code."""
    missing = dvc.push(full=full, report=report).missing
    for item in first_of(missing, _FEW):
        report(f"missing  {item}")
    if missing:
        report(
            f"{len(missing)} files or listings are missing or damaged on the remote and not in the "
            "cache: push from a machine that has them, or materialize them again"
        )
    return FINDING if missing else 0


def _check(dvc: DvcRepo, full: bool) -> int:
    states = dvc.read_remote_states(full=full)
    for path, state in sorted(states.items()):
        for what, items in (("missing", state.missing), ("damaged", state.damaged)):
            if items:
                click.echo(f"{what:<8} {path}  ({len(items)} of {len(state.objects)} objects)")
    if any(state.missing or state.damaged for state in states.values()):
        return FINDING
    click.echo(f"the remote has all of {len(states)} outputs")
    return 0
