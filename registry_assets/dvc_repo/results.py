"""What persisting through DVC hands back."""

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

- ``unchanged``: workspace and metafile agreed already.
- ``restored``: the recorded version, or one that the run cache knows, was linked back.
- ``ran``: the command was run.
- ``recorded``: data that is there got its first or next version.
"""


@dataclass(frozen=True)
class RecordedOutput:
    """One output after it was recorded.

    Attributes:
        path: Relative to the root.
        version: What the metafile names now.
        previous: What it named before, None when there was nothing.
        listings: Where the files of both are listed.
    """

    path: str
    version: Version
    previous: Version | None
    listings: Listings = field(repr=False, compare=False)

    @property
    def is_new(self) -> bool:
        """Whether it is another version than before."""
        return self.previous is None or self.previous.md5 != self.version.md5

    @cached_property
    def files(self) -> Mapping[str, str] | None:
        """The files of a folder and their md5s; None of a file, or without a listing."""
        return self.listings.read(self.version.md5) if is_folder(self.version.md5) else None

    @cached_property
    def changes(self) -> FileChanges | None:
        """How its files differ from those of the version before; None where that is not known."""
        if not self.is_new:
            return FileChanges()
        before: Mapping[str, str] | None = {}
        if self.previous is not None and is_folder(self.previous.md5):
            before = self.listings.read(self.previous.md5)
        return None if before is None or self.files is None else compare_files(before, self.files)

    @property
    def summary(self) -> str:
        """What it holds and how that differs from the version before, for people."""
        changes = self.changes if self.is_new else None
        return summarise_version(self.version, self.previous, changes)


def summarise_version(
    version: Version, previous: Version | None, changes: FileChanges | None = None
) -> str:
    """A version in words: ``65 files (+0 −51 ~0), 3.1 MB (−2.4 MB)``.

    Args:
        version: The version.
        previous: The one before, whose size is compared.
        changes: How the files differ from it; not said when None.
    """
    said = []
    if version.nfiles is not None:
        said.append(f"{version.nfiles} files" + (f" ({changes})" if changes is not None else ""))
    if version.size is not None:
        before = previous.size if previous is not None else None
        grown = version.size - before if before is not None else 0
        sign = "+" if grown > 0 else "−"
        said.append(
            format_size(version.size) + (f" ({sign}{format_size(abs(grown))})" if grown else "")
        )
    return ", ".join(said)


@dataclass
class PendingResult:
    """Outputs that stand in the workspace and are held, but not recorded yet.

    `persist` records them all in one go, whichever output asks first; the others find it done.

    Attributes:
        address: The stage or ``.dvc`` file, by its path from the root.
        outcome: How the result came about.
        seconds: How long making it took.
    """

    address: str
    outcome: Outcome
    seconds: float
    _record: Callable[[], Mapping[str, RecordedOutput]] = field(repr=False)
    _recorded: Mapping[str, RecordedOutput] | None = field(default=None, repr=False)

    @property
    def is_persisted(self) -> bool:
        """Whether the result was recorded."""
        return self._recorded is not None

    def persist(self) -> Mapping[str, RecordedOutput]:
        """Records every output, once, and returns them by path.

        Raises:
            RegistryError: when it cannot be recorded; the metafile then names the version before.
        """
        if self._recorded is None:
            self._recorded = self._record()
        return self._recorded
