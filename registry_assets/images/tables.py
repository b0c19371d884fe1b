"""Reading and writing CSV files, in UTF-8 and reproducible byte for byte.

Text columns are escaped, as file names on Linux are bytes that need not be UTF-8 and may have line
breaks: bytes that are not UTF-8 and control characters are written as a backslash, `x` and two
hexadecimal digits; backslashes are doubled. So each row is one line. Commas and quotes are quoted
as usual in CSV.
"""

import csv
import os
import re
from collections.abc import Iterable, Iterator, Sequence

_TO_ESCAPE = re.compile("[\\x00-\\x1f\\x7f\\\\\ud800-\udfff]")
_ESCAPED = re.compile(r"\\(\\|x[0-9a-f]{2}|u[0-9a-f]{4})")


def escape_text(text: str) -> str:
    """Escape text, such as a file name, so that UTF-8 can encode it."""
    return _TO_ESCAPE.sub(_escape_character, text)


def unescape_text(text: str) -> str:
    """Reverse `escape_text`."""
    return _ESCAPED.sub(_unescape_character, text) if "\\" in text else text


def write_table(
    path: str | os.PathLike[str], columns: Sequence[str], rows: Iterable[Sequence[str]]
) -> None:
    """Write a table as the rows come, and move it to `path` once it is complete."""
    partial = f"{os.fspath(path)}.partial"
    try:
        with open(partial, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(rows)
        os.replace(partial, path)
    except BaseException:
        if os.path.exists(partial):
            os.unlink(partial)
        raise


def read_table(
    path: str | os.PathLike[str], columns: Sequence[str], *, at_least: int | None = None
) -> Iterator[list[str]]:
    """Yield the rows of a table.

    Args:
        path: The table.
        columns: Its columns.
        at_least: The number of columns in tables of earlier versions; others are empty then.

    Raises:
        ValueError: If it does not have these columns.
    """
    with open(path, encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        header = next(reader, [])
        missing = len(columns) - len(header)
        if header != list(columns[: len(header)]) or len(header) < (at_least or len(columns)):
            raise ValueError(f"{os.fspath(path)} does not begin with the columns {list(columns)}")
        for row in reader:
            if len(row) != len(header):
                raise ValueError(f"{os.fspath(path)}, line {reader.line_num}: {len(row)} columns")
            yield row + [""] * missing if missing else row


def _escape_character(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code == 0x5C:
        return "\\\\"
    # The surrogates U+DC80 to U+DCFF are the bytes 80 to FF, as in `os.fsdecode`.
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"


def _unescape_character(match: re.Match[str]) -> str:
    escaped = match.group(1)
    if escaped == "\\":
        return "\\"
    code = int(escaped[1:], 16)
    return chr(code + 0xDC00) if escaped[0] == "x" and code >= 0x80 else chr(code)
