"""Exporting a data set to a folder that other programs read.

The folder gets its name only when it is complete. A version is read from Git and the cache; the
work tree is not touched.
"""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from registry_assets.curation.export_table import (
    Exported,
    ExportedFile,
    check_parquet,
    read_exported,
    write_csv,
    write_parquet,
)
from registry_assets.curation.pictures import read_pictures
from registry_assets.dvc_repo import DvcRepo
from registry_assets.errors import (
    DataNotAvailableError,
    ListingNotAvailableError,
    RefusedError,
)
from registry_assets.images.measurements import MEASUREMENTS_TABLE
from registry_assets.images.pillow_formats import plain_suffix
from registry_assets.images.tables import escape_text
from registry_assets.model import Dataset, is_folder
from registry_assets.registry.lineage.graph import Lineage
from registry_assets.revisions.changes.revisions import SHORT_COMMIT, find_commit
from registry_assets.revisions.changes.snapshots import Snapshots
from registry_assets.revisions.versions.dataset_versions import tag_prefix
from registry_assets.units import count_of, few_of
from registry_assets.writing import rename, sync_disks

Form = Literal["imagefolder", "csv", "parquet"]
Report = Callable[[str], None]

SPLIT = "train"
"""The folder of an imagefolder. Hugging Face's datasets look for the names of splits in paths; with
this folder, they do not take a picture called `a_test.jpg` for a split of its own."""

_OTHERS = "other"
_PICTURES = "pictures"
_LONGEST_NAME = 200
"""In bytes; file systems take 255."""

# `::` and `://` are addresses to fsspec, and a leading dot hides a file from it.
_NOT_IN_NAMES = re.compile(r"[^\w.+@=-]+")


@dataclass(frozen=True)
class ExportResult:
    """What was exported.

    Attributes:
        place: The folder.
        pictures: The number of files in it, without tables.
        others: Those in formats that not every program reads.
        labels: The number of pictures by class.
        how: How they were made: `reflink`, `hardlink`, `copy`.
        commit: The commit of the version; None for the work tree.
    """

    place: Path
    pictures: int
    others: int
    labels: Mapping[str, int]
    how: frozenset[str]
    commit: str | None


@dataclass(frozen=True)
class _Planned:
    """A file to put into the folder.

    Attributes:
        file: The file of the data set.
        name: The path in the folder.
    """

    file: ExportedFile
    name: str


def export_dataset(
    lineage: Lineage,
    name: str,
    place: Path,
    form: Form,
    *,
    version: str | None = None,
    may_hardlink: bool = True,
    report: Report,
) -> ExportResult:
    """Export a data set.

    Args:
        lineage: The graph of the work tree.
        name: The name or path of the data set.
        place: The folder to make; it must be empty or absent.
        form: `imagefolder` has the pictures that are kept, by class; `csv` and `parquet` are tables
            of all files, with the pictures beside.
        version: A version of the data set, or any commit; None for the work tree.
        may_hardlink: Whether files may be hard links to the cache.
        report: Called with progress messages.

    Raises:
        NotFoundError: when there is no such data set or version.
        RefusedError: when the folder has files already or is part of the registry, or outputs are
            not up to date.
        DataNotAvailableError: when the cache and the remote lack a file.
        ListingNotAvailableError: when they lack a listing.
        RegistryError: when pyarrow is missing.
        OSError: when the folder cannot be written.
    """
    if form == "parquet":
        check_parquet()
    place = Path(os.path.abspath(place))  # noqa: PTH100
    _check_place(lineage, place)
    dvc = DvcRepo(lineage.registry.root)
    with ExitStack() as stack:
        commit = None
        if version is not None:
            commit = _find_version(lineage, dvc, name, version)
            lineage = Snapshots(stack).read_here(lineage.registry.root, commit)
        dataset = lineage.registry.dataset(name)
        exported = _read(lineage, dvc, dataset, report)
    _check_complete(exported, form, commit)
    planned = list(_plan(exported.files, form))
    sources = _find_objects(dvc, dataset, planned, commit, report)
    with _made_in_one_go(place) as folder:
        how = _link(dvc, folder, planned, sources, may_hardlink=may_hardlink)
        _write_tables(folder, place, exported, planned, form)
    others = sum(item.name.startswith(f"{_OTHERS}/") for item in planned)
    labels = Counter(item.file.label for item in planned if item.file.is_kept)
    return ExportResult(place, len(planned), others, dict(sorted(labels.items())), how, commit)


def _check_place(lineage: Lineage, place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        if next(place.iterdir(), None) is not None:
            raise RefusedError(
                f"{place} has files already: choose a folder that is empty or absent"
            )
    elif os.path.lexists(place):
        raise RefusedError(f"{place} is there already and no folder: choose another name")
    root = lineage.registry.root.resolve()
    real = place.parent.resolve() / place.name
    if not real.is_relative_to(root):
        return
    inside = real.relative_to(root).as_posix()
    kept = [lineage.registry.raw_folder, *(d.path for d in lineage.registry.datasets)]
    for folder in (".git", ".dvc", *filter(None, kept)):
        if f"{inside}/".startswith(f"{folder}/"):
            raise RefusedError(f"{place} is part of the registry: choose a folder outside {folder}")


def _find_version(lineage: Lineage, dvc: DvcRepo, name: str, version: str) -> str:
    known = [d for d in lineage.registry.datasets if name in (d.name, d.path)]
    prefix = tag_prefix(lineage.registry, known[0]) if known else name
    return find_commit(dvc.git, version, prefix)


def _read(lineage: Lineage, dvc: DvcRepo, dataset: Dataset, report: Report) -> Exported:
    """Read the files of a data set, and fetch listings and tables that the cache lacks."""
    listings = dvc.listings()
    recorded = {
        node.path: node.version.md5
        for node in lineage.nodes.values()
        if node.version is not None and lineage.registry.dataset_of(node.path) == dataset
    }
    folders = {md5: path for path, md5 in recorded.items() if is_folder(md5)}
    dvc.fetch_listings(folders, report=report)
    tables = {
        files[MEASUREMENTS_TABLE]: f"{path}/{MEASUREMENTS_TABLE}"
        for path, md5 in recorded.items()
        if is_folder(md5) and MEASUREMENTS_TABLE in (files := listings.read(md5) or {})
    }
    reason = dvc.fetch_objects(tables, report=report)
    for md5, path in tables.items():
        if listings.place_of(md5) is None and not (lineage.registry.root / path).is_file():
            raise DataNotAvailableError(path, reason or "no remote has it")
    unread = sorted(path for md5, path in folders.items() if listings.contents(md5) is None)
    if unread:
        raise ListingNotAvailableError(unread)
    pictures = read_pictures(lineage, dataset.path, listings)
    if pictures.unmeasured and pictures.has_measures:
        raise RefusedError(
            f"{few_of(pictures.unmeasured)} of {dataset.path} is not measured yet: run `registry "
            "materialize` first"
        )
    return read_exported(lineage, listings, pictures)


def _check_complete(exported: Exported, form: Form, commit: str | None) -> None:
    if exported.unread:
        raise ListingNotAvailableError(exported.unread)
    if form == "imagefolder" and exported.pending:
        when = "" if commit is None else f" at commit {commit[:SHORT_COMMIT]}"
        step = (
            "run `registry materialize` first"
            if commit is None
            else "choose a version that `registry versions` lists"
        )
        raise RefusedError(
            f"{count_of(exported.pending, 'file')} would end up elsewhere if the outputs were up "
            f"to date{when}: {step}"
        )


def _plan(files: Sequence[ExportedFile], form: Form) -> Iterator[_Planned]:
    """The files to put into the folder, with names that differ on any file system."""
    taken: set[str] = set()
    for file in files:
        if not file.md5 or not file.is_picture or (form == "imagefolder" and not file.is_kept):
            continue
        suffix = plain_suffix(file.path, file.format)
        if form == "imagefolder":
            label = _folder_of(file.label)
            parts = (SPLIT, label) if suffix else (_OTHERS, label)
        else:
            parts = (_PICTURES, "")
        name = "/".join(filter(None, (*parts, _name_of(file, suffix))))
        if name.casefold() in taken:
            name = _numbered(name, taken)
        taken.add(name.casefold())
        yield _Planned(file, name)


def _folder_of(label: str) -> str:
    """The folder of a class: one level, as programs take the innermost one for the class."""
    return _NOT_IN_NAMES.sub("_", label.replace("/", "_"))


def _name_of(file: ExportedFile, suffix: str | None) -> str:
    """Collection and path as one file name."""
    stem, own = _split(f"{file.collection}/{file.path}".replace("/", "__"))
    if suffix and own.lower() != suffix:
        stem, own = f"{stem}{own}", suffix
    stem = _NOT_IN_NAMES.sub("_", escape_text(stem))
    own = _NOT_IN_NAMES.sub("_", escape_text(own))
    too_long = len(f"{stem}{own}".encode()) > _LONGEST_NAME
    if too_long:
        kept = stem.encode()[: _LONGEST_NAME - len(own.encode()) - 34].decode(errors="ignore")
        stem = f"{kept}__{file.md5}"
    return f"{stem}{own}"


def _split(name: str) -> tuple[str, str]:
    """A name without its suffix, and the suffix."""
    suffix = PurePosixPath(name).suffix
    return name[: len(name) - len(suffix)], suffix


def _numbered(name: str, taken: set[str]) -> str:
    stem, suffix = _split(name)
    number = 2
    while f"{stem}__{number}{suffix}".casefold() in taken:
        number += 1
    return f"{stem}__{number}{suffix}"


def _find_objects(
    dvc: DvcRepo,
    dataset: Dataset,
    planned: Sequence[_Planned],
    commit: str | None,
    report: Report,
) -> Mapping[str, Path]:
    """The objects of all files, fetched if the cache lacks them."""
    listings = dvc.listings()
    names = {item.file.md5: f"{item.file.collection}/{item.file.path}" for item in planned}
    reason = dvc.fetch_objects(names, report=report)
    places = {md5: listings.place_of(md5) for md5 in names}
    lacking = [names[md5] for md5, found in places.items() if found is None]
    if lacking:
        where = f" -R {dataset.path}" if commit is None and dataset.path else ""
        command = "dvc fetch --all-commits" if commit is not None else f"dvc fetch{where}"
        raise DataNotAvailableError(
            few_of(lacking),
            reason or "the remote does not have it",
            f"`{command}` says more, or push it from a machine that has it",
        )
    return {md5: found for md5, found in places.items() if found is not None}


@contextmanager
def _made_in_one_go(place: Path) -> Iterator[Path]:
    """Yields a folder beside a place, which gets that name if the block succeeds."""
    place.parent.mkdir(parents=True, exist_ok=True)
    fresh = place.with_name(f".{place.name}.{os.getpid()}.partial")
    fresh.mkdir()
    try:
        yield fresh
        sync_disks(fresh)
        # Replaces an empty folder, and nothing else.
        rename(fresh, place)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def _link(
    dvc: DvcRepo,
    folder: Path,
    planned: Sequence[_Planned],
    sources: Mapping[str, Path],
    *,
    may_hardlink: bool,
) -> frozenset[str]:
    for parent in {PurePosixPath(item.name).parent for item in planned}:
        (folder / parent).mkdir(parents=True, exist_ok=True)
    pairs = ((str(sources[item.file.md5]), str(folder / item.name)) for item in planned)
    return dvc.hand_out(pairs, may_hardlink=may_hardlink)


def _write_tables(
    folder: Path, place: Path, exported: Exported, planned: Sequence[_Planned], form: Form
) -> None:
    if form == "imagefolder":
        rows = [item for item in planned if item.name.startswith(f"{SPLIT}/")]
        if rows:
            (folder / SPLIT).mkdir(exist_ok=True)
            write_csv(folder / SPLIT / "metadata.csv", _describe_imagefolder(rows, exported))
        return
    columns = _describe_files(place, exported, planned)
    if form == "csv":
        write_csv(folder / "table.csv", columns)
    else:
        kinds = dict.fromkeys(_PLACES, str) | dict(exported.kinds)
        write_parquet(folder / "table.parquet", columns, kinds)


_PLACES = ("filepath", "file_name", "collection", "path", "md5")


def _describe_files(
    place: Path, exported: Exported, planned: Sequence[_Planned]
) -> Mapping[str, Sequence[Any]]:
    """The columns of the table of all files."""
    names = {id(item.file): item.name for item in planned}
    found = [names.get(id(file), "") for file in exported.files]
    return {
        "filepath": [str(place / name) if name else "" for name in found],
        "file_name": found,
        **_describe_values(exported.files, exported.kinds),
    }


def _describe_imagefolder(
    rows: Sequence[_Planned], exported: Exported
) -> Mapping[str, Sequence[Any]]:
    """The columns of `metadata.csv`, whose names count from its own folder.

    Readers infer types from the first rows. So columns without a value are left out, and of each
    other column, a row with a value is among the first ones, with one that is no number if the
    column is text.
    """
    left_out = {"outcome", "reason", "stage", "class", "pending"}
    kinds = {name: kind for name, kind in exported.kinds.items() if name not in left_out}
    values = {"collection": [item.file.collection for item in rows]} | {
        name: [item.file.values[name] for item in rows] for name in kinds
    }
    first = {name: _find_typical(found) for name, found in values.items()}
    filled = {name: at for name, at in first.items() if at is not None}
    ordered = [rows[n] for n in dict.fromkeys((*filled.values(), *range(len(rows))))]
    labels = [_folder_of(item.file.label) for item in ordered]
    return {
        "file_name": [item.name.removeprefix(f"{SPLIT}/") for item in ordered],
        **({"label": labels} if any(labels) else {}),
        **_describe_values(
            [item.file for item in ordered], {n: k for n, k in kinds.items() if n in filled}
        ),
    }


def _find_typical(values: Sequence[Any]) -> int | None:
    """The position of a value that tells the type of a column; None if all are empty."""
    filled = [n for n, value in enumerate(values) if value not in (None, "")]
    texts = (n for n in filled if isinstance(values[n], str) and not _is_number(values[n]))
    return next(texts, filled[0] if filled else None)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _describe_values(
    files: Sequence[ExportedFile], kinds: Mapping[str, type]
) -> Mapping[str, Sequence[Any]]:
    return {
        "collection": [file.collection for file in files],
        "path": [escape_text(file.path) for file in files],
        "md5": [file.md5 for file in files],
        **{name: [file.values[name] for file in files] for name in kinds},
    }
