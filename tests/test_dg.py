"""The `dg` command line: it finds our component, writes one that works, and runs it.

`dg` is in an environment of its own, which sees the one that the tests run in.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sysconfig
import venv
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.conftest import run, write_tree
from tests.dagster_ui import (
    START_SECONDS,
    check_that_an_edit_is_seen,
    code_versions,
    free_port,
    wait_for,
)
from tests.remotes.servers.processes import fetched, install

COMPONENT = "registry_assets.DvcRegistryComponent"
LINES = "processed/texts/data/outputs/lines"
ROOT = Path(__file__).parents[1]
GUIDES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


class Dg:
    """`dg` in a project."""

    def __init__(self, environment: Path, project: Path) -> None:
        self.command = [str(environment / "bin/python"), str(environment / "bin/dg")]
        self.project = project
        self.env = {
            "PYTHONPATH": str(project / "src"),
            "COLUMNS": "200",
            "DAGSTER_DISABLE_TELEMETRY": "1",
        }

    def __call__(self, *arguments: str, env: Mapping[str, str] | None = None) -> str:
        return run(self.project, *self.command, *arguments, env={**self.env, **(env or {})})


@pytest.fixture(scope="session")
def environment() -> Path:
    """An environment with `dg` in it, and all that this one has."""
    ours = Path(sysconfig.get_paths()["purelib"])
    wanted = f"dagster-dg-cli=={version('dagster')}"

    def fetch(folder: Path) -> None:
        venv.create(folder, with_pip=True)
        (added,) = folder.glob("lib/python*/site-packages")
        # The one line of Python that such a file may hold: what is editable there is found, too.
        (added / "tests.pth").write_text(f"import site; site.addsitedir({str(ours)!r})\n")
        python = str(folder / "bin/python")
        install(python, "-m", "pip", "install", "--quiet", wanted, folder=folder)

    place = re.sub(r"\W+", "-", f"{wanted}-{ours}")
    return fetched(place, fetch)


@pytest.fixture
def dg(environment: Path, tmp_path: Path) -> Dg:
    """`dg` in an empty project, as `create-dagster project` makes them."""
    project = tmp_path / "photo_project"
    write_tree(
        project,
        {
            "pyproject.toml": '[project]\nname = "photo_project"\nversion = "0.1.0"\n'
            '[tool.dg]\ndirectory_type = "project"\n'
            '[tool.dg.project]\nroot_module = "photo_project"\n',
            "src/photo_project/__init__.py": "",
            "src/photo_project/defs/__init__.py": "",
            "src/photo_project/definitions.py": """\
from pathlib import Path

from dagster import definitions, load_from_defs_folder


@definitions
def defs():
    return load_from_defs_folder(path_within_project=Path(__file__).parent)
""",
        },
    )
    return Dg(environment, project)


def test_the_component_is_listed(dg: Dg) -> None:
    items = json.loads(dg("list", "components", "--json"))["items"]
    listed = {item["key"]: item["summary"] for item in items}
    assert listed[COMPONENT] == "A DVC repository as assets."
    assert {key for key in listed if key.startswith("registry_assets")} == {COMPONENT}


def keys(dg: Dg) -> set[str]:
    return {asset["asset_key"] for asset in json.loads(dg("list", "defs", "--json"))["assets"]}


def test_what_is_scaffolded_loads_and_runs(dg: Dg, materialized_registry: Path) -> None:
    root = materialized_registry
    dg("scaffold", "defs", COMPONENT, "photos", "--root", "../registry")
    written = (dg.project / "src/photo_project/defs/photos/defs.yaml").read_text()
    assert written.split() == [
        "type:",
        COMPONENT,
        "attributes:",
        "root:",
        "../../../../../registry",
    ]
    run(root, "registry", "sync")
    history = {"DAGSTER_HOME": str(root / ".dagster")}
    (root / "processed/texts/params.yaml").write_text("suffix: 2\n")
    upper = "processed/texts/data/intermediate/upper"
    dg("launch", "--assets", upper, "--partition", "01_a", env=history)
    assert "suffix: 2\n" in (root / "processed/texts/dvc.lock").read_text()


def test_registries_load_side_by_side_as_scaffolded_and_as_documented(
    dg: Dg, text_registry: Path
) -> None:
    forest, documented = (text_registry.parent / name for name in ("forest", "my_registry"))
    for other in (forest, documented):
        shutil.copytree(text_registry, other, symlinks=True)
    (forest / "pyproject.toml").write_text('[tool.registry_assets]\nkey_prefix = "forest"\n')
    (documented / "pyproject.toml").unlink()  # with the name of the one that was copied
    dg("scaffold", "defs", COMPONENT, "here", "--root", str(text_registry))
    dg("scaffold", "defs", COMPONENT, "forest", "--root", str(forest))
    text = "\n".join(guide.read_text(encoding="utf-8") for guide in GUIDES)
    (yaml,) = {*re.findall(rf"```yaml\n(type: {COMPONENT}\n.*?)```", text, re.DOTALL)}
    write_tree(dg.project, {"src/photo_project/defs/photos/defs.yaml": yaml})
    dg("check", "yaml")
    prefixes = ("", "forest/", "photos/")
    assert {f"{prefix}{key}" for prefix in prefixes for key in ("raw", LINES)} <= keys(dg)


def test_python_is_scaffolded_for_the_repository_around_the_project(
    environment: Path, text_registry: Path, tmp_path: Path, dg: Dg
) -> None:
    project = text_registry / "photo_project"
    dg.project.rename(project)
    inside = Dg(environment, project)
    inside("scaffold", "defs", COMPONENT, "photos", "--format", "python")
    assert {"raw", LINES} <= keys(inside)


def test_nothing_is_scaffolded_where_there_is_no_repository(dg: Dg) -> None:
    done = subprocess.run(
        [*dg.command, "scaffold", "defs", COMPONENT, "photos"],
        cwd=dg.project,
        env={**os.environ, **dg.env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "--root" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (dg.project / "src/photo_project/defs/photos").exists()


def test_dev_shows_an_edit(dg: Dg, materialized_registry: Path) -> None:
    root = materialized_registry
    run(root, "registry", "sync")
    dg("scaffold", "defs", COMPONENT, "photos", "--root", str(root))
    port = free_port()
    with (root.parent / "dev.log").open("w") as log:
        server = subprocess.Popen(
            [*dg.command, "dev", "--port", str(port)],
            cwd=dg.project,
            env={**os.environ, **dg.env, "DAGSTER_HOME": str(root / ".dagster")},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(START_SECONDS, lambda: code_versions(port), "answer with the graph")
        check_that_an_edit_is_seen(port, root, 2)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(60)
