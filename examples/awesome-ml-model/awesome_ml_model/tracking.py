"""Training runs and models on the MLflow server, linked to the commits and data they came from.

DVC trains, reproducibly and without a server. What it made is logged once it is committed: then
the run can name the commit that brings code, parameters, data and model back.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from awesome_ml_model.params import PARAMS_FILE, read_flat_params
from registry_assets import Lineage, RegistryError, build_lineage, read_registry
from registry_assets.addresses import without_secrets
from registry_assets.provenance.models.links import (
    DATA_COMMIT_TAG,
    DATA_REPOSITORY_TAG,
    MODEL_COMMIT_TAG,
    MODEL_REPOSITORY_TAG,
    STAGE_TAG,
    ModelLinks,
    ModelVersion,
    find_tracking_uri,
)
from registry_assets.registry.status.reading import read_status

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

MODEL = "day_night"
EXPERIMENT = "awesome-ml-model"

FEATURES = "outputs/features.csv"
CLASSIFIER = "outputs/model.joblib"
METRICS = "outputs/metrics.json"
MATRIX = "outputs/confusion_matrix.png"
_ARTIFACTS = (METRICS, MATRIX, PARAMS_FILE, "dvc.yaml", "dvc.lock")

_MODEL_VERSION_TAG = "model_repository.model_md5"
_MOST_SHOWN = 3


@dataclass(frozen=True)
class TrainingRun:
    """A run on the server.

    Attributes:
        is_new: Whether it was logged just now.
        url: Its page, where the server has pages.
        tags: With the commits of both repositories.
    """

    run_id: str
    is_new: bool
    url: str | None
    metrics: Mapping[str, float]
    tags: Mapping[str, str]


def open_links(root: Path) -> ModelLinks:
    """The links on the MLflow server that this repository is configured for.

    Raises:
        RegistryError: when none is configured.
    """
    address = find_tracking_uri(read_registry(root).settings)
    if address is None:
        raise RegistryError("no MLflow server is configured: set MLFLOW_TRACKING_URI")
    return ModelLinks(address)


def log_training(root: Path) -> TrainingRun:
    """Logs what the pipeline made last, once for each commit and model.

    Raises:
        RegistryError: when outputs are not up to date or not committed, or when the server does
            not answer. What was logged so far is then deleted.
    """
    lineage = build_lineage(read_registry(root))
    root = lineage.registry.root
    commit = find_commit(lineage)
    model_version = lineage.nodes[CLASSIFIER].version
    if model_version is None:
        raise RegistryError(f"{CLASSIFIER} was never made: run `dvc repro`")
    tags = {
        MODEL_REPOSITORY_TAG: _address(root),
        MODEL_COMMIT_TAG: commit,
        _MODEL_VERSION_TAG: model_version.md5,
        # Those of MLflow itself, which its UI shows as the source of the run.
        "mlflow.source.type": "PROJECT",
        "mlflow.source.name": _address(root),
        "mlflow.source.git.commit": commit,
    }
    links = open_links(root)
    with links.asking() as client:
        known = _find_run(client, commit, model_version.md5)
        if known is not None:
            return _training_run(links, known, is_new=False)
        experiment = _experiment(client)
        with _logging(client, experiment, tags) as run_id:
            links.log_data(run_id, lineage.registry.inputs)
            _log_results(client, run_id, root)
            _log_model(links.address, run_id, root)
        return _training_run(links, client.get_run(run_id), is_new=True)


def find_commit(lineage: Lineage) -> str:
    """The commit that has what the pipeline made.

    Raises:
        RegistryError: when something is not up to date, or not committed.
    """
    status = read_status(lineage)
    stale = [output.path for output in status.outputs if output.state != "up_to_date"]
    if stale or lineage.registry.problems:
        said = ", ".join([*lineage.registry.problems, *stale][:_MOST_SHOWN])
        raise RegistryError(f"not up to date: {said}; run `dvc repro`")
    root = lineage.registry.root
    changed = _git(root, "status", "--porcelain", "--untracked-files=normal")
    commit = _git(root, "rev-parse", "--verify", "--quiet", "HEAD", check=False)
    if changed or not commit:
        files = ", ".join(line[3:] for line in changed.splitlines()[:_MOST_SHOWN])
        raise RegistryError(
            f"not committed: {files}; commit first, as a model is linked to its data by a commit"
        )
    return commit


def _find_run(client: MlflowClient, commit: str, model_md5: str) -> Run | None:
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return None
    found = client.search_runs(
        [experiment.experiment_id],
        f"attributes.status = 'FINISHED' AND tags.`{MODEL_COMMIT_TAG}` = '{commit}' "
        f"AND tags.`{_MODEL_VERSION_TAG}` = '{model_md5}'",
        max_results=1,
    )
    return found[0] if found else None


def _experiment(client: MlflowClient) -> str:
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return str(client.create_experiment(EXPERIMENT))
    return str(experiment.experiment_id)


@contextmanager
def _logging(client: MlflowClient, experiment: str, tags: Mapping[str, str]) -> Iterator[str]:
    """Gives a new run, finished at the end; deleted with its model when it does not come to it."""
    from mlflow.exceptions import MlflowException

    commit = tags[MODEL_COMMIT_TAG]
    run_id = client.create_run(experiment, tags=dict(tags), run_name=commit[:10]).info.run_id
    try:
        yield run_id
        client.set_terminated(run_id, "FINISHED")
    except BaseException:
        # Where the server is away it cannot be told; an unfinished run is never registered.
        with suppress(MlflowException):
            client.set_terminated(run_id, "FAILED")
            for model_id in _model_ids(client.get_run(run_id)):
                client.delete_logged_model(model_id)
            client.delete_run(run_id)
        raise


def _log_results(client: MlflowClient, run_id: str, root: Path) -> None:
    for name, value in read_flat_params(root / PARAMS_FILE).items():
        client.log_param(run_id, name, value)
    for name, number in json.loads((root / METRICS).read_text(encoding="utf-8")).items():
        client.log_metric(run_id, name, float(number))
    metafiles = sorted(path.relative_to(root) for path in root.glob("data/*.dvc"))
    for path in [*map(Path, _ARTIFACTS), *metafiles]:
        folder = path.parent.as_posix()
        client.log_artifact(run_id, str(root / path), None if folder == "." else folder)


def _log_model(address: str, run_id: str, root: Path) -> None:
    import joblib
    import mlflow
    from mlflow.models import infer_signature

    from awesome_ml_model.table import read_table

    mlflow.set_tracking_uri(address)
    mlflow.set_registry_uri(address)
    classifier = joblib.load(root / CLASSIFIER)
    features = read_table(root / FEATURES).features
    with _running(run_id):
        mlflow.sklearn.log_model(
            classifier,
            name=MODEL,
            signature=infer_signature(features, classifier.predict(features)),
            # Otherwise MLflow loads the model in another process to find out.
            pip_requirements=[f"{name}=={version(name)}" for name in ("scikit-learn", "skops")],
        )


@contextmanager
def _running(run_id: str) -> Iterator[None]:
    """Has MLflow's own functions log to a run, and leaves it as unfinished as it is."""
    import mlflow

    mlflow.start_run(run_id=run_id)
    try:
        yield
    finally:
        mlflow.end_run("RUNNING")


def _training_run(links: ModelLinks, run: Run, *, is_new: bool) -> TrainingRun:
    info = run.info
    return TrainingRun(
        run_id=info.run_id,
        is_new=is_new,
        url=links.page("experiments", info.experiment_id, "runs", info.run_id),
        metrics=dict(run.data.metrics),
        tags=dict(run.data.tags),
    )


def register_model(root: Path, run_id: str) -> ModelVersion:
    """Registers the model of a finished run as the next version, as an experiment.

    A run is registered once; asked again, its version is given.

    Raises:
        RegistryError: when the run was deleted, never finished or has no model, or when the
            server does not answer. Nothing is registered then.
    """
    links = open_links(root)
    known = next((one for one in links.versions(MODEL) if one.run_id == run_id), None)
    with links.asking() as client:
        run = _find_finished(client, run_id)
        if known is not None:
            return known
        model_ids = _model_ids(run)
        if not model_ids:
            raise RegistryError(f"run {run_id} has no model: run `log` again")
        tags = {
            STAGE_TAG: "Experimental",
            **{
                name: run.data.tags[name]
                for name in (
                    MODEL_REPOSITORY_TAG,
                    MODEL_COMMIT_TAG,
                    DATA_REPOSITORY_TAG,
                    DATA_COMMIT_TAG,
                )
            },
        }
        created = _create_version(client, run_id, model_ids[-1], tags)
    return links.find(f"models:/{MODEL}/{created}")


def _find_finished(client: MlflowClient, run_id: str) -> Run:
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise RegistryError(f"there is no run {run_id}: `log` makes one") from error
    if run.info.lifecycle_stage != "active":
        raise RegistryError(
            f"run {run_id} was deleted: `mlflow runs restore --run-id {run_id}`, or `log` again"
        )
    if run.info.status != "FINISHED":
        raise RegistryError(f"run {run_id} never finished: run `log` again")
    return run


def _create_version(
    client: MlflowClient, run_id: str, model_id: str, tags: Mapping[str, str]
) -> str:
    from mlflow.exceptions import MlflowException

    is_first = not client.search_registered_models(f"name = '{MODEL}'")
    if is_first:
        client.create_registered_model(
            MODEL, description="Tells photographs taken by day from those taken by night."
        )
    try:
        created = client.create_model_version(
            MODEL, f"models:/{model_id}", run_id, tags=dict(tags), model_id=model_id
        )
    except MlflowException:
        if is_first:
            with suppress(MlflowException):
                client.delete_registered_model(MODEL)
        raise
    return str(created.version)


def _model_ids(run: Run) -> list[str]:
    outputs: Any = run.outputs
    return [model.model_id for model in outputs.model_outputs] if outputs is not None else []


def _address(root: Path) -> str:
    """The address of this repository, without secrets; its folder, where it has no remote."""
    remote = _git(root, "config", "--get", "remote.origin.url", check=False)
    return without_secrets(remote) if remote else str(root)


def _git(root: Path, *arguments: str, check: bool = True) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False
    )
    if check and done.returncode != 0:
        raise RegistryError(f"git {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout.rstrip()
