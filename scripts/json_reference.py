"""The reference of what `--json` prints, from the types of what is printed."""

from __future__ import annotations

import inspect
import re
from dataclasses import is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from registry_assets.curation.asking import Answer
from registry_assets.curation.duplicates import Duplicate
from registry_assets.curation.left_out import DatasetCounts
from registry_assets.provenance.models.report import ModelJson
from registry_assets.provenance.report import TraceJson
from registry_assets.registry.decisions import DecidedJson
from registry_assets.registry.lineage.report import LineageJson
from registry_assets.registry.status.report import StatusJson
from registry_assets.retention.disk_use_report import DiskUseJson
from registry_assets.retention.report import ForgettingJson
from registry_assets.revisions.publishing.publication import NothingJson, PublicationJson
from registry_assets.revisions.versions.diff_report import DiffJson
from registry_assets.revisions.versions.version_report import DatasetVersionJson
from scripts.docstrings import as_markdown, find_attributes

PRINTED: dict[str, Any] = {
    "status": StatusJson,
    "lineage": LineageJson,
    "trace": TraceJson,
    "trace models:/NAME/VERSION": ModelJson,
    "duplicates": list[Duplicate],
    "why": Answer,
    "report": list[DatasetCounts],
    "decisions": list[DecidedJson],
    "forget": ForgettingJson,
    "gc": DiskUseJson,
    "publish": PublicationJson | NothingJson,
    "diff": DiffJson,
    "versions": list[DatasetVersionJson],
}
"""What each command prints."""

_PLAIN = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "true or false",
    NoneType: "null",
    object: "anything",
}


def write_objects() -> str:
    """What each command prints, and the objects that it consists of, in Markdown."""
    commands, objects = [], dict[type, None]()
    for command, printed in PRINTED.items():
        commands.append(f"| `registry {command} --json` | {describe_type(printed)} |")
        objects.update(dict.fromkeys(find_objects(printed)))
    table = "\n".join(["| command | prints |", "|---|---|", *commands, ""])
    return "\n".join([table, *map(_describe_object, objects)])


def find_objects(printed: Any) -> list[type]:
    """The objects that something printed consists of, each before what it consists of."""
    if not is_object(printed):
        return [found for part in get_args(printed) for found in find_objects(part)]
    hints = get_type_hints(printed)
    parts = (find_objects(hints[name]) for name in read_attributes(printed))
    return [printed, *(found for some in parts for found in some)]


def is_object(printed: Any) -> bool:
    """Whether it is a type whose values are printed as objects."""
    return isinstance(printed, type) and (is_typeddict(printed) or is_dataclass(printed))


def read_attributes(printed: type) -> dict[str, str]:
    """What its docstring says of each key, in the order in which keys are printed.

    Raises:
        ValueError: when it does not say of every key what it is.
    """
    found = find_attributes(printed)
    if found.keys() != get_type_hints(printed).keys():
        differing = ", ".join(sorted(found.keys() ^ get_type_hints(printed).keys()))
        raise ValueError(f"the docstring of {printed.__name__} and its keys differ: {differing}")
    return found


def optional_keys(printed: type) -> frozenset[str]:
    """The keys that are left out at times."""
    keys: frozenset[str] = getattr(printed, "__optional_keys__", frozenset())
    return keys


def describe_type(printed: Any) -> str:
    """In words, with links to objects."""
    if is_object(printed):
        name = _name(printed)
        return f"[{name}](#{name.lower()})"
    origin, parts = get_origin(printed), get_args(printed)
    if origin is Literal:
        return ", ".join(f'`"{value}"`' for value in parts)
    if origin in (Union, UnionType):
        return " or ".join(map(describe_type, parts))
    if origin is not None and issubclass(origin, dict):
        return f"object: by name, {describe_type(parts[1])}"
    if origin is tuple and parts[-1] is not Ellipsis:
        return f"[{', '.join(map(describe_type, parts))}]"
    if origin is not None:
        return f"list of {describe_type(parts[0])}"
    return _PLAIN[printed]


def _name(printed: type) -> str:
    return printed.__name__.removesuffix("Json")


def _as_markdown(text: str) -> str:
    return as_markdown(re.sub(r"\bNone\b", "null", text))


def _describe_object(printed: type) -> str:
    summary = (inspect.getdoc(printed) or "").partition("\n")[0]
    hints, left_out = get_type_hints(printed), optional_keys(printed)
    rows = (
        f"| `{name}`{', optional' if name in left_out else ''} | {describe_type(hints[name])} "
        f"| {_as_markdown(text)} |"
        for name, text in read_attributes(printed).items()
    )
    lines = [f"## {_name(printed)}", "", summary, "", "| key | value | |", "|---|---|---|", *rows]
    return "\n".join([*lines, ""])
