"""Copies each image into the folder of its class: day or night, foggy or sharp."""

import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image


def main(source: Path, out: Path, collection: str, day_night: float, fog: float) -> None:
    """Run the stage for one collection."""
    for light in ("day_images", "night_images"):
        for visibility in ("foggy", "sharp"):
            (out / light / visibility / collection).mkdir(parents=True, exist_ok=True)
    for path in sorted(source.rglob("*")):
        if path.is_file():
            light = "day_images" if mean_brightness(path) >= day_night else "night_images"
            visibility = "foggy" if mean_horizontal_variance(path) < fog else "sharp"
            target = out / light / visibility / collection / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)


def mean_brightness(path: Path) -> float:
    """Return the mean of the third channel of HSV."""
    with Image.open(path) as image:
        hsv = np.asarray(image.convert("RGB").convert("HSV"))
    return float(np.mean(hsv[:, :, 2]))


def mean_horizontal_variance(path: Path) -> float:
    """Return the variance along each row of the grey image, averaged over the rows."""
    with Image.open(path) as image:
        rows = np.asarray(image.convert("L")).tolist()
    total = 0.0
    for row in rows:
        mean = sum(row) / len(row)
        total += sum((pixel - mean) ** 2 for pixel in row) / len(row)
    return total / len(rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], float(sys.argv[4]), float(sys.argv[5]))
