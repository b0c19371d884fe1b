"""Contact sheets for browsers: beside Dagster's UI on its port, or by themselves.

Events name an address on the webserver that shows them, so a proxy in front of Dagster has to lead
`/registry/` here: `uvicorn --factory registry_assets.orchestration.webserver:sheet_app`.

Nothing is written but what is kept of what was made. Browsers keep nothing, as a picture that was
forgotten may be on a sheet.
"""

import asyncio
import os
import re
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
"""Sheets that are made side by side, as whoever works on this machine wants to go on."""

_MOST_WAITING = 50

_VERSION = re.compile("[0-9a-f]{32}")
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}

Result = TypeVar("Result")


def build_sheet_app(root: Path) -> Starlette:
    """An application that has the contact sheets of a registry, and nothing else."""
    return Starlette(routes=[sheet_route(root)])


def sheet_app() -> Starlette:
    """The same for the registry that REGISTRY_ROOT names, else the one around this folder."""
    from registry_assets.dvc_repo import DvcRepo

    root = DvcRepo(Path(os.environ.get("REGISTRY_ROOT") or Path.cwd())).root
    share_files(root)
    return build_sheet_app(root)


def sheet_route(root: Path) -> Route:
    """What answers for the contact sheets of a registry, by whatever name it is called."""
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
                # Browsers show what comes with a 404, too.
                return Response(_draw(lines), 404, _HEADERS, "image/svg+xml")
        return Response(sheet, headers=_HEADERS, media_type="image/webp")

    return Route("/registry/{name}/sheets/{version}.webp", show)


def _draw(lines: tuple[str, ...]) -> str:
    """A small picture of some lines of text."""
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

    run_webserver([sheet_route(Path(os.environ["REGISTRY_ROOT"]))])
