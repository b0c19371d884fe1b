"""Writing thresholds into the `params.yaml` of a data set; everything else in it stays as it is."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from registry_assets.bounded import check_yaml
from registry_assets.curation.initial_decisions import PARAMETERS
from registry_assets.errors import MetafileError, RefusedError
from registry_assets.images.decision_text import editing
from registry_assets.images.verdicts import THRESHOLDS, BrightnessRange, ClassThresholds
from registry_assets.model import Dataset
from registry_assets.writing import write_whole

# A number, or one in quotes, as a stage takes it from its command line.
_VALUE = re.compile(r"""[^\s,\[\]{}#"']+|"[^"]*"|'[^']*'""")


def write_thresholds(root: Path, dataset: Dataset, values: Mapping[str, float]) -> list[str]:
    """Write thresholds of a data set; all of them, or none if one is refused.

    Args:
        root: The registry.
        dataset: The data set.
        values: The new values by parameter.

    Returns:
        The parameters whose value changed.

    Raises:
        RefusedError: when a value makes no sense, or a parameter is not in the file.
        MetafileError: when the file cannot be read.
    """
    name = f"{dataset.path}/{PARAMETERS}" if dataset.path else PARAMETERS
    known = {threshold.parameter for threshold in THRESHOLDS}
    for key, value in values.items():
        if key not in known:
            raise RefusedError(f"{key} is no threshold: choose one of {', '.join(sorted(known))}")
        if not math.isfinite(value):
            raise RefusedError(f"{key} has to be a number, not {value}")
    # A link stays one.
    place = (root / name).resolve()
    with editing(place):
        # As bytes: newlines stay as they are.
        text = place.read_bytes().decode("utf-8") if place.exists() else ""
        before = _load(text, name)
        missing = [key for key in values if key not in before]
        if missing:
            raise RefusedError(
                f"{name} has no {missing[0]}: add the line `{missing[0]}: {values[missing[0]]:g}`"
            )
        changed = [key for key, value in values.items() if _number(before[key]) != value]
        _check({**before, **values}, name)
        after = text
        for key in changed:
            after = _replace(after, key, values[key], name)
        if after != text:
            write_whole(place, after)
    return changed


def _number(value: object) -> float | None:
    with suppress(TypeError, ValueError):
        return float(value)  # type: ignore[arg-type]
    return None


def _check(params: Mapping[str, Any], name: str) -> None:
    """Check what the stages would refuse.

    Raises:
        RefusedError: when the thresholds contradict each other.
    """
    numbers = {
        key: number for key, value in params.items() if (number := _number(value)) is not None
    }
    try:
        for kind in (BrightnessRange, ClassThresholds):
            with suppress(KeyError):
                kind.from_params(numbers)
    except ValueError as error:
        raise RefusedError(f"{error}: nothing was written to {name}") from error


def _replace(text: str, key: str, value: float, name: str) -> str:
    """Replace the value of a key where it stands.

    Raises:
        MetafileError: when it stands there in a way that cannot be edited.
    """
    before = _load(text, name)
    line, column = before.lc.value(key)
    lines = text.splitlines(keepends=True)
    found = _VALUE.match(lines[line], column) if line < len(lines) else None
    if found is not None:
        written = repr(int(value) if value == int(value) else value)
        lines[line] = lines[line][:column] + written + lines[line][found.end() :]
        after = "".join(lines)
        if dict(_load(after, name)) == {**before, key: value}:
            return after
    raise MetafileError(name, f"write {key}: {value:g} by hand, as a plain number", line + 1)


def _load(text: str, name: str) -> Any:
    """The file as a mapping that knows where its values stand.

    Raises:
        MetafileError: when it is none.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap
    from ruamel.yaml.error import MarkedYAMLError

    check_yaml(text, name)
    try:
        loaded = YAML().load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        raise MetafileError(name, error.problem or str(error), mark and mark.line + 1) from error
    if not isinstance(loaded, CommentedMap):
        raise MetafileError(name, "it has to be a mapping of parameters to values")
    return loaded
