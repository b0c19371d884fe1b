"""Next steps for a collection that differs from its recorded version."""

from __future__ import annotations


def describe_next_version(name: str) -> str:
    """The next step for a collection that was edited."""
    return f"`registry add {name}` records it as the next version"


def describe_link(path: str, target: str) -> str:
    """The message for a collection that was replaced by a symbolic link.

    `dvc add` refuses the path, and `dvc checkout` follows the link and writes to its target.
    """
    return (
        f"it is a symbolic link to {target}: replace the link by a copy of that folder, or remove "
        f"the link and run `dvc checkout {path}`"
    )


def describe_missing(path: str) -> str:
    """The next step for a collection that is recorded but not in the workspace."""
    return (
        f"`dvc checkout {path}` restores it, `dvc remove {path}.dvc` removes it from the registry"
    )
