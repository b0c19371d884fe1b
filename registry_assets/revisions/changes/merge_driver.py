"""The Git merge driver for metafiles, and its configuration.

See gitattributes(5), "Defining a custom merge driver": the result is written to the file of our
side, and the exit status is 1 on conflicts. A conflicting entry keeps our version, so that the file
stays valid; `registry resolve` says what to rerun.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from registry_assets.errors import MetafileError
from registry_assets.revisions.changes.merging import MERGED_PATTERNS, WHOLE_FILE, merge

NAME = "registry"
DESCRIPTION = "metafiles of DVC, by entry"


def driver_command(top: Path) -> str:
    """The shell command for Git's configuration.

    If this Python interpreter no longer exists, the command merges line by line, as Git does.

    Args:
        top: The root of the work tree, where Git runs the command. A Python in it is written
            relative to it, so that the work tree can be moved.
    """
    here = Path(sys.executable)
    named = f"./{here.relative_to(top)}" if here.is_relative_to(top) else str(here)
    python = shlex.quote(named)
    return (
        f"if test -x {python}; then {python} -m registry_assets.merge_driver %O %A %B %P; "
        "else git merge-file -L ours -L base -L theirs %A %O %B; fi"
    )


def attribute_lines() -> list[str]:
    """The lines of ``.gitattributes`` that assign the merge driver to metafiles.

    In a clone without the driver's configuration, Git merges metafiles line by line.
    """
    return [f"{pattern} merge={NAME}" for pattern in MERGED_PATTERNS]


def main(arguments: Sequence[str]) -> int:
    """Merge three files into the second; returns the exit status for Git."""
    base, ours, theirs, path = arguments
    texts = [Path(name).read_bytes().decode() for name in (base, ours, theirs)]
    try:
        merged = merge(path, *texts)
    except (MetafileError, UnicodeDecodeError) as error:
        print(f"registry: {path}: {error}", file=sys.stderr)
        return 1
    Path(ours).write_bytes((merged.text or "").encode())
    for name in merged.conflicts:
        what = f"{name} of {path}" if name != WHOLE_FILE else path
        print(f"registry: both sides changed {what}: run `registry resolve`", file=sys.stderr)
    return 1 if merged.conflicts else 0
