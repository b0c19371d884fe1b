"""Reading a registry: settings, what DVC's index declares, and what the folders mean."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.scalarstring import ScalarString

from registry_assets.dvc_repo import DvcRepo
from registry_assets.errors import MetafileError
from registry_assets.model import ITEM, Dataset, Registry, Settings, Stage, StageTemplate

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

COLLECTIONS_FILE = "collections.yaml"
"""Beside a ``dvc.yaml``: the list `collections` of what the data set has taken in."""


def read_registry(root: Path) -> Registry:
    """Reads everything that the metafiles of a repository declare and record.

    A metafile that is broken is listed in `Registry.problems`; the rest is read.

    Args:
        root: Any folder of a DVC repository.

    Raises:
        RegistryNotFoundError: when there is no DVC repository at or above the folder.
        MetafileError: when the settings, or a list of collections, cannot be read.
    """
    dvc = DvcRepo(root)
    settings = read_settings(dvc.root)
    for path in sorted(dvc.root.glob(f"processed/*/{COLLECTIONS_FILE}")):
        check_collections_file(path, path.relative_to(dvc.root).as_posix())
    declared = dvc.read_declarations()
    dataset_paths = [_folder_of(path) for path in declared.pipeline_files]
    tracked = [raw.output.path for raw in declared.raw]
    tracked += [imported.output.path for imported in declared.inputs]
    folders = _family_folders(
        settings.families, tracked, declared.templates, dataset_paths, dvc.root
    )
    datasets = tuple(
        Dataset(
            path,
            inputs=next((f for f in folders if path and _is_inside(f, path)), None),
            collections_file=_collections_file(dvc.root, path),
        )
        for path in dataset_paths
    )
    return Registry(
        root=dvc.root,
        settings=settings,
        family_folders=folders,
        raw=declared.raw,
        inputs=declared.inputs,
        stages=declared.stages,
        templates=declared.templates,
        datasets=datasets,
        problems=declared.problems,
    )


def read_settings(root: Path) -> Settings:
    """Reads ``[tool.registry_assets]`` of ``pyproject.toml``; the defaults where there is none.

    Raises:
        MetafileError: when the file is not TOML, or a setting is unknown or of the wrong type.
    """
    path = root / "pyproject.toml"
    if not path.exists():
        return Settings()
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {})
    except tomllib.TOMLDecodeError as error:
        raise MetafileError("pyproject.toml", str(error)) from error
    given: dict[str, Any] = table.get("registry_assets", {})
    defaults = Settings()
    families = given.pop("families", list(defaults.families))
    settle_seconds = given.pop("settle_seconds", defaults.settle_seconds)
    where = "pyproject.toml"
    if given:
        raise MetafileError(where, f"[tool.registry_assets] has no setting {', '.join(given)}")
    if not isinstance(families, list) or not all(
        isinstance(pattern, str) and pattern.endswith("/*") for pattern in families
    ):
        raise MetafileError(where, "families must be a list of patterns that end in /*")
    if isinstance(settle_seconds, bool) or not isinstance(settle_seconds, int | float):
        raise MetafileError(where, "settle_seconds must be a number")
    return Settings(tuple(families), float(settle_seconds))


def check_collections_file(path: Path, name: str) -> None:
    """Makes sure that a list of collections holds quoted strings.

    YAML reads ``2021_10_16``, ``01`` and ``1e3`` as numbers and ``2021-10-16`` as a date that DVC
    stumbles over.

    Raises:
        MetafileError: naming the line and the fix.
    """
    yaml = YAML()
    yaml.preserve_quotes = True
    try:
        data = yaml.load(path.read_text(encoding="utf-8")) or {}
    except MarkedYAMLError as error:
        mark = error.problem_mark
        raise MetafileError(name, error.problem or str(error), mark and mark.line + 1) from error
    listed = data.get("collections") if isinstance(data, dict) else None
    if not isinstance(listed, CommentedSeq):
        if listed is not None:
            raise MetafileError(name, "`collections` must be a list of quoted names")
        return
    lines = path.read_text(encoding="utf-8").splitlines()
    for index, item in enumerate(listed):
        if not isinstance(item, ScalarString):
            line = listed.lc.item(index)[0] + 1
            written = lines[line - 1].strip().removeprefix("-").split("#")[0].strip()
            raise MetafileError(name, f'write the name in quotes: - "{written}"', line)


def code_version(registry: Registry, stage: Stage) -> str:
    """What makes a stage's results what they are beside its inputs, as one hash.

    The command, the values of its parameters, and the content of the dependencies that no stage
    and no ``.dvc`` file makes: its code.
    """
    files = {}
    for dependency in stage.dependencies:
        is_data = dependency.path in registry.outputs or ITEM in dependency.path
        if not dependency.is_external and not is_data:
            files[dependency.path] = _hash_of(registry.root / dependency.path)
    facts = {
        "command": stage.command,
        "parameters": {f"{p.file}:{p.key or ''}": p.value for p in stage.parameters},
        "files": files,
    }
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _hash_of(path: Path) -> str | None:
    try:
        return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    except (FileNotFoundError, IsADirectoryError):
        return None


def _family_folders(
    patterns: Sequence[str],
    tracked: Sequence[str],
    templates: Sequence[StageTemplate],
    dataset_paths: Collection[str],
    root: Path,
) -> tuple[str, ...]:
    """The folders that hold collections, in the order of the patterns.

    Known by what is tracked in them, by a folder that is there, or by a pipeline that reads from
    it: a fresh data set has its place in the graph before its first collection.
    """
    read = {dependency.path for template in templates for dependency in template.stage.dependencies}
    candidates = {str(PurePosixPath(path).parent) for path in (*tracked, *read)}
    found: list[str] = []
    for pattern in patterns:
        parent = pattern.removesuffix("/*")
        there = {p.relative_to(root).as_posix() for p in root.glob(parent) if p.is_dir()}
        matching = {path for path in candidates if PurePosixPath(path).match(parent)}
        depth = parent.count("/")
        found.extend(
            path
            for path in sorted(there | matching)
            if path.count("/") == depth and path not in found and path not in dataset_paths
        )
    return tuple(found)


def _collections_file(root: Path, dataset: str) -> str | None:
    path = PurePosixPath(dataset) / COLLECTIONS_FILE
    return str(path) if (root / path).is_file() else None


def _folder_of(metafile: str) -> str:
    parent = str(PurePosixPath(metafile).parent)
    return "" if parent == "." else parent


def _is_inside(path: str, folder: str) -> bool:
    return PurePosixPath(path).is_relative_to(folder)
