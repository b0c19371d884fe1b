"""Publishing: the registry's metafiles on a branch of their own, their data on the remote first.

The branch is made beside the checked-out one (`registry_assets.git_repo.committing`), and called
after its content, so that what was interrupted anywhere carries on when it is run again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from registry_assets.committing import (
    MetafileChanges,
    build_message,
    build_metafile_tree,
    read_changes,
    shorten,
)
from registry_assets.dvc_repo import DvcRepo, PushResult
from registry_assets.errors import PublishError
from registry_assets.forges import PullRequest, open_pull_request
from registry_assets.git_repo import GitRemote, GitRepo, RemoteState, TreeBuilder
from registry_assets.git_repo.conflicts import find_next_step
from registry_assets.lineage import Lineage
from registry_assets.merging import Merged, merge
from registry_assets.publication_report import Summary, describe, describe_briefly, summarise

Report = Callable[[str], None]

_ID_LENGTH = 8
_MOST_NAMED = 5


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
        changes: What differs between base and tree.
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


def plan_publication(
    lineage: Lineage,
    *,
    branch: str | None = None,
    title: str | None = None,
    run_id: str | None = None,
) -> Publication | Nothing:
    """Finds out what is to be published, and moves nothing.

    Args:
        lineage: The graph, as it was just read.
        branch: The name of the branch; after what is in it when None.
        title: What happens, in a line; after what is in it when None.
        run_id: The Dagster run that publishes.

    Raises:
        PublishError: when it cannot be, with the next step.
        SourceUnreachableError: when the Git remote does not answer.
    """
    registry = lineage.registry
    dvc = DvcRepo(registry.root)
    git, builder = dvc.git, TreeBuilder(dvc.git)
    ground = _look_around(lineage, builder)
    # Whoever records something meanwhile would be published by half.
    with dvc.open() as repo, dvc.write_lock(repo, lambda _line: None):
        tree = build_metafile_tree(registry, builder, ground.head)
    uncommitted = read_changes(builder, ground.head, tree)
    changes = read_changes(builder, ground.base, tree)
    upstream = f"{ground.remote.name}/{ground.target}"
    if not changes.files:
        return Nothing(f"nothing to publish: {upstream} has every metafile")
    summary = summarise(lineage, changes, dvc.listings())
    protected = {*registry.settings.protected_branches, ground.target}
    may_use_current = not uncommitted.files and ground.current not in protected
    name = branch or (
        ground.current if may_use_current else _name_branch(lineage, summary, changes)
    )
    if _is_held(builder, changes, ground.tip):
        known = name if uncommitted.files and git.resolve_ref(f"refs/heads/{name}") else None
        first = "`registry publish --switch`, " if known else ""
        step = f"{first}`git switch {ground.target}`, then `git pull`"
        return Nothing(f"nothing to publish: it is in {upstream} already: {step}", known, tree)
    is_current = name == ground.current
    _check_name(git, name, protected, is_current=is_current and may_use_current)
    existing, is_pushed = (
        (ground.head, ground.state.branches.get(name) == ground.head)
        if is_current
        else _find_existing(builder, ground.remote, ground.state, name, changes)
    )
    warnings = _warnings(lineage, builder, ground.head, uncommitted)
    ahead = git.count_commits(ground.tip, ground.head)
    if ahead and not is_current:
        warnings.append(f"the branch holds {ahead} commits of {ground.current}, too")
    said = " ".join((title or "").split()) or shorten(summary.title)
    assets = [
        f"{asset} [{', '.join(names)}]" if names else asset
        for asset, names in summary.assets.items()
    ]
    return Publication(
        branch=name,
        target=ground.target,
        remote=ground.remote,
        base=ground.base,
        parent=ground.head,
        tree=tree,
        is_committed=not uncommitted.files,
        existing=existing if existing or uncommitted.files else ground.head,
        is_pushed=is_pushed,
        changes=changes,
        summary=summary,
        title=said,
        description=describe(summary),
        message=build_message(said, describe_briefly(summary), assets, run_id),
        warnings=tuple(warnings),
    )


@dataclass(frozen=True)
class _Ground:
    """Where a publication starts from, and where it goes.

    Attributes:
        current: The checked-out branch, and `head` its commit.
        target: The branch to merge into, and `tip` its commit.
        base: Where the two part.
    """

    current: str
    head: str
    remote: GitRemote
    state: RemoteState
    target: str
    tip: str
    base: str


def _look_around(lineage: Lineage, builder: TreeBuilder) -> _Ground:
    git = builder.git
    current, head = _check_state(lineage, git)
    builder.check_identity()
    remote = GitRemote.find(git, current)
    state = remote.read_state()
    target, tip = _find_target(remote, state, current)
    base = git.merge_base(head, tip) or head
    return _Ground(current, head, remote, state, target, tip, base)


def _check_state(lineage: Lineage, git: GitRepo) -> tuple[str, str]:
    """The checked-out branch and commit, where publishing makes sense."""
    if not git.is_present:
        raise PublishError("there is no Git repository here: run `git init`, then commit")
    if lineage.registry.problems:
        raise PublishError(f"a metafile cannot be read: {lineage.registry.problems[0]}; mend it")
    current, head = git.branch(), git.commit()
    step = find_next_step(git)
    if step is not None:
        raise PublishError(
            f"a merge or rebase is going on: resolve it (`registry resolve`), then `{step}`"
        )
    if current is None:
        raise PublishError("no branch is checked out: run `git switch -c NAME`")
    if head is None:
        raise PublishError("there is no commit yet: commit the registry first")
    return current, head


def _find_target(remote: GitRemote, state: RemoteState, current: str) -> tuple[str, str]:
    """The branch to merge into, and its commit, which is fetched when it is not here yet."""
    candidates = [state.default, current, "main", "master"]
    target = next((name for name in candidates if name in state.branches), None)
    if target is None:
        raise PublishError(
            f"the Git remote `{remote.name}` is empty, so there is nothing to merge into: run "
            f"`git push -u {remote.name} {current}` first"
        )
    tip = state.branches[target]
    if not remote.git.is_known(tip):
        remote.fetch(target)
    return target, tip


def _is_held(builder: TreeBuilder, changes: MetafileChanges, commit: str) -> bool:
    """Whether a commit holds all that changed: merging it in would leave every file as it is."""
    there = {file.path: file.before for file in builder.compare(commit, changes.after)}
    differing = [file for file in changes.files if file.path in there]
    texts = builder.read_blobs(
        blob for file in differing for blob in (file.before, file.after, there[file.path])
    )
    return all(
        merge(file.path, texts[file.before], texts[there[file.path]], texts[file.after])
        == Merged(texts[there[file.path]])
        for file in differing
    )


def _name_branch(lineage: Lineage, summary: Summary, changes: MetafileChanges) -> str:
    facts = "".join(f"{file.path} {file.after}\n" for file in changes.files)
    content = hashlib.sha256(facts.encode(errors="surrogateescape")).hexdigest()[:_ID_LENGTH]
    template = lineage.registry.settings.publish_branch
    return template.replace("{name}", summary.slug).replace("{id}", content)


def _check_name(git: GitRepo, name: str, protected: Collection[str], *, is_current: bool) -> None:
    if not git.is_branch_name(name):
        raise PublishError(f"{name!r} cannot be the name of a branch: choose another with --branch")
    if name in protected:
        raise PublishError(f"{name} is a protected branch: choose another with --branch")
    if name == git.branch() and not is_current:
        raise PublishError(
            f"{name} is checked out, and publishing moves nobody's work tree: "
            "choose another name with --branch"
        )


def _find_existing(
    builder: TreeBuilder,
    remote: GitRemote,
    state: RemoteState,
    name: str,
    changes: MetafileChanges,
) -> tuple[str | None, bool]:
    """The commit of a branch of that name, and whether the remote has it.

    Raises:
        PublishError: when it holds something else.
    """
    pushed = state.branches.get(name)
    if pushed is not None and not builder.git.is_known(pushed):
        remote.fetch(name)
    found = pushed or builder.git.resolve_ref(f"refs/heads/{name}")
    if found is None:
        return None, False
    wanted = {file.path: file.after for file in changes.files}
    differing = {file.path for file in builder.compare(found, changes.after) if file.path in wanted}
    if differing:
        where = f"of {remote.name} " if pushed else ""
        raise PublishError(
            f"the branch {name} {where}exists with other content "
            f"({', '.join(sorted(differing)[:_MOST_NAMED])}): choose another with --branch"
        )
    return found, pushed is not None


def _warnings(
    lineage: Lineage, builder: TreeBuilder, head: str, uncommitted: MetafileChanges
) -> list[str]:
    """Code and parameters that results were made with and that are not committed themselves."""
    made = {address for address, (_, after) in uncommitted.entries.items() if after is not None}
    stages = [stage for stage in lineage.registry.stages if stage.address in made]
    used = {stage.file for stage in stages}
    used |= {parameter.file for stage in stages for parameter in stage.parameters}
    used |= {
        dependency.path
        for stage in stages
        for dependency in stage.dependencies
        if not dependency.is_external and not lineage.registry.holds_data(dependency.path)
    }
    files = [path for path in sorted(used) if not (lineage.registry.root / path).is_dir()]
    tree = builder.build(head, files, {})
    edited = [file.path for file in builder.compare(head, tree)]
    if not edited:
        return []
    return [
        f"{', '.join(edited[:_MOST_NAMED])}: edited and not committed, and no metafile, so the "
        "branch will lack it, and what was made with it will not be up to date there: commit it"
    ]


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
        "files": [file.path for file in plan.changes.files],
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


def publish(publication: Publication, root: Path, report: Report) -> Published:
    """Pushes data, looks whether it is there, then makes and pushes the branch.

    Args:
        publication: What to publish.
        root: Of the registry.
        report: Takes progress.

    Raises:
        PublishError: when data is missing; nothing has been pushed to Git then.
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
        PublishError: when it holds something else by now.
    """
    git = GitRepo(root)
    builder = TreeBuilder(git)
    head, commit = git.commit(), git.resolve_ref(f"refs/heads/{branch}")
    if head is None or commit is None or builder.compare(commit, tree):
        raise PublishError(
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
        raise PublishError(
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
        raise PublishError(f"somebody else is making the branch {publication.branch}: run it again")
    return commit
