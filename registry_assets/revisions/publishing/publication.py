"""What is published, as values, and what a person or a program is told of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from registry_assets.dvc_repo import PushResult
from registry_assets.git_repo import BlobChange, GitRemote
from registry_assets.revisions.changes.committing import MetafileChanges
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


def as_json(found: Publication | Published | Nothing) -> dict[str, Any]:
    """The form of `registry publish --json`."""
    if isinstance(found, Nothing):
        return {"state": "nothing", "reason": found.reason}
    plan = found.publication if isinstance(found, Published) else found
    said: dict[str, Any] = {
        "state": "planned",
        "branch": plan.branch,
        "target": plan.target,
        "remote": plan.remote.name,
        "commit": plan.existing,
        "title": plan.title,
        "description": plan.description,
        "files": [file.path for file in plan.files],
        "made_with": list(plan.summary.made_with),
        "summary": {
            "raw": asdict(plan.summary.raw) if plan.summary.raw else None,
            "datasets": {
                name: [asdict(family) for family in families]
                for name, families in plan.summary.datasets.items()
            },
        },
        "warnings": list(plan.warnings),
    }
    if isinstance(found, Published):
        request = found.pull_request
        said |= {"state": "published", "commit": found.commit, "pull_request": asdict(request)}
        said["data"] = {
            "remotes": list(found.data.remotes),
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
