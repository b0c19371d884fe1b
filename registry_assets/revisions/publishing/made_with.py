"""Uncommitted code, parameters and pipelines that results were made with.

On a branch without them, the published results would be stale. So they are published along with
the results: the files that stages of published results declare, and no others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from registry_assets.errors import RefusedError
from registry_assets.git_repo import GitRepo
from registry_assets.git_repo.work_tree import find_edited
from registry_assets.model import Registry, Stage
from registry_assets.registry.lineage.graph import Lineage
from registry_assets.revisions.changes.committing import MetafileChanges, metafiles_of
from registry_assets.units import few_of, format_size

_MOST_BYTES = 10_000_000


@dataclass(frozen=True)
class MadeWith:
    """Files to publish along with results.

    Attributes:
        files: Edited files that published results were made with.
        warnings: Messages about other files.
    """

    files: tuple[str, ...]
    warnings: tuple[str, ...]


def find_made_with(
    lineage: Lineage, git: GitRepo, changes: MetafileChanges, uncommitted: MetafileChanges
) -> MadeWith:
    """Find the edited files that published results were made with.

    Args:
        lineage: The graph.
        git: The repository.
        changes: The published changes.
        uncommitted: The part of them that is not committed yet.

    Raises:
        RefusedError: when uncommitted results were made with other files than those in the work
            tree now, or with files that are too large for Git.
    """
    registry = lineage.registry
    made = {address for address, (_, after) in changes.entries.items() if after is not None}
    declared = {
        stage: _declared_by(registry, stage) for stage in registry.stages if stage.address in made
    }
    edited = find_edited(git, {path for paths in declared.values() for path in paths})
    files = set(edited) - metafiles_of(registry)
    taken: set[str] = set()
    warnings = []
    for stage, paths in declared.items():
        touched = sorted(f for f in files if any(f == p or f.startswith(f"{p}/") for p in paths))
        differing = lineage.code_changes[stage.address] if touched else ()
        if differing and stage.address in uncommitted.entries:
            raise RefusedError(
                f"{stage.address} was made with other files than those in the work tree "
                f"({'; '.join(differing)}): run `registry materialize`, or revert "
                f"{few_of(touched)}, then publish"
            )
        if differing:
            warnings.append(
                f"{few_of(touched)}: edited after the committed run of {stage.address}, so not "
                "published"
            )
        else:
            taken.update(touched)
    _check_size(registry, [file for file in taken if not edited[file]])
    ignored = _find_ignored(registry, git, {path for paths in declared.values() for path in paths})
    return MadeWith(tuple(sorted(taken)), (*warnings, *ignored))


def _declared_by(registry: Registry, stage: Stage) -> frozenset[str]:
    """The files and folders that a stage declares except data, and its ``dvc.yaml``."""
    dataset = registry.dataset_of(stage.file)
    variables = (f for f in registry.variable_files if registry.dataset_of(f) in (None, dataset))
    code = (
        dependency.path
        for dependency in stage.dependencies
        if not dependency.is_external and not registry.holds_data(dependency.path)
    )
    parameters = (parameter.file for parameter in stage.parameters)
    found = (stage.file, *variables, *code, *parameters)
    return frozenset(path for path in found if not path.startswith("../"))


def _check_size(registry: Registry, unknown: Collection[str]) -> None:
    """Refuse to commit large untracked files, which are probably data that DVC should track."""
    sizes = {file: (registry.root / file).lstat().st_size for file in unknown}
    if sum(sizes.values()) > _MOST_BYTES:
        largest = max(sizes, key=lambda file: sizes[file])
        raise RefusedError(
            f"results were made with {len(sizes)} files that neither Git nor DVC tracks "
            f"({format_size(sum(sizes.values()))}), such as {largest}: `dvc add` data and commit "
            "code, then publish"
        )


def _find_ignored(registry: Registry, git: GitRepo, paths: Collection[str]) -> Iterator[str]:
    """Warn about files that results were made with and that Git ignores."""
    there = [path for path in sorted(paths) if (registry.root / path).exists()]
    ignored = git.ignored(there) or frozenset()
    known = git.tracked(sorted(ignored)) if ignored else frozenset()
    for path in there:
        if path in ignored and path not in known:
            yield f"{path}: results were made with it, but Git ignores it, so it is not published"
