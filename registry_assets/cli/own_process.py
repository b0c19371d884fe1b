"""Settings of processes that run only this package: a command, or Dagster's code server.

Temporary files are one of them: all that a process makes, in DVC's code too, lies in one folder
that it locks. So the next process can tell what a killed one left, and remove it.

No other module changes settings of its process, as that may be a user's program.
"""

from __future__ import annotations

import atexit
import fcntl
import gc
import getpass
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
_TEMPORARY = "registry-assets."
_MOST_TRIES = 100
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


@contextmanager
def own_temporary_folder() -> Iterator[None]:
    """Keep the temporary files of this process in a folder of its own, which is removed at the end.

    Folders that killed processes left are removed at the start. Without a lock, as on some network
    disks, and on a full disk, there is no folder of its own.
    """
    before = tempfile.tempdir
    above = _find_temporary()
    _remove_left(above)
    made = _make_locked(above)
    if made is None:
        yield
        return
    folder, lock = made
    tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _find_temporary() -> Path:
    """The folder for temporary files, found as by `tempfile.gettempdir`.

    That one tries to write there first, and a kill right then leaves the file.
    """
    named = (os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP"))
    return Path(tempfile.tempdir or next(filter(None, named), "/tmp")).absolute()


def _make_locked(above: Path) -> tuple[Path, int] | None:
    """Make a folder and lock it; returns it with the open lock.

    systemd-tmpfiles, which removes old temporary files, leaves locked folders alone, too.
    """
    with suppress(OSError):
        for _ in range(_MOST_TRIES):
            folder = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=above))
            try:
                lock = _lock(folder)
            except (FileNotFoundError, BlockingIOError):
                # Another process took it for one that was left.
                continue
            except OSError:
                folder.rmdir()
                raise
            if folder.exists():
                return folder, lock
            os.close(lock)
    return None


def _remove_left(above: Path) -> None:
    """Remove the folders of this user that no living process has locked."""
    is_named_so = re.compile(rf"{re.escape(_TEMPORARY)}\w{{8}}").fullmatch
    with suppress(OSError):
        names = [name for name in os.listdir(above) if is_named_so(name)]
        for folder in (above / name for name in names):
            with suppress(OSError):
                if folder.lstat().st_uid == os.geteuid():
                    lock = _lock(folder)
                    shutil.rmtree(folder, ignore_errors=True)
                    os.close(lock)


def _lock(folder: Path) -> int:
    """Lock a folder; returns the descriptor that holds the lock.

    Raises:
        BlockingIOError: when another process has locked it.
        OSError: when it is no folder, or its file system has no locks.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
