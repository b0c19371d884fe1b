"""Which file upstream a file came from, one step back, and the same turned round."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest

from registry_assets.registry.lineage.derivation import (
    Files,
    FileVersion,
    find_derived,
    find_origin,
)


def files(output: str, listed: Mapping[str, str]) -> Files:
    return Files(output, f"version of {output}", listed)


def origin(
    made: Files, file: str, *upstream: Files
) -> tuple[str, str, int | None, list[str]] | None:
    """Path, how, frame and the other candidates."""
    found = find_origin(made.place(file), upstream)
    if found is None:
        return None
    return found.place.path, found.how, found.frame, [other.path for other in found.also]


def test_content_tells_more_than_names() -> None:
    made = files("clean/01", {"a.jpg": "1", "b.jpg": "2"})
    raw = files("raw/01", {"a.jpg": "2", "b.jpg": "1"})
    assert origin(made, "a.jpg", raw) == ("raw/01/b.jpg", "same content", None, [])
    found = find_origin(made.place("a.jpg"), [raw])
    assert found is not None
    assert found.is_proof


def test_of_several_with_the_same_content_the_one_of_the_same_name_is_meant() -> None:
    made = files("clean/01", {"x/a.jpg": "1"})
    raw = files("raw/01", {"a.jpg": "1", "x/a.jpg": "1", "z.jpg": "1"})
    assert origin(made, "x/a.jpg", raw) == (
        *("raw/01/x/a.jpg", "same content", None),
        ["raw/01/a.jpg", "raw/01/z.jpg"],
    )


def test_the_folders_around_a_gathered_file_are_part_of_its_name() -> None:
    made = files("all", {"02/a.jpg": "1"})
    first, second = files("raw/01", {"a.jpg": "1"}), files("raw/02", {"a.jpg": "1"})
    assert origin(made, "02/a.jpg", first, second) == (
        *("raw/02/a.jpg", "same content", None),
        ["raw/01/a.jpg"],
    )


def test_of_the_same_name_the_one_farthest_along_the_way_is_meant() -> None:
    made = files("day/01", {"a.jpg": "1"})
    clean, raw = files("clean/01", {"a.jpg": "1"}), files("raw/01", {"a.jpg": "1"})
    assert origin(made, "a.jpg", clean, raw) == (
        *("clean/01/a.jpg", "same content", None),
        ["raw/01/a.jpg"],
    )


def test_a_frame_came_from_the_video_that_its_folder_is_called_after() -> None:
    frames = files("frames/01", {"cam/city.mp4/frame_000012.jpg": "1"})
    raw = files("raw/01", {"cam/city.mp4": "9", "city.mp4": "8"})
    assert origin(frames, "cam/city.mp4/frame_000012.jpg", raw) == (
        *("raw/01/cam/city.mp4", "frame", 12),
        [],
    )


@pytest.mark.parametrize("name", ["frame_12.png", "frame_x.jpg", "frame_000012.jpg.txt"])
def test_what_is_not_called_like_a_frame_is_none(name: str) -> None:
    made = files("frames/01", {f"city.mp4/{name}": "1"})
    assert origin(made, f"city.mp4/{name}", files("raw/01", {"city.mp4": "9", "b": "8"})) is None


def test_a_frame_of_the_only_video_needs_no_folder() -> None:
    frames = files("frames", {"frame_000003.jpg": "1", "frame_000004.jpg": "2"})
    video = files("city.mp4", {"": "9"})
    assert origin(frames, "frame_000003.jpg", video) == ("city.mp4", "frame", 3, [])
    derived = find_derived(video.place(""), frames, [video])
    assert [found.file for found, _ in derived] == ["frame_000003.jpg", "frame_000004.jpg"]


@pytest.mark.parametrize(
    ("made", "read"),
    [
        (("small/01", "x/a.jpg"), ("raw/01", "x/a.jpg")),
        (("all", "01/x/a.jpg"), ("raw/01", "x/a.jpg")),
        (("split/01", "x/a.jpg"), ("raw", "01/x/a.jpg")),
        (("small/a.jpg", ""), ("raw/a.jpg", "")),
        (("small/a.jpg", ""), ("raw/small", "a.jpg")),
    ],
)
def test_a_changed_file_came_from_the_one_of_the_same_path(
    made: tuple[str, str], read: tuple[str, str]
) -> None:
    small = files(made[0], {made[1]: "1"})
    raw = files(read[0], {read[1]: "2", "other.jpg": "3"} if read[1] else {"": "2"})
    others = files("more", {"b.jpg": "4"})
    expected = f"{read[0]}/{read[1]}".rstrip("/")
    assert origin(small, made[1], raw, others) == (expected, "same path", None, [])


def test_the_same_name_in_another_folder_says_nothing() -> None:
    made = files("small/01", {"y/a.jpg": "1", "a.jpg": "1"})
    raw = files("raw/01", {"x/a.jpg": "2", "b.jpg": "3"})
    assert origin(made, "y/a.jpg", raw) is None
    assert origin(made, "a.jpg", raw) is None
    assert origin(made, "a.jpg", files("raw/02", {"02/a.jpg": "1.", "b.jpg": "3"})) is None


def test_a_converted_file_came_from_the_one_of_another_suffix() -> None:
    made = files("png/01", {"x/a.png": "1"})
    raw = files("raw/01", {"x/a.jpg": "2", "x/a.txt": "3", "a.jpg": "4"})
    assert origin(made, "x/a.png", raw) == (
        *("raw/01/x/a.jpg", "other suffix", None),
        ["raw/01/x/a.txt"],
    )


def test_what_a_stage_makes_of_one_file_came_from_it() -> None:
    made = files("parts", {"train.tsv": "1", "test.tsv": "2"})
    data = files("data.xml", {"": "3"})
    assert origin(made, "train.tsv", data) == ("data.xml", "only file", None, [])
    assert origin(made, "train.tsv", data, files("more.xml", {"": "4"})) is None


def test_names_are_said_to_be_names() -> None:
    found = find_origin(
        FileVersion("small/01", "a.jpg", "1", "v"), [files("raw/01", {"a.jpg": "2", "b.jpg": "3"})]
    )
    assert found is not None
    assert not found.is_proof
    assert str(found) == "same path, other content (by name)"


def test_forward_is_backward_turned_round() -> None:
    """On many small random outputs, pair by pair."""
    chance = random.Random(7)
    names = ["a.jpg", "a.png", "x/a.jpg", "01/a.jpg", "01/x/a.jpg", "v.mp4", "x/v.mp4"]
    names += [f"{video}/frame_00000{n}.jpg" for video in ("v.mp4", "x/v.mp4") for n in (0, 7)]
    pairs = 0
    for _ in range(2000):
        outputs = [
            files(path, {name: chance.choice("1234") for name in chance.sample(names, count)})
            for path in chance.sample(["raw/01", "raw", "in/01", "all", "x"], 3)
            for count in [chance.randint(1, 4)]
        ]
        made, *upstream = outputs
        for read in upstream:
            for file in read.listed:
                source = read.place(file)
                back = set()
                for own in map(made.place, made.listed):
                    found = find_origin(own, upstream)
                    if found is not None and source in (found.place, *found.also):
                        back.add((own, found))
                assert set(find_derived(source, made, upstream)) == back
                pairs += len(back)
    assert pairs > 1000
