"""The table of features, read for learning and for judging."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

_ABOUT = ["label", "group", "image", "is_whole"]


@dataclass(frozen=True)
class Table:
    """A table of features.

    Attributes:
        features: A row per picture and piece, a column per feature.
        labels: ``day`` or ``night``, by row.
        groups: What must not be torn apart, by row.
        images: Which picture a row is of.
        is_whole: Whether a row is a picture and not a piece of one.
    """

    features: pd.DataFrame
    labels: pd.Series
    groups: pd.Series
    images: pd.Series
    is_whole: pd.Series


def read_table(path: Path) -> Table:
    """Reads the table that `features` wrote."""
    data = pd.read_csv(path)
    return Table(
        features=data.drop(columns=_ABOUT),
        labels=data["label"],
        groups=data["group"],
        images=data["image"],
        is_whole=data["is_whole"] == 1,
    )
