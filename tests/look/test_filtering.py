"""Filters over pictures, and the counts beside them."""

from pathlib import Path

import numpy as np
import pytest

from registry_assets.curation.pictures import Pictures, Stages
from registry_assets.curation.placement import Placement
from registry_assets.images.decisions import Decision
from registry_assets.images.measurement_columns import read_columns
from registry_assets.images.measurements import Measurement, write_measurements
from registry_assets.look.filtering import Facets, parse_filters
from registry_assets.look.queries import BadRequestError

LIMITS = {
    "dark_image_threshold": 20.0,
    "bright_image_threshold": 200.0,
    "day_night_image_threshold": 100.0,
    "fog_image_threshold": 500.0,
}
PICTURES = [
    # path, brightness, contrast
    ("lake/dark.jpg", 10.0, 50.0),
    ("lake/night.jpg", 60.0, 900.0),
    ("lake/day.jpg", 120.0, 900.0),
    ("hill/Fog.jpg", 130.0, 100.0),
    ("hill/denied.jpg", 140.0, 1000.0),
]


@pytest.fixture
def facets(tmp_path: Path) -> Facets:
    rows = [
        Measurement(
            path,
            format="JPEG",
            mean_brightness=brightness,
            mean_horizontal_variance=contrast,
            md5=f"{number:032x}",
        )
        for number, (path, brightness, contrast) in enumerate(PICTURES)
    ]
    broken = [Measurement("broken.jpg", "corrupt: cut off"), Measurement("a.mp4", "video: 1 frame")]
    write_measurements(tmp_path / "one", rows, version=3)
    write_measurements(tmp_path / "two", broken, version=3)
    columns = read_columns({"one": tmp_path / "one", "two": tmp_path / "two"})
    denied = Decision(f"{4:032x}", "deny", by="Ada", why="a thumb before the lens")
    pictures = Pictures(
        "processed/ds", None, columns, LIMITS, {4: denied}, Stages("measure", "intact", "limits")
    )
    return Facets(pictures, Placement((), np.full(len(columns), -1, np.int32)))


def shown(facets: Facets, filters: str) -> list[str]:
    columns = facets.pictures.columns
    return [columns.paths[row] for row in np.flatnonzero(facets.select(parse_filters(filters)))]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ("", 7),
        ('{"collection": ["two"]}', ["broken.jpg", "a.mp4"]),
        ('{"class": ["day/sharp", "day/foggy"]}', ["lake/day.jpg", "hill/Fog.jpg"]),
        ('{"stage": ["intact"]}', ["broken.jpg", "a.mp4"]),
        ('{"stage": ["limits"]}', ["lake/dark.jpg", "hill/denied.jpg"]),
        ('{"reason": ["corrupt", "too dark"]}', ["lake/dark.jpg", "broken.jpg"]),
        ('{"decision": ["deny"]}', ["hill/denied.jpg"]),
        ('{"brightness": [60, 120]}', ["lake/night.jpg", "lake/day.jpg"]),
        ('{"brightness": [130, null], "contrast": [null, 100]}', ["hill/Fog.jpg"]),
        ('{"text": "FOG"}', ["hill/Fog.jpg"]),
        ('{"text": "one/lake/D"}', ["lake/dark.jpg", "lake/day.jpg"]),
        (f'{{"text": "{2:032x}"}}', ["lake/day.jpg"]),
        ('{"class": ["day/sharp"], "text": "hill"}', []),
    ],
)
def test_filters_choose_pictures(facets: Facets, filters: str, expected: list[str] | int) -> None:
    found = shown(facets, filters)

    assert (len(found) if isinstance(expected, int) else found) == expected


def test_a_facet_counts_without_its_own_filter(facets: Facets) -> None:
    counts = facets.count(parse_filters('{"class": ["night/sharp"], "text": "lake"}'))

    classes = {item["value"]: item["count"] for item in counts["class"]}
    assert classes == {"": 1, "night/sharp": 1, "day/sharp": 1}
    collections = {item["value"]: item["count"] for item in counts["collection"]}
    assert collections == {"one": 1}


def test_a_chosen_value_without_pictures_stays_visible(facets: Facets) -> None:
    counts = facets.count(parse_filters('{"camera": ["gone"], "text": "lake"}'))

    assert {"value": "gone", "count": 0} in counts["camera"]


def test_histograms_count_every_measured_picture(facets: Facets) -> None:
    histograms = facets.histograms(parse_filters('{"brightness": [0, 50]}'))

    assert sum(histograms["brightness"]["counts"]) == len(PICTURES)
    assert sum(histograms["contrast"]["counts"]) == 1
    edges = histograms["brightness"]["edges"]
    assert (edges[0], edges[-1]) == (0, 140)


@pytest.mark.parametrize(
    "filters",
    [
        *("[", "[1]", "7", '{"colour": ["red"]}'),
        *('{"brightness": [1]}', '{"brightness": ["x", 2]}', f'{{"brightness": [1, {10**400}]}}'),
    ],
)
def test_filters_that_are_not_valid_are_refused(filters: str) -> None:
    with pytest.raises(BadRequestError, match="reload the page"):
        parse_filters(filters)
