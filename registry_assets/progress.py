"""What a run says while it runs, as plain lines."""

import logging
import sys

from dagster import InitLoggerContext, logger

PROGRESS_LOGGER = "progress"
_LONGEST_LINE = 110


class _PlainLines(logging.Handler):
    """Writes what assets say to standard error, without the events that Dagster adds."""

    def emit(self, record: logging.LogRecord) -> None:
        meta = getattr(record, "dagster_meta", {})
        is_of_asset = meta.get("step_key") is not None and meta.get("dagster_event") is None
        # Errors are said once, by the command that ran it.
        if is_of_asset and logging.INFO <= record.levelno < logging.ERROR:
            message = str(meta.get("orig_message") or record.getMessage())
            sys.stderr.write(f"    {shorten(message)}\n")
            sys.stderr.flush()


def shorten(line: str) -> str:
    """Cuts a line to what fits, leaving the middle out."""
    most = _LONGEST_LINE
    return line if len(line) <= most else f"{line[: most // 2]} … {line[-most // 2 :]}"


@logger
def progress_logger(_context: InitLoggerContext) -> logging.Logger:
    """A logger for commands at a terminal."""
    plain = logging.Logger("registry_assets.progress", logging.INFO)
    plain.addHandler(_PlainLines())
    return plain
