"""Pictures in numbers: how bright, how colourful, and where.

python -m awesome_ml_model.features DAY_IMAGES NIGHT_IMAGES FEATURES.csv
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from awesome_ml_model.params import CLASSES, Params, read_params

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"}
_BINS = 8
_SIDE = 96
FEATURES = (
    *(f"brightness_{n}" for n in range(_BINS)),
    "saturation",
    "saturation_spread",
    "brightness_above",
    "brightness_below",
    "blue_above",
)
"""Names of the features, in the order of `describe`."""


def describe(image: Image.Image) -> npt.NDArray[np.float64]:
    """Describes a picture by numbers from 0 to 1, named in `FEATURES`.

    The share of pixels in each of eight steps of brightness (V of HSV); mean and standard deviation
    of saturation; mean brightness of the upper and lower half; and how blue the upper half is.
    """
    small = image.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    red_green_blue = np.asarray(small, dtype=np.float64) / 255
    brightness = red_green_blue.max(axis=2)
    darkest = red_green_blue.min(axis=2)
    saturation = np.divide(
        brightness - darkest, brightness, out=np.zeros_like(brightness), where=brightness > 0
    )
    shares = np.histogram(brightness, bins=_BINS, range=(0, 1))[0] / brightness.size
    half = _SIDE // 2
    above = red_green_blue[:half]
    return np.array(
        [
            *shares,
            saturation.mean(),
            saturation.std(),
            brightness[:half].mean(),
            brightness[half:].mean(),
            above[..., 2].mean() - above.mean(),
        ]
    )


def cut_pieces(
    image: Image.Image, params: Params, random: np.random.Generator
) -> Iterator[Image.Image]:
    """Cuts pieces of chance size out of a picture at chance places."""
    for _ in range(params.crops_per_image):
        scale = random.uniform(params.smallest_crop, 1)
        width, height = int(image.width * scale), int(image.height * scale)
        left = int(random.integers(image.width - width + 1))
        top = int(random.integers(image.height - height + 1))
        yield image.crop((left, top, left + width, top + height))


def find_images(folder: Path) -> list[Path]:
    """The pictures in a folder and below, in the order of their names."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)


def group_of(label: str, path: Path, folder: Path) -> str:
    """What a picture must not be torn apart from: the frames of a video are one group."""
    inside = path.relative_to(folder)
    is_frame = path.name.startswith("frame_")
    return f"{label}/{(inside.parent if is_frame else inside).as_posix()}"


def read_rows(folders: dict[str, Path], params: Params) -> Iterator[list[str]]:
    """A row per picture and per piece: label, group, name, whether it is whole, the features.

    Raises:
        ValueError: when a class has no pictures.
    """
    random = np.random.default_rng(params.seed)
    for label, folder in folders.items():
        images = find_images(folder)
        if not images:
            raise ValueError(f"there are no pictures in {folder}: run `dvc pull`")
        for path in images:
            begin = [label, group_of(label, path, folder), path.relative_to(folder).as_posix()]
            with Image.open(path) as opened:
                image = opened.convert("RGB")
            yield [*begin, "1", *map(_as_text, describe(image))]
            for piece in cut_pieces(image, params, random):
                yield [*begin, "0", *map(_as_text, describe(piece))]


def _as_text(value: float) -> str:
    return f"{value:.6f}"


def main(arguments: list[str]) -> None:
    """Writes the table of features."""
    day, night, target = map(Path, arguments)
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["label", "group", "image", "is_whole", *FEATURES])
        writer.writerows(read_rows(dict(zip(CLASSES, (day, night), strict=True)), read_params()))


if __name__ == "__main__":
    main(sys.argv[1:])
