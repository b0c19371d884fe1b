"""What the stages' command lines have in common: folders in, fresh folders out."""

import argparse
import shutil
from pathlib import Path
from typing import NoReturn


class StageParser(argparse.ArgumentParser):
    """A parser that refuses wrong arguments with one line and exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Print the message and leave, without the lines of usage."""
        self.exit(2, f"{self.prog}: {message}\n")

    def replace_folders(self, outs: list[Path], *, inputs: list[Path]) -> None:
        """Make the output folders anew, refusing any that would touch an input or each other."""
        folders = [folder.resolve() for folder in (*inputs, *outs)]
        for number, out in enumerate(folders[len(inputs) :], len(inputs)):
            for other in folders[:number]:
                if out == other or out in other.parents or other in out.parents:
                    self.error(f"the output {out} and {other} overlap")
            if out.exists() and not out.is_dir():
                self.error(f"the output {out} exists and is not a folder")
        for out in outs:
            if out.is_symlink():
                out.unlink()
            elif out.exists():
                shutil.rmtree(out)
            out.mkdir(parents=True)


def existing_folder(text: str) -> Path:
    """Return the path of a folder, for `type=` of an argument."""
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {text}")
    return path


def measurements_table(text: str) -> Path:
    """Return the path of the table in a folder that `measure_images` wrote."""
    path = Path(text) / "measurements.csv"
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"there is no table {path}: run measure_images first")
    return path
