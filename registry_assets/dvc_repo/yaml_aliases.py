"""YAML whose aliases repeat one another, so that a small file stands for a huge value.

Parsers share a value that is named twice. What copies, compares or walks through the result, as DVC
does with every variable, does not, and would never end ("billion laughs").
"""

from __future__ import annotations

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import CollectionNode, Node

_MOST_VALUES = 1_000_000


def repeats_too_much(text: str) -> bool:
    """Whether a YAML text stands for over a million values, counting each alias in full.

    So does one that contains itself. False for what is no YAML, which its reader reports.
    """
    if "&" not in text or "*" not in text:
        return False
    try:
        top = YAML(typ="safe").compose(text)
    except (YAMLError, RecursionError):
        return False
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
