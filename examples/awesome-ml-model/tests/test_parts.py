"""The parts that need no repository and no server."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from awesome_ml_model.data_checks import count_images, find_shared
from awesome_ml_model.evaluate import draw_confusion_matrix, judge
from awesome_ml_model.features import FEATURES, describe, read_rows
from awesome_ml_model.params import Params, read_params
from awesome_ml_model.table import Table
from awesome_ml_model.train import build_classifier

PARAMS = Params(7, 2, 0.5, 1.0, 2, 1)


def test_features_are_what_was_drawn() -> None:
    picture = Image.new("RGB", (40, 20), (255, 0, 0))
    picture.paste((0, 0, 0), (0, 10, 40, 20))
    found = dict(zip(FEATURES, describe(picture), strict=True))
    assert found["brightness_0"] == pytest.approx(0.5, abs=0.03)
    assert found["brightness_7"] == pytest.approx(0.5, abs=0.03)
    assert found["brightness_above"] == pytest.approx(1, abs=0.02)
    assert found["brightness_below"] == pytest.approx(0, abs=0.02)
    assert found["blue_above"] == pytest.approx(-1 / 3, abs=0.02)


def test_frames_of_a_video_are_one_group_and_pieces_stay_with_their_picture(tmp_path: Path) -> None:
    for path in (
        "day/a.jpg",
        "day/v.mp4/frame_000000.jpg",
        "day/v.mp4/frame_000025.jpg",
        "night/n.png",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30, 20), (90, 90, 90)).save(tmp_path / path)
    rows = list(read_rows({"day": tmp_path / "day", "night": tmp_path / "night"}, PARAMS))
    assert len(rows) == 4 * (1 + PARAMS.crops_per_image)
    assert {row[1] for row in rows} == {"day/a.jpg", "day/v.mp4", "night/n.png"}
    assert rows == list(read_rows({"day": tmp_path / "day", "night": tmp_path / "night"}, PARAMS))
    with pytest.raises(ValueError, match="no pictures"):
        list(read_rows({"day": tmp_path / "none"}, PARAMS))


def test_every_whole_picture_is_judged_once_and_the_picture_of_it_is_the_same_twice(
    tmp_path: Path,
) -> None:
    numbers = np.arange(12)
    table = Table(
        features=pd.DataFrame({"brightness": numbers / 12, "other": numbers % 3}),
        labels=pd.Series(["night"] * 6 + ["day"] * 6),
        groups=pd.Series(numbers // 2),
        images=pd.Series([f"{number // 2}.jpg" for number in numbers]),
        is_whole=pd.Series(numbers % 2 == 0),
    )
    judged = judge(table, build_classifier(PARAMS), PARAMS)
    assert list(judged["image"]) == [f"{number}.jpg" for number in range(6)]
    pictures = [tmp_path / "one.png", tmp_path / "two.png"]
    for picture in pictures:
        draw_confusion_matrix(judged, picture)
    assert pictures[0].read_bytes() == pictures[1].read_bytes()


def test_images_in_both_classes_are_found() -> None:
    day = {"sharp/.gitignore": "0", "sharp/a.jpg": "1", "sharp/b.jpg": "2"}
    night = {"sharp/.gitignore": "0", "sharp/c.jpg": "2"}
    assert find_shared(night, day) == ["sharp/c.jpg"]
    assert find_shared({"sharp/.gitignore": "0"}, day) == []
    assert count_images(day) == 2


def test_the_shipped_parameters_are_read() -> None:
    assert read_params(Path(__file__).parent.parent / "params.yaml").folds == 5
