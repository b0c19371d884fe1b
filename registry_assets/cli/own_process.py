"""Settings of processes that run only this package: a command, or Dagster's code server.

No other module changes settings of its process, as that may be a user's program.
"""

from __future__ import annotations

import atexit
import gc
import getpass
import logging
import os
from pathlib import Path

from registry_assets.registry.sharing import share_files

_NEW_OBJECTS = 50_000
_QUIET = {
    # DVC prints next steps for `dvc`; our commands print their own.
    "dvc": logging.ERROR,
    # It logs each error that it raises, with a traceback.
    "gcsfs": logging.CRITICAL,
    # They warn of sessions that libraries of remotes leave open; `dvc` silences them, too.
    "asyncio": logging.CRITICAL,
    "aiohttp": logging.CRITICAL,
}
_POSTGRES = {
    # In seconds, for each address; without it libpq waits for minutes.
    "PGCONNECT_TIMEOUT": "10",
}
_MLFLOW = {
    # MLflow sends usage data unless this is set before the import.
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # By default, MLflow tries for two minutes to reach a server.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}


def set_up_process(root: Path) -> None:
    """Set the garbage collector, loggers, environment and umask of this process.

    Args:
        root: Any folder of the registry.
    """
    look_for_cycles_less_often()
    for name, level in _QUIET.items():
        logging.getLogger(name).setLevel(level)
    logging.getLogger().addFilter(_says_more_than_that_it_tries_again)
    for name, value in {**_MLFLOW, **_POSTGRES}.items():
        os.environ.setdefault(name, value)
    _name_user()
    share_files(root)


def _says_more_than_that_it_tries_again(record: logging.LogRecord) -> bool:
    """False for the four lines that Dagster's PostgreSQL storage logs on each retry.

    The final error is printed in one line.
    """
    return not str(record.msg).startswith("Retrying failed database ")


def look_for_cycles_less_often() -> None:
    """Make the garbage collector run every 50,000 new objects instead of 700, and not at exit.

    With the defaults, it repeatedly visits all objects that Dagster and DVC define. That takes 40 %
    of the processor time of a short command, and 60 % of the time to load a hundred data sets.
    """
    gc.set_threshold(_NEW_OBJECTS, *gc.get_threshold()[1:])
    atexit.register(gc.freeze)


def _name_user() -> None:
    """Set LOGNAME if the machine has no name for the user of this process, as in a container.

    DVC calls `getpass.getuser`, which fails without a name; it reads the environment first.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["LOGNAME"] = f"uid{os.getuid()}"
