"""Everything that is known of one picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypedDict

from starlette.routing import BaseRoute

from registry_assets.curation.explaining import describe_explanation, explain
from registry_assets.errors import NotFoundError, RegistryError
from registry_assets.images.exif import describe_file
from registry_assets.look.answers import ask
from registry_assets.look.gallery import Row
from registry_assets.look.open_registry import OpenRegistry, Reading
from registry_assets.provenance.finding import trace_file
from registry_assets.provenance.report import describe_trace


class HeldIn(TypedDict):
    """Versions of the registry that have the picture.

    Attributes:
        names: Tags, branches, or ``the work tree``.
        outputs: The outputs that hold it there.
    """

    names: Sequence[str]
    outputs: Sequence[str]


class PictureJson(Row):
    """A picture with everything known of it.

    Attributes:
        why: What `registry why` says, in lines; empty for a folder without verdicts.
        explanation: The same as values; None for a folder without verdicts.
        trace: What `registry trace` says, in lines.
        versions: The versions that have it.
        exif: The tags of its EXIF as text, by name; empty if it is not in the cache.
    """

    why: Sequence[str]
    explanation: Mapping[str, Any] | None
    trace: Sequence[str]
    versions: Sequence[HeldIn]
    exif: Mapping[str, str]


def show_picture(registry: OpenRegistry, query: Mapping[str, str]) -> PictureJson:
    """Answer ``api/picture``.

    Raises:
        BadRequestError: when no source is named.
        NotFoundError: when the source has no such picture.
    """
    reading = registry.read()
    gallery = reading.galleries.open(query.get("source"))
    pictures = gallery.pictures
    collection, path = query.get("collection", ""), query.get("path", "")
    row = pictures.columns.row_of(collection, path)
    if row is None:
        raise NotFoundError(
            f"{pictures.source} has no picture {collection}/{path} (any more): reload the page"
        )
    explanation = explain(pictures, row, gallery.placement) if pictures.has_measures else None
    found = gallery.row(row)
    place = reading.listings.place_of(found["md5"])
    return {
        **found,
        "why": [*describe_explanation(explanation)] if explanation else [],
        "explanation": asdict(explanation) if explanation else None,
        "trace": [*_trace(reading, found["md5"])],
        "versions": [*_find_versions(reading, collection, found["md5"])],
        "exif": describe_file(place) if place is not None else {},
    }


def _trace(reading: Reading, md5: str) -> Iterator[str]:
    if not md5:
        yield "its content was not read, so it cannot be traced"
        return
    try:
        yield from describe_trace(trace_file(reading.lineage, Path(md5)), reading.registry)
    except RegistryError as error:
        yield str(error)


def _find_versions(reading: Reading, collection: str, md5: str) -> Iterator[HeldIn]:
    """The tags and branches whose outputs of a collection hold a content."""
    held: dict[str, dict[str, None]] = {}
    for path, version in reading.history.versions:
        is_asked = path.rpartition("/")[2] == collection
        if md5 and is_asked and reading.listings.names(version, md5):
            for keeper in reading.history.keepers_of(path, version):
                held.setdefault(keeper, {})[path] = None
    alike: dict[tuple[str, ...], list[str]] = {}
    for name, outputs in held.items():
        alike.setdefault(tuple(outputs), []).append(name)
    for same, names in alike.items():
        yield {"names": names, "outputs": same}


def routes(registry: OpenRegistry) -> list[BaseRoute]:
    """The route of a single picture."""
    return [ask(registry, "/api/picture", show_picture)]
