"""Reading a registry: settings, what DVC's index declares, and what the folders mean."""

from __future__ import annotations

import math
import re
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path, PurePosixPath
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.scalarstring import ScalarString

from registry_assets.dvc_repo import DvcRepo
from registry_assets.errors import MetafileError
from registry_assets.model import Dataset, Registry, Settings, StageTemplate, TakeIn
from registry_assets.registry_memo import keep, recall

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

COLLECTIONS_FILE = "collections.yaml"
"""Beside a ``dvc.yaml``: the list `collections` of what the data set has taken in."""

_SETTINGS_FILE = "pyproject.toml"
_BRANCH_TEMPLATE = re.compile(r"(?:[A-Za-z0-9._/+-]|\{name\}|\{id\})+")
_NUMBERS = (
    *("settle_seconds", "import_check_seconds", "modified_check_seconds"),
    *("archive_most_ratio", "archive_most_files", "archive_free_gigabytes"),
    "duplicate_distance",
)
_MANUAL = "manual"
_TAKE_IN_EXAMPLE = 'take_in = { 01_image_dataset = "harbour_*", 02_other = "manual" }'
# Of a plain item of YAML: a comment, or what comes next in a list on one line.
_END_OF_ITEM = re.compile(r"\s#|[,\]]")


def read_registry(root: Path, dvc: DvcRepo | None = None) -> Registry:
    """Reads everything that the metafiles of a repository declare and record.

    A metafile that is broken is listed in `Registry.problems`; the rest is read.

    Args:
        root: Any folder of a DVC repository.
        dvc: The same, where others ask it too.

    Raises:
        RegistryNotFoundError: when there is no DVC repository at or above the folder.
        MetafileError: when the settings, or a list of collections, cannot be read.
    """
    dvc = dvc or DvcRepo(root)
    known = recall(dvc.root)
    if known is None:
        started = time.time()
        known = _read_all(dvc)
        keep(known, started)
    return known


def _read_all(dvc: DvcRepo) -> Registry:
    settings = read_settings(dvc.root)
    # Before DVC reads them: it stumbles over a date.
    lists = _collections_files(dvc.root, settings.families)
    for path in lists:
        check_collections_file(dvc.root / path, path)
    declared = dvc.read_declarations()
    dataset_paths = [_folder_of(path) for path in declared.pipeline_files]
    for path in filter(None, (_collections_file(dvc.root, folder) for folder in dataset_paths)):
        if path not in lists:
            check_collections_file(dvc.root / path, path)
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
            take_in=settings.take_in.get(path)
            or settings.take_in.get(PurePosixPath(path).name)
            or TakeIn(),
        )
        for path in dataset_paths
    )
    known = {name for dataset in datasets for name in (dataset.path, dataset.name)}
    unknown = [
        f"{_SETTINGS_FILE}: take_in names {name}, which is no data set here"
        for name in settings.take_in
        if name not in known
    ]
    return Registry(
        root=dvc.root,
        settings=settings,
        family_folders=folders,
        raw=declared.raw,
        inputs=declared.inputs,
        stages=declared.stages,
        templates=declared.templates,
        datasets=datasets,
        variable_files=declared.variable_files,
        problems=(*declared.problems, *unknown),
    )


def reread(dvc: DvcRepo, registry: Registry, addresses: Collection[str]) -> Registry:
    """The registry with what some stages and ``.dvc`` files record now, and the rest as it was.

    Reads the metafiles of these only; all of them where one declares something new.

    Args:
        dvc: The repository.
        registry: As it was read before.
        addresses: The stages and ``.dvc`` files that changed.
    """
    wanted = set(addresses)
    known = {stage.address for stage in registry.stages if not stage.outputs[0].is_run}
    if not wanted <= known | {item.metafile for item in registry.tracked}:
        return read_registry(registry.root)
    declared = dvc.read_addresses(list(addresses))
    stages = {stage.address: stage for stage in declared.stages}
    raw = {item.output.path: item for item in declared.raw}
    inputs = {item.output.path: item for item in declared.inputs}
    return replace(
        registry,
        stages=tuple(stages.get(stage.address, stage) for stage in registry.stages),
        raw=tuple(raw.get(item.output.path, item) for item in registry.raw),
        inputs=tuple(inputs.get(item.output.path, item) for item in registry.inputs),
    )


def read_settings(root: Path) -> Settings:
    """Reads ``[tool.registry_assets]`` of ``pyproject.toml``; the defaults where there is none.

    Raises:
        MetafileError: when the file is not TOML, or a setting is unknown or of the wrong type.
    """
    path = root / _SETTINGS_FILE
    if not path.exists():
        return Settings()
    try:
        tool = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {})
    except tomllib.TOMLDecodeError as error:
        raise MetafileError(_SETTINGS_FILE, str(error)) from error
    given: dict[str, Any] = tool.get("registry_assets", {}) if isinstance(tool, dict) else tool
    if not isinstance(given, dict):
        raise MetafileError(_SETTINGS_FILE, "[tool.registry_assets] must be a table")
    known = [setting.name for setting in fields(Settings)]
    unknown = [name for name in given if name not in known]
    if unknown:
        raise MetafileError(
            _SETTINGS_FILE,
            f"[tool.registry_assets] has no setting {', '.join(unknown)}: "
            f"it has {', '.join(known)}",
        )
    families = given.get("families", list(Settings.families))
    if not isinstance(families, list) or not all(map(_is_family_pattern, families)):
        raise MetafileError(
            _SETTINGS_FILE,
            "families must be a list of patterns that end in /*, relative to the root: "
            'families = ["raw/*"]',
        )
    numbers = {name: given.get(name, getattr(Settings, name)) for name in _NUMBERS}
    for name, number in numbers.items():
        if not _is_number(number):
            raise MetafileError(_SETTINGS_FILE, f"{name} must be a number that is not negative")
    modified = given.get("modified", Settings.modified)
    if modified not in ("leave", "register"):
        raise MetafileError(_SETTINGS_FILE, 'modified must be "leave" or "register"')
    tracking_uri = given.get("mlflow_tracking_uri")
    if tracking_uri is not None and not (isinstance(tracking_uri, str) and tracking_uri):
        raise MetafileError(
            _SETTINGS_FILE,
            "mlflow_tracking_uri must be the address of an MLflow server: "
            'mlflow_tracking_uri = "http://127.0.0.1:5000"',
        )
    return Settings(
        families=tuple(families),
        mlflow_tracking_uri=tracking_uri,
        modified=modified,
        take_in=_read_take_in(given.get("take_in", {})),
        **{name: type(getattr(Settings, name))(value) for name, value in numbers.items()},
        **_read_git_settings(given),
    )


def _read_git_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """What the settings say about Git, checked; what they do not say is left out."""
    found = {
        name: given[name]
        for name in ("git", "protected_branches", "publish_branch")
        if name in given
    }
    if found.get("git", "none") not in ("none", "commit"):
        raise MetafileError(_SETTINGS_FILE, 'git must be "none" or "commit"')
    branches = found.get("protected_branches", [])
    if not isinstance(branches, list) or not all(isinstance(name, str) for name in branches):
        raise MetafileError(_SETTINGS_FILE, "protected_branches must be a list of names")
    if "protected_branches" in found:
        found["protected_branches"] = tuple(branches)
    template = found.get("publish_branch", Settings.publish_branch)
    if not isinstance(template, str) or not _BRANCH_TEMPLATE.fullmatch(template):
        raise MetafileError(
            _SETTINGS_FILE,
            "publish_branch must be the name of a branch, in which {name} and {id} may stand: "
            f'publish_branch = "{Settings.publish_branch}"',
        )
    return found


def _read_take_in(given: object) -> dict[str, TakeIn]:
    """Reads the table of what data sets take in."""
    if not isinstance(given, dict):
        raise MetafileError(_SETTINGS_FILE, f"take_in must be a table: {_TAKE_IN_EXAMPLE}")
    found = {}
    for dataset, said in given.items():
        patterns = [said] if isinstance(said, str) else said
        if not isinstance(patterns, list) or not all(isinstance(item, str) for item in patterns):
            raise MetafileError(
                _SETTINGS_FILE,
                f"take_in of {dataset} must be a pattern, a list of patterns or "
                f'"{_MANUAL}": {_TAKE_IN_EXAMPLE}',
            )
        found[dataset] = TakeIn((), True) if said == _MANUAL else TakeIn(tuple(patterns))
    return found


def _is_family_pattern(pattern: object) -> bool:
    if not isinstance(pattern, str) or not pattern.endswith("/*"):
        return False
    folder = PurePosixPath(pattern).parent
    return folder.name != "" and not folder.is_absolute() and ".." not in folder.parts


def _is_number(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 <= value < math.inf  # type: ignore[operator]


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
            line, column = listed.lc.item(index)
            written = _END_OF_ITEM.split(lines[line][column:])[0].strip()
            raise MetafileError(name, f'write the name in quotes: - "{written}"', line + 1)


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


def _collections_files(root: Path, patterns: Sequence[str]) -> list[str]:
    """The lists of collections in the folders above those that hold collections."""
    above = {parent for pattern in patterns for parent in PurePosixPath(pattern).parents}
    found = {place for folder in above for place in root.glob(str(folder / COLLECTIONS_FILE))}
    return sorted(place.relative_to(root).as_posix() for place in found)


def _collections_file(root: Path, dataset: str) -> str | None:
    path = PurePosixPath(dataset) / COLLECTIONS_FILE
    return str(path) if (root / path).is_file() else None


def _folder_of(metafile: str) -> str:
    parent = str(PurePosixPath(metafile).parent)
    return "" if parent == "." else parent


def _is_inside(path: str, folder: str) -> bool:
    return PurePosixPath(path).is_relative_to(folder)
