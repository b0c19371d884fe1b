"""Carrying out a publication: pushes data first, then a branch with the metafiles.

The branch is created without checking it out (`registry_assets.git_repo.committing`), so the work
tree does not change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from registry_assets.dvc_repo import DvcRepo, PushResult
from registry_assets.errors import RefusedError
from registry_assets.git_repo import GitRepo, TreeBuilder
from registry_assets.revisions.publishing.publication import Publication, Published
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
            f"{len(needed)} objects of {few_of(outputs, _MOST_NAMED)} are neither in the cache "
            f"nor on the remote, such as {first}: publish from a machine that has them, or "
            "materialize them again; nothing was pushed to Git"
        )
    if data.missing:
        outputs = list(dict.fromkeys(item.output for item in data.missing))
        report(
            f"{len(data.missing)} objects of unchanged outputs are neither in the cache nor on the "
            f"remote: {few_of(outputs, _MOST_NAMED)}"
        )
    where = f"on {' and '.join(f'`{name}`' for name in data.remotes)}" if data.remotes else ""
    report(f"{data.objects - len(data.missing)} objects are {where}")
    return data


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
