"""Registries of any size to measure on."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from registry_assets.dvc_repo import DvcRepo
from registry_assets.intake.initialising import init_registry

STAGES = ("one", "two", "three")
DATASET = "processed/texts"

IDENTITY = ("-c", "user.name=bench", "-c", "user.email=bench@example.org")


def build_registry(root: Path, collections: int, files: int = 3) -> None:
    """Makes a registry of small text collections, added and imported, whose stages never ran.

    Three `foreach` stages follow each other, each of which copies.

    Args:
        root: Where to; must not be there yet.
        collections: How many.
        files: In each of them.
    """
    start_repository(root)
    dataset = root / DATASET
    dataset.mkdir(parents=True)
    names = [f"c{number:05}" for number in range(collections)]
    (dataset / "collections.yaml").write_text(_listed(names), encoding="utf-8")
    (dataset / "dvc.yaml").write_text(_pipeline(), encoding="utf-8")
    for name in names:
        shoot(root, name, files)
    commit_and_add(root)
    dvc = DvcRepo(root)
    with dvc.session():
        for name in names:
            with dvc.importing(
                f"raw/{name}", f"{DATASET}/data/inputs/{name}", report=lambda _line: None
            ) as result:
                result.persist()


def start_repository(root: Path) -> None:
    """Makes a registry without collections and data sets."""
    list(init_registry(root))
    shutil.rmtree(root / "processed")


def commit_and_add(root: Path) -> None:
    """Commits code, and has DVC track the collections; it refuses to track what Git tracks."""
    for command in (
        ["git", "add", "--all", "--", ".", ":!raw/c*"],
        ["git", *IDENTITY, "commit", "--quiet", "--message", "Start"],
        [sys.executable, "-m", "dvc", "add", "--quiet", "--glob", "raw/c*"],
    ):
        subprocess.run(command, cwd=root, check=True)


def copy_registry(base: Path, name: str) -> Path:
    """A copy of a registry beside it, with a remote of its own."""
    root = base.with_name(name)
    shutil.copytree(base, root, symlinks=True)
    config = root / ".dvc/config"
    config.write_text(config.read_text(encoding="utf-8").replace(str(base), str(root)))
    return root


def shoot(root: Path, name: str, files: int) -> None:
    """Puts a new collection of text files into `raw/`."""
    folder = root / "raw" / name
    folder.mkdir()
    for number in range(files):
        (folder / f"{number}.txt").write_text(f"{name} {number}\n", encoding="utf-8")


def _listed(names: list[str]) -> str:
    return "collections:\n" + "".join(f'  - "{name}"\n' for name in names)


def _pipeline() -> str:
    text = "vars:\n  - collections.yaml\nstages:\n"
    source = "data/inputs/${item}"
    for stage in STAGES:
        target = f"data/{stage}/${{item}}"
        text += f"  {stage}:\n    foreach: ${{collections}}\n    do:\n"
        text += f"      cmd: mkdir -p {target} && cp {source}/* {target}\n"
        text += f"      deps:\n        - {source}\n      outs:\n        - {target}\n"
        source = target
    return text
