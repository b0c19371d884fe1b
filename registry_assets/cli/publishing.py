"""Commands that bring the work of several people together: publish, resolve."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from registry_assets.cli.reading import FINDING, read_lineage


@click.command()
@click.pass_obj
def resolve(root: Path) -> None:
    """Resolve merge conflicts in metafiles by entry; say what has to be made anew.

    For after `git merge`, `git rebase` or `git pull` stopped. Run it again once that is done.
    """
    from registry_assets.resolving import describe_conflict, find_stale
    from registry_assets.resolving import resolve as resolve_conflicts

    found = resolve_conflicts(root)
    if not found.files:
        click.echo("Nothing to resolve.")
        return
    lineage = read_lineage(root)
    for file in found.files:
        state = "resolved" if file.is_resolved else "left"
        click.echo(f"{state:<9} {file.path}" + (f"  ({file.reason})" if file.reason else ""))
    for address in found.conflicts:
        click.echo(describe_conflict(lineage, address))
    stale = find_stale(lineage)
    for output in stale:
        click.echo(f"{output.state:<9} {output.path}  ({'; '.join(output.why)})")
    if stale:
        click.echo("`registry materialize` brings what is stale up to date")
    if found.is_complete:
        step = found.next_step or "git commit"
        click.echo(f"Everything is resolved: `{step}`, then `dvc pull` for data of the others")
        return
    left = " ".join(file.path for file in found.files if not file.is_resolved)
    click.echo(f"Then run `registry resolve` again, or keep what is there: git add {left}")
    sys.exit(FINDING)
