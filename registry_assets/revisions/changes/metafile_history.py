"""Which commit recorded a version."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath

from registry_assets.dvc_repo import cut_entry
from registry_assets.errors import MetafileError
from registry_assets.git_repo import GitRepo
from registry_assets.model import LOCK_FILE
from registry_assets.revisions.changes.metafile_entries import METAFILE_PATTERNS, split_entries
from registry_assets.settings import read_settings

_MOST_COMMITS = 50
# With more alternatives, Git's search is slower than looking at every change of any version.
_MOST_PATTERNS = 20
_ANY_VERSION = "md5: "


@dataclass(frozen=True)
class RecordedVersion:
    """A version of an output, and the newest commit that recorded it."""

    output: str
    md5: str
    commit: str


class CommitFinder:
    """Finds the commits that recorded current versions; reads each Git object once."""

    def __init__(self, git: GitRepo) -> None:
        self._text_at = cache(git.text_at)
        self._newest_change = cache(git.newest_change)

    def find(self, address: str, md5: str) -> str | None:
        """The commit that recorded the current version of an output.

        That is the newest commit in the history of HEAD that changed the metafile to this version.

        Args:
            address: The stage or ``.dvc`` file.
            md5: The version.

        Returns:
            None when it is not committed yet, or there is no Git repository.
        """
        metafile, _, name = address.partition(":")
        if name:
            metafile = str(PurePosixPath(metafile).with_name(LOCK_FILE))
        if not _records(self._text_at("HEAD", metafile), name, md5):
            return None
        start, commit = "HEAD", None
        for _ in range(_MOST_COMMITS):
            changed = self._newest_change(md5, metafile, start)
            if changed is None:
                break
            commit, start = changed, f"{changed}^"
            if not _records(self._text_at(start, metafile), name, md5):
                break
        return commit


def _records(text: str | None, name: str, md5: str) -> bool:
    """Whether an entry of a metafile records a version among its outputs.

    Searches the text, because parsing a ``dvc.lock`` of a thousand entries takes seconds.
    """
    if text is None:
        return False
    entry = text if not name else cut_entry(text, name)
    if entry is None:
        # Another formatter may have put the name in quotes: then search the whole file.
        heading = rf"^\s+(?:\? )?['\"]?{re.escape(name)}['\"]?\s*(?::|$)"
        entry = text if re.search(heading, text, re.MULTILINE) else ""
    return md5 in entry.partition("outs:\n")[2]


def find_recorded(git: GitRepo, versions: Collection[str]) -> Iterator[RecordedVersion]:
    """Find the outputs that had one of several versions, on any branch, newest first."""
    if not versions:
        return
    few = len(versions) <= _MOST_PATTERNS
    pattern = "|".join(sorted(versions)) if few else _ANY_VERSION
    settings = read_settings(git.root)
    told: set[tuple[str, str]] = set()
    known: defaultdict[str, set[str]] = defaultdict(set)
    for commit, metafile in git.changes(pattern, METAFILE_PATTERNS):
        if not settings.declares(metafile):
            continue
        text = git.text_at(commit, metafile) or ""
        fresh = {version for version in versions if version in text} - known[metafile]
        if not fresh:
            # Only the newest commit that has a version matters.
            continue
        try:
            entries = split_entries(metafile, text).values()
            outputs = [found for entry in entries for found in entry.read_outputs().items()]
        except MetafileError:
            # Conflict markers may be committed.
            continue
        known[metafile] |= fresh
        for output, version in outputs:
            if version.md5 in fresh and (output, version.md5) not in told:
                told.add((output, version.md5))
                yield RecordedVersion(output, version.md5, commit)
