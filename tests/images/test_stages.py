"""The stage programs of processed/01_image_dataset, run as DVC runs them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from ruamel.yaml import YAML

from registry_assets.images import Decision, leave_out_duplicates, read_measurements
from registry_assets.images.algorithms import ALGORITHMS
from registry_assets.images.decision_text import with_decisions
from registry_assets.images.decisions import EMPTY

from .drawing import encode, noise, save, write_video

ROOT = Path(__file__).parents[2]
DATASET = ROOT / "processed" / "01_image_dataset"
SOURCES = DATASET / "src"
STAGES = [
    "extract_frames",
    "measure_images",
    "remove_corrupted_images",
    "remove_dark_and_bright_images",
    "classify_day_night_and_foggy_images",
]


def algorithm_of(stage: str) -> str:
    return {"extract_frames": "frames", "measure_images": "measures"}.get(stage, "verdicts")


def run(
    stage: str, *arguments: object, check: bool = True, pythonpath: Path | None = None
) -> subprocess.CompletedProcess[str]:
    paths = [str(ROOT), *([str(pythonpath)] if pythonpath else [])]
    return subprocess.run(
        [sys.executable, str(SOURCES / f"{stage}.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=check,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )


def names(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def test_five_stages_take_a_collection_from_photographs_to_classes(tmp_path: Path) -> None:
    inputs, frames, table, intact, kept = (
        tmp_path / name for name in ("01_x", "frames", "table", "intact", "kept")
    )
    save(inputs / "sharp.png", noise(48, 64))
    save(inputs / "sub" / "foggy.png", Image.new("RGB", (32, 24), (150, 150, 150)))
    save(inputs / "night.png", Image.new("RGB", (32, 24), (60, 60, 60)))
    save(inputs / "dark.png", Image.new("RGB", (32, 24), (20, 0, 0)))
    save(inputs / "bright.png", Image.new("RGB", (32, 24), (200, 0, 0)))
    (inputs / "cut.jpg").write_bytes(encode(noise(64, 64), "JPEG")[:3000])
    write_video(inputs / "clip.mp4", frames=20)

    done = run("extract_frames", "--frames-per-second", 1, inputs, frames)
    assert done.stdout == "extract_frames 01_x: 1 videos, 2 frames\n"
    done = run("measure_images", inputs, frames, table)
    assert done.stdout.startswith("measure_images 01_x: 9 files, 7 readable, ")
    done = run("remove_corrupted_images", inputs, frames, table, intact)
    assert done.stdout.endswith(": 7 of 9 files kept\n")
    thresholds = ("--dark-image-threshold", 20, "--bright-image-threshold", 200)
    done = run("remove_dark_and_bright_images", *thresholds, intact, table, kept)
    assert done.stdout.endswith(": 5 kept, 1 too bright, 1 too dark\n")
    outs = [tmp_path / "outs" / name for name in ("day_f", "day_s", "night_f", "night_s")]
    thresholds = ("--day-night-image-threshold", 100, "--fog-image-threshold", 500)
    run("classify_day_night_and_foggy_images", *thresholds, kept, table, *outs)

    assert names(outs[0]) == [
        "clip.mp4/frame_000000.jpg",
        "clip.mp4/frame_000010.jpg",
        "sub/foggy.png",
    ]
    assert names(outs[1]) == ["sharp.png"]
    assert names(outs[2]) == ["night.png"]
    assert outs[3].is_dir()
    assert names(outs[3]) == []
    assert (outs[1] / "sharp.png").samefile(inputs / "sharp.png")


def test_measures_are_remembered_in_a_repository_and_the_table_is_the_same(
    tmp_path: Path,
) -> None:
    tables = []
    for place in ("repository", "repository", "elsewhere"):
        inputs, frames = tmp_path / place / "data/inputs/01_x", tmp_path / place / "data/frames"
        if not inputs.exists():
            for number in range(40):
                save(inputs / f"{number}.png", noise(16, 16, seed=number))
            run("extract_frames", "--frames-per-second", 1, inputs, frames)
        (tmp_path / "repository" / ".dvc").mkdir(exist_ok=True)
        run("measure_images", inputs, frames, tmp_path / place / "table")
        tables.append((tmp_path / place / "table" / "measurements.csv").read_bytes())
    assert tables[0] == tables[1] == tables[2]
    [memo] = tmp_path.rglob("*.sqlite")
    assert memo.parent == tmp_path / "repository" / ".dvc" / "tmp"


def test_a_stage_replaces_the_output_of_the_run_before(tmp_path: Path) -> None:
    save(tmp_path / "inputs" / "a.jpg")
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "old.jpg").touch()
    run("extract_frames", "--frames-per-second", 1, tmp_path / "inputs", tmp_path / "frames")
    assert names(tmp_path / "frames") == ["frames.csv", "videos.csv"]


@pytest.mark.parametrize(
    ("stage", "arguments", "message"),
    [
        ("measure_images", ["here"], "the following arguments are required: frames, out"),
        ("measure_images", ["nothing", "here", "out"], "there is no folder nothing"),
        ("measure_images", ["here", "here", "here/out"], "overlap"),
        ("measure_images", ["here", "here", "file"], "exists and is not a folder"),
        ("extract_frames", ["--frames-per-second", "0", "here", "out"], "has to be above 0"),
        ("extract_frames", ["--frames-per-second", "x", "here", "out"], "invalid float value"),
        ("remove_corrupted_images", ["here", "here", "here", "out"], "run measure_images first"),
        (
            "remove_dark_and_bright_images",
            ["--dark-image-threshold=9", "--bright-image-threshold=9", "here", "table", "out"],
            "has to be less than",
        ),
    ],
)
def test_wrong_arguments_are_refused_with_one_line_and_exit_code_2(
    tmp_path: Path, stage: str, arguments: list[str], message: str
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / "measurements.csv").touch()
    places = [
        tmp_path / text
        if text.split("/")[0] in ("here", "nothing", "out", "file", "table")
        else text
        for text in arguments
    ]
    done = run(stage, *places, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert message.replace("nothing", str(tmp_path / "nothing")) in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("stage", STAGES)
def test_another_version_of_an_algorithm_is_refused_before_anything_is_touched(
    tmp_path: Path, stage: str
) -> None:
    save(tmp_path / "out" / "before.png")
    name = algorithm_of(stage)
    # Of the tables, the package still computes those without EXIF.
    earlier = 1
    for version in (ALGORITHMS[name] + 1, earlier):
        done = run(stage, "--algorithm", version, tmp_path, tmp_path / "out", check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(
            f"{stage}.py: argument --algorithm: params.yaml states version {version} of `{name}`, "
            f"and this registry-assets computes version {ALGORITHMS[name]}: "
            f"write `{name}: {ALGORITHMS[name]}` under `algorithms` there"
        )
        assert done.stderr.count("\n") == 1
    assert names(tmp_path) == ["out/before.png"]


def test_tables_are_of_the_version_that_is_stated(tmp_path: Path) -> None:
    save(tmp_path / "inputs" / "a.png")
    columns = {}
    for version in (2, 3):
        frames, table = tmp_path / f"frames {version}", tmp_path / f"table {version}"
        stated = ("--algorithm", version)
        run("extract_frames", *stated, "--frames-per-second", 1, tmp_path / "inputs", frames)
        run("measure_images", *stated, tmp_path / "inputs", frames, table)
        columns[version] = (table / "measurements.csv").read_text().split("\n")[0].split(",")
    assert names(tmp_path / "frames 2") == ["videos.csv"]
    assert names(tmp_path / "frames 3") == ["frames.csv", "videos.csv"]
    assert columns[3][:17] == columns[2]
    assert columns[3][17] == "taken"


def test_every_stage_states_the_algorithm_that_makes_its_results() -> None:
    declared = YAML(typ="safe").load(DATASET / "dvc.yaml")["stages"]
    assert list(declared) == STAGES
    for stage in STAGES:
        name = algorithm_of(stage)
        assert f"algorithms.{name}" in declared[stage]["do"]["params"]
        assert f"--algorithm ${{algorithms.{name}}}" in declared[stage]["do"]["cmd"]
    assert YAML(typ="safe").load(DATASET / "params.yaml")["algorithms"] == ALGORITHMS


def test_of_copies_in_one_collection_the_one_that_a_decision_names_stays(tmp_path: Path) -> None:
    inputs, frames, table, kept = (tmp_path / name for name in ("01_x", "frames", "table", "kept"))
    for name in ("a.png", "b/a.png", "c.png"):
        save(inputs / name, noise(48, 64))
    save(inputs / "other.png", noise(48, 64, seed=2))
    frames.mkdir()
    run("extract_frames", inputs, frames, "--frames-per-second", 1)
    run("measure_images", inputs, frames, table)
    file = tmp_path / "decisions" / "01_x.yaml"
    tables = {"01_x": table / "measurements.csv"}
    leave_out_duplicates(file, tables, ["01_x"], ["01_x"], distance=None)
    options = ("--dark-image-threshold", 20, "--bright-image-threshold", 200, "--decisions", file)
    done = run("remove_dark_and_bright_images", *options, inputs, table, kept)
    assert done.stdout == "remove_dark_and_bright_images 01_x: 2 duplicate, 2 kept\n"
    assert names(kept) == ["a.png", "other.png"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs signals")
def test_a_decoder_that_crashes_costs_one_image_and_not_the_run(tmp_path: Path) -> None:
    # Every Python process started below kills itself when Pillow opens the guilty image.
    (tmp_path / "python").mkdir()
    (tmp_path / "python" / "sitecustomize.py").write_text(
        "import os, signal\n"
        "import PIL.Image\n"
        "really_open = PIL.Image.open\n"
        "def open(file, *args, **kwargs):\n"
        "    if b'GUILTY' in file.getvalue():\n"
        "        os.kill(os.getpid(), signal.SIGSEGV)\n"
        "    return really_open(file, *args, **kwargs)\n"
        "PIL.Image.open = open\n"
    )
    inputs, frames, table = (tmp_path / name for name in ("inputs", "frames", "table"))
    for number in range(40):
        save(inputs / f"{number:02d}.png", noise(seed=number))
    with (inputs / "20.png").open("ab") as file:
        file.write(b"GUILTY")
    run("extract_frames", "--frames-per-second", 1, inputs, frames)
    run("measure_images", inputs, frames, table, pythonpath=tmp_path / "python")
    rows = list(read_measurements(table / "measurements.csv"))
    assert len(rows) == 40
    assert {row.path: row.reason for row in rows if row.reason} == {"20.png": "decoder crashed"}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs signals")
def test_a_video_that_crashes_the_decoder_costs_its_own_frames_only(tmp_path: Path) -> None:
    # Every Python process started below kills itself at the second frame of the guilty video.
    (tmp_path / "python").mkdir()
    (tmp_path / "python" / "sitecustomize.py").write_text(
        "import os, signal\n"
        "import PIL.Image\n"
        "really_save = PIL.Image.Image.save\n"
        "def save(image, path, *args, **kwargs):\n"
        "    if str(path).endswith('guilty.mp4/frame_000010.jpg'):\n"
        "        os.kill(os.getpid(), signal.SIGSEGV)\n"
        "    return really_save(image, path, *args, **kwargs)\n"
        "PIL.Image.Image.save = save\n"
    )
    for name in ("a.mp4", "guilty.mp4", "z.mp4"):
        write_video(tmp_path / "inputs" / name, frames=20)
    inputs, frames = tmp_path / "inputs", tmp_path / "frames"
    arguments = ("--frames-per-second", 1, inputs, frames)
    done = run("extract_frames", *arguments, pythonpath=tmp_path / "python")
    assert "'guilty.mp4': video crashed the decoder: 0 frames extracted" in done.stdout
    assert names(frames) == [
        "a.mp4/frame_000000.jpg",
        "a.mp4/frame_000010.jpg",
        "frames.csv",
        "videos.csv",
        "z.mp4/frame_000000.jpg",
        "z.mp4/frame_000010.jpg",
    ]


def test_decisions_come_before_the_thresholds_and_what_is_broken_stays_out(tmp_path: Path) -> None:
    inputs, frames, table, kept = (tmp_path / name for name in ("01_x", "frames", "table", "kept"))
    save(inputs / "good.png", noise(48, 64))
    save(inputs / "dark.png", Image.new("RGB", (32, 24), (5, 5, 5)))
    (inputs / "cut.jpg").write_bytes(encode(noise(64, 64), "JPEG")[:3000])
    file = tmp_path / "decisions" / "01_x.yaml"
    run("extract_frames", "--frames-per-second", 1, inputs, frames)
    run("measure_images", inputs, frames, table)
    assert not file.parent.exists()
    file.parent.mkdir()
    md5s = {row.path: row.md5 for row in read_measurements(table / "measurements.csv")}
    verdicts = {"good.png": "deny", "dark.png": "allow", "cut.jpg": "allow"}
    made = [Decision(md5s[name], verdict, "Ada", "so") for name, verdict in verdicts.items()]
    file.write_text(with_decisions(EMPTY, made, "x"))

    options = ("--dark-image-threshold", 20, "--bright-image-threshold", 200, "--decisions", file)
    done = run("remove_dark_and_bright_images", *options, inputs, table, kept)
    assert done.stdout.splitlines() == [
        "'cut.jpg': allowed by Ada: so, but left out: corrupt: premature end of data segment",
        "remove_dark_and_bright_images 01_x: 1 allowed, 1 denied",
    ]
    assert names(kept) == ["dark.png"]
    file.write_text("decisions:\n  - md5: 1\n")
    failed = run("remove_dark_and_bright_images", *options, inputs, table, kept, check=False)
    assert failed.returncode == 2
    assert failed.stderr.endswith("01_x.yaml:2: an entry lacks decision, by, why\n")
    assert names(kept) == ["dark.png"]
