"""What somebody does next, once a collection was recorded, taken in, or moved on to a version."""

from __future__ import annotations

from collections.abc import Collection

from registry_assets.registry.lineage.graph import Lineage
from registry_assets.registry.lineage.taking_in import is_taken_in
from registry_assets.registry.status.imports import behind_here
from registry_assets.units import few_of

_PUBLISH = "`registry publish` shares it"


def after_adding(lineage: Lineage, name: str) -> str:
    """The next step for a collection of which a version was recorded.

    A data set that has it moves on; the others take it in, as far as their `take_in` wants it.
    """
    registry = lineage.registry
    datasets = [dataset for dataset in registry.datasets if dataset.inputs is not None]
    having = [dataset for dataset in datasets if is_taken_in(registry, dataset, name)]
    wanting = [d.name for d in datasets if d not in having and d.take_in.wants(name)]
    steps = []
    if any(_is_behind(lineage, f"{dataset.inputs}/{name}") for dataset in having):
        steps.append(f"`registry update {name}` moves {few_of([d.name for d in having])} on to it")
    if wanting:
        into = wanting[0] if len(wanting) == 1 else "DATASET"
        which = "" if len(wanting) == 1 else f" ({few_of(wanting)})"
        steps.append(f"`registry import {name} --into {into}` takes it into a data set{which}")
    return _say(*steps, _PUBLISH)


def after_taking_in(lineage: Lineage, paths: Collection[str]) -> str:
    """The next step for imports that were made, or moved on to another version."""
    made_of_it = lineage.with_all_downstream(paths).difference(paths)
    if not made_of_it:
        return _say(_PUBLISH)
    outputs = "1 output" if len(made_of_it) == 1 else f"{len(made_of_it)} outputs"
    return _say(f"`registry materialize` makes {outputs} of it", _PUBLISH)


def _is_behind(lineage: Lineage, path: str) -> bool:
    imported = lineage.registry.import_of.get(path)
    # What another repository has first needs a commit.
    return (
        imported is not None
        and imported.repository is None
        and behind_here(lineage.registry, imported) is not None
    )


def _say(*steps: str) -> str:
    return f"Next: {', '.join(steps)}"
