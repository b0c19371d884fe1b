"""What a process that is ours sets for itself: a command, or the code server that Dagster starts.

Nothing else of this package changes what belongs to its process, as that may be somebody else's.
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
    # DVC tells people at a terminal what to type next; here that is ours to say.
    "dvc": logging.ERROR,
    # It logs each error that it raises, with where it came from.
    "gcsfs": logging.CRITICAL,
    # Of sessions that libraries of remotes leave open; DVC's own commands silence them, too.
    "asyncio": logging.CRITICAL,
    "aiohttp": logging.CRITICAL,
}
_POSTGRES = {
    # What libpq waits for each address; by itself it waits as long as the system does, minutes.
    "PGCONNECT_TIMEOUT": "10",
}
_MLFLOW = {
    # MLflow reports usage to its makers unless it is told not to, before it is imported.
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # It asks for two minutes by itself before it says that nobody is there.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}


def set_up_process(root: Path) -> None:
    """Sets the collector, loggers, environment and umask of this process, which is ours.

    Args:
        root: Any folder of the registry that the process is for.
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
    """False for what Dagster's storage in PostgreSQL says, in four lines, of each failed try.

    What it says when it gives up becomes one line.
    """
    return not str(record.msg).startswith("Retrying failed database ")


def look_for_cycles_less_often() -> None:
    """Runs the collector every 50,000 new objects, not every 700, and not at exit.

    Looking through all that Dagster and DVC define, again and again while it is defined and once
    more when the process ends, is 40 % of the processor time of a short command, and 60 % of that
    of loading a hundred data sets.
    """
    gc.set_threshold(_NEW_OBJECTS, *gc.get_threshold()[1:])
    atexit.register(gc.freeze)


def _name_user() -> None:
    """Gives this process's user a name where the machine has none for it, as in a container.

    DVC asks for one, and `getpass.getuser` fails then; it looks into the environment first.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["LOGNAME"] = f"uid{os.getuid()}"
