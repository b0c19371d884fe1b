"""Reading and writing the plain YAML that DVC writes, line by line.

A full YAML library takes a millisecond for a ``.dvc`` file, and a second for a ``dvc.lock`` of some
thousand stages. Plain YAML has block mappings and lists, keys that are names, and unambiguous
scalars: decimal numbers, ``true``, ``false``, and text, which may be quoted or folded. Anything
else (a comment, a date, an anchor) is left to the full library.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

# Indentation, the dash of an item, a key, and the rest without trailing spaces, which folded text
# may have.
_LINE = re.compile(r"( *)(- )?(?:([A-Za-z][\w./@-]*):(?: |$))?(.*?) *", re.ASCII)
# Python refuses to read a number of thousands of digits.
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,99})(\.[0-9]{1,99})?")
_QUOTED = re.compile(r"'([ -&(-~]*)'|\"([ !#-\[\]-~]*)\"")
# Text that is certainly a string: no key, no comment, and it starts like a word or a path. If it
# starts with a digit, it has a letter or slash that no number or date has (1e3, 0x1f, 0o17, 0b11,
# 1_000, 2021-10-16T10:00:00Z), or it is an md5 that is not a float.
_TEXT = re.compile(
    r"(?!.*(?:: |:$| #| $))"
    r"(?:[A-Za-z/]|\.(?![0-9_])"
    r"|[0-9](?=[^:]*$)(?:(?=.*[g-np-su-wyG-NP-SU-WY/])|(?=[0-9]*_[A-DFa-df]))"
    r"|(?=[0-9be]*[acdf])(?=[0-9a-f]{32}$))"
    r"[ -~]*"
)
# Compared in lower case; some are special in YAML 1.1 only.
_WORDS = {"null", "true", "false", "yes", "no", "on", "off", "y", "n", ".inf", ".nan", "..."}
_SIDES = {"true": True, "false": False}
_COMMENT = re.compile(r"^ *#", re.MULTILINE)
_KEY = re.compile(r"[A-Za-z][\w./@-]{,99}", re.ASCII)
_FLOAT = re.compile(r"-?[0-9]+\.[0-9]+")
_WIDTH = 80
"""No version of the library breaks lines that are as long as this."""


class _OtherFormError(Exception):
    """The text is not plain YAML."""


def read_plain(text: str) -> dict[str, Any] | None:
    """Parses the text of a metafile; None if it is not plain YAML.

    The result is the same as that of a full YAML parser.
    """
    if _COMMENT.search(text):
        # Found at once, as there may be millions.
        return None
    *lines, last = text.split("\n")
    if last:
        return None
    try:
        return _Reader(lines).read()
    except (_OtherFormError, RecursionError):
        return None


def dumps(data: Any) -> str:
    """Prints YAML byte for byte as DVC does (`dvc.utils.serialize.dumps_yaml`)."""
    try:
        return "".join(f"{line}\n" for line in _lines(data, 0, set()))
    except _OtherFormError:
        from dvc.utils.serialize import dumps_yaml

        return str(dumps_yaml(data))


def _lines(data: Any, indent: int, seen: set[int]) -> Iterator[str]:
    """The lines of a mapping or list.

    Args:
        data: The mapping or list.
        indent: How far to indent it.
        seen: The containers so far, as repeated ones get anchors; this one is added.

    Raises:
        _OtherFormError: when it is not plain.
    """
    if not data or id(data) in seen:
        raise _OtherFormError
    seen.add(id(data))
    space = " " * indent
    if type(data) is list:
        for item in data:
            if type(item) in (dict, OrderedDict):
                first, *rest = _lines(item, indent + 2, seen)
                yield f"{space}- {first[indent + 2 :]}"
                yield from rest
            else:
                yield _line(f"{space}-", item, indent + 2)
    elif type(data) in (dict, OrderedDict):
        for key, value in data.items():
            if type(key) is not str or not _KEY.fullmatch(key) or key.lower() in _WORDS:
                raise _OtherFormError
            if type(value) in (dict, OrderedDict, list):
                yield f"{space}{key}:"
                yield from _lines(value, indent if type(value) is list else indent + 2, seen)
            else:
                yield _line(f"{space}{key}:", value, indent + 2)
    else:
        raise _OtherFormError


def _line(start: str, value: Any, indent: int) -> str:
    """A scalar behind a key or dash; its further lines are indented so far."""
    line = f"{start} {_print_scalar(value)}"
    return line if len(line) <= _WIDTH else _fold(start, value, indent)


def _fold(start: str, value: Any, indent: int) -> str:
    """A long scalar, as the library breaks it into lines: each version does so in its own way."""
    from dvc.utils.serialize import dumps_yaml

    word = start.split()[-1]
    data: Any = {"above": [value]} if word == "-" else {word[:-1]: value}
    depth = indent // 2 - 1
    for _ in range(depth):
        data = {"above": data}
    lines = dumps_yaml(data).splitlines()[depth + (word == "-") :]
    return "\n".join([start + lines[0][len(start) :], *lines[1:]])


def _print_scalar(value: Any) -> str:
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) is int:
        return str(value)
    if type(value) is float and _FLOAT.fullmatch(repr(value)):
        return repr(value)
    if type(value) is str and "  " not in value:
        # Quoted, so that it is not read as a number.
        return f"'{value}'" if _NUMBER.fullmatch(value) else _read_text(value)
    raise _OtherFormError


class _Reader:
    """A recursive-descent parser.

    Args:
        lines: The lines, without line ends.
    """

    def __init__(self, lines: list[str]) -> None:
        # The remaining lines, last first: indentation, whether an item begins, key, value.
        self._left = [_split(line) for line in reversed(lines)]

    def read(self) -> dict[str, Any]:
        found = self._mapping(0)
        if self._left:
            raise _OtherFormError
        return found

    def _mapping(self, indent: int) -> dict[str, Any]:
        left = self._left
        found: dict[str, Any] = {}
        while left and left[-1][0] == indent and not left[-1][1]:
            _, _, key, value = left.pop()
            if key is None or key in found or key.lower() in _WORDS:
                raise _OtherFormError
            found[key] = self._value(value, indent) if value else self._block(indent)
        if not found:
            raise _OtherFormError
        return found

    def _block(self, indent: int) -> Any:
        """The value below a key: a list, or an indented mapping or text."""
        if not self._left:
            raise _OtherFormError
        inside, is_item, key, value = self._left[-1]
        if is_item and inside >= indent:
            return self._list(inside)
        if inside <= indent:
            raise _OtherFormError
        if key is not None:
            return self._mapping(inside)
        self._left.pop()
        return self._value(value, indent)

    def _list(self, indent: int) -> list[Any]:
        left = self._left
        found = []
        while left and left[-1][0] == indent and left[-1][1]:
            _, _, key, value = left.pop()
            if key is None:
                found.append(self._value(value, indent))
            else:
                left.append((indent + 2, False, key, value))
                found.append(self._mapping(indent + 2))
        return found

    def _value(self, text: str, indent: int) -> Any:
        """A scalar with its continuation lines, which are indented more than its key."""
        left = self._left
        if left and left[-1][0] > indent:
            return _read_text(" ".join([text, *self._rest(indent)]))
        if number := _NUMBER.fullmatch(text):
            return int(text) if number[1] is None else float(text)
        if text in _SIDES:
            return _SIDES[text]
        quoted = _QUOTED.fullmatch(text)
        return _read_text(text) if quoted is None else quoted[quoted.lastindex or 0]

    def _rest(self, indent: int) -> list[str]:
        found = []
        while self._left and self._left[-1][0] > indent:
            _, is_item, key, more = self._left.pop()
            if is_item or key is not None or not more:
                raise _OtherFormError
            found.append(more)
        return found


def _split(line: str) -> tuple[int, bool, str | None, str]:
    found = _LINE.fullmatch(line)
    if found is None:
        raise _OtherFormError
    spaces, item, key, rest = found.groups()
    return len(spaces), item is not None, key, rest


def _read_text(text: str) -> str:
    if not _TEXT.fullmatch(text) or text.lower() in _WORDS:
        raise _OtherFormError
    return text
