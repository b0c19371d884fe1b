"""Functions of the registry as JSON over HTTP.

A module of the API exports `routes(registry)`, made with `ask` and `tell` of plain functions that
return what is to be sent. They run in threads and may take their time.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from registry_assets.errors import NotFoundError, RegistryError, RepositoryBusyError
from registry_assets.look.open_registry import OpenRegistry
from registry_assets.look.queries import BadRequestError
from registry_assets.look.threads import TooManyWaitingError

MOST_BYTES = 16 << 20
"""The largest body of a request: the md5s of 400,000 pictures."""

_RETRY_SECONDS = "2"

Ask = Callable[[OpenRegistry, Mapping[str, str]], object]
"""Takes the parameters of the query."""

Tell = Callable[[OpenRegistry, Mapping[str, Any]], object]
"""Takes the body."""


_STATUSES: Mapping[type[Exception], int] = {
    BadRequestError: 400,
    NotFoundError: 404,
    RepositoryBusyError: 503,
    TooManyWaitingError: 503,
    RegistryError: 409,
}


def ask(registry: OpenRegistry, path: str, function: Ask) -> Route:
    """The route of a function that reads."""

    async def answer(request: Request) -> Response:
        return await registry.reading.run(_answer, function, registry, dict(request.query_params))

    return Route(path, answer, methods=["GET"])


def tell(registry: OpenRegistry, path: str, function: Tell) -> Route:
    """The route of a function that writes; they run one at a time."""

    async def answer(request: Request) -> Response:
        body = await _read_body(request)
        try:
            return await registry.writing.run(_answer, function, registry, body)
        finally:
            registry.look_again()

    return Route(path, answer, methods=["POST"])


def _answer(
    function: Callable[[OpenRegistry, Any], object], registry: OpenRegistry, given: object
) -> Response:
    # Encoded here, in a thread: a long list takes a while.
    return as_json(function(registry, given))


def as_json(value: object, status: int = 200) -> Response:
    """A JSON response; a parameter that is a date becomes text."""
    # In ASCII: names of files that are no text have lone surrogates, which UTF-8 cannot encode.
    text = json.dumps(value, separators=(",", ":"), default=str)
    return Response(text, status, media_type="application/json")


async def describe_error(_request: Request, error: Exception) -> Response:
    """The response to an error: one line that names the next step."""
    if isinstance(error, HTTPException):
        return as_json({"error": f"{error.detail}: reload the page"}, error.status_code)
    status = next((code for kind, code in _STATUSES.items() if isinstance(error, kind)), 500)
    message = str(error)
    if isinstance(error, TooManyWaitingError):
        message = "too much is waiting already: try again in a moment"
    elif status == 500:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        message = f"{said}: this should not happen; report it with what the terminal says"
    response = as_json({"error": message}, status)
    if status == 503:
        response.headers["Retry-After"] = _RETRY_SECONDS
    return response


HANDLERS = dict.fromkeys((HTTPException, *_STATUSES, Exception), describe_error)
"""For an application of Starlette."""


async def _read_body(request: Request) -> Mapping[str, Any]:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise BadRequestError(f"the request is larger than {MOST_BYTES:,} bytes: choose fewer")
    try:
        value = await asyncio.to_thread(json.loads, bytes(body))
    except (ValueError, RecursionError):
        raise BadRequestError("the body is not JSON: reload the page") from None
    if not isinstance(value, dict):
        raise BadRequestError("the body is not an object: reload the page")
    return value
