"""Pictures from the cache, by content: thumbnails, previews, originals; fetched from the remote."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal, TypedDict

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route

from registry_assets.dvc_repo import Listings
from registry_assets.errors import RegistryError
from registry_assets.images.contents import Unreadable
from registry_assets.look.answers import as_json, tell
from registry_assets.look.open_registry import OpenRegistry
from registry_assets.look.queries import is_md5, read_md5s
from registry_assets.look.threads import Threads
from registry_assets.model import is_folder
from registry_assets.registry.thumbnails import PREVIEW, THUMBNAIL, Thumbnails

MOST_MADE_AT_ONCE = 2
"""How many thumbnails are made in parallel; few, to leave the machine to other work."""

_MOST_WAITING = 500
_UNKNOWN = "the registry does not record such a picture (any more): reload the page"
_NOWHERE = (
    "no remote has it: run `registry push` on a machine that has it in its cache, or materialize "
    "again"
)


Absence = Literal["unknown", "here", "unreadable"]


class AbsentJson(TypedDict):
    """Why a picture is not shown.

    Attributes:
        absent: ``unknown``: the registry does not record it. ``here``: it is recorded, but the
            cache of this machine does not have it. ``unreadable``: it cannot be decoded.
        message: The same in a line, with the next step.
    """

    absent: Absence
    message: str


class MissingJson(TypedDict):
    """A picture that could not be fetched.

    Attributes:
        md5: The picture.
        message: Why, with the next step.
    """

    md5: str
    message: str


class FetchedJson(TypedDict):
    """What was fetched.

    Attributes:
        fetched: How many of the pictures are in the cache now.
        missing: The others.
    """

    fetched: int
    missing: Sequence[MissingJson]


def routes(registry: OpenRegistry) -> Sequence[BaseRoute]:
    """The routes of this part of the API."""
    pictures = StoredPictures(registry)
    return [
        Route("/thumbnails/{md5}", pictures.answer_with(THUMBNAIL)),
        Route("/previews/{md5}", pictures.answer_with(PREVIEW)),
        Route("/originals/{md5}", pictures.send_original),
        tell(registry, "/api/fetch", fetch),
    ]


class StoredPictures:
    """The pictures in the cache of a registry."""

    def __init__(self, registry: OpenRegistry) -> None:
        self._registry = registry
        self._kept = Thumbnails(registry.root)
        self._making = Threads("thumbnails", at_once=MOST_MADE_AT_ONCE, waiting=_MOST_WAITING)

    def answer_with(self, longest: int) -> Callable[[Request], Any]:
        """A function that answers with the thumbnail of a picture."""

        async def show(request: Request) -> Response:
            md5 = request.path_params["md5"]
            found = await self._registry.reading.run(self._find_kept, md5, longest)
            if found is None:
                found = await self._making.run(self._make, md5, longest)
            if isinstance(found, bytes):
                return Response(found, media_type="image/webp")
            return as_json(found, 404)

        return show

    async def send_original(self, request: Request) -> Response:
        """Send the file of a picture, to be saved and never to be shown."""
        md5 = request.path_params["md5"]
        absent = await self._registry.reading.run(self._find_unknown, md5)
        place = None if absent else self._registry.read().listings.place_of(md5)
        if place is None:
            return as_json(absent or _not_here(), 404)
        # Without a name: the page knows it, and a browser takes that one.
        return FileResponse(
            place,
            media_type="application/octet-stream",
            headers={"Content-Disposition": "attachment"},
        )

    def _find_unknown(self, md5: str) -> AbsentJson | None:
        if is_md5(md5) and md5 in self._registry.read().recorded:
            return None
        return {"absent": "unknown", "message": _UNKNOWN}

    def _find_kept(self, md5: str, longest: int) -> bytes | AbsentJson | None:
        return self._find_unknown(md5) or self._kept.read(md5, longest)

    def _make(self, md5: str, longest: int) -> bytes | AbsentJson:
        # Somebody else may have asked for the same one a moment ago.
        found = self._kept.read(md5, longest) or self._kept.make(
            self._registry.read().listings, md5, longest
        )
        if found is None:
            return _not_here()
        if isinstance(found, Unreadable):
            return {"absent": "unreadable", "message": found.reason}
        return found


def _not_here() -> AbsentJson:
    return {
        "absent": "here",
        "message": "the cache of this machine does not have it: fetch it from the remote",
    }


def fetch(opened: OpenRegistry, body: Mapping[str, Any]) -> FetchedJson:
    """Fetch pictures into the cache.

    Raises:
        BadRequestError: when the body does not list md5s.
    """
    md5s = read_md5s(body)
    reading = opened.read()
    missing = {md5: _UNKNOWN for md5 in md5s if md5 not in reading.recorded}
    wanted = {md5 for md5 in md5s if md5 not in missing and not reading.listings.place_of(md5)}
    # Stages last: what they made may be made again, and not be on any remote.
    nodes = sorted(reading.lineage.nodes.values(), key=lambda node: node.kind == "stage")
    for node in nodes:
        if not wanted:
            break
        if node.address is None or node.version is None:
            continue
        files = _find_files(reading.listings, node.version.md5, wanted)
        if files:
            try:
                opened.dvc.fetch_files(node.address, node.path, files, report=_ignore)
            except RegistryError as error:
                missing |= dict.fromkeys(files, str(error))
            there = {md5 for md5 in files if reading.listings.place_of(md5)}
            wanted -= there
            missing = {md5: why for md5, why in missing.items() if md5 not in there}
    missing |= {md5: _NOWHERE for md5 in wanted if md5 not in missing}
    return {
        "fetched": len(set(md5s) - set(missing)),
        "missing": [{"md5": md5, "message": why} for md5, why in missing.items()],
    }


def _find_files(listings: Listings, version: str, wanted: Collection[str]) -> Mapping[str, str]:
    """The names of the wanted files in a version, by md5."""
    if not is_folder(version):
        return {version: version} if version in wanted else {}
    try:
        files = listings.read(version) or {}
    except (ValueError, TypeError, KeyError):
        return {}
    return {md5: name for name, md5 in files.items() if md5 in wanted}


def _ignore(_line: str) -> None:
    """Progress is not shown."""
