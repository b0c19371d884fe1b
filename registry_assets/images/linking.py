"""Hard-linking files, or copying them if links are not possible."""

import os
import shutil


def link_file(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Make `target` a hard link to `source`, or a copy if links are not possible.

    Folders above `target` are created. Symbolic links are followed. As both can be the same file,
    never write to the target.

    Raises:
        FileNotFoundError: If the source does not exist.
        FileExistsError: If the target exists.
    """
    # `realpath` checks every folder above, which takes ten times as long as linking.
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
