"""Reading what anybody may have written or named, in bounded time and memory.

Metafiles and lists come with a branch. A link in the place of one may lead to a device or a pipe,
whose reading never ends. Its text may be huge; and YAML may stand for far more than is written, as
its aliases repeat one another ("billion laughs"), or be nested so deeply that a parser crashes. A
rule of a ``.dvcignore`` may take hours to match a single name, and so may variables that never end.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent
from ruamel.yaml.nodes import CollectionNode, Node

from registry_assets.errors import MetafileError
from registry_assets.units import cut

MOST_BYTES = 2**26
"""Of a text; a ``dvc.lock`` of a hundred thousand stages has as many."""
_TOO_LARGE = f"it is larger than {MOST_BYTES >> 20} MiB, as no such file is"
_MOST_VALUES = 1_000_000
_MOST_DEPTH = 200
MOST_FOLDERS_DEEP = 200
"""Folders in one another; what DVC's ignore rules take grows with the third power of it."""
_MOST_RULES = 50_000
"""Of a ``.dvcignore``: DVC turns each into a part of one regular expression, 0.2 ms each."""
_MOST_STARS = 3
"""Of a rule, as `_is_slow` counts them: one more takes a name of 250 letters a minute."""
_MOST_DEEP_STARS = 2
_MOST_UNCLOSED = 10
_MOST_SEARCHED = 10_000_000
"""Of letters: from each ``${`` on, DVC looks for the next ``}``, several times per value."""
_STARS = re.compile(rf"^(?:[^*\n]*\*){{{_MOST_STARS}}}.*", re.MULTILINE)
_SYSTEM = re.compile(r"/(?:proc|sys)/")
"""Where Linux has files that it writes as they are read, some of which never end."""
_NESTING = re.compile(r"[\[{]|\S[ \t]+(?=[-?][ \t])")
"""What nests values on one line, and not by indentation."""
_INDENTED = re.compile(rf"^ {{{_MOST_DEPTH}}}", re.MULTILINE)


def find_endless(path: str | Path) -> str | None:
    """Why reading a file or folder may never end; None if it ends, or nothing is there."""
    try:
        found = os.stat(path)  # noqa: PTH116 - a `Path` takes as long again
    except (OSError, ValueError):
        return None
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        return "not a regular file"
    # A file that the system writes takes no blocks, and few others do: following links is slower.
    if not found.st_blocks and _SYSTEM.match(f"{os.path.realpath(path)}/"):
        return "nothing that is on a disk"
    return None


def read_text(path: str | Path, name: str | None = None, *, errors: str = "strict") -> str:
    """The text of a metafile, list or setting, which is UTF-8.

    Args:
        path: The file.
        name: How messages call it (default: its path).
        errors: What to do about bytes that are not UTF-8, as `bytes.decode` calls it.

    Raises:
        FileNotFoundError: when it is not there.
        MetafileError: when it is no file, not UTF-8, or too large.
    """
    name = name or str(path)
    endless = find_endless(path)
    if endless is not None:
        raise MetafileError(name, f"it is {endless}: put one in its place")
    with open(path, encoding="utf-8", errors=errors) as file:  # noqa: PTH123 - it may be a text
        if os.fstat(file.fileno()).st_size > MOST_BYTES:
            raise MetafileError(name, _TOO_LARGE)
        try:
            return file.read()
        except UnicodeDecodeError:
            raise MetafileError(name, "it is not UTF-8: save it as such") from None


def check_size(text: str, name: str) -> None:
    """Checks that a text is no larger than any metafile.

    Raises:
        MetafileError: when it is.
    """
    if len(text) > MOST_BYTES:
        raise MetafileError(name, _TOO_LARGE)


def check_ignore_rules(text: str, name: str) -> None:
    """Checks that the rules of a ``.dvcignore`` can be read and matched in no time.

    Raises:
        MetafileError: when they cannot.
    """
    if text.count("\n") > _MOST_RULES:
        raise MetafileError(
            name, f"it has more than {_MOST_RULES:,} lines: ignore folders instead of their files"
        )
    rule = next(filter(_is_slow, _STARS.findall(text)), None)
    if rule is not None:
        raise MetafileError(name, f"the rule {cut(rule, 60)} has too many stars: write several")


def _is_slow(rule: str) -> bool:
    """Whether a rule of an ignore file may take long to match a name.

    DVC matches by regular expressions, which try each way to share out a name between stars. All
    but the first ``*`` of a part multiply the ways, and so does each ``**``.
    """
    *above, last = rule.strip().split("/")
    deep = above.count("**")
    stars = sum(max(part.count("*") - 1, 0) for part in (*above, last) if part != "**")
    return deep > _MOST_DEEP_STARS or deep + stars > _MOST_STARS


def check_yaml(text: str, name: str) -> None:
    """Checks that a YAML text stands for no more than anybody can read.

    Args:
        text: The text; what is no YAML is left to its reader.
        name: The file that it is from, for messages.

    Raises:
        MetafileError: when it stands for more.
    """
    check_size(text, name)
    try:
        if _is_too_deep(text):
            raise MetafileError(name, "it is nested too deeply")
        if _repeats_too_much(text):
            raise MetafileError(name, "its aliases repeat one another too often: write them out")
        if _takes_long_to_interpolate(text):
            raise MetafileError(name, "it has too many ${ without a }: close them")
    except (YAMLError, RecursionError, ValueError):
        return


def _takes_long_to_interpolate(text: str) -> bool:
    """Whether the ends of variables would be looked for in too many letters, none of them one."""
    if "${" not in text:
        return False
    unended = ((part.count("${"), len(part)) for part in text.split("}"))
    return sum(n * length for n, length in unended if n > _MOST_UNCLOSED) > _MOST_SEARCHED


def _is_too_deep(text: str) -> bool:
    """Whether values are nested more deeply than the parser in C survives.

    Its events are read one by one, unlike its values.
    """
    nested = sum(1 for _ in _NESTING.finditer(text))
    if nested < _MOST_DEPTH and not _INDENTED.search(text):
        return False
    depth = 0
    for event in YAML(typ="safe").parse(text):
        depth += isinstance(event, CollectionStartEvent)
        depth -= isinstance(event, CollectionEndEvent)
        if depth > _MOST_DEPTH:
            return True
    return False


def _repeats_too_much(text: str) -> bool:
    """Whether a YAML text stands for over a million values, counting each alias in full.

    So does one that contains itself. Parsers share a value that is named twice; what copies,
    compares or walks through the result, as DVC does with every variable, does not.
    """
    if "&" not in text or "*" not in text:
        return False
    top = YAML(typ="safe").compose(text)
    return top is not None and _count(top) > _MOST_VALUES


def _count(top: Node) -> float:
    """The number of values in a node, each as often as it is reached; infinite if it is in itself.

    Nodes are counted once, after those in them.
    """
    counts: dict[int, float] = {}
    waiting = [top]
    while waiting:
        node = waiting[-1]
        if id(node) in counts and counts[id(node)] != float("inf"):
            waiting.pop()
            continue
        inside = _inside(node)
        if id(node) not in counts:
            # Infinite until it is known: what is met again before that contains itself.
            counts[id(node)] = float("inf")
            waiting += [each for each in inside if id(each) not in counts]
        else:
            waiting.pop()
            counts[id(node)] = 1 + sum(counts[id(each)] for each in inside)
            if counts[id(node)] > _MOST_VALUES:
                return counts[id(node)]
    return counts[id(top)]


def _inside(node: Node) -> list[Node]:
    if not isinstance(node, CollectionNode):
        return []
    return [each for item in node.value for each in (item if isinstance(item, tuple) else (item,))]
