"""The maps of the code say what is there: package listings, CONTRIBUTING.md, docs/design.md."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "registry_assets"
PACKAGES = sorted(
    path.parent
    for path in PACKAGE.rglob("__init__.py")
    if "shipped" not in path.relative_to(PACKAGE).parts
)
GUIDES = ["CONTRIBUTING.md", "docs/design.md"]
_LISTED = re.compile(r"^([a-z_]+(?:\.py|/)) +\S.*$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([a-z_]+(?:/[a-z_]+)*(?:/|\.py))(?::[\w.]+)?`")


def modules_of(package: Path) -> list[str]:
    """The modules and packages in a package, as listings name them."""
    modules = [path.name for path in package.glob("*.py") if path.name != "__init__.py"]
    packages = [f"{path.parent.name}/" for path in package.glob("*/__init__.py")]
    return sorted([*modules, *packages])


def rooms() -> set[str]:
    """The rooms that the contract of layers names."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = (item["layers"] for item in contracts["contracts"] if item["id"] == "layers")
    return {name for layer in layers for name in re.split(r" [:|] ", layer)}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_package_lists_its_modules_once_each_and_no_others(package: Path) -> None:
    docstring = (package / "__init__.py").read_text().split('"""')[1]
    assert sorted(_LISTED.findall(docstring)) == modules_of(package)


def test_the_contract_of_layers_and_contributing_name_every_room() -> None:
    there = {name.removesuffix("/").removesuffix(".py") for name in modules_of(PACKAGE)}
    assert rooms() == there
    text = (ROOT / "CONTRIBUTING.md").read_text()
    table = set(re.findall(r"^\| `(\w+)(?:/|\.py)`", text, re.MULTILINE))
    assert table == there


@pytest.mark.parametrize("guide", GUIDES)
def test_links_lead_to_files_that_exist(guide: str) -> None:
    place = ROOT / guide
    links = [link for link in _LINK.findall(place.read_text()) if "://" not in link]
    assert links
    lost = [link for link in links if not (place.parent / link.partition("#")[0]).exists()]
    assert lost == []


@pytest.mark.parametrize("guide", GUIDES)
def test_modules_that_are_named_exist(guide: str) -> None:
    named = set(_CODE.findall((ROOT / guide).read_text()))
    assert named
    lost = [name for name in named if not any((top / name).exists() for top in (PACKAGE, ROOT))]
    assert lost == []


@pytest.mark.parametrize("guide", GUIDES)
def test_functions_that_are_named_exist(guide: str) -> None:
    named = re.findall(r"`([a-z_]+(?:/[a-z_]+)*\.py):([\w.]+)`", (ROOT / guide).read_text())
    assert named
    lost = [
        f"{path}:{name}"
        for path, name in named
        if not all(
            re.search(rf"\b(?:def|class) {part}\b", (PACKAGE / path).read_text())
            for part in name.split(".")
        )
    ]
    assert lost == []


def test_only_git_repo_runs_git() -> None:
    """Sees commands that are given to a call as a list or tuple with the program first."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        place = path.relative_to(PACKAGE)
        if place.parts[0] in ("git_repo", "shipped"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for given in node.args if isinstance(node, ast.Call) else ():
                words = given.elts if isinstance(given, ast.List | ast.Tuple) else []
                first = words[0] if words else None
                if isinstance(first, ast.Constant) and first.value == "git":
                    found.append(f"{place}:{node.lineno}")
    assert found == []
