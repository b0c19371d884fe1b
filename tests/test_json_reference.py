"""The reference of what `--json` prints, beside what is printed."""

import json
import re
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import click
import pytest
from click.testing import CliRunner

from registry_assets.cli import main
from scripts.json_reference import (
    PRINTED,
    find_objects,
    is_object,
    optional_keys,
    read_attributes,
    write_objects,
)
from tests.conftest import run


def check(value: Any, printed: Any) -> None:
    """Looks that a value is of a type, with the keys of objects in the order of the reference."""
    if is_object(printed):
        hints, left_out = get_type_hints(printed), optional_keys(printed)
        keys = [name for name in read_attributes(printed) if name in value or name not in left_out]
        assert list(value) == keys
        for name in keys:
            check(value[name], hints[name])
        return
    origin, parts = get_origin(printed), get_args(printed)
    if origin is Literal:
        assert value in parts
    elif origin in (Union, UnionType):
        check(value, _chosen(value, parts))
    elif origin is tuple and parts[-1] is not Ellipsis:
        for item, part in zip(value, parts, strict=True):
            check(item, part)
    elif origin is dict:
        for item in value.values():
            check(item, parts[1])
    elif origin is not None:
        assert isinstance(value, list)
        for item in value:
            check(item, parts[0])
    else:
        assert isinstance(value, printed)


def _chosen(value: Any, parts: tuple[Any, ...]) -> Any:
    """Which of several types a value is to be of."""
    if value is None:
        assert NoneType in parts
        return NoneType
    others = [part for part in parts if part is not NoneType]
    if len(others) == 1:
        return others[0]
    states = {part: get_args(get_type_hints(part)["state"]) for part in others}
    return next(part for part, names in states.items() if value["state"] in names)


def test_the_reference_has_every_key_of_every_object() -> None:
    text = write_objects()
    objects = {found for printed in PRINTED.values() for found in find_objects(printed)}
    assert len(objects) > 10
    for printed in objects:
        section = text.partition(f"\n## {printed.__name__.removesuffix('Json')}\n")[2]
        keys = re.findall(r"^\| `(\w+)`", section.partition("\n## ")[0], re.MULTILINE)
        assert keys == list(read_attributes(printed)), printed


def test_the_reference_has_every_command_that_prints_json() -> None:
    prints = {
        name
        for name, command in main.commands.items()
        if any("--json" in option.opts for option in command.params)
        if isinstance(command, click.Command)
    }
    assert {name.partition(" ")[0] for name in PRINTED} == prints


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("status", ()),
        ("lineage", ()),
        ("trace", ("raw/01_a/one.txt", "--forward")),
        ("duplicates", ()),
        ("decisions", ()),
        ("forget", ("raw/01_a/one.txt", "--dry-run")),
        ("gc", ()),
        ("diff", ("HEAD", "--files")),
        ("versions", ()),
    ],
)
def test_commands_print_what_the_reference_says(
    text_registry: Path, command: str, arguments: tuple[str, ...]
) -> None:
    run(text_registry, "dvc", "add", "--quiet", "raw/01_a")
    shown = CliRunner().invoke(main, ["--root", str(text_registry), command, *arguments, "--json"])
    assert shown.exit_code in (0, 1), shown.output
    check(json.loads(shown.stdout), PRINTED[command])
