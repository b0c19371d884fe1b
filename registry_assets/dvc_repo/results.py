"""The results of persisting through DVC."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from registry_assets.dvc_repo.listings import FileChanges, Listings, compare_files
from registry_assets.model import Version, is_folder
from registry_assets.units import format_size

Outcome = Literal["unchanged", "restored", "ran", "recorded"]
"""How a result came about.

- ``unchanged``: the workspace already matched the metafile.
- ``restored``: the recorded version, or one in the run cache, was linked from the cache.
- ``ran``: the command was run.
- ``recorded``: data in the workspace was recorded as a new version.
"""


@dataclass(frozen=True)
class RecordedOutput:
    """An output after it was recorded.

    Attributes:
        path: Relative to the root.
        version: The version that the metafile records now.
        previous: The version that it recorded before; None if there was none.
        listings: The listings of both versions.
    """

    path: str
    version: Version
    previous: Version | None
    listings: Listings = field(repr=False, compare=False)

    @property
    def is_new(self) -> bool:
        """Whether the version differs from the previous one."""
        return self.previous is None or self.previous.md5 != self.version.md5

    @cached_property
    def files(self) -> Mapping[str, str] | None:
        """The files of a folder with md5s; None for a file, or if the listing is missing."""
        return self.listings.read(self.version.md5) if is_folder(self.version.md5) else None

    @cached_property
    def changes(self) -> FileChanges | None:
        """How its files differ from the previous version; None if a listing is missing."""
        if not self.is_new:
            return FileChanges()
        before: Mapping[str, str] | None = {}
        if self.previous is not None and is_folder(self.previous.md5):
            before = self.listings.read(self.previous.md5)
        return None if before is None or self.files is None else compare_files(before, self.files)

    @property
    def summary(self) -> str:
        """The size of the version and its changes, for people; see `summarise_version`."""
        changes = self.changes if self.is_new else None
        return summarise_version(self.version, self.previous, changes)


def summarise_version(
    version: Version, previous: Version | None, changes: FileChanges | None = None
) -> str:
    """Formats a version: ``65 files (+0 −51 ~0), 3.1 MB (−2.4 MB)``.

    Args:
        version: The version.
        previous: The previous version, to compare the size with.
        changes: How the files differ from it; left out when None.
    """
    parts = []
    if version.nfiles is not None:
        files = "1 file" if version.nfiles == 1 else f"{version.nfiles} files"
        if changes is not None:
            files += f" (+{len(changes.added)})" if previous is None else f" ({changes})"
        parts.append(files)
    if version.size is not None:
        before = previous.size if previous is not None else None
        grown = version.size - before if before is not None else 0
        sign = "+" if grown > 0 else "−"
        parts.append(
            format_size(version.size) + (f" ({sign}{format_size(abs(grown))})" if grown else "")
        )
    return ", ".join(parts)


@dataclass(frozen=True)
class MadeOn:
    """The machine that made the outputs of a stage, where it was another one.

    Attributes:
        machine: Its name.
        run_seconds: How long the stage took there, in seconds.
        wait_seconds: How long it waited for a worker, and for data to be fetched and stored.
        versions: The versions of the software there, by name.
    """

    machine: str
    run_seconds: float
    wait_seconds: float
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass
class PendingResult:
    """Locked outputs in the workspace that are not recorded yet.

    The first call of `persist` records all of them; further calls return the same result.

    Attributes:
        address: The stage or ``.dvc`` file, by its path from the root.
        outcome: How the result came about.
        seconds: How long it took.
        made_on: The machine that ran the command, if it was another one.
    """

    address: str
    outcome: Outcome
    seconds: float
    made_on: MadeOn | None = field(default=None, kw_only=True)
    _record: Callable[[], Mapping[str, RecordedOutput]] = field(repr=False)
    _recorded: Mapping[str, RecordedOutput] | None = field(default=None, repr=False)

    @property
    def is_persisted(self) -> bool:
        """Whether `persist` has recorded the result."""
        return self._recorded is not None

    def persist(self) -> Mapping[str, RecordedOutput]:
        """Records every output, once, and returns them by path.

        Raises:
            RegistryError: when it cannot be recorded; the metafile then keeps the old version.
        """
        if self._recorded is None:
            self._recorded = self._record()
        return self._recorded
