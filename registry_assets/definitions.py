"""The code location: definitions for the repository that Dagster was started in.

The only module that does work when it is imported, in the code server that Dagster starts for it,
or in the process of a run. That process is ours, and set up as such: its garbage collector, levels
of loggers, environment, umask and folder for temporary files. A code location of your own calls
`build_definitions` instead, which changes none of them. The repository is the one that
REGISTRY_ROOT names, else the one around the working directory.
"""

import atexit
import os
from contextlib import ExitStack
from pathlib import Path

from registry_assets.cli.own_process import own_temporary_folder, set_up_process

_root = Path(os.environ.get("REGISTRY_ROOT") or Path.cwd())
set_up_process(_root)
_stack = ExitStack()
_stack.enter_context(own_temporary_folder())
atexit.register(_stack.close)

# What these import is much.
from dagster import Definitions, in_process_executor  # noqa: E402

from registry_assets.orchestration.building import build_definitions  # noqa: E402

defs = Definitions.merge(
    build_definitions(_root),
    # A run has one collection: a process for each of its steps would cost seconds each.
    Definitions(executor=in_process_executor),
)
