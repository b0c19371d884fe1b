"""Reads and checks the settings of a registry: ``[tool.registry_assets]``."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path, PurePosixPath
from typing import Any

from registry_assets.bounded import read_text
from registry_assets.errors import MetafileError
from registry_assets.model import Likeness, Settings, TakeIn, Workers

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SETTINGS_FILE = "pyproject.toml"
_BRANCH_TEMPLATE = re.compile(r"(?:[A-Za-z0-9._/+-]|\{name\}|\{id\})+")
_NAME = re.compile(r"[A-Za-z0-9_]+")
_KEY_PART = re.compile(r"[A-Za-z0-9_.-]+")
_NUMBERS = (
    *("settle_seconds", "import_check_seconds", "modified_check_seconds"),
    *("archive_most_ratio", "archive_most_files", "archive_free_gigabytes"),
    "duplicate_distance",
)
_MANUAL = "manual"
_WORKERS = "[tool.registry_assets.workers]"
_TAKE_IN_EXAMPLE = 'take_in = { 01_image_dataset = "harbour_*", 02_other = "manual" }'


def read_settings(root: Path) -> Settings:
    """Read ``[tool.registry_assets]`` from ``pyproject.toml``; the defaults without that table.

    Raises:
        MetafileError: when the file is not TOML, or a setting is unknown or of the wrong type.
    """
    path = root / SETTINGS_FILE
    if not path.exists():
        return Settings()
    try:
        tool = tomllib.loads(read_text(path, SETTINGS_FILE)).get("tool", {})
    except tomllib.TOMLDecodeError as error:
        raise MetafileError(SETTINGS_FILE, str(error)) from error
    given: dict[str, Any] = tool.get("registry_assets", {}) if isinstance(tool, dict) else tool
    if not isinstance(given, dict):
        raise MetafileError(SETTINGS_FILE, "[tool.registry_assets] must be a table")
    known = [setting.name for setting in fields(Settings)]
    unknown = [name for name in given if name not in known]
    if unknown:
        raise MetafileError(
            SETTINGS_FILE,
            f"[tool.registry_assets] has no setting {', '.join(unknown)}: "
            f"it has {', '.join(known)}",
        )
    families = given.get("families", list(Settings.families))
    if not isinstance(families, list) or not all(map(_is_family_pattern, families)):
        raise MetafileError(
            SETTINGS_FILE,
            "families must be a list of patterns that end in /*, relative to the root: "
            'families = ["raw/*"]',
        )
    numbers = {name: given.get(name, getattr(Settings, name)) for name in _NUMBERS}
    for name, number in numbers.items():
        if not _is_number(number):
            raise MetafileError(SETTINGS_FILE, f"{name} must be a number, 0 or greater")
    modified = given.get("modified", Settings.modified)
    if modified not in ("leave", "register"):
        raise MetafileError(SETTINGS_FILE, 'modified must be "leave" or "register"')
    tracking_uri = given.get("mlflow_tracking_uri")
    if tracking_uri is not None and not (isinstance(tracking_uri, str) and tracking_uri):
        raise MetafileError(
            SETTINGS_FILE,
            "mlflow_tracking_uri must be the address of an MLflow server: "
            'mlflow_tracking_uri = "http://127.0.0.1:5000"',
        )
    return Settings(
        **_read_names(given),
        families=tuple(families),
        mlflow_tracking_uri=tracking_uri,
        modified=modified,
        take_in=_read_take_in(given.get("take_in", {})),
        leave_out_duplicates=_read_leave_out(given.get("leave_out_duplicates", {})),
        workers=_read_workers(given["workers"]) if "workers" in given else None,
        **{name: type(getattr(Settings, name))(value) for name, value in numbers.items()},
        **_read_git_settings(given),
    )


def _read_names(given: Mapping[str, Any]) -> dict[str, Any]:
    """Check the settings for names in Dagster; return those that are set."""
    found: dict[str, Any] = {}
    if "name" in given:
        name = found["name"] = given["name"]
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise MetafileError(
                SETTINGS_FILE, 'name must be letters, digits and "_": name = "harbour_photos"'
            )
    if "key_prefix" in given:
        prefix = given["key_prefix"]
        parts = tuple(prefix.split("/")) if isinstance(prefix, str) and prefix else ()
        if not isinstance(prefix, str) or not all(map(_KEY_PART.fullmatch, parts)):
            raise MetafileError(
                SETTINGS_FILE,
                "key_prefix must be one or more parts of an asset key, separated by /: "
                'key_prefix = "harbour"',
            )
        found["key_prefix"] = parts
    if "box_names" in given:
        found["box_names"] = given["box_names"]
        if found["box_names"] not in ("last", "distinct"):
            raise MetafileError(SETTINGS_FILE, 'box_names must be "last" or "distinct"')
    return found


def _read_git_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Check the settings for Git; return those that are set."""
    found = {
        name: given[name]
        for name in ("git", "protected_branches", "publish_branch")
        if name in given
    }
    if found.get("git", "none") not in ("none", "commit"):
        raise MetafileError(SETTINGS_FILE, 'git must be "none" or "commit"')
    branches = found.get("protected_branches", [])
    if not isinstance(branches, list) or not all(isinstance(name, str) for name in branches):
        raise MetafileError(SETTINGS_FILE, "protected_branches must be a list of names")
    if "protected_branches" in found:
        found["protected_branches"] = tuple(branches)
    template = found.get("publish_branch", Settings.publish_branch)
    if not isinstance(template, str) or not _BRANCH_TEMPLATE.fullmatch(template):
        raise MetafileError(
            SETTINGS_FILE,
            "publish_branch must be the name of a branch, which may contain {name} and {id}: "
            f'publish_branch = "{Settings.publish_branch}"',
        )
    return found


def _read_take_in(given: object) -> dict[str, TakeIn]:
    """Read the table `take_in`."""
    if not isinstance(given, dict):
        raise MetafileError(SETTINGS_FILE, f"take_in must be a table: {_TAKE_IN_EXAMPLE}")
    found = {}
    for dataset, said in given.items():
        patterns = [said] if isinstance(said, str) else said
        if not isinstance(patterns, list) or not all(isinstance(item, str) for item in patterns):
            raise MetafileError(
                SETTINGS_FILE,
                f"take_in of {dataset} must be a pattern, a list of patterns or "
                f'"{_MANUAL}": {_TAKE_IN_EXAMPLE}',
            )
        found[dataset] = TakeIn((), True) if said == _MANUAL else TakeIn(tuple(patterns))
    return found


def _read_leave_out(given: object) -> dict[str, Likeness]:
    """Read the table `leave_out_duplicates`."""
    if not isinstance(given, dict) or not all(said in ("same", "alike") for said in given.values()):
        raise MetafileError(
            SETTINGS_FILE,
            'leave_out_duplicates must be a table of "same" or "alike" by data set: '
            'leave_out_duplicates = { 01_image_dataset = "same" }',
        )
    return given


def _read_workers(given: object) -> Workers:
    """Read the table `workers`."""
    if not isinstance(given, dict):
        raise MetafileError(SETTINGS_FILE, f"{_WORKERS} must be a table")
    known = [setting.name for setting in fields(Workers)]
    unknown = [name for name in given if name not in known]
    if unknown:
        raise MetafileError(
            SETTINGS_FILE,
            f"{_WORKERS} has no setting {', '.join(unknown)}: it has {', '.join(known)}",
        )
    found = Workers(**given)
    engines = [name for name in ("scheduler", "local", "command") if given.get(name)]
    problem = None
    if len(engines) != 1:
        problem = "one of scheduler, local and command is needed, and only one"
    elif not all(isinstance(given.get(name, ""), str) for name in ("scheduler", "command")):
        problem = "scheduler and command must be texts"
    elif found.scheduler is not None and "://" not in found.scheduler:
        problem = 'scheduler must be an address: scheduler = "tcp://10.0.0.5:8786"'
    elif not all(_is_count(number) for number in (found.local, found.at_once)):
        problem = "local and at_once must be whole numbers"
    elif not isinstance(found.stages, dict) or not all(map(_is_resources, found.stages.values())):
        problem = (
            'stages must be a table of Dask resources: stages = { train = { GPU = 1 }, "*" = {} }'
        )
    elif found.keep not in ("workspace", "remote"):
        problem = 'keep must be "workspace" or "remote"'
    elif found.versions not in ("same", "any"):
        problem = 'versions must be "same" or "any"'
    if problem is not None:
        raise MetafileError(SETTINGS_FILE, f"{_WORKERS}: {problem}")
    return found


def _is_resources(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_number, value.values()))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and _is_number(value)


def _is_family_pattern(pattern: object) -> bool:
    if not isinstance(pattern, str) or not pattern.endswith("/*"):
        return False
    folder = PurePosixPath(pattern).parent
    return folder.name != "" and not folder.is_absolute() and ".." not in folder.parts


def _is_number(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 <= value < math.inf  # type: ignore[operator]
