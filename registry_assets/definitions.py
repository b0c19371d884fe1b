"""The code location: definitions for the repository that Dagster was started in.

The only module that does work when it is imported. The repository is the one that REGISTRY_ROOT
names, else the one around the working directory.
"""

import os
from pathlib import Path

from registry_assets.cli.gc_tuning import look_for_cycles_less_often

look_for_cycles_less_often()

from registry_assets.orchestration.building import build_definitions  # noqa: E402 - what it imports is much

defs = build_definitions(os.environ.get("REGISTRY_ROOT") or Path.cwd())
