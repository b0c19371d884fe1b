"""Planning a publication: what to publish, and on which branch; changes nothing.

The name of the branch is derived from its content, so that an interrupted publication continues
when it is run again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from registry_assets.dvc_repo import DvcRepo
from registry_assets.errors import RefusedError
from registry_assets.forgotten import read_forgotten
from registry_assets.git_repo import BlobChange, GitRemote, GitRepo, RemoteRefs, TreeBuilder
from registry_assets.git_repo.conflicts import find_next_step
from registry_assets.images import read_decisions
from registry_assets.registry.lineage.file_lineage import Tracer
from registry_assets.registry.lineage.graph import Lineage
from registry_assets.revisions.changes.committing import (
    build_message,
    build_metafile_tree,
    read_changes,
    shorten,
)
from registry_assets.revisions.changes.merging import Merged, can_merge, is_decisions_file, merge
from registry_assets.revisions.publishing.made_with import find_made_with
from registry_assets.revisions.publishing.publication import Nothing, Publication
from registry_assets.revisions.publishing.report import (
    Summary,
    describe_briefly,
    describe_summary,
    summarise,
)
from registry_assets.units import few_of

CountPictures = Callable[[Lineage, str, Sequence[str]], Sequence[str]]
"""Returns lines about data sets, from the graph, the commit to compare with, and their names."""

_ID_LENGTH = 8
_MOST_NAMED = 5


def plan_publication(
    lineage: Lineage,
    *,
    branch: str | None = None,
    title: str | None = None,
    run_id: str | None = None,
    count_pictures: CountPictures | None = None,
) -> Publication | Nothing:
    """Plan a publication; changes nothing.

    Args:
        lineage: The graph, freshly read.
        branch: The branch name; derived from the content when None.
        title: The title of the pull request; derived from the content when None.
        run_id: The Dagster run that publishes.
        count_pictures: Describes what data sets keep and leave out.

    Raises:
        RefusedError: when publishing is not possible, with the next step.
        MetafileError: when a decisions file cannot be read.
        SourceUnreachableError: when the Git remote does not answer.
    """
    registry = lineage.registry
    dvc = DvcRepo(registry.root)
    git, builder = dvc.git, TreeBuilder(dvc.git)
    start = _find_start(lineage, builder)
    # Locked, so that no half-written record is published.
    with dvc.open() as repo, dvc.write_lock(repo, lambda _line: None):
        tree = build_metafile_tree(registry, builder, start.head)
    uncommitted = read_changes(builder, start.head, tree)
    changes = read_changes(builder, start.base, tree)
    made_with = find_made_with(lineage, git, changes, uncommitted)
    tree = builder.build(tree, made_with.files, {})
    changed = tuple(
        file
        for file in builder.compare(start.base, tree)
        if file in changes.files or file.path in made_with.files
    )
    is_committed = not builder.compare(start.head, tree)
    upstream = f"{start.remote.name}/{start.target}"
    if not changes.files:
        return Nothing(f"nothing to publish: {upstream} has every metafile")
    for file in changes.files:
        if is_decisions_file(file.path):
            # Raises if it is broken: do not publish it.
            read_decisions(registry.root / file.path)
    summary = summarise(lineage, changes, dvc.listings(), made_with.files)
    protected = {*registry.settings.protected_branches, start.target}
    may_use_current = is_committed and start.current not in protected
    name = branch or (start.current if may_use_current else _name_branch(lineage, summary, changed))
    if _is_held(builder, changed, tree, start.tip):
        known = name if not is_committed and git.resolve_ref(f"refs/heads/{name}") else None
        first = "`registry publish --switch`, " if known else ""
        step = f"{first}`git switch {start.target}`, then `git pull`"
        return Nothing(f"nothing to publish: it is in {upstream} already: {step}", known, tree)
    is_current = name == start.current
    _check_name(git, name, protected, is_current=is_current and may_use_current)
    existing, is_pushed = (
        (start.head, start.refs.branches.get(name) == start.head)
        if is_current
        else _find_existing(builder, start.remote, start.refs, name, changed, tree)
    )
    if count_pictures is not None:
        totals = count_pictures(lineage, start.base, [*summary.datasets])
        summary = replace(summary, totals=tuple(totals))
    warnings = [*made_with.warnings, *_forgotten(lineage)]
    ahead = git.count_commits(start.tip, start.head)
    if ahead and not is_current:
        warnings.append(f"the branch also contains {ahead} commits of {start.current}")
    said = " ".join((title or "").split()) or shorten(summary.title)
    assets = [
        f"{asset} [{', '.join(names)}]" if names else asset
        for asset, names in summary.assets.items()
    ]
    return Publication(
        branch=name,
        target=start.target,
        remote=start.remote,
        base=start.base,
        parent=start.head,
        tree=tree,
        is_committed=is_committed,
        existing=existing if existing or not is_committed else start.head,
        is_pushed=is_pushed,
        changes=changes,
        files=changed,
        summary=summary,
        title=said,
        description=describe_summary(summary),
        message=build_message(said, describe_briefly(summary), assets, run_id),
        warnings=tuple(warnings),
    )


@dataclass(frozen=True)
class _Start:
    """The branches that a publication starts from.

    Attributes:
        current: The checked-out branch.
        head: The commit of `current`.
        remote: The remote to publish on.
        refs: The branches and tags of the remote.
        target: The branch to merge into.
        tip: The commit of `target`.
        base: The merge base of `head` and `tip`.
    """

    current: str
    head: str
    remote: GitRemote
    refs: RemoteRefs
    target: str
    tip: str
    base: str


def _find_start(lineage: Lineage, builder: TreeBuilder) -> _Start:
    git = builder.git
    current, head = _check_state(lineage, git)
    builder.check_identity()
    remote = GitRemote.find(git, current)
    refs = remote.read_state()
    target, tip = _find_target(remote, refs, current)
    base = git.merge_base(head, tip) or head
    return _Start(current, head, remote, refs, target, tip, base)


def _check_state(lineage: Lineage, git: GitRepo) -> tuple[str, str]:
    """The checked-out branch and commit; refuses if nothing can be published from here."""
    if not git.is_present:
        raise RefusedError("there is no Git repository here: run `git init`, then commit")
    if lineage.registry.problems:
        raise RefusedError(f"the registry cannot be read in full: {lineage.registry.problems[0]}")
    current, head = git.branch(), git.commit()
    step = find_next_step(git)
    if step is not None:
        raise RefusedError(
            f"a merge or rebase is in progress: resolve it (`registry resolve`), then `{step}`"
        )
    if current is None:
        raise RefusedError("no branch is checked out: run `git switch -c NAME`")
    if head is None:
        raise RefusedError("there is no commit yet: commit the registry first")
    return current, head


def _find_target(remote: GitRemote, state: RemoteRefs, current: str) -> tuple[str, str]:
    """The branch to merge into, and its commit, fetched if necessary."""
    candidates = [state.default, current, "main", "master"]
    target = next((name for name in candidates if name in state.branches), None)
    if target is None:
        raise RefusedError(
            f"the Git remote `{remote.name}` is empty, so there is nothing to merge into: run "
            f"`git push -u {remote.name} {current}` first"
        )
    tip = state.branches[target]
    if not remote.git.is_known(tip):
        remote.fetch(target)
    return target, tip


def _is_held(builder: TreeBuilder, changed: Sequence[BlobChange], tree: str, commit: str) -> bool:
    """Whether a commit already contains all changes: merging them into it would change no file."""
    there = {file.path: file.before for file in builder.compare(commit, tree)}
    differing = [file for file in changed if file.path in there]
    if not all(can_merge(file.path) for file in differing):
        return False
    texts = builder.read_blobs(
        blob for file in differing for blob in (file.before, file.after, there[file.path])
    )
    return all(
        merge(file.path, texts[file.before], texts[there[file.path]], texts[file.after])
        == Merged(texts[there[file.path]])
        for file in differing
    )


def _name_branch(lineage: Lineage, summary: Summary, changed: Sequence[BlobChange]) -> str:
    facts = "".join(f"{file.path} {file.after}\n" for file in changed)
    content = hashlib.sha256(facts.encode(errors="surrogateescape")).hexdigest()[:_ID_LENGTH]
    template = lineage.registry.settings.publish_branch
    return template.replace("{name}", summary.slug).replace("{id}", content)


def _check_name(git: GitRepo, name: str, protected: Collection[str], *, is_current: bool) -> None:
    if not git.is_branch_name(name):
        raise RefusedError(f"{name!r} is not a valid branch name: choose another with --branch")
    if name in protected:
        raise RefusedError(f"{name} is a protected branch: choose another with --branch")
    if name == git.branch() and not is_current:
        raise RefusedError(
            f"{name} is checked out, and publishing does not change the work tree: choose another "
            "name with --branch"
        )


def _find_existing(
    builder: TreeBuilder,
    remote: GitRemote,
    state: RemoteRefs,
    name: str,
    changed: Sequence[BlobChange],
    tree: str,
) -> tuple[str | None, bool]:
    """The commit of an existing branch of that name, and whether the remote has it.

    Raises:
        RefusedError: when the branch has other content.
    """
    pushed = state.branches.get(name)
    if pushed is not None and not builder.git.is_known(pushed):
        remote.fetch(name)
    found = pushed or builder.git.resolve_ref(f"refs/heads/{name}")
    if found is None:
        return None, False
    wanted = {file.path for file in changed}
    differing = {file.path for file in builder.compare(found, tree) if file.path in wanted}
    if differing:
        where = f"of {remote.name} " if pushed else ""
        raise RefusedError(
            f"the branch {name} {where}exists with other content "
            f"({few_of(sorted(differing), _MOST_NAMED)}): choose another with --branch"
        )
    return found, pushed is not None


def _forgotten(lineage: Lineage) -> Iterator[str]:
    """Warn about forgotten pictures that would be pushed again."""
    root = lineage.registry.root
    tracer = Tracer(lineage, DvcRepo(root).listings())
    for md5, path in tracer.find_standing(read_forgotten(root)).items():
        yield f"{path} contains a forgotten picture: `registry forget {md5}` removes it"
