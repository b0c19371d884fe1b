"""Copies the images that pass Pillow's `verify`."""

import shutil
import sys
from pathlib import Path

from PIL import Image


def main(source: Path, out: Path) -> None:
    """Run the stage for one collection."""
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.rglob("*")):
        if not path.is_file():
            continue
        try:
            with Image.open(path) as image:
                image.verify()
        except Exception:
            print(f"corrupted: {path}")
            continue
        target = out / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
