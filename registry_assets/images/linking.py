"""Passing files on byte for byte, at the price of a directory entry where that is possible."""

import os
import shutil


def link_file(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Make `target` a second name of the file `source`, or a copy where links are not possible.

    Folders above `target` are created. The source is never opened for writing; as the two can be
    one file, neither must the target be. What a symbolic link points to is linked, not the link.

    Raises:
        FileNotFoundError: If there is no such source.
        FileExistsError: If there already is a target.
    """
    # Resolving a path looks at every folder above it, which takes as long as linking ten times.
    real_source = os.path.realpath(source) if os.path.islink(source) else os.fspath(source)
    try:
        _link(real_source, target)
    except FileNotFoundError:
        if not os.path.exists(real_source):
            raise
        os.makedirs(os.path.dirname(target), exist_ok=True)
        _link(real_source, target)


def _link(source: str, target: str | os.PathLike[str]) -> None:
    try:
        os.link(source, target)
    except (FileNotFoundError, FileExistsError):
        raise
    except OSError:  # another file system, one without links, or too many links to this file
        shutil.copyfile(source, target)
