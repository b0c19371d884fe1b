"""The stages of `processed/01_image_dataset` beside the algorithm that it replaces."""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from cells import Cells, Time
from photographs import build_photographs
from ruamel.yaml import YAML

from registry_assets.intake.initialising import init_registry

DATASET = "processed/01_image_dataset"
ORIGINAL = Path(__file__).with_name("original")

_COLLECTION = "shots"
_INPUTS = f"{DATASET}/data/inputs/{_COLLECTION}"
_ADDED = 100
_OURS = ["registry", "materialize"]
_THEIRS = ["dvc", "repro", "--quiet", f"{DATASET}/dvc.yaml"]
_SMALL = (64, 48)
_BECOME_REAPER = 36  # PR_SET_CHILD_SUBREAPER, prctl(2)


def measure_photographs(scratch: Path, count: int, runs: int, time: Time) -> Iterator[Cells]:
    """All stages, another threshold, and a collection that grows; both leave the same images.

    Args:
        scratch: A folder for registries.
        count: Photographs of 640 x 480 in the collection.
        runs: How often; each in registries of its own.
        time: Returns how long a command takes in a folder.
    """
    pictures, added = scratch / "pictures", scratch / "added"
    build_photographs(pictures, count)
    build_photographs(added, _ADDED, start=count)
    found: dict[str, list[tuple[float, float]]] = {}
    for number in range(runs):
        one, other = scratch / f"one{number}", scratch / f"other{number}"
        for root in (one, other):
            build_registry_of(root, pictures)
        _make_original(other)
        for work, seconds in _measure_once(one, other, added, time):
            found.setdefault(work, []).append(seconds)
        _check_rebuilt(one, scratch / f"anew{number}", [pictures, added])
        for root in (one, other, scratch / f"anew{number}"):
            shutil.rmtree(root)
    of = f"{count:,} photographs of 640 x 480"
    original = "original algorithm, dvc repro"
    rows = {
        "stages": (f"all stages, {of}", original, 20 if count >= 10_000 else 8),
        "decode": (f"measure_images, {of}", "decoding alone, as many processes", 0.6),
        "threshold": (f"dark_image_threshold changes, {of}", original, 50),
        "grown": (f"{_ADDED} more of {of}", "original, dvc add, update and repro", 20),
    }
    for work, pairs in found.items():
        name, alternative, wanted = rows[work]
        yield Cells(name, alternative, [a for a, _ in pairs], [b for _, b in pairs], wanted)


def _measure_once(
    one: Path, other: Path, added: Path, time: Time
) -> Iterator[tuple[str, tuple[float, float]]]:
    # Who comes first would wait for the disk to take what was copied into both registries.
    os.sync()
    yield "stages", (time(_OURS, one), time(_THEIRS, other))
    _check_same_images(one, other)
    yield "decode", _time_decoding(one, time)
    for root in (one, other):
        params = root / DATASET / "params.yaml"
        text = params.read_text(encoding="utf-8")
        params.write_text(text.replace("dark_image_threshold: 20", "dark_image_threshold: 30"))
    yield "threshold", (time(_OURS, one), time(_THEIRS, other))
    _check_same_images(one, other)
    for root in (one, other):
        shutil.copytree(added, root / "raw" / _COLLECTION, dirs_exist_ok=True)
    os.sync()
    by_hand = (
        ["dvc", "add", "--quiet", f"raw/{_COLLECTION}"],
        ["dvc", "update", "--quiet", f"{_INPUTS}.dvc"],
        _THEIRS,
    )
    # Named, as edits of raw data are left to a person by default.
    grown = [*_OURS, "--collection", _COLLECTION]
    yield "grown", (time(grown, one), sum(time(command, other) for command in by_hand))
    _check_same_images(one, other)


def _time_decoding(root: Path, time: Time) -> tuple[float, float]:
    """Seconds of the stage without a memo, and of a program that decodes and does no more."""
    scratch = root.parent / "decoding"
    (scratch / "frames").mkdir(parents=True)
    shutil.copytree(root / _INPUTS, scratch / "inputs")
    frames = root / DATASET / "data/intermediate/extract_frames" / _COLLECTION
    shutil.copy(frames / "videos.csv", scratch / "frames")
    os.sync()
    stage = [sys.executable, str(root / DATASET / "src/measure_images.py")]
    alone = [sys.executable, str(Path(__file__).with_name("decode.py"))]
    seconds = time([*stage, "inputs", "frames", "out"], scratch), time([*alone, "inputs"], scratch)
    shutil.rmtree(scratch)
    return seconds


def measure_memory(scratch: Path, count: int) -> Iterator[Cells]:
    """The peak of the largest process, the workers among them, in MB, and that of a tenth."""
    peaks = []
    for number in (count // 10, count):
        pictures, root = scratch / f"small{number}", scratch / f"memory{number}"
        build_photographs(pictures, number, _SMALL)
        build_registry_of(root, pictures)
        peaks.append(peak_of(_OURS, root))
        shutil.rmtree(pictures)
        shutil.rmtree(root)
    work = f"MB at the peak of a process, all stages, {count:,} images of 64 x 48"
    yield Cells(work, f"itself, {count // 10:,} images", [peaks[1]], [peaks[0]])


def peak_of(command: list[str], root: Path) -> float:
    """The largest resident set of any one process that a command starts, in MB; Linux only."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        # Workers outlive the program that started them for a moment: all of them become ours.
        ctypes.CDLL(None).prctl(_BECOME_REAPER, 1, 0, 0, 0)
        done = subprocess.run(command, cwd=root, capture_output=True, check=False)
        try:
            while True:
                os.wait()
        except ChildProcessError:
            pass
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        os.write(write, f"{done.returncode} {peak}".encode())
        os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    code, peak_in_kb = map(int, os.read(read, 100).split())
    os.close(read)
    if code:
        raise SystemExit(f"{' '.join(command)} failed in {root}")
    return peak_in_kb * 1024 / 1e6


def build_registry_of(root: Path, *pictures: Path) -> None:
    """Makes a registry with one collection, added and imported, whose stages never ran."""
    list(init_registry(root))
    for folder in pictures:
        shutil.copytree(folder, root / "raw" / _COLLECTION, dirs_exist_ok=True)
    for command in (
        ["registry", "add", _COLLECTION],
        ["registry", "import", _COLLECTION, "--into", "01_image_dataset"],
    ):
        subprocess.run(command, cwd=root, check=True, capture_output=True)


def _make_original(root: Path) -> None:
    shutil.rmtree(root / DATASET / "src")
    shutil.copytree(ORIGINAL / "src", root / DATASET / "src")
    # Not called dvc.yaml here, where this repository itself would have it as a pipeline.
    shutil.copy(ORIGINAL / "pipeline.yaml", root / DATASET / "dvc.yaml")


def _check_rebuilt(one: Path, anew: Path, pictures: Sequence[Path]) -> None:
    """Makes sure that what grew is what it would be, had everything been there at once."""
    build_registry_of(anew, *pictures)
    shutil.copy(one / DATASET / "params.yaml", anew / DATASET)
    subprocess.run(_OURS, cwd=anew, check=True, capture_output=True)
    for path in (f"raw/{_COLLECTION}.dvc", f"{_INPUTS}.dvc", f"{DATASET}/dvc.lock"):
        if (one / path).read_bytes() != (anew / path).read_bytes():
            raise SystemExit(f"{path} differs from that of a full rebuild")


def _check_same_images(one: Path, other: Path) -> None:
    ours, theirs = _outputs(one), _outputs(other)
    if ours != theirs or len(ours) != 4:
        raise SystemExit(f"the images differ from those of the original: {ours}, {theirs}")


def _outputs(root: Path) -> dict[str, str]:
    lock = YAML(typ="safe").load((root / DATASET / "dvc.lock").read_text(encoding="utf-8"))
    return {
        out["path"]: out["md5"]
        for stage in lock["stages"].values()
        for out in stage["outs"]
        if out["path"].startswith("data/outputs/")
    }
