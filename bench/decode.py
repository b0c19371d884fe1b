"""Decodes every image of a folder with as many processes as there are cores, and does no more."""

import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from PIL import Image


def decode(path: Path) -> None:
    """Decodes one image in full."""
    with Image.open(path) as image:
        image.load()


if __name__ == "__main__":
    paths = [path for path in Path(sys.argv[1]).rglob("*") if path.is_file()]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(decode, paths, chunksize=16):
            pass
