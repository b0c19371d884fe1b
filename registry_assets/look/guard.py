"""Who may use the page: those who have the token, from the page itself.

The token is in the address that is printed, as Jupyter does it. Whoever opens that gets a cookie,
and is led on to the same address without the token. Each request is checked:

- `Host` has to be one that the server was told to listen on, so that a foreign name that is made
  to lead to this machine (DNS rebinding) is of no use.
- `Origin` and `Sec-Fetch-Site`, where a browser sends them, have to be of the page itself. A cookie
  is sent from every port of a host, and `SameSite` does not tell ports apart.
- What writes needs a header, which no form and no other origin can send, and a JSON body.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import MutableMapping, Sequence
from html import escape
from ipaddress import ip_address
from socket import gethostname
from typing import Any
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

WRITING_HEADER = "X-Registry-Look"
"""What a request that writes has to send, with any value."""

LOOK_TOKEN = "REGISTRY_LOOK_TOKEN"
LOOK_HOSTS = "REGISTRY_LOOK_HOSTS"
"""Environment variables of a webserver that is to show the page: its token, and its names."""

_TOKEN_BYTES = 32
_ANY_ADDRESS = "*"
_READING = ("GET", "HEAD")
_JSON = "application/json"
_OWN_SITES = ("same-origin", "none")

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

_NO_TOKEN = (
    "this needs the address with its token, which `registry look` or `registry ui` has printed: "
    "open that one"
)
_OTHER_ORIGIN = (
    "this was asked for by a page of another origin, which may not: open the page itself"
)


def new_token() -> str:
    """A token that cannot be guessed."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Hosts:
    """The values of the header `Host` that lead to this server on purpose.

    The names of the machine itself are among them with any port, which is another one where an SSH
    tunnel leads here. No other name can be made to be one of them.

    Args:
        names: The names and addresses to accept, each with its port unless that is the default
            one of HTTP or HTTPS.
        takes_addresses: Whether any IP address is accepted: no name leads there by a trick.

    Attributes:
        address: The URL of the first name.
    """

    def __init__(self, names: Sequence[str], *, takes_addresses: bool = False) -> None:
        self.address = f"http://{names[0]}"
        self._names = tuple(name.lower() for name in names)
        self._takes_addresses = takes_addresses

    @classmethod
    def from_text(cls, text: str) -> Hosts | None:
        """Those that a setting names, separated by commas; None if it names none."""
        names = [name.strip() for name in text.split(",") if name.strip()]
        named = [name for name in names if name != _ANY_ADDRESS]
        return cls(named, takes_addresses=named != names) if named else None

    def __str__(self) -> str:
        """Such a setting."""
        return ",".join((*self._names, *([_ANY_ADDRESS] if self._takes_addresses else ())))

    @classmethod
    def of_listener(cls, host: str, port: int) -> Hosts:
        """Those for a server that listens on a host and port."""
        is_everywhere = host in ("", "0.0.0.0", "::")
        name = gethostname() if is_everywhere else host
        return cls([_with_port(name, port)], takes_addresses=is_everywhere)

    def __contains__(self, host: object) -> bool:
        given = str(host).lower()
        return (
            given in self._names
            or _name_of(given) in _LOOPBACK
            or (self._takes_addresses and _is_address(given))
        )


def _with_port(name: str, port: int) -> str:
    shown = f"[{name}]" if ":" in name else name
    return shown if port == 80 else f"{shown}:{port}"


def _name_of(host: str) -> str:
    """The name in a value of `Host`, without the port; empty if it is none."""
    try:
        parts = urlsplit(f"//{host}")
        is_one = parts.netloc == host and "@" not in host and parts.port != 0
        return (parts.hostname or "") if is_one else ""
    except ValueError:
        return ""


def _is_address(host: str) -> bool:
    try:
        ip_address(_name_of(host))
    except ValueError:
        return False
    return True


class Guard:
    """An ASGI application in front of another one, which only requests that may pass reach.

    Args:
        app: The application; it may be mounted in another one.
        token: What the address has to contain, and later the cookie.
        hosts: The accepted values of `Host`.
        landing: Where the token leads to; None for the path at which this is mounted.
    """

    def __init__(
        self, app: ASGIApp, *, token: str, hosts: Hosts, landing: str | None = None
    ) -> None:
        self._app = app
        self._token = token.encode()
        self._hosts = hosts
        self._landing = landing
        # Cookies are of a host, whatever the port: several registries must not share one.
        digest = hashlib.sha256(self._token).hexdigest()
        self._cookie = f"registry_look_{digest[:12]}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let it pass."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            sender = _with_headers(send)
            app = self._choose(HTTPConnection(scope), scope["method"]) or self._app
            await app(scope, receive, sender)
        else:
            # There are no websockets here.
            await send({"type": "websocket.close", "code": 1008})

    def _choose(self, request: HTTPConnection, method: str) -> Response | None:
        """The response to a request that must not pass; None for one that may."""
        headers = request.headers
        hosts = headers.getlist("host")
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            return _refuse(
                request, "this server does not go by that name: open the address that was printed"
            )
        given = request.query_params.getlist("token")
        is_reading = method in _READING
        is_arriving = is_reading and bool(given) and self._is_at_the_door(request)
        is_opened = is_reading and headers.get("sec-fetch-mode") == "navigate"
        if not _is_own_origin(headers, hosts[0]) or not (
            _is_own_site(headers) or (is_opened and headers.get("sec-fetch-dest") == "document")
        ):
            return _refuse(request, _OTHER_ORIGIN)
        if is_arriving:
            if len(given) != 1 or not self._is_token(given[0]):
                return _refuse(request, f"the token is wrong or an older one: {_NO_TOKEN}")
            return self._welcome(request)
        if not self._is_token(request.cookies.get(self._cookie, "")):
            return _refuse(request, _NO_TOKEN)
        if not is_reading and not _may_write(headers):
            needed = f"the header {WRITING_HEADER} and a body of type {_JSON}"
            return _refuse(request, f"{method} needs {needed}: use the page")
        return None

    def _is_token(self, given: str) -> bool:
        return secrets.compare_digest(given.encode("utf-8", "replace"), self._token)

    def _is_at_the_door(self, request: HTTPConnection) -> bool:
        inside = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
        return inside in ("", "/")

    def _welcome(self, request: HTTPConnection) -> Response:
        root_path = request.scope.get("root_path", "")
        target = quote(self._landing or f"{root_path}/", safe="/%")
        if _is_own_site(request.headers):
            response: Response = RedirectResponse(target, 303)
        else:
            # From a page of another site, such as a terminal in a browser: on a redirect the
            # browser would not send the cookie, but it does where this page itself leads.
            text = f'<meta http-equiv="refresh" content="0;url={escape(target)}">'
            response = HTMLResponse(_page("One moment", text))
        response.set_cookie(
            self._cookie,
            self._token.decode(),
            path="/",
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return response


def _is_own_origin(headers: Headers, host: str) -> bool:
    """Whether the page that sent a request, as far as the browser names it, is of this host."""
    origins = headers.getlist("origin")
    # A proxy may speak HTTPS to the browser and HTTP to this server.
    return all(origin.lower() in _origins(host) for origin in origins)


def _origins(host: str) -> tuple[str, str]:
    return f"http://{host.lower()}", f"https://{host.lower()}"


def _is_own_site(headers: Headers) -> bool:
    return all(site in _OWN_SITES for site in headers.getlist("sec-fetch-site"))


def _may_write(headers: Headers) -> bool:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return WRITING_HEADER.lower() in headers and kind == _JSON


def _refuse(request: HTTPConnection, why: str) -> Response:
    if "text/html" in request.headers.get("accept", ""):
        return HTMLResponse(_page("Not without the token", f"<p>{escape(why)}</p>"), 403)
    return Response(json.dumps({"error": why}), 403, media_type=_JSON)


def _page(title: str, body: str) -> str:
    return f"<!doctype html><meta charset=utf-8><title>{escape(title)}</title>{body}"


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            _add_headers(message)
        await send(message)

    return send_with_headers


def _add_headers(message: MutableMapping[str, Any]) -> None:
    headers = MutableHeaders(scope=message)
    for name, value in _HEADERS.items():
        headers[name] = value
    # A picture may be forgotten later, a name taken back.
    headers.setdefault("Cache-Control", "no-store")
