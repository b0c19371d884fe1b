"""A publication as values, as text and as JSON."""

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
        reason: Why there is nothing to publish.
        branch: The local branch that has it already, if any.
        tree: The checked-out commit with the metafiles of the work tree.
        data: The result of pushing data that the DVC remotes lacked nevertheless; None if that was
            not tried.
    """

    reason: str
    branch: str | None = None
    tree: str | None = None
    data: PushResult | None = None


@dataclass(frozen=True)
class Publication:
    """A planned publication.

    Attributes:
        branch: The branch to push.
        target: The branch to merge into.
        remote: The Git remote of both.
        base: The merge base of the target and HEAD, with which `tree` is compared.
        parent: The checked-out commit.
        tree: The content of the branch.
        is_committed: Whether the checked-out commit has this content already.
        existing: The commit of an existing branch of that name with this content.
        is_pushed: Whether the remote has `existing`.
        changes: The metafiles that differ between `base` and `tree`.
        files: All files that differ: metafiles, and files that results were made with.
        summary: A summary of the changes.
        title: The title of the pull request.
        description: The description of the pull request, in Markdown.
        message: The commit message.
        warnings: Messages to show before publishing.
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
    """A completed publication.

    Attributes:
        publication: The plan.
        commit: The commit of the branch.
        data: The result of pushing data.
        pull_request: The pull request.
    """

    publication: Publication
    commit: str
    data: PushResult
    pull_request: PullRequest


class SummaryJson(TypedDict):
    """A summary of the changes of a publication.

    Attributes:
        raw: Changes of the raw collections; null if there are none.
        datasets: Changes by data set: its inputs, and its outputs without dependents (classes).
    """

    raw: FamilyChange | None
    datasets: dict[str, Sequence[FamilyChange]]


class PushedDataJson(TypedDict):
    """The result of pushing data to the DVC remotes.

    Attributes:
        remotes: The names of the remotes.
        objects: Number of objects in all.
        pushed: Number of objects that were not there before.
    """

    remotes: tuple[str, ...]
    objects: int
    pushed: int


class _NothingJson(TypedDict):
    state: Literal["nothing"]
    reason: str


class NothingJson(_NothingJson, total=False):
    """There is nothing to publish on a branch.

    Attributes:
        state: Always ``nothing``.
        reason: Why there is nothing to publish, and what data was pushed nevertheless.
        data: The result of pushing the data that the DVC remotes lacked. Without `--dry-run`.
    """

    data: PushedDataJson


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
    """A planned or completed publication.

    Attributes:
        state: ``planned`` with `--dry-run`.
        branch: The branch to push.
        target: The branch to merge into.
        remote: The Git remote of both.
        commit: The commit of the branch; null if it is planned and does not exist yet.
        title: The title of the pull request.
        description: The description of the pull request, in Markdown.
        files: All files that differ from the target.
        made_with: Those of them that are not metafiles, but that results were made with.
        summary: A summary of the changes.
        warnings: Messages to show before publishing.
        pull_request: The pull request. Once published.
        data: The result of pushing data. Once published.
    """

    pull_request: PullRequest
    data: PushedDataJson


def publication_as_json(
    found: Publication | Published | Nothing,
) -> PublicationJson | NothingJson:
    """The JSON of `registry publish --json`."""
    if isinstance(found, Nothing):
        nothing: NothingJson = {"state": "nothing", "reason": found.reason}
        if found.data is not None:
            nothing["data"] = _data_as_json(found.data)
        return nothing
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
        said["data"] = _data_as_json(found.data)
    return said


def _data_as_json(data: PushResult) -> PushedDataJson:
    return {"remotes": data.remotes, "objects": data.objects, "pushed": data.pushed}


def describe_pull_request(request: PullRequest) -> str | None:
    """A message about the pull request; None if there is nothing to say."""
    why = f" ({request.reason})" if request.reason else ""
    said = {
        "opened": f"opened the pull request {request.url or ''}",
        "there": f"the pull request exists already {request.url or ''}",
        "address": f"open the pull request at {request.url}{why}",
        "none": f"no pull request was opened{why}" if why else "",
    }
    return said[request.state].strip() or None
