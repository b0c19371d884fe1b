"""Publishing: the registry's metafiles on a branch of their own, their data on the remote first.

The branch is made beside the checked-out one (`registry_assets.git_repo.committing`), so that
nobody's work tree moves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from registry_assets.dvc_repo import DvcRepo, PushResult
from registry_assets.errors import RefusedError
from registry_assets.git_repo import GitRepo, TreeBuilder
from registry_assets.revisions.publishing.publication import Publication, Published
from registry_assets.revisions.publishing.pull_requests import open_pull_request

Report = Callable[[str], None]

_MOST_NAMED = 5


def publish(publication: Publication, root: Path, report: Report) -> Published:
    """Pushes data, looks whether it is there, then makes and pushes the branch.

    Args:
        publication: What to publish.
        root: Of the registry.
        report: Takes progress.

    Raises:
        RefusedError: when data is missing; nothing has been pushed to Git then.
        RegistryError: when a remote refuses.
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
    """Checks a published branch out without touching a file, nor what is staged besides.

    Args:
        root: Of the registry.
        branch: The branch.
        tree: What it holds: the checked-out commit, and metafiles as they stand in the work tree.

    Raises:
        RefusedError: when it holds something else by now.
    """
    git = GitRepo(root)
    builder = TreeBuilder(git)
    head, commit = git.commit(), git.resolve_ref(f"refs/heads/{branch}")
    if head is None or commit is None or builder.compare(commit, tree):
        raise RefusedError(
            f"the branch {branch} is not what was published from here: `git switch {branch}`"
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
            f"{len(needed)} objects of {', '.join(outputs[:_MOST_NAMED])} are neither in the cache "
            f"nor on the remote, such as {first}: publish from a machine that has them, or "
            "materialize them again; nothing was pushed to Git"
        )
    if data.missing:
        outputs = list(dict.fromkeys(item.output for item in data.missing))
        report(
            f"{len(data.missing)} objects of what is not new are neither in the cache nor on the "
            f"remote: {', '.join(outputs[:_MOST_NAMED])}"
        )
    where = f"on {' and '.join(f'`{name}`' for name in data.remotes)}" if data.remotes else ""
    report(f"{data.objects - len(data.missing)} objects are {where}")
    return data


def _make_branch(publication: Publication, root: Path) -> str:
    """Makes the commit, and the branch at it, unless that is there; returns the commit."""
    if publication.existing is not None:
        commit = publication.existing
    else:
        builder = TreeBuilder(GitRepo(root))
        commit = builder.commit(publication.tree, publication.parent, publication.message)
    name = f"refs/heads/{publication.branch}"
    git = GitRepo(root)
    if git.resolve_ref(name) is None and not TreeBuilder(git).set_branch(name, commit, None):
        raise RefusedError(f"somebody else is making the branch {publication.branch}: run it again")
    return commit
