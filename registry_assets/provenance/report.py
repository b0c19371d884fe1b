"""What was found about a file, for people and for programs."""

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

_MOST_FILES = 3
_SHORT_COMMIT = 10


class OriginJson(TypedDict):
    """What a file was made from, and what tells so.

    Attributes:
        path: The file, from the root.
        how: What tells.
        proof: Whether it is proved by the content; otherwise names tell.
        frame: Which frame of a video it is, counted from 0; null where it is none.
        also: Other files that it may have been made from just as well.
    """

    path: str
    how: How
    proof: bool
    frame: int | None
    also: list[str]


_From = TypedDict("_From", {"from": OriginJson | None})


class StepJson(_From):
    """One file on the way.

    Attributes:
        path: The file, from the root.
        output: The output that holds it.
        file: Where in the output it is.
        md5: The content.
        version: The version of the output.
        current: Whether the output's metafile still names that version.
        stage: The stage or ``.dvc`` file that declares the output.
        asset: The key of its asset, with slashes.
        partition: Which partition of the asset; null when it has none.
        commit: Which recorded the version; null when it is not committed yet.
        run: The Dagster run that recorded it.
        run_note: Why there is no `run`; null where nobody looked.
        made_with: The programs and the machine that made the version; null where nobody knows.
        from: Where it came from; null at the end of the way.
        made_of: The outputs that its output was made of; plain files where there are none.
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
    """The way of one file back to where it came from.

    Attributes:
        collection: The raw collection it ends in; null where it ends elsewhere.
        source: The file at the end of the way.
        video: The video it is a frame of.
        frame: Which frame of that, counted from 0.
        steps: From the file back to its source.
        unread: Outputs upstream whose listings the cache lacks: what may have been in them is not
            known.
    """

    collection: str | None
    source: str
    video: str | None
    frame: int | None
    steps: list[StepJson]
    unread: tuple[str, ...]


class FormerJson(TypedDict):
    """Where an older version held a file.

    Attributes:
        path: The file, from the root; in the output only, where no commit tells which that is.
        output: The output that held it; null where no commit recorded the version.
        version: The version of the output.
        commit: The newest commit that recorded it; null where none did.
    """

    path: str
    output: str | None
    version: str
    commit: str | None


class _TraceJson(TypedDict):
    file: str
    md5: str
    chains: list[ChainJson]
    equals: list[str]
    forward: list[StepJson] | None
    former: list[FormerJson]
    unread: tuple[str, ...]
    decisions: list[DecidedJson]


class TraceJson(_TraceJson, total=False):
    """Where a file came from and went.

    Attributes:
        file: The file that was asked about.
        md5: Its content.
        chains: Each way back, the newest first.
        equals: Other raw files of the same content.
        forward: With `--forward`, every file that it is or that was made of it, upstream before
            downstream; null without.
        former: Where older versions held it, when no current one does.
        unread: Outputs whose listings the cache lacks.
        decisions: What was decided about it.
        models: The models that were trained on it; null when the server is away. With `--forward`,
            where an MLflow server is configured and its client installed.
    """

    models: list[TrainedJson] | None


def describe_trace(trace: Trace, registry: Registry) -> Iterator[str]:
    """Lines for people: each way back, newest first, and what was made of it."""
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
            also = f" (or {others} other{'s' if others > 1 else ''})" if others else ""
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
        return ", further back is not known"
    made_of = f", of {', '.join(step.made_of)}" if step.made_of else ""
    return f", made here{made_of}" if step.node.kind == "stage" else made_of


def _describe_version(step: Step) -> str:
    parts = [step.node.address or "", f"commit {(step.commit or '')[:_SHORT_COMMIT]}"]
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
    as_of = f"as of commit {newest.commit[:_SHORT_COMMIT]}"
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
    count = len(trace.forward or ())
    return (
        f"{count} file{'s' if count != 1 else ''} of {len(outputs)} "
        f"output{'s' if len(outputs) != 1 else ''}{of_datasets}"
    )


def trace_as_json(trace: Trace, trained: Trained | None = None) -> TraceJson:
    """The form of `registry trace FILE --json`.

    Args:
        trace: What was found about the file.
        trained: The models that were trained on it; None where nobody was asked.
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
        "former": [
            {
                "path": former.path,
                "output": former.output,
                "version": former.version,
                "commit": former.commit,
            }
            for former in trace.former
        ],
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
