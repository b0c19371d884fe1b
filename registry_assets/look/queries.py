"""Reading what a request asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_MD5 = re.compile("[0-9a-f]{32}")


class BadRequestError(Exception):
    """A parameter or body that the page would not send; the message says what is wrong."""


def whole(query: Mapping[str, str], name: str, default: int) -> int:
    """Parse a whole number of a query.

    Raises:
        BadRequestError: when it is none.
    """
    try:
        return int(query.get(name, default))
    except ValueError:
        raise BadRequestError(f"{name} has to be a whole number: reload the page") from None


def is_md5(text: str) -> bool:
    """Whether a text has the form of an md5, and so leads nowhere but to an object."""
    return _MD5.fullmatch(text) is not None


def read_md5s(body: Mapping[str, Any]) -> list[str]:
    """The md5s in a body, each once.

    Raises:
        BadRequestError: when it does not list any, or lists something else.
    """
    md5s = body.get("md5s")
    if not isinstance(md5s, list) or not md5s:
        raise BadRequestError("`md5s` has to be a list of md5s: choose some pictures")
    if not all(isinstance(md5, str) and is_md5(md5) for md5 in md5s):
        raise BadRequestError("`md5s` has to be a list of md5s: reload the page")
    return list(dict.fromkeys(md5s))


def text_of(body: Mapping[str, Any], name: str) -> str:
    """A text in a body.

    Raises:
        BadRequestError: when there is none.
    """
    value = body.get(name)
    if not isinstance(value, str):
        raise BadRequestError(f"`{name}` has to be a text: reload the page")
    return value


def optional_text(body: Mapping[str, Any], name: str) -> str | None:
    """A text in a body that may lack it; None if it does.

    Raises:
        BadRequestError: when it is something else.
    """
    return None if body.get(name) is None else text_of(body, name)
