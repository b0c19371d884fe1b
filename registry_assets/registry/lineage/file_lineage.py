"""Files traced through the graph: upstream to the raw file, downstream to all derived files.

`derivation` relates the files of two adjacent outputs. Only listings are read, from the cache:
nothing has to be in the workspace, and nothing is hashed or decoded.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from registry_assets.dvc_repo import Listings
from registry_assets.model import is_folder
from registry_assets.registry.lineage.derivation import (
    Files,
    FileVersion,
    Origin,
    find_derived,
    find_origin,
)
from registry_assets.registry.lineage.graph import Lineage, Node


@dataclass(frozen=True)
class Step:
    """One file of a chain.

    Attributes:
        place: The file.
        node: The output that contains it.
        origin: The upstream file that it was made from; None at the end of the chain.
        is_current: Whether the metafile still records this version of the output.
        made_of: The dependencies of the output; plain files only if there are no others.
        commit: The commit that recorded the version; None when it is not committed yet.
        run: The Dagster run that recorded the version.
        run_note: Why `run` is unknown; None if nobody looked.
        made_with: The programs and the machine that made the version, if known.
    """

    place: FileVersion
    node: Node
    origin: Origin | None
    is_current: bool
    made_of: tuple[str, ...] = ()
    commit: str | None = None
    run: str | None = None
    run_note: str | None = None
    made_with: str | None = None


@dataclass(frozen=True)
class Chain:
    """One file traced upstream to its source.

    Attributes:
        steps: The file itself first, its source last.
        unread: Upstream outputs that could not be searched because the cache lacks their listing.
    """

    steps: tuple[Step, ...]
    unread: tuple[str, ...] = ()

    @property
    def source(self) -> Step:
        """The last step: the raw file, as far as known."""
        return self.steps[-1]

    @property
    def frame(self) -> int | None:
        """The number of the frame, for a frame of a video."""
        frames = (step.origin.frame for step in self.steps if step.origin is not None)
        return next((number for number in frames if number is not None), None)

    @property
    def video(self) -> str | None:
        """The path of the video, for a frame of a video."""
        return None if self.frame is None else self.source.place.path

    @property
    def collection(self) -> str | None:
        """The collection of the raw file; None if it is in none."""
        return self.source.node.partition


class Tracer:
    """Traces files through the graph of one registry; reads each listing once.

    Args:
        lineage: The graph, or the part of it that contains the files.
        listings: Reads the listings.
    """

    def __init__(self, lineage: Lineage, listings: Listings) -> None:
        self.lineage = lineage
        self._listings = listings
        self._read: dict[tuple[str, str], Files | None] = {}
        self._searched: set[str] = set()

    def files(self, output: str, version: str) -> Files | None:
        """The files in a version of an output; None when the cache lacks the listing."""
        key = (output, version)
        if key not in self._read:
            listed = self._listings.read(version) if is_folder(version) else {"": version}
            self._read[key] = None if listed is None else Files(output, version, listed)
        return self._read[key]

    @cached_property
    def recorded(self) -> Mapping[str, str]:
        """The current version of every output, upstream before downstream."""
        return {
            node.path: node.version.md5
            for node in sorted(
                self.lineage.nodes.values(), key=lambda n: (self.rank[n.path], n.path)
            )
            if node.address is not None and node.version is not None
        }

    @cached_property
    def rank(self) -> Mapping[str, int]:
        """The length of the longest path from the start of the graph to each node."""
        rank = dict.fromkeys(self.lineage.nodes, 0)
        waiting = {path: len(up) for path, up in self.lineage.upstream_of.items()}
        ready = [path for path in rank if not waiting.get(path)]
        while ready:
            path = ready.pop()
            for target in self.lineage.downstream_of.get(path, ()):
                rank[target] = max(rank[target], rank[path] + 1)
                waiting[target] -= 1
                if not waiting[target]:
                    ready.append(target)
        return rank

    def origin(self, place: FileVersion) -> Origin | None:
        """The upstream file that a file was made from."""
        return find_origin(place, self._upstream(place)[0])

    def chain(self, place: FileVersion) -> Chain:
        """Trace a file upstream to its source."""
        steps: list[Step] = []
        unread: list[str] = []
        for _ in range(len(self.lineage.nodes)):
            upstream, missing = self._upstream(place)
            origin = find_origin(place, upstream)
            steps.append(self._step(place, origin))
            if missing and (origin is None or not origin.is_proof):
                unread.extend(missing)
            if origin is None:
                break
            place = origin.place
        return Chain(tuple(_without_known(steps)), tuple(dict.fromkeys(unread)))

    def _upstream(self, place: FileVersion) -> tuple[list[Files], list[str]]:
        """The dependencies of a file's output, most downstream first; and those without listing."""
        found, missing = [], []
        versions = self._versions_read(place)
        for path in sorted(versions, key=lambda path: -self.rank[path]):
            files = self.files(path, versions[path])
            if files is None:
                missing.append(path)
            else:
                found.append(files)
        return found, missing

    def _versions_read(self, place: FileVersion) -> Mapping[str, str]:
        """The versions that an output was made from.

        For an older version of a stage's output: those that the current version was made from.
        """
        read = self.lineage.versions_read(place.output)
        current = self.recorded.get(place.output)
        is_import = self.lineage.nodes[place.output].kind == "import"
        return {
            # The source of an import has the same version as the import, current or older.
            path: place.version if is_import and version.md5 == current else version.md5
            for path, version in read.items()
        }

    def _step(self, place: FileVersion, origin: Origin | None) -> Step:
        node = self.lineage.nodes[place.output]
        is_current = self.recorded.get(place.output) == place.version
        upstream = self.lineage.upstream_of.get(place.output, ())
        data = tuple(path for path in upstream if self.lineage.nodes[path].kind != "file")
        return Step(place, node, origin, is_current, data or upstream)

    def holders(self, md5: str) -> tuple[list[FileVersion], list[str]]:
        """The current files with a content, upstream first; and the outputs without listing."""
        found: list[FileVersion] = []
        unread: list[str] = []
        named: dict[str, bool | None] = {}
        for output, version in self.recorded.items():
            # For one content, searching the text of a listing is much faster than parsing it. Who
            # asks for a second one may ask for many.
            is_parsed = (output, version) in self._read or version in self._searched
            if version not in named and not is_parsed:
                named[version] = (
                    self._listings.names(version, md5) if is_folder(version) else version == md5
                )
            files = self.files(output, version) if is_parsed or named[version] else None
            if files is not None:
                found.extend(files.with_content(md5))
            elif is_parsed or named[version] is None:
                unread.append(output)
        self._searched.update(named)
        return found, unread

    def find_standing(self, md5s: Collection[str]) -> Mapping[str, str]:
        """The contents that a current version still has, each with one output that has it."""
        wanted, found = frozenset(md5s), dict[str, str]()
        for output, version in self.recorded.items() if wanted else ():
            held = self._listings.contents(version) or frozenset()
            found |= dict.fromkeys(wanted & held, output)
        return found

    def last_chains(self, places: Iterable[FileVersion]) -> tuple[Chain, ...]:
        """The chains of several files with one content, without those that are part of another."""
        chains: list[Chain] = []
        seen: set[tuple[str, str, str]] = set()
        for place in sorted(places, key=lambda place: (-self.rank[place.output], place.path)):
            if place.identity not in seen:
                chains.append(self.chain(place))
                seen.update(step.place.identity for step in chains[-1].steps)
        return tuple(chains)

    def forward(self, places: Iterable[FileVersion]) -> tuple[tuple[Step, ...], tuple[str, ...]]:
        """Trace files downstream.

        Returns:
            The files themselves and all files derived from them, upstream first; and the outputs
            whose listing the cache lacks.
        """
        reached: dict[str, dict[str, Step]] = {}
        for place in places:
            step = self._step(place, self.origin(place))
            reached.setdefault(place.output, {})[place.file] = step
        unread = []
        for output, version in self.recorded.items():
            sources = [path for path in self.lineage.upstream_of.get(output, ()) if path in reached]
            if not sources:
                continue
            files = self.files(output, version)
            if files is None:
                unread.append(output)
                continue
            upstream, _ = self._upstream(FileVersion(output, "", "", version))
            for source in [step.place for path in sources for step in reached[path].values()]:
                for derived, origin in find_derived(source, files, upstream):
                    known = reached.setdefault(output, {})
                    known.setdefault(derived.file, self._step(derived, origin))
        found = (reached.get(output, {}).values() for output in self.recorded)
        return tuple(step for steps in found for step in steps), tuple(unread)


def _without_known(steps: Sequence[Step]) -> Iterator[Step]:
    """The steps of a chain, without those alternatives that are steps of it too."""
    on_the_way = {step.place.identity for step in steps}
    for step in steps:
        if step.origin is None or not step.origin.also:
            yield step
        else:
            also = tuple(o for o in step.origin.also if o.identity not in on_the_way)
            yield replace(step, origin=replace(step.origin, also=also))
