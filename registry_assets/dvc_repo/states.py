"""How what stands in the workspace compares with the metafiles, as `dvc status` sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dvc.dependency.base import Dependency
from dvc.output import Output as DvcOutput

from registry_assets.dvc_repo.folders.comparing import is_in_cache
from registry_assets.dvc_repo.folders.hashing import read_folder
from registry_assets.dvc_repo.opening import address_of
from registry_assets.dvc_repo.versions import path_in_repo
from registry_assets.errors import DataBeingWrittenError

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import Stage as DvcStage
    from dvc_data.hashfile.hash_info import HashInfo


@dataclass(frozen=True)
class OutputState:
    """How one output stands against its metafile, as `dvc status` sees it.

    Attributes:
        path: Relative to the root; for a stage that makes nothing, its address.
        is_recorded: Whether the metafile names a version.
        is_present: Whether there is something at the path.
        changes: What `dvc status` says of the output and of the stage that makes it, in words;
            empty when it is up to date.
    """

    path: str
    is_recorded: bool
    is_present: bool
    changes: tuple[str, ...]


def output_states(repo: Repo, stages: Sequence[DvcStage]) -> Mapping[str, OutputState]:
    """Compares the outputs of stages with their metafiles, as `dvc status` does."""
    states = {}
    look = _Look()
    for stage in stages:
        of_stage = _stage_changes(stage, look)
        if not stage.outs:
            address = address_of(stage)
            is_recorded = not stage.deps or any(dep.hash_info for dep in stage.deps)
            states[address] = OutputState(address, is_recorded, True, of_stage)
        for out in stage.outs:
            changes = of_stage + _changes_of(repo, out, look)
            path = path_in_repo(repo, out)
            states[path] = OutputState(path, bool(out.hash_info), bool(out.exists), changes)
    return states


def is_changed(stage: DvcStage) -> bool:
    """Whether a stage is not what it was when it ran; folders are looked at last, if at all."""
    if stage.changed_stage() or stage.is_callback or stage.always_changed:
        return True
    if stage.frozen:
        return False
    look = _Look()
    deps = sorted(stage.deps, key=lambda dep: bool(dep.protocol == "local" and dep.isdir()))
    return any(_changes_of(stage.repo, dep, look) for dep in deps)


class _Look:
    """One look at workspace and cache: what several stages name is hashed and checked once.

    The output of a stage is read by others, so that DVC would hash the files of a collection
    once for each stage they pass through.
    """

    def __init__(self) -> None:
        self._hashes: dict[tuple[str, str], HashInfo] = {}
        self._is_in_cache: dict[tuple[str, str], bool] = {}

    def status(self, out: DvcOutput) -> Mapping[str, object]:
        """What ``out.status()`` returns: by name, what is to be said of it."""
        if not _is_in_workspace(out):
            said: Mapping[str, object] = out.status()
            return said
        if out.hash_info and out.use_cache and not self._finds_in_cache(out):
            return {str(out): "not in cache"}
        if not out.exists:
            return {str(out): "deleted"}
        if out.hash_info != self._hash(out):
            return {str(out): "modified"}
        return {} if out.hash_info else {str(out): "new"}

    def _hash(self, out: DvcOutput) -> HashInfo:
        key = (out.fs_path, out.hash_name)
        if key not in self._hashes:
            content = read_folder(out.repo, out)
            self._hashes[key] = content.hash_info if content else out.get_hash()
        return self._hashes[key]

    def _finds_in_cache(self, out: DvcOutput) -> bool:
        key = (out.hash_name, out.hash_info.value)
        if key not in self._is_in_cache:
            known = out.obj
            self._is_in_cache[key] = is_in_cache(out)
            # Listings of many files would else stay in memory as long as the repository is open.
            out.obj = known
        return self._is_in_cache[key]


def _is_in_workspace(out: DvcOutput) -> bool:
    """Whether it is a file or folder of this machine that DVC knows by its content alone."""
    by_content = (DvcOutput.workspace_status, Dependency.workspace_status)
    return (
        out.protocol == "local"
        and type(out).status is DvcOutput.status
        and type(out).workspace_status in by_content
    )


def _stage_changes(stage: DvcStage, look: _Look) -> tuple[str, ...]:
    """What changed about a stage: its command, dependencies and parameters."""
    changes: list[str] = []
    if stage.changed_stage():
        changes.append("the command changed" if stage.cmd else "the metafile was edited")
    if not stage.frozen:
        for dep in stage.deps:
            changes.extend(_changes_of(stage.repo, dep, look))
    if stage.is_callback or stage.always_changed:
        changes.append("always changed")
    return tuple(changes)


def _changes_of(repo: Repo, out: DvcOutput, look: _Look) -> tuple[str, ...]:
    """What is to be said of one output, dependency or parameter file."""
    path = path_in_repo(repo, out)
    changes: list[str] = []
    try:
        status = look.status(out)
    except (FileNotFoundError, DataBeingWrittenError):
        # What was seen in the folder a moment ago is gone.
        return (f"{path} is being written",)
    for said in status.values():
        if isinstance(said, Mapping):
            changes.extend(f"{path}: {key} is {state}" for key, state in said.items())
        else:
            changes.append(f"{path} is {said}")
    return tuple(changes)
