"""Videos drawn with known frames: which are written, when, and which way up."""

import os
import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from registry_assets.images import (
    ExtractedVideo,
    extract_frames,
    extract_video,
    measure_collection,
    read_videos,
)

from .drawing import draw_frame, encode, save, write_video


def written(out: Path) -> list[int]:
    return sorted(int(path.stem.removeprefix("frame_")) for path in out.glob("frame_*.jpg"))


def picture(path: Path) -> NDArray[np.int64]:
    with Image.open(path) as image:
        assert image.format == "JPEG"
        return np.asarray(image).astype(np.int64)


def extract(path: Path, rate: float = 1) -> tuple[ExtractedVideo, Path]:
    out = path.parent / "out"
    shutil.rmtree(out, ignore_errors=True)
    return extract_video(path, out, frames_per_second=rate), out


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "libx264"),
        ("a.mov", "mpeg4"),
        ("a.avi", "mpeg4"),
        ("a.mkv", "libx264"),
        ("a.webm", "libvpx-vp9"),
        ("a.ts", "libx264"),
    ],
)
def test_an_intact_video_gives_a_frame_per_second(tmp_path: Path, name: str, codec: str) -> None:
    rate = 25 if name == "a.ts" else 10
    video, out = extract(write_video(tmp_path / name, codec=codec, frames=3 * rate, rate=rate))
    seconds = {0: 0.0, rate: 1.0, 2 * rate: 2.0}
    assert video == ExtractedVideo(
        name, 3 * rate, 3, 1.0, 96, 64, 0, has_gps=False, seconds=seconds
    )
    assert written(out) == [0, rate, 2 * rate]
    frame = picture(out / f"frame_{rate:06d}.jpg")
    assert np.abs(frame - draw_frame(rate)).mean() < 8  # the frame that its name says


@pytest.mark.parametrize(
    ("rate", "expected"),
    [(2, [0, 5, 10, 15]), (0.5, [0]), (3, [0, 4, 7, 10, 14, 17]), (100, list(range(20)))],
)
def test_frames_are_the_first_at_or_after_each_multiple_of_the_interval(
    tmp_path: Path, rate: float, expected: list[int]
) -> None:
    video, out = extract(write_video(tmp_path / "a.mp4", frames=20), rate)
    assert written(out) == expected
    assert (video.frames_seen, video.frames_written) == (20, len(expected))


def test_a_variable_frame_rate_is_sampled_by_time_and_not_by_count(tmp_path: Path) -> None:
    # Ten frames in the first second, then one after 2.5 s, one after 2.7 s, one after 3.1 s.
    times = [*range(10), 25, 27, 31, 32]
    video, out = extract(write_video(tmp_path / "a.mp4", frames=14, times=times))
    assert written(out) == [0, 10, 12]
    assert video.reason == ""


def test_time_counts_from_the_first_frame(tmp_path: Path) -> None:
    times = list(range(105, 125))
    _, out = extract(write_video(tmp_path / "a.mkv", frames=20, times=times))
    assert written(out) == [0, 10]


@pytest.mark.parametrize("clockwise", [90, 180, 270])
def test_a_turned_video_gives_upright_frames(tmp_path: Path, clockwise: int) -> None:
    # The camera was turned: stored is a picture with white at the top, and how to turn it.
    path = write_video(tmp_path / "a.mp4", frames=3, turned_counterclockwise=360 - clockwise)
    video, out = extract(path)
    frame = picture(out / "frame_000000.jpg")
    upright = np.rot90(draw_frame(0), k=-clockwise // 90)
    assert frame.shape == upright.shape
    assert np.abs(frame - upright).mean() < 8
    assert (video.rotation, video.height, video.width) == (clockwise, *upright.shape[:2])


def test_a_mirrored_video_is_mirrored_back(tmp_path: Path) -> None:
    plain, out = extract(write_video(tmp_path / "a.mp4", frames=2, noisy=True))
    straight = picture(out / "frame_000000.jpg")
    _, out = extract(write_video(tmp_path / "b.mp4", frames=2, noisy=True, mirrored=True))
    assert np.abs(picture(out / "frame_000000.jpg") - straight[:, ::-1]).mean() < 3
    assert plain.rotation == 0


@pytest.mark.parametrize(
    ("name", "codec", "pixel_aspect", "width"),
    [
        ("a.mts", "libx264", Fraction(4, 3), 128),
        ("a.mp4", "libx264", Fraction(64, 45), 136),
        ("a.mp4", "libx265", Fraction(8, 9), 86),
        ("a.mov", "mpeg4", Fraction(16, 15), 102),
        ("a.mkv", "libx264", Fraction(40, 33), 116),
        ("a.avi", "mpeg4", Fraction(16, 11), 140),
        ("a.mpg", "mpeg2video", Fraction(32, 27), 114),
        ("a.mp4", "mpeg4", Fraction(1, 2), 48),
        ("a.mp4", "libx264", Fraction(1, 1), 96),
        ("a.mp4", "libx264", Fraction(1000, 1001), 96),
        ("a.mp4", "libx264", Fraction(11, 1), 96),
        ("a.mp4", "libx264", Fraction(1, 11), 96),
    ],
)
def test_frames_have_square_pixels_as_players_show_them(
    tmp_path: Path, name: str, codec: str, pixel_aspect: Fraction, width: int
) -> None:
    path = write_video(tmp_path / name, codec=codec, frames=25, rate=25, pixel_aspect=pixel_aspect)
    video, out = extract(path)
    assert (video.width, video.height, video.reason) == (width, 64, "")
    frame = picture(out / "frame_000000.jpg")
    assert np.abs(frame - draw_frame(0, width=width)).mean() < 8


def test_wide_pixels_are_made_square_before_a_video_is_turned(tmp_path: Path) -> None:
    path = write_video(
        tmp_path / "a.mp4", frames=3, turned_counterclockwise=90, pixel_aspect=Fraction(4, 3)
    )
    video, _ = extract(path)
    assert (video.width, video.height, video.rotation) == (64, 128, 270)


@pytest.mark.parametrize(("wide", "high"), [(720, 576), (720, 480)])
@pytest.mark.parametrize("name", ["a.avi", "a.mov"])
def test_dv_is_shown_in_the_shape_of_the_television(
    tmp_path: Path, name: str, wide: int, high: int
) -> None:
    rate, pixels = (25, "yuv420p") if high == 576 else (Fraction(30000, 1001), "yuv411p")
    with av.open(str(tmp_path / name), "w") as container:
        stream = container.add_stream("dvvideo", rate=rate)
        stream.width, stream.height, stream.pix_fmt = wide, high, pixels
        stream.codec_context.sample_aspect_ratio = Fraction(16, 9) * Fraction(high, wide)
        for _ in range(2):
            frame = av.VideoFrame.from_ndarray(draw_frame(0, high, wide), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    video, _ = extract(tmp_path / name)
    assert video.height == high
    assert video.width == pytest.approx(high * 16 / 9, abs=20)


@pytest.mark.parametrize(
    ("shown", "width"),
    [((128, 64, 0), 128), ((96, 64, 0), 96), ((2, 1, 3), 128), ((96_000, 1, 0), 96)],
)
def test_the_display_size_of_a_container_comes_before_what_the_codec_says(
    tmp_path: Path, shown: tuple[int, int, int], width: int
) -> None:
    (tmp_path / "a.mkv").write_bytes(write_matroska(*shown))
    video, _ = extract(tmp_path / "a.mkv")
    assert (video.width, video.height, video.frames_written) == (width, 64, 1)


def test_a_broadcast_may_change_the_shape_of_its_pixels(tmp_path: Path) -> None:
    parts = [
        write_video(tmp_path / f"{n}.ts", frames=50, rate=25, pixel_aspect=Fraction(4, 3 + n))
        for n in range(2)
    ]
    path = tmp_path / "a.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    _, out = extract(path)
    widths = [picture(frame).shape[1] for frame in sorted(out.iterdir())]
    assert (widths[0], widths[-1]) == (128, 96)


def write_matroska(shown_width: int, shown_height: int, unit: int) -> bytes:
    """Return a video of JPEGs of 96 x 64, and as how large its header says to show them."""

    def element(number: str, contents: bytes) -> bytes:
        return bytes.fromhex(number) + (1 << 28 | len(contents)).to_bytes(4, "big") + contents

    def count(number: str, value: int) -> bytes:
        return element(number, value.to_bytes(4, "big"))

    jpeg = encode(Image.fromarray(draw_frame(0)), "JPEG")
    size = count("b0", 96) + count("ba", 64)
    size += count("54b0", shown_width) + count("54ba", shown_height) + count("54b2", unit)
    track = count("d7", 1) + count("73c5", 1) + count("83", 1)
    track += element("86", b"V_MJPEG") + element("e0", size)
    blocks = [element("a3", bytes([0x81, 0, 40 * number, 0x80]) + jpeg) for number in range(5)]
    return element("1a45dfa3", count("4286", 1) + element("4282", b"matroska")) + element(
        "18538067",
        element("1549a966", count("2ad7b1", 1_000_000))
        + element("1654ae6b", element("ae", track))
        + element("1f43b675", count("e7", 0) + b"".join(blocks)),
    )


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "libx264"),
        ("a.mov", "mpeg4"),
        ("a.avi", "mpeg4"),
        ("a.mkv", "libx264"),
        ("a.webm", "libvpx-vp9"),
    ],
)
def test_a_video_that_breaks_off_gives_the_frames_it_has(
    tmp_path: Path, name: str, codec: str
) -> None:
    path = write_video(tmp_path / name, codec=codec, frames=40, noisy=True)
    intact, out = extract(path, 10)
    assert (intact.frames_written, intact.reason) == (40, "")
    first = picture(out / "frame_000003.jpg")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
    video, out = extract(path, 10)
    assert 10 <= video.frames_written <= 26
    assert video.reason.startswith("breaks off after ")
    seconds = float(video.reason.split()[3])
    assert seconds == pytest.approx(video.frames_written / 10, abs=0.15)
    assert np.array_equal(picture(out / "frame_000003.jpg"), first)


def test_a_video_that_is_damaged_in_the_middle_gives_the_frames_around(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", frames=40, noisy=True)
    _, out = extract(path, 10)
    intact_last = picture(out / "frame_000039.jpg")
    contents = bytearray(path.read_bytes())
    middle = len(contents) // 2
    contents[middle : middle + 20_000] = bytes(20_000)
    path.write_bytes(contents)
    video, out = extract(path, 10)
    assert video.reason.startswith("is damaged at ")
    assert 20 <= video.frames_written < 40
    last = picture(out / f"frame_{video.frames_seen - 1:06d}.jpg")
    assert np.abs(last - intact_last).mean() < 3


@pytest.mark.parametrize(
    "contents",
    [
        b"",
        b"not a video",
        b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        bytes(10_000),
    ],
)
def test_what_only_is_named_like_a_video_gives_no_frames_and_a_reason(
    tmp_path: Path, contents: bytes
) -> None:
    (tmp_path / "a.mp4").write_bytes(contents)
    video, out = extract(tmp_path / "a.mp4")
    assert video == ExtractedVideo("a.mp4", 0, 0, 1.0, reason="cannot be opened")
    assert not out.exists()


def test_a_recording_of_sound_has_no_pictures(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44_100)
        silence = av.AudioFrame.from_ndarray(
            np.zeros((2, 1024), dtype=np.float32), format="fltp", layout="stereo"
        )
        silence.sample_rate = 44_100
        container.mux(stream.encode(silence))
        container.mux(stream.encode())
    video, _ = extract(tmp_path / "a.mp4")
    assert video.reason == "has no pictures"


@pytest.mark.parametrize("rate", [0, -1])
def test_a_rate_that_makes_no_sense_is_refused(tmp_path: Path, rate: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        extract_video(tmp_path / "a.mp4", tmp_path / "out", frames_per_second=rate)


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path.read_bytes()


def test_a_collections_frames_are_the_same_bytes_in_each_run(tmp_path: Path) -> None:
    collection = tmp_path / "collection"
    save(collection / "a.jpg")
    clip = os.fsdecode(b"cl\xefp.mp4")  # a name that is not UTF-8
    write_video(tmp_path / "clip.mp4", frames=20, noisy=True)
    (collection / "x").mkdir()
    (tmp_path / "clip.mp4").rename(collection / "x" / clip)
    cut = write_video(collection / "cut.MOV", codec="mpeg4", frames=20, noisy=True)
    cut.write_bytes(cut.read_bytes()[: int(cut.stat().st_size * 0.8)])
    save(collection / ".hidden.mp4", format="PNG")
    for out in ("one", "two"):
        videos = extract_frames(collection, tmp_path / out, frames_per_second=1, version=3)
    assert [video.path for video in videos] == ["cut.MOV", f"x/{clip}"]
    first = dict(files(tmp_path / "one"))
    assert first == dict(files(tmp_path / "two"))
    assert list(first) == [
        "cut.MOV/frame_000000.jpg",
        "cut.MOV/frame_000010.jpg",
        "frames.csv",
        "videos.csv",
        f"x/{clip}/frame_000000.jpg",
        f"x/{clip}/frame_000010.jpg",
    ]
    assert list(read_videos(tmp_path / "one")) == videos


def test_without_videos_there_are_tables_and_nothing_else(tmp_path: Path) -> None:
    save(tmp_path / "collection" / "a.jpg")
    assert (
        extract_frames(tmp_path / "collection", tmp_path / "out", frames_per_second=1, version=3)
        == []
    )
    assert [name for name, _ in files(tmp_path / "out")] == ["frames.csv", "videos.csv"]


def test_frames_are_measured_beside_the_images_and_name_their_video(tmp_path: Path) -> None:
    collection = tmp_path / "collection"
    save(collection / "clip.mp4-poster.jpg")  # sorts between the video and its frames
    write_video(collection / "clip.mp4", frames=20)
    (collection / "not.mp4").write_bytes(b"text")
    extract_frames(collection, tmp_path / "frames", frames_per_second=1, version=3)
    rows = list(measure_collection(collection, frames=tmp_path / "frames"))
    assert [(row.path, row.reason, row.source, row.frame) for row in rows] == [
        ("clip.mp4", "video: 2 frames extracted", "", None),
        ("clip.mp4-poster.jpg", "", "", None),
        ("clip.mp4/frame_000000.jpg", "", "clip.mp4", 0),
        ("clip.mp4/frame_000010.jpg", "", "clip.mp4", 10),
        ("not.mp4", "video cannot be opened: 0 frames extracted", "", None),
    ]


PHONE = {
    "com.apple.quicktime.creationdate": "2021-10-16T23:59:59+0200",
    "com.apple.quicktime.make": "Apple",
    "com.apple.quicktime.model": "iPhone 12",
    "com.apple.quicktime.location.ISO6709": "-34.6083-058.3750-012.500/",
    "creation_time": "2021-10-16T22:04:00.000000Z",
}


@pytest.mark.parametrize("name", ["a.mov", "a.mkv"])
def test_frames_have_the_time_place_and_camera_of_their_video(tmp_path: Path, name: str) -> None:
    collection, frames = tmp_path / "collection", tmp_path / "frames"
    # Of a variable frame rate: the second frame is shown after 1.2 s.
    write_video(collection / name, frames=3, times=[0, 12, 24], metadata=PHONE)
    extract_frames(collection, frames, frames_per_second=1, version=3)
    video, first, second, third = measure_collection(collection, frames=frames)
    assert [row.taken for row in (video, first, second, third)] == [
        "2021-10-16T23:59:59+02:00",
        "2021-10-16T23:59:59.000+02:00",
        "2021-10-17T00:00:00.200+02:00",
        "2021-10-17T00:00:01.400+02:00",
    ]
    for row in (video, first):
        assert (row.camera, row.lens, row.orientation) == ("Apple iPhone 12", "", None)
        assert (row.latitude, row.longitude, row.altitude) == (-34.6083, -58.375, -12.5)
    # A frame that is published tells nobody where it was taken.
    assert (video.has_gps, first.has_gps) == (True, False)
    with Image.open(frames / name / "frame_000000.jpg") as frame:
        assert not frame.getexif()


def test_what_a_container_says_changes_no_byte_of_a_frame(tmp_path: Path) -> None:
    plain = write_video(tmp_path / "plain" / "a.mov", frames=20)
    tagged = write_video(tmp_path / "tagged" / "a.mov", frames=20, metadata=PHONE)
    _, plain_frames = extract(plain)
    _, tagged_frames = extract(tagged)
    assert list(files(plain_frames)) == list(files(tagged_frames))


@pytest.mark.parametrize(
    ("metadata", "taken", "place"),
    [
        ({"creation_time": "2021-10-16T05:31:05.250000Z"}, "2021-10-16T05:31:05.250+00:00", None),
        ({"creation_time": "1904-01-01T00:00:00Z"}, "", None),
        ({"com.apple.quicktime.creationdate": "yesterday"}, "", None),
        ({"location": "+46.5000+007.2500/"}, "", (46.5, 7.25, None)),
        ({"location": "+4630.00+00715.00/"}, "", (46.5, 7.25, None)),
        ({"location": "+463000.0-0071500.0+10CRSWGS_84/"}, "", (46.5, -7.25, 10.0)),
        ({"location": "+00.0000-000.0000/"}, "", (0.0, 0.0, None)),
    ],
)
def test_times_are_shown_with_their_offset_and_places_in_degrees(
    tmp_path: Path,
    metadata: dict[str, str],
    taken: str,
    place: tuple[float, float, float | None] | None,
) -> None:
    # Matroska keeps these texts as they are.
    video, _ = extract(write_video(tmp_path / "a.mkv", frames=1, metadata=metadata))
    assert video.taken == taken
    assert (video.latitude, video.longitude, video.altitude) == (place or (None, None, None))
    assert video.has_gps == (place is not None)
    assert video.reason == ""


@pytest.mark.parametrize(
    "place", ["nowhere", "+91.0+007.25/", "+46.5+181.0/", "+46.5", "+inf+nan/", "+1" * 100_000]
)
def test_a_place_that_cannot_be_read_is_empty_and_still_told(tmp_path: Path, place: str) -> None:
    metadata = {"location": place, "make": "x" * 100_000, "model": "a\nb"}
    video, _ = extract(write_video(tmp_path / "a.mkv", frames=1, metadata=metadata))
    assert (video.latitude, video.longitude, video.has_gps) == (None, None, True)
    assert len(video.camera) == 128
    assert video.frames_written == 1


def test_metadata_that_are_not_utf_8_do_not_cost_the_video(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", metadata={"make": "Caf\u00e9 Cam", "model": "M1"})
    path.write_bytes(path.read_bytes().replace("Caf\u00e9".encode(), b"Caf\xe9\xff"))
    video, _ = extract(path)
    assert (video.frames_written, video.reason) == (3, "")
    assert video.camera.endswith("Cam M1")


def test_tables_of_an_earlier_version_are_read(tmp_path: Path) -> None:
    collection, frames = tmp_path / "collection", tmp_path / "frames"
    write_video(collection / "a.mov", frames=20, metadata=PHONE)
    extract_frames(collection, frames, frames_per_second=1, version=3)
    lines = (frames / "videos.csv").read_text().splitlines()
    # Which is what a data set gets that states that version, or a program that states none.
    for number, options in enumerate(({}, {"version": 2})):
        frames = tmp_path / f"earlier {number}"
        extract_frames(collection, frames, frames_per_second=1, **options)
        assert not (frames / "frames.csv").exists()
        assert (frames / "videos.csv").read_text() == "".join(
            ",".join(line.split(",")[:8]) + "\n" for line in lines
        )
    assert list(read_videos(frames)) == [ExtractedVideo("a.mov", 20, 2, 1.0, 96, 64, 0)]
    video, *of_frames = measure_collection(collection, frames=frames)
    assert video.reason == "video: 2 frames extracted"
    assert [row.taken for row in of_frames] == ["", ""]
