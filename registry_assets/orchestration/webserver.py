"""Serves contact sheets and the page of pictures: on the port of Dagster's UI, or one of its own.

Events contain addresses without a host, so a proxy in front of Dagster has to forward `/registry/`
here: `uvicorn --factory registry_assets.orchestration.webserver:sheet_app`.

Who has the token in `REGISTRY_LOOK_TOKEN` may use the page; without that, it is not served.

Only the sheets themselves are cached on disk. Browsers must not cache them, since a picture on a
sheet may be forgotten later.
"""

import asyncio
import os
import re
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from html import escape
from pathlib import Path
from typing import TypeVar

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from registry_assets.errors import RegistryError, UnusableError
from registry_assets.model import FOLDER_SUFFIX
from registry_assets.registry.contact_sheets import describe_absence, make_sheet, read_kept_sheet
from registry_assets.registry.sharing import share_files

_SHORTEST_TOKEN = 32
_CLOSED = (
    "this server shows no pictures: open them with `registry look`, or set REGISTRY_LOOK_TOKEN for "
    "the webserver, as docs/how-to/deployment.md says"
)

_MOST_AT_ONCE = 2
"""How many sheets are made in parallel; few, to leave the machine to other work."""

_MOST_WAITING = 50

_VERSION = re.compile("[0-9a-f]{32}")
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}

Result = TypeVar("Result")


def build_sheet_app(root: Path) -> Starlette:
    """Builds an application that serves only the contact sheets of a registry."""
    return Starlette(routes=[sheet_route(root)])


def sheet_app() -> Starlette:
    """Builds an application for REGISTRY_ROOT, or else the registry around this folder.

    It serves contact sheets and, with a token in the environment, the page of pictures.

    Raises:
        UnusableError: when the settings of the page are incomplete.
    """
    from registry_assets.dvc_repo import DvcRepo

    root = DvcRepo(Path(os.environ.get("REGISTRY_ROOT") or Path.cwd())).root
    share_files(root)
    return Starlette(routes=[sheet_route(root), *page_routes(root, os.environ)])


def page_routes(root: Path, environment: Mapping[str, str]) -> list[BaseRoute]:
    """The routes of the page of pictures, by the settings in an environment.

    Args:
        root: The registry.
        environment: `LOOK_TOKEN`, what the address has to contain, and `LOOK_HOSTS`, the names of
            this server with their ports, separated by commas (with ``*``, also any IP address).
            Without the first one the page is not served, and says so.

    Raises:
        UnusableError: when the token can be guessed, or there are no names.
    """
    from registry_assets.look.app import closed_route, door_route, look_routes
    from registry_assets.look.guard import LOOK_HOSTS, LOOK_TOKEN, Hosts
    from registry_assets.look.open_registry import OpenRegistry

    token = environment.get(LOOK_TOKEN, "")
    if not token:
        return [closed_route(_CLOSED)]
    if len(token) < _SHORTEST_TOKEN:
        raise UnusableError(
            f"{LOOK_TOKEN} is too short: `openssl rand -hex 32` prints a token that nobody guesses"
        )
    hosts = Hosts.from_text(environment.get(LOOK_HOSTS, ""))
    if hosts is None:
        raise UnusableError(
            f"{LOOK_TOKEN} needs {LOOK_HOSTS}: the names by which browsers reach this server, such "
            "as `photos.example.org` or `127.0.0.1:3000`, separated by commas"
        )
    registry = OpenRegistry(root)
    return [
        door_route(token=token, hosts=hosts),
        *look_routes(registry, token=token, hosts=hosts),
    ]


def sheet_route(root: Path) -> Route:
    """The route of the contact sheets of a registry, whatever name the address gives it."""
    makers = ThreadPoolExecutor(_MOST_AT_ONCE, "contact-sheets")
    waiting = 0

    async def ask(function: Callable[[Path, str], Result], md5: str) -> Result:
        return await asyncio.get_running_loop().run_in_executor(makers, function, root, md5)

    async def show(request: Request) -> Response:
        nonlocal waiting
        version = request.path_params["version"]
        if not _VERSION.fullmatch(version):
            return PlainTextResponse("no such version\n", 404, headers=_HEADERS)
        md5 = version + FOLDER_SUFFIX
        sheet = await asyncio.to_thread(read_kept_sheet, root, md5)
        if sheet is None:
            if waiting >= _MOST_WAITING:
                busy = {**_HEADERS, "Retry-After": "10"}
                return PlainTextResponse("too many are being made\n", 503, headers=busy)
            waiting += 1
            try:
                sheet = await ask(make_sheet, md5)
                lines = await ask(describe_absence, md5) if sheet is None else ()
            except RegistryError as error:
                lines = (str(error),)
            finally:
                waiting -= 1
            if sheet is None:
                # Browsers show the image of a 404 response, too.
                return Response(_draw(lines), 404, _HEADERS, "image/svg+xml")
        return Response(sheet, headers=_HEADERS, media_type="image/webp")

    return Route("/registry/{name}/sheets/{version}.webp", show)


def _draw(lines: tuple[str, ...]) -> str:
    """Draws lines of text as a small SVG image."""
    width = 16 + 8 * max(map(len, lines))
    texts = "".join(
        f'<text x="8" y="{20 + 18 * number}">{escape(line)}</text>'
        for number, line in enumerate(lines)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{12 + 18 * len(lines)}">'
        '<rect width="100%" height="100%" fill="#808080"/>'
        f'<g fill="#fff" font-family="monospace" font-size="13">{texts}</g></svg>'
    )


if __name__ == "__main__":
    from registry_assets.orchestration.internals import run_webserver

    place = Path(os.environ["REGISTRY_ROOT"])
    # `services.py` closes it once there is something to serve.
    run_webserver([sheet_route(place), *page_routes(place, os.environ)], sys.stdin.read)
