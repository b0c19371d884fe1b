"""Serves contact sheets to browsers: on the port of Dagster's UI, or on a port of its own.

Events contain addresses without a host, so a proxy in front of Dagster has to forward `/registry/`
here: `uvicorn --factory registry_assets.orchestration.webserver:sheet_app`.

Only the sheets themselves are cached on disk. Browsers must not cache them, since a picture on a
sheet may be forgotten later.
"""

import asyncio
import os
import re
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from html import escape
from pathlib import Path
from typing import TypeVar

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from registry_assets.errors import RegistryError
from registry_assets.model import FOLDER_SUFFIX
from registry_assets.registry.contact_sheets import describe_absence, make_sheet, read_kept_sheet
from registry_assets.registry.sharing import share_files

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
    """Builds that application for REGISTRY_ROOT, or else the registry around this folder."""
    from registry_assets.dvc_repo import DvcRepo

    root = DvcRepo(Path(os.environ.get("REGISTRY_ROOT") or Path.cwd())).root
    share_files(root)
    return build_sheet_app(root)


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

    # `services.py` closes it once there is something to serve.
    run_webserver([sheet_route(Path(os.environ["REGISTRY_ROOT"]))], sys.stdin.read)
