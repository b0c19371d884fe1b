"""What the stage programs of version 0.1.0 import; it says how to upgrade them.

Data sets made by that version state no version of the algorithms, and their stages measure
otherwise. Their programs stand in people's registries, so this path has to stay.
"""

from __future__ import annotations

from typing import NoReturn

from registry_assets.errors import DatasetFormError


def __getattr__(name: str) -> NoReturn:
    if name == "decide_on_arrival":
        raise SystemExit(str(DatasetFormError()))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
