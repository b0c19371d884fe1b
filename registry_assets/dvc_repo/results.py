"""What persisting through DVC hands back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from registry_assets.model import Version

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
    """

    path: str
    version: Version
    previous: Version | None


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
