"""What was found about models, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypedDict

from registry_assets.provenance.models.links import DataSource, ModelVersion
from registry_assets.provenance.models.tracing import DataTrace, RecordedData, Trained

_MOST_FILES = 3
_SHORT_COMMIT = 10


class RecordedJson(TypedDict):
    """A version of a path, as a commit of the registry has it.

    Attributes:
        path: The path, from the root.
        collection: Which collection it is, where it is one.
        metafile: The stage or ``.dvc`` file; null for what lies outside the registry.
        version: The md5 that is recorded; null where none is.
        commit: Which recorded it.
    """

    path: str
    collection: str | None
    metafile: str | None
    version: str | None
    commit: str | None


class StaleJson(TypedDict):
    """What was not up to date at a commit.

    Attributes:
        path: The output, from the root.
        why: What had changed, in words.
    """

    path: str
    why: tuple[str, ...]


class _SourceJson(TypedDict):
    url: str
    path: str
    commit: str
    version: str


class ModelDataJson(_SourceJson):
    """Data that a model was trained on, led back to raw collections.

    Attributes:
        url: The registry that the data came from.
        path: The data, from the root of that.
        commit: The commit of the registry.
        version: The md5 that DVC records.
        tags: The versions of the data set that are this commit.
        outputs: The outputs that it is made of.
        raw: The raw collections at the end of the way.
        stale: What was not up to date at that commit.
    """

    tags: tuple[str, ...]
    outputs: list[RecordedJson]
    raw: list[RecordedJson]
    stale: list[StaleJson]


class TrainedDataJson(_SourceJson):
    """Data that a model was trained on, with a file in it.

    Attributes:
        url: The registry that the data came from.
        path: The data, from the root of that.
        commit: The commit of the registry.
        version: The md5 that DVC records.
        files: The file, or what was made of it, by paths in the data.
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
        model: Its name.
        version: Its version.
        stage: The stage it is in, such as Production; null for none.
        aliases: Its aliases.
        run: The training run in MLflow.
        run_url: The page of the run.
        url: The page of the model.
        repository: The repository that it was trained in.
        commit: The commit of that.
        data: What it was trained on.
    """

    data: list[ModelDataJson]


class TrainedJson(_VersionJson):
    """A version of a model that was trained on a file.

    Attributes:
        model: Its name.
        version: Its version.
        stage: The stage it is in, such as Production; null for none.
        aliases: Its aliases.
        run: The training run in MLflow.
        run_url: The page of the run.
        url: The page of the model.
        repository: The repository that it was trained in.
        commit: The commit of that.
        data: What the file is in.
    """

    data: TrainedDataJson


class ModelsJson(TypedDict, total=False):
    """What models add to the JSON of a trace, where an MLflow server was asked.

    Attributes:
        models: The models that were trained on a file; null when the server is away.
    """

    models: list[TrainedJson] | None


def describe_model(model: ModelVersion, traces: Sequence[DataTrace]) -> Iterator[str]:
    """Lines for people: the way of a model back to raw collections."""
    yield from _describe_version(model, "")
    for trace in traces:
        yield f"<- trained on: {trace.source.path}"
        versions = f" ({', '.join(trace.versions)})" if trace.versions else ""
        yield f"    {_describe_source(trace.source)}{versions}"
        count = len(trace.outputs)
        yield f"    {count} output{'s' if count != 1 else ''}, recorded by {_commits(trace)}"
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
        yield "= no data of a registry: its run names none as `dvc` inputs"


def describe_trained(trained: Trained | None) -> Iterator[str]:
    """Lines for people: the models that were trained on a file; none where nobody was asked."""
    if trained is None or trained.models is None:
        return
    models = trained.models
    count = len({found.model.uri for found in models})
    yield f"trained {count} model{'s' if count != 1 else ''}:" if count else "trained no model"
    for found in models:
        yield from _describe_version(found.model, "    ")
        yield f"        with {found.source.path} at commit {found.source.rev_lock[:_SHORT_COMMIT]}:"
        yield from (f"        {file}" for file in found.files[:_MOST_FILES])
        if len(found.files) > _MOST_FILES:
            yield f"        and {len(found.files) - _MOST_FILES} more files"


def _describe_version(model: ModelVersion, indent: str) -> Iterator[str]:
    yield f"{indent}{model.uri}{f'  {model.stage}' if model.stage else ''}"
    yield f"{indent}    run {model.run_url or model.run_id or 'unknown'}"
    if model.commit is not None:
        yield (
            f"{indent}    commit {model.commit[:_SHORT_COMMIT]} of "
            f"{model.repository or 'a repository it does not name'}"
        )


def _describe_source(source: DataSource) -> str:
    return f"of {source.url} at commit {source.rev_lock[:_SHORT_COMMIT]}, version {source.md5}"


def _describe_recorded(item: RecordedData) -> str:
    commit = f"commit {item.commit[:_SHORT_COMMIT]}" if item.commit else None
    version = f"version {item.md5}" if item.md5 else None
    return ", ".join(filter(None, (item.address or "outside the registry", commit, version)))


def _commits(trace: DataTrace) -> str:
    commits = dict.fromkeys(o.commit[:_SHORT_COMMIT] for o in trace.outputs if o.commit)
    return f"commit{'s' if len(commits) > 1 else ''} {', '.join(commits)}" if commits else "none"


def model_as_json(model: ModelVersion, traces: Sequence[DataTrace]) -> ModelJson:
    """The form of `registry trace MODEL --json`."""
    return {
        **_version_as_json(model),
        "data": [
            {
                **_source_as_json(trace.source),
                "tags": trace.versions,
                "outputs": list(map(_recorded_as_json, trace.outputs)),
                "raw": list(map(_recorded_as_json, trace.raw)),
                "stale": [{"path": status.path, "why": status.why} for status in trace.stale],
            }
            for trace in traces
        ],
    }


def trained_as_json(trained: Trained | None) -> ModelsJson:
    """What the models add to the JSON of a trace: nothing where nobody was asked."""
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


def _recorded_as_json(item: RecordedData) -> RecordedJson:
    return {
        "path": item.path,
        "collection": item.collection,
        "metafile": item.address,
        "version": item.md5,
        "commit": item.commit,
    }
