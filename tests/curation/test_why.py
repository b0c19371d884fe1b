"""`registry why`: the verdicts on one picture, in order, with what would change them."""

from __future__ import annotations

import json
import random
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from registry_assets.curation.explaining import Change, explain
from registry_assets.curation.pictures import Pictures, Stages
from registry_assets.images.decisions import Decision
from registry_assets.images.judging import OUTCOMES
from registry_assets.images.measurement_columns import read_columns
from registry_assets.images.measurements import Measurement, write_measurements
from registry_assets.model import Dataset
from scripts.json_reference import PRINTED
from tests.conftest import run
from tests.curation.asked import DATASET, FIRST, SECOND, registry, said
from tests.images.drawing import save
from tests.test_json_reference import check

DARK, BRIGHT = "camera_mountain/IMG_2100.jpg", "camera_lake/IMG_1330.jpg"
GOOD = "camera_lake/IMG_0800.jpg"


def answer(root: Path, file: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(said(root, "why", file, "--json"))
    check(found, PRINTED["why"])
    return found


def explained(root: Path, file: str) -> dict[str, Any]:
    (found,) = answer(root, file)["explained"]
    return dict(found)


def set_parameter(root: Path, name: str, value: float) -> None:
    place = root / DATASET / "params.yaml"
    place.write_text(re.sub(rf"(?m)^{name}: .*$", f"{name}: {value}", place.read_text()))


def test_a_dark_picture_names_value_comparison_threshold_and_stage(root: Path) -> None:
    for name in (f"raw/{FIRST}/{DARK}", f"{DATASET}/data/inputs/{FIRST}/{DARK}", f"{FIRST}/{DARK}"):
        text = said(root, "why", name)
        assert f"{DATASET}: {FIRST}/{DARK}\n  left out: too dark\n" in text
        assert (
            "mean brightness 11.6 ≤ 20 (dark_image_threshold): too dark, left out by "
            "remove_dark_and_bright_images\n"
        ) in text
        assert "it would be night/foggy with dark_image_threshold below 11.6\n" in text
        assert "registry allow" in text
        assert "pending" not in text


def test_what_is_said_of_a_threshold_is_what_the_stages_then_make(root: Path) -> None:
    dark = explained(root, f"raw/{FIRST}/{DARK}")
    set_parameter(root, "dark_image_threshold", 11.5)
    pending = explained(root, f"raw/{FIRST}/{DARK}")
    assert (pending["outcome"], pending["output"], pending["is_pending"]) == ("kept", None, True)
    assert pending["next"] == f"registry materialize --collection {FIRST}"
    said(root, *pending["next"].split()[1:])
    made = explained(root, f"raw/{FIRST}/{DARK}")
    assert made["image_class"] == dark["changes"][0]["becomes"] == "night/foggy"
    assert (made["output"], made["is_pending"], made["next"]) == ("night_images/foggy", False, None)
    assert (root / DATASET / f"data/outputs/night_images/foggy/{FIRST}/{DARK}").exists()


def test_a_kept_picture_says_why_too_and_what_would_change_its_class(root: Path) -> None:
    found = explained(root, "922d3bcf96142217e23dbcc0f3b8155d")
    assert (found["path"], found["outcome"], found["image_class"]) == (GOOD, "kept", "day/foggy")
    assert [v["verdict"] for v in found["verdicts"]] == [
        *("intact", "not too dark", "not too bright", "day", "foggy"),
    ]
    assert [v["stage"].split("_")[0] for v in found["verdicts"]] == [
        *("remove", "remove", "remove", "classify", "classify"),
    ]
    becomes = {change["parameter"]: change["becomes"] for change in found["changes"]}
    assert becomes == {
        "dark_image_threshold": "too dark",
        "bright_image_threshold": "too bright",
        "day_night_image_threshold": "night/foggy",
        "fog_image_threshold": "day/sharp",
        None: "denied",
    }


def test_a_decision_says_who_when_and_why_and_how_to_take_it_back(root: Path) -> None:
    said(root, "deny", f"raw/{FIRST}/{GOOD}", "--why", "a thumb before the lens")
    found = explained(root, f"raw/{FIRST}/{GOOD}")
    assert (found["reason"], found["stage"]) == ("denied", "remove_dark_and_bright_images")
    assert found["decision"]["by"] == "Ada <ada@example.org>"
    text = said(root, "why", f"raw/{FIRST}/{GOOD}")
    assert "denied by Ada <ada@example.org> on 20" in text
    assert "a thumb before the lens, left out by remove_dark_and_bright_images" in text
    assert (
        f"pending: still in day_images/foggy: run `registry materialize --collection {FIRST}`"
        in (text)
    )
    withdrawn = found["changes"][0]
    assert withdrawn["becomes"] == "day/foggy"
    said(root, *withdrawn["command"].split()[1:])
    assert explained(root, f"raw/{FIRST}/{GOOD}")["outcome"] == "kept"


def test_an_allowed_picture_tells_the_threshold_that_it_passes(root: Path) -> None:
    said(root, "allow", f"raw/{FIRST}/{BRIGHT}", "--why", "snow")
    text = said(root, "why", f"raw/{FIRST}/{BRIGHT}")
    assert "kept, as day/sharp" in text
    assert "≥ 200 (bright_image_threshold): too bright, but allowed\n" in text


def test_a_duplicate_names_the_picture_kept_instead(root: Path) -> None:
    shutil.copy(root / "raw" / FIRST / GOOD, root / "raw" / SECOND / "again.jpg")
    run(root, "dvc", "commit", "--quiet", "--force", f"raw/{SECOND}")
    said(root, "update", SECOND)
    said(root, "materialize", "--collection", SECOND)
    both = answer(root, f"raw/{FIRST}/{GOOD}")["explained"]
    assert [copy["path"] for found in both for copy in found["copies"]] == ["again.jpg", GOOD]
    said(root, "duplicates", "--leave-out", "01_image_dataset")
    found = explained(root, f"{SECOND}/again.jpg")
    assert found["reason"] == "duplicate"
    assert found["kept_instead"] == {
        "collection": FIRST, "path": GOOD, "is_kept": True, "outcome": "day/foggy",
    }  # fmt: skip
    assert f"kept instead: {FIRST}/{GOOD} (day/foggy)" in said(root, "why", f"{SECOND}/again.jpg")


@pytest.mark.parametrize(
    ("path", "reason", "meaning"),
    [
        ("camera_lake/IMG_2100.jpg", "corrupt: premature end of data segment", "damaged"),
        ("notes.txt", "not an image", "no decoder recognises it"),
        ("camera_lake/IMG_0630.jpg", "empty file", "has no bytes"),
        # Its table has no content for it: it is never opened.
        (".thumbnail.jpg", "hidden file", "begins with a dot"),
    ],
)
def test_an_unreadable_file_says_what_its_reason_means(
    demo: Path, path: str, reason: str, meaning: str
) -> None:
    found = explained(demo, f"raw/{FIRST}/{path}")
    assert (found["reason"], found["stage"]) == (reason, "remove_corrupted_images")
    assert meaning in found["meaning"]
    assert found["changes"] == []
    text = said(demo, "why", f"raw/{FIRST}/{path}")
    assert f"{reason}, left out by remove_corrupted_images\n" in text
    assert meaning in text


def test_a_video_tells_how_its_frames_fared_and_a_frame_its_video(demo: Path) -> None:
    text = said(demo, "why", f"raw/{SECOND}/city.mp4")
    assert "a video: 4 of 4 frames kept\n" in text
    assert f"frame: {SECOND}/city.mp4/frame_000025.jpg (night/sharp)\n" in text
    frame = explained(demo, f"{SECOND}/city.mp4/frame_000025.jpg")
    assert (frame["video"], frame["frame"]) == ("city.mp4", 25)
    assert "frame 25 of the video city.mp4" in said(
        demo, "why", f"{SECOND}/city.mp4/frame_000025.jpg"
    )


def test_a_file_that_is_not_recorded_is_the_error_that_trace_gives(
    demo: Path, tmp_path: Path
) -> None:
    save(tmp_path / "other.png")
    for name in (str(tmp_path / "other.png"), "nothing/here.jpg", "0" * 32):
        why, trace = registry(demo, "why", name), registry(demo, "trace", name)
        assert (why.exit_code, why.stderr) == (trace.exit_code, trace.stderr)
        assert why.exit_code == 1
    assert (
        "there is no data set nix"
        in registry(demo, "why", f"{FIRST}/{DARK}", "--dataset=nix").stderr
    )


def test_a_data_set_without_measures_says_how_far_a_file_came(
    materialized_registry: Path,
) -> None:
    root = materialized_registry
    found = answer(root, "raw/01_a/one.txt")
    assert found["explained"] == []
    (passed,) = found["passed"]
    assert passed["outputs"][:2] == [
        *("processed/texts/data/inputs/01_a", "processed/texts/data/intermediate/upper/01_a"),
    ]
    assert (passed["last_stage"], passed["is_at_end"], passed["next"]) == ("count", True, None)
    text = said(root, "why", "raw/01_a/one.txt")
    assert "processed/texts (collection 01_a): without measures\n" in text
    assert "passed on by count, to the end\n" in text


def test_a_data_set_without_measures_says_where_a_file_was_lost(text_registry: Path) -> None:
    for name in ("01_a", "02_b"):
        said(text_registry, "add", name)
    said(text_registry, "import", "01_a", "--into", "texts")
    assert answer(text_registry, "raw/01_a/one.txt")["passed"][0]["last_stage"] is None
    said(text_registry, "materialize", "--collection", "01_a")
    (passed,) = answer(text_registry, "raw/01_a/one.txt")["passed"]
    assert (passed["last_stage"], passed["is_at_end"]) == ("upper", False)
    assert "passed on by upper, no further\n" in said(text_registry, "why", "raw/01_a/one.txt")


def test_a_picture_that_is_in_no_data_set_or_not_measured_says_what_to_run(root: Path) -> None:
    save(root / "raw/03_new/one.png")
    said(root, "add", "03_new")
    text = said(root, "why", "raw/03_new/one.png")
    assert (
        "raw/03_new/one.png is in no data set:\n  `registry import 03_new --into DATASET`" in text
    )
    said(root, "import", "03_new", "--into", "01_image_dataset")
    found = answer(root, "raw/03_new/one.png")
    assert (found["explained"], len(found["passed"])) == ([], 1)
    assert found["passed"][0]["next"] == "registry materialize --collection 03_new"


def test_hostile_names_are_text(root: Path) -> None:
    name = "a'b \"<img src=x>\n$(touch pwned);.png"
    save(root / "raw/03_new/x.png")
    (root / "raw/03_new/x.png").rename(root / "raw/03_new" / name)
    said(root, "materialize", "--collection", "03_new")
    assert explained(root, f"03_new/{name}")["path"] == name
    # One line of the terminal per line that is printed.
    headline = said(root, "why", f"03_new/{name}").splitlines()[0]
    assert headline.endswith("03_new/a'b \"<img src=x>\\x0a$(touch pwned);.png")


LIMITS = {
    "dark_image_threshold": 20.0,
    "bright_image_threshold": 200.0,
    "day_night_image_threshold": 100.0,
    "fog_image_threshold": 500.0,
}


@pytest.mark.parametrize("seed", range(4))
def test_every_change_named_has_the_outcome_named_whatever_the_value(
    tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    near = [0.0, 20.0, 20.000001, 19.97, 20.03, 99.96, 100.0, 199.999, 200.0, 255.0]
    rows = [
        Measurement(
            f"{n}.jpg", format="JPEG", width=4, height=3, md5=f"{n:032x}", size=9,
            mean_brightness=chance.choice([*near, chance.uniform(0, 255)]),
            mean_horizontal_variance=chance.choice([0.0, 499.96, 500.0, chance.uniform(0, 1e4)]),
        )
        for n in range(60)
    ]  # fmt: skip
    write_measurements(tmp_path / "table.csv", rows)
    columns = read_columns({"one": tmp_path / "table.csv"})
    verdicts = {n: chance.choice(["allow", "deny"]) for n in range(60) if chance.random() < 0.3}
    pictures = Pictures(
        "ds",
        Dataset("ds", decisions="ds/decisions"),
        columns,
        LIMITS,
        {n: Decision(f"{n:032x}", v, "Ada", "so") for n, v in verdicts.items()},  # type: ignore[arg-type]
        Stages("measure", "intact", "thresholds", "classes"),
    )
    tried = 0
    for row in range(len(columns)):
        found = explain(pictures, row)
        for verdict in found.verdicts:
            if verdict.parameter is not None:
                left, right = re.search(r" ([\d.]+) [≤≥<>] ([\d.]+) ", verdict.text).groups()  # type: ignore[union-attr]
                compared = {"≤": "<=", "≥": ">="}.get(str(verdict.comparison), verdict.comparison)
                assert eval(f"{left} {compared} {right}")
        for change in found.changes:
            if change.parameter is None:
                continue
            moved = {**LIMITS, change.parameter: move(change)}
            assert str(OUTCOMES[pictures.judge(moved)[row]]) == change.becomes
            tried += 1
    assert tried > 60


def move(change: Change) -> float:
    """A value of the threshold that is as little beyond what is said as matters."""
    assert change.threshold is not None
    beyond = {"below": -1e-6, "above": 1e-6}.get(str(change.relation), 0.0)
    return change.threshold + beyond
