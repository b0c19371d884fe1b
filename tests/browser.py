"""Asks an ASGI application what a browser would."""

import asyncio
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from starlette.applications import Starlette


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


async def fetch(app: Starlette, target: str, method: str = "GET") -> Answer:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", b"127.0.0.1"), (b"origin", b"http://elsewhere.example")],
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 1),
    }
    await app(scope, receive, send)
    head = sent[0]
    headers = {name.decode(): value.decode() for name, value in head["headers"]}
    return Answer(head["status"], headers, b"".join(item.get("body", b"") for item in sent[1:]))


def get(app: Starlette, target: str, method: str = "GET") -> Answer:
    return asyncio.run(fetch(app, target, method))


def image_address(markdown: str) -> str:
    """Where the picture is that Markdown shows."""
    return _addresses(markdown)[0]


def page_address(markdown: str) -> str:
    """Where that picture leads to."""
    return _addresses(markdown)[1]


def _addresses(markdown: str) -> tuple[str, str]:
    picture = r"!\[(?:[^\[\]\\]|\\.)*\]\((\S+?)\)"
    found = re.fullmatch(rf"\[{picture}\]\((\S+)\)", markdown)
    assert found is not None, markdown
    return found[1], found[2]
