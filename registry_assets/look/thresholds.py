"""What other thresholds would change, while somebody drags a slider."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from starlette.routing import BaseRoute

from registry_assets.curation.pictures import Pictures
from registry_assets.images.judging import OUTCOMES, Outcomes
from registry_assets.images.measurement_columns import Numbers
from registry_assets.images.verdicts import THRESHOLDS, Threshold
from registry_assets.look.answers import ask
from registry_assets.look.gallery import Gallery, Row
from registry_assets.look.open_registry import OpenRegistry
from registry_assets.look.queries import BadRequestError

_MOST_ROWS = 200
_HIGHEST_BRIGHTNESS = 255.0


class Slider(TypedDict):
    """A threshold that can be tried.

    Attributes:
        value: The value in ``params.yaml``.
        low: The lowest value worth trying; likewise ``high``.
        step: The smallest useful difference.
        met: The verdict on pictures that meet it; ``otherwise`` that on others.
        symbol: How a value is compared with it.
    """

    name: str
    measure: str
    value: float
    low: float
    high: float
    step: float
    symbol: str
    met: str
    otherwise: str


Moves = TypedDict("Moves", {"in": int, "out": int, "class": int})
"""How many pictures come in, fall out and change their class."""


class MovesOfCollection(Moves):
    """The same for one collection."""

    collection: str


class MovedRow(Row):
    """A picture with another verdict.

    Attributes:
        before: Its outcome now: the reason it is left out, or the class; likewise ``after``.
        value: Its measure.
        distance: How far the measure is from the threshold that decides.
    """

    before: str
    after: str
    value: float
    distance: float


class Trial(TypedDict):
    """What other thresholds would change.

    Attributes:
        counts: By outcome, how many pictures have it before and after.
        rows: The pictures, those nearest to a changed threshold first; not more than 200.
    """

    state: str
    parameters: Sequence[Slider]
    changes: Moves
    by_collection: Sequence[MovesOfCollection]
    counts: Mapping[str, tuple[int, int]]
    rows: Sequence[MovedRow]


def try_thresholds(registry: OpenRegistry, query: Mapping[str, str]) -> Trial:
    """Answer ``api/thresholds``.

    Raises:
        BadRequestError: when a value is not a number, or the values contradict each other.
    """
    reading = registry.read()
    gallery = reading.galleries.open(query.get("source"))
    pictures = gallery.pictures
    limits = {**pictures.limits, **parse_limits(query.get("values", ""), pictures.limits)}
    try:
        after = pictures.judge(limits)
    except ValueError as error:
        raise BadRequestError(str(error)) from error
    before = pictures.outcomes
    return {
        "state": reading.state,
        "parameters": [_slider(pictures, threshold) for threshold in _sliders(pictures)],
        "changes": _count_moves(before, after),
        "by_collection": _count_by_collection(pictures, before, after),
        "counts": _count_outcomes(before, after),
        "rows": _rows(gallery, limits, before, after),
    }


def parse_limits(text: str, known: Mapping[str, float]) -> dict[str, float]:
    """Parse the values of thresholds.

    Raises:
        BadRequestError: when one is not a number, or the data set has no such threshold.
    """
    try:
        values = {str(name): float(value) for name, value in json.loads(text or "{}").items()}
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise BadRequestError(f"a threshold is not a number ({error})") from error
    for name, value in values.items():
        if name not in known:
            raise BadRequestError(f"params.yaml has no threshold {name}: reload the page")
        if not math.isfinite(value):
            raise BadRequestError(f"{name} has to be a finite number")
    return values


def _sliders(pictures: Pictures) -> list[Threshold]:
    return [threshold for threshold in THRESHOLDS if threshold.parameter in pictures.limits]


def _slider(pictures: Pictures, threshold: Threshold) -> Slider:
    value = pictures.limits[threshold.parameter]
    is_brightness = threshold.measure == "mean_brightness"
    values: Numbers = getattr(pictures.columns, threshold.measure)
    high = _HIGHEST_BRIGHTNESS if is_brightness else float(np.nanmax(values, initial=1.0))
    high = max(high, value)
    return {
        "name": threshold.parameter,
        "measure": "brightness" if is_brightness else "contrast",
        "value": value,
        "low": min(0.0, value),
        "high": high if is_brightness else math.ceil(high),
        "step": 0.5 if is_brightness else 1.0,
        "symbol": threshold.symbol,
        "met": threshold.met,
        "otherwise": threshold.otherwise,
    }


_IS_KEPT = np.array([outcome.is_kept for outcome in OUTCOMES])


def _count_moves(before: Outcomes, after: Outcomes) -> Moves:
    was, is_now = _IS_KEPT[before], _IS_KEPT[after]
    return {
        "in": int(np.count_nonzero(~was & is_now)),
        "out": int(np.count_nonzero(was & ~is_now)),
        "class": int(np.count_nonzero(was & is_now & (before != after))),
    }


def _count_by_collection(
    pictures: Pictures, before: Outcomes, after: Outcomes
) -> list[MovesOfCollection]:
    """Count for each collection with a changed verdict."""
    columns = pictures.columns
    changed = np.unique(columns.collection[before != after])
    found: list[MovesOfCollection] = []
    for name in (columns.collections[int(number)] for number in changed):
        rows = columns.rows_of(name)
        found.append({"collection": name, **_count_moves(before[rows], after[rows])})
    return found


def _count_outcomes(before: Outcomes, after: Outcomes) -> dict[str, tuple[int, int]]:
    counts = (np.bincount(outcomes, minlength=len(OUTCOMES)) for outcomes in (before, after))
    return {
        str(outcome): (int(was), int(is_now))
        for outcome, was, is_now in zip(OUTCOMES, *counts, strict=True)
        if was or is_now
    }


def _rows(
    gallery: Gallery, limits: Mapping[str, float], before: Outcomes, after: Outcomes
) -> list[MovedRow]:
    """The pictures with another verdict, those nearest to a changed threshold first."""
    pictures = gallery.pictures
    changed = np.flatnonzero(before != after)
    distance, values = _distances(pictures, limits, changed)
    nearest = np.argsort(distance, kind="stable")[:_MOST_ROWS]
    return [
        {
            **gallery.row(int(changed[n])),
            "before": str(OUTCOMES[before[changed[n]]]),
            "after": str(OUTCOMES[after[changed[n]]]),
            "value": float(values[n]),
            "distance": float(distance[n]),
        }
        for n in nearest
    ]


def _distances(
    pictures: Pictures, limits: Mapping[str, float], rows: NDArray[np.intp]
) -> tuple[Numbers, Numbers]:
    """How far rows are from the nearest changed threshold that they cross, and their measure."""
    distance = np.full(len(rows), np.inf)
    values = np.zeros(len(rows))
    for threshold in _sliders(pictures):
        was, is_now = pictures.limits[threshold.parameter], limits[threshold.parameter]
        measured: Numbers = getattr(pictures.columns, threshold.measure)[rows]
        crosses = threshold.is_met(measured, was) != threshold.is_met(measured, is_now)
        away = np.where(crosses, np.abs(measured - is_now), np.inf)
        is_nearer = away < distance
        values[is_nearer] = measured[is_nearer]
        distance = np.minimum(distance, away)
    return distance, values


def routes(registry: OpenRegistry) -> list[BaseRoute]:
    """The route of trying thresholds."""
    return [ask(registry, "/api/thresholds", try_thresholds)]
