"""Carrying out a publication: pushes data first, then a branch with the metafiles.

The branch is created without checking it out (`registry_assets.git_repo.committing`), so the work
tree does not change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from registry_assets.dvc_repo import DvcRepo, PushResult, RemoteObject, count_objects, why_unshared
from registry_assets.errors import RefusedError
from registry_assets.git_repo import GitRepo, TreeBuilder
from registry_assets.revisions.publishing.publication import Nothing, Publication, Published
from registry_assets.revisions.publishing.pull_requests import open_pull_request
from registry_assets.units import few_of

Report = Callable[[str], None]

_MOST_NAMED = 5


def publish(publication: Publication, root: Path, report: Report) -> Published:
    """Push data, check that the remote has it, then create and push the branch.

    Args:
        publication: The plan.
        root: Root of the registry.
        report: Called with progress messages.

    Raises:
        RefusedError: when data is missing; nothing has been pushed to Git then.
        RegistryError: when a remote fails.
    """
    data = _push_data(publication, root, report)
    commit = _make_branch(publication, root)
    remote, branch = publication.remote, publication.branch
    said: Sequence[str] = ()
    if publication.is_pushed:
        report(f"{remote.name} has the branch {branch} already")
    else:
        said = remote.push(branch, commit)
        report(f"pushed the branch {branch} to {remote.name}")
    request = open_pull_request(
        root,
        remote.addresses,
        branch,
        publication.target,
        title=publication.title,
        description=publication.description,
        said=said,
    )
    return Published(publication, commit, data, request)


def publish_data(nothing: Nothing, root: Path, report: Report) -> Nothing:
    """Push the data of metafiles that need no branch, as the Git remote has them already.

    Somebody may have pushed them with Git alone, and the DVC remote lack what they name.

    Args:
        nothing: The plan.
        root: Root of the registry.
        report: Called with progress messages.

    Returns:
        The same with what was pushed; `PushResult.missing` is neither here nor there.

    Raises:
        RegistryError: when a remote fails.
    """
    data = DvcRepo(root).push(report=report)
    _say_unshared(root, report)
    _say_missing(data.missing, "the recorded versions", report)
    reason = nothing.reason
    if data.pushed:
        _say_there(data, report)
        reason = f"pushed {data.pushed} objects; {reason.replace('nothing', 'nothing else', 1)}"
    return replace(nothing, reason=reason, data=data)


def switch(root: Path, branch: str, tree: str) -> None:
    """Check out a published branch; changes no file, and keeps other staged changes.

    Args:
        root: Root of the registry.
        branch: The branch.
        tree: Its content: the checked-out commit with the metafiles of the work tree.

    Raises:
        RefusedError: when the branch has other content by now.
    """
    git = GitRepo(root)
    builder = TreeBuilder(git)
    head, commit = git.commit(), git.resolve_ref(f"refs/heads/{branch}")
    if head is None or commit is None or builder.compare(commit, tree):
        raise RefusedError(
            f"the branch {branch} differs from what was published here: run `git switch {branch}`"
        )
    builder.stage(builder.compare(head, tree))
    git.call("symbolic-ref", "-m", "registry publish --switch", "HEAD", f"refs/heads/{branch}")


def _push_data(publication: Publication, root: Path, report: Report) -> PushResult:
    versions = {
        change.path: change.after.md5
        for change in publication.changes.outputs
        if change.after is not None
    }
    data = DvcRepo(root).push(extra=versions, report=report)
    needed = [item for item in data.missing if versions.get(item.output) == item.md5]
    if needed:
        outputs = list(dict.fromkeys(item.output for item in needed))
        first = f"{needed[0].output}/{needed[0].name}".rstrip("/")
        raise RefusedError(
            f"{count_objects(needed)} objects of {few_of(outputs, _MOST_NAMED)} are neither in the "
            f"cache nor on the remote, such as {first}: publish from a machine that has them, or "
            "materialize them again; nothing was pushed to Git"
        )
    _say_missing(data.missing, "unchanged outputs", report)
    _say_there(data, report)
    _say_unshared(root, report)
    return data


def _say_unshared(root: Path, report: Report) -> None:
    """Say it after pushing: what keeps this machine from a remote is an error of that already."""
    reason = why_unshared(root)
    if reason is not None:
        report(reason)


def _say_missing(missing: Sequence[RemoteObject], whose: str, report: Report) -> None:
    if missing:
        outputs = list(dict.fromkeys(item.output for item in missing))
        report(
            f"{count_objects(missing)} objects of {whose} are neither in the cache nor on the "
            f"remote: {few_of(outputs, _MOST_NAMED)}"
        )


def _say_there(data: PushResult, report: Report) -> None:
    where = f"on {' and '.join(f'`{name}`' for name in data.remotes)}" if data.remotes else ""
    report(f"{data.objects - count_objects(data.missing)} objects are {where}")


def _make_branch(publication: Publication, root: Path) -> str:
    """Create the commit and the branch unless they exist; returns the commit."""
    if publication.existing is not None:
        commit = publication.existing
    else:
        builder = TreeBuilder(GitRepo(root))
        commit = builder.commit(publication.tree, publication.parent, publication.message)
    name = f"refs/heads/{publication.branch}"
    git = GitRepo(root)
    if git.resolve_ref(name) is None and not TreeBuilder(git).set_branch(name, commit, None):
        raise RefusedError(
            f"the branch {publication.branch} was created by somebody else just now: run it again"
        )
    return commit
