"""Each threshold, exactly at it and next to it."""

import math

import pytest

from registry_assets.images import (
    BrightnessRange,
    ClassThresholds,
    Decision,
    Measurement,
    classify,
    removal_reason,
)

RANGE = BrightnessRange(dark=20, bright=200)
THRESHOLDS = ClassThresholds(day_night=100, fog=500)


def measured(brightness: float = 120.0, variance: float = 900.0) -> Measurement:
    return Measurement("a.jpg", mean_brightness=brightness, mean_horizontal_variance=variance)


@pytest.mark.parametrize(
    ("brightness", "expected"),
    [
        (0.0, "too dark"),
        (20.0, "too dark"),
        (math.nextafter(20.0, 21), None),
        (math.nextafter(200.0, 199), None),
        (200.0, "too bright"),
        (255.0, "too bright"),
    ],
)
def test_images_strictly_between_dark_and_bright_are_kept(
    brightness: float, expected: str | None
) -> None:
    assert removal_reason(measured(brightness), RANGE) == expected


def test_an_unreadable_file_is_removed_for_the_reason_in_the_table() -> None:
    assert removal_reason(Measurement("a", "corrupt: cut"), RANGE) == "corrupt: cut"


@pytest.mark.parametrize(
    ("brightness", "light"), [(math.nextafter(100.0, 99), "night"), (100.0, "day")]
)
def test_day_begins_at_its_threshold(brightness: float, light: str) -> None:
    assert classify(measured(brightness), THRESHOLDS).light == light


@pytest.mark.parametrize(
    ("variance", "visibility"), [(math.nextafter(500.0, 499), "foggy"), (500.0, "sharp")]
)
def test_fog_ends_at_its_threshold(variance: float, visibility: str) -> None:
    assert classify(measured(variance=variance), THRESHOLDS).visibility == visibility


def test_what_somebody_decided_comes_before_the_thresholds_but_makes_no_image_readable() -> None:
    allowed, denied = (Decision("", verdict, "Ada", "so") for verdict in ("allow", "deny"))
    assert removal_reason(measured(5.0), RANGE, allowed) is None
    assert removal_reason(measured(), RANGE, denied) == "denied"
    duplicate = Decision("", "deny", "registry", "so", duplicate_of="01_a/b.jpg")
    assert removal_reason(measured(), RANGE, duplicate) == "duplicate"
    broken = Measurement("a.jpg", reason="corrupt: no decoder recognises it")
    assert removal_reason(broken, RANGE, allowed) == broken.reason


def test_an_unreadable_file_has_no_class() -> None:
    with pytest.raises(ValueError, match="not readable"):
        classify(Measurement("a", "empty file"), THRESHOLDS)


def test_thresholds_come_from_parsed_params() -> None:
    params = {
        "dark_image_threshold": 20,
        "bright_image_threshold": 200,
        "day_night_image_threshold": 100,
        "fog_image_threshold": 500,
    }
    assert BrightnessRange.from_params(params) == RANGE
    assert ClassThresholds.from_params(params) == THRESHOLDS


def test_a_range_that_would_remove_everything_is_refused() -> None:
    with pytest.raises(ValueError, match="has to be less than"):
        BrightnessRange(dark=200, bright=20)
    with pytest.raises(ValueError, match="has to be less than"):
        BrightnessRange(dark=math.nan, bright=200)
