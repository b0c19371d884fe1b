"""Pull requests over the interfaces of forges, against a server that answers as they document."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from registry_assets.revisions.publishing.forge_api import ForgeApi
from registry_assets.revisions.publishing.forges import Forge
from registry_assets.revisions.publishing.pull_requests import PullRequest, open_pull_request

TOKEN = "s3cret"
OPEN = ["data/harbour", "main"]


@dataclass
class Server:
    """A forge of each kind at once.

    Attributes:
        answers: Status and content by method and path; taken in turn.
        asked: Method, path with query, the header of the token and the content of each request.
    """

    port: int = 0
    answers: dict[tuple[str, str], list[tuple[int, Any]]] = field(default_factory=dict)
    asked: list[tuple[str, str, str | None, Any]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            token = self.headers["Authorization"] or self.headers["PRIVATE-TOKEN"]
            size = int(self.headers["Content-Length"] or 0)
            content = json.loads(self.rfile.read(size)) if size else None
            found.asked.append((self.command, self.path, token, content))
            waiting = found.answers.get((self.command, urlsplit(self.path).path), [])
            status, answer = waiting.pop(0) if waiting else (404, {"message": "Not Found"})
            self.send_response(status)
            if status == 302:
                self.send_header("Location", answer)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        do_GET = do_POST = _answer  # noqa: N815 the names that http.server looks for

        def log_message(self, *_said: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.port = http.server_port
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    yield found
    http.shutdown()
    http.server_close()
    thread.join()


GITHUB = ("GITHUB_TOKEN", "/api/v3/repos/team/photos/pulls", "html_url")
GITLAB = ("GITLAB_TOKEN", "/api/v4/projects/team%2Fphotos/merge_requests", "web_url")
GITEA = ("GITEA_SERVER_TOKEN", "/api/v1/repos/team/photos/pulls", "html_url")
EACH_KIND = pytest.mark.parametrize(
    ("variable", "path", "page"), [GITHUB, GITLAB, GITEA], ids=["github", "gitlab", "gitea"]
)


def open_with(
    server: Server, variable: str, patch: pytest.MonkeyPatch, tmp_path: Any
) -> PullRequest:
    patch.setenv("PATH", str(tmp_path))  # neither gh nor glab
    patch.setenv("GITHUB_SERVER_URL", server.address)
    patch.setenv("GITHUB_API_URL", f"{server.address}/api/v3")
    patch.setenv("GITLAB_HOST", server.address)
    patch.setenv("GITEA_SERVER_URL", server.address)
    patch.setenv(variable, f"{TOKEN}\n")
    addresses = [f"{server.address}/team/photos.git"]
    return open_pull_request(
        tmp_path, addresses, *OPEN, title="One more", description="| raw | 1 |"
    )


@EACH_KIND
def test_a_token_opens_a_pull_request(
    server: Server,
    variable: str,
    path: str,
    page: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Any,
) -> None:
    server.answers["POST", path] = [(201, {page: "https://forge/7"})]
    done = open_with(server, variable, monkeypatch, tmp_path)
    assert done == PullRequest("opened", "https://forge/7")
    ((_, _, token, content),) = server.asked
    assert token is not None
    assert token.split()[-1] == TOKEN
    assert set(content.values()) == {*OPEN, "One more", "| raw | 1 |"}


@EACH_KIND
def test_one_that_is_there_is_named(
    server: Server,
    variable: str,
    path: str,
    page: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Any,
) -> None:
    said = "A pull request already exists for team:data/harbour."
    refusals = {
        "GITHUB_TOKEN": (422, {"message": "Validation Failed", "errors": [{"message": said}]}),
        "GITLAB_TOKEN": (409, {"message": [f"Another open merge request already exists: {said}"]}),
        "GITEA_SERVER_TOKEN": (409, {"message": f"pull request already exists for these: {said}"}),
    }
    server.answers["POST", path] = [refusals[variable]]
    listed = [
        {page: f"https://forge/{number}", **branch}
        for number, name in ((3, "other"), (4, "data/harbour"))
        for branch in [
            {"source_branch": name} if variable == "GITLAB_TOKEN" else {"head": {"ref": name}}
        ]
    ]
    server.answers["GET", path] = [(200, listed)]
    done = open_with(server, variable, monkeypatch, tmp_path)
    assert done == PullRequest("there", "https://forge/4")
    query = parse_qs(urlsplit(server.asked[1][1]).query)
    assert "data/harbour" in (query.get("source_branch") or query["head"])[0]


@EACH_KIND
def test_a_refusal_is_told_without_the_token_and_nothing_is_followed(
    server: Server,
    variable: str,
    path: str,
    page: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Any,
) -> None:
    server.answers["POST", path] = [
        (401, {"message": f"Bad credentials {TOKEN}"}),
        (302, f"{server.address}/elsewhere"),
    ]
    for said in ("401 Bad credentials …", "302"):
        done = open_with(server, variable, monkeypatch, tmp_path)
        assert done.state == "none"  # of a server that is not known by its name
        assert done.reason is not None
        assert done.reason.startswith(f"127.0.0.1, with {variable}: {said}")
        assert TOKEN not in repr(done)
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("address", "environment", "base"),
    [
        ("git@github.com:a/b.git", {"GH_TOKEN": TOKEN}, "https://api.github.com"),
        ("git@github.com:a/b.git", {"GH_ENTERPRISE_TOKEN": TOKEN, "GH_HOST": "github.x"}, None),
        (
            "git@github.x:a/b.git",
            {"GH_ENTERPRISE_TOKEN": TOKEN, "GH_HOST": "github.x"},
            "https://github.x/api/v3",
        ),
        ("git@github.x:a/b.git", {"GH_TOKEN": TOKEN}, None),
        ("git@gitlab.com:a/b.git", {"GITLAB_TOKEN": TOKEN}, "https://gitlab.com/api/v4"),
        ("git@gitlab.x:a/b.git", {"GITLAB_TOKEN": TOKEN}, None),
        (
            "git@code.x:a/b.git",
            {"GITLAB_TOKEN": TOKEN, "GITLAB_HOST": "code.x"},
            "https://code.x/api/v4",
        ),
        ("git@codeberg.org:a/b.git", {"GITEA_SERVER_TOKEN": TOKEN}, "https://codeberg.org/api/v1"),
        ("git@gitea.x:a/b.git", {"GITEA_SERVER_TOKEN": TOKEN}, None),
        ("git@bitbucket.org:a/b.git", {"GH_TOKEN": TOKEN, "GITLAB_TOKEN": TOKEN}, None),
    ],
)
def test_a_token_goes_to_its_own_host_only(
    address: str, environment: dict[str, str], base: str | None
) -> None:
    forge = Forge.find([address])
    assert forge is not None
    found = ForgeApi.find(forge, environment)
    assert (found and found.base) == base
    assert TOKEN not in repr(found)
