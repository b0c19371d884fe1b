"""Traces of models and training data, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypedDict

from registry_assets.provenance.models.links import DataSource, ModelVersion
from registry_assets.provenance.models.tracing import DataTrace, RecordedData, Trained
from registry_assets.revisions.changes.revisions import SHORT_COMMIT
from registry_assets.units import count_of, first_of

_MOST_FILES = 3


class StaleJson(TypedDict):
    """An output that was not up to date at a commit.

    Attributes:
        path: The output, from the root.
        why: What had changed.
    """

    path: str
    why: tuple[str, ...]


class _SourceJson(TypedDict):
    url: str
    path: str
    commit: str
    version: str


class ModelDataJson(_SourceJson):
    """Data that a model was trained on, traced upstream to raw collections.

    Attributes:
        url: The URL of the registry.
        path: The path of the data, from the root of the registry.
        commit: The commit of the registry.
        version: The md5 that DVC records.
        tags: The tags of that commit that are versions of the data set.
        outputs: The outputs that it consists of.
        raw: The sources of these outputs, such as raw collections.
        stale: These and upstream outputs that were not up to date at that commit.
    """

    tags: tuple[str, ...]
    outputs: tuple[RecordedData, ...]
    raw: tuple[RecordedData, ...]
    stale: list[StaleJson]


class TrainedDataJson(_SourceJson):
    """Data that a model was trained on and that contains a file.

    Attributes:
        url: The URL of the registry.
        path: The path of the data, from the root of the registry.
        commit: The commit of the registry.
        version: The md5 that DVC records.
        files: The file and derived files in that data.
    """

    files: tuple[str, ...]


class _VersionJson(TypedDict):
    model: str
    version: str
    stage: str | None
    aliases: tuple[str, ...]
    run: str | None
    run_url: str | None
    url: str | None
    repository: str | None
    commit: str | None


class ModelJson(_VersionJson):
    """A version of a model, and the data it was trained on.

    Attributes:
        model: The name of the model.
        version: The version.
        stage: The stage, such as Production; null for none.
        aliases: The aliases.
        run: The training run in MLflow.
        run_url: The page of the run.
        url: The page of the model version.
        repository: The repository of the training code.
        commit: The commit of that repository.
        data: The data it was trained on.
    """

    data: list[ModelDataJson]


class TrainedJson(_VersionJson):
    """A version of a model that was trained on a file.

    Attributes:
        model: The name of the model.
        version: The version.
        stage: The stage, such as Production; null for none.
        aliases: The aliases.
        run: The training run in MLflow.
        run_url: The page of the run.
        url: The page of the model version.
        repository: The repository of the training code.
        commit: The commit of that repository.
        data: The data that contains the file.
    """

    data: TrainedDataJson


class ModelsJson(TypedDict, total=False):
    """The part of the JSON of a trace that comes from an MLflow server.

    Attributes:
        models: The models that were trained on a file; null when the server does not answer.
    """

    models: list[TrainedJson] | None


def describe_model(model: ModelVersion, traces: Sequence[DataTrace]) -> Iterator[str]:
    """Describe a model and its training data, traced upstream to raw collections."""
    yield from _describe_version(model, "")
    for trace in traces:
        yield f"<- trained on: {trace.source.path}"
        versions = f" ({', '.join(trace.versions)})" if trace.versions else ""
        yield f"    {_describe_source(trace.source)}{versions}"
        yield f"    {count_of(len(trace.outputs), 'output')}, recorded by {_commits(trace)}"
        for status in trace.stale:
            yield f"    not up to date at that commit: {status.path} ({'; '.join(status.why)})"
    raw = dict.fromkeys(item for trace in traces for item in trace.raw)
    for item in raw:
        yield f"<- {item.path}"
        yield f"    {_describe_recorded(item)}"
    collections = sorted({item.collection for item in raw if item.collection is not None})
    if collections:
        yield f"= collection{'s' if len(collections) > 1 else ''} {', '.join(collections)}"
    elif not traces:
        yield "= no data of a registry: its run has no `dvc` inputs"


def describe_trained(trained: Trained | None) -> Iterator[str]:
    """Describe the models that were trained on a file."""
    if trained is None or trained.models is None:
        return
    models = trained.models
    number = len({found.model.uri for found in models})
    yield f"trained {count_of(number, 'model')}:" if number else "trained no model"
    for found in models:
        yield from _describe_version(found.model, "    ")
        yield f"        with {found.source.path} at commit {found.source.rev_lock[:SHORT_COMMIT]}:"
        shown = first_of(found.files, _MOST_FILES)
        yield from (f"        {file}" for file in shown)
        if len(found.files) > len(shown):
            yield f"        and {len(found.files) - len(shown)} more files"


def _describe_version(model: ModelVersion, indent: str) -> Iterator[str]:
    yield f"{indent}{model.uri}{f'  {model.stage}' if model.stage else ''}"
    yield f"{indent}    run {model.run_url or model.run_id or 'unknown'}"
    if model.commit is not None:
        yield (
            f"{indent}    commit {model.commit[:SHORT_COMMIT]} of "
            f"{model.repository or 'an unknown repository'}"
        )


def _describe_source(source: DataSource) -> str:
    return f"of {source.url} at commit {source.rev_lock[:SHORT_COMMIT]}, version {source.md5}"


def _describe_recorded(item: RecordedData) -> str:
    commit = f"commit {item.commit[:SHORT_COMMIT]}" if item.commit else None
    version = f"version {item.version}" if item.version else None
    return ", ".join(filter(None, (item.metafile or "outside the registry", commit, version)))


def _commits(trace: DataTrace) -> str:
    commits = dict.fromkeys(o.commit[:SHORT_COMMIT] for o in trace.outputs if o.commit)
    return f"commit{'s' if len(commits) > 1 else ''} {', '.join(commits)}" if commits else "none"


def model_as_json(model: ModelVersion, traces: Sequence[DataTrace]) -> ModelJson:
    """The JSON of `registry trace MODEL --json`."""
    return {
        **_version_as_json(model),
        "data": [
            {
                **_source_as_json(trace.source),
                "tags": trace.versions,
                "outputs": trace.outputs,
                "raw": trace.raw,
                "stale": [{"path": status.path, "why": status.why} for status in trace.stale],
            }
            for trace in traces
        ],
    }


def trained_as_json(trained: Trained | None) -> ModelsJson:
    """The part of the JSON of a trace about models; empty if they were not asked for."""
    if trained is None:
        return {}
    if trained.models is None:
        return {"models": None}
    return {
        "models": [
            {
                **_version_as_json(found.model),
                "data": {**_source_as_json(found.source), "files": found.files},
            }
            for found in trained.models
        ]
    }


def _version_as_json(model: ModelVersion) -> _VersionJson:
    return {
        "model": model.name,
        "version": model.version,
        "stage": model.stage,
        "aliases": model.aliases,
        "run": model.run_id,
        "run_url": model.run_url,
        "url": model.url,
        "repository": model.repository,
        "commit": model.commit,
    }


def _source_as_json(source: DataSource) -> _SourceJson:
    return {
        "url": source.url,
        "path": source.path,
        "commit": source.rev_lock,
        "version": source.md5,
    }
