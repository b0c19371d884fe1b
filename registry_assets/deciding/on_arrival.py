"""What the stage programs of version 0.1.0 import; it says how to upgrade them.

Data sets made by that version state no version of the algorithms, and their stages measure
otherwise. Their programs stand in people's registries, so this path has to stay.
"""

from __future__ import annotations

from typing import NoReturn


def __getattr__(name: str) -> NoReturn:
    if name == "decide_on_arrival":
        raise SystemExit(
            "the stages of this data set are those of an earlier registry-assets, and this one "
            "measures otherwise: run `registry init . --upgrade` at the root of the registry, look "
            "at what it changed, then run `registry materialize`; or install the earlier one"
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
