"""Importing DVC without its changes to loggers and streams.

``import dvc`` calls `dvc.logger.setup`, which makes its loggers write to stdout, silences two
loggers of other libraries, and lets colorama wrap stdout and stderr. A library must not do that to
its host process.
"""

from __future__ import annotations

import logging
import sys
from threading import Lock

_LOGGERS = ("dvc", "dvc_objects", "dvc_data", "asyncio", "aiohttp")
_importing = Lock()


def import_dvc() -> None:
    """Imports DVC, then restores loggers and streams; does nothing if DVC is already imported."""
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
