"""Tries the lowest and the newest versions that pyproject.toml allows: `make test-versions`.

The lowest on the oldest Python, and the newest on the newest, that this machine has, or uv can get,
and that Dagster and DVC support; with `--all`, both on both. Only wheels are taken: on a newer
Python the lowest version is the lowest that has one.
What is tried is what depends most on others: the private names that we use, the demo, the graph,
the IO manager, a sensor, and the formats that extras read.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import metadata
from itertools import product
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from scripts.environments import run_uv

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TESTS = (
    "tests/test_private_apis.py",
    "tests/test_environment.py",
    "tests/test_demo.py::test_everything_agrees_afterwards",
    "tests/test_lineage.py",
    "tests/test_io_manager.py",
    "tests/test_sensor.py",
    "tests/images/test_camera_raw.py",
)
TOOLS = ("editables", "hatchling", "pytest", "pytest-xdist")
SHOWN = ("dagster", "dvc", "pillow", "numpy", "av")
RESOLUTIONS = {"lowest": "lowest-direct", "newest": "highest"}


def supported_pythons() -> list[str]:
    """The versions of Python that we, Dagster and DVC say to support, oldest first."""
    both = SpecifierSet(PROJECT["requires-python"])
    for name in ("dagster", "dvc"):
        both &= SpecifierSet(metadata(name)["Requires-Python"])
    return [f"3.{minor}" for minor in range(10, 30) if both.contains(f"3.{minor}")]


def find_python(version: str) -> Path | None:
    """A Python of that version on this machine."""
    pyenv = (Path.home() / ".pyenv/versions").glob(f"{version}.*/bin/python")
    found = next(iter(sorted(pyenv)), None)
    if found is None:
        try:
            options = ("--no-project", "--no-python-downloads")
            found = Path(run_uv("python", "find", *options, version).strip())
        except RuntimeError:
            return None
    return found


def choose_pythons(folder: Path) -> Iterator[Path]:
    """The oldest and the newest; says when a newer one is supported and not to be had."""
    supported = supported_pythons()
    found = {version: place for version in supported if (place := find_python(version))}
    newest = supported[-1]
    if newest not in found:
        try:
            run_uv("python", "install", "--install-dir", folder, "--no-bin", newest)
            found[newest] = next(folder.glob(f"*{newest}*/bin/python3"))
        except RuntimeError:
            said = f"PYTHON {newest} IS SUPPORTED, AND NEITHER HERE NOR TO BE HAD: NOT TRIED"
            print(f"{said}; the newest here is {list(found)[-1]}", flush=True)
    yield from dict.fromkeys((found[min(found, key=Version)], found[max(found, key=Version)]))


def resolve(python: Path, resolution: str, folder: Path) -> tuple[Path, Mapping[str, Version]]:
    """A file with the versions to be installed, and the same by name."""
    place = folder / "requirements.txt"
    chosen = ("--python", python, "--resolution", RESOLUTIONS[resolution])
    quietly = ("--no-annotate", "--no-header", "--no-emit-index-url", "--no-emit-find-links")
    only = ("--all-extras", "--only-binary", ":all:")
    run_uv("pip", "compile", ROOT / "pyproject.toml", *only, *chosen, *quietly, "-o", place)
    pairs = re.findall(r"^([\w.-]+)==(\S+)", place.read_text(encoding="utf-8"), re.MULTILINE)
    return place, {canonicalize_name(name): Version(version) for name, version in pairs}


def check_bounds(found: Mapping[str, Version], python: Path) -> Iterator[str]:
    """The lower bounds that say less than what is ever installed, so that nobody tried them."""
    command = [str(python), "-c", "import platform; print(platform.python_version())"]
    version = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    extras = PROJECT["optional-dependencies"].values()
    for line in (*PROJECT["dependencies"], *(line for extra in extras for line in extra)):
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is not None and not marker.evaluate({"python_version": version[:4]}):
            continue
        bounds = [Version(part.version) for part in requirement.specifier if part.operator == ">="]
        lowest = found[canonicalize_name(requirement.name)]
        if bounds != [lowest]:
            yield f"{line}: the lowest that can be installed is {lowest}"


def try_versions(python: Path, resolution: str, *, check: bool) -> bool:
    """Whether all tests pass with the lowest or the newest versions on a Python."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        requirements, found = resolve(python, resolution, Path(folder))
        env = Path(folder) / "env"
        run_uv("venv", "--python", python, env)
        install = ("pip", "install", "--python", env)
        run_uv(*install, "--only-binary", ":all:", "-r", requirements)
        run_uv(*install, "-c", requirements, *TOOLS)
        run_uv(*install, "--no-deps", "--no-build-isolation", "-e", ROOT)
        wrong = list(check_bounds(found, python)) if check else []
        command = [
            f"{env}/bin/python",
            "-m",
            "pytest",
            "-q",
            "--tb",
            "short",
            "-n",
            "2",
            "--dist",
            "worksteal",
        ]
        # What is deprecated in other versions than the locked ones is no failure yet.
        command += ["-p", "no:cacheprovider", "-o", "filterwarnings=", *TESTS]
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
    versions = ", ".join(f"{name} {found[name]}" for name in SHOWN)
    outcome = "passed" if code == 0 and not wrong else "FAILED"
    seconds = time.monotonic() - began
    print(*wrong, f"{resolution} on {python}: {versions}: {outcome} in {seconds:.0f} s", sep="\n")
    return outcome == "passed"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="both resolutions on each Python")
    parser.add_argument("--python", action="append", type=Path, help="an interpreter to try")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pythons = arguments.python or list(choose_pythons(Path(folder)))
        tried = list(product(pythons, RESOLUTIONS))
        if not arguments.all:
            tried = [(pythons[0], "lowest"), (pythons[-1], "newest")]
        passed = [
            try_versions(python, resolution, check=(python, resolution) == tried[0])
            for python, resolution in tried
        ]
    sys.exit(0 if all(passed) else 1)


if __name__ == "__main__":
    main()
