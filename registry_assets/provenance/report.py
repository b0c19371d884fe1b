"""The trace of a file, as text and as JSON."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import groupby
from typing import TypedDict

from registry_assets.model import Registry
from registry_assets.provenance.finding import FormerPlace, Trace
from registry_assets.provenance.models.report import TrainedJson, trained_as_json
from registry_assets.provenance.models.tracing import Trained
from registry_assets.registry.decisions import DecidedJson, decided_as_json
from registry_assets.registry.lineage.derivation import How, Origin
from registry_assets.registry.lineage.file_lineage import Chain, Step
from registry_assets.revisions.changes.revisions import SHORT_COMMIT
from registry_assets.units import count_of

_MOST_FILES = 3


class OriginJson(TypedDict):
    """The upstream file that a file was made from.

    Attributes:
        path: The upstream file, from the root.
        how: The rule that found it.
        proof: Whether the content proves it; otherwise it is a guess by name.
        frame: The number of the frame in the video, counted from 0; null for other files.
        also: Other candidates that match equally well.
    """

    path: str
    how: How
    proof: bool
    frame: int | None
    also: list[str]


_From = TypedDict("_From", {"from": OriginJson | None})


class StepJson(_From):
    """One file of a chain.

    Attributes:
        path: The file, from the root.
        output: The output that contains it.
        file: The path inside the output.
        md5: The content.
        version: The version of the output.
        current: Whether the metafile still records this version of the output.
        stage: The stage or ``.dvc`` file that declares the output.
        asset: The key of its asset, with slashes.
        partition: The partition of that asset; null when it is not partitioned.
        commit: The commit that recorded the version; null when it is not committed yet.
        run: The Dagster run that recorded the version.
        run_note: Why `run` is unknown; null if nobody looked.
        made_with: The programs and the machine that made the version, if known.
        from: The upstream file that it was made from; null at the end of the chain.
        made_of: The dependencies of the output; plain files only if there are no others.
    """

    path: str
    output: str
    file: str
    md5: str
    version: str
    current: bool
    stage: str | None
    asset: str
    partition: str | None
    commit: str | None
    run: str | None
    run_note: str | None
    made_with: str | None
    made_of: tuple[str, ...]


class ChainJson(TypedDict):
    """One file traced upstream to its source.

    Attributes:
        collection: The collection of the source; null if it is in none.
        source: The file at the end of the chain.
        video: The path of the video, for a frame of a video.
        frame: The number of the frame, counted from 0.
        steps: The file itself first, its source last.
        unread: Upstream outputs that could not be searched because the cache lacks their listing.
    """

    collection: str | None
    source: str
    video: str | None
    frame: int | None
    steps: list[StepJson]
    unread: tuple[str, ...]


class _TraceJson(TypedDict):
    file: str
    md5: str
    chains: list[ChainJson]
    equals: list[str]
    forward: list[StepJson] | None
    former: tuple[FormerPlace, ...]
    unread: tuple[str, ...]
    decisions: list[DecidedJson]


class TraceJson(_TraceJson, total=False):
    """The trace of a file.

    Attributes:
        file: The file as given.
        md5: The content.
        chains: The chains upstream, the most downstream file first.
        equals: Other files with the same content that have no upstream file.
        forward: With `--forward`, every file with the content and every file derived from it,
            upstream first; otherwise null.
        former: Former places, if no current version contains the file.
        unread: Outputs that could not be searched because the cache lacks their listing.
        decisions: Decisions about the content.
        models: The models that were trained on it; null when the server does not answer. With
            `--forward`, if an MLflow server is configured and its client installed.
    """

    models: list[TrainedJson] | None


def describe_trace(trace: Trace, registry: Registry) -> Iterator[str]:
    """Describe a trace: the chains upstream, then all files downstream."""
    for chain in trace.chains:
        yield from _describe_chain(chain, registry)
        yield ""
    if trace.decided:
        yield from map(str, trace.decided)
        yield ""
    if trace.equals:
        yield "equal files elsewhere:"
        yield from (f"    {place.path}" for place in trace.equals)
        yield ""
    if trace.former:
        yield f"{trace.file} is in no current version; it was in"
        versions: defaultdict[str, list[FormerPlace]] = defaultdict(list)
        for former in trace.former:
            versions[former.path].append(former)
        yield from (f"    {_describe_former(*of_path)}" for of_path in versions.values())
    if trace.forward is not None:
        yield f"went to {_count(trace, registry)}:"
        for output, steps in groupby(trace.forward, key=lambda step: step.place.output):
            yield from _describe_files(output, list(steps))


def _describe_chain(chain: Chain, registry: Registry) -> Iterator[str]:
    arrow = ""
    for step in chain.steps:
        yield f"{arrow}{step.place.path}"
        yield f"    {_describe_version(step)}"
        if step.made_with is not None:
            # Programs, then the machine: too much for the line of the version, or for one.
            programs, *machine = step.made_with.split("; ")
            yield from (f"        {part}" for part in (f"made with {programs}", *machine))
        if step.origin is not None:
            others = len(step.origin.also)
            also = f" (or {count_of(others, 'other')})" if others else ""
            arrow = f"<- {step.origin}{also}: "
    where = chain.source.place.path
    frame = "" if chain.frame is None else f", frame {chain.frame}"
    collection = "" if chain.collection is None else f"collection {chain.collection}: "
    yield f"= {collection}{where}{frame}{_why_no_further(chain, registry)}"


def _why_no_further(chain: Chain, registry: Registry) -> str:
    step = chain.source
    imported = registry.import_of.get(step.place.output)
    if step.node.kind == "raw":
        return ""
    if imported is not None and imported.repository is not None:
        return f", imported from {imported.repository} at {imported.revision or 'no revision'}"
    if chain.unread:
        return ", further upstream unknown"
    made_of = f", of {', '.join(step.made_of)}" if step.made_of else ""
    return f", made here{made_of}" if step.node.kind == "stage" else made_of


def _describe_version(step: Step) -> str:
    parts = [step.node.address or "", f"commit {(step.commit or '')[:SHORT_COMMIT]}"]
    if step.commit is None:
        parts[1] = "not committed yet" if step.is_current else "an older version"
    elif not step.is_current:
        parts[1] = f"an older version, {parts[1]}"
    if step.run is not None or step.run_note is not None:
        parts.append(f"run {step.run}" if step.run else str(step.run_note))
    return ", ".join(parts)


def _describe_former(newest: FormerPlace, *older: FormerPlace) -> str:
    more = f", and in {len(older)} older" if older else ""
    if newest.commit is None:
        return f"{newest.path}, in a version {newest.version} that no commit records{more}"
    as_of = f"as of commit {newest.commit[:SHORT_COMMIT]}"
    return f"{newest.path} {as_of}{more}, not in the current version"


def _describe_files(output: str, steps: list[Step]) -> Iterator[str]:
    if len(steps) <= _MOST_FILES:
        for step in steps:
            yield f"    {step.place.path}{_how(step)}"
        return
    yield f"    {output}: {len(steps)} files, from {steps[0].place.file} to {steps[-1].place.file}"


def _how(step: Step) -> str:
    if step.origin is None or step.origin.is_proof:
        return ""
    return f"  ({step.origin} {step.origin.place.path})"


def _count(trace: Trace, registry: Registry) -> str:
    outputs = {step.place.output for step in trace.forward or ()}
    datasets = {
        dataset.path
        for dataset in registry.datasets
        if dataset.path and any(path.startswith(f"{dataset.path}/") for path in outputs)
    }
    of_datasets = f", data sets {', '.join(sorted(datasets))}" if datasets else ""
    files = count_of(len(trace.forward or ()), "file")
    return f"{files} of {count_of(len(outputs), 'output')}{of_datasets}"


def trace_as_json(trace: Trace, trained: Trained | None = None) -> TraceJson:
    """The JSON of `registry trace FILE --json`.

    Args:
        trace: The trace of the file.
        trained: The models that were trained on it; None if not asked for.
    """
    return {
        "file": trace.file,
        "md5": trace.md5,
        "chains": [
            {
                "collection": chain.collection,
                "source": chain.source.place.path,
                "video": chain.video,
                "frame": chain.frame,
                "steps": list(map(_step_as_json, chain.steps)),
                "unread": chain.unread,
            }
            for chain in trace.chains
        ],
        "equals": [place.path for place in trace.equals],
        "forward": None if trace.forward is None else list(map(_step_as_json, trace.forward)),
        "former": trace.former,
        "unread": trace.unread,
        "decisions": list(map(decided_as_json, trace.decided)),
        **trained_as_json(trained),
    }


def _step_as_json(step: Step) -> StepJson:
    return {
        "path": step.place.path,
        "output": step.place.output,
        "file": step.place.file,
        "md5": step.place.md5,
        "version": step.place.version,
        "current": step.is_current,
        "stage": step.node.address,
        "asset": "/".join(step.node.key or ()),
        "partition": step.node.partition,
        "commit": step.commit,
        "run": step.run,
        "run_note": step.run_note,
        "made_with": step.made_with,
        "from": None if step.origin is None else _origin_as_json(step.origin),
        "made_of": step.made_of,
    }


def _origin_as_json(origin: Origin) -> OriginJson:
    return {
        "path": origin.place.path,
        "how": origin.how,
        "proof": origin.is_proof,
        "frame": origin.frame,
        "also": [place.path for place in origin.also],
    }
