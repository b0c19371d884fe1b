"""Commands that say why pictures are kept or left out: why, report."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from registry_assets.cli.reading import FINDING, read_lineage, say_json


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dataset", help="Ask only this data set (default: every one that has the file).")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
@click.pass_obj
def why(root: Path, file: Path, dataset: str | None, as_json: bool) -> None:
    """Say why FILE is kept or left out, and what would change that.

    FILE is any path of the picture, in raw, a data set or outside, its md5, or COLLECTION/PATH.
    """
    from registry_assets.curation.asking import ask_why, describe_answer, describe_gaps

    answer = ask_why(read_lineage(root), file, dataset)
    if as_json:
        say_json(answer)
    else:
        for line in describe_answer(answer):
            click.echo(line)
    gap = describe_gaps(answer)
    if gap is not None:
        click.echo(f"registry: incomplete: {gap}", err=True)
        sys.exit(FINDING)


@click.command()
@click.argument("name", metavar="[DATASET]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
@click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write a page with thumbnails of what is left out, to send to somebody.",
)
@click.pass_obj
def report(root: Path, name: str | None, as_json: bool, html: Path | None) -> None:
    """Count what is kept and left out, by reason and collection.

    Of DATASET, or of all data sets with tables of measurements.
    """
    from registry_assets.curation.left_out import describe_counts, read_counts
    from registry_assets.curation.left_out_page import write_page

    lineage = read_lineage(root)
    registry = lineage.registry
    datasets = registry.datasets if name is None else (registry.dataset(name),)
    counted = [read_counts(lineage, dataset) for dataset in datasets]
    if name is None:
        counted = [item for item in counted if item.has_measures]
    if as_json:
        say_json(counted)
    else:
        for item in counted:
            for line in describe_counts(item):
                click.echo(line)
        if not counted:
            click.echo("no data set has tables of measurements, so there are no verdicts")
    if html is not None:
        written = write_page(lineage, datasets, html)
        click.echo(f"wrote {html}: {written}", err=as_json)
