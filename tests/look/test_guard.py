"""Who may use the page, and what a browser is told about every answer."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount

from registry_assets.look.guard import Guard, Hosts
from tests.conftest import copy_empty_repository
from tests.look.served import WRITING, Served, serving


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = copy_empty_repository(tmp_path_factory.mktemp("guard") / "registry")
    with serving(root) as served:
        yield served.open()


def check_is_refused(served: Served, target: str, headers: dict[str, str], **more: Any) -> str:
    found = served.send(target, headers=headers, **more)
    assert found.status == 403, found
    said: str = found.json["error"]
    assert "set-cookie" not in found.headers
    assert served.token not in said
    return said


def test_the_token_leads_to_the_page_and_is_in_a_strict_cookie(served: Served) -> None:
    found = served.send(f"/?token={served.token}")
    assert (found.status, found.headers["location"]) == (303, served.base)
    name, _, rest = found.headers["set-cookie"].partition("=")
    assert re.fullmatch(r"registry_look_[0-9a-f]{12}", name)
    value, *attributes = rest.split("; ")
    assert value == served.token
    assert len(served.token) >= 43
    assert {text.lower() for text in attributes} == {"httponly", "samesite=strict", "path=/"}
    direct = served.send(f"{served.base}?token={served.token}")
    assert (direct.status, direct.headers["location"]) == (303, served.base)
    assert served.get().status == 200
    assert served.send("/", headers={"Cookie": served.cookie}).headers["location"] == served.base


def test_without_a_slash_it_is_the_same_page(served: Served) -> None:
    found = served.send(f"{served.base.rstrip('/')}?token={served.token}")
    assert found.headers["location"] == f"{served.base}?token={served.token}"


@pytest.mark.parametrize("target", ["", "api/registry", "api/state", "page/index.html", "nothing"])
def test_nothing_is_served_without_the_cookie(served: Served, target: str) -> None:
    said = check_is_refused(served, f"{served.base}{target}", {})
    assert "registry look" in said
    name = served.cookie.partition("=")[0]
    for wrong in ("", "wrong", served.token[:-1], f"{served.token}x", "é"):
        check_is_refused(served, f"{served.base}{target}", {"Cookie": f"{name}={wrong}"})
    check_is_refused(served, f"{served.base}{target}", {"Cookie": f"other={served.token}"})


@pytest.mark.parametrize("query", ["", "token=", "token=wrong", "token=x&token={}", "Token={}"])
def test_a_wrong_token_opens_nothing(served: Served, query: str) -> None:
    for path in ("/", served.base):
        check_is_refused(served, f"{path}?{query.format(served.token)}", {})
    # In an address of the API it is none.
    check_is_refused(served, f"{served.base}api/registry?token={served.token}", {})


def test_a_browser_without_the_token_is_told_what_to_do(served: Served) -> None:
    found = served.send(served.base, headers={"Accept": "text/html,*/*"})
    assert found.status == 403
    assert found.headers["content-type"].startswith("text/html")
    assert b"registry look" in found.body


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:{port}", "127.0.0.2:{port}", "127.0.0.1:{port}:1", ""),
        *("localhost.evil.example:{port}", "127.0.0.1:{port}.evil.example"),
        *("evil.example@localhost:{port}", "localhost/evil.example", "localhost:{port}/x"),
    ],
)
def test_another_host_is_refused_even_with_the_token(served: Served, host: str) -> None:
    given = {"Host": host.format(port=served.host.partition(":")[2]), "Cookie": served.cookie}
    check_is_refused(served, f"/?token={served.token}", given)
    check_is_refused(served, f"{served.base}api/registry", given)


@pytest.mark.parametrize("host", ["LocalHost:{port}", "localhost:8888", "127.0.0.1", "[::1]:1"])
def test_localhost_is_this_machine_also_through_a_tunnel(served: Served, host: str) -> None:
    host = host.format(port=served.host.partition(":")[2])
    given = {"Host": host, "Cookie": served.cookie, "Origin": f"http://{host}"}
    assert served.send(f"{served.base}api/registry", headers=given).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "ftp://{host}"},
        {"Origin": "http://{host}.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_page_of_another_origin_is_refused_with_the_cookie(
    served: Served, headers: dict[str, str], method: str
) -> None:
    given = {name: value.format(host=served.host) for name, value in headers.items()}
    found = served.send(
        f"{served.base}api/registry", method, {"Cookie": served.cookie, **WRITING, **given}
    )
    assert found.status == 403


def test_the_page_itself_may_ask(served: Served) -> None:
    own = {
        "Cookie": served.cookie,
        "Origin": f"http://{served.host}",
        "Sec-Fetch-Site": "same-origin",
    }
    assert served.send(f"{served.base}api/registry", headers=own).status == 200


def test_a_link_in_another_page_opens_the_page_with_the_token(served: Served) -> None:
    clicked = {
        "Sec-Fetch-Site": "cross-site",
        "Sec-Fetch-Mode": "navigate",
        "Sec-Fetch-Dest": "document",
    }
    found = served.send(f"/?token={served.token}", headers=clicked)
    # Not by a redirect, on which the browser would not send a strict cookie.
    assert found.status == 200
    assert f'content="0;url={served.base}"'.encode() in found.body
    assert found.headers["set-cookie"].startswith(served.cookie)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Registry-Look": "1"},
        {"Content-Type": "application/json"},
        {"X-Registry-Look": "1", "Content-Type": "text/plain"},
        {"X-Registry-Look": "1", "Content-Type": "application/x-www-form-urlencoded"},
    ],
    ids=str,
)
def test_what_writes_needs_the_header_and_json(
    served: Served, method: str, headers: dict[str, str]
) -> None:
    for path in ("api/decisions", "api/params", "api/fetch"):
        found = served.send(f"{served.base}{path}", method, {"Cookie": served.cookie, **headers})
        assert found.status == 403
        assert "X-Registry-Look" in found.json["error"]


def test_no_other_method_than_those_of_the_page_is_there(served: Served) -> None:
    given = {"Cookie": served.cookie, **WRITING}
    for method, path in (("PUT", "api/params"), ("POST", "api/registry"), ("DELETE", "")):
        assert served.send(f"{served.base}{path}", method, given).status == 405
    assert served.get("api/params").status == 405


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"1", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_object_is_named(served: Served, body: bytes) -> None:
    given = {"Cookie": served.cookie, **WRITING}
    found = served.send(f"{served.base}api/fetch", "POST", given, body)
    assert found.status == 400
    assert "body" in found.json["error"]


def test_a_body_without_end_is_refused(served: Served) -> None:
    given = {"Cookie": served.cookie, **WRITING}
    found = served.send(f"{served.base}api/fetch", "POST", given, b" " * (17 << 20))
    assert found.status == 400
    assert "16,777,216 bytes" in found.json["error"]


@pytest.mark.parametrize(
    "target",
    ["{base}", "{base}api/registry", "{base}page/index.html", "{base}nothing", "/?token=x", "/"],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_every_answer_keeps_the_browser_in(served: Served, target: str, method: str) -> None:
    found = served.send(target.format(base=served.base), method, {"Cookie": served.cookie})
    policy = found.headers["content-security-policy"]
    assert policy == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    assert found.headers["x-content-type-options"] == "nosniff"
    assert found.headers["referrer-policy"] == "no-referrer"
    is_file = target in ("{base}", "{base}page/index.html")
    assert found.headers["cache-control"] == ("no-cache" if is_file else "no-store")
    assert not [name for name in found.headers if name.startswith("access-control")]
    assert "server" not in found.headers
    assert method == "GET" or found.body == b""


@pytest.mark.parametrize(
    "path",
    [
        *("page/../guard.py", "page/%2e%2e/guard.py", "page/..%2fguard.py", "page//etc/passwd"),
        *("page/%2fetc/passwd", "../../../pyproject.toml", "thumbnails/../../../pyproject.toml"),
        "page/.",
    ],
)
def test_no_path_leads_out_of_the_page(served: Served, path: str) -> None:
    found = served.get(path)
    assert found.status in (403, 404)
    assert b"import" not in found.body


def test_two_hosts_in_one_request_are_none(served: Served) -> None:
    host, _, port = served.host.partition(":")
    with socket.create_connection((host, int(port)), 10) as connection:
        connection.sendall(
            f"GET {served.base}api/state HTTP/1.1\r\nHost: {served.host}\r\nHost: evil.example\r\n"
            f"Cookie: {served.cookie}\r\nConnection: close\r\n\r\n".encode()
        )
        assert connection.recv(100).split(b" ")[1] in (b"400", b"403")


def test_an_error_is_json_with_the_next_step(served: Served) -> None:
    found = served.get("nothing")
    assert found.status == 404
    assert found.json == {"error": "Not Found: reload the page"}
    assert found.headers["content-type"] == "application/json"


def ask(app: Any, path: str, **headers: str) -> tuple[int, bytes]:
    """What an application answers, wherever it is mounted."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    target, _, query = path.partition("?")
    scope = {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "path": target,
        "raw_path": target.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }
    asyncio.run(app(scope, receive, send))
    fields = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], fields.get("location", "").encode() or sent[1]["body"]


def test_it_also_stands_before_an_application_inside_another_one() -> None:
    inner = Guard(PlainTextResponse("in"), token="secret", hosts=Hosts(["here.example"]))
    app = Starlette(routes=[Mount("/outer/{name}", inner)])
    assert ask(app, "/outer/x/", Host="here.example")[0] == 403
    assert ask(app, "/outer/x/?token=secret", Host="here.example") == (303, b"/outer/x/")
    assert ask(app, "/outer/x/deeper?token=secret", Host="here.example")[0] == 403
    assert ask(app, "/outer/x/?token=secret", Host="there.example")[0] == 403
    digest = "2bb80d537b1d"
    cookie = f"registry_look_{digest}=secret"
    assert ask(app, "/outer/x/deeper", Host="here.example", Cookie=cookie) == (200, b"in")


@pytest.mark.parametrize(
    ("host", "given", "is_own"),
    [
        ("127.0.0.1", "127.0.0.1:80", True),
        ("192.0.2.1", "192.0.2.1:81", False),
        ("127.0.0.1", "user@127.0.0.1", False),
        ("127.0.0.1", "localhost", True),
        ("::1", "[::1]", True),
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("0.0.0.0", "192.0.2.2", True),
        ("0.0.0.0", "evil.example", False),
        ("0.0.0.0", "evil.example:192.0.2.1", False),
        ("::", "[2001:db8::1]:80", True),
        ("::", socket.gethostname(), True),
    ],
)
def test_the_names_of_a_listener(host: str, given: str, is_own: bool) -> None:
    assert (given in Hosts.of_listener(host, 80)) is is_own


def test_two_registries_do_not_take_each_others_cookies(served: Served, tmp_path: Path) -> None:
    with serving(copy_empty_repository(tmp_path / "other")) as other:
        other.open()
        both = {"Cookie": f"{served.cookie}; {other.cookie}"}
        assert served.send(f"{served.base}api/state", headers=both).status == 200
        assert other.send(f"{other.base}api/state", headers=both).status == 200
        assert served.token != other.token
    assert json.loads(served.get("api/state").body)
