"""Stage measure_images: decodes every image and frame once and writes one table."""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from arguments import StageParser, existing_folder

from registry_assets.images import Measurement, Memo, measure_collection, write_measurements
from registry_assets.images.algorithms import ALGORITHMS
from registry_assets.images.contents import MAX_PIXELS


def main() -> None:
    """Run the stage for one collection."""
    parser = StageParser(description=__doc__)
    parser.add_algorithm("measures")
    parser.add_argument(
        "--max-megapixels",
        type=float,
        default=MAX_PIXELS / 1e6,
        help="larger pictures are not decoded",
    )
    parser.add_argument("inputs", type=existing_folder, help="the collection")
    parser.add_argument("frames", type=existing_folder, help="what extract_frames wrote for it")
    parser.add_argument("out", type=Path, help="where measurements.csv goes")
    arguments = parser.parse_args()
    if not 0 < arguments.max_megapixels < float("inf"):
        parser.error("max_megapixels has to be above 0")
    parser.replace_folders([arguments.out], inputs=[arguments.inputs, arguments.frames])

    measurements = measure_collection(
        arguments.inputs,
        frames=arguments.frames,
        memo=find_memo(arguments.inputs),
        max_pixels=int(arguments.max_megapixels * 1e6),
    )
    total = count_files(arguments.inputs) + count_files(arguments.frames)
    write_measurements(
        arguments.out / "measurements.csv",
        report(measurements, total, f"measure_images {arguments.inputs.name}"),
        version=arguments.algorithm or ALGORITHMS["measures"],
    )


def find_memo(inputs: Path) -> Memo | None:
    """Return where the repository that holds a collection remembers measures."""
    for folder in inputs.absolute().parents:
        if (folder / ".dvc").is_dir():
            return Memo.in_folder(folder / ".dvc" / "tmp")
    return None


def count_files(folder: Path) -> int:
    """Return how many files there are in a folder and its sub-folders."""
    return sum(len(files) for _, _, files in os.walk(folder))


def report(measurements: Iterable[Measurement], total: int, title: str) -> Iterator[Measurement]:
    """Pass measurements on, printing how far they are: at the end, and while it takes long."""
    on_terminal = sys.stdout.isatty()
    pause = 0.2 if on_terminal else 5.0
    begin = printed = time.monotonic()
    files = readable = size = 0
    for measurement in measurements:
        yield measurement
        files += 1
        readable += measurement.is_readable
        size += measurement.size or 0
        now = time.monotonic()
        if now - printed >= pause:
            printed = now
            rate = files / (now - begin)
            left = max(total - files, 0) / rate
            line = (
                f"{title}: {files:,} of {total:,} files, {size / 1e6:,.0f} MB, "
                f"{rate:,.0f} files per second, {left:,.0f} s left"
            )
            print(f"\r{line}" if on_terminal else line, end="" if on_terminal else "\n", flush=True)
    rate = files / max(time.monotonic() - begin, 1e-9)
    line = f"{title}: {files:,} files, {readable:,} readable, {rate:,.0f} files per second"
    print(f"\r{line}" if on_terminal else line, flush=True)


if __name__ == "__main__":
    main()
