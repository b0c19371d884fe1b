"""The files of a data set as one table: what is measured, judged, decided and recorded of each.

The columns of the tables of measurements follow as they are, whatever they are, with their types;
names of files are escaped as there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, get_args, get_type_hints

from registry_assets.curation.pictures import Pictures, find_last, find_measured, find_pictures
from registry_assets.curation.placement import names_of_outputs, read_placement
from registry_assets.dvc_repo import Listings
from registry_assets.errors import RegistryError
from registry_assets.images.contents import has_image_suffix
from registry_assets.images.judging import OUTCOMES
from registry_assets.images.measurements import COLUMNS, Measurement, read_cells
from registry_assets.images.reasons import kind_of
from registry_assets.images.tables import escape_text
from registry_assets.registry.lineage.graph import Lineage
from registry_assets.units import install_command

_NOT_EXPORTED = frozenset(("path", "md5", "readable", "reason", "thumbnail"))
"""Columns that stand elsewhere in the table, or that no other program can use."""


@dataclass(frozen=True)
class ExportedFile:
    """A file of a data set.

    Attributes:
        collection: Its collection.
        path: Its path in the collection.
        md5: Its content; empty if it was never read.
        label: The class of a picture that is kept, such as `day/sharp`; empty without classes.
        is_kept: Whether the data set keeps it.
        is_picture: Whether it is a picture, or was meant to be one by its suffix.
        format: Pillow's name of the format; empty if it was not measured.
        values: All other columns.
    """

    collection: str
    path: str
    md5: str
    label: str
    is_kept: bool
    is_picture: bool
    format: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Exported:
    """All files of a data set.

    Attributes:
        files: The files.
        kinds: The type of each of their values, by column.
        pending: The number of files for which outputs do not agree with the verdicts.
        unread: Outputs whose listing is not in the cache.
    """

    files: Sequence[ExportedFile]
    kinds: Mapping[str, type]
    pending: int
    unread: tuple[str, ...]


def read_exported(lineage: Lineage, listings: Listings, pictures: Pictures) -> Exported:
    """Read everything known of the files of a data set."""
    if not pictures.has_measures:
        return _read_last(lineage, listings, pictures)
    placement = read_placement(lineage, listings, pictures)
    is_pending = placement.is_pending(pictures)
    kinds = {**_JUDGED, **_measured_kinds()}
    files = []
    for row, measured in enumerate(_read_measured(lineage, listings, pictures)):
        held = int(placement.output[row])
        output = placement.outputs[held] if held >= 0 else ""
        judged = _judge(pictures, row, output, is_pending=bool(is_pending[row]))
        reason = pictures.columns.reason[row]
        files.append(
            ExportedFile(
                pictures.columns.collection_of(row),
                pictures.columns.paths[row],
                pictures.columns.md5[row].decode(),
                judged["class"],
                not judged["reason"],
                not reason or has_image_suffix(pictures.columns.paths[row]),
                pictures.columns.format[row],
                {**judged, **measured},
            )
        )
    return Exported(files, kinds, int(is_pending.sum()), placement.unread)


_JUDGED: Mapping[str, type] = {
    "outcome": str,
    "reason": str,
    "class": str,
    "stage": str,
    "decision": str,
    "decided_by": str,
    "decided_on": str,
    "decided_why": str,
    "duplicate_of": str,
    "output": str,
    "pending": bool,
}


def _judge(pictures: Pictures, row: int, output: str, *, is_pending: bool) -> dict[str, Any]:
    outcome, reason = OUTCOMES[pictures.outcomes[row]], pictures.reason(row)
    decision = pictures.decisions.get(row)
    return {
        "outcome": "kept" if outcome.is_kept else kind_of(reason),
        "reason": escape_text(reason),
        "class": "/".join(outcome.image_class or ()),
        "stage": pictures.stages.leaving_out(outcome),
        "decision": decision.verdict if decision else "",
        "decided_by": decision.by if decision else "",
        "decided_on": decision.date if decision else "",
        "decided_why": decision.why if decision else "",
        "duplicate_of": escape_text(decision.duplicate_of) if decision else "",
        "output": output,
        "pending": is_pending,
    }


def _measured_kinds() -> dict[str, type]:
    """The types of the columns of the tables of measurements."""
    hints = get_type_hints(Measurement)
    return {
        name: next((kind for kind in get_args(hints[name]) if kind is not type(None)), hints[name])
        for name in COLUMNS
        if name not in _NOT_EXPORTED
    }


def _read_measured(
    lineage: Lineage, listings: Listings, pictures: Pictures
) -> Iterator[dict[str, Any]]:
    """The columns of the tables, in the order of the rows."""
    if pictures.dataset is None:
        return
    kinds = _measured_kinds()
    for _, table in find_measured(lineage, listings, pictures.dataset):
        for cells in read_cells(table):
            row = dict(zip(COLUMNS, cells, strict=True))
            yield {name: _parse(row[name], kind) for name, kind in kinds.items()}


def _parse(text: str, kind: type) -> Any:
    if kind is str:
        return text
    if not text:
        return None
    return text == "true" if kind is bool else kind(text)


def _read_last(lineage: Lineage, listings: Listings, pictures: Pictures) -> Exported:
    """The pictures in the last outputs of a data set without measures, each output a class."""
    if pictures.dataset is None:
        return Exported((), {}, 0, ())
    last = find_last(lineage, pictures.dataset)
    names = names_of_outputs(lineage, last)
    files, unread = [], []
    for path, name in zip(last, names, strict=True):
        version = lineage.nodes[path].version
        if version is not None and listings.contents(version.md5) is None:
            unread.append(path)
            continue
        collection = lineage.nodes[path].partition or PurePosixPath(path).name
        label = name if len(set(names)) > 1 else ""
        for file, md5 in find_pictures(lineage, listings, path):
            values = {"class": label, "output": path}
            files.append(ExportedFile(collection, file, md5, label, True, True, "", values))
    return Exported(files, {"class": str, "output": str}, 0, tuple(unread))


def write_csv(place: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write columns as CSV, in UTF-8 with a header; unknown values are empty."""
    import csv

    with place.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for row in zip(*columns.values(), strict=True):
            writer.writerow([_as_text(value) for value in row])


def _as_text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    # All digits, so that it is read back exactly.
    return repr(value) if isinstance(value, float) else value


def write_parquet(
    place: Path, columns: Mapping[str, Sequence[Any]], kinds: Mapping[str, type]
) -> None:
    """Write columns as Parquet; unknown values are null.

    Raises:
        RegistryError: when pyarrow is not installed.
    """
    check_parquet()
    import pyarrow
    import pyarrow.parquet

    types = {
        str: pyarrow.string(),
        int: pyarrow.int64(),
        float: pyarrow.float64(),
        bool: pyarrow.bool_(),
    }
    arrays = [
        pyarrow.array(values, types[kinds.get(name, str)]) for name, values in columns.items()
    ]
    pyarrow.parquet.write_table(pyarrow.table(arrays, names=list(columns)), place)


def check_parquet() -> None:
    """Check that Parquet can be written.

    Raises:
        RegistryError: when pyarrow is not installed.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise RegistryError(
            "Parquet is written with pyarrow, which is not installed: "
            f"{install_command('registry-assets[export]')}"
        ) from error
