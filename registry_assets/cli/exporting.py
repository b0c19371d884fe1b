"""The command for other programs: export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from registry_assets.cli.reading import read_lineage

if TYPE_CHECKING:
    from registry_assets.curation.exporting import ExportResult, Form


@click.command()
@click.argument("dataset")
@click.option("--version", help="A version of it, or any commit (default: the work tree).")
@click.option(
    "--to",
    "place",
    type=click.Path(path_type=Path),
    required=True,
    help="The folder to make; empty or absent.",
)
@click.option(
    "--as",
    "form",
    type=click.Choice(["imagefolder", "csv", "parquet"]),
    default="imagefolder",
    show_default=True,
    help="What to make there.",
)
@click.option("--copy", is_flag=True, help="Make no hard links to the cache.")
@click.pass_obj
def export(
    root: Path, dataset: str, version: str | None, place: Path, form: Form, copy: bool
) -> None:
    """Export DATASET to a folder that other programs read.

    imagefolder: the pictures that are kept, in a folder for each class, with metadata.csv, as
    Hugging Face's datasets load it. csv, parquet: a table of all files, kept and left out, with
    measures, verdicts, reasons and decisions, and the pictures beside.
    """
    from registry_assets.curation.exporting import export_dataset

    done = export_dataset(
        read_lineage(root),
        dataset,
        place,
        form,
        version=version,
        may_hardlink=not copy,
        report=click.echo,
    )
    for line in _describe(done):
        click.echo(line)


def _describe(done: ExportResult) -> list[str]:
    from registry_assets.units import count_of

    lines = [f"exported {count_of(done.pictures, 'picture')} to {done.place}"]
    lines += [f"  {number:>8,}  {label}" for label, number in done.labels.items() if label]
    if done.others:
        lines.append(
            f"{count_of(done.others, 'picture')} in formats that Pillow reads with plugins only, "
            "such as HEIC and camera raw: in other/, not in metadata.csv"
        )
    if "hardlink" in done.how:
        lines.append(
            "the files are read-only and shared with the cache of the registry: copy a file before "
            "editing it, or export with --copy"
        )
    return lines
