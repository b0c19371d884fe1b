"""`registry new`: a data set made from a template, or from the code of another data set."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from registry_assets.dvc_repo import DvcRepo
from registry_assets.dvc_repo.metafiles import without_collections
from registry_assets.errors import NotFoundError, RefusedError
from registry_assets.git_repo import GitRepo
from registry_assets.intake.initialising import COLLECTIONS, DATASET, shipped_files
from registry_assets.leftovers import find_leftover_in
from registry_assets.model import (
    DVC_FOLDER,
    DVC_SUFFIX,
    LOCK_FILE,
    PIPELINE_FILE,
    Dataset,
    Registry,
    Settings,
    reason_against_name,
)
from registry_assets.registry.last_reading import COLLECTIONS_FILE
from registry_assets.units import count_of
from registry_assets.writing import rename, sync_disks

_PLACE = "processed"
_README = "README.md"
_MADE = {"__pycache__", ".ipynb_checkpoints", ".dvc"}


@dataclass(frozen=True)
class Template:
    """A template for data sets.

    Attributes:
        folder: The folder of its files, in `shipped/`.
        description: What its stages do, in one line.
        collections: The content of its ``collections.yaml``, an empty list.
    """

    folder: str
    description: str
    collections: str = COLLECTIONS


TEMPLATES: Mapping[str, Template] = {
    "quality_and_light": Template(
        "dataset", "leaves out broken, dark and bright images; sorts the rest by day, night and fog"
    ),
    "bare": Template(
        "bare",
        "one stage of your own: a script that makes one file from each file",
        # Without the comment about decisions, as no stage of it reads them.
        f"{COLLECTIONS.splitlines()[0]}\ncollections: []\n",
    ),
}
"""Templates by name; the first one is the default, and that of `registry init`."""


@dataclass(frozen=True)
class _File:
    content: bytes
    is_executable: bool = False


def make_dataset(
    registry: Registry, name: str, *, template: str | None = None, like: str | None = None
) -> Iterator[str]:
    """Make a data set that is ready to take in collections.

    Args:
        registry: The registry.
        name: The name of its folder.
        template: The name of the template (default: the first one).
        like: The name or path of a data set whose code, parameters and pipeline are copied.

    Yields:
        A line for each thing that was done.

    Raises:
        NotFoundError: when there is no such template or data set.
        RefusedError: when the name is not allowed, or the folder exists and is not empty.
    """
    reason = reason_against_name(name)
    if reason is not None:
        raise RefusedError(f"{name!r} cannot be the name of a data set: {reason}; choose another")
    path = f"{_place_of_datasets(registry.settings)}/{name}"
    DvcRepo(registry.root).check_seen(f"{path}/{PIPELINE_FILE}")
    if like is not None:
        other = registry.dataset(like)
        files, rewritten = _copy_of(registry, other, path)
        source = f"the code, parameters and pipeline of {other.path}"
    else:
        template = template or next(iter(TEMPLATES))
        if template not in TEMPLATES:
            raise NotFoundError(
                f"there is no template {template}: choose one of {', '.join(TEMPLATES)}"
            )
        files, rewritten = _files_of_template(TEMPLATES[template], name), {}
        source = f"the template {template}: {TEMPLATES[template].description}"
    if _is_taken(registry.root / path):
        raise RefusedError(f"{path} exists already: choose another name, or move it away")
    _write(registry.root, path, files)
    yield f"wrote {path}/, with {source}"
    for file, count in rewritten.items():
        yield f"{path}/{file}: changed {count_of(count, 'path')} to {path}"
    if not registry.settings.take_in.keys() & {name, path}:
        yield (
            "it takes in every new collection, as data sets do by default; to limit that, set "
            "`take_in` in pyproject.toml"
        )
    yield f"next: `registry import NAME --into {name}`, then `registry materialize`"


def _place_of_datasets(settings: Settings) -> str:
    """The folder for data sets, from the first pattern in `families` like ``processed/*/…``."""
    places = (family.partition("/*/")[0] for family in settings.families if "/*/" in family)
    return next((place for place in places if "*" not in place), _PLACE)


def _files_of_template(template: Template, name: str) -> Mapping[str, _File]:
    texts = {**shipped_files(template.folder), COLLECTIONS_FILE: template.collections}
    # The files of the shipped data set contain its name.
    texts[_README] = texts[_README].replace(DATASET, name).replace("{name}", name)
    return {file: _File(text.encode()) for file, text in texts.items()}


def _copy_of(
    registry: Registry, other: Dataset, path: str
) -> tuple[Mapping[str, _File], Mapping[str, int]]:
    """The handwritten files of a data set, and the number of rewritten paths in each."""
    if not other.path:
        raise RefusedError(
            "this data set is the whole repository and cannot be copied into itself: choose a "
            "template with --template"
        )
    top = registry.root / other.path
    files: dict[str, _File] = {}
    rewritten: dict[str, int] = {}
    for file in _find_written(registry, other, top):
        place = top / file
        content, count = _rewrite(place.read_bytes(), other.path, path)
        files[file] = _File(content, os.access(place, os.X_OK))
        if count:
            rewritten[file] = count
    if other.collections_file is not None:
        place = registry.root / other.collections_file
        text = without_collections(place.read_text(encoding="utf-8"))
        files[COLLECTIONS_FILE] = _File(text.encode())
    return files, rewritten


def _find_written(registry: Registry, other: Dataset, top: Path) -> list[str]:
    """The files of a data set without outputs, DVC's files, decisions and ignored files."""

    def inside(paths: Iterator[str | None]) -> Iterator[str]:
        for path in filter(None, paths):
            if PurePosixPath(path).is_relative_to(other.path):
                yield str(PurePosixPath(path).relative_to(other.path))

    left_out = set(inside(iter([*registry.outputs, other.inputs, other.decisions])))
    found: list[str] = []
    for where, folders, names in os.walk(top):
        here = "" if Path(where) == top else f"{Path(where).relative_to(top).as_posix()}/"
        # Skipped folders are not walked: they may hold millions of files.
        folders[:] = [
            name for name in folders if name not in _MADE and f"{here}{name}" not in left_out
        ]
        found += [
            f"{here}{name}"
            for name in names
            if f"{here}{name}" not in left_out
            and name not in (LOCK_FILE, COLLECTIONS_FILE, ".gitignore")
            and not name.endswith(DVC_SUFFIX)
            and find_leftover_in(name) is None
            and (top / f"{here}{name}").is_file()
        ]
    ignored = GitRepo(registry.root).ignored([f"{other.path}/{file}" for file in found])
    return sorted(file for file in found if f"{other.path}/{file}" not in (ignored or ()))


def _rewrite(content: bytes, old: str, new: str) -> tuple[bytes, int]:
    """Replace the old path in a text, and the old name after ``../``; return how often.

    The name alone stays, as it may be an ordinary word.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return content, 0
    names = (PurePosixPath(old).name, PurePosixPath(new).name)
    count = 0
    for before, after in ((old, new), tuple(f"../{name}" for name in names)):
        parts = re.split(rf"(?<![\w.-]){re.escape(before)}(?![\w-]|\.\w)", text)
        text = after.join(parts)
        count += len(parts) - 1
    return text.encode(), count


def _is_taken(place: Path) -> bool:
    """Whether there is anything but an empty folder."""
    if place.is_symlink() or not place.is_dir():
        return os.path.lexists(place)
    return any(place.iterdir())


def _write(root: Path, path: str, files: Mapping[str, _File]) -> None:
    # Written elsewhere first: half a data set could be committed, or be in the way of the next try.
    unfinished = root / DVC_FOLDER / "tmp" / f"{PurePosixPath(path).name}.making"
    shutil.rmtree(unfinished, ignore_errors=True)
    for name, file in files.items():
        place = unfinished / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(file.content)
        if file.is_executable:
            place.chmod(place.stat().st_mode | 0o111)
    sync_disks(unfinished)
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    # Replaces an empty folder, and nothing else.
    rename(unfinished, root / path)
