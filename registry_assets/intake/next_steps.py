"""Next steps after `registry add`, `import` and `update`."""

from __future__ import annotations

from collections.abc import Collection

from registry_assets.registry.lineage.graph import Lineage
from registry_assets.registry.lineage.taking_in import is_taken_in
from registry_assets.registry.status.imports import behind_here
from registry_assets.units import few_of

_PUBLISH = "`registry publish` shares it"


def after_adding(lineage: Lineage, name: str) -> str:
    """The next step after a version of a collection was recorded.

    Data sets that have the collection are updated; others import it if their `take_in` matches.
    """
    registry = lineage.registry
    datasets = [dataset for dataset in registry.datasets if dataset.inputs is not None]
    having = [dataset for dataset in datasets if is_taken_in(registry, dataset, name)]
    wanting = [d.name for d in datasets if d not in having and d.take_in.wants(name)]
    steps = []
    if any(_is_behind(lineage, f"{dataset.inputs}/{name}") for dataset in having):
        steps.append(f"`registry update {name}` updates it in {few_of([d.name for d in having])}")
    if wanting:
        into = wanting[0] if len(wanting) == 1 else "DATASET"
        which = "" if len(wanting) == 1 else f" ({few_of(wanting)})"
        steps.append(f"`registry import {name} --into {into}` imports it into a data set{which}")
    return _say(*steps, _PUBLISH)


def after_taking_in(lineage: Lineage, paths: Collection[str]) -> str:
    """The next step after imports were made or updated."""
    made_of_it = lineage.with_all_downstream(paths).difference(paths)
    if not made_of_it:
        return _say(_PUBLISH)
    outputs = "1 output" if len(made_of_it) == 1 else f"{len(made_of_it)} outputs"
    return _say(f"`registry materialize` makes {outputs} from it", _PUBLISH)


def _is_behind(lineage: Lineage, path: str) -> bool:
    imported = lineage.registry.import_of.get(path)
    # Imports from another repository follow its commits, not this workspace.
    return (
        imported is not None
        and imported.repository is None
        and behind_here(lineage.registry, imported) is not None
    )


def _say(*steps: str) -> str:
    return f"Next: {', '.join(steps)}"
