"""A picture and everything derived from it, in all versions that were ever recorded.

Traces files downstream as `Tracer.forward` does, but through history: an older version of an output
is traced through the older dependencies that its metafile entry records. Reads only listings.
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
"""A version of an output: its path ("" if unknown) and its md5."""


@dataclass
class Occurrences:
    """A content and everything derived from it.

    Attributes:
        md5: The content.
        places: Every file with the content or derived from it, by version of an output. The value
            is its origin; None for files with the content itself.
        shared: Derived contents that unrelated files have, too, each with the path of one of them.
        unread: Versions that could not be searched because the cache lacks their listing.
    """

    md5: str
    places: dict[VersionOf, dict[FileVersion, Origin | None]] = field(default_factory=dict)
    shared: dict[str, str] = field(default_factory=dict)
    unread: dict[VersionOf, None] = field(default_factory=dict)

    @property
    def made_of_it(self) -> tuple[str, ...]:
        """The derived contents that no unrelated file has."""
        contents = {
            place.md5: None
            for places in self.places.values()
            for place in places
            if place.md5 != self.md5 and place.md5 not in self.shared
        }
        return tuple(contents)

    @property
    def contents(self) -> tuple[str, ...]:
        """The content itself and `made_of_it`."""
        return (self.md5, *self.made_of_it)


def find_occurrences(
    tracer: Tracer, history: VersionHistory, listings: Listings, md5: str
) -> Occurrences:
    """Find a content and everything derived from it, in all versions."""
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
        """The entries that depend on each version, at whatever path: data sets may be renamed."""
        found: defaultdict[str, list[Recorded]] = defaultdict(list)
        for entry in self._history.entries:
            for version in entry.read.values():
                found[version.md5].append(entry)
        return found

    def _add_derived(self, source: VersionOf, entry: Recorded, made: VersionOf) -> bool:
        """Add the files of a version derived from another one; returns whether any were new."""
        files = self._tracer.files(*made)
        if files is None:
            return False
        known = self._found.places.setdefault(made, {})
        before = len(known)
        upstream = self._read_by(entry)
        # The paths in the entry, which differ if a data set was renamed.
        paths = [path for path, version in entry.read.items() if version.md5 == source[1]]
        for place in list(self._found.places[source]):
            for read in (replace(place, output=path) for path in paths):
                for derived, origin in find_derived(read, files, upstream):
                    known.setdefault(derived, origin)
        if not known:
            del self._found.places[made]
        return len(known) > before

    def _read_by(self, entry: Recorded) -> list[Files]:
        """The dependencies of an entry whose listings are available, most downstream first."""
        rank = self._tracer.rank
        read = sorted(entry.read.items(), key=lambda item: -rank.get(item[0], 0))
        found = (self._tracer.files(path, version.md5) for path, version in read)
        return [files for files in found if files is not None]

    def _find_shared(self) -> None:
        """Find derived contents that unrelated files have, too, such as a black frame."""
        made = set(self._found.made_of_it)
        # Identified by md5, not by path: a version has the same files at any path.
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
