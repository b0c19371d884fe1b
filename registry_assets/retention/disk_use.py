"""The disk use of the cache, by output and version, and freeing unneeded objects."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from registry_assets.dvc_repo import CachedObject, DvcRepo
from registry_assets.errors import RefusedError, describe_unread
from registry_assets.model import is_folder
from registry_assets.registry.lineage.file_lineage import Tracer
from registry_assets.registry.lineage.graph import Lineage
from registry_assets.retention.originals import Original, find_originals, name_originals
from registry_assets.retention.other_clones import (
    CloneHistory,
    find_problems,
    read_histories,
    read_history,
    read_other_clones,
)
from registry_assets.revisions.changes.version_history import (
    WORK_TREE,
    VersionHistory,
    read_runs,
    read_version_history,
)

Standing = Literal["current", "kept", "old"]
"""``current``: in the work tree; ``kept``: in a branch, tag or stash; ``old``: in neither."""


@dataclass(frozen=True)
class VersionUse:
    """The disk use of one version of an output.

    Attributes:
        version: The md5 that DVC records.
        state: What records it: ``current``: the work tree; ``kept``: a branch, tag or stash;
            ``old``: only older commits, or none.
        commit: The newest commit that recorded it; None if there is none.
        kept_by: The branches, tags and stashes that have it now.
        objects: Number of its objects in the cache.
        size: Size of these objects in bytes.
        own: Size of those that belong to no version listed before it.
        freed: Size of those that are not needed.
        missing: Number of its objects that are not in the cache.
    """

    version: str
    state: Standing
    commit: str | None
    kept_by: tuple[str, ...]
    objects: int
    size: int
    own: int
    freed: int
    missing: int


@dataclass(frozen=True)
class OutputUse:
    """The disk use of one output.

    Attributes:
        path: The path of the output.
        kind: The kind of the node; ``gone`` if the metafiles no longer declare it.
        versions: Its versions, the current one first.
    """

    path: str
    kind: str
    versions: tuple[VersionUse, ...]

    def sum_of(self, standing: Standing) -> int:
        """The sum of `own` of its versions with a standing."""
        return sum(version.own for version in self.versions if version.state == standing)


@dataclass(frozen=True)
class DiskUse:
    """The disk use of the cache.

    Attributes:
        outputs: The outputs: raw collections first, upstream before downstream; last, those that
            the metafiles no longer declare.
        objects: Number of objects in the cache.
        size: Total size in bytes.
        needed: Size of the objects that the work tree, branches, tags or stashes need.
        unneeded: Unneeded objects that can be recovered: a commit records them, a remote has them,
            or a stage can recompute them. Without hardlinked ones.
        freed: Size of `unneeded`.
        linked: Number of unneeded objects that a link leads to: a hardlink elsewhere on this disk,
            or a symbolic link in a work tree.
        others: Size of the needed objects that only other clones have recorded.
        originals: Unneeded objects that may not be recoverable.
        unread: Versions whose listings are missing.
        unasked: Why remotes did not answer.
        problems: Why it is not known what this repository needs; nothing is freed then.
        shares_cache: Whether other clones may use the cache.
        clones: Other clones that use it; the objects that they need count as needed.
        unknown_clones: Other clones that cannot be read, each with the next step.
        unfinished: Number of files that killed commands did not finish, or that are being written.
        unfinished_size: Size of these files in bytes.
    """

    outputs: tuple[OutputUse, ...]
    objects: int
    size: int
    needed: int
    unneeded: frozenset[str]
    freed: int
    linked: int
    others: int
    originals: tuple[Original, ...]
    unread: tuple[str, ...] = field(default=())
    unasked: tuple[str, ...] = field(default=())
    problems: tuple[str, ...] = ()
    shares_cache: bool = False
    clones: tuple[str, ...] = ()
    unknown_clones: tuple[str, ...] = ()
    unfinished: int = 0
    unfinished_size: int = 0

    @property
    def is_known(self) -> bool:
        """Whether it is known what is needed, so that anything can be freed."""
        return not self.problems and not self.unknown_clones

    def objects_to_free(self, *, raw: bool) -> frozenset[str]:
        """The objects to remove; with `raw`, including originals."""
        return self.unneeded.union(o.md5 for o in self.originals) if raw else self.unneeded

    def size_to_free(self, *, raw: bool) -> int:
        """The size of `objects_to_free`."""
        return self.freed + (sum(o.size for o in self.originals) if raw else 0)


def read_disk_use(lineage: Lineage, dvc: DvcRepo) -> DiskUse:
    """Read the disk use of the cache; assigns each object to one version of one output.

    Reads listings and the sizes of objects, but no objects. Asks remotes about unneeded objects
    that could not be recomputed.
    """
    history = read_version_history(lineage.registry)
    if not dvc.shares_cache:
        return _Reader(lineage, history, dvc).read()
    others = read_other_clones(dvc)
    return replace(
        _Reader(lineage, history, dvc, others.histories).read(),
        shares_cache=True,
        clones=others.roots,
        unknown_clones=others.unknown,
    )


class _Measured(NamedTuple):
    """What is measured of a version, as in `VersionUse`."""

    objects: int
    size: int
    own: int
    freed: int
    missing: int


class _Reader:
    def __init__(
        self,
        lineage: Lineage,
        history: VersionHistory,
        dvc: DvcRepo,
        others: Sequence[CloneHistory] = (),
    ) -> None:
        self._histories = [history, *(other.history for other in others)]
        self._linked = frozenset().union(*(other.linked for other in others))
        self._lineage = lineage
        self._history = history
        self._dvc = dvc
        self._listings = dvc.listings()
        self._stored = dvc.scan_cache()
        self._sizes = {md5: stored.size for md5, stored in self._stored.items()}
        self._measured: dict[str, _Measured] = {}
        self._tracer = Tracer(lineage, self._listings)
        self._contents: dict[str, frozenset[str] | None] = {}
        self._unread: dict[str, None] = {}
        self._counted: set[str] = set()
        self._unneeded: frozenset[str] = frozenset()
        self._unasked: list[str] = []

    def read(self) -> DiskUse:
        own = self._expand(self._history.needed_objects())
        others = (history.needed_objects() for history in self._histories[1:])
        needed = own | self._expand(frozenset().union(*others))
        nameless = self._stored.keys() - needed
        linked = {md5 for md5 in nameless if self._stored[md5].is_linked} | self._linked & nameless
        unneeded = frozenset(nameless - linked)
        originals = self._find_originals(unneeded)
        self._unneeded = unneeded.difference(o.md5 for o in originals)
        outputs = tuple(self._outputs())
        unfinished = self._dvc.find_unfinished()
        return DiskUse(
            outputs,
            len(self._stored),
            self._size(self._stored),
            self._size(needed & self._stored.keys()),
            self._unneeded,
            self._size(self._unneeded),
            len(linked),
            self._size((needed & self._stored.keys()) - own - self._counted),
            originals,
            tuple(self._unread),
            tuple(self._unasked),
            find_problems(self._lineage, self._history),
            unfinished=len(unfinished),
            unfinished_size=sum(unfinished.values()),
        )

    def contents(self, md5: str) -> frozenset[str] | None:
        """As `Listings.contents`, but reads each listing once."""
        if md5 not in self._contents:
            self._contents[md5] = self._listings.contents(md5)
        return self._contents[md5]

    def _expand(self, md5s: Collection[str]) -> frozenset[str]:
        """Objects, including the contents of folders among them."""
        held = (self.contents(md5) or frozenset() for md5 in md5s if is_folder(md5))
        return frozenset(md5s).union(*held)

    def _find_originals(self, unneeded: frozenset[str]) -> tuple[Original, ...]:
        committed = self._expand(
            frozenset().union(*(h.committed_objects() for h in self._histories))
        )
        # Empty files can always be recreated.
        unknown = {md5 for md5 in unneeded - committed if self._stored[md5].size}
        if not unknown:
            return ()
        registry = self._lineage.registry
        runs = [entry for history in self._histories for entry in history.entries]
        runs += read_runs(registry, self._dvc.run_cache_folder)
        staying = self._stored.keys() - unneeded
        originals = find_originals(registry, self, runs, unknown, staying)
        originals -= self._on_remotes(originals)
        versions = {}
        for md5 in filter(is_folder, originals):
            held = self.contents(md5)
            files = {} if held is None else self._listings.read(md5) or {}
            # Keep a listing only if it names an original, or is broken and may name any.
            if held is None or not originals.isdisjoint(held):
                versions[md5] = files
        sizes = {
            md5: self._stored[md5].size
            for md5 in sorted(originals)
            if not is_folder(md5) or md5 in versions
        }
        raw = {path: node for path, node in self._lineage.nodes.items() if node.kind == "raw"}
        collections: dict[str, frozenset[str]] = {}
        for path, md5 in self._history.versions:
            if path in raw:
                has = self.contents(md5) or frozenset()
                collections[path] = collections.get(path, frozenset()) | has
        return name_originals(sizes, versions, collections)

    def _on_remotes(self, md5s: Collection[str]) -> frozenset[str]:
        """The objects that a remote has with the right size."""
        there: set[str] = set()
        for name in self._dvc.remote_names() if md5s else ():
            answer = self._dvc.find_on_remote(name, md5s)
            if answer.problem is not None:
                self._unasked.append(answer.problem)
            there |= {m for m, size in answer.sizes.items() if size == self._stored[m].size}
        return frozenset(there)

    def _size(self, md5s: Collection[str]) -> int:
        return sum(map(self._sizes.__getitem__, md5s))

    def _outputs(self) -> Iterator[OutputUse]:
        versions: defaultdict[str, list[str]] = defaultdict(list)
        for path, md5 in self._history.versions:
            versions[path].append(md5)
        nodes, rank = self._lineage.nodes, self._tracer.rank
        # Upstream first, and current versions before older ones, so that a picture linked by other
        # outputs is assigned to its collection.
        paths = sorted(versions, key=lambda path: (path not in nodes, rank.get(path, 0), path))
        found: dict[str, list[VersionUse]] = {}
        standings: tuple[Standing, ...] = ("current", "kept", "old")
        for standing in standings:
            for path in paths:
                for md5 in versions[path]:
                    if self._standing(path, md5) == standing:
                        found.setdefault(path, []).append(self._version_use(path, md5, standing))
        for path in paths:
            kind = nodes[path].kind if path in nodes else "gone"
            yield OutputUse(path, kind, tuple(found[path]))

    def _standing(self, path: str, md5: str) -> Standing:
        keepers = self._history.keepers_of(path, md5)
        return "current" if WORK_TREE in keepers else "kept" if keepers else "old"

    def _version_use(self, path: str, md5: str, standing: Standing) -> VersionUse:
        measured = self._measured.get(md5) or self._measure(md5)
        # What another output has as the same version belongs to the first one.
        self._measured[md5] = measured._replace(own=0)
        keepers = self._history.keepers_of(path, md5)
        return VersionUse(
            md5,
            standing,
            self._history.commit_of(path, md5),
            tuple(keeper for keeper in keepers if keeper not in (WORK_TREE, "HEAD")),
            **measured._asdict(),
        )

    def _measure(self, md5: str) -> _Measured:
        members = self._objects(md5)
        there = members & self._stored.keys()
        fresh = there - self._counted
        self._counted |= there
        return _Measured(
            len(there),
            self._size(there),
            self._size(fresh),
            self._size(there & self._unneeded),
            len(members) - len(there),
        )

    def _objects(self, md5: str) -> frozenset[str]:
        if not is_folder(md5):
            return frozenset({md5})
        contents = self.contents(md5)
        if contents is None:
            self._unread[md5] = None
        return frozenset({md5, *(contents or ())})


def free(
    lineage: Lineage,
    dvc: DvcRepo,
    use: DiskUse,
    report: Callable[[str], None],
    *,
    raw: bool = False,
) -> Sequence[CachedObject]:
    """Remove unneeded objects from the cache; checks again that they are not needed.

    Removes what killed commands did not finish there, too.

    Args:
        lineage: The graph.
        dvc: The repository.
        use: The disk use as shown to the user; no other objects are removed.
        report: Called with a message when waiting for another process.
        raw: Whether to remove originals, too.

    Returns:
        The removed objects: fewer than shown, if some are needed by now.

    Raises:
        RefusedError: when it is not known which objects are needed.
    """
    _check_is_known(CloneHistory(dvc, lineage, read_version_history(lineage.registry)))
    wanted = use.objects_to_free(raw=raw)
    with dvc.freeing() as clones:
        _check_readable(clones.unknown)

        def find_needed() -> Collection[str]:
            now = read_history(dvc)
            others, unknown = read_histories(clones.readable)
            _check_readable(unknown)
            for each in (now, *others):
                _check_is_known(each, "" if each is now else f"{each.dvc.root}: ")
            reader = _Reader(now.lineage, now.history, dvc, others)
            return wanted - reader.read().objects_to_free(raw=raw)

        others = [
            DvcRepo(root, wait_seconds=dvc.wait_seconds, registers=False)
            for root in clones.readable
        ]
        return dvc.remove_from_cache(wanted, find_needed, others=others, report=report, sweeps=True)


def _check_readable(unknown: Sequence[str]) -> None:
    for problem in unknown:
        raise _not_freed(problem)


def _not_freed(reason: str) -> RefusedError:
    return RefusedError(f"nothing was freed: {reason}")


def _check_is_known(clone: CloneHistory, where: str = "") -> None:
    """Refuse if a metafile or listing cannot be read, because it may need any object."""
    lineage, history, dvc = clone.lineage, clone.history, clone.dvc
    for problem in find_problems(lineage, history):
        raise _not_freed(
            f"it is not known what is needed, because {where}{problem}: fix that first"
        )
    named = {md5: path for path, md5 in history.versions if history.keepers_of(path, md5)}
    folders = {md5: path for md5, path in named.items() if is_folder(md5)}
    refusal = dvc.fetch_listings(folders, report=lambda _line: None)
    if refusal is not None:
        raise _not_freed(f"{where}{refusal}")
    listings = dvc.listings()
    for path, version in Tracer(lineage, listings).recorded.items():
        if version in folders and listings.contents(version) is None:
            raise _not_freed(f"{where}{describe_unread([path])}")
