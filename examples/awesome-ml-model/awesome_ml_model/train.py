"""Learning day and night.

python -m awesome_ml_model.train FEATURES.csv MODEL.joblib
"""

from __future__ import annotations

import sys
from pathlib import Path

import joblib
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from awesome_ml_model.params import Params, read_params
from awesome_ml_model.table import read_table


def build_classifier(params: Params) -> Pipeline:
    """The classifier, not fitted yet."""
    return make_pipeline(
        StandardScaler(),
        LogisticRegression(
            C=params.inverse_regularization, max_iter=1000, random_state=params.seed
        ),
    )


def main(arguments: list[str]) -> None:
    """Fits the classifier to all pictures and pieces, and writes it."""
    source, target = map(Path, arguments)
    table = read_table(source)
    classifier = build_classifier(read_params()).fit(table.features, table.labels)
    joblib.dump(classifier, target)


if __name__ == "__main__":
    main(sys.argv[1:])
