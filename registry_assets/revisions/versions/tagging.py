"""Creating a version of a data set: a tag on a commit from which others can import it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import PurePosixPath

from registry_assets.dvc_repo import DvcRepo, count_objects
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
    """A remote that has all data of a version.

    Attributes:
        remote: The name of the remote.
        url: The URL of the remote.
        objects: Number of objects.
    """

    remote: str
    url: str
    objects: int


@dataclass(frozen=True)
class NewVersion:
    """A planned version.

    Attributes:
        name: The name of the tag.
        dataset: The data set.
        commit: The commit to tag.
        contents: The contents by family.
        since: The changes since the previous version; None for the first one.
        data: The remote that has its data.
        remote: The Git remote to push to; None if there is none.
        is_made: Whether the tag exists here already.
        is_pushed: Whether the Git remote has the tag.
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
    """Plan a version, and check that others could import it; creates nothing.

    Args:
        lineage: The graph of the work tree.
        asked: DATASET, for the next number, or DATASET/VERSION.
        rev: The commit; HEAD when None, and then the work tree must not differ from it.
        push: Whether an existing tag is accepted, because it is only to be pushed.
        report: Called with progress messages.

    Raises:
        NotFoundError: when there is no such data set or commit.
        RefusedError: when the version exists already, the data set is not complete at the commit,
            or the remote lacks some of its data.
        RemoteError: when the remote does not answer.
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
            raise RefusedError(f"{name!r} is not a valid tag name: choose another version")
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
        raise RefusedError("a pipeline at the root has no name for its versions")
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
            f"{few_of([file.path for file in files])} has uncommitted changes: commit, or "
            "`registry publish` and merge, then tag; or tag the last commit with `--rev HEAD`"
        )


def _ask_remote(git: GitRepo, report: Report) -> tuple[GitRemote | None, RemoteRefs]:
    """The Git remote with its branches and tags; None if there is none, or it does not answer."""
    if not git.remotes():
        return None, RemoteRefs(None, {})
    try:
        remote = GitRemote.find(git, git.branch())
        return remote, remote.read_state()
    except RegistryError as error:
        report(f"the versions on the Git remote are unknown: {error}")
        return None, RemoteRefs(None, {})


def _check_complete(
    registry: Registry, dataset: Dataset, commit: str, *, is_here: bool
) -> Verified:
    """Check that a data set is up to date at a commit, and that the remote has its data."""
    with ExitStack() as stack:
        found = Snapshots(stack).read_here(registry.root, commit)
        where = f"commit {commit[:SHORT_COMMIT]}"
        if dataset.path not in {other.path for other in found.registry.datasets}:
            raise RefusedError(f"{where} has no data set {dataset.name}: name another with --rev")
        broken = [p for p in found.registry.problems if p.startswith(f"{dataset.path}/")]
        if broken:
            raise RefusedError(f"{where} cannot be read: {broken[0]}; fix it and commit")
        outputs = [
            status
            for status in read_recorded_status(found)
            if PurePosixPath(status.path).is_relative_to(dataset.path)
        ]
        if not outputs:
            raise RefusedError(
                f"{dataset.name} is empty at {where}: `registry import NAME --into "
                f"{dataset.name}` imports a collection"
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
    """Check that whoever imports the commit can fetch its data."""
    root = found.registry.root
    shared = read_shared_remote(root)
    if shared is None or shared.url is None:
        raise RefusedError(
            "the commit has no default remote, so others could not fetch the data: `dvc remote add "
            "-d -f storage URL`, commit .dvc/config, `registry push`, then tag"
        )
    if shared.is_relative:
        raise RefusedError(
            f"the URL of the remote {shared.name} is relative to .dvc/config, so imports by URL "
            f"could not find it: `dvc remote modify {shared.name} url` with an absolute path, "
            "commit .dvc/config, then tag"
        )
    share_settings(root, registry.root)
    states = DvcRepo(root).read_remote_states(list(dict.fromkeys(addresses)))
    lacking = [item for state in states.values() for item in (*state.missing, *state.damaged)]
    if lacking:
        raise RefusedError(
            f"{count_objects(lacking)} objects are missing or damaged on the remote {shared.name}, "
            f"such as {lacking[0]}: {next_step}"
        )
    objects = frozenset[str]().union(*(state.objects for state in states.values()))
    return Verified(shared.name, shared.url, len(objects))


def _check_new(name: str, commits: set[str | None], allowed: str | None, following: str) -> None:
    """Check that a version does not exist at another commit, here or on the Git remote."""
    others = commits - {None, allowed}
    if others:
        raise RefusedError(
            f"version {name} exists already, at commit {str(others.pop())[:SHORT_COMMIT]}, and "
            f"versions are never moved: `registry tag {name.rpartition('/')[0]}` creates "
            f"{following}"
        )


def make_version(planned: NewVersion, git: GitRepo, message: str, *, push: bool) -> None:
    """Create the tag, unless it exists, and push it. Safe to rerun after an error.

    Args:
        planned: The version.
        git: The repository.
        message: The message of the tag.
        push: Whether to push it to the Git remote.

    Raises:
        RefusedError: when there is no remote to push to, or somebody else pushed that tag first.
        RegistryError: when Git fails.
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
                # Our tag must not hide the other one of that name.
                remove_tag(git, planned.name)
                raise RefusedError(
                    f"somebody else created {planned.name} meanwhile: run this again for the next "
                    "version"
                ) from error
            raise
