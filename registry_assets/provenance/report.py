"""What was found about a file, for people and for programs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from registry_assets.model import Registry
from registry_assets.provenance.finding import FormerPlace, Trace
from registry_assets.registry.lineage.file_lineage import Chain, Step

_MOST_FILES = 3
_SHORT_COMMIT = 10


def describe(trace: Trace, registry: Registry) -> Iterator[str]:
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
    if step.made_with is not None:
        parts.append(f"made with {step.made_with}")
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


def as_json(trace: Trace) -> dict[str, Any]:
    """The form of `registry trace --json`.

    ``{"file", "md5", "chains": [{"collection", "source", "video", "frame", "steps": [STEP, ..],
    "unread": [output, ..]}], "equals": [path, ..], "forward": null | [STEP, ..], "former":
    [{"path", "output", "version", "commit"}], "unread": [output, ..], "decisions": [{"dataset",
    "collection", "decision", "md5", "by", "why", "date", "path", "only_here", "duplicate_of"}]}``,
    where STEP is ``{"path",
    "output", "file", "md5", "version", "current": bool, "stage", "asset", "partition", "commit",
    "run", "run_note", "made_with", "from": null | {"path", "how", "proof": bool, "frame",
    "also": [path, ..]}, "made_of": [output, ..]}``. Steps of a chain go from the file back to its
    source; those of `forward` from upstream to downstream.
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
                "steps": [_step_as_json(step) for step in chain.steps],
                "unread": list(chain.unread),
            }
            for chain in trace.chains
        ],
        "equals": [place.path for place in trace.equals],
        "forward": (
            None if trace.forward is None else [_step_as_json(step) for step in trace.forward]
        ),
        "former": [
            {
                "path": former.path,
                "output": former.output,
                "version": former.version,
                "commit": former.commit,
            }
            for former in trace.former
        ],
        "unread": list(trace.unread),
        "decisions": [item.as_json() for item in trace.decided],
    }


def _step_as_json(step: Step) -> dict[str, Any]:
    origin = step.origin
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
        "from": origin
        and {
            "path": origin.place.path,
            "how": origin.how,
            "proof": origin.is_proof,
            "frame": origin.frame,
            "also": [place.path for place in origin.also],
        },
        "made_of": list(step.made_of),
    }
