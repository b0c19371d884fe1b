"""The status of outputs, as `dvc status` reports it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from registry_assets.addresses import without_secrets
from registry_assets.dvc_repo.folders.comparing import StatusReader
from registry_assets.dvc_repo.folders.dangling import check_not_dangling
from registry_assets.dvc_repo.folders.remembered import KnownData, remembered
from registry_assets.dvc_repo.loading import address_of
from registry_assets.dvc_repo.opening import describe_missing_cache, find_missing_cache
from registry_assets.dvc_repo.remote_errors import RemotePlace, reaching_remote
from registry_assets.dvc_repo.unseen import read_link
from registry_assets.dvc_repo.versions import path_in_repo
from registry_assets.errors import (
    DataBeingWrittenError,
    FileNotStorableError,
    LinksLeadNowhereError,
    MetafileError,
    RemoteError,
)
from registry_assets.units import printable

if TYPE_CHECKING:
    from dvc.output import Output as DvcOutput
    from dvc.repo import Repo
    from dvc.stage import Stage as DvcStage


@dataclass(frozen=True)
class OutputState:
    """The status of an output.

    Attributes:
        path: Relative to the root; for a stage without outputs, its address.
        is_recorded: Whether the metafile records a version.
        is_present: Whether something exists at the path, or it is kept elsewhere.
        changes: Changes of the output and its stage, in the words of `dvc status`; empty when up
            to date.
        link: The target of a symbolic link in place of a recorded folder.
        elsewhere: Why part of it is not here, with the next step: the cache is outside of the
            repository and not there, or links lead to objects that it lacks.
    """

    path: str
    is_recorded: bool
    is_present: bool
    changes: tuple[str, ...]
    link: str | None = None
    elsewhere: str | None = None


def output_states(
    repo: Repo,
    stages: Sequence[DvcStage],
    kept: Mapping[str, str] | None = None,
    known: KnownData | None = None,
) -> Mapping[str, OutputState]:
    """Compares the outputs of stages with their metafiles, as `dvc status` does.

    Args:
        repo: The opened repository.
        stages: The stages.
        kept: The recorded md5 of outputs that are kept on a remote, by path: these are not expected
            in the workspace.
        known: What an earlier command found out, as far as it still holds.
    """
    states = {}
    reader = StatusReader()
    if known is not None:
        reader.take(repo, known)
    kept = kept or {}
    for stage in stages:
        of_stage = _stage_changes(stage, reader, kept)
        if not stage.outs:
            address = address_of(stage)
            is_recorded = not stage.deps or any(dep.hash_info for dep in stage.deps)
            states[address] = OutputState(address, is_recorded, True, of_stage)
        for out in stage.outs:
            path = path_in_repo(repo, out)
            changes = of_stage + (() if path in kept else _changes_shown(repo, out, reader))
            place = Path(out.fs_path)
            link = elsewhere = None
            if out.hash_info.isdir and place.is_symlink():
                # DVC follows the link, and then refuses to write there.
                link = read_link(place)
                changes = (f"{path} is a symbolic link to {link}", *changes)
            elif changes and out.exists:
                elsewhere = _why_elsewhere(repo, path, out)
            is_present = path in kept or bool(out.exists)
            states[path] = OutputState(
                path, bool(out.hash_info), is_present, changes, link, elsewhere
            )
    remembered(repo).in_cache = reader.in_cache
    return states


def _why_elsewhere(repo: Repo, path: str, out: DvcOutput) -> str | None:
    if not out.is_in_repo:
        return None
    cache = find_missing_cache(repo)
    if cache is not None:
        return describe_missing_cache(cache)
    try:
        check_not_dangling(repo, path, out.stage.path)
    except LinksLeadNowhereError as error:
        return error.reason
    return None


def is_changed(stage: DvcStage, known: Mapping[str, DvcOutput]) -> bool:
    """Whether a stage or its dependencies changed since it ran; folders are checked last.

    Args:
        stage: The stage.
        known: Inputs whose recorded version counts, without a look at the workspace.

    Raises:
        RemoteError: when storage outside of the repository, which it depends on, cannot be used.
    """
    if stage.changed_stage() or stage.is_callback or stage.always_changed:
        return True
    if stage.frozen:
        return False
    reader = StatusReader()
    if any(d.hash_info != known[d.fs_path].hash_info for d in stage.deps if d.fs_path in known):
        return True
    others = [dep for dep in stage.deps if dep.fs_path not in known]
    deps = sorted(others, key=lambda dep: bool(dep.protocol == "local" and dep.isdir()))
    return any(_changes_of(stage.repo, dep, reader) for dep in deps)


def _stage_changes(
    stage: DvcStage, reader: StatusReader, kept: Mapping[str, str]
) -> tuple[str, ...]:
    """The changes of a stage: its command, dependencies and parameters."""
    changes: list[str] = []
    if stage.changed_stage():
        changes.append("the command changed" if stage.cmd else "the metafile was edited")
    if not stage.frozen:
        for dep in stage.deps:
            path = path_in_repo(stage.repo, dep)
            if path not in kept:
                changes.extend(_changes_shown(stage.repo, dep, reader))
            elif dep.hash_info.value != kept[path]:
                changes.append(f"{path} is {'modified' if dep.hash_info else 'new'}")
    if stage.is_callback or stage.always_changed:
        changes.append("always changed")
    return tuple(changes)


def _changes_shown(repo: Repo, out: DvcOutput, reader: StatusReader) -> tuple[str, ...]:
    """The same as `_changes_of`, or the reason why they are not known."""
    try:
        return _changes_of(repo, out, reader)
    except RemoteError as error:
        return (f"{path_in_repo(repo, out)} cannot be compared: {error.reason}",)


def _changes_of(repo: Repo, out: DvcOutput, reader: StatusReader) -> tuple[str, ...]:
    """The changes of an output, dependency or parameter file.

    Raises:
        RemoteError: when it is in storage outside of the repository that cannot be used.
    """
    path = path_in_repo(repo, out)
    changes: list[str] = []
    try:
        if out.protocol == "local":
            status = reader.status(out)
        else:
            with reaching_remote(RemotePlace(out.protocol, without_secrets(path), ())):
                status = reader.status(out)
    except (FileNotFoundError, DataBeingWrittenError):
        # A file of the folder was changed or removed meanwhile.
        return (f"{path} is being written",)
    except MetafileError as error:
        return (f"{path}: {error.problem}",)
    except FileNotStorableError as error:
        named = error.path.removeprefix(f"{repo.root_dir}{os.sep}")
        return (f"{printable(named)} cannot be stored: {error.reason}",)
    for change in status.values():
        if isinstance(change, Mapping):
            changes.extend(f"{path}: {key} is {state}" for key, state in change.items())
        else:
            changes.append(f"{path} is {change}")
    return tuple(changes)
