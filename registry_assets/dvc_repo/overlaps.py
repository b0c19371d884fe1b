"""Whether a new output overlaps with declared ones; DVC is asked only if it might.

DVC would load every metafile and resolve every template: seconds for a few hundred collections.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dvc.dvcfile import DVC_FILE_SUFFIX
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from registry_assets.bounded import check_yaml, read_text
from registry_assets.dvc_repo.collecting import find_metafiles
from registry_assets.errors import MetafileError
from registry_assets.model import folders_above

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import Stage as DvcStage

    from registry_assets.dvc_repo.opening import RepoAccess

_TEMPLATE = "${"
_KINDS = ("outs", "metrics", "plots")
_FACTS = r"- md5: [0-9a-f]{32}(?:\.dir)?\n(?:  (?:size|nfiles): \d+\n)*  hash: md5\n"
_PLAIN_FILE = re.compile(
    rf"(?:md5: [0-9a-f]{{32}}\nfrozen: true\ndeps:\n{_FACTS}  path: [^\n]+\n)?"
    rf"outs:\n{_FACTS}  path: (?P<path>\w[\w.-]*)\n"
)


class _UnclearError(Exception):
    """A metafile whose outputs only DVC can tell."""


def overlap(one: str, other: str) -> bool:
    """Whether two paths are the same, or one lies in the other."""
    return Path(one).is_relative_to(other) or Path(other).is_relative_to(one)


class Places:
    """A set of absolute paths, to check others for overlaps."""

    def __init__(self, places: Iterable[str]) -> None:
        self._places: set[str] = set()
        self._above: set[str] = set()
        self.add(places)

    def add(self, places: Iterable[str]) -> None:
        """Adds paths."""
        for place in places:
            self._places.add(place)
            for folder in folders_above(place):
                # Those above a known folder are known, too.
                if folder in self._above:
                    break
                self._above.add(folder)

    def overlap(self, place: str) -> bool:
        """Whether a path is in the set, inside one of its paths, or above one."""
        return place in self._above or not self._places.isdisjoint((place, *folders_above(place)))


def check_new(dvc: RepoAccess, repo: Repo, stage: DvcStage) -> None:
    """Checks a ``.dvc`` file that is about to be written with `check_fits`, and adds its outputs.

    Raises:
        DvcError: naming the output that it overlaps with.
    """
    check_fits(dvc, repo, stage).add(out.fs_path for out in stage.outs)


def check_fits(dvc: RepoAccess, repo: Repo, stage: DvcStage) -> Places:
    """Checks that a new ``.dvc`` file would cause no overlapping outputs and no cycle.

    Returns:
        The paths of all outputs; cached within a session.

    Raises:
        DvcError: naming the output that it overlaps with.
    """
    places = [out.fs_path for out in stage.outs]
    known: Places | None = dvc.recall(Places)
    if known is None and all(_is_source(Path(dep.fs_path)) for dep in stage.deps):
        known = _declared_places(repo)
    if known is None or any(map(known.overlap, places)):
        repo.check_graph(stages={stage})
        known = Places(out.fs_path for out in repo.index.outs)
    dvc.remember(known)
    return known


def _declared_places(repo: Repo) -> Places | None:
    """The paths of outputs, or of folders that they are in; None if only DVC can tell."""
    try:
        return Places(place for file in find_metafiles(repo) for place in _places_of(file))
    except _UnclearError:
        return None


def _is_source(place: Path) -> bool:
    """Whether a path has no dependencies, so that reading it cannot close a cycle."""
    try:
        return "deps" not in _load(place.with_name(f"{place.name}{DVC_FILE_SUFFIX}"))
    except _UnclearError:
        return False


def _places_of(metafile: str) -> Iterator[str]:
    """The paths of the outputs of a metafile; for a template, the folder that they are in."""
    is_single = metafile.endswith(DVC_FILE_SUFFIX)
    plain = _plain_place(metafile) if is_single else None
    if plain is not None:
        yield plain
        return
    file = Path(metafile)
    data = _load(file)
    stages = [data] if is_single else _mapping(data.get("stages") or {}).values()
    for declared in stages:
        stage = _mapping(declared)
        stage = _mapping(stage.get("do", stage))
        folder = stage.get("wdir", ".")
        if not isinstance(folder, str) or _TEMPLATE in folder:
            raise _UnclearError
        for path in _paths(stage):
            before, is_template, _ = path.partition(_TEMPLATE)
            place = file.parent / folder / before
            is_part = is_template and not before.endswith("/")
            yield os.path.normpath(place.parent if is_part else place)


def _plain_place(file: str) -> str | None:
    """The path of the output of a ``.dvc`` file, if it is in the format of `dvc add`.

    Faster than parsing, as there is a file for each collection and each import.
    """
    try:
        text = read_text(file)
    except (MetafileError, OSError):
        return None
    found = _PLAIN_FILE.fullmatch(text)
    return f"{file.rpartition('/')[0]}/{found['path']}" if found else None


def _paths(stage: Mapping[str, Any]) -> Iterator[str]:
    for kind in _KINDS:
        items = stage.get(kind) or []
        if not isinstance(items, list):
            raise _UnclearError
        for item in items:
            named = [item] if isinstance(item, str) else list(_mapping(item))
            if "path" in named and not isinstance(item, str):
                named = [item["path"]]
            if not all(isinstance(path, str) for path in named):
                raise _UnclearError
            yield from named


def _mapping(data: Any) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise _UnclearError
    return data


def _load(file: Path) -> Mapping[str, Any]:
    """Loads a metafile with all scalars as strings, which is enough here."""
    try:
        text = read_text(file)
        check_yaml(text, str(file))
        return _mapping(YAML(typ="base").load(text))
    except (MetafileError, OSError, ValueError, YAMLError, RecursionError) as error:
        raise _UnclearError from error
