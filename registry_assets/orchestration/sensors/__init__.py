"""What runs by itself: sensors, and automation conditions.

folders.py          new folders of raw data
outside_changes.py  what changed outside Dagster
edits.py            edited collections
imports.py          sources of imports
automation.py       which assets follow on their own
metafile_stamps.py  noticing that metafiles or code changed, without reading any
"""

import json
from typing import Any

MOST_SECONDS = 30
"""How long a sensor goes on before the next tick has to: Dagster gives each tick a minute."""


def read_cursor(cursor: str | None) -> dict[str, Any]:
    """What a sensor left for its next tick; empty where that cannot be read.

    A cursor only spares work and keeps things from being said twice. One that another version
    left is no reason for a tick to fail, and so for all later ones, too.
    """
    try:
        found = json.loads(cursor or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
