"""The versions that results depend on."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version

_PYTHON = "python"
_PACKAGES = (
    "registry-assets",
    # What is hashed, and how a listing is written.
    "dvc",
    "dvc-data",
    # What pictures and videos are decoded with.
    "av",
    "imageio",
    "numpy",
    "pillow",
    "simplejpeg",
    # Extras, which decide what can be decoded at all.
    "pillow-heif",
    "pillow-jxl-plugin",
    "rawpy",
)


@cache
def read_versions() -> Mapping[str, str]:
    """The versions of Python and of the packages that are installed, by name."""
    found = {_PYTHON: f"{sys.version_info.major}.{sys.version_info.minor}"}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def differing(mine: Mapping[str, str], wanted: Mapping[str, str]) -> str:
    """States how versions differ, for people; "" if they do not.

    Args:
        mine: The versions here.
        wanted: The versions there; empty for any.
    """
    if not wanted:
        return ""
    names = [name for name in {**wanted, **mine} if mine.get(name) != wanted.get(name)]
    return ", ".join(
        f"{name} is {mine.get(name, 'not installed')} instead of "
        f"{wanted.get(name, 'not installed')}"
        for name in names
    )
