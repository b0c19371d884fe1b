"""The registry as the page shows it: read again when it has changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from threading import RLock, Thread

from registry_assets.curation.initial_decisions import PARAMETERS
from registry_assets.dvc_repo import DvcRepo, Listings
from registry_assets.errors import RegistryError, describe_unread
from registry_assets.fingerprint import TreeFingerprint, UntoldChangesError, is_settled
from registry_assets.images.measurements import MEASUREMENTS_TABLE
from registry_assets.look.gallery import Galleries
from registry_assets.look.recorded import RecordedContents
from registry_assets.look.threads import Threads
from registry_assets.model import PIPELINE_FILE, Registry, is_folder
from registry_assets.registry.lineage.building import build_lineage
from registry_assets.registry.lineage.graph import Lineage
from registry_assets.registry.metafile_walk import SPECIAL_FOLDERS, Kind, RepeatedWalk
from registry_assets.registry.reading import read_registry
from registry_assets.revisions.changes.version_history import (
    VersionHistory,
    read_version_history,
)
from registry_assets.settings import SETTINGS_FILE
from registry_assets.units import count_of

Report = Callable[[str], None]
"""Takes a line of progress."""

_LOOK_SECONDS = 1.0
"""How long the registry counts as unchanged after a look at its metafiles."""

_UNSETTLED_SECONDS = 0.3
"""The same if it changed just before it was read: a page that opens should soon know its state."""

_SETTLED_SECONDS = 0.1
"""How much older than a reading the newest change must be, so that every later one is noticed.
Less than for what is stored: here a change that is missed is noticed with the next one."""

_READ_AT_ONCE = 4
_MOST_WAITING = 200
_UNKNOWN = "unknown"


@dataclass(frozen=True)
class Reading:
    """The registry as it was read once.

    Attributes:
        state: A fingerprint of metafiles, parameters and decisions at that time.
        lineage: The graph.
        listings: Reads the listings in the cache, and finds its objects.
        recorded: The contents that may be served.
        galleries: The pictures of its data sets and folders.
    """

    state: str
    lineage: Lineage
    listings: Listings
    recorded: RecordedContents
    galleries: Galleries

    @property
    def registry(self) -> Registry:
        """All that the metafiles declare."""
        return self.lineage.registry

    @cached_property
    def history(self) -> VersionHistory:
        """Every version that a commit, or the work tree, has recorded."""
        return read_version_history(self.registry)


class OpenRegistry:
    """A registry that people look at; any number of threads may use it.

    Attributes:
        root: The registry.
        reading: Threads for functions that read.
        writing: The thread for functions that write, one at a time.

    Args:
        root: Any folder of the registry.
    """

    def __init__(self, root: Path) -> None:
        self.dvc = DvcRepo(root)
        self.root = self.dvc.root
        self.reading = Threads("reading", at_once=_READ_AT_ONCE, waiting=_MOST_WAITING)
        self.writing = Threads("writing", at_once=1, waiting=_MOST_WAITING)
        self._lock = RLock()
        self._walk = RepeatedWalk(self.root)
        self._named: set[str] = set()
        self._known: Reading | None = None
        self._looked = 0.0

    def read(self) -> Reading:
        """The registry as it is now, or was up to a second ago.

        Raises:
            RegistryError: when it cannot be read.
        """
        with self._lock:
            if self._known is not None:
                is_settled_now = self._known.state != _UNKNOWN
                wait = _LOOK_SECONDS if is_settled_now else _UNSETTLED_SECONDS
                if time.monotonic() - self._looked < wait:
                    return self._known
            if self._known is None or self._look(self._known.registry)[0] != self._known.state:
                self._known = self._read()
            self._looked = time.monotonic()
            return self._known

    def read_again(self) -> Reading:
        """The registry as it is at this moment.

        Raises:
            RegistryError: when it cannot be read.
        """
        self.look_again()
        return self.read()

    def read_ahead(self, source: str | None) -> None:
        """Read the pictures of a source in a thread, before the page asks for them.

        Args:
            source: The data set or folder; None for the first data set.
        """

        def read() -> None:
            reading = self.read()
            named = source or next((d.path for d in reading.registry.datasets), None)
            # Whoever asks for it gets the error.
            with suppress(RegistryError):
                if named is not None:
                    reading.galleries.open(named)

        Thread(target=read, name="reading-ahead", daemon=True).start()

    def fetch_what_is_listed(self, report: Report) -> Iterator[str]:
        """Fetch what the page is made of and the cache lacks: listings and tables, no pictures.

        Args:
            report: Takes lines of progress.

        Yields:
            Why something could not be fetched.
        """
        reading = self.read()
        nodes = [node for node in reading.lineage.nodes.values() if node.address is not None]
        lacking = {
            node.version.md5: node.path
            for node in nodes
            if node.version is not None
            and is_folder(node.version.md5)
            and reading.listings.place_of(node.version.md5) is None
        }
        if lacking:
            report(f"fetching {count_of(len(lacking), 'listing')} that the cache lacks")
            problem = self.dvc.fetch_listings(lacking, report=report)
            left = [path for md5, path in lacking.items() if not reading.listings.place_of(md5)]
            if left:
                yield problem or describe_unread(left)
        for node in nodes:
            if node.kind != "stage" or node.version is None or node.version.nfiles != 1:
                continue
            table = (reading.listings.read(node.version.md5) or {}).get(MEASUREMENTS_TABLE)
            if table is not None and reading.listings.place_of(table) is None:
                report(f"fetching the measures in {node.path}")
                files = {table: f"{node.path}/{MEASUREMENTS_TABLE}"}
                try:
                    self.dvc.fetch_files(node.address or "", node.path, files, report=report)
                except RegistryError as error:
                    yield str(error)

    def look_again(self) -> None:
        """Look at the metafiles again next time: after something was written here."""
        with self._lock:
            self._looked = 0.0

    def _read(self) -> Reading:
        started = time.time()
        registry = read_registry(self.root)
        state, newest = self._look(registry)
        if not is_settled(newest, started, _SETTLED_SECONDS):
            # Something may have changed after it was read: read it again next time.
            state = _UNKNOWN
        lineage = build_lineage(registry)
        listings = Listings(self.dvc.object_folders)
        nodes = [node for node in lineage.nodes.values() if node.address is not None]
        # Mostly, what stages made are files of their inputs.
        nodes.sort(key=lambda node: node.kind == "stage")
        versions = [node.version.md5 for node in nodes if node.version is not None]
        return Reading(
            state,
            lineage,
            listings,
            RecordedContents(listings, versions),
            Galleries(lineage, listings),
        )

    def _look(self, registry: Registry) -> tuple[str, int]:
        """A fingerprint of all that is shown, and when it last changed, in nanoseconds."""
        fingerprint = TreeFingerprint()
        try:
            for path in self._watched(registry):
                fingerprint.add(self.root / path)
        except (OSError, UntoldChangesError):
            return _UNKNOWN, time.time_ns()
        return fingerprint.digest(), fingerprint.newest

    def _watched(self, registry: Registry) -> Iterator[str]:
        watched = (Kind.METAFILE, Kind.LIST, Kind.IGNORE_FILE)
        found = sorted(path for path, kind in self._walk(registry) if kind in watched)
        yield from found
        yield SETTINGS_FILE
        for folder, names in SPECIAL_FOLDERS.items():
            yield from (f"{folder}/{name}" for name in names)
        # A data set that could not be read names no files, but one of them may be what is mended:
        # watch those that it named before, and those that DVC reads by itself.
        self._named.update(_named_files(registry))
        beside = (PurePosixPath(path) for path in found)
        read_by_dvc = (
            str(path.with_name(PARAMETERS)) for path in beside if path.name == PIPELINE_FILE
        )
        yield from sorted(self._named.union(read_by_dvc))


def _named_files(registry: Registry) -> Iterator[str]:
    """Parameters, variables and decisions, as the metafiles name them."""
    stages = (*registry.stages, *(template.stage for template in registry.templates))
    yield from (parameter.file for stage in stages for parameter in stage.parameters)
    yield from registry.variable_files
    yield from (dataset.decisions for dataset in registry.datasets if dataset.decisions)
