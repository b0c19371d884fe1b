"""What is decided about a collection's images when they have just been measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from registry_assets.images.left_out import LeftOut, leave_out_duplicates, open_decisions
from registry_assets.images.measurements import MEASUREMENTS_TABLE, read_measurements
from registry_assets.images.verdicts import BrightnessRange
from registry_assets.settings import read_settings

PARAMETERS = "params.yaml"
_COLLECTIONS_FILE = "collections.yaml"


def decide_on_arrival(path: Path, measured: Path) -> list[str]:
    """Makes the file of decisions of a collection, with what is known by now about its images.

    Part of the stage that measures, so that it is the same with and without Dagster.

    Args:
        path: The file: `decisions/COLLECTION.yaml` in the folder of the data set.
        measured: The folder of the collection's table, beside those of the other collections.

    Returns:
        What was done, in words.

    Raises:
        MetafileError: when a file of decisions, or the settings, cannot be read.
    """
    path, measured = path.absolute(), measured.absolute()
    taken = open_decisions(path, read_measurements(measured / MEASUREMENTS_TABLE))
    said = [f"{len(taken):,} decisions taken over from other collections"] if taken else []
    dataset = path.parent.parent
    root = next((up for up in dataset.parents if (up / ".dvc").is_dir()), None)
    if root is None:
        return said
    settings = read_settings(root)
    name = dataset.relative_to(root).as_posix()
    if settings.leave_out_duplicates_of(name) is None:
        return said
    listed = read_collections(dataset / _COLLECTIONS_FILE)
    places = {name: measured.parent / name / MEASUREMENTS_TABLE for name in (*listed, path.stem)}
    tables = {name: table for name, table in places.items() if table.is_file()}
    found = leave_out_duplicates(
        path,
        tables,
        listed,
        listed,
        distance=settings.distance_of_duplicates(name),
        brightness=BrightnessRange.from_file(dataset / PARAMETERS),
    )
    said += describe_left_out(found)
    # Those that come later look at this one. Where tables were not fetched, nobody looks.
    unmeasured = len(places) - len(tables)
    if unmeasured:
        said.append(f"not compared with {unmeasured:,} collections that have no table here")
    return said


def read_collections(path: Path) -> Sequence[str]:
    """The collections that a data set has taken in, in the order of its list."""
    from ruamel.yaml import YAML

    if not path.is_file():
        return ()
    data = YAML(typ="safe").load(path)
    listed = data.get("collections") if isinstance(data, dict) else None
    return tuple(map(str, listed or ()))


def describe_left_out(found: LeftOut) -> list[str]:
    """What became of duplicates, in words; nothing where nothing changed."""
    said = [f"{len(found.added):,} duplicates left out"] if found.added else []
    if found.dropped:
        said.append(f"{len(found.dropped):,} images are no duplicates any more")
    return said
