"""Collections that were edited after they were registered, found without hashing them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from registry_assets.dvc_repo import DvcRepo
from registry_assets.errors import DataBeingWrittenError, LinksLeadNowhereError, RegistryError
from registry_assets.fingerprint import fingerprint_totals
from registry_assets.model import DVC_SUFFIX, RawCollection, Registry, is_folder
from registry_assets.registry.status.arrivals import holds_a_file
from registry_assets.registry.status.next_steps import describe_link, describe_missing

_NOT_THERE = "not there"


@dataclass(frozen=True)
class EditScan:
    """The state of one collection, as seen by a scan.

    Attributes:
        stamp: A fingerprint of the number, sizes and dates of its files, and its recorded version.
        since: When this stamp was first seen, in seconds since the epoch.
        finding: A message to the user; None while it is as recorded, or still changing.
        is_edited: Whether it was edited, so that it can be recorded as the next version.
        is_settled: Whether it was compared with its recorded version, so that the same stamp needs
            no second comparison.
    """

    stamp: str
    since: float
    finding: str | None = None
    is_edited: bool = False
    is_settled: bool = False

    @property
    def is_missing(self) -> bool:
        """Whether the folder is missing."""
        return self.stamp.startswith(_NOT_THERE)


def look_for_edits(
    registry: Registry, before: Mapping[str, EditScan], *, most_seconds: float
) -> Iterator[tuple[str, EditScan]]:
    """Scan the collections in the raw folder, the least recently scanned first.

    A collection is compared by DVC only when its stamp is new and has not changed for
    `settle_seconds`. Reads no metafiles but the ``.dvc`` files of the raw folder.

    Args:
        registry: The registry, for its root, settings and raw folder.
        before: The previous scans by collection, the least recent first.
        most_seconds: Start no further scan after this time.

    Yields:
        The name of a collection and its scan.
    """
    started = time.monotonic()
    dvc = DvcRepo(registry.root)
    with dvc.session():
        yield from _look_at_all(registry, dvc, before, started + most_seconds)


def _look_at_all(
    registry: Registry, dvc: DvcRepo, before: Mapping[str, EditScan], until: float
) -> Iterator[tuple[str, EditScan]]:
    raw = {item.name: item for item in _read_raw(registry, dvc)}
    order = [
        *(name for name in raw if name not in before),
        *(name for name in before if name in raw),
    ]
    for name in order:
        if time.monotonic() > until:
            return
        try:
            look = _look(registry, dvc, raw[name], before.get(name))
        except (FileNotFoundError, DataBeingWrittenError):  # being written right now
            continue
        if look is not None:
            yield name, look


def _read_raw(registry: Registry, dvc: DvcRepo) -> Iterator[RawCollection]:
    """The collections of the raw folder, as their ``.dvc`` files record them now."""
    folder = registry.raw_folder
    names = sorted(os.listdir(registry.root / folder)) if folder is not None else []
    for name in names:
        if name.endswith(DVC_SUFFIX) and not name.startswith("."):
            try:
                found = dvc.read_dvc_file(f"{folder}/{name}")
            except RegistryError:  # broken; `registry status` reports it
                continue
            if isinstance(found, RawCollection):
                yield found


def _look(
    registry: Registry, dvc: DvcRepo, item: RawCollection, before: EditScan | None
) -> EditScan | None:
    place, version = registry.root / item.output.path, item.output.version
    if version is None:
        return None
    absence = why_not_there(registry.root, item)
    if absence is not None:
        stamp = f"{_NOT_THERE} {version.md5} {absence}"
        is_known = before is not None and before.stamp == stamp
        said = f"{item.output.path} is missing: {absence}"
        return before if is_known else EditScan(stamp, time.time(), said, is_settled=True)
    if not place.is_dir():
        return None
    stamp, now = f"{version.md5} {fingerprint_totals(place)}", time.time()
    if before is not None and before.stamp == stamp and before.is_settled:
        return before
    since = before.since if before is not None and before.stamp == stamp else now
    is_quiet = now - since >= registry.settings.settle_seconds
    if before is not None and not is_quiet:
        return EditScan(stamp, since)
    try:
        edit = dvc.find_edit(item.metafile, item.output.path)
    except LinksLeadNowhereError as error:
        # Not settled: where the disk is mounted again, the folder looks the same.
        return EditScan(stamp, since, str(error))
    path, name = item.output.path, item.name
    if edit is None or not is_quiet:
        return EditScan(stamp, since, is_settled=edit is None)
    if edit.is_known:
        return EditScan(
            stamp,
            since,
            f"{path} holds an earlier version, or one of another branch: `dvc checkout "
            f"{item.metafile}` restores the current version, `registry add {name}` records the one "
            "in the workspace",
            is_settled=True,
        )
    if not holds_a_file(place):
        return EditScan(stamp, since, f"{path} was emptied: `registry add {name}`", is_settled=True)
    return EditScan(
        stamp,
        since,
        f"{path} was modified: `registry add {name}` records it as the next version, `dvc checkout "
        f"--force {item.metafile}` discards the edit",
        is_edited=True,
        is_settled=True,
    )


def why_not_there(root: Path, item: RawCollection) -> str | None:
    """The message for a collection that is missing from the workspace; None if it is there."""
    path, version = item.output.path, item.output.version
    place = root / path
    if version is not None and is_folder(version.md5) and place.is_symlink():
        return describe_link(path, os.fspath(place.readlink()))
    return None if place.exists() else describe_missing(path)
