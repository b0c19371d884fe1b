"""What was found about models, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from registry_assets.provenance.models.links import DataSource, ModelVersion
from registry_assets.provenance.models.tracing import DataTrace, RecordedData, TrainedOn

_MOST_FILES = 3
_SHORT_COMMIT = 10


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


def describe_trained(models: Sequence[TrainedOn]) -> Iterator[str]:
    """Lines for people: the models that were trained on a file."""
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


def model_as_json(model: ModelVersion, traces: Sequence[DataTrace]) -> dict[str, Any]:
    """The form of `registry trace MODEL --json`.

    ``{"model", "version", "stage", "aliases": [..], "run", "run_url", "url", "repository",
    "commit", "data": [{"url", "path", "commit", "version", "tags": [..], "outputs": [RECORDED, ..],
    "raw": [RECORDED, ..], "stale": [{"path", "why": [..]}]}]}``, where RECORDED is ``{"path",
    "collection", "metafile", "version", "commit"}``.
    """
    return {
        **_version_as_json(model),
        "data": [
            {
                **_source_as_json(trace.source),
                "tags": list(trace.versions),
                "outputs": list(map(_recorded_as_json, trace.outputs)),
                "raw": list(map(_recorded_as_json, trace.raw)),
                "stale": [{"path": status.path, "why": list(status.why)} for status in trace.stale],
            }
            for trace in traces
        ],
    }


def trained_as_json(models: Sequence[TrainedOn]) -> list[dict[str, Any]]:
    """What `registry trace FILE --forward --json` says under ``models``.

    ``[{"model", "version", "stage", "aliases", "run", "run_url", "url", "repository", "commit",
    "data": {"url", "path", "commit", "version", "files": [path, ..]}}]``.
    """
    return [
        {
            **_version_as_json(found.model),
            "data": {**_source_as_json(found.source), "files": list(found.files)},
        }
        for found in models
    ]


def _version_as_json(model: ModelVersion) -> dict[str, Any]:
    return {
        "model": model.name,
        "version": model.version,
        "stage": model.stage,
        "aliases": list(model.aliases),
        "run": model.run_id,
        "run_url": model.run_url,
        "url": model.url,
        "repository": model.repository,
        "commit": model.commit,
    }


def _source_as_json(source: DataSource) -> dict[str, Any]:
    return {
        "url": source.url,
        "path": source.path,
        "commit": source.rev_lock,
        "version": source.md5,
    }


def _recorded_as_json(item: RecordedData) -> dict[str, Any]:
    return {
        "path": item.path,
        "collection": item.collection,
        "metafile": item.address,
        "version": item.md5,
        "commit": item.commit,
    }
