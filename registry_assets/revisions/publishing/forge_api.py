"""Pull requests over the REST interfaces of forges, with a token from the environment.

A token is sent to the one host that it is for, and over HTTPS unless its variable says otherwise:

========  ===================================================================================
GitHub    ``GH_TOKEN`` or ``GITHUB_TOKEN`` for github.com; ``GH_ENTERPRISE_TOKEN`` or
          ``GITHUB_ENTERPRISE_TOKEN`` for the host in ``GH_HOST``; a workflow of GitHub Actions
          names the address of the interface itself, in ``GITHUB_API_URL`` and
          ``GITHUB_SERVER_URL``
GitLab    ``GITLAB_TOKEN`` for ``GITLAB_HOST``, gitlab.com by default
Gitea,    ``GITEA_SERVER_TOKEN`` for ``GITEA_SERVER_URL``, codeberg.org by default
Forgejo
========  ===================================================================================

These are the names that `gh`, `glab` and `tea` read, too. The interfaces: GitHub's "Create a pull
request" (REST API 2022-11-28), GitLab's "Create MR" (API v4), Gitea's
"repoCreatePullRequest" (API v1).
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote, urlencode, urlsplit

from registry_assets.addresses import without_secrets
from registry_assets.revisions.publishing.forges import Forge, Kind

_MOST_SECONDS = 30.0
_MOST_REASON = 300


@dataclass(frozen=True)
class Answer:
    """What a forge said.

    Attributes:
        state: ``opened`` just now; ``there`` already; ``address``: not opened.
        url: Of the pull request.
        reason: Why it was not opened.
    """

    state: Literal["opened", "there", "address"]
    url: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class ForgeApi:
    """The interface of a forge, and the token for it.

    Attributes:
        forge: Which repository.
        kind: Which software, where the name of the host does not tell, too.
        base: Where the interface is, without a slash at the end.
        variable: Where the token came from.
        token: Shown to nobody.
    """

    forge: Forge
    kind: Kind
    base: str
    variable: str
    token: str = field(repr=False)

    @classmethod
    def find(cls, forge: Forge, environment: Mapping[str, str]) -> ForgeApi | None:
        """The interface of a forge that the environment has a token for; None where it has none.

        Args:
            forge: Which repository.
            environment: Names and values.
        """
        for kind, find_base in _FINDERS.items():
            if forge.kind not in (kind, ""):
                continue
            base, names = find_base(forge.host, environment)
            name = next((name for name in names if environment.get(name)), None)
            if base and name:
                return cls(forge, kind, base.rstrip("/"), name, environment[name].strip())
        return None

    def open(self, branch: str, target: str, title: str, body: str) -> Answer:
        """Opens a pull request.

        Args:
            branch: The branch that was pushed.
            target: The branch to merge it into.
            title: In one line.
            body: Markdown.
        """
        if self.kind == "gitlab":
            place, page = f"projects/{quote(self.forge.path, safe='')}/merge_requests", "web_url"
            asked = {"source_branch": branch, "target_branch": target, "description": body}
        else:
            place, page = f"repos/{quote(self.forge.path)}/pulls", "html_url"
            asked = {"head": branch, "base": target, "body": body}
        try:
            return Answer("opened", self._ask(place, {**asked, "title": title}).get(page))
        except urllib.error.HTTPError as error:
            said = _say(error)
            if "already exists" in said:
                return Answer("there", self._find_open(place, page, branch, target))
            return self._refused(f"{error.code} {said}")
        except (OSError, ValueError) as error:
            return self._refused(str(getattr(error, "reason", error)))

    def _find_open(self, place: str, page: str, branch: str, target: str) -> str | None:
        """The address of the pull request that is there; None when it cannot be told."""
        if self.kind == "gitlab":
            query = {"state": "opened", "source_branch": branch, "target_branch": target}
        else:
            owner = self.forge.path.partition("/")[0]
            query = {"state": "open", "head": f"{owner}:{branch}", "base": target}
        try:
            found = self._ask(f"{place}?{urlencode(query)}")
        except (OSError, ValueError):
            return None
        # Gitea has no filter for the branch.
        names = {item.get("source_branch") or item["head"]["ref"]: item[page] for item in found}
        return names.get(branch)

    def _ask(self, place: str, data: Mapping[str, str] | None = None) -> Any:
        """Sends data, or reads where there is none; returns the answer, parsed."""
        name, scheme = _HEADERS[self.kind]
        request = urllib.request.Request(
            f"{self.base}/{place}",
            data=None if data is None else json.dumps(data).encode(),
            headers={
                name: f"{scheme}{self.token}",
                "Accept": "application/json",
                "Content-Type": "application/json",
                "User-Agent": "registry-assets",
            },
        )
        # A redirection would take the token elsewhere.
        with _opener().open(request, timeout=_MOST_SECONDS) as answer:
            return json.load(answer)

    def _refused(self, reason: str) -> Answer:
        shown = " ".join(without_secrets(reason.replace(self.token, "…")).split())
        host = urlsplit(self.base).hostname
        return Answer("address", None, f"{host}, with {self.variable}: {shown[:_MOST_REASON]}")


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
        return None


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_NoRedirection)


_HEADERS: Mapping[Kind, tuple[str, str]] = {
    "github": ("Authorization", "Bearer "),
    "gitlab": ("PRIVATE-TOKEN", ""),
    "gitea": ("Authorization", "token "),
}
_Base = tuple[str | None, tuple[str, ...]]
"""Where the interface of a host is, and which variables may hold a token for that host."""


def _find_github(host: str, environment: Mapping[str, str]) -> _Base:
    base = None
    if host == urlsplit(environment.get("GITHUB_SERVER_URL", "")).hostname:
        base = environment.get("GITHUB_API_URL")
    if host == "github.com":
        return base or "https://api.github.com", ("GH_TOKEN", "GITHUB_TOKEN")
    if base is not None:
        return base, ("GITHUB_TOKEN",)
    is_named = host == environment.get("GH_HOST")
    base = f"https://{host}/api/v3" if is_named else None
    return base, ("GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN")


def _find_gitlab(host: str, environment: Mapping[str, str]) -> _Base:
    server = _server(environment.get("GITLAB_HOST") or "gitlab.com")
    base = f"{server}/api/v4" if host == urlsplit(server).hostname else None
    return base, ("GITLAB_TOKEN",)


def _find_gitea(host: str, environment: Mapping[str, str]) -> _Base:
    server = _server(environment.get("GITEA_SERVER_URL") or "codeberg.org")
    base = f"{server}/api/v1" if host == urlsplit(server).hostname else None
    return base, ("GITEA_SERVER_TOKEN",)


_FINDERS: Mapping[Kind, Callable[[str, Mapping[str, str]], _Base]] = {
    "github": _find_github,
    "gitlab": _find_gitlab,
    "gitea": _find_gitea,
}


def _server(named: str) -> str:
    """The address of a server that may be named by its host only."""
    return (named if "://" in named else f"https://{named}").rstrip("/")


def _say(error: urllib.error.HTTPError) -> str:
    """What a forge says of an error: GitHub's sits in a list beside its message."""
    text = error.read(10_000).decode(errors="replace")
    try:
        data = json.loads(text)
    except ValueError:
        return text
    if not isinstance(data, dict):
        return text
    said = data.get("message") or data.get("error") or text
    details = [item.get("message") for item in data.get("errors") or () if isinstance(item, dict)]
    parts = said if isinstance(said, list) else [said]
    return "; ".join(str(part) for part in (*parts, *details) if part)
