"""Collections that were edited after they were registered, found without reading them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from registry_assets.dvc_repo import DvcRepo
from registry_assets.errors import DataBeingWrittenError, RegistryError
from registry_assets.fingerprint import fingerprint_totals
from registry_assets.model import DVC_SUFFIX, RawCollection, Registry, is_folder
from registry_assets.registry.status.arrivals import holds_a_file

_NOT_THERE = "not there"


@dataclass(frozen=True)
class EditScan:
    """What was seen of one collection.

    Attributes:
        stamp: What its files are like, in number, size and dates, and the version recorded then.
        since: When it was first seen like that, in seconds since the epoch.
        finding: What is to be said of it; None as long as it is as recorded, or still changing.
        is_edited: Whether the finding is that it can be recorded as the next version.
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
        """Whether the folder is not in its place."""
        return self.stamp.startswith(_NOT_THERE)


def look_for_edits(
    registry: Registry, before: Mapping[str, EditScan], *, most_seconds: float
) -> Iterator[tuple[str, EditScan]]:
    """Looks at the collections in the raw folder, the least recently checked first.

    Walks through folders, and has DVC compare those whose stamp is a new one and has been the same
    for `settle_seconds`.

    Reads the ``.dvc`` files of the raw folder and no others.

    Args:
        registry: For its root, settings and raw folder.
        before: What was seen the last time, by name, the least recent first.
        most_seconds: After which time no further one is looked at.

    Yields:
        The name of a collection and what was seen; nothing of those that are not there.
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
        except (FileNotFoundError, DataBeingWrittenError):  # somebody is at work on it
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
            except RegistryError:  # broken, which `registry status` says
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
        said = f"{item.output.path} is not there: {absence}"
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
    edit = dvc.find_edit(item.metafile, item.output.path)
    path, name = item.output.path, item.name
    if edit is None or not is_quiet:
        return EditScan(stamp, since, is_settled=edit is None)
    if edit.is_known:
        return EditScan(
            stamp,
            since,
            f"{path} holds a version that was recorded before, here or on another branch: `dvc "
            f"checkout {item.metafile}` brings the current one back, `registry add {name}` records "
            "the one that is there",
            is_settled=True,
        )
    if not holds_a_file(place):
        return EditScan(stamp, since, f"{path} was emptied: `registry add {name}`", is_settled=True)
    return EditScan(
        stamp,
        since,
        f"{path} was modified: `registry add {name}` records it as the next version, `dvc checkout "
        f"--force {item.metafile}` drops the edit",
        is_edited=True,
        is_settled=True,
    )


def why_not_there(root: Path, item: RawCollection) -> str | None:
    """The message for a collection that is recorded but missing; None if it is there."""
    path, version = item.output.path, item.output.version
    place = root / path
    if version is not None and is_folder(version.md5) and place.is_symlink():
        return describe_link(path, os.fspath(place.readlink()))
    return None if place.exists() else describe_missing(path)


def describe_link(path: str, target: str) -> str:
    """What to do about a link in the place of a collection, which DVC takes for what it leads to.

    DVC refuses to record anything there, and restores what is recorded through the link.
    """
    return (
        f"it is a symbolic link to {target}: copy that folder into its place, or remove the link "
        f"and run `dvc checkout {path}`"
    )


def describe_missing(path: str) -> str:
    """The next step for a collection that is recorded but not in the workspace."""
    return (
        f"`dvc checkout {path}` brings it back, `dvc remove {path}.dvc` takes it out of the "
        "registry"
    )
