"""Reading what a request asks for."""

from __future__ import annotations

from collections.abc import Mapping


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
