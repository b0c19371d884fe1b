"""Commands for decisions about single images: allow, deny, decisions."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from registry_assets.cli.reading import FINDING, read_lineage, say_json

if TYPE_CHECKING:
    from registry_assets.images.decisions import Verdict
    from registry_assets.images.initial_decisions import LeftOut
    from registry_assets.model import Dataset
    from registry_assets.registry.decisions import Decided

_Command = Callable[..., None]


def _which(command: _Command) -> _Command:
    """Add the options that restrict a decision to one data set or collection."""
    for option in (
        click.option(
            "--collection", help="Only in this collection (default: every one that has the image)."
        ),
        click.option("--dataset", help="The data set, if several have the image."),
    ):
        command = option(command)
    return command


def _who(command: _Command) -> _Command:
    """Add the arguments and options that `allow` and `deny` share."""
    for option in (
        click.option("--by", help="Who decides (default: your name in Git)."),
        click.option("--why", required=True, help="The reason, in words."),
    ):
        command = option(command)
    return click.argument("files", metavar="FILE..", nargs=-1, required=True)(command)


@click.command()
@_which
@_who
@click.pass_obj
def allow(root: Path, /, files: tuple[str, ...], **said: str | None) -> None:
    """Keep images in a data set, whatever its thresholds say.

    FILE is any path of the image, in raw, a data set or outside, or its md5. The decision
    holds for the content, under any name. An unreadable image cannot be allowed.
    """
    _decide(root, files, "allow", **said)


@click.command()
@_which
@_who
@click.pass_obj
def deny(root: Path, /, files: tuple[str, ...], **said: str | None) -> None:
    """Leave images out of a data set.

    FILE is any path of the image, in raw, a data set or outside, or its md5. The decision
    holds for the content, under any name.
    """
    _decide(root, files, "deny", **said)


def _decide(
    root: Path,
    files: Sequence[str],
    verdict: Verdict,
    *,
    why: str | None,
    by: str | None,
    dataset: str | None,
    collection: str | None,
) -> None:
    from registry_assets.curation.deciding import Decider

    if not (why or "").strip() or by == "":
        raise click.UsageError("--why and --by must not be empty")
    decider = Decider(read_lineage(root))
    made = decider.decide_about(
        files, verdict, by=by, why=why or "", dataset=dataset, collection=collection
    )
    word = "allowed" if verdict == "allow" else "denied"
    for item in made.done:
        click.echo(f"{word:<10} {item.image}  ({item.file})")
    _say_changed(made.reconsidered)
    _say_stale(root, made.written)


def _say_stale(root: Path, collections: Mapping[str, str]) -> None:
    """Print the assets that changed decisions make stale, and the command to run."""
    from registry_assets.curation.deciding import find_stale, materialize_command

    stale = list(find_stale(read_lineage(root), collections))
    for asset, partition in stale:
        click.echo(f"{'stale':<10} {asset} [{partition}], and everything downstream")
    if stale:
        click.echo(f"run `{materialize_command(name for _, name in stale)}`")
    else:
        click.echo("nothing became stale")


@click.command()
@click.argument("files", metavar="[FILE]..", nargs=-1)
@_which
@click.option("--withdraw", is_flag=True, help="Withdraw the decision about each FILE.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
@click.pass_obj
def decisions(
    root: Path,
    files: tuple[str, ...],
    dataset: str | None,
    collection: str | None,
    withdraw: bool,
    as_json: bool,
) -> None:
    """List decisions about all images, or FILE, or withdraw them."""
    from registry_assets.curation.deciding import Decider
    from registry_assets.registry.decisions import find_decided

    if withdraw and not files:
        raise click.UsageError("--withdraw needs at least one FILE")
    decider = Decider(read_lineage(root))
    if not files:
        registry = decider.registry
        chosen = None if dataset is None else [registry.dataset(dataset)]
        found = [d for d in find_decided(registry, chosen) if collection in (None, d.collection)]
    elif withdraw:
        found = decider.withdraw(files, dataset=dataset, collection=collection)
    else:
        about = (decider.find_decided(f, dataset=dataset, collection=collection) for f in files)
        found = [item for decided in about for item in decided]
    _say_decided(found, "withdrawn" if withdraw else None, as_json)
    if withdraw and not as_json:
        _say_stale(root, {item.file: item.collection for item in found})


def _say_decided(found: Sequence[Decided], done: str | None, as_json: bool) -> None:
    from registry_assets.registry.decisions import decided_as_json

    if as_json:
        say_json([decided_as_json(item) for item in found])
        return
    for item in found:
        made = item.decision
        click.echo(f"{done or made.verdict:<10} {item.dataset}: {item.image}  ({made})")
    if not found:
        click.echo("no decisions")


def leave_out(root: Path, name: str, distance: int | None) -> None:
    """Leave duplicates out of a data set, and print what changed."""
    from registry_assets.curation.deciding import Decider
    from registry_assets.curation.initial_decisions import ALIKE_IS_LISTED

    decider = Decider(read_lineage(root))
    dataset = decider.registry.dataset(name)
    if (
        distance is None
        and decider.registry.settings.leave_out_duplicates_of(dataset.path) == "alike"
    ):
        click.echo(f"registry: leave_out_duplicates: {ALIKE_IS_LISTED}", err=True)
    say_left_out(root, dataset, decider.leave_out(dataset, distance=distance))
    unmeasured = decider.find_unmeasured(dataset)
    if unmeasured:
        click.echo(
            f"registry: incomplete: no table of measurements for {', '.join(unmeasured)}: "
            "`registry materialize` makes or fetches it",
            err=True,
        )
        sys.exit(FINDING)


def say_left_out(root: Path, dataset: Dataset, changed: dict[str, LeftOut]) -> None:
    """Print duplicates that were left out or restored, and the assets that are stale."""
    _say_changed(changed)
    if changed:
        _say_stale(root, {dataset.decisions_file(name) or "": name for name in changed})
    else:
        click.echo("nothing changed")


def _say_changed(changed: Mapping[str, LeftOut]) -> None:
    for collection, left in changed.items():
        for item in left.added:
            click.echo(f"{'left out':<10} {collection}/{item.path}  ({item.why})")
        for item in left.dropped:
            click.echo(f"{'back':<10} {collection}/{item.path}  ({item.duplicate_of} is gone)")
