"""Day or night: a classifier of photographs, trained on a data set of an image data registry."""

import os

# Before MLflow is imported: it reports usage to its makers, and says what it does, unless it is
# told not to.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
