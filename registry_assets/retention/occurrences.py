"""Where a content stands, and all that was made of it, in every version that was ever recorded.

What `tracing` does for the current versions, over the history: an older version of a stage's output
was made of the older versions that its entry names. Only listings are read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from registry_assets.dvc_repo import Listings
from registry_assets.model import is_folder
from registry_assets.registry.lineage.derivation import Files, FileVersion, Origin, find_derived
from registry_assets.registry.lineage.file_lineage import Tracer
from registry_assets.revisions.changes.version_history import Recorded, VersionHistory

VersionOf = tuple[str, str]
"""A version of an output: its path, "" where nothing tells, and its md5."""


@dataclass
class Occurrences:
    """A content and what was made of it.

    Attributes:
        md5: The content.
        places: Every file that has it or was made of it, by the version that holds it, with where
            it came from; None for the content itself.
        shared: Contents that were made of it and that files have besides which were not, each with
            one of those.
        unread: Versions whose listings the cache lacks, so that something may be left out.
    """

    md5: str
    places: dict[VersionOf, dict[FileVersion, Origin | None]] = field(default_factory=dict)
    shared: dict[str, str] = field(default_factory=dict)
    unread: dict[VersionOf, None] = field(default_factory=dict)

    @property
    def made_of_it(self) -> tuple[str, ...]:
        """The contents that were made of it and stand nowhere else."""
        contents = {
            place.md5: None
            for places in self.places.values()
            for place in places
            if place.md5 != self.md5 and place.md5 not in self.shared
        }
        return tuple(contents)

    @property
    def contents(self) -> tuple[str, ...]:
        """All of them, the content itself first."""
        return (self.md5, *self.made_of_it)


def find_occurrences(
    tracer: Tracer, history: VersionHistory, listings: Listings, md5: str
) -> Occurrences:
    """Finds a content, and what was made of it, in all versions.

    By content wherever it is; by lineage step by step, as `derivation` tells it.
    """
    return _Search(tracer, history, listings, Occurrences(md5)).run()


class _Search:
    def __init__(
        self, tracer: Tracer, history: VersionHistory, listings: Listings, found: Occurrences
    ) -> None:
        self._tracer = tracer
        self._history = history
        self._listings = listings
        self._found = found

    def run(self) -> Occurrences:
        waiting: list[VersionOf] = []
        recorded = {name for _, name in self._history.versions}
        unrecorded = [("", n) for n in self._listings.find(self._found.md5) if n not in recorded]
        for version in (*self._history.versions, *unrecorded):
            places = dict.fromkeys(self._equal(version), None)
            if places:
                self._found.places[version] = {**places}
                waiting.append(version)
        readers = self._readers()
        while waiting:
            version = waiting.pop()
            for entry in readers.get(version[1], ()):
                for path, made in entry.outputs.items():
                    if self._add_derived(version, entry, (path, made.md5)):
                        waiting.append((path, made.md5))
        self._find_shared()
        return self._found

    def _equal(self, version: VersionOf) -> Iterator[FileVersion]:
        path, name = version
        md5 = self._found.md5
        if not is_folder(name):
            if name == md5:
                yield FileVersion(path, "", md5, name)
            return
        is_named = self._listings.names(name, md5)
        if is_named is None:
            self._found.unread[version] = None
        elif is_named:
            files = self._tracer.files(path, name)
            yield from files.with_content(md5) if files is not None else ()

    def _readers(self) -> Mapping[str, list[Recorded]]:
        """The entries that were made of a version, wherever that stood: data sets are renamed."""
        found: defaultdict[str, list[Recorded]] = defaultdict(list)
        for entry in self._history.entries:
            for version in entry.read.values():
                found[version.md5].append(entry)
        return found

    def _add_derived(self, source: VersionOf, entry: Recorded, made: VersionOf) -> bool:
        """Adds what one version of an output has of another; returns whether there was any."""
        files = self._tracer.files(*made)
        if files is None:
            return False
        known = self._found.places.setdefault(made, {})
        before = len(known)
        upstream = self._read_by(entry)
        # Where the entry has it, which is elsewhere once a data set was renamed.
        paths = [path for path, version in entry.read.items() if version.md5 == source[1]]
        for place in list(self._found.places[source]):
            for read in (replace(place, output=path) for path in paths):
                for derived, origin in find_derived(read, files, upstream):
                    known.setdefault(derived, origin)
        if not known:
            del self._found.places[made]
        return len(known) > before

    def _read_by(self, entry: Recorded) -> list[Files]:
        """What an entry was made of, farthest along first, as far as the listings are there."""
        rank = self._tracer.rank
        read = sorted(entry.read.items(), key=lambda item: -rank.get(item[0], 0))
        found = (self._tracer.files(path, version.md5) for path, version in read)
        return [files for files in found if files is not None]

    def _find_shared(self) -> None:
        """Finds what other files have, too: a small table, or a black frame, may be anybody's."""
        made = set(self._found.made_of_it)
        # A version is the same wherever it stands.
        known = {
            (name, place.file)
            for (_, name), places in self._found.places.items()
            for place in places
        }
        for path, name in self._history.versions if made else ():
            held = self._listings.contents(name) or frozenset()
            files = self._tracer.files(path, name) if made & held else None
            if files is None:
                continue
            for md5 in made & set(files.listed.values()):
                for place in files.with_content(md5):
                    if (name, place.file) not in known:
                        self._found.shared.setdefault(md5, place.path)
