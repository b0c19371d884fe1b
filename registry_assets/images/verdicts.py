"""Verdicts: whether an image is kept, and its class, from a measurement and thresholds.

The values of the thresholds are in a data set's `params.yaml`. Only `Threshold.is_met` says which
side of a threshold an image is on: one image in a stage, or all rows of a table in `judging`.
"""

import operator
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from registry_assets.bounded import check_yaml, read_text
from registry_assets.images.decisions import Decision
from registry_assets.images.measurements import Measurement


@dataclass(frozen=True)
class Threshold:
    """A limit on a measure.

    Attributes:
        parameter: Its key in `params.yaml`.
        measure: The measure, an attribute of `Measurement`.
        is_met: Whether a value, or each of an array, is on the side of `met`: an operator, applied
            to the value and the limit.
        symbol: That operator in text.
        met: The verdict on images that meet it.
        otherwise: The verdict on other images; empty if they are kept.
    """

    parameter: str
    measure: str
    is_met: Callable[[Any, float], Any]
    symbol: str
    met: str
    otherwise: str = ""

    def comparison(self, value: float, limit: float) -> str:
        """Return how a value compares with the limit: `symbol`, or its opposite."""
        return self.symbol if self.is_met(value, limit) else _OPPOSITE[self.symbol]


_OPPOSITE = {"≤": ">", "≥": "<", "<": "≥"}

DARK = Threshold("dark_image_threshold", "mean_brightness", operator.le, "≤", "too dark")
BRIGHT = Threshold("bright_image_threshold", "mean_brightness", operator.ge, "≥", "too bright")
DAY = Threshold("day_night_image_threshold", "mean_brightness", operator.ge, "≥", "day", "night")
FOG = Threshold(
    "fog_image_threshold", "mean_horizontal_variance", operator.lt, "<", "foggy", "sharp"
)

THRESHOLDS = (DARK, BRIGHT, DAY, FOG)
"""All thresholds, in the order in which they are applied."""


def read_limits(path: Path) -> Mapping[str, float]:
    """Return the values of the thresholds in a `params.yaml`; it may lack some or all.

    Raises:
        MetafileError: If the file stands for more than anybody can read.
        ruamel.yaml.error.YAMLError: If the file is not YAML.
    """
    from ruamel.yaml import YAML

    text = read_text(path) if path.is_file() else ""
    check_yaml(text, str(path))
    params: Any = YAML(typ="safe").load(text)
    limits = {}
    for threshold in THRESHOLDS:
        # Text counts too: a stage reads the value from its command line.
        with suppress(KeyError, TypeError, ValueError):
            limits[threshold.parameter] = float(params[threshold.parameter])
    return limits


@dataclass(frozen=True)
class BrightnessRange:
    """The range of mean brightness that is kept, 0 to 255; both limits are excluded.

    Raises:
        ValueError: If the range is empty.
    """

    dark: float
    bright: float

    def __post_init__(self) -> None:
        """Refuse an empty range, which would remove every image."""
        if not self.dark < self.bright:
            raise ValueError(
                f"{DARK.parameter} ({self.dark:g}) has to be less than "
                f"{BRIGHT.parameter} ({self.bright:g})"
            )

    @classmethod
    def from_params(cls, params: Mapping[str, float]) -> "BrightnessRange":
        """Return the range in a parsed `params.yaml`."""
        return cls(params[DARK.parameter], params[BRIGHT.parameter])

    @classmethod
    def from_file(cls, path: Path) -> "BrightnessRange | None":
        """Return the range in a `params.yaml`; None if it has none."""
        try:
            return cls.from_params(read_limits(path))
        except KeyError:
            return None


@dataclass(frozen=True)
class ClassThresholds:
    """The limits of day (mean brightness) and fog (mean horizontal variance)."""

    day_night: float
    fog: float

    @classmethod
    def from_params(cls, params: Mapping[str, float]) -> "ClassThresholds":
        """Return the thresholds in a parsed `params.yaml`."""
        return cls(params[DAY.parameter], params[FOG.parameter])


class ImageClass(NamedTuple):
    """The class of a picture: "day" or "night", "foggy" or "sharp"."""

    light: str
    visibility: str


IMAGE_CLASSES = tuple(
    ImageClass(light, visibility)
    for light in (DAY.met, DAY.otherwise)
    for visibility in (FOG.met, FOG.otherwise)
)


def removal_reason(
    measurement: Measurement, brightness: BrightnessRange, decision: Decision | None = None
) -> str | None:
    """Return why a data set leaves out this file; None if it keeps it.

    A decision takes precedence over thresholds. Unreadable files are always left out, even if
    allowed: without measures they have no class.

    Returns:
        "denied", "duplicate", "too dark" or "too bright"; for an unreadable file, the reason in the
        table, such as "corrupt: …", "not an image" or "video: 12 frames extracted".
    """
    if not measurement.is_readable:
        return measurement.reason
    if decision is not None and decision.is_about(measurement.path):
        return verdict_of(decision)
    for threshold, limit in ((DARK, brightness.dark), (BRIGHT, brightness.bright)):
        if threshold.is_met(_measured(measurement, threshold), limit):
            return threshold.met
    return None


def verdict_of(decision: Decision) -> str | None:
    """Return why a decision leaves out its image; None if it keeps it."""
    if decision.verdict == "allow":
        return None
    return "duplicate" if decision.duplicate_of else "denied"


def classify(measurement: Measurement, thresholds: ClassThresholds) -> ImageClass:
    """Return the class of a readable image.

    Raises:
        ValueError: If the image is not readable, so it has no measures.
    """
    is_day = DAY.is_met(_measured(measurement, DAY), thresholds.day_night)
    is_foggy = FOG.is_met(_measured(measurement, FOG), thresholds.fog)
    return ImageClass(DAY.met if is_day else DAY.otherwise, FOG.met if is_foggy else FOG.otherwise)


def _measured(measurement: Measurement, threshold: Threshold) -> float:
    value: float | None = getattr(measurement, threshold.measure)
    if value is None:
        raise ValueError("an image that is not readable has no measures")
    return value
