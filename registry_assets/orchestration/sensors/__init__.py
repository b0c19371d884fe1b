"""Sensors and automation conditions.

folders.py          requests runs for new folders and archives of raw data
outside_changes.py  reports what changed outside Dagster
edits.py            finds edited collections
imports.py          compares imports with their sources
automation.py       the conditions under which assets are materialized automatically
metafile_stamps.py  detects that metafiles or code changed, without reading them
"""

import json
from typing import Any

MOST_SECONDS = 30
"""How long a tick works before it leaves the rest to the next one; Dagster allows it a minute."""


def read_cursor(cursor: str | None) -> dict[str, Any]:
    """Parses the cursor of a sensor; empty if that is impossible.

    A cursor only saves work and avoids repeated messages. If an unknown one, as another version may
    have written it, made a tick fail, all later ticks would fail, too.
    """
    try:
        found = json.loads(cursor or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
