"""Verdicts: whether an image is kept, and its class, from a measurement and thresholds.

The values of the thresholds are in a data set's `params.yaml`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from registry_assets.images.decisions import Decision
from registry_assets.images.measurements import Measurement


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
                f"dark_image_threshold ({self.dark:g}) has to be less than "
                f"bright_image_threshold ({self.bright:g})"
            )

    @classmethod
    def from_params(cls, params: Mapping[str, float]) -> "BrightnessRange":
        """Return the range in a parsed `params.yaml`."""
        return cls(params["dark_image_threshold"], params["bright_image_threshold"])

    @classmethod
    def from_file(cls, path: Path) -> "BrightnessRange | None":
        """Return the range in a `params.yaml`; None if it has none."""
        from ruamel.yaml import YAML

        params = YAML(typ="safe").load(path) if path.is_file() else None
        try:
            return cls.from_params(params or {})
        except (KeyError, TypeError):
            return None


@dataclass(frozen=True)
class ClassThresholds:
    """The limits of day (mean brightness) and fog (mean horizontal variance)."""

    day_night: float
    fog: float

    @classmethod
    def from_params(cls, params: Mapping[str, float]) -> "ClassThresholds":
        """Return the thresholds in a parsed `params.yaml`."""
        return cls(params["day_night_image_threshold"], params["fog_image_threshold"])


class ImageClass(NamedTuple):
    """The class of a picture: "day" or "night", "foggy" or "sharp"."""

    light: str
    visibility: str


IMAGE_CLASSES = tuple(
    ImageClass(light, visibility) for light in ("day", "night") for visibility in ("foggy", "sharp")
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
        is_denied = decision.verdict == "deny"
        return ("duplicate" if decision.duplicate_of else "denied") if is_denied else None
    value = _measured(measurement.mean_brightness)
    if value <= brightness.dark:
        return "too dark"
    if value >= brightness.bright:
        return "too bright"
    return None


def classify(measurement: Measurement, thresholds: ClassThresholds) -> ImageClass:
    """Return the class of a readable image.

    Raises:
        ValueError: If the image is not readable, so it has no measures.
    """
    is_day = _measured(measurement.mean_brightness) >= thresholds.day_night
    is_foggy = _measured(measurement.mean_horizontal_variance) < thresholds.fog
    return ImageClass("day" if is_day else "night", "foggy" if is_foggy else "sharp")


def _measured(value: float | None) -> float:
    if value is None:
        raise ValueError("an image that is not readable has no measures")
    return value
