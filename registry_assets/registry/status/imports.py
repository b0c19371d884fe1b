"""Imports compared with their sources: which are behind, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from registry_assets.addresses import without_secrets
from registry_assets.dvc_repo import DvcRepo
from registry_assets.errors import RegistryError
from registry_assets.git_repo import is_commit
from registry_assets.model import ImportedInput, Registry
from registry_assets.registry.lineage.groups import source_address

Standing = Literal["current", "moved", "lost", "behind", "gone", "unreachable"]
"""The state of an import compared with its source.

- ``current``: same version as the source.
- ``moved``: same version, but the source has a newer commit.
- ``lost``: same version, but the commit it was imported from is gone.
- ``behind``: the source has another version.
- ``gone``: the path, branch or tag no longer exists at the source.
- ``unreachable``: the source did not answer.
"""


@dataclass(frozen=True)
class ImportState:
    """An import compared with its source.

    Attributes:
        path: The import, from the root.
        source: The source, without secrets.
        state: The result of the comparison.
        why: What differs, in one line; "" when nothing does.
        recorded: The md5 of the import; None when it was never downloaded.
        taken_at: The commit it was imported from, for imports from a Git repository.
        newest: The md5 that the source has now, if known.
        commit: The current commit of the source, for imports from a Git repository.
    """

    path: str
    source: str
    state: Standing
    why: str
    recorded: str | None
    taken_at: str | None = None
    newest: str | None = None
    commit: str | None = None

    @property
    def can_update(self) -> bool:
        """Whether an update would change anything."""
        return self.state in ("moved", "lost", "behind")

    @property
    def is_finding(self) -> bool:
        """Whether the state should be reported."""
        return self.state not in ("current", "moved")


def choose_imports(registry: Registry, names: Sequence[str]) -> tuple[ImportedInput, ...]:
    """The imports with the given names; all imports if no names are given.

    Args:
        registry: The registry.
        names: Collections, to choose their imports into every data set, or paths of imports or of
            their ``.dvc`` files.

    Raises:
        RegistryError: when a name matches no import.
    """
    for name in names:
        if not any(_is_called(imported, name) for imported in registry.inputs):
            known = ", ".join(item.output.path for item in registry.inputs[:10]) or "none"
            raise RegistryError(f"no import is called {name}: there are {known}")
    return tuple(
        imported
        for imported in registry.inputs
        if not names or any(_is_called(imported, name) for name in names)
    )


def _is_called(imported: ImportedInput, name: str) -> bool:
    return name.rstrip("/") in (imported.name, imported.output.path, imported.metafile)


def compare_imports(registry: Registry, imports: Sequence[ImportedInput]) -> Iterator[ImportState]:
    """Compare imports with their sources, lazily, one at a time."""
    for imported in imports:
        yield compare_import(registry, imported)


def compare_import(
    registry: Registry, imported: ImportedInput, before: ImportState | None = None
) -> ImportState:
    """Compare one import with its source.

    Imports from this repository are compared with its metafiles, without network access. Other
    Git repositories are cloned only when they have a new commit.

    Args:
        registry: The registry.
        imported: The import.
        before: The previous result, returned as it is when neither the import nor the commit of
            the source has changed.
    """
    dvc = DvcRepo(registry.root)
    try:
        if imported.repository is not None:
            return _compare_with_repository(dvc, imported, before)
        if imported.source.path in registry.outputs and not imported.source.is_external:
            return _compare_with_metafiles(registry, imported)
        return _compare_with_url(dvc, imported)
    except RegistryError as error:
        return _state(imported, "unreachable", str(error))


def behind_here(registry: Registry, imported: ImportedInput) -> str | None:
    """Compare an import from this repository with the version that its metafiles record.

    Imports that are pinned to a branch, tag or commit are not compared.

    Returns:
        The reason why it is behind, with the next step; None when it is current or not compared.
    """
    if imported.source.is_external or imported.rev is not None:
        return None
    source = registry.outputs.get(imported.source.path)
    if source is None or source.version is None or source.version == imported.source.version:
        return None
    newer = f"{imported.source.path} has a newer version"
    if imported.repository is None:
        return f"{newer}: run `registry update {imported.output.path}`"
    where = without_secrets(imported.repository)
    return f"{newer}: run `registry update {imported.output.path}` once {where} has it committed"


def _state(
    imported: ImportedInput,
    state: Standing,
    why: str = "",
    *,
    newest: str | None = None,
    commit: str | None = None,
) -> ImportState:
    return ImportState(
        path=imported.output.path,
        source=source_address(imported),
        state=state,
        why=" ".join(why.split()),
        recorded=_recorded(imported),
        taken_at=imported.revision,
        newest=newest,
        commit=commit,
    )


def _compare_with_metafiles(registry: Registry, imported: ImportedInput) -> ImportState:
    version = registry.outputs[imported.source.path].version
    newest = version.md5 if version else None
    taken = imported.source.version
    if version is None or (taken is not None and taken.md5 == version.md5):
        return _state(imported, "current", newest=newest)
    return _state(imported, "behind", f"{imported.source.path} has a newer version", newest=newest)


def _compare_with_url(dvc: DvcRepo, imported: ImportedInput) -> ImportState:
    change = dvc.changes_of_url(imported.metafile)
    where = without_secrets(imported.source.path)
    if change == "deleted":
        return _state(imported, "gone", f"{where} no longer exists")
    if change is not None:
        return _state(imported, "behind", f"{where} is {change}")
    if imported.output.version is None:
        return _state(imported, "behind", "it was never downloaded")
    taken = imported.source.version
    return _state(imported, "current", newest=taken.md5 if taken else None)


def _compare_with_repository(
    dvc: DvcRepo, imported: ImportedInput, before: ImportState | None
) -> ImportState:
    where = without_secrets(imported.repository or "")
    now = _state(imported, "current")
    tip = dvc.find_tip(imported.metafile)
    same = (now.recorded, now.taken_at, tip)
    told = before if before is not None and before.state != "unreachable" else None
    if told is not None and (told.recorded, told.taken_at, told.commit) == same:
        return told
    if tip is None:
        return _state(imported, "gone", f"{where} no longer has {imported.rev or 'any commit'}")
    if now.recorded is None:
        return _state(imported, "behind", "it was never downloaded", commit=tip)
    if imported.rev is not None and tip == imported.revision and is_commit(imported.rev):
        return _compare_pinned(dvc, imported, tip, where)
    if tip == imported.revision:
        return _state(imported, "current", newest=now.recorded, commit=tip)
    return _compare_at_tip(dvc, imported, tip, where)


def _compare_at_tip(dvc: DvcRepo, imported: ImportedInput, tip: str, where: str) -> ImportState:
    """Compare an import with the current commit of its branch or tag."""
    found = dvc.look_at_source(imported.metafile, tip)
    taken_at = (imported.revision or "")[:7]
    lost = "" if found.has_recorded_commit else f"the imported commit {taken_at} is gone"
    if found.md5 is None:
        why = "; ".join(filter(None, (f"{where} no longer has {imported.source.path}", lost)))
        return _state(imported, "gone", why, commit=tip)
    if found.md5 != _recorded(imported):
        newer = f"{where} has another version at commit {tip[:7]}"
        why = "; ".join(filter(None, (newer, lost)))
        return _state(imported, "behind", why, newest=found.md5, commit=tip)
    if lost:
        why = f"{lost}; commit {tip[:7]} has the same content"
        return _state(imported, "lost", why, newest=found.md5, commit=tip)
    # When a repository imports from itself, every update is a new commit: never report "moved".
    state: Standing = "moved" if imported.source.is_external else "current"
    why = f"commit {tip[:7]} has the same content" if state == "moved" else ""
    return _state(imported, state, why, newest=found.md5, commit=tip)


def _compare_pinned(dvc: DvcRepo, imported: ImportedInput, commit: str, where: str) -> ImportState:
    """Check whether the commit that an import is pinned to still exists."""
    newest = dvc.find_newest(imported.metafile)
    recorded = _recorded(imported)
    if newest is None or newest == commit:
        return _state(imported, "current", newest=recorded, commit=commit)
    found = dvc.look_at_source(imported.metafile, newest)
    if found.has_recorded_commit:
        return _state(imported, "current", newest=recorded, commit=commit)
    lost = f"commit {commit[:7]}, to which it is pinned, is gone from {where}"
    if found.md5 == recorded:
        why = f"{lost}; commit {newest[:7]} has the same content"
        return _state(imported, "lost", why, newest=recorded, commit=commit)
    return _state(imported, "gone", f"{lost}; its newest commit has another version", commit=commit)


def _recorded(imported: ImportedInput) -> str | None:
    version = imported.output.version
    return version.md5 if version else None
