"""What pyproject.toml says of the package: all that it imports, and nothing that it does not."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "registry_assets"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Not in every environment that the tests run in.
NOT_EVERYWHERE = {"mlflow": ["mlflow-skinny"], "tomli": ["tomli"]}
NEVER_IMPORTED = {
    "antlr4-python3-runtime": "the one version that both Dagster and DVC can parse with",
    "dagster-postgres": "imported by name",
    "dagster-webserver": "imported by name",
    "dvc-azure": "DVC finds it by itself",
    "dvc-gs": "DVC finds it by itself",
    "dvc-s3": "DVC finds it by itself",
    "dvc-ssh": "DVC finds it by itself",
    "hydra-core": "the one version that both Dagster and DVC can parse with",
    "pillow-heif": "imported by name",
    "pillow-jxl-plugin": "imported by name",
}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def names_of(requirements: Iterable[str]) -> set[str]:
    return {normal(re.split(r"[^\w.-]", line, maxsplit=1)[0]) for line in requirements}


REQUIRED = names_of(PROJECT["dependencies"])
OPTIONAL = names_of(line for extra in PROJECT["optional-dependencies"].values() for line in extra)


def imported(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """The packages of others that are imported, by the name of the import."""
    for node in nodes:
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        for name in names:
            top = name.partition(".")[0]
            if top not in {"registry_assets", "tomllib", *sys.stdlib_module_names}:
                yield top


@cache
def distributions() -> dict[str, list[str]]:
    return {**packages_distributions(), **NOT_EVERYWHERE}


def distributions_of(module: str) -> set[str]:
    return {normal(name) for name in distributions()[module]}


@pytest.fixture(scope="module")
def modules() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_bytes()) for path in PACKAGE.rglob("*.py")}


@pytest.fixture(scope="module")
def all_imported(modules: dict[Path, ast.Module]) -> set[str]:
    return {name for module in modules.values() for name in imported(ast.walk(module))}


def test_what_is_imported_is_declared(all_imported: set[str]) -> None:
    known = REQUIRED | OPTIONAL
    assert {name for name in all_imported if not distributions_of(name) & known} == set()


def test_what_is_declared_is_imported_or_has_a_reason(all_imported: set[str]) -> None:
    used = set().union(*map(distributions_of, all_imported))
    assert (REQUIRED | OPTIONAL) - used == set(NEVER_IMPORTED)


# What they hold is of no use without Dask; who wants it imports them in a function.
OF_AN_EXTRA = {"workers/dask_engine.py", "workers/dask_worker.py"}


def test_what_an_extra_brings_is_not_needed_to_import_a_module(
    modules: dict[Path, ast.Module],
) -> None:
    brought = OPTIONAL - REQUIRED
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path, module in modules.items()
        for name in imported(module.body)
        if distributions_of(name) <= brought
    }
    assert found == OF_AN_EXTRA


def test_a_module_of_an_extra_is_imported_in_functions_only(
    modules: dict[Path, ast.Module],
) -> None:
    names = {f"registry_assets.{path[:-3].replace('/', '.')}" for path in OF_AN_EXTRA}
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path, module in modules.items()
        for node in module.body
        if isinstance(node, ast.ImportFrom)
        and {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)} & names
    }
    assert found <= OF_AN_EXTRA
