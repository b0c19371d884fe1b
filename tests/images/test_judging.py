"""Verdicts on the columns of whole tables, beside those on single measurements."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from registry_assets.images.decisions import Decision
from registry_assets.images.judging import OUTCOMES, Decided, judge, no_decisions
from registry_assets.images.measurement_columns import columns_of_files, read_columns
from registry_assets.images.measurements import Measurement, write_measurements
from registry_assets.images.verdicts import (
    BrightnessRange,
    ClassThresholds,
    classify,
    removal_reason,
)

LIMITS = {
    "dark_image_threshold": 20.0,
    "bright_image_threshold": 200.0,
    "day_night_image_threshold": 100.0,
    "fog_image_threshold": 500.0,
}
ODD_NAME = 'a, "b"\nc\\x/\udcff<img src=x>.jpg'


def measured(number: int, chance: random.Random) -> Measurement:
    # The limits themselves are drawn often, as each belongs to one side only.
    if chance.random() < 0.2:
        return Measurement(f"{number}.jpg", chance.choice(["not an image", "corrupt: cut"]))
    return Measurement(
        f"{number}.jpg",
        format="JPEG",
        width=4,
        height=3,
        mean_brightness=chance.choice([0.0, 20.0, 20.5, 100.0, 99.999, 200.0, 199.9, 255.0]),
        mean_horizontal_variance=chance.choice([0.0, 499.99, 500.0, 1e4]),
        md5=f"{number:032x}",
        size=100,
    )


@pytest.mark.parametrize("seed", range(5))
def test_columns_are_judged_as_single_measurements_are(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    tables = {name: [measured(n, chance) for n in range(200)] for name in ("one", "two")}
    for name, rows in tables.items():
        write_measurements(tmp_path / name, rows)
    columns = read_columns({name: tmp_path / name for name in tables})
    said = [chance.choice(["allow", "deny", "duplicate", None, None]) for _ in range(len(columns))]
    masks = (np.array([word == kind for word in said]) for kind in ("allow", "deny", "duplicate"))
    brightness, classes = BrightnessRange.from_params(LIMITS), ClassThresholds.from_params(LIMITS)

    outcomes = judge(columns, LIMITS, Decided(*masks))

    for number, row in enumerate([*tables["one"], *tables["two"]]):
        decision = None
        if said[number] is not None:
            decision = Decision(row.md5, "allow" if said[number] == "allow" else "deny", "a", "b")
        if said[number] == "duplicate" and decision is not None:
            decision = replace(decision, duplicate_of="other/a.jpg")
        reason = removal_reason(row, brightness, decision)
        outcome = OUTCOMES[outcomes[number]]
        assert outcome.reason == ("unreadable" if row.reason else reason or "")
        assert outcome.image_class == (None if reason else classify(row, classes))


def test_columns_hold_what_the_rows_hold(tmp_path: Path) -> None:
    chance = random.Random(7)
    rows = [measured(number, chance) for number in range(20_000)]
    rows[3] = replace_path(rows[3], ODD_NAME)
    write_measurements(tmp_path / "table", rows)

    columns = read_columns({"one": tmp_path / "table", "none": tmp_path / "table"})

    assert columns.collections == ("one", "none")
    assert columns.rows_of("none") == slice(20_000, 40_000)
    assert columns.paths[3] == ODD_NAME
    assert columns.row_of("one", ODD_NAME) == 3
    assert columns.row_of("one", ODD_NAME.replace("\udcff", "\ufffd")) == 3
    assert columns.row_of("one", "gone\ufffd.jpg") is None
    for number in (0, 3, 8191, 8192, 19_999):
        row, again = rows[number], 20_000 + number
        assert columns.paths[again] == row.path
        assert columns.md5[again].decode() == row.md5
        assert columns.reason[again] == row.reason
        assert columns.format[again] == row.format
        for name in ("width", "height", "size", "mean_brightness", "mean_horizontal_variance"):
            value = getattr(columns, name)[again]
            assert (None if np.isnan(value) else value) == getattr(row, name)


@pytest.mark.parametrize("value", ["inf", "nan", "bright"])
def test_a_table_with_what_is_no_number_is_damaged(tmp_path: Path, value: str) -> None:
    write_measurements(tmp_path / "table", [Measurement("a.jpg", mean_brightness=12.5, md5="0")])
    text = (tmp_path / "table").read_text()
    (tmp_path / "table").write_text(text.replace("12.5", value))

    with pytest.raises(ValueError, match="table is damaged: "):
        read_columns({"one": tmp_path / "table"})


def test_no_rows_make_empty_columns() -> None:
    columns = columns_of_files({"none": []})

    assert len(columns) == 0
    assert len(judge(columns, LIMITS, no_decisions(0))) == 0


def test_without_thresholds_every_readable_image_is_kept() -> None:
    columns = columns_of_files({"one": [("a.jpg", "0" * 32)]})

    assert str(OUTCOMES[judge(columns, {}, no_decisions(1))[0]]) == "kept"


def test_an_empty_range_of_brightness_is_refused() -> None:
    columns = columns_of_files({"one": [("a.jpg", "0" * 32)]})
    limits = {**LIMITS, "dark_image_threshold": 201.0}

    with pytest.raises(ValueError, match="has to be less than"):
        judge(columns, limits, no_decisions(1))


def replace_path(row: Measurement, path: str) -> Measurement:
    return row._replace(path=path)
