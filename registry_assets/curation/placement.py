"""What the stages of a data set have made of its pictures, from the recorded outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os.path import commonpath
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from registry_assets.curation.pictures import Pictures, find_last
from registry_assets.dvc_repo import Listings
from registry_assets.images.judging import OUTCOMES
from registry_assets.images.measurement_columns import Categories, Codes, MeasurementColumns
from registry_assets.model import is_folder
from registry_assets.registry.lineage.graph import Lineage


@dataclass(frozen=True)
class Placement:
    """Where the pictures of a data set ended up.

    Attributes:
        outputs: The last outputs by name, such as "day_images/foggy".
        output: For each row, the index of the output that holds the file; -1 if none does.
        unread: Outputs whose listing is not in the cache.
        may_be_unread: Which rows may be in one of those; None if there are none.
        left_by: For a data set without measures: the stage that does not pass a picture on; empty
            for pictures that are in one of the outputs. None if there are verdicts, or no outputs.
    """

    outputs: tuple[str, ...]
    output: Codes
    unread: tuple[str, ...] = ()
    left_by: Categories | None = None
    may_be_unread: NDArray[np.bool_] | None = None

    def is_pending(self, pictures: Pictures) -> NDArray[np.bool_]:
        """Which rows would end up elsewhere if the data set were brought up to date now."""
        if not pictures.has_measures or pictures.dataset is None:
            return np.zeros(len(pictures.columns), bool)
        # By verdict: the outputs in which its pictures may be. -1 is none.
        wanted = np.zeros((len(OUTCOMES), len(self.outputs) + 1), bool)
        for number, outcome in enumerate(OUTCOMES):
            named = [
                all(word in name for word in outcome.image_class or ()) for name in self.outputs
            ]
            has_its_own = outcome.image_class is None or any(named)
            wanted[number, :-1] = outcome.is_kept & (np.array(named, bool) | (not has_its_own))
            wanted[number, -1] = not outcome.is_kept
        pending: NDArray[np.bool_] = ~wanted[pictures.outcomes, self.output]
        if self.may_be_unread is not None:
            pending &= ~(self.may_be_unread & (self.output < 0))
        return pending


def read_placement(lineage: Lineage, listings: Listings, pictures: Pictures) -> Placement:
    """Find the last outputs of a data set that hold its pictures."""
    columns = pictures.columns
    output = np.full(len(columns), -1, np.int32)
    if pictures.dataset is None:
        return Placement((), output)
    last = find_last(lineage, pictures.dataset)
    names = names_of_outputs(lineage, last)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    unread = []
    may_be_unread = np.zeros(len(columns), bool)
    for path, name in zip(last, names, strict=True):
        rows = _find_rows(lineage, listings, columns, path)
        if rows is not None:
            output[rows] = numbers[name]
            continue
        unread.append(path)
        collection = lineage.nodes[path].partition or ""
        is_of_one = collection in columns.collections
        may_be_unread[columns.rows_of(collection) if is_of_one else slice(None)] = True
    left_by = None
    if not pictures.has_measures and np.any(output >= 0):
        left_by = _find_leaving(lineage, listings, pictures, output < 0)
    return Placement(
        tuple(numbers), output, tuple(unread), left_by, may_be_unread if unread else None
    )


def _find_rows(
    lineage: Lineage, listings: Listings, columns: MeasurementColumns, path: str
) -> list[int] | NDArray[np.intp] | None:
    """The rows of the files that an output holds; None if its listing is not in the cache."""
    node = lineage.nodes[path]
    if node.version is None or not is_folder(node.version.md5):
        return []
    if node.partition in columns.collections:
        names = listings.read_names(node.version.md5)
        rows = columns.rows_of(node.partition)
        if names is None:
            return None
        is_held = np.fromiter(map(names.__contains__, columns.paths[rows]), bool)
        held: NDArray[np.intp] = np.flatnonzero(is_held) + rows.start
        return held
    files = listings.read(node.version.md5)
    if files is None:
        return None
    return [row for md5 in files.values() for row in columns.rows_with(md5)]


def _find_leaving(
    lineage: Lineage, listings: Listings, pictures: Pictures, is_left_out: NDArray[np.bool_]
) -> Categories:
    """The first stage that passes on pictures, but not those that are left out in the end."""
    names = [""]
    codes = np.zeros(len(pictures.columns), np.int32)
    for group in lineage.groups_in_order():
        if group.stage is None or lineage.registry.dataset_of(group.metafile) != pictures.dataset:
            continue
        held = np.zeros(len(codes), bool)
        for path in (path for output in group.outputs for path in output.paths.values()):
            rows = _find_rows(lineage, listings, pictures.columns, path)
            held[[] if rows is None else rows] = True
        if held.any():
            codes[is_left_out & ~held & (codes == 0)] = len(names)
            names.append(group.stage.name)
    return Categories(tuple(names), codes)


def names_of_outputs(lineage: Lineage, paths: Sequence[str]) -> list[str]:
    """The folders of outputs, without the collection and what all have in common."""
    folders = []
    for path in paths:
        is_of_one = lineage.nodes[path].partition == PurePosixPath(path).name
        folders.append(str(PurePosixPath(path).parent) if is_of_one else path)
    if len(set(folders)) < 2:
        return [PurePosixPath(folder).name for folder in folders]
    common = commonpath(folders)
    return [folder.removeprefix(common).lstrip("/") for folder in folders]
