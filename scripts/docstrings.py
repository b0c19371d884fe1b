"""What docstrings say of attributes, as Markdown."""

from __future__ import annotations

import inspect
import re

_ATTRIBUTE = re.compile(r"    (\w+): (.*(?:\n {8}.*)*)")


def find_attributes(described: type) -> dict[str, str]:
    """What the docstring of a class says of its attributes, in the order of the docstring."""
    _, _, section = (inspect.getdoc(described) or "").partition("\nAttributes:\n")
    return {name: " ".join(text.split()) for name, text in _ATTRIBUTE.findall(section)}


def as_markdown(text: str) -> str:
    """Code in a docstring as code in Markdown."""
    return text.replace("``", "`")
