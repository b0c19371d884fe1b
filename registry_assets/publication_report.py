"""What a publication changes, in numbers: for a commit, a pull request and a person."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from registry_assets.committing import (
    SUBJECT_WIDTH,
    DecisionChange,
    MetafileChanges,
    OutputChange,
)
from registry_assets.dvc_repo import Listings
from registry_assets.images import has_image_suffix
from registry_assets.judging import judge_cache, judge_recorded_status
from registry_assets.lineage import Lineage
from registry_assets.model import ITEM, Version
from registry_assets.translator import Key

_MOST_NAMED = 3
_MOST_LINES = 20
_LONGEST_SLUG = 40
_NOT_IN_A_BRANCH = re.compile(r"[^A-Za-z0-9._-]+|\.{2,}")


@dataclass
class Counts:
    """Files that were added, removed and changed.

    Attributes:
        unknown: How many versions have no listing on this machine, so that nothing is counted.
    """

    added: int = 0
    removed: int = 0
    changed: int = 0
    unknown: int = 0


@dataclass
class FamilyChange:
    """What changed about an output, or a family of outputs.

    Attributes:
        name: The path, without what tells the members of a family apart.
        added: Members that are new: collections, for most families.
        updated: Members that have another version.
        removed: Members that are gone.
        images: The images in them.
        others: All other files in them.
    """

    name: str
    added: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    images: Counts = field(default_factory=Counts)
    others: Counts = field(default_factory=Counts)


@dataclass(frozen=True)
class Summary:
    """What a publication changes.

    Attributes:
        raw: The collections as they were shot; None where none changed.
        datasets: By data set, its inputs and what nothing else is made of: its classes.
        assets: Every asset of which something changed, with the partitions, in the order of
            dependencies.
        checks: What the asset checks say, a line each.
        lineage: The changed part of the graph, as lines of text.
        decisions: What people decided about images, and what was left out as duplicates.
    """

    raw: FamilyChange | None
    datasets: Mapping[str, Sequence[FamilyChange]]
    assets: Mapping[str, Sequence[str]]
    checks: tuple[str, ...]
    lineage: tuple[str, ...]
    decisions: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What happens, in a line."""
        new = list(self.raw.added if self.raw else ()) or self._taken_in
        datasets = list(self.datasets)
        updated, removed = (self.raw.updated, self.raw.removed) if self.raw else ([], [])
        if new and datasets:
            named = f"Add {_named(new)} to {_named(datasets, 'data sets')}"
            counted = f"Add {_count_of(new)} to {_count_of(datasets, 'data sets')}"
            return named if len(named) <= SUBJECT_WIDTH else counted
        for verb, names in (("Add", new), ("Update", updated), ("Remove", removed)):
            if names:
                return f"{verb} {_named(names)}"
        if datasets:
            return f"Update {_named(datasets, 'data sets')}"
        count = len(self.decisions)
        images = "an image" if count == 1 else f"{count} images"
        return f"Decide about {images}" if count else "Update the registry"

    @property
    def slug(self) -> str:
        """What is in it, as a part of the name of a branch."""
        raw = self.raw
        names = (raw and (raw.added or raw.updated or raw.removed)) or self._taken_in
        text = "-".join(names or self.datasets)
        if len(names) > 1 and len(text) > _LONGEST_SLUG:
            text = f"{len(names)}-collections"
        return _NOT_IN_A_BRANCH.sub("-", text).strip("-.").removesuffix(".lock") or "registry"

    @property
    def _taken_in(self) -> list[str]:
        """What is new in data sets."""
        families = (family for changed in self.datasets.values() for family in changed)
        return list(dict.fromkeys(name for family in families for name in family.added))


def _named(names: Sequence[str], kind: str = "collections") -> str:
    said = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    is_long = len(names) > 1 and len(said) > SUBJECT_WIDTH - len("Remove ")
    return _count_of(names, kind) if is_long or len(names) > _MOST_NAMED else said


def _count_of(names: Sequence[str], kind: str = "collections") -> str:
    return names[0] if len(names) == 1 else f"{len(names)} {kind}"


def summarise(lineage: Lineage, changes: MetafileChanges, listings: Listings) -> Summary:
    """Counts what changed.

    Args:
        lineage: The graph, of the metafiles after the change.
        changes: How the metafiles changed.
        listings: Where the files of versions are looked up.
    """
    registry = lineage.registry
    families: dict[str, FamilyChange] = {}
    for change in changes.outputs:
        name = _family_of(lineage, change.path)
        family = families.setdefault(name, FamilyChange(name))
        _count(family, change, listings, _member_of(lineage, change.path))
    datasets: defaultdict[str, list[FamilyChange]] = defaultdict(list)
    for name, family in families.items():
        dataset = next((d for d in registry.datasets if d.path and _is_in(name, d.path)), None)
        if dataset is not None and (name == dataset.inputs or _is_end(lineage, name)):
            datasets[dataset.name].append(family)
    keys = [key for key in _ordered(lineage) if _path_of(lineage, key) in families]
    return Summary(
        raw=families.get(registry.raw_folder or ""),
        datasets=datasets,
        assets={
            name: _partitions(lineage, key, families[name])
            for key, name in ((key, _path_of(lineage, key)) for key in keys)
        },
        checks=tuple(_judge(lineage, keys)),
        lineage=tuple(_excerpt(lineage, keys, families)),
        decisions=tuple(_describe_decisions(changes.decisions)),
    )


def _describe_decisions(changes: Sequence[DecisionChange]) -> Iterator[str]:
    """A line for each decision, what people said before what was left out as a duplicate."""
    told = [(change, change.after or change.before) for change in changes]
    for change, decision in sorted(told, key=lambda one: bool(one[1] and one[1].duplicate_of)):
        if decision is not None:
            taken_back = "" if change.after else "not any more "
            image = f"{change.collection}/{decision.path or decision.md5}"
            yield f"{image}: {taken_back}{decision}"


def _family_of(lineage: Lineage, path: str) -> str:
    """What an output is a member of, also one that is declared no more."""
    node = lineage.nodes.get(path)
    if node is not None and node.key is not None:
        return _path_of(lineage, node.key)
    folder = str(PurePosixPath(path).parent)
    known = {_path_of(lineage, key) for key in lineage.output_of}
    return folder if folder in known or folder in lineage.registry.family_folders else path


def _path_of(lineage: Lineage, key: Key) -> str:
    return "/".join(p for p in lineage.output_of[key].path.split("/") if p != ITEM)


def _member_of(lineage: Lineage, path: str) -> str:
    node = lineage.nodes.get(path)
    return (node.partition if node else None) or PurePosixPath(path).name


def _is_in(path: str, folder: str) -> bool:
    return PurePosixPath(path).is_relative_to(folder)


def _is_end(lineage: Lineage, name: str) -> bool:
    """Whether nothing is made of a family; of one that is gone, nothing is."""
    keys = [key for key in lineage.output_of if _path_of(lineage, key) == name]
    paths = [path for key in keys for path in lineage.output_of[key].paths.values()]
    return not any(lineage.downstream_of.get(path) for path in paths)


def _count(family: FamilyChange, change: OutputChange, listings: Listings, member: str) -> None:
    kinds = (family.added, family.removed, family.updated)
    kinds[0 if change.before is None else 1 if change.after is None else 2].append(member)
    before, after = (_files_of(v, change.path, listings) for v in (change.before, change.after))
    if before is None or after is None:
        family.images.unknown += 1
        return
    for name in before.keys() | after.keys():
        counts = family.images if has_image_suffix(name) else family.others
        if name not in before:
            counts.added += 1
        elif name not in after:
            counts.removed += 1
        elif before[name] != after[name]:
            counts.changed += 1


def _files_of(version: Version | None, path: str, listings: Listings) -> Mapping[str, str] | None:
    if version is None:
        return {}
    if not version.md5.endswith(".dir"):
        return {path: version.md5}
    return listings.read(version.md5)


def _partitions(lineage: Lineage, key: Key, family: FamilyChange) -> list[str]:
    """The partitions of an asset of which something changed; none where it has no partitions."""
    if lineage.group_of[key].partitions is None:
        return []
    return sorted({*family.added, *family.updated, *family.removed})


def _ordered(lineage: Lineage) -> list[Key]:
    """The assets, each after those it is made of."""
    return [output.key for group in lineage.groups_in_order() for output in group.outputs]


def _judge(lineage: Lineage, keys: Sequence[Key]) -> Iterator[str]:
    """What the asset checks say of the assets of which something changed."""
    status = judge_recorded_status(lineage, keys)
    for name, verdicts in (
        ("matches_dvc_lock", status),
        ("in_cache", judge_cache(lineage, keys, most_hashed=0)),
    ):
        passed = sum(verdict.passed for verdict in verdicts.values())
        yield f"{name}: {passed} of {len(verdicts)} assets pass"
        for key, verdict in verdicts.items():
            if not verdict.passed:
                yield f"{name}: {_path_of(lineage, key)}: {verdict.description}"


def _excerpt(
    lineage: Lineage, keys: Sequence[Key], families: Mapping[str, FamilyChange]
) -> Iterator[str]:
    for key in keys:
        name = _path_of(lineage, key)
        names = _partitions(lineage, key, families[name])
        yield f"{name}  [{_shown(names)}]" if names else name
        for upstream in lineage.group_of[key].upstream:
            if upstream.key in lineage.output_of:
                yield f"    <- {_path_of(lineage, upstream.key)}"


def _shown(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def describe(summary: Summary) -> str:
    """The description of a pull request, in Markdown."""
    lines = []
    if summary.raw is not None:
        lines += ["## Collections", "", *_collection_lines(summary.raw), ""]
    families = [(summary.raw.name, summary.raw)] if summary.raw else []
    for dataset, changed in summary.datasets.items():
        families += [(f"{dataset}: {_short(family.name)}", family) for family in changed]
    if families:
        lines += [
            "## Images",
            "",
            "| data set and class | added | removed | changed | other files |",
            "|---|---:|---:|---:|---:|",
            *(_row(name, family) for name, family in families),
            "",
        ]
    if summary.decisions:
        lines += ["## Decisions", "", *(f"- {line}" for line in _first(summary.decisions)), ""]
    lines += ["## Checks", "", *(f"- {line}" for line in _first(summary.checks)), ""]
    if summary.lineage:
        lines += ["## Lineage", "", "```", *_first(summary.lineage, 3 * _MOST_LINES), "```", ""]
    return "\n".join(lines)


def describe_briefly(summary: Summary) -> list[str]:
    """The same for a commit message."""
    lines = list(_collection_lines(summary.raw)) if summary.raw else []
    for dataset, changed in summary.datasets.items():
        for family in changed:
            counts = family.images if any(_numbers(family.images)) else family.others
            kind = "images" if counts is family.images else "files"
            added, removed, modified = _numbers(counts)
            what = f"{kind} +{added} -{removed}" + (f" ~{modified}" if modified else "")
            lines.append(f"{dataset}, {_short(family.name)}: {what}")
    return [*lines, *_first(summary.decisions)]


def _collection_lines(raw: FamilyChange) -> Iterator[str]:
    for what, names in (("Added", raw.added), ("Updated", raw.updated), ("Removed", raw.removed)):
        if names:
            yield f"{what} {len(names)}: {', '.join(_first(names))}"


def _row(name: str, family: FamilyChange) -> str:
    images, others = family.images, family.others
    changed = f"+{others.added} -{others.removed} ~{others.changed}"
    unknown = f" ({images.unknown} versions not in the cache)" if images.unknown else ""
    return (
        f"| {name}{unknown} | {images.added} | {images.removed} | {images.changed} "
        f"| {changed if any(_numbers(others)) else ''} |"
    )


def _numbers(counts: Counts) -> tuple[int, int, int]:
    return counts.added, counts.removed, counts.changed


def _short(name: str) -> str:
    """The path inside the data set."""
    return name.partition("/data/")[2] or name


def _first(lines: Sequence[str], most: int = _MOST_LINES) -> list[str]:
    more = len(lines) - most
    return [*lines[:most], *([f"… and {more} more"] if more > 0 else [])]
