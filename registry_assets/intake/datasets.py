"""`registry new`: a data set made of a template, or of the code of another one."""

from __future__ import annotations

import os
import re
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
    DVC_SUFFIX,
    LOCK_FILE,
    PIPELINE_FILE,
    Dataset,
    Registry,
    Settings,
    reason_against_name,
)
from registry_assets.registry.reading import COLLECTIONS_FILE

_PLACE = "processed"
_README = "README.md"
_MADE = {"__pycache__", ".ipynb_checkpoints", ".dvc"}


@dataclass(frozen=True)
class Template:
    """What a data set can start as.

    Attributes:
        folder: Of its files, among what is shipped.
        description: What its stages do, in a line.
        collections: The list of what it has taken in, which is nothing.
    """

    folder: str
    description: str
    collections: str = COLLECTIONS


TEMPLATES: Mapping[str, Template] = {
    "quality_and_light": Template(
        "dataset", "leaves out what is broken, dark or bright; sorts by day and night, fog"
    ),
    "bare": Template(
        "bare",
        "one stage of your own, a plain script that makes a file of each file",
        # No stage of it heeds decisions.
        f"{COLLECTIONS.splitlines()[0]}\ncollections: []\n",
    ),
}
"""By name; the first is what `registry init` starts with."""


@dataclass(frozen=True)
class _File:
    content: bytes
    is_executable: bool = False


def make_dataset(
    registry: Registry, name: str, *, template: str | None = None, like: str | None = None
) -> Iterator[str]:
    """Makes a data set that works at once and has taken nothing in yet.

    Args:
        registry: The registry.
        name: Of its folder.
        template: What it starts as; the first one by default.
        like: Another data set, by name or path, whose code, parameters and pipeline it starts with.

    Yields:
        What was done, a line each.

    Raises:
        NotFoundError: when there is no such template, or no such other data set.
        RefusedError: when it cannot be called so, or something is there already.
    """
    reason = reason_against_name(name)
    if reason is not None:
        raise RefusedError(f"{name!r} cannot be the name of a data set: {reason}; choose another")
    path = f"{_place_of_datasets(registry.settings)}/{name}"
    if os.path.lexists(registry.root / path):
        raise RefusedError(f"{path} is there already: choose another name, or move it away")
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
    _write(registry.root / path, files)
    yield f"wrote {path}/, with {source}"
    for file, count in rewritten.items():
        yield f"{path}/{file}: {count} paths lead to {path} now"
    if not registry.settings.take_in.keys() & {name, path}:
        yield (
            "like every data set it takes in the collections that come from now on; `take_in` in "
            "pyproject.toml narrows that down"
        )
    yield f"next: `registry import NAME --into {name}`, then `registry materialize`"


def _place_of_datasets(settings: Settings) -> str:
    """The folder of data sets, by where the settings look for what they take in."""
    places = (family.partition("/*/")[0] for family in settings.families if "/*/" in family)
    return next((place for place in places if "*" not in place), _PLACE)


def _files_of_template(template: Template, name: str) -> Mapping[str, _File]:
    texts = {**shipped_files(template.folder), COLLECTIONS_FILE: template.collections}
    # The shipped data set is a data set of its own, whose files say what it is called.
    texts[_README] = texts[_README].replace(DATASET, name).replace("{name}", name)
    return {file: _File(text.encode()) for file, text in texts.items()}


def _copy_of(
    registry: Registry, other: Dataset, path: str
) -> tuple[Mapping[str, _File], Mapping[str, int]]:
    """The files of a data set that people wrote, and in which of them how many paths changed."""
    if not other.path:
        raise RefusedError(
            "the whole repository is one data set, which cannot be copied into itself: choose a "
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
    """The files of a data set without outputs, records, decisions, and what Git ignores."""

    def inside(paths: Iterator[str | None]) -> Iterator[str]:
        for path in filter(None, paths):
            if PurePosixPath(path).is_relative_to(other.path):
                yield str(PurePosixPath(path).relative_to(other.path))

    left_out = set(inside(iter([*registry.outputs, other.inputs, other.decisions])))
    found: list[str] = []
    for where, folders, names in os.walk(top):
        here = "" if Path(where) == top else f"{Path(where).relative_to(top).as_posix()}/"
        # What is left out is not looked into: it may hold millions of files.
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
    """Leads the paths in a text to the new data set: those from the root, and from beside it.

    The name alone stays, as it may be a word.
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


def _write(folder: Path, files: Mapping[str, _File]) -> None:
    # Without a `dvc.yaml` it is no data set, so that comes when everything else is there.
    for file in sorted(files, key=lambda file: file == PIPELINE_FILE):
        place = folder / file
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(files[file].content)
        if files[file].is_executable:
            place.chmod(place.stat().st_mode | 0o111)
