"""Commands for versions of the registry and of data sets: diff, checkout, tag, versions."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from registry_assets.cli import running
from registry_assets.cli.reading import FINDING, read_lineage, say_json, say_left_out
from registry_assets.cli.running import say_restored
from registry_assets.units import few_of

if TYPE_CHECKING:
    from registry_assets.revisions.versions.checking_out import CheckedOut

_RANGE = ".."


@click.command()
@click.argument("before", default="HEAD", metavar="[A]")
@click.argument("after", required=False, metavar="[B]")
@click.option("--dataset", metavar="NAME", help="Only this data set; A and B may be v1, v2, …")
@click.option("--collection", metavar="NAME", help="Only this collection.")
@click.option("--files", is_flag=True, help="Also list the files.")
@click.option(
    "--most",
    type=click.IntRange(0),
    help="How many files to list; 0 for all (default: 100 at a terminal, else all).",
)
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
@click.pass_obj
def diff(
    root: Path,
    before: str,
    after: str | None,
    dataset: str | None,
    collection: str | None,
    files: bool,
    most: int | None,
    as_json: bool,
) -> None:
    """Show what changed between two commits, and why.

    A (default: HEAD) and B (default: the work tree) are commits, branches or tags; A..B works, too.
    Compares what the metafiles record; edits since then are listed by `registry status`.
    """
    from registry_assets.revisions.versions import diff_report
    from registry_assets.revisions.versions.diffing import compare_revisions

    if after is None and _RANGE in before:
        before, _, after = (part or "HEAD" for part in before.partition(_RANGE))
    found = compare_revisions(
        read_lineage(root),
        before,
        after,
        dataset=dataset,
        collection=collection,
        report=partial(click.echo, err=True),
    )
    if as_json:
        say_json(diff_report.diff_as_json(found, files=files))
    else:
        for line in diff_report.describe_diff(found):
            click.echo(line)
        for line in diff_report.describe_files(found.data.files, most) if files else ():
            click.echo(line)
    if found.data.unread:
        unread = few_of(found.data.unread, 1)
        gap = found.gap or "the remote does not have it"
        click.echo(
            f"registry: incomplete: the listing of {unread} is not in the cache and could not be "
            f"fetched ({gap}): run `dvc fetch --all-commits`, or `dvc push --all-commits` on a "
            "machine that has it, then run this again",
            err=True,
        )
        sys.exit(FINDING)


@click.command()
@click.argument("rev")
@click.pass_obj
def checkout(root: Path, rev: str) -> None:
    """Check out REV, a branch, tag or commit, with its data.

    Restores data from the cache, or pulls it from the remote, and reports the changes to Dagster.
    `registry checkout -` goes back. Edits that are saved nowhere are never overwritten. Exit 1 if
    some data could not be fetched.
    """
    from registry_assets.registry.lineage.building import build_lineage
    from registry_assets.revisions.versions.checking_out import check_out

    done = check_out(root, rev, click.echo)
    _say_checked_out(done, rev)
    say_left_out(done.registry.problems)
    running.report_outside_changes(build_lineage(done.registry), lambda _line: None)
    if done.data.missing:
        sys.exit(FINDING)


@click.command()
@click.argument("name", metavar="DATASET[/VERSION]")
@click.option("-m", "--message", help="What is new in it, in one line.")
@click.option("--rev", help="The commit (default: HEAD).")
@click.option("--push", is_flag=True, help="Also push the tag to the Git remote.")
@click.pass_obj
def tag(root: Path, name: str, message: str | None, rev: str | None, push: bool) -> None:
    """Tag a version of a data set, so that others can import it.

    Without VERSION, it gets the next number. At the commit, all outputs of the data set must be up
    to date, and the remote must have them.
    """
    from registry_assets.git_repo import GitRepo
    from registry_assets.revisions.versions.tagging import make_version, plan_version
    from registry_assets.revisions.versions.version_report import describe_contents, tag_message

    lineage = read_lineage(root)
    report = partial(click.echo, err=True)
    planned = plan_version(lineage, name, rev=rev, push=push, report=report)
    text = tag_message(planned, message)
    make_version(planned, GitRepo(lineage.registry.root), text, push=push)
    data = planned.data
    done = "already exists, with the same content as" if planned.is_made else "made, at"
    click.echo(f"{planned.name} {done} commit {planned.commit[:10]}")
    for line in describe_contents(planned.contents):
        click.echo(f"    {line}")
    click.echo(f"{data.objects} objects are on the remote {data.remote} ({data.url})")
    if push or planned.is_pushed:
        click.echo("the Git remote has the tag")
    elif planned.remote is not None:
        click.echo(f"to share it: `registry tag {planned.name} --push`")


@click.command(name="versions")
@click.argument("dataset", required=False)
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
@click.pass_obj
def list_versions(root: Path, dataset: str | None, as_json: bool) -> None:
    """List the versions of DATASET, or of all data sets."""
    from registry_assets.revisions.versions import version_report
    from registry_assets.revisions.versions.dataset_versions import read_versions

    lineage = read_lineage(root)
    registry = lineage.registry
    chosen = registry.datasets if dataset is None else [registry.dataset(dataset)]
    report = partial(click.echo, err=True)
    found = [version for item in chosen for version in read_versions(lineage, item, report)]
    if as_json:
        say_json(version_report.versions_as_json(found))
        return
    for line in version_report.describe_versions(found):
        click.echo(line)
    if not found:
        click.echo("no versions yet: `registry tag DATASET` makes the first one")


def _say_checked_out(done: CheckedOut, rev: str) -> None:
    from registry_assets.revisions.changes.revisions import Revision

    data = done.data
    if done.branch is not None:
        click.echo(f"checked out the branch {done.branch}")
    else:
        where = Revision(rev if rev != "-" else None, done.commit, done.commit)
        click.echo(
            f"checked out {where}, as a detached HEAD: `registry checkout {done.former}` goes back"
        )
    say_restored(data, f", {len(done.taken_away)} removed, which it does not have")
