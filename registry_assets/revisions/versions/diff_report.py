"""How two versions of a registry differ, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from registry_assets.revisions.changes.image_changes import FamilyChange, ImageChange
from registry_assets.revisions.changes.report import (
    class_name,
    count,
    tell_counts,
    tell_decisions,
    tell_flow,
)
from registry_assets.revisions.versions.diffing import Diff
from registry_assets.revisions.versions.run_reasons import Reason

_MOST_NAMED = 5
_MOST_DECISIONS = 20
_LONGEST_VALUE = 40


def describe(diff: Diff) -> Iterator[str]:
    """Lines for people: families in numbers, images that went the same way, and what changed."""
    yield f"from {diff.before} to {diff.after}"
    if not diff.data.families:
        yield "no data differs" + (", but for what stages pass on" if diff.changes else "")
    for dataset in dict.fromkeys((None, *_datasets(diff))):
        indent = "" if dataset is None else "  "
        lines = [f"{indent}{line}" for line in _describe_dataset(diff, dataset)]
        yield from [dataset, *lines] if dataset is not None else lines


def describe_changes(diff: Diff) -> Iterator[str]:
    """The same lines, of whatever data set, without saying which."""
    for dataset in _datasets(diff):
        yield from _describe_dataset(diff, dataset)


def _datasets(diff: Diff) -> list[str | None]:
    """The data sets of which there is something to say."""
    found = {diff.data.places[name].dataset for name in diff.data.families}
    return sorted({*found, *diff.reasons, *diff.decisions}, key=str)


def _describe_dataset(diff: Diff, dataset: str | None) -> Iterator[str]:
    families = [f for f in _in_order(diff) if diff.data.places[f.name].dataset == dataset]
    names = [f.name if dataset is None else class_name(f.name) for f in families]
    width = max(map(len, names), default=0)
    for name, family in zip(names, families, strict=True):
        yield f"{name:<{width}}  {_tell(diff, family)}"
    yield from map(tell_flow, diff.data.flows.get(dataset, ()))
    for reason in diff.reasons.get(dataset, ()):
        yield f"changed: {_tell_reason(reason, dataset)}"
    decided = list(tell_decisions(diff.decisions.get(dataset, ())))
    yield from (f"decided: {line}" for line in decided[:_MOST_DECISIONS])
    if len(decided) > _MOST_DECISIONS:
        yield f"decided: … and {count(len(decided) - _MOST_DECISIONS, 'more image')}"


def _in_order(diff: Diff) -> list[FamilyChange]:
    """The families, what was put in before what came out."""
    roles = ("raw", "input", "between", "end")
    places = diff.data.places
    return sorted(
        diff.data.families.values(), key=lambda f: (roles.index(places[f.name].role), f.name)
    )


def _tell(diff: Diff, family: FamilyChange) -> str:
    """What changed about a family: its members where they are collections, and files in numbers."""
    said = tell_counts(family)
    if diff.data.places[family.name].role in ("raw", "input"):
        members = (
            ("added", family.added),
            ("updated", family.updated),
            ("removed", family.removed),
        )
        named = [f"{_named(names)} {verb}" for verb, names in members if names]
        said = f"{said}  ({'; '.join(named)})"
    if family.images and family.others:
        others = family.others
        said += f"  other files +{others.added} -{others.removed} ~{others.changed}"
    unknown = family.images.unknown
    return said + (f"  not counted: {count(unknown, 'version')} without a listing" * bool(unknown))


def _named(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _tell_reason(reason: Reason, dataset: str | None) -> str:
    where = f"{_named(reason.stages)}, {count(reason.runs, 'run')}"
    what = reason.what.partition(f"/{dataset}/")[2] or reason.what
    if reason.kind == "parameter":
        values = [_shown(value) for value in (reason.before, reason.after)]
        return f"{what} {values[0]} -> {values[1]}  ({where})"
    if reason.kind == "command":
        return f"the command of {what}  ({where})"
    how = " is new" if reason.before is None else " is gone" if reason.after is None else ""
    return f"{what}{how}  ({where})"


def _shown(value: object) -> str:
    said = "nothing" if value is None else str(value)
    return said if len(said) <= _LONGEST_VALUE else f"{said[: _LONGEST_VALUE - 1]}…"


def describe_files(files: Sequence[ImageChange], most: int) -> Iterator[str]:
    """A line for each file, up to so many; 0 for all."""
    listed = sorted(files, key=lambda file: file.path)
    shown = listed if most == 0 else listed[:most]
    for file in shown:
        former = f"{file.before} -> " if file.before else ""
        why = f"  ({_decided(file)})" if file.stage else ""
        yield f"{file.kind:<8} {former}{file.path}{why}"
    if len(listed) > len(shown):
        yield f"… and {count(len(listed) - len(shown), 'more file')}: `--most 0` lists all"


def _decided(file: ImageChange) -> str:
    if file.kind == "added":
        return f"{'kept' if file.had_it else 'made'} by {file.stage}"
    return f"left out by {file.stage}" if file.had_it else f"{file.stage} makes it no more"


def as_json(diff: Diff, *, files: bool) -> dict[str, Any]:
    """The form of `registry diff --json`."""
    data = diff.data
    said: dict[str, Any] = {
        "from": {"name": diff.before.name, "commit": diff.before.commit},
        "to": {"name": diff.after.name, "commit": diff.after.commit},
        "families": [
            {
                "dataset": data.places[family.name].dataset,
                "role": data.places[family.name].role,
                **asdict(family),
            }
            for family in _in_order(diff)
        ],
        "flows": [
            {"dataset": dataset, **asdict(flow)}
            for dataset, flows in data.flows.items()
            for flow in flows
        ],
        "reasons": [
            {"dataset": dataset, **asdict(reason)}
            for dataset, reasons in diff.reasons.items()
            for reason in reasons
        ],
        "decisions": [
            {"dataset": dataset, **asdict(change)}
            for dataset, changes in diff.decisions.items()
            for change in changes
        ],
        "unread": list(data.unread),
    }
    if files:
        said["files"] = [asdict(file) for file in sorted(data.files, key=lambda file: file.path)]
    return said
