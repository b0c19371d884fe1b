"""Links between models and their training data in MLflow; the only module that imports MLflow.

A training run logs its data as dataset inputs. For data that DVC imported from a registry, the
digest is the md5 that DVC records, the source type is ``dvc``, and the source is a JSON object
``{"url": …, "path": …, "rev_lock": …}``, as in the ``repo`` of the ``.dvc`` file. Tags of the run
hold the commits of both repositories. A registered model version refers to its run.

Each model version is in one of four stages. MLflow replaced its model stages by aliases and tags
(https://mlflow.org/docs/latest/ml/model-registry/workflow), so the tag ``stage`` holds the stage,
and the stages that only one version can be in are the aliases ``production`` and ``staging``, too.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from registry_assets.addresses import without_secrets
from registry_assets.errors import (
    NotFoundError,
    UnusableError,
)
from registry_assets.model import ImportedInput, Settings
from registry_assets.units import cut, install_command

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion as MlflowVersion

STAGES = ("Experimental", "Staging", "Production", "Archived")
STAGE_TAG = "stage"
ALIASES = {"Staging": "staging", "Production": "production"}
"""The aliases of the stages that only one version of a model can be in."""

MODEL_REPOSITORY_TAG = "model_repository.url"
MODEL_COMMIT_TAG = "model_repository.commit"
DATA_REPOSITORY_TAG = "data_registry.url"
DATA_COMMIT_TAG = "data_registry.commit"

SCHEME = "models:/"

_ADDRESS_VARIABLE = "MLFLOW_TRACKING_URI"
_SOURCE_TYPE = "dvc"
_SHORT_COMMIT = 10
_MOST_RUNS = 100
_MOST_REASON = 300
_NAMED = re.compile(r"models:/(?P<name>[^/@]+)(?:/(?P<version>[^/@]+)|@(?P<alias>[^/@]+))")
_SYSTEM_ERROR = re.compile(r"\[Errno -?\d+\] ([^'\")]+)")


@dataclass(frozen=True)
class DataSource:
    """Data that a model was trained on.

    Attributes:
        url: The URL of the registry, without secrets.
        path: The path of the data, from the root of the registry.
        rev_lock: The commit of the registry.
        md5: The version, as DVC records it.
    """

    url: str
    path: str
    rev_lock: str
    md5: str


@dataclass(frozen=True)
class ModelVersion:
    """One version of a registered model.

    Attributes:
        stage: One of `STAGES`; None if it is in none.
        run_id: The training run; None if the version has none.
        run: ``deleted``: can be restored. ``gone``: cannot. ``none``: the version has no run.
        run_url: The page of the run, if the server has a UI.
        url: The page of the version, if the server has a UI.
        repository: The repository of the training code, if the run names one.
        commit: The commit of that repository.
        data: The training data that comes from registries; empty unless the run is active.
    """

    name: str
    version: str
    stage: str | None
    aliases: tuple[str, ...]
    run_id: str | None
    run: Literal["active", "deleted", "gone", "none"]
    run_url: str | None = None
    url: str | None = None
    repository: str | None = None
    commit: str | None = None
    data: tuple[DataSource, ...] = ()

    @property
    def uri(self) -> str:
        """The MLflow URI, such as ``models:/day_night/3``."""
        return f"{SCHEME}{self.name}/{self.version}"


def find_tracking_uri(settings: Settings) -> str | None:
    """The tracking URI of MLflow: `MLFLOW_TRACKING_URI`, else the setting, else None."""
    return os.environ.get(_ADDRESS_VARIABLE) or settings.mlflow_tracking_uri


def is_installed() -> bool:
    """Whether MLflow's client is installed."""
    return find_spec("mlflow") is not None


class ModelLinks:
    """Reads and writes the links between models and data on one MLflow server.

    Args:
        address: The tracking URI of the server.

    Raises:
        UnusableError: when MLflow's client is not installed.
    """

    def __init__(self, address: str) -> None:
        if not is_installed():
            raise UnusableError(
                "MLflow's client is not installed here: run "
                f"`{install_command('registry-assets[mlflow]')}`"
            )
        self.address = address

    def _client(self) -> MlflowClient:
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self.address, registry_uri=self.address)

    @contextmanager
    def asking(self) -> Iterator[MlflowClient]:
        """A client; errors of MLflow within the context are raised as `UnusableError`."""
        from mlflow.exceptions import MlflowException

        try:
            yield self._client()
        except MlflowException as error:
            address = without_secrets(self.address)
            said = without_secrets(" ".join(_reason(str(error)).split()))
            raise UnusableError(
                f"the MLflow server {address} failed ({said}): start it, or set another one with "
                "MLFLOW_TRACKING_URI"
            ) from error

    def find(self, uri: str) -> ModelVersion:
        """Find the model version of a URI.

        Args:
            uri: ``models:/NAME/VERSION``, ``models:/NAME@ALIAS``, or one of the stages that only
                one version can be in: ``models:/NAME/Production``.

        Raises:
            NotFoundError: when there is no such version, or its run was deleted.
            UnusableError: when the server does not answer.
        """
        named = _NAMED.fullmatch(uri)
        if named is None:
            raise _no_model(uri, "not a model version")
        version, alias = named["version"], named["alias"]
        if version is not None and not version.isdigit():
            alias = ALIASES.get(version.capitalize())
            if alias is None:
                raise _no_model(uri, f"{version} is not a single version")
        with self.asking() as client:
            found = self._look_up(client, uri, named["name"], version, alias)
            run = self._read_runs(client, [found.run_id]).get(found.run_id)
            # A version that was looked up by number does not list its aliases.
            model = client.get_registered_model(found.name)
        read = self._read(found, _aliases_by_version(model.aliases), run)
        if read.run_id is not None and read.run != "active":
            next_step = (
                "train it again"
                if read.run == "gone"
                else f"`mlflow runs restore --run-id {read.run_id}` on the server restores it"
            )
            raise NotFoundError(
                f"run {read.run_id} of {read.uri} was deleted, so its training data is unknown: "
                f"{next_step}"
            )
        return read

    def _look_up(
        self, client: MlflowClient, uri: str, name: str, version: str | None, alias: str | None
    ) -> MlflowVersion:
        from mlflow.exceptions import MlflowException

        try:
            if alias is not None:
                return client.get_model_version_by_alias(name, alias)
            return client.get_model_version(name, str(version))
        except MlflowException as error:
            # MLflow reports a missing alias as an invalid parameter.
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise _no_model(uri, _reason(error.message)) from error
            raise

    def versions(self, name: str | None = None) -> tuple[ModelVersion, ...]:
        """All versions of all models, or of one model, the newest first.

        Includes versions whose runs were deleted, without data.

        Raises:
            UnusableError: when the server does not answer.
        """
        with self.asking() as client:
            search = f"name = '{name}'" if name is not None else None
            found = list(_pages(client.search_model_versions, filter_string=search))
            models = _pages(client.search_registered_models, filter_string=search)
            aliases = {model.name: _aliases_by_version(model.aliases) for model in models}
            runs = self._read_runs(client, [version.run_id for version in found])
        read = (self._read(v, aliases.get(v.name, {}), runs.get(v.run_id)) for v in found)
        return tuple(sorted(read, key=lambda one: (one.name, -int(one.version))))

    def _read_runs(self, client: MlflowClient, ids: Sequence[str | None]) -> Mapping[Any, Run]:
        """The existing runs by id, including deleted ones that can be restored."""
        from mlflow.entities import ViewType

        wanted = sorted({run_id for run_id in ids if run_id})
        experiments = [
            experiment.experiment_id
            for experiment in _pages(client.search_experiments, view_type=ViewType.ALL)
        ]
        found: dict[Any, Run] = {}
        for start in range(0, len(wanted), _MOST_RUNS):
            listed = ", ".join(f"'{run_id}'" for run_id in wanted[start : start + _MOST_RUNS])
            runs = client.search_runs(
                experiments,
                f"attributes.run_id IN ({listed})",
                run_view_type=ViewType.ALL,
                max_results=_MOST_RUNS,
            )
            found.update((run.info.run_id, run) for run in runs)
        return found

    def _read(
        self, version: MlflowVersion, aliases: Mapping[str, Sequence[str]], run: Run | None
    ) -> ModelVersion:
        named = tuple(aliases.get(str(version.version), ()))
        tags = run.data.tags if run is not None else {}
        return ModelVersion(
            name=version.name,
            version=str(version.version),
            stage=_stage(named, version.tags),
            aliases=named,
            run_id=version.run_id or None,
            run=run.info.lifecycle_stage if run else "gone" if version.run_id else "none",
            run_url=self.page("experiments", run.info.experiment_id, "runs", run.info.run_id)
            if run is not None
            else None,
            url=self.page("models", version.name, "versions", str(version.version)),
            repository=tags.get(MODEL_REPOSITORY_TAG),
            commit=tags.get(MODEL_COMMIT_TAG),
            # A run may have been deleted because its data is wrong.
            data=tuple(_read_data(run)) if run and run.info.lifecycle_stage == "active" else (),
        )

    def move(self, model: ModelVersion, stage: str) -> tuple[ModelVersion, ...]:
        """Move a version to a stage.

        At any time, also after a failure, the version is in the old or in the new stage.

        Args:
            model: The version.
            stage: One of `STAGES`.

        Returns:
            The versions that were archived, because only one can be in the stage.

        Raises:
            UnusableError: when the server fails.
        """
        replaced = tuple(
            other
            for other in self.versions(model.name)
            if stage in ALIASES and other.stage == stage and other.version != model.version
        )
        with self.asking() as client:
            # The tag has no effect while the version still has the alias.
            for other in replaced:
                client.set_model_version_tag(other.name, other.version, STAGE_TAG, "Archived")
            if stage in ALIASES:
                client.set_registered_model_alias(model.name, ALIASES[stage], model.version)
            client.set_model_version_tag(model.name, model.version, STAGE_TAG, stage)
            for left, alias in ALIASES.items():
                if left != stage and alias in model.aliases:
                    client.delete_registered_model_alias(model.name, alias)
        return replaced

    def page(self, *parts: str) -> str | None:
        """The URL of a page in MLflow's UI; None if the tracking URI is not HTTP."""
        if not self.address.startswith(("http://", "https://")):
            return None
        return "/".join([f"{without_secrets(self.address).rstrip('/')}/#", *parts])

    def log_data(self, run_id: str, imports: Iterable[ImportedInput]) -> tuple[DataSource, ...]:
        """Log imports as the training data of a run, and tag the run with their commits.

        Args:
            run_id: The run.
            imports: The imports of a repository; only those from other repositories are logged.

        Returns:
            The logged data.

        Raises:
            UnusableError: when the server fails.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag

        sources, inputs = [], []
        for imported in imports:
            source = source_of(imported)
            if source is None or imported.output.version is None:
                continue
            sources.append(source)
            where = {"url": source.url, "path": source.path, "rev_lock": source.rev_lock}
            extent = {
                "num_files": imported.output.version.nfiles,
                "size": imported.output.version.size,
            }
            dataset = Dataset(
                # MLflow keeps the source of the first dataset of a name and digest: the same
                # content at another commit needs another name.
                name=f"{imported.name}@{source.rev_lock[:_SHORT_COMMIT]}",
                digest=source.md5,
                source_type=_SOURCE_TYPE,
                source=json.dumps(where),
                profile=json.dumps({name: value for name, value in extent.items() if value}),
            )
            inputs.append(DatasetInput(dataset, [InputTag("mlflow.data.context", "training")]))
        with self.asking() as client:
            client.log_inputs(run_id, datasets=inputs)
            for tag, values in (
                (DATA_REPOSITORY_TAG, (source.url for source in sources)),
                (DATA_COMMIT_TAG, (source.rev_lock for source in sources)),
            ):
                client.set_tag(run_id, tag, ", ".join(dict.fromkeys(values)))
        return tuple(sources)


def source_of(imported: ImportedInput) -> DataSource | None:
    """The source of an import; None unless it comes from another repository and has a version."""
    version = imported.output.version
    if imported.repository is None or imported.revision is None or version is None:
        return None
    return DataSource(
        url=without_secrets(imported.repository),
        path=imported.source.path,
        rev_lock=imported.revision,
        md5=version.md5,
    )


def _read_data(run: Run) -> Iterator[DataSource]:
    """The training data of a run; skips inputs that others logged in other forms."""
    for logged in run.inputs.dataset_inputs if run.inputs is not None else ():
        if logged.dataset.source_type != _SOURCE_TYPE:
            continue
        try:
            said = json.loads(logged.dataset.source)
            where = (str(said["url"]), str(said["path"]), str(said["rev_lock"]))
        except (ValueError, KeyError, TypeError):
            continue
        yield DataSource(*where, md5=logged.dataset.digest)


def _stage(aliases: Sequence[str], tags: Mapping[str, str]) -> str | None:
    """The stage of a version. Aliases override tags, because they move atomically."""
    for stage in ("Production", "Staging"):
        if ALIASES[stage] in aliases:
            return stage
    tagged = tags.get(STAGE_TAG)
    return tagged if tagged in STAGES and tagged not in ALIASES else None


def _aliases_by_version(aliases: Mapping[str, str]) -> Mapping[str, Sequence[str]]:
    found: dict[str, list[str]] = {}
    for alias, version in sorted(aliases.items()):
        found.setdefault(str(version), []).append(alias)
    return found


def _pages(search: Any, **arguments: Any) -> Iterator[Any]:
    """All results of a search in MLflow, page by page."""
    token = None
    while True:
        page = search(**arguments, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _reason(said: str) -> str:
    """The relevant part of an error message of MLflow."""
    told = _SYSTEM_ERROR.search(said)
    return told[1] if told else cut(" ".join(said.split()), _MOST_REASON)


def _no_model(uri: str, lacks: str) -> NotFoundError:
    return NotFoundError(f"{uri}: {lacks}; use models:/NAME/VERSION or models:/NAME@ALIAS")
