"""What runs by itself: sensors, and automation conditions.

folders.py          new folders of raw data
outside_changes.py  what changed outside Dagster
edits.py            edited collections
imports.py          sources of imports
automation.py       which assets follow on their own
metafile_stamps.py  noticing that metafiles or code changed, without reading any
"""

MOST_SECONDS = 30
"""How long a sensor goes on before the next tick has to: Dagster gives each tick a minute."""
