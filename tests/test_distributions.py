"""The sdist and the wheel: complete, nothing of this machine, and enough where nothing else is."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import pytest

from registry_assets.intake.initialising import DATASET
from scripts.environments import run_uv
from tests.conftest import run, write_tree
from tests.test_ui import START_SECONDS, free_port, query, wait_for

CHECKOUT = Path(__file__).parents[1]
DATA = f"processed/{DATASET}"
OF_THIS_MACHINE = "of-this-machine-7d1c"
# Taken before the tests hide them: where packages come from, and where they are kept.
OWN_ENVIRONMENT = dict(os.environ)


@dataclass(frozen=True)
class Distributions:
    """What was built.

    Attributes:
        sdist: From a checkout that somebody worked in.
        wheel: From that sdist.
        wheel_of_checkout: From that checkout.
    """

    sdist: Path
    wheel: Path
    wheel_of_checkout: Path


def build(source: Path, target: str, into: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(into)]
    run(source, *command, env={"PYTHONPATH": ""})
    (built,) = into.iterdir()
    return built


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    folder = tmp_path_factory.mktemp("distributions")
    ignored = shutil.ignore_patterns(
        ".git", ".venv", ".demo", ".dagster", ".*_cache", "tests", "node_modules"
    )
    checkout = shutil.copytree(CHECKOUT, folder / "checkout", symlinks=True, ignore=ignored)
    used = (
        ".env",
        ".dvc/config.local",
        ".dvc/cache/files/md5/00/11",
        ".dagster/history.db",
        "raw/01_a/a.jpg",
        f"{DATA}/data/inputs/01_a/a.jpg",
        f"{DATA}/decisions/01_a.yaml",
        f"{DATA}/src/__pycache__/arguments.cpython-311.pyc",
    )
    write_tree(checkout, dict.fromkeys(used, OF_THIS_MACHINE))
    sdist = build(checkout, "sdist", folder / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    return Distributions(
        sdist,
        build(unpacked, "wheel", folder / "wheel"),
        build(checkout, "wheel", folder / "wheel_of_checkout"),
    )


def files_of(wheel: Path) -> dict[str, bytes]:
    with ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_a_wheel_is_the_same_from_the_sdist_as_from_the_checkout(
    distributions: Distributions,
) -> None:
    assert files_of(distributions.wheel) == files_of(distributions.wheel_of_checkout)


def test_the_wheel_has_the_package_and_what_it_ships(distributions: Distributions) -> None:
    there = set(files_of(distributions.wheel))
    package = CHECKOUT / "registry_assets"
    modules = {path for path in package.rglob("*.py") if "shipped" not in path.parts}
    expected = {path.relative_to(CHECKOUT).as_posix() for path in (*modules, package / "py.typed")}
    shipped = "registry_assets/shipped"
    expected |= {
        f"{shipped}/dataset/{path.relative_to(CHECKOUT / DATA).as_posix()}"
        for pattern in ("README.md", "dvc.yaml", "params.yaml", "src/*.py")
        for path in (CHECKOUT / DATA).glob(pattern)
    }
    for folder in ("shipped/bare", "look/page"):
        held = (path for path in (package / folder).rglob("*") if path.is_file())
        # Types are for who checks the page, not for who opens it.
        expected |= {
            path.relative_to(CHECKOUT).as_posix() for path in held if path.suffixes != [".d", ".ts"]
        }
    samples = (path for path in (CHECKOUT / "samples").rglob("*") if path.is_file())
    expected |= {f"{shipped}/{path.relative_to(CHECKOUT).as_posix()}" for path in samples}
    expected |= {f"{shipped}/dagster.yaml", f"{shipped}/workspace.yaml"}
    assert {name for name in there if ".dist-info/" not in name} == expected


def test_nothing_of_a_checkout_that_was_worked_in_goes_along(distributions: Distributions) -> None:
    with tarfile.open(distributions.sdist) as archive:
        files = {member.name: archive.extractfile(member) for member in archive if member.isfile()}
        held = {name: file.read() for name, file in files.items() if file is not None}
    assert held
    for there in (held, files_of(distributions.wheel)):
        assert [name for name, data in there.items() if OF_THIS_MACHINE.encode() in data] == []


def test_what_is_installed_from_it_works_where_nothing_else_is(
    distributions: Distributions, tmp_path: Path
) -> None:
    """Without the lock, so with the newest that anybody gets, and outside of any checkout."""
    env = tmp_path / "env"
    run_uv("venv", "--python", sys.executable, env, env=OWN_ENVIRONMENT)
    run_uv("pip", "install", "--python", env, distributions.wheel, env=OWN_ENVIRONMENT)
    # Nothing of the environment that the tests run in.
    others = os.environ["PATH"].split(os.pathsep)[2:]
    only = {"PATH": os.pathsep.join([f"{env}/bin", *others]), "PYTHONPATH": ""}
    registry, root = str(env / "bin/registry"), tmp_path / "registry"

    assert run(tmp_path, registry, "--version", env=only) == "registry, version 0.2.0\n"
    write_tree(root, {"Makefile": "all:\n"})  # somebody's, which cannot start the UI
    said = run(tmp_path, registry, "demo", str(root), env=only)
    assert f"`registry --root {root} ui`" in said

    # There is no pip in it.
    server = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    with pytest.raises(AssertionError, match=r"run `uv pip install 'registry-assets\[mlflow\]'`"):
        run(root, registry, "trace", "models:/some/1", env=only | server)

    params = root / DATA / "params.yaml"
    params.write_text(
        params.read_text().replace("day_night_image_threshold: 1", "day_night_image_threshold: 0")
    )
    said = run(root, f"{env}/bin/dvc", "repro", f"{DATA}/dvc.yaml", env=only)
    assert said.count(":classify_day_night_and_foggy_images@") == 2
    assert json.loads(run(root, registry, "status", "--json", env=only))["up_to_date"] is True

    check_that_the_ui_answers(root, registry, only)


def check_that_the_ui_answers(root: Path, registry: str, env: dict[str, str]) -> None:
    port = free_port()
    command = [registry, "ui", "--port", str(port)]
    with (root.parent / "ui.log").open("w") as log:
        server = subprocess.Popen(
            command, cwd=root, env={**os.environ, **env}, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        nodes = "{ assetNodes { id } }"
        found = wait_for(START_SECONDS, lambda: query(port, nodes), "answer of the webserver")
        assert len(found["assetNodes"]) > 1
    finally:
        server.send_signal(signal.SIGINT)
        code = server.wait(60)
    assert code == 0
