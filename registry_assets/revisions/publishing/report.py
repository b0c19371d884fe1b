"""A summary of the changes of a publication, for commit messages and pull requests."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from registry_assets.dvc_repo import Listings
from registry_assets.registry.lineage.graph import Lineage
from registry_assets.registry.status.check_results import check_cache, check_recorded_status
from registry_assets.registry.translator import Key
from registry_assets.revisions.changes.committing import SUBJECT_WIDTH, MetafileChanges
from registry_assets.revisions.changes.families import Families, family_path
from registry_assets.revisions.changes.image_changes import FamilyChange, ImageFlow
from registry_assets.revisions.changes.reading import read_data_changes
from registry_assets.revisions.changes.report import (
    describe_counts,
    describe_decisions,
    describe_flow,
    short_name,
)
from registry_assets.units import few_of

_MOST_NAMED = 3
_MOST_LINES = 20
_LONGEST_SLUG = 40
_NOT_IN_A_BRANCH = re.compile(r"[^A-Za-z0-9._-]+|\.{2,}")


@dataclass(frozen=True)
class Summary:
    """A summary of the changes of a publication.

    Attributes:
        raw: Changes of the raw collections; None if there are none.
        datasets: Changes by data set: its inputs, and its outputs without dependents (classes).
        flows: Images that changed in the same way, by data set.
        assets: The changed assets with their changed partitions, upstream first.
        checks: The results of the asset checks, as lines of text.
        lineage: The changed part of the graph, as lines of text.
        decisions: Decisions about images, as lines of text.
        taken_in: Collections that were imported into data sets, by data set.
        taken_out: Collections that were removed from data sets, by data set.
        made_with: Edited files that are published along with results; no metafiles.
        totals: What each changed data set keeps and leaves out, as lines of text.
    """

    raw: FamilyChange | None
    datasets: Mapping[str, Sequence[FamilyChange]]
    flows: Mapping[str, Sequence[ImageFlow]]
    assets: Mapping[str, Sequence[str]]
    checks: tuple[str, ...]
    lineage: tuple[str, ...]
    decisions: tuple[str, ...] = ()
    taken_in: Mapping[str, Sequence[str]] = field(default_factory=dict)
    taken_out: Mapping[str, Sequence[str]] = field(default_factory=dict)
    made_with: tuple[str, ...] = ()
    totals: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The title of the pull request."""
        raw = self.raw or FamilyChange("")
        new = [*raw.added] or self._taken_in
        # Only data sets that imported all new collections.
        into = [dataset for dataset, names in self.taken_in.items() if {*new} <= {*names}]
        if new and into:
            said = f"Add {_named(new)} to {_named(into, 'data sets')}"
            counted = f"Add {_count_of(new)} to {_count_of(into, 'data sets')}"
            return said if len(said) <= SUBJECT_WIDTH else counted
        for verb, named in (("Add", raw.added), ("Update", raw.updated), ("Remove", raw.removed)):
            if named:
                return f"{verb} {_named(named)}"
        if len(self.datasets) == 1 and not new:
            for dataset, gone in self.taken_out.items():
                return f"Remove {_named(gone)} from {dataset}"
        if self.datasets:
            return f"Update {_named([*self.datasets], 'data sets')}"
        count = len(self.decisions)
        images = "an image" if count == 1 else f"{count} images"
        return f"Decide about {images}" if count else "Update the registry"

    @property
    def slug(self) -> str:
        """The content, as part of a branch name."""
        raw = self.raw
        names = (raw and (raw.added or raw.updated or raw.removed)) or self._taken_in
        text = "-".join(names or self.datasets)
        if len(names) > 1 and len(text) > _LONGEST_SLUG:
            text = f"{len(names)}-collections"
        return _NOT_IN_A_BRANCH.sub("-", text).strip("-.").removesuffix(".lock") or "registry"

    @property
    def _taken_in(self) -> list[str]:
        """All collections that are new in any data set."""
        return list(dict.fromkeys(name for names in self.taken_in.values() for name in names))


def _named(names: Sequence[str], kind: str = "collections") -> str:
    said = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    is_long = len(names) > 1 and len(said) > SUBJECT_WIDTH - len("Remove ")
    return _count_of(names, kind) if is_long or len(names) > _MOST_NAMED else said


def _count_of(names: Sequence[str], kind: str = "collections") -> str:
    return names[0] if len(names) == 1 else f"{len(names)} {kind}"


def _entering(
    lineage: Lineage, dataset: str, changed: Sequence[FamilyChange]
) -> Sequence[FamilyChange]:
    """The families whose members are the collections of a data set: its inputs, if it has any."""
    folders = {found.inputs for found in lineage.registry.datasets if found.name == dataset}
    inputs = [family for family in changed if family.name in folders]
    return changed if folders <= {None} else inputs


def _names(lists: Iterable[Sequence[str]]) -> list[str]:
    return list(dict.fromkeys(name for names in lists for name in names))


def summarise(
    lineage: Lineage, changes: MetafileChanges, listings: Listings, made_with: Sequence[str] = ()
) -> Summary:
    """Summarise changes.

    Args:
        lineage: The graph after the changes.
        changes: The changes of the metafiles.
        listings: Reads the listings.
        made_with: Edited files that are published along with results.
    """
    families = Families([lineage])
    found = read_data_changes(changes, families, listings)
    members: defaultdict[str, set[str]] = defaultdict(set)
    for change in changes.outputs:
        place = families.place(change.path)
        members[place.family].add(place.member)
    keys = [key for key in _ordered(lineage) if family_path(lineage, key) in members]
    entering = {
        dataset: _entering(lineage, dataset, changed) for dataset, changed in found.datasets.items()
    }
    return Summary(
        raw=found.raw,
        datasets=found.datasets,
        taken_in={
            dataset: names
            for dataset, some in entering.items()
            if (names := _names(family.added for family in some))
        },
        taken_out={
            dataset: names
            for dataset, some in entering.items()
            if (names := _names(family.removed for family in some))
        },
        made_with=tuple(made_with),
        flows={name: found.flows.get(name, ()) for name in found.datasets},
        assets={
            family_path(lineage, key): _partitions(lineage, key, members[family_path(lineage, key)])
            for key in keys
        },
        checks=tuple(_check(lineage, keys)),
        lineage=tuple(_excerpt(lineage, keys, members)),
        decisions=tuple(describe_decisions(changes.decisions)),
    )


def _partitions(lineage: Lineage, key: Key, members: Collection[str]) -> list[str]:
    """The changed partitions of an asset; empty if it is not partitioned."""
    return [] if lineage.group_of[key].partitions is None else sorted(members)


def _ordered(lineage: Lineage) -> list[Key]:
    """All assets, upstream first."""
    return [output.key for group in lineage.groups_in_order() for output in group.outputs]


def _check(lineage: Lineage, keys: Sequence[Key]) -> Iterator[str]:
    """The results of the asset checks of the changed assets."""
    status = check_recorded_status(lineage, keys)
    for name, results in (
        ("matches_dvc_lock", status),
        ("in_cache", check_cache(lineage, keys, most_hashed=0)),
    ):
        passed = sum(verdict.passed for verdict in results.values())
        yield f"{name}: {passed} of {len(results)} assets pass"
        for key, verdict in results.items():
            if not verdict.passed:
                yield f"{name}: {family_path(lineage, key)}: {verdict.description}"


def _excerpt(
    lineage: Lineage, keys: Sequence[Key], members: Mapping[str, Collection[str]]
) -> Iterator[str]:
    for key in keys:
        name = family_path(lineage, key)
        names = _partitions(lineage, key, members[name])
        yield f"{name}  [{few_of(names, _MOST_NAMED)}]" if names else name
        for upstream in lineage.group_of[key].upstream:
            if upstream.key in lineage.output_of:
                yield f"    <- {family_path(lineage, upstream.key)}"


def describe_summary(summary: Summary) -> str:
    """The description of a pull request, in Markdown."""
    lines = []
    if summary.raw is not None:
        lines += ["## Collections", "", *_collection_lines(summary.raw), ""]
    families = [(summary.raw.name, summary.raw)] if summary.raw else []
    for dataset, changed in summary.datasets.items():
        families += [(f"{dataset}: {short_name(family.name)}", family) for family in changed]
    if families:
        lines += [
            "## Images",
            "",
            "| data set and class | added | removed | changed | renamed | other files |",
            "|---|---:|---:|---:|---:|---:|",
            *(_row(name, family) for name, family in families),
            "",
        ]
        said = [
            f"- {name}: {said}" for name, flow in _flows(summary) for said in [describe_flow(flow)]
        ]
        lines += [*_first(said), ""] if said else []
    if summary.totals:
        lines += ["## Kept and left out", "", *(f"- {line}" for line in _first(summary.totals)), ""]
    if summary.decisions:
        lines += ["## Decisions", "", *(f"- {line}" for line in _first(summary.decisions)), ""]
    if summary.made_with:
        lines += [
            "## Made with",
            "",
            "Edited dependencies of stages, published with the results:",
            "",
        ]
        lines += [*(f"- `{path}`" for path in _first(summary.made_with)), ""]
    lines += ["## Checks", "", *(f"- {line}" for line in _first(summary.checks)), ""]
    if summary.lineage:
        lines += ["## Lineage", "", "```", *_first(summary.lineage, 3 * _MOST_LINES), "```", ""]
    return "\n".join(lines)


def describe_briefly(summary: Summary) -> list[str]:
    """The body of a commit message."""
    lines = list(_collection_lines(summary.raw)) if summary.raw else []
    for dataset, changed in summary.datasets.items():
        for family in changed:
            lines.append(f"{dataset}, {short_name(family.name)}: {describe_counts(family)}")
    lines += [f"{dataset}: {describe_flow(flow)}" for dataset, flow in _flows(summary)]
    made_with = [f"Made with {', '.join(summary.made_with)}"] if summary.made_with else []
    return [*lines, *_first(summary.decisions), *made_with]


def _collection_lines(raw: FamilyChange) -> Iterator[str]:
    for what, names in (("Added", raw.added), ("Updated", raw.updated), ("Removed", raw.removed)):
        if names:
            yield f"{what} {len(names)}: {', '.join(_first(names))}"


def _flows(summary: Summary) -> list[tuple[str, ImageFlow]]:
    return [(dataset, flow) for dataset, flows in summary.flows.items() for flow in flows]


def _row(name: str, family: FamilyChange) -> str:
    images, others = family.images, family.others
    changed = f"+{others.added} -{others.removed} ~{others.changed}"
    unknown = f" ({images.unknown} versions not in the cache)" if images.unknown else ""
    return (
        f"| {name}{unknown} | {images.added} | {images.removed} | {images.changed} "
        f"| {images.renamed} | {changed if others else ''} |"
    )


def _first(lines: Sequence[str], most: int = _MOST_LINES) -> list[str]:
    more = len(lines) - most
    return [*lines[:most], *([f"… and {more} more"] if more > 0 else [])]
