"""Copies the images whose mean V in HSV lies between two thresholds."""

import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image


def main(source: Path, out: Path, dark: float, bright: float) -> None:
    """Run the stage for one collection."""
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.rglob("*")):
        if path.is_file() and dark < mean_brightness(path) < bright:
            target = out / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)


def mean_brightness(path: Path) -> float:
    """Return the mean of the third channel of HSV."""
    with Image.open(path) as image:
        hsv = np.asarray(image.convert("RGB").convert("HSV"))
    return float(np.mean(hsv[:, :, 2]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]))
