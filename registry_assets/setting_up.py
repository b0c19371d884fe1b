"""Making a fresh registry, and fitting an existing one to the machine it is on."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from registry_assets.addresses import is_local
from registry_assets.dvc_repo.initialising import (
    init_dvc,
    lead_to_origin,
    mend_moved_remote,
    probe_link_type,
    set_default_remote,
    set_link_type,
)
from registry_assets.errors import RegistryError
from registry_assets.git_repo import GitRepo, check_git
from registry_assets.git_repo.conflicts import install_merge_driver
from registry_assets.history.opening import prepare_home, write_env
from registry_assets.merge_driver import DESCRIPTION, NAME, attribute_lines, driver_command
from registry_assets.sharing import share_files

SHIPPED = Path(__file__).parent / "shipped"
"""The example data set, the sample photographs and the settings that come with the package."""

DATASET = "01_image_dataset"
REMOTE = "storage"
STORAGE = ".dvc/storage"
"""The folder of the default remote, from the root."""

_COLLECTIONS = """\
# The collections that this data set has taken in, as quoted strings: - "02_harbour"
collections: []
"""

_PYPROJECT = """\
[project]
name = "{name}"
version = "0.1.0"
description = "An image data registry under Git and DVC"
requires-python = ">=3.10"
dependencies = ["registry-assets"]

[tool.dagster]
module_name = "registry_assets.definitions"

[tool.registry_assets]
families = ["raw/*", "processed/*/data/inputs/*"]
settle_seconds = 30
"""

_GITIGNORE = """\
__pycache__/
/.dagster/
/.env
/.tmp_dagster_home_*/
/.venv/
"""

_README = """\
# {name}

An image data registry: `raw/` holds collections as they were shot, `processed/` the pipelines that
turn them into data sets.

    registry add NAME                        put raw/NAME under DVC
    registry import NAME --into {dataset}    take it into a data set
    registry materialize                     bring every data set up to date
    registry status                          what is up to date and what is not
    registry publish                         push data, and metafiles on a branch, for review
    registry ui                              see it, and run it, in a browser
"""


def init_registry(root: Path) -> Iterator[str]:
    """Makes a registry of a folder, or fits one that is there to this machine.

    What is there already is left as it is, so that it can be run again.

    Args:
        root: The folder; made when it is not there.

    Yields:
        What was done, a line each.

    Raises:
        RegistryError: when the path is a file, or the folder cannot be made.
    """
    if root.exists() and not root.is_dir():
        raise RegistryError(f"{root} is a file: name a folder")
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RegistryError(f"cannot make {root}: {error.strerror}; name another folder") from error
    root = root.resolve()
    check_git()
    git = GitRepo(root)
    if git.is_present and not git.has_readable_objects:
        raise RegistryError(
            f"the Git repository of {root} names its objects by SHA-256, which DVC cannot read: "
            "make a new one with `git init --object-format=sha1`"
        )
    share_files(root)
    if (root / ".dvc").is_dir():
        yield from fit_to_machine(root)
        yield from _write_attributes(root)
        return
    if not git.is_present:
        git.init()
        yield "made a Git repository"
    init_dvc(root)
    yield "made a DVC repository"
    yield from _write_files(root)
    if set_link_type(root, probe_link_type(root / ".dvc"), "repo"):
        yield "the cache shares files with the workspace through hardlinks: they are read-only"
    if set_default_remote(root, REMOTE, root / STORAGE, "repo"):
        _add_lines(root / ".dvc" / ".gitignore", ["/storage"])
        yield (
            f"the default remote `{REMOTE}` is {STORAGE}; to share data, lead it elsewhere: "
            f"dvc remote modify {REMOTE} url URL"
        )
    yield from _write_attributes(root)
    yield from _install_merge_driver(root)
    yield from _write_env(root)


def fit_to_machine(root: Path) -> Iterator[str]:
    """Sets what depends on the machine: link type and, where it has no address, the remote."""
    link_type = probe_link_type(root / ".dvc")
    if set_link_type(root, link_type, "local"):
        yield f"cache.type: {link_type}, in .dvc/config.local"
    if set_default_remote(root, REMOTE, root / STORAGE, "local"):
        _add_lines(root / ".dvc" / ".gitignore", ["/storage"])
        yield f"default remote: {STORAGE}, in .dvc/config.local"
    for level in mend_moved_remote(root, root / STORAGE):
        yield f"default remote: {STORAGE}, wherever the registry is, in .dvc/{level}"
    theirs = _storage_of_origin(root)
    if theirs is not None and lead_to_origin(root, root / STORAGE, theirs):
        yield f"default remote: {theirs}, that of the registry this is a clone of"
    yield from _install_merge_driver(root)
    yield from _write_env(root)


def _storage_of_origin(root: Path) -> Path | None:
    """The storage in the registry on this machine that this one was cloned from."""
    for address in GitRepo(root).remotes():
        storage = Path(address) / STORAGE
        if is_local(address) and storage.is_dir():
            return storage.resolve()
    return None


def _write_files(root: Path) -> Iterator[str]:
    name = root.name
    files = {
        ".gitignore": _GITIGNORE,
        "README.md": _README.format(name=name, dataset=DATASET),
        "pyproject.toml": _PYPROJECT.format(name=name),
        "dagster.yaml": (SHIPPED / "dagster.yaml").read_text(encoding="utf-8"),
        "workspace.yaml": (SHIPPED / "workspace.yaml").read_text(encoding="utf-8"),
        "raw/.gitignore": "",
        f"processed/{DATASET}/collections.yaml": _COLLECTIONS,
    }
    shipped = SHIPPED / "dataset"
    for path in ("README.md", "dvc.yaml", "params.yaml"):
        files[f"processed/{DATASET}/{path}"] = (shipped / path).read_text(encoding="utf-8")
    for script in sorted((shipped / "src").glob("*.py")):
        files[f"processed/{DATASET}/src/{script.name}"] = script.read_text(encoding="utf-8")
    for path, text in files.items():
        place = root / path
        if place.exists():
            yield f"{path} is there already and was left as it is"
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    yield f"wrote raw/ and processed/{DATASET}/, a data set of five stages"


def _write_env(root: Path) -> Iterator[str]:
    """Leads Dagster's own commands to the history of this registry: they read `.env`."""
    prepare_home(root)
    done = write_env(root) if (root / "dagster.yaml").exists() else None
    if done is not None:
        yield done


def _write_attributes(root: Path) -> Iterator[str]:
    """Has Git merge metafiles by entry, where the clone knows how; elsewhere it merges lines."""
    path = root / ".gitattributes"
    if GitRepo(root).is_present and _add_lines(path, attribute_lines()):
        yield "wrote to .gitattributes that metafiles are merged by entry"


def _install_merge_driver(root: Path) -> Iterator[str]:
    git = GitRepo(root)
    command = driver_command(git.top() or root)
    if git.is_present and install_merge_driver(git, NAME, DESCRIPTION, command):
        yield "Git merges metafiles by entry in this clone (`merge.registry` in .git/config)"


def _add_lines(path: Path, lines: Iterable[str]) -> bool:
    """Adds the lines that a file lacks; returns whether there were any."""
    before = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    added = [line for line in lines if line not in before]
    if added:
        path.write_text("".join(f"{line}\n" for line in [*before, *added]), encoding="utf-8")
    return bool(added)


def copy_samples(root: Path) -> list[str]:
    """Puts the sample collections into the raw folder, where they are missing.

    Returns:
        The names of all sample collections.
    """
    names = []
    for folder in sorted(path for path in (SHIPPED / "samples").iterdir() if path.is_dir()):
        names.append(folder.name)
        target = root / "raw" / folder.name
        if not target.exists():
            # Half a collection must never stand there under its name.
            unfinished = root / ".dvc" / "tmp" / f"{folder.name}.copying"
            shutil.rmtree(unfinished, ignore_errors=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(folder, unfinished)
            unfinished.rename(target)
    return names
