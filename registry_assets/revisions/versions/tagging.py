"""Making a version of a data set: a tag at a commit from which others can import all of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import PurePosixPath

from registry_assets.dvc_repo import DvcRepo
from registry_assets.dvc_repo.initialising import read_shared_remote, share_settings
from registry_assets.errors import NotFoundError, RefusedError, RegistryError
from registry_assets.git_repo import GitRemote, GitRepo, RemoteRefs, TreeBuilder
from registry_assets.git_repo.tags import is_tag_name, make_tag, remove_tag
from registry_assets.model import Dataset, Registry
from registry_assets.registry.lineage.graph import Lineage
from registry_assets.registry.status.reading import read_recorded_status
from registry_assets.revisions.changes.committing import build_metafile_tree, read_changes
from registry_assets.revisions.changes.revisions import (
    SHORT_COMMIT,
    Revision,
    find_commit,
    read_nothing,
)
from registry_assets.revisions.changes.snapshots import Snapshots
from registry_assets.revisions.versions.dataset_versions import (
    Held,
    add_changes,
    compare_dataset,
    in_order,
    next_name,
    read_tags_of,
    tag_prefix,
)
from registry_assets.revisions.versions.diffing import Comparing, Diff
from registry_assets.units import few_of

Report = Callable[[str], None]

_ALWAYS = ("always changed",)


@dataclass(frozen=True)
class Verified:
    """What was found to be on the remote.

    Attributes:
        remote: The name of the remote.
        url: Where it is.
        objects: How many objects.
    """

    remote: str
    url: str
    objects: int


@dataclass(frozen=True)
class NewVersion:
    """A version that may be made.

    Attributes:
        name: Of the tag.
        commit: What it is to name.
        contents: What it holds.
        since: How it differs from the version before; None where there is none.
        data: Where its data is.
        remote: The Git remote that it may be pushed to; None where there is none.
        is_made: Whether the tag is here already.
        is_pushed: Whether the Git remote has it.
    """

    name: str
    dataset: Dataset
    commit: str
    contents: tuple[Held, ...]
    since: Diff | None
    data: Verified
    remote: GitRemote | None
    is_made: bool
    is_pushed: bool


def plan_version(
    lineage: Lineage, asked: str, *, rev: str | None, push: bool = False, report: Report
) -> NewVersion:
    """Finds out what a version would be, makes sure that others can import it, and makes nothing.

    Args:
        lineage: The graph of the work tree.
        asked: A data set, or DATASET/VERSION; the next number without.
        rev: The commit; what is checked out when None, and then nothing else may be in the work
            tree.
        push: Whether one that is here already will do, as it is to be pushed.
        report: Takes lines of progress.

    Raises:
        NotFoundError: when there is no such data set.
        NotFoundError: when there is no such commit.
        RefusedError: when there is such a version already, or the commit does not have the data set
            complete, or the remote lacks something of it.
        RemoteError: when the remote cannot be asked.
    """
    registry = lineage.registry
    dataset, version = _parse(registry, asked)
    comparing = Comparing(lineage, report)
    builder = comparing.builder
    git = builder.git
    prefix = tag_prefix(registry, dataset)
    tags = read_tags_of(git, prefix)
    remote, state = _ask_remote(git, report)
    following = next_name(prefix, [*(tag.name for tag in tags), *state.tags])
    made = next((tag.commit for tag in tags if tag.name == f"{prefix}/{version}"), None)
    commit = find_commit(git, rev or (push and made) or "HEAD")
    if version is not None:
        name = f"{prefix}/{version}"
        if not is_tag_name(git, name):
            raise RefusedError(f"{name!r} cannot be the name of a tag: choose another version")
        _check_new(name, {made, state.tags.get(name)}, commit if push else None, following)
    if rev is None and made is None:
        _check_committed(registry, builder, dataset, commit)
    is_here = commit == git.commit()
    data = _check_complete(registry, dataset, commit, is_here=is_here)
    revision = Revision(None, commit, commit)
    latest = [Revision(tag.name, tag.commit, tag.commit) for tag in tags[-1:]]
    with comparing.placing(revision, *latest):
        held = compare_dataset(comparing, dataset, read_nothing(builder), revision)
        since = [compare_dataset(comparing, dataset, one, revision) for one in latest]
    is_same = bool(since) and not since[0].changes
    if version is None:
        name = latest[0].name or following if is_same else following
    return NewVersion(
        name=name,
        dataset=dataset,
        commit=commit,
        contents=in_order(add_changes({}, held)),
        since=since[0] if since else None,
        data=data,
        remote=remote,
        is_made=any(tag.name == name for tag in tags),
        is_pushed=name in state.tags,
    )


def _parse(registry: Registry, asked: str) -> tuple[Dataset, str | None]:
    if asked.strip("./") == "":
        raise RefusedError("a pipeline at the root has no name to call its versions after")
    try:
        dataset, version = registry.dataset(asked.rstrip("/")), None
    except NotFoundError:
        name, slash, version = asked.rpartition("/")
        if not slash or not version:
            raise
        dataset = registry.dataset(name)
    return dataset, version


def _check_committed(
    registry: Registry, builder: TreeBuilder, dataset: Dataset, commit: str
) -> None:
    tree = build_metafile_tree(registry, builder, commit)
    files = read_changes(builder, commit, tree, dataset.path).files
    if files:
        raise RefusedError(
            f"{few_of([file.path for file in files])} is not as it was committed: commit it, or "
            f"`registry publish` and merge, then tag; `--rev HEAD` names what is committed"
        )


def _ask_remote(git: GitRepo, report: Report) -> tuple[GitRemote | None, RemoteRefs]:
    """The Git remote and what it has, as far as there is one and it answers."""
    if not git.remotes():
        return None, RemoteRefs(None, {})
    try:
        remote = GitRemote.find(git, git.branch())
        return remote, remote.read_state()
    except RegistryError as error:
        report(f"the Git remote was not asked which versions it has: {error}")
        return None, RemoteRefs(None, {})


def _check_complete(
    registry: Registry, dataset: Dataset, commit: str, *, is_here: bool
) -> Verified:
    """Makes sure that a commit has all of a data set up to date, and the remote its data."""
    with ExitStack() as stack:
        found = Snapshots(stack).read_here(registry.root, commit)
        where = f"commit {commit[:SHORT_COMMIT]}"
        if dataset.path not in {other.path for other in found.registry.datasets}:
            raise RefusedError(f"{where} has no data set {dataset.name}: name another with --rev")
        broken = [p for p in found.registry.problems if p.startswith(f"{dataset.path}/")]
        if broken:
            raise RefusedError(f"{where} cannot be read: {broken[0]}; mend it and commit")
        outputs = [
            status
            for status in read_recorded_status(found)
            if PurePosixPath(status.path).is_relative_to(dataset.path)
        ]
        if not outputs:
            raise RefusedError(
                f"{dataset.name} holds nothing at {where}: `registry import NAME --into "
                f"{dataset.name}` takes a collection in"
            )
        stale = [
            f"{status.path} ({'; '.join(status.why)})"
            for status in outputs
            if status.state in ("stale", "never_run") and status.why != _ALWAYS
        ]
        if stale:
            raise RefusedError(
                f"{dataset.name} is not complete at {where}: {few_of(stale)}: `registry "
                "materialize`, commit, then tag"
            )
        addresses = [found.nodes[status.path].address for status in outputs]
        known = [address for address in addresses if address]
        bring = "" if is_here else f"`registry checkout {commit[:SHORT_COMMIT]}`, "
        return _check_remote(found, registry, known, f"{bring}`registry push`, then tag")


def _check_remote(
    found: Lineage, registry: Registry, addresses: Sequence[str], next_step: str
) -> Verified:
    """Makes sure that whoever has the commit finds the data."""
    root = found.registry.root
    shared = read_shared_remote(root)
    if shared is None or shared.url is None:
        raise RefusedError(
            "the commit names no default remote, so nobody else would find the data: `dvc remote "
            "add -d -f storage URL`, commit .dvc/config, `registry push`, then tag"
        )
    if shared.is_relative:
        raise RefusedError(
            f"the remote {shared.name} is told from where .dvc/config is, which leads nowhere for "
            f"who imports by URL: `dvc remote modify {shared.name} url` with an absolute path, "
            "commit .dvc/config, then tag"
        )
    share_settings(root, registry.root)
    states = DvcRepo(root).read_remote_states(list(dict.fromkeys(addresses)))
    lacking = [item for state in states.values() for item in (*state.missing, *state.damaged)]
    if lacking:
        raise RefusedError(
            f"{len(lacking)} objects are not on the remote {shared.name} as they should be, such "
            f"as {lacking[0]}: {next_step}"
        )
    objects = sum(state.objects for state in states.values())
    return Verified(shared.name, shared.url, objects)


def _check_new(name: str, commits: set[str | None], allowed: str | None, following: str) -> None:
    """Makes sure that a version is not there yet, here or on the Git remote, at another commit."""
    others = commits - {None, allowed}
    if others:
        raise RefusedError(
            f"there is a version {name} already, at commit {str(others.pop())[:SHORT_COMMIT]}, and "
            f"versions stay where they are: `registry tag {name.rpartition('/')[0]}` makes "
            f"{following}"
        )


def make_version(planned: NewVersion, git: GitRepo, message: str, *, push: bool) -> None:
    """Makes the tag, unless it is there, and pushes it.

    Args:
        planned: The version.
        git: The repository.
        message: What the tag says.
        push: Whether to push it to the Git remote.

    Raises:
        RefusedError: when there is nowhere to push it, or somebody else was quicker.
        RegistryError: with what Git says; the same again goes on then.
    """
    if push and planned.remote is None:
        raise RefusedError("there is no Git remote to push it to: `git remote add origin URL`")
    if not planned.is_made:
        TreeBuilder(git).check_identity()
        make_tag(git, planned.name, planned.commit, message)
    if push and planned.remote is not None and not planned.is_pushed:
        try:
            planned.remote.push_tag(planned.name)
        except RegistryError as error:
            if not planned.is_made and planned.name in planned.remote.read_state().tags:
                # Two of the same name must not stay.
                remove_tag(git, planned.name)
                raise RefusedError(
                    f"somebody else made {planned.name} meanwhile: run this again, for the next one"
                ) from error
            raise
