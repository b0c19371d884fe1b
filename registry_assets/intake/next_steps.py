"""Next steps after `registry add`, `import` and `update`."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from registry_assets.registry.lineage.graph import Lineage
from registry_assets.registry.lineage.taking_in import is_taken_in
from registry_assets.registry.status.imports import behind_here
from registry_assets.units import few_of

_PUBLISH = "`registry publish` shares it"

_MOST_NAMES = 5


def after_adding(lineage: Lineage, names: Sequence[str]) -> str:
    """The next step after versions of collections were recorded.

    Data sets that have a collection are updated; others import it if their `take_in` matches.
    """
    registry = lineage.registry
    behind: list[tuple[str, str]] = []
    wanting: list[tuple[str, str]] = []
    for dataset in registry.datasets:
        if dataset.inputs is None:
            continue
        for name in names:
            if is_taken_in(registry, dataset, name):
                if _is_behind(lineage, f"{dataset.inputs}/{name}"):
                    behind.append((name, dataset.name))
            elif dataset.take_in.wants(name):
                wanting.append((name, dataset.name))
    steps = []
    if behind:
        collections, datasets = _each_once(behind)
        which, it = _name_all(collections)
        steps.append(f"`registry update {which}` updates {it} in {few_of(datasets)}")
    if wanting:
        collections, datasets = _each_once(wanting)
        which, it = _name_all(collections)
        into, those = (datasets[0], "") if len(datasets) == 1 else ("DATASET", few_of(datasets))
        steps.append(
            f"`registry import {which} --into {into}` imports {it} into a data set"
            + (f" ({those})" if those else "")
        )
    return _say(*steps, _PUBLISH)


def _each_once(pairs: Sequence[tuple[str, str]]) -> tuple[list[str], list[str]]:
    collections, datasets = zip(*pairs, strict=True)
    return list(dict.fromkeys(collections)), list(dict.fromkeys(datasets))


def _name_all(collections: Sequence[str]) -> tuple[str, str]:
    """Collections as arguments of a command, and their pronoun."""
    which = " ".join(collections) if len(collections) <= _MOST_NAMES else "NAME.."
    return which, "it" if len(collections) == 1 else "them"


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
