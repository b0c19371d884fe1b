"""What a run says while it runs, as plain lines."""

import logging
import sys

from dagster import InitLoggerContext, logger

PROGRESS_LOGGER = "progress"


class _PlainLines(logging.Handler):
    """Writes what assets say to standard error, without the events that Dagster adds."""

    def emit(self, record: logging.LogRecord) -> None:
        meta = getattr(record, "dagster_meta", {})
        if meta.get("dagster_event") is None and record.levelno >= logging.INFO:
            message = meta.get("orig_message") or record.getMessage()
            sys.stderr.write(f"    {message}\n")
            sys.stderr.flush()


@logger
def progress_logger(_context: InitLoggerContext) -> logging.Logger:
    """A logger for commands at a terminal."""
    plain = logging.Logger("registry_assets.progress", logging.INFO)
    plain.addHandler(_PlainLines())
    return plain
