"""The differences between two versions of the registry, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypedDict

from registry_assets.images.decisions import Decision
from registry_assets.revisions.changes.families import Role
from registry_assets.revisions.changes.image_changes import (
    Counts,
    FamilyChange,
    Flow,
    ImageChange,
)
from registry_assets.revisions.changes.report import (
    class_name,
    describe_counts,
    describe_decisions,
    describe_flow,
)
from registry_assets.revisions.versions.diffing import Diff
from registry_assets.revisions.versions.run_reasons import Reason, ReasonKind
from registry_assets.units import count_of, cut, few_of, first_of

_MOST_NAMED = 5
_MOST_DECISIONS = 20
_MOST_FILES = 100
_LONGEST_VALUE = 40


class RevisionJson(TypedDict):
    """A version of the registry.

    Attributes:
        name: The name as given; null for the work tree.
        commit: The commit; null for the work tree.
    """

    name: str | None
    commit: str | None


class FamilyJson(TypedDict):
    """Changes of an output, or of a family of outputs.

    Attributes:
        dataset: The data set; null for none.
        role: ``raw``: raw collections. ``input``: an input of a data set. ``end``: an output
            without dependents, such as a class of a data set.
        name: The path, without the name of the family member.
        added: New members; in most families, collections.
        updated: Members with another version.
        removed: Deleted members.
        images: Changed images.
        others: Other changed files.
    """

    dataset: str | None
    role: Role
    name: str
    added: list[str]
    updated: list[str]
    removed: list[str]
    images: Counts
    others: Counts


class FlowJson(TypedDict):
    """Images that changed in the same way.

    Attributes:
        dataset: The data set; null for none.
        way: ``moved``: from one class to another. ``kept``, ``left out``: by a stage whose input
            contained them before and after. ``made``, ``made no more``: by a stage.
        source: The class they were in; null if they were in none.
        target: The class they are in; null if they are in none.
        stage: The stage that caused the change, if any.
        images: Number of images.
    """

    dataset: str | None
    way: Flow
    source: str | None
    target: str | None
    stage: str | None
    images: int


class ReasonJson(TypedDict):
    """A changed parameter, code file or command of stages.

    Attributes:
        dataset: The data set; null for none.
        kind: What changed; ``command`` only if no parameter changed.
        what: The parameter with its file, the path of the code, or the stage.
        before: The old value of the parameter, md5 of the code, or command, from ``dvc.lock``.
        after: The new one.
        stages: The affected stages.
        runs: Number of affected runs; most stages run once per collection.
    """

    dataset: str | None
    kind: ReasonKind
    what: str
    before: object
    after: object
    stages: tuple[str, ...]
    runs: int


class DecisionChangeJson(TypedDict):
    """A changed decision about an image.

    Attributes:
        dataset: The data set; null for none.
        file: The decisions file.
        collection: The collection of the image.
        before: The old decision; null if there was none.
        after: The new decision; null if there is none.
    """

    dataset: str | None
    file: str
    collection: str
    before: Decision | None
    after: Decision | None


_From = TypedDict("_From", {"from": RevisionJson})


class _DiffJson(_From):
    to: RevisionJson
    families: list[FamilyJson]
    flows: list[FlowJson]
    reasons: list[ReasonJson]
    decisions: list[DecisionChangeJson]
    unread: tuple[str, ...]


class DiffJson(_DiffJson, total=False):
    """The differences between two versions of the registry.

    Attributes:
        from: The first version.
        to: The second version.
        families: Changed outputs and families, inputs before outputs.
        flows: Images that changed in the same way.
        reasons: Changed parameters, code and commands.
        decisions: Changed decisions about single images.
        unread: Outputs whose listings are missing.
        files: Every changed file, by path. With `--files`.
    """

    files: list[ImageChange]


def describe_diff(diff: Diff) -> Iterator[str]:
    """Describe the differences, by data set."""
    yield f"from {diff.before} to {diff.after}"
    if not diff.data.families:
        yield "no data differs" + (", except intermediate outputs" if diff.changes else "")
    for dataset in dict.fromkeys((None, *_datasets(diff))):
        indent = "" if dataset is None else "  "
        lines = [f"{indent}{line}" for line in _describe_dataset(diff, dataset)]
        yield from [dataset, *lines] if dataset is not None else lines


def describe_changes(diff: Diff) -> Iterator[str]:
    """Describe the differences of all data sets, without headings."""
    for dataset in _datasets(diff):
        yield from _describe_dataset(diff, dataset)


def _datasets(diff: Diff) -> list[str | None]:
    """The data sets with differences."""
    found = {diff.data.places[name].dataset for name in diff.data.families}
    return sorted({*found, *diff.reasons, *diff.decisions}, key=str)


def _describe_dataset(diff: Diff, dataset: str | None) -> Iterator[str]:
    families = [f for f in _in_order(diff) if diff.data.places[f.name].dataset == dataset]
    names = [f.name if dataset is None else class_name(f.name) for f in families]
    width = max(map(len, names), default=0)
    for name, family in zip(names, families, strict=True):
        yield f"{name:<{width}}  {_describe_family(diff, family)}"
    yield from map(describe_flow, diff.data.flows.get(dataset, ()))
    for reason in diff.reasons.get(dataset, ()):
        yield f"changed: {_describe_reason(reason, dataset)}"
    decided = list(describe_decisions(diff.decisions.get(dataset, ())))
    shown = first_of(decided, _MOST_DECISIONS)
    yield from (f"decided: {line}" for line in shown)
    if len(decided) > len(shown):
        yield f"decided: … and {count_of(len(decided) - len(shown), 'more image')}"


def _in_order(diff: Diff) -> list[FamilyChange]:
    """The families, inputs before outputs."""
    roles = ("raw", "input", "between", "end")
    places = diff.data.places
    return sorted(
        diff.data.families.values(), key=lambda f: (roles.index(places[f.name].role), f.name)
    )


def _describe_family(diff: Diff, family: FamilyChange) -> str:
    """Describe the changes of a family: numbers of files; for collections, also their names."""
    said = describe_counts(family)
    if diff.data.places[family.name].role in ("raw", "input"):
        members = (
            ("added", family.added),
            ("updated", family.updated),
            ("removed", family.removed),
        )
        named = [f"{few_of(names, _MOST_NAMED)} {verb}" for verb, names in members if names]
        said = f"{said}  ({'; '.join(named)})"
    if family.images and family.others:
        others = family.others
        said += f"  other files +{others.added} -{others.removed} ~{others.changed}"
    unknown = family.images.unknown
    return said + (
        f"  not counted: {count_of(unknown, 'version')} without a listing" * bool(unknown)
    )


def _describe_reason(reason: Reason, dataset: str | None) -> str:
    where = f"{few_of(reason.stages, _MOST_NAMED)}, {count_of(reason.runs, 'run')}"
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
    return cut(said, _LONGEST_VALUE)


def describe_files(files: Sequence[ImageChange], most: int | None = None) -> Iterator[str]:
    """A line for each of the first `most` files; 0 for all, None for 100 at a terminal."""
    listed = sorted(files, key=lambda file: file.path)
    shown = listed[: most or None] if most is not None else first_of(listed, _MOST_FILES)
    for file in shown:
        former = f"{file.before} -> " if file.before else ""
        why = f"  ({_decided(file)})" if file.stage else ""
        yield f"{file.kind:<8} {former}{file.path}{why}"
    if len(listed) > len(shown):
        yield f"… and {count_of(len(listed) - len(shown), 'more file')}: `--most 0` lists all"


def _decided(file: ImageChange) -> str:
    if file.kind == "added":
        return f"{'kept' if file.had_it else 'made'} by {file.stage}"
    return f"left out by {file.stage}" if file.had_it else f"no longer made by {file.stage}"


def diff_as_json(diff: Diff, *, files: bool) -> DiffJson:
    """The JSON of `registry diff --json`."""
    said: DiffJson = {
        "from": {"name": diff.before.name, "commit": diff.before.commit},
        "to": {"name": diff.after.name, "commit": diff.after.commit},
        "families": [_family_as_json(diff, family) for family in _in_order(diff)],
        "flows": [
            {
                "dataset": dataset,
                "way": flow.way,
                "source": flow.source,
                "target": flow.target,
                "stage": flow.stage,
                "images": flow.images,
            }
            for dataset, flows in diff.data.flows.items()
            for flow in flows
        ],
        "reasons": [
            {
                "dataset": dataset,
                "kind": reason.kind,
                "what": reason.what,
                "before": reason.before,
                "after": reason.after,
                "stages": reason.stages,
                "runs": reason.runs,
            }
            for dataset, reasons in diff.reasons.items()
            for reason in reasons
        ],
        "decisions": [
            {
                "dataset": dataset,
                "file": change.file,
                "collection": change.collection,
                "before": change.before,
                "after": change.after,
            }
            for dataset, changes in diff.decisions.items()
            for change in changes
        ],
        "unread": diff.data.unread,
    }
    if files:
        said["files"] = sorted(diff.data.files, key=lambda file: file.path)
    return said


def _family_as_json(diff: Diff, family: FamilyChange) -> FamilyJson:
    place = diff.data.places[family.name]
    return {
        "dataset": place.dataset,
        "role": place.role,
        "name": family.name,
        "added": family.added,
        "updated": family.updated,
        "removed": family.removed,
        "images": family.images,
        "others": family.others,
    }
