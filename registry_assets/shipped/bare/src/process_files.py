"""Stage process_files: makes one file from each file of a collection."""

import argparse
import shutil
from pathlib import Path


def process(source: Path, target: Path) -> None:
    """Make one file. Replace this with what your stage does.

    Never write to `source`: it may be a link to an object in DVC's cache.
    """
    shutil.copyfile(source, target)


def main() -> None:
    """Run the stage for one collection."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smallest-size", type=int, required=True, help="in bytes")
    parser.add_argument("inputs", type=Path, help="the collection")
    parser.add_argument("out", type=Path, help="folder for the new files")
    arguments = parser.parse_args()

    arguments.out.mkdir(parents=True, exist_ok=True)
    files = made = 0
    for source in sorted(path for path in arguments.inputs.rglob("*") if path.is_file()):
        files += 1
        if source.stat().st_size >= arguments.smallest_size:
            target = arguments.out / source.relative_to(arguments.inputs)
            target.parent.mkdir(parents=True, exist_ok=True)
            process(source, target)
            made += 1
    print(f"process_files {arguments.inputs.name}: {made:,} of {files:,} files")


if __name__ == "__main__":
    main()
