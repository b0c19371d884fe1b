"""The code location: definitions for the repository that Dagster was started in.

The only module that does work when it is imported. The repository is the one that REGISTRY_ROOT
names, else the one around the working directory.
"""

import os
from pathlib import Path

from registry_assets.building import build_definitions

defs = build_definitions(os.environ.get("REGISTRY_ROOT") or Path.cwd())
