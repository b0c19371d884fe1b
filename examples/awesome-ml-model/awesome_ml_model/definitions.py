"""The code location: what DVC tracks here, the training run and the registered model.

Dagster reads annotations at run time, so this module does without postponed ones.
"""

import os
from pathlib import Path

from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    DataVersion,
    Definitions,
    MaterializeResult,
    MetadataValue,
    asset,
)

from awesome_ml_model.data_checks import build_data_checks
from awesome_ml_model.tracking import (
    CLASSIFIER,
    MATRIX,
    METRICS,
    MODEL,
    log_training,
    register_model,
)
from registry_assets import build_definitions
from registry_assets.provenance.models.links import DATA_COMMIT_TAG, MODEL_COMMIT_TAG

GROUP = "mlflow"
TRAINING_RUN = AssetKey([GROUP, "training_run"])
REGISTERED_MODEL = AssetKey([GROUP, MODEL])


def build_model_assets(root: Path) -> list[AssetsDefinition]:
    """Builds the assets that are kept on the MLflow server."""

    @asset(
        key=TRAINING_RUN,
        deps=[AssetKey(path.split("/")) for path in (CLASSIFIER, METRICS, MATRIX)],
        group_name=GROUP,
        kinds={"mlflow", "sklearn"},
        description="The run on the MLflow server that has what the pipeline made last: logged "
        "once it is committed, with the data set and the commits of both repositories.",
    )
    def training_run(context: AssetExecutionContext) -> MaterializeResult[None]:
        run = log_training(root)
        context.log.info(f"{'logged' if run.is_new else 'already logged'}: run {run.run_id}")
        return MaterializeResult(
            data_version=DataVersion(run.run_id),
            metadata={
                "mlflow/run": _link(run.url, run.run_id),
                "mlflow/run_id": run.run_id,
                "git/commit": run.tags.get(MODEL_COMMIT_TAG, ""),
                "registry/commit": run.tags.get(DATA_COMMIT_TAG, ""),
                **{f"metrics/{name}": value for name, value in run.metrics.items()},
            },
        )

    @asset(
        key=REGISTERED_MODEL,
        deps=[training_run],
        group_name=GROUP,
        kinds={"mlflow"},
        description="The model of the newest training run as a version in MLflow's registry.",
    )
    def registered_model(context: AssetExecutionContext) -> MaterializeResult[None]:
        model = register_model(root, log_training(root).run_id)
        context.log.info(f"{model.uri} is in stage {model.stage}")
        return MaterializeResult(
            data_version=DataVersion(model.uri),
            metadata={
                "mlflow/model": _link(model.url, model.uri),
                "mlflow/uri": model.uri,
                "mlflow/stage": model.stage or "none",
                "mlflow/run": _link(model.run_url, model.run_id or ""),
            },
        )

    return [training_run, registered_model]


def _link(url: str | None, text: str) -> MetadataValue:
    return MetadataValue.url(url) if url is not None else MetadataValue.text(text)


def build(root: Path) -> Definitions:
    """Builds the definitions of a checkout of this repository."""
    return Definitions.merge(
        build_definitions(root, assets=build_model_assets(root)),
        Definitions(asset_checks=build_data_checks(root)),
    )


defs = build(Path(os.environ.get("REGISTRY_ROOT") or Path.cwd()))
