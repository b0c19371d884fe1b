"""Judging a way of learning by pictures that it has not seen.

    python -m awesome_ml_model.evaluate FEATURES.csv MODEL.joblib METRICS.json MATRIX.png \
        PREDICTIONS.csv

There are few pictures, so none is set aside for good: they are put into parts, and each part is
judged by a classifier that learned from the others. The pieces cut out of a picture, and the frames
of a video, are always in the same part. What is judged are whole pictures only.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import joblib
import matplotlib as mpl
import pandas as pd
from sklearn.base import clone
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, f1_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import Pipeline

from awesome_ml_model.params import CLASSES, Params, read_params
from awesome_ml_model.table import Table, read_table

mpl.use("Agg")


def judge(table: Table, classifier: Pipeline, params: Params) -> pd.DataFrame:
    """What each whole picture is, and what a classifier that has not seen it takes it for."""
    folds = StratifiedGroupKFold(params.folds, shuffle=True, random_state=params.seed)
    judged = []
    for seen, unseen in folds.split(table.features, table.labels, table.groups):
        fitted = clone(classifier).fit(table.features.iloc[seen], table.labels.iloc[seen])
        whole = [row for row in unseen if table.is_whole.iloc[row]]
        judged.append(
            pd.DataFrame(
                {
                    "image": table.images.iloc[whole],
                    "label": table.labels.iloc[whole],
                    "taken_for": fitted.predict(table.features.iloc[whole]),
                }
            )
        )
    return pd.concat(judged).sort_index()


def measure(judged: pd.DataFrame, table: Table) -> dict[str, float | int]:
    """How well they were judged: shares from 0 to 1, and how many there were."""
    labels, taken_for = judged["label"], judged["taken_for"]
    return {
        "accuracy": round(float(accuracy_score(labels, taken_for)), 6),
        "balanced_accuracy": round(float(balanced_accuracy_score(labels, taken_for)), 6),
        "f1_night": round(float(f1_score(labels, taken_for, pos_label="night")), 6),
        "images": len(judged),
        "groups": int(table.groups.nunique()),
    }


def draw_confusion_matrix(judged: pd.DataFrame, target: Path) -> None:
    """Draws what was taken for what; the same bytes for the same numbers."""
    from matplotlib.figure import Figure

    counts = confusion_matrix(judged["label"], judged["taken_for"], labels=list(CLASSES))
    figure = Figure(figsize=(4, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.imshow(counts, cmap="Blues", vmin=0)
    for row, column in [(row, column) for row in (0, 1) for column in (0, 1)]:
        count = int(counts[row, column])
        colour = "white" if count > counts.max() / 2 else "black"
        axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=16)
    axes.set_xticks(range(len(CLASSES)), CLASSES)
    axes.set_yticks(range(len(CLASSES)), CLASSES)
    axes.set_xlabel("taken for")
    axes.set_ylabel("is")
    figure.savefig(target, dpi=100, metadata={"Software": None})


def main(arguments: list[str]) -> None:
    """Writes metrics, confusion matrix and predictions."""
    features, model, metrics, matrix, predictions = map(Path, arguments)
    table = read_table(features)
    judged = judge(table, joblib.load(model), read_params())
    measured = measure(judged, table)
    metrics.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    draw_confusion_matrix(judged, matrix)
    judged.to_csv(predictions, index=False, lineterminator="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
