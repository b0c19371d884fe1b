"""The application: the page and its API, alone or mounted in another application."""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Match, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from registry_assets.look import (
    decisions,
    diff,
    duplicates,
    listing,
    overview,
    parameters,
    picture,
    stored_pictures,
    thresholds,
)
from registry_assets.look.answers import HANDLERS
from registry_assets.look.guard import Guard, Hosts
from registry_assets.look.open_registry import OpenRegistry
from registry_assets.look.places import page_address

_PAGE = "/registry/{name}/look"

PAGE = Path(__file__).with_name("page")
"""The folder with HTML, CSS and JavaScript."""

_APIS = (
    overview,
    listing,
    picture,
    thresholds,
    duplicates,
    diff,
    decisions,
    parameters,
    stored_pictures,
)
"""The modules of the API; each exports `routes(registry)`."""


def build_page_app(registry: OpenRegistry) -> Starlette:
    """Build the page with its API, without a guard."""

    async def show_page(_request: Request) -> Response:
        return FileResponse(PAGE / "index.html", headers={"Cache-Control": "no-cache"})

    return Starlette(
        routes=[
            Route("/", show_page),
            Mount("/page", _Files(directory=PAGE)),
            *(route for api in _APIS for route in api.routes(registry)),
        ],
        exception_handlers=HANDLERS,
    )


class _Files(StaticFiles):
    """The static files; browsers ask whether they have changed, as after an upgrade."""

    def file_response(self, *arguments: object, **options: object) -> Response:
        response = super().file_response(*arguments, **options)  # type: ignore[arg-type]
        response.headers["Cache-Control"] = "no-cache"
        return response


def build_look_app(registry: OpenRegistry, *, token: str, hosts: Hosts) -> Starlette:
    """Build an application that serves the page of a registry and nothing else.

    Args:
        registry: The registry, readable.
        token: What the address has to contain.
        hosts: The names of this server.
    """
    home = page_address(registry.read().registry.name)
    door = Guard(RedirectResponse(home), token=token, hosts=hosts, landing=home)
    return Starlette(routes=[Route("/", door), *look_routes(registry, token=token, hosts=hosts)])


def look_routes(registry: OpenRegistry, *, token: str, hosts: Hosts) -> list[BaseRoute]:
    """The routes of the page, to be mounted in another application.

    They serve the page for any name of the registry, like those of contact sheets.
    """
    guarded = Guard(build_page_app(registry), token=token, hosts=hosts)

    return [Route(_PAGE, _add_slash), Mount(_PAGE, guarded)]


def door_route(*, token: str, hosts: Hosts) -> BaseRoute:
    """The route of ``/?token=…`` beside another page at ``/``, to which it leads."""
    return _Door("/", Guard(RedirectResponse("/"), token=token, hosts=hosts, landing="/"))


def closed_route(why: str) -> BaseRoute:
    """The route of the page where it is not served; says why.

    Args:
        why: A sentence with the next step.
    """

    async def say_why(_request: Request) -> Response:
        headers = {"Content-Security-Policy": "default-src 'none'", "Cache-Control": "no-store"}
        return PlainTextResponse(f"{why}\n", 404, headers=headers)

    return Route(f"{_PAGE}/{{path:path}}", say_why)


async def _add_slash(request: Request) -> Response:
    query = f"?{request.url.query}" if request.url.query else ""
    return RedirectResponse(f"{request.url.path}/{query}")


class _Door(Route):
    """A route that only matches with a token in the address."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        has_token = scope["type"] == "http" and "token" in QueryParams(scope["query_string"])
        return super().matches(scope) if has_token else (Match.NONE, {})
