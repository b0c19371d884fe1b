"""What is published, as values, and what a person or a program is told of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

from registry_assets.dvc_repo import PushResult
from registry_assets.git_repo import BlobChange, GitRemote
from registry_assets.revisions.changes.committing import MetafileChanges
from registry_assets.revisions.changes.image_changes import FamilyChange
from registry_assets.revisions.publishing.pull_requests import PullRequest
from registry_assets.revisions.publishing.report import Summary


@dataclass(frozen=True)
class Nothing:
    """There is nothing to publish.

    Attributes:
        reason: Why.
        branch: The branch that it was published on; None where there is none here.
        tree: What the work tree has of metafiles, and the checked-out commit of everything else.
    """

    reason: str
    branch: str | None = None
    tree: str | None = None


@dataclass(frozen=True)
class Publication:
    """What is to be published, before anything of it is.

    Attributes:
        branch: The branch it goes to.
        target: The branch that it is to be merged into.
        remote: Where both are.
        base: The commit that the changes are counted from: where the target and HEAD part.
        parent: The checked-out commit.
        tree: What the branch is to hold.
        is_committed: Whether the checked-out commit holds it all.
        existing: The commit of a branch of that name that holds the same already.
        is_pushed: Whether the remote has it.
        changes: How the metafiles of base and tree differ.
        files: All that differs: those, and what results were made with.
        summary: The same in numbers.
        title: In a line.
        description: In Markdown.
        message: Of the commit.
        warnings: What a person should know before.
    """

    branch: str
    target: str
    remote: GitRemote
    base: str
    parent: str
    tree: str
    is_committed: bool
    existing: str | None
    is_pushed: bool
    changes: MetafileChanges
    files: tuple[BlobChange, ...]
    summary: Summary
    title: str
    description: str
    message: str
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Published:
    """What was published.

    Attributes:
        commit: What the branch is at.
        data: What is on the DVC remote.
        pull_request: What became of it.
    """

    publication: Publication
    commit: str
    data: PushResult
    pull_request: PullRequest


class NothingJson(TypedDict):
    """There is nothing to publish.

    Attributes:
        state: That.
        reason: Why.
    """

    state: Literal["nothing"]
    reason: str


class SummaryJson(TypedDict):
    """What a publication changes, in numbers.

    Attributes:
        raw: The collections as they were shot; null where none changed.
        datasets: By data set, its inputs and what nothing else is made of: its classes.
    """

    raw: FamilyChange | None
    datasets: dict[str, Sequence[FamilyChange]]


class PushedDataJson(TypedDict):
    """What is on the DVC remotes.

    Attributes:
        remotes: The remotes, by name.
        objects: How many objects were looked for.
        pushed: How many of them were sent just now.
    """

    remotes: tuple[str, ...]
    objects: int
    pushed: int


class _PublicationJson(TypedDict):
    state: Literal["planned", "published"]
    branch: str
    target: str
    remote: str
    commit: str | None
    title: str
    description: str
    files: list[str]
    made_with: tuple[str, ...]
    summary: SummaryJson
    warnings: tuple[str, ...]


class PublicationJson(_PublicationJson, total=False):
    """What was published, or is to be.

    Attributes:
        state: ``planned`` with `--dry-run`.
        branch: The branch it goes to.
        target: The branch that it is to be merged into.
        remote: Where both are.
        commit: What the branch is at; before, null unless a branch holds the same already.
        title: What happens, in a line.
        description: The description of the pull request, in Markdown.
        files: All files that differ from the target.
        made_with: Those of them that results were made with and that are no metafiles.
        summary: What changes, in numbers.
        warnings: What a person should know before.
        pull_request: What became of it. Once published.
        data: What is on the DVC remotes. Once published.
    """

    pull_request: PullRequest
    data: PushedDataJson


def publication_as_json(
    found: Publication | Published | Nothing,
) -> PublicationJson | NothingJson:
    """The form of `registry publish --json`."""
    if isinstance(found, Nothing):
        return {"state": "nothing", "reason": found.reason}
    plan = found.publication if isinstance(found, Published) else found
    said: PublicationJson = {
        "state": "planned",
        "branch": plan.branch,
        "target": plan.target,
        "remote": plan.remote.name,
        "commit": plan.existing,
        "title": plan.title,
        "description": plan.description,
        "files": [file.path for file in plan.files],
        "made_with": plan.summary.made_with,
        "summary": {"raw": plan.summary.raw, "datasets": dict(plan.summary.datasets)},
        "warnings": plan.warnings,
    }
    if isinstance(found, Published):
        said["state"] = "published"
        said["commit"] = found.commit
        said["pull_request"] = found.pull_request
        said["data"] = {
            "remotes": found.data.remotes,
            "objects": found.data.objects,
            "pushed": found.data.pushed,
        }
    return said


def describe_pull_request(request: PullRequest) -> str | None:
    """What a person is told of it; None where there is nothing to tell."""
    why = f" ({request.reason})" if request.reason else ""
    said = {
        "opened": f"opened the pull request {request.url or ''}",
        "there": f"there is a pull request already {request.url or ''}",
        "address": f"open the pull request at {request.url}{why}",
        "none": f"no pull request was opened{why}" if why else "",
    }
    return said[request.state].strip() or None
