"""Importing DVC without what its command line wants of a process.

`dvc.logger.setup`, which ``import dvc`` calls, has its loggers write to stdout from INFO on,
silences two loggers of others, and has colorama wrap stdout and stderr. In a process that is not
ours DVC's messages go where that process sends messages, like those of every other library.
"""

from __future__ import annotations

import logging
import sys
from threading import Lock

_LOGGERS = ("dvc", "dvc_objects", "dvc_data", "asyncio", "aiohttp")
_importing = Lock()


def import_dvc() -> None:
    """Imports DVC, and leaves loggers and streams of this process as they were.

    Where DVC was there before, whoever imported it has it as DVC sets it up.
    """
    if "dvc" in sys.modules:
        return
    with _importing:
        loggers = [logging.getLogger(name) for name in _LOGGERS]
        before = [(logger, logger.level, logger.handlers[:]) for logger in loggers]
        streams = sys.stdout, sys.stderr
        try:
            import dvc  # noqa: F401
        finally:
            sys.stdout, sys.stderr = streams
            for logger, level, handlers in before:
                logger.setLevel(level)
                for handler in logger.handlers[:]:
                    if handler not in handlers:
                        logger.removeHandler(handler)
