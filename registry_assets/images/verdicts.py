"""What is kept and what it is called: a measurement and thresholds in, a verdict out.

The thresholds have no values here: they stand in a data set's `params.yaml`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from registry_assets.images.decisions import Decision
from registry_assets.images.measurements import Measurement


@dataclass(frozen=True)
class BrightnessRange:
    """Images are kept whose mean brightness lies strictly between the two, in 0 to 255.

    Raises:
        ValueError: If nothing can lie between them.
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
        """Return the range that a parsed `params.yaml` states."""
        return cls(params["dark_image_threshold"], params["bright_image_threshold"])

    @classmethod
    def from_file(cls, path: Path) -> "BrightnessRange | None":
        """Return the range that a `params.yaml` states, None where it states none."""
        from ruamel.yaml import YAML

        params = YAML(typ="safe").load(path) if path.is_file() else None
        try:
            return cls.from_params(params or {})
        except (KeyError, TypeError):
            return None


@dataclass(frozen=True)
class ClassThresholds:
    """Where night turns to day (mean brightness) and fog to sharp (mean horizontal variance)."""

    day_night: float
    fog: float

    @classmethod
    def from_params(cls, params: Mapping[str, float]) -> "ClassThresholds":
        """Return the thresholds that a parsed `params.yaml` states."""
        return cls(params["day_night_image_threshold"], params["fog_image_threshold"])


class ImageClass(NamedTuple):
    """What a picture shows: "day" or "night", "foggy" or "sharp"."""

    light: str
    visibility: str


IMAGE_CLASSES = tuple(
    ImageClass(light, visibility) for light in ("day", "night") for visibility in ("foggy", "sharp")
)


def removal_reason(
    measurement: Measurement, brightness: BrightnessRange, decision: Decision | None = None
) -> str | None:
    """Return why a data set leaves this file out, None if it keeps it.

    What somebody decided about an image comes before the thresholds. What is not readable is left
    out in any case, also where it is allowed: without measures it has no class.

    Returns:
        One of "denied", "duplicate", "too dark" and "too bright"; for what is not a readable image,
        the reason in the table: "corrupt: …", "not an image", "hidden file", "video: 12 frames
        extracted" and so on.
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
        ValueError: If the image is not readable, so that nothing was measured.
    """
    is_day = _measured(measurement.mean_brightness) >= thresholds.day_night
    is_foggy = _measured(measurement.mean_horizontal_variance) < thresholds.fog
    return ImageClass("day" if is_day else "night", "foggy" if is_foggy else "sharp")


def _measured(value: float | None) -> float:
    if value is None:
        raise ValueError("an image that is not readable has no measures")
    return value
