"""Which files the registry writes, and commits that hold those and nothing else."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from registry_assets.git_repo import BlobChange, TreeBuilder
from registry_assets.git_repo.committing import fold_trailers
from registry_assets.merging import COLLECTIONS_FILE, IGNORE_FILE, LOCK_FILE, can_merge
from registry_assets.metafile_entries import Entry, records_versions, split_entries
from registry_assets.model import Registry, Version

_MOST_TRIES = 10
_SUBJECT_WIDTH = 72
# As DVC escapes what Git would take for a pattern (pathspec's GitWildMatchPattern.escape).
_PATTERN_CHARACTER = re.compile(r"([\[\]!*#?])")


@dataclass(frozen=True)
class OutputChange:
    """An output of which two commits record different versions.

    Attributes:
        address: The stage or ``.dvc`` file that records it.
        path: From the root.
    """

    address: str
    path: str
    before: Version | None
    after: Version | None


@dataclass(frozen=True)
class MetafileChanges:
    """How the metafiles of two commits differ.

    Attributes:
        after: The second of them.
        files: The files.
        entries: The entries that differ, by address, as the first and the second have them.
        outputs: The outputs whose versions differ.
    """

    after: str
    files: tuple[BlobChange, ...]
    entries: Mapping[str, tuple[Entry | None, Entry | None]]
    outputs: tuple[OutputChange, ...]


def read_changes(builder: TreeBuilder, before: str, after: str) -> MetafileChanges:
    """Compares the metafiles of two commits or trees by entry, parsing those that differ.

    Raises:
        MetafileError: when one cannot be read.
    """
    files = tuple(file for file in builder.compare(before, after) if can_merge(file.path))
    entries: dict[str, tuple[Entry | None, Entry | None]] = {}
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
    return MetafileChanges(after, files, entries, tuple(outputs))


def _compare_outputs(address: str, old: Entry | None, new: Entry | None) -> list[OutputChange]:
    before = old.read_outputs() if old else {}
    after = new.read_outputs() if new else {}
    changes = (
        OutputChange(address, path, before.get(path), after.get(path))
        for path in dict.fromkeys((*before, *after))
    )
    return [c for c in changes if (c.before and c.before.md5) != (c.after and c.after.md5)]


def build_metafile_tree(registry: Registry, builder: TreeBuilder, commit: str) -> str:
    """The tree of a commit with the registry's metafiles as they stand in the work tree.

    Of a ``.gitignore``, which people write to as well, only the lines that DVC writes.
    """
    gone = {
        path
        for path in builder.files_at(commit)
        if (records_versions(path) or PurePosixPath(path).name == COLLECTIONS_FILE)
        and not (registry.root / path).exists()
    }
    tree = builder.build(commit, sorted(metafiles_of(registry) | gone), {})
    before = {c.path for c in read_changes(builder, commit, tree).outputs if c.before}
    outputs = before | {o.path for o in registry.outputs.values() if not o.is_run}
    texts = _read_ignored(registry.root, builder, commit, outputs)
    # DVC removes one without lines.
    empty = [path for path, text in texts.items() if not text]
    removed = [path for path in empty if not (registry.root / path).exists()]
    kept = {path: text for path, text in texts.items() if path not in removed}
    return builder.build(tree, removed, kept)


def metafiles_of(registry: Registry) -> set[str]:
    """The files in which the registry records what it declares, but for each ``.gitignore``."""
    found = {item.metafile for item in registry.tracked}
    found |= {str(PurePosixPath(stage.file).with_name(LOCK_FILE)) for stage in registry.stages}
    return found | {d.collections_file for d in registry.datasets if d.collections_file}


def _read_ignored(
    root: Path, builder: TreeBuilder, commit: str, outputs: Collection[str]
) -> Mapping[str, str]:
    """What each ``.gitignore`` is to hold, where that differs from what the commit has."""
    lines: dict[str, set[str]] = {}
    for path in outputs:
        output = PurePosixPath(path)
        line = "/" + _PATTERN_CHARACTER.sub(r"\\\1", output.name)
        lines.setdefault(str(output.parent / IGNORE_FILE), set()).add(line)
    there = set(builder.files_at(commit))
    texts = {}
    for file, written in lines.items():
        before = (builder.git.text_at(commit, file) or "") if file in there else ""
        now = (root / file).read_text(encoding="utf-8") if (root / file).is_file() else ""
        wanted = merge_ignored(before, now, written)
        if wanted.splitlines() != before.splitlines():
            texts[file] = wanted
    return texts


def merge_ignored(before: str, now: str, written: Collection[str]) -> str:
    """The text of a ``.gitignore`` as it was, with some lines as they are now.

    Args:
        before: As it was.
        now: As it is.
        written: The lines that count.
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
    """A commit message: what happened, and for machines the assets and the run as trailers."""
    trailers = [("Registry-Asset", asset) for asset in assets]
    if run_id is not None:
        trailers.append(("Dagster-Run", run_id))
    paragraphs = [subject, "\n".join(body), fold_trailers(trailers)]
    return "\n\n".join(text.rstrip("\n") for text in paragraphs if text.strip()) + "\n"


def shorten(subject: str) -> str:
    """A subject that fits into one line of `git log`."""
    return subject if len(subject) <= _SUBJECT_WIDTH else f"{subject[: _SUBJECT_WIDTH - 1]}…"
