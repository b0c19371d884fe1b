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
