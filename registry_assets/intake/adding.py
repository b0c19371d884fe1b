"""`registry add`: finding the folder or archive to add, by name or path."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from registry_assets.dvc_repo import DvcRepo
from registry_assets.errors import (
    NotFoundError,
    RegistryError,
    RejectedError,
)
from registry_assets.git_repo import GitRepo
from registry_assets.git_repo.work_tree import find_kept_out, kept_out
from registry_assets.intake.archives import find_archive, limits_of, unpack_into
from registry_assets.intake.copying import Copied, copy_collection
from registry_assets.model import DVC_SUFFIX, Registry, check_collection_name, metafile_of
from registry_assets.registry.status.archive_names import ENDINGS, archive_stem
from registry_assets.registry.status.arrivals import holds_a_file, reason_against
from registry_assets.registry.status.staging import Landing


@dataclass(frozen=True)
class Addition:
    """A collection to add.

    Attributes:
        name: The name of the collection.
        source: The folder or archive to add; None if it is in the raw folder already.
    """

    name: str
    source: Path | None = None


def choose_additions(
    registry: Registry, asked: Iterable[str], name: str | None = None
) -> list[Addition]:
    """Find the collections to add, each once.

    Args:
        registry: The registry.
        asked: Names and paths, each as for `choose_addition`.
        name: The name for a folder or archive from elsewhere; its own name when None.

    Raises:
        RegistryError: when two of them have the same name, or one cannot be added.
    """
    chosen: dict[str, Addition] = {}
    for one in asked:
        addition = choose_addition(registry, one, name)
        other = chosen.setdefault(addition.name, addition)
        if other != addition:
            raise RegistryError(
                f"{one} has the same name as another to be added, {addition.name}: add it on its "
                "own, with --name"
            )
    return [*chosen.values()]


def choose_addition(registry: Registry, asked: str, name: str | None) -> Addition:
    """Find the collection to add.

    Args:
        registry: The registry.
        asked: The name of a collection, or a path relative to the working directory or the root.
        name: The name for a folder or archive from elsewhere; its own name when None.

    Raises:
        NotFoundError: when there is no such name or path.
        RefusedError: when the name is not allowed, or its ``.dvc`` file is outside the sparse
            checkout.
        RegistryError: when there is a collection of that name already.
    """
    raw = _raw_of(registry, asked)
    is_name = "/" not in asked
    if is_name and (_is_known(raw / asked) or not Path(asked).exists()):
        return Addition(check_collection_name(_name_here(raw / asked)))
    place = next((p for p in (Path(asked), registry.root / asked) if os.path.lexists(p)), None)
    # The last component is not resolved: a link in the raw folder is a collection there.
    found = (place or registry.root / asked).parent.resolve() / Path(asked).name
    if found.parent == raw.resolve():
        return Addition(check_collection_name(_name_here(found)))
    found = found.resolve()
    stem = archive_stem(found.name) if found.is_file() else None
    if found.is_file() and stem is None:
        reason = reason_against(found.name, found)
        if reason is not None:
            raise RejectedError(asked, reason)
    if not found.is_dir() and stem is None:
        raise RegistryError(
            f"{asked} is neither a folder nor an archive ({', '.join(ENDINGS)}): check the path"
        )
    if raw.resolve().is_relative_to(found):
        raise RegistryError(f"{asked} contains this registry: name a folder of photographs")
    if not holds_a_file(found):
        raise RejectedError(asked, "it contains no files")
    chosen = check_collection_name(name or stem or found.name)
    note = Landing(raw, chosen).read_note()
    has_landed = note is not None and note.source == str(found)
    metafile = metafile_of(f"{registry.raw_folder}/{chosen}")
    if find_kept_out(GitRepo(registry.root)).lacks(metafile):
        raise kept_out(metafile)
    is_there = (registry.root / metafile).exists() or (raw / chosen).exists()
    # One that was killed after it had landed is finished, also if it was registered.
    if is_there and not has_landed:
        raise RegistryError(
            f"there is a collection {chosen} already: choose another name with --name"
        )
    return Addition(chosen, found)


def _raw_of(registry: Registry, asked: str) -> Path:
    if registry.raw_folder is None:
        raise NotFoundError(
            f"there is no collection {asked}: copy its files to raw/{asked} and run `registry add "
            f"{asked}`"
        )
    return registry.root / registry.raw_folder


def _is_known(place: Path) -> bool:
    return os.path.lexists(place) or place.with_name(metafile_of(place.name)).exists()


def _name_here(place: Path) -> str:
    """The name of the collection at a path in the raw folder; for an archive, what it becomes.

    A metafile stands for its collection, as the shell finds both by a pattern.
    """
    if place.suffix == DVC_SUFFIX and place.is_file():
        return place.stem
    stem = archive_stem(place.name)
    is_tracked = place.with_name(metafile_of(place.name)).exists()
    if is_tracked or (os.path.lexists(place) and not place.is_file()):
        return place.name
    if not place.is_file():
        # The archive that was there may have become a collection.
        return stem or place.name
    if stem is None:
        reason = reason_against(place.name, place)
        if reason is not None:
            raise RejectedError(f"{place.parent.name}/{place.name}", reason)
        return place.name
    first = find_archive(place.with_name(stem))
    if first is not None and first != place:
        raise RegistryError(f"{first.name} has the same name: rename one of them")
    return stem


def bring_in(
    registry: Registry, addition: Addition, report: Callable[[Copied], None], *, link: bool = False
) -> Mapping[str, int]:
    """Copy a folder, or unpack an archive, from elsewhere into the raw folder.

    Args:
        registry: The registry.
        addition: The collection to add.
        report: Called with the progress of copying.
        link: Whether to make hardlinks instead of copies.

    Returns:
        The number of leftovers of file managers that were left out, by pattern.

    Raises:
        RegistryError: when it fails; finished copies are kept.
    """
    source = addition.source
    if source is None:
        return {}
    DvcRepo(registry.root).check_seen(metafile_of(f"{registry.raw_folder}/{addition.name}"))
    landing = Landing(_raw_of(registry, addition.name), addition.name)
    landing.target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        return copy_collection(source, landing, report, link=link)
    if link:
        raise RegistryError(f"{source} is an archive: leave --link out")
    with landing.held():
        if landing.target.exists():
            return {}
        return unpack_into(source, landing, limits_of(registry.settings))


def finish_addition(registry: Registry, addition: Addition) -> None:
    """Remove the notes about a collection, once it is registered."""
    if addition.source is not None:
        Landing(_raw_of(registry, addition.name), addition.name).forget()
