"""The reference says all that the code has."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import Field, fields, is_dataclass
from html import unescape
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import click
import pytest

import registry_assets
from registry_assets.cli import main
from registry_assets.images.measurements import COLUMNS, MEASUREMENTS_TABLE
from registry_assets.images.videos import FRAMES_TABLE, VIDEOS_TABLE
from registry_assets.model import Settings
from registry_assets.orchestration.history.opening import open_history
from registry_assets.settings import read_settings
from scripts.reference import EXAMPLES, TABLES, default_line, write_measured
from tests.conftest import run
from tests.documentation.conftest import ROOT

REFERENCE = ROOT / "docs/reference"
PACKAGE = ROOT / "registry_assets"


def text_of(page: Path) -> str:
    """The text of a built page, without its elements."""
    return unescape(re.sub(r"<[^>]*>", "", page.read_text(encoding="utf-8")))


def section_of(page: str, title: str) -> str:
    """A section of a page's source, with the sections below it."""
    text = (REFERENCE / page).read_text(encoding="utf-8")
    found = re.search(rf"^## {re.escape(title)}$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def cells_of(text: str) -> set[str]:
    """What stands as code in the first column of tables."""
    first = re.findall(r"^\| (.*?) \|", text, re.MULTILINE)
    return {name for cell in first for name in re.findall(r"`([^`]+)`", cell)}


def commands() -> Iterator[tuple[str, click.Command]]:
    yield "registry", main
    for name, command in main.commands.items():
        yield f"registry {name}", command


def test_every_command_and_option_stands_in_the_reference(site: Path) -> None:
    text = text_of(site / "reference/commands.html")
    for name, command in commands():
        found = re.search(rf"^{name}¶$(.*?)(?=^registry [a-z-]+¶$|\Z)", text, re.M | re.DOTALL)
        assert found, name
        said = " ".join((command.help or "").replace("`", "").split())
        assert said in " ".join(found[1].split()), name
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                lost = [option for option in parameter.opts if option not in found[1]]
                assert lost == [], name


def test_every_setting_stands_in_the_reference(site: Path) -> None:
    headings = re.findall(r"^(\w+)¶$", text_of(site / "reference/settings.html"), re.MULTILINE)
    assert [name for name in headings if name != "Settings"] == [
        setting.name for setting in fields(Settings)
    ]


def test_every_setting_that_is_a_dataclass_shows_its_own_settings(site: Path) -> None:
    kinds = get_type_hints(Settings)
    nested = {
        name: kind
        for name, hint in kinds.items()
        for kind in (hint, *(get_args(hint) if get_origin(hint) in (Union, UnionType) else ()))
        if is_dataclass(kind)
    }
    assert nested == TABLES
    page = text_of(site / "reference/settings.html")
    for name, kind in nested.items():
        section = page.partition(f"\n{name}¶")[2].partition("¶")[0]
        assert [item.name for item in fields(kind) if item.name not in section] == []


@pytest.mark.parametrize("name", [setting.name for setting in fields(Settings)])
def test_examples_of_settings_are_read_and_change_something(name: str, tmp_path: Path) -> None:
    for example in EXAMPLES[name]:
        (tmp_path / "pyproject.toml").write_text(f"[tool.registry_assets]\n{example}\n")
        found = read_settings(tmp_path)
        if name != "families":  # its example is the default, which one adds to
            assert getattr(found, name) != getattr(Settings(), name)


@pytest.mark.parametrize("setting", fields(Settings), ids=lambda setting: setting.name)
def test_a_default_of_the_reference_is_what_holds_without_the_setting(
    setting: Field[Any], tmp_path: Path
) -> None:
    line = default_line(setting)
    if line is None:
        assert getattr(Settings(), setting.name) is None
        return
    (tmp_path / "pyproject.toml").write_text(f"[tool.registry_assets]\n{line}\n")
    assert read_settings(tmp_path) == Settings()


def test_every_public_name_stands_in_the_reference(site: Path) -> None:
    page = (site / "reference/python.html").read_text(encoding="utf-8")
    lost = [name for name in registry_assets.__all__ if f'id="registry_assets.{name}"' not in page]
    assert lost == []


def test_the_reference_has_the_metadata_that_the_code_writes_and_no_other() -> None:
    text = (REFERENCE / "metadata.md").read_text(encoding="utf-8")
    documented = {name for name in cells_of(text) if name != "metrics/…"}
    assert documented == set(_written_names())


def _written_names() -> Iterator[str]:
    """The names of metadata, from the modules that write it."""
    name = re.compile(
        r"(?:dvc|git|made|files|duplicates|decisions|images)/\w+|contact_sheet|behind"
    )
    for module in (
        "orchestration/describing",
        "orchestration/sensors/imports",
        "registry/translator",
    ):
        for node in ast.walk(ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                if name.fullmatch(node.value) and (node.value != "behind" or "imports" in module):
                    yield node.value
            elif isinstance(node, ast.JoinedStr) and ast.unparse(node) == "f'files/{change}'":
                yield from ("files/added", "files/removed", "files/changed")


def test_what_a_registry_told_dagster_stands_in_the_reference(demo: Path) -> None:
    documented = cells_of((REFERENCE / "metadata.md").read_text(encoding="utf-8"))
    with open_history(demo) as instance:
        told = {
            name
            for key in instance.all_asset_keys()
            for record in instance.fetch_materializations(key, limit=5).records
            if (made := record.asset_materialization) is not None
            for name in made.metadata
        }
    assert {"dvc/path", "images/kept"} <= told
    assert {name for name in told if not name.startswith("metrics/")} <= documented


def test_every_column_of_a_table_stands_in_the_reference(
    demo: Path, site: Path, tmp_path: Path
) -> None:
    page = text_of(site / "reference/tables.html")
    tables = demo / "processed/01_image_dataset/data/intermediate"
    exported = {}
    for form, name in (("csv", "table.csv"), ("imagefolder", "train/metadata.csv")):
        run(
            demo,
            "registry",
            "export",
            "01_image_dataset",
            "--as",
            form,
            "--to",
            f"{tmp_path}/{form}",
        )
        exported[Path(name).name] = tmp_path / form / name
    found = {
        MEASUREMENTS_TABLE: next(tables.rglob(MEASUREMENTS_TABLE)),
        VIDEOS_TABLE: next(tables.rglob(VIDEOS_TABLE)),
        FRAMES_TABLE: next(tables.rglob(FRAMES_TABLE)),
        **exported,
    }
    for title, place in found.items():
        columns = place.read_text(encoding="utf-8").partition("\n")[0].split(",")
        section = re.search(rf"^{title}¶$(.*?)(?=^\w+\.csv¶$|\Z)", page, re.M | re.DOTALL)
        assert section, title
        others = set(COLUMNS) if place in exported.values() else set()
        if title == "metadata.csv":
            others |= cells_of(section_of("tables.md", "table.csv"))
        lost = [name for name in columns if name not in re.findall(r"\w+", section[1])]
        assert set(lost) <= others, title


def test_every_command_that_finds_something_stands_with_the_exit_codes() -> None:
    text = (REFERENCE / "exit-codes.md").read_text(encoding="utf-8")
    documented = {name.partition(" ")[0] for name in cells_of(text)}
    assert documented <= {*main.commands, "registry"}
    finding = {
        name
        for name, command in main.commands.items()
        if command.callback is not None
        and re.search(r"\bsys\.exit\(", inspect.getsource(inspect.unwrap(command.callback)))
    }
    assert len(finding) > 10
    assert finding <= documented


def test_every_comparison_that_was_measured_is_shown_also_where_this_is_slower() -> None:
    table = write_measured()
    measured = (ROOT / "bench/RESULTS.md").read_text(encoding="utf-8")
    others = "dvc|original|DVC|Oxen|Xvc|CleanVision"
    compared = re.findall(rf"^\| ([^|]*) \| (?:{others})[^|]* \|", measured, re.MULTILINE)
    assert len(compared) > 10
    assert [line.split(" | ")[0].removeprefix("| ") for line in table.splitlines()[2:]] == compared
    assert "slower" in table
