"""The models in `registry trace` and `registry forget`, if an MLflow server is configured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from registry_assets.cli.reading import say_json
from registry_assets.errors import RegistryError
from registry_assets.units import install_command

if TYPE_CHECKING:
    from registry_assets.provenance.models.tracing import Trained
    from registry_assets.registry.lineage.graph import Lineage


def is_model(name: Path) -> bool:
    """Whether a name is the URI of an MLflow model, not a file."""
    # `Path` turns `models://` into `models:/`.
    return str(name).startswith("models:/")


def say_model(root: Path, uri: str, as_json: bool) -> None:
    """Trace a model back to its raw collections, and print them."""
    from registry_assets.dvc_repo import DvcRepo
    from registry_assets.provenance.models.links import ModelLinks, find_tracking_uri
    from registry_assets.provenance.models.report import describe_model, model_as_json
    from registry_assets.provenance.models.tracing import trace_data
    from registry_assets.settings import read_settings

    top = DvcRepo(root).root
    address = find_tracking_uri(read_settings(top))
    if address is None:
        raise RegistryError(
            f"no MLflow server is configured to look up {uri}: set MLFLOW_TRACKING_URI, or "
            "mlflow_tracking_uri in [tool.registry_assets]"
        )
    model = ModelLinks(address).find(uri)
    traces = trace_data(top, model.data)
    if as_json:
        say_json(model_as_json(model, traces))
    else:
        for line in describe_model(model, traces):
            click.echo(line)


def find_models(lineage: Lineage, md5: str) -> Trained | None:
    """The models that were trained on a file; None if no MLflow server can be asked."""
    from registry_assets.provenance.models.links import ModelLinks, find_tracking_uri, is_installed
    from registry_assets.provenance.models.tracing import Trained, find_trained

    address = find_tracking_uri(lineage.registry.settings)
    if address is None:
        return None
    if not is_installed():
        click.echo(
            "registry: models are left out, as MLflow's client is not installed here: "
            f"run `{install_command('registry-assets[mlflow]')}`",
            err=True,
        )
        return None
    try:
        models = ModelLinks(address).versions()
    except RegistryError as error:
        return Trained(None, (str(error),))
    return find_trained(lineage.registry.root, md5, models)


def gaps(trained: Trained | None) -> Sequence[str]:
    """Lines about models that could not be read."""
    return () if trained is None else trained.gaps
