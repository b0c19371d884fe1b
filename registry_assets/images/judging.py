"""The verdicts on all images of a data set, from columns and thresholds.

The thresholds and decisions are applied in the order of `removal_reason` and `classify`, with the
same comparisons; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from registry_assets.images.measurement_columns import MeasurementColumns
from registry_assets.images.verdicts import (
    BRIGHT,
    DARK,
    DAY,
    FOG,
    IMAGE_CLASSES,
    BrightnessRange,
    ImageClass,
    Threshold,
)


class Outcome(NamedTuple):
    """What becomes of a file.

    Attributes:
        reason: Why it is left out; empty if it is kept. "unreadable" stands for all reasons in
            the table.
        image_class: Its class; None if it is left out, or has no class.
    """

    reason: str = ""
    image_class: ImageClass | None = None

    @property
    def is_kept(self) -> bool:
        """Whether the data set keeps the file."""
        return not self.reason

    def __str__(self) -> str:
        """The reason, or the class as in "day/foggy"."""
        return self.reason or "/".join(self.image_class or ("kept",))


OUTCOMES: tuple[Outcome, ...] = (
    *(Outcome("unreadable"), Outcome("denied"), Outcome("duplicate")),
    *(Outcome(DARK.met), Outcome(BRIGHT.met), Outcome()),
    *(Outcome(image_class=image_class) for image_class in IMAGE_CLASSES),
)
"""All outcomes; `judge` returns indices into this tuple."""

UNREADABLE, DENIED, DUPLICATE, _TOO_DARK, _TOO_BRIGHT, _KEPT = range(6)
_FIRST_CLASS = 6

Outcomes = NDArray[np.int8]


class Decided(NamedTuple):
    """The decisions that apply, as masks over the rows.

    Attributes:
        allowed: Kept regardless of thresholds.
        denied: Left out by a person.
        duplicate: Left out as a duplicate of another image.
    """

    allowed: NDArray[np.bool_]
    denied: NDArray[np.bool_]
    duplicate: NDArray[np.bool_]


def no_decisions(rows: int) -> Decided:
    """Return masks for a data set without decisions."""
    none = np.zeros(rows, bool)
    return Decided(none, none, none)


def judge(columns: MeasurementColumns, limits: Mapping[str, float], decided: Decided) -> Outcomes:
    """Return the outcome of each row, an index in `OUTCOMES`.

    Args:
        columns: The rows.
        limits: The values of thresholds by parameter. Those that are missing are not applied;
            without both of day and fog, images have no class.
        decided: The decisions.

    Raises:
        ValueError: If the range of brightness is empty.
    """
    if DARK.parameter in limits and BRIGHT.parameter in limits:
        BrightnessRange.from_params(limits)
    outcomes = np.full(len(columns), _KEPT, np.int8)
    if DAY.parameter in limits and FOG.parameter in limits:
        is_day, is_foggy = _meets(columns, limits, DAY), _meets(columns, limits, FOG)
        # The classes are in the order day, night, and in each foggy, sharp.
        outcomes[:] = _FIRST_CLASS + 2 * ~is_day + ~is_foggy
    # What comes first in `removal_reason` is written last.
    for threshold, outcome in ((BRIGHT, _TOO_BRIGHT), (DARK, _TOO_DARK)):
        if threshold.parameter in limits:
            outcomes[_meets(columns, limits, threshold) & ~decided.allowed] = outcome
    outcomes[decided.duplicate] = DUPLICATE
    outcomes[decided.denied] = DENIED
    outcomes[~columns.is_readable] = UNREADABLE
    return outcomes


def _meets(
    columns: MeasurementColumns, limits: Mapping[str, float], threshold: Threshold
) -> NDArray[np.bool_]:
    met: NDArray[np.bool_] = threshold.is_met(
        getattr(columns, threshold.measure), limits[threshold.parameter]
    )
    return met
