"""Commits of the files that the registry writes, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from registry_assets.bounded import read_text
from registry_assets.dvc_repo import DvcRepo
from registry_assets.errors import MetafileError, RegistryError
from registry_assets.forgotten import FORGOTTEN_FILE
from registry_assets.git_repo import BlobChange, TreeBuilder
from registry_assets.git_repo.committing import fold_trailers
from registry_assets.git_repo.conflicts import find_next_step
from registry_assets.git_repo.work_tree import find_edited, find_kept_out
from registry_assets.images.decisions import DECISIONS_FOLDER, Decision, parse_decisions
from registry_assets.model import DVC_SUFFIX, LOCK_FILE, Registry, Version
from registry_assets.registry.decisions import decisions_files
from registry_assets.revisions.changes.merging import (
    COLLECTIONS_FILE,
    IGNORE_FILE,
    can_merge,
    is_decisions_file,
)
from registry_assets.revisions.changes.metafile_entries import (
    MetafileEntry,
    records_versions,
    split_entries,
)
from registry_assets.settings import read_settings

_MOST_TRIES = 10
_NOT_COMMITTED = "Made with edits that are not committed: {}"
SUBJECT_WIDTH = 72
"""Maximum length of the first line of a commit message, in characters."""
# The characters that DVC escapes in a ``.gitignore`` (pathspec's GitWildMatchPattern.escape).
_PATTERN_CHARACTER = re.compile(r"([\[\]!*#?])")


@dataclass(frozen=True)
class OutputChange:
    """An output whose version differs between two commits.

    Attributes:
        address: The stage or ``.dvc`` file that records it.
        path: The path from the root.
    """

    address: str
    path: str
    before: Version | None
    after: Version | None


@dataclass(frozen=True)
class DecisionChange:
    """A decision about an image that differs between two commits.

    Attributes:
        file: The decisions file.
        collection: The collection of the image.
    """

    file: str
    collection: str
    before: Decision | None
    after: Decision | None


@dataclass(frozen=True)
class MetafileChanges:
    """How the metafiles of two commits differ.

    Attributes:
        after: The second commit.
        files: The metafiles that differ.
        entries: The entries that differ, by address: that of the first and of the second commit.
        outputs: The outputs whose versions differ.
        decisions: The decisions that differ.
    """

    after: str
    files: tuple[BlobChange, ...]
    entries: Mapping[str, tuple[MetafileEntry | None, MetafileEntry | None]]
    outputs: tuple[OutputChange, ...]
    decisions: tuple[DecisionChange, ...]


def read_changes(
    builder: TreeBuilder, before: str, after: str, folder: str = "."
) -> MetafileChanges:
    """Compare the metafiles of two commits or trees by entry; parses only files that differ.

    Args:
        builder: Reads from the Git repository.
        before: The first commit or tree.
        after: The second.
        folder: Compare only metafiles in this folder.

    Raises:
        MetafileError: when one cannot be read.
    """
    settings = read_settings(builder.git.root)
    compared = builder.compare(before, after, folder)
    files = tuple(
        file
        for file in compared
        if can_merge(file.path)
        and (settings.declares(file.path) or not records_versions(file.path))
    )
    entries: dict[str, tuple[MetafileEntry | None, MetafileEntry | None]] = {}
    outputs: list[OutputChange] = []
    recording = [file for file in files if records_versions(file.path)]
    texts = builder.read_blobs(blob for file in recording for blob in (file.before, file.after))
    for file in recording:
        old = split_entries(file.path, texts[file.before])
        new = split_entries(file.path, texts[file.after])
        for address in dict.fromkeys((*old, *new)):
            pair = old.get(address), new.get(address)
            if pair[0] != pair[1]:
                entries[address] = pair
                outputs += _compare_outputs(address, *pair)
    decisions = tuple(_compare_decisions(builder, files))
    return MetafileChanges(after, files, entries, tuple(outputs), decisions)


def _compare_decisions(
    builder: TreeBuilder, files: Iterable[BlobChange]
) -> Iterator[DecisionChange]:
    decided = [file for file in files if is_decisions_file(file.path)]
    texts = builder.read_blobs(blob for file in decided for blob in (file.before, file.after))
    for file in decided:
        # A broken decisions file is reported where it is used.
        with suppress(MetafileError):
            old, new = (
                parse_decisions(texts[blob] or "", file.path) for blob in (file.before, file.after)
            )
            for md5 in dict.fromkeys((*old, *new)):
                if old.get(md5) != new.get(md5):
                    name = PurePosixPath(file.path).stem
                    yield DecisionChange(file.path, name, old.get(md5), new.get(md5))


def _compare_outputs(
    address: str, old: MetafileEntry | None, new: MetafileEntry | None
) -> list[OutputChange]:
    before = old.read_outputs() if old else {}
    after = new.read_outputs() if new else {}
    changes = (
        OutputChange(address, path, before.get(path), after.get(path))
        for path in dict.fromkeys((*before, *after))
    )
    return [c for c in changes if (c.before and c.before.md5) != (c.after and c.after.md5)]


def build_metafile_tree(registry: Registry, builder: TreeBuilder, commit: str) -> str:
    """The tree of a commit, with the registry's metafiles as they are in the work tree.

    In each ``.gitignore`` only the lines that DVC writes are updated, because users edit it too.
    """
    decided = {dataset.decisions for dataset in registry.datasets}
    gone = {
        path
        for path in builder.files_at(commit)
        if (
            (records_versions(path) and registry.settings.declares(path))
            or PurePosixPath(path).name == COLLECTIONS_FILE
            or (is_decisions_file(path) and str(PurePosixPath(path).parent) in decided)
        )
        and not (registry.root / path).exists()
    }
    tree = builder.build(commit, sorted(metafiles_of(registry) | gone), {})
    before = {c.path for c in read_changes(builder, commit, tree).outputs if c.before}
    outputs = before | {o.path for o in registry.outputs.values() if not o.is_run}
    texts = _read_ignored(registry.root, builder, commit, outputs)
    # DVC deletes a ``.gitignore`` without lines.
    empty = [path for path, text in texts.items() if not text]
    removed = [path for path in empty if not (registry.root / path).exists()]
    kept = {path: text for path, text in texts.items() if path not in removed}
    return builder.build(tree, removed, kept)


def metafiles_of(registry: Registry) -> set[str]:
    """All files that the registry writes, except each ``.gitignore``."""
    found = {item.metafile for item in registry.tracked}
    found |= {str(PurePosixPath(stage.file).with_name(LOCK_FILE)) for stage in registry.stages}
    found.update(file for d in registry.datasets for file in decisions_files(registry, d))
    found |= {FORGOTTEN_FILE} if (registry.root / FORGOTTEN_FILE).is_file() else set()
    return found | {d.collections_file for d in registry.datasets if d.collections_file}


def _read_ignored(
    root: Path, builder: TreeBuilder, commit: str, outputs: Collection[str]
) -> Mapping[str, str]:
    """The new text of each ``.gitignore`` that differs from the commit's.

    Raises:
        MetafileError: when one is no text.
    """
    lines: dict[str, set[str]] = {}
    for path in outputs:
        output = PurePosixPath(path)
        line = "/" + _PATTERN_CHARACTER.sub(r"\\\1", output.name)
        lines.setdefault(str(output.parent / IGNORE_FILE), set()).add(line)
    there = set(builder.files_at(commit))
    kept_out = find_kept_out(builder.git)
    texts = {}
    for file, written in lines.items():
        if kept_out.lacks(file):
            continue
        before = (builder.git.text_at(commit, file) or "") if file in there else ""
        now = read_text(root / file, file) if (root / file).is_file() else ""
        wanted = merge_ignored(before, now, written)
        if wanted.splitlines() != before.splitlines():
            texts[file] = wanted
    return texts


@dataclass(frozen=True)
class Written:
    """A stage or ``.dvc`` file that a run recorded.

    Attributes:
        address: The stage or ``.dvc`` file.
        paths: Its outputs.
        outcome: How they came about; see `dvc_repo.results.Outcome`.
        asset: The key of the asset, with slashes.
        partition: Its partition key.
    """

    address: str
    paths: tuple[str, ...]
    outcome: str
    asset: str
    partition: str | None = None

    @property
    def is_own(self) -> bool:
        """Whether the run recorded it, so that it is the run's to commit.

        An unchanged stage was recorded by somebody else, who may not want it committed yet; a
        collection or an import that a run found registered already is committed.
        """
        return self.outcome != "unchanged" or self.address.endswith(DVC_SUFFIX)

    def __str__(self) -> str:
        return f"{self.asset} [{self.partition}]" if self.partition else self.asset


def commit_written(
    dvc: DvcRepo, written: Sequence[Written], run_id: str, report: Callable[[str], None]
) -> str | None:
    """Commit the metafiles that a run wrote, if the settings say so.

    Other staged changes stay staged, and are not part of the commit.

    Args:
        dvc: The repository.
        written: What was recorded.
        run_id: The run.
        report: Called with a message when something is not committed.

    Returns:
        The commit; None if nothing was committed.
    """
    settings, git = read_settings(dvc.root), dvc.git
    written = [item for item in written if item.is_own]
    if settings.git != "commit" or not written or not git.is_present:
        return None
    branch = git.branch()
    if branch is None or branch in settings.protected_branches or find_next_step(git) is not None:
        where = f"{branch} is a protected branch" if branch else "no branch is checked out"
        report(f"not committed: {where}, or a merge is going on; `registry publish` publishes it")
        return None
    builder = TreeBuilder(git)
    outputs = [path for item in written for path in item.paths]
    subject = shorten(f"Record {outputs[0]}" if len(outputs) == 1 else _count_recorded(written))
    assets = dict.fromkeys(map(str, written))
    for _ in range(_MOST_TRIES):
        head = git.commit()
        if head is None:
            report("not committed: there is no commit yet; commit the registry first")
            return None
        texts = _read_ignored(dvc.root, builder, head, outputs)
        tree = builder.build(head, _files_of(dvc.root, written), texts)
        changes = builder.compare(head, tree)
        if not changes:
            return None
        edited = _find_edits_behind(builder, head, tree)
        body = [_NOT_COMMITTED.format(", ".join(edited))] if edited else []
        message = build_message(subject, body, assets, run_id)
        commit = builder.commit(tree, head, message)
        # Staged first, so that meanwhile `git status` shows staged changes, not reverted ones.
        builder.stage(changes)
        if builder.set_branch(f"refs/heads/{branch}", commit, head):
            for line in body:
                report(f"{line}: commit them, too")
            return commit
    raise RegistryError(f"{branch} moved {_MOST_TRIES} times while it was being committed to")


def _find_edits_behind(builder: TreeBuilder, head: str, tree: str) -> list[str]:
    """The uncommitted files that new results were made with."""
    read: set[str] = set()
    changed = read_changes(builder, head, tree)
    for _, entry in changed.entries.values():
        if entry is not None and entry.is_stage:
            read.add(entry.metafile)
            read.update(entry.read_dependencies())
            read.update(file for file, _ in entry.read_run().parameters)
    # Data is not among them: Git ignores it.
    edited = find_edited(builder.git, [path for path in read if not path.startswith("../")])
    return sorted(edited.keys() - {file.path for file in changed.files})


def _count_recorded(written: Sequence[Written]) -> str:
    assets = {item.asset for item in written}
    return f"Record {sum(len(item.paths) for item in written)} outputs of {len(assets)} assets"


def _files_of(root: Path, written: Sequence[Written]) -> list[str]:
    """The metafiles of recorded units, with lists of collections and decisions files."""
    files: dict[str, None] = {}
    for item in written:
        metafile, is_stage, address_of_stage = item.address.partition(":")
        path = PurePosixPath(metafile)
        files[str(path.with_name(LOCK_FILE) if is_stage else path)] = None
        _, _, item_name = address_of_stage.partition("@")
        decided = path.with_name(DECISIONS_FOLDER) / f"{item_name}.yaml"
        if item_name and (root / decided).is_file():
            files[str(decided)] = None
        if not is_stage:
            lists = (str(folder / COLLECTIONS_FILE) for folder in path.parents)
            files.update((name, None) for name in lists if (root / name).is_file())
    # Forgetting a picture changes any of these, and its record is committed with them.
    files.update({FORGOTTEN_FILE: None} if (root / FORGOTTEN_FILE).is_file() else {})
    return list(files)


def merge_ignored(before: str, now: str, written: Collection[str]) -> str:
    """Update some lines of a ``.gitignore``.

    Args:
        before: The old text.
        now: The new text.
        written: The lines to take from the new text; all others stay as in the old one.
    """
    there = now.splitlines()
    kept = [line for line in before.splitlines() if line in there or line not in written]
    added = [line for line in there if line in written and line not in kept]
    return "".join(f"{line}\n" for line in (*kept, *added))


def build_message(
    subject: str,
    body: Sequence[str],
    assets: Iterable[str],
    run_id: str | None,
) -> str:
    """A commit message, with assets and run as Git trailers."""
    trailers = [("Registry-Asset", asset) for asset in assets]
    if run_id is not None:
        trailers.append(("Dagster-Run", run_id))
    paragraphs = [subject, "\n".join(body), fold_trailers(trailers)]
    return "\n\n".join(text.rstrip("\n") for text in paragraphs if text.strip()) + "\n"


def shorten(subject: str) -> str:
    """Truncate a subject to `SUBJECT_WIDTH`."""
    return subject if len(subject) <= SUBJECT_WIDTH else f"{subject[: SUBJECT_WIDTH - 1]}…"
