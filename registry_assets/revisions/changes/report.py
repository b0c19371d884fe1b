"""Describing changed files, as shared by publications, diffs and tags."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from registry_assets.revisions.changes.committing import DecisionChange
from registry_assets.revisions.changes.image_changes import FamilyChange, ImageFlow
from registry_assets.units import count_of


def short_name(family: str) -> str:
    """The path of a family inside its data set."""
    return family.partition("/data/")[2] or family


def describe_counts(family: FamilyChange) -> str:
    """The numbers of changed images, or of other files if no image changed."""
    counts = family.images if family.images else family.others
    said = f"+{counts.added} -{counts.removed}"
    said += f" ~{counts.changed}" if counts.changed else ""
    said += f", {counts.renamed} renamed" if counts.renamed else ""
    return f"{'images' if counts is family.images or not counts else 'files'} {said}"


def describe_flow(flow: ImageFlow) -> str:
    """One line about a flow of images."""
    images = count_of(flow.images, "image")
    source, target = (name and class_name(name) for name in (flow.source, flow.target))
    return {
        "moved": f"{images} moved from {source} to {target}",
        "kept": f"{images} now in {target}, previously left out by {flow.stage}",
        "left out": f"{images} of {source} now left out by {flow.stage}",
        "made": f"{images} newly made by {flow.stage} in {target}",
        "made no more": f"{images} of {source} no longer made by {flow.stage}",
    }[flow.way]


def describe_decisions(changes: Sequence[DecisionChange]) -> Iterator[str]:
    """A line for each decision; those about duplicates come last."""
    told = [(change, change.after or change.before) for change in changes]
    for change, decision in sorted(told, key=lambda one: bool(one[1] and one[1].duplicate_of)):
        if decision is not None:
            taken_back = "" if change.after else "no longer "
            image = f"{change.collection}/{decision.path or decision.md5}"
            yield f"{image}: {taken_back}{decision}"


def class_name(family: str) -> str:
    """The name of a class: ``day_images/sharp``."""
    return short_name(family).removeprefix("outputs/")
