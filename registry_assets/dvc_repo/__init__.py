"""The only package that imports DVC.

The public names are loaded on first use: parsing a metafile needs no DVC.

repository.py   `DvcRepo`, the interface for the rest of the package
clones.py       the register of clones that use a cache
opening.py      opening a repository, locks, and translating DVC's errors
initialising.py making and configuring a repository
internals.py    all private names of DVC that we use
loading.py      loading stages from metafiles, by DVC's own classes
collecting.py   loading every metafile, and reporting those that cannot be loaded
quiet_import.py importing DVC without its changes to loggers
unseen.py       metafiles that DVC does not see: ignored, or behind symbolic links
overlaps.py     whether a new output overlaps with declared ones
reading.py      loaded stages -> the values of `registry_assets.model`
plain_yaml.py   reading the plain YAML that DVC writes, without a YAML parser
lock_text.py    splitting the text of a `dvc.lock` into entries
metafiles.py    reading and editing the text of metafiles
recorded_names.py what metafiles and listings may name: objects, and files inside a folder
listings.py     reading the listings of folders from the cache, without DVC
versions.py     versions and where their objects are in the cache
remotes.py      pushing outputs to remotes, fetching and checking them
store.py        the objects of one remote: find, send, receive, remove
remote_errors.py  translating the errors of storage libraries
folders/        folders of many files: hashed, put into the cache, linked out of it
objects.py      whether the cache has the objects of a version, undamaged
states.py       the status of outputs, as `dvc status` reports it
data.py         restoring versions into the workspace, and pulling them
edits.py        whether data was edited since it was recorded
previous_outputs.py  previous outputs, kept until the new ones are recorded
run_cache.py    DVC's run cache, independent of the working directory
path_locks.py   which processes read and write which paths
processes.py    whether the process that made a file is still alive
commands.py     running the command of a stage, as DVC does
results.py      the result of a stage or collection, and what changed
resolved.py     one run of a stage as plain values, which another machine can make
stage_run.py    one run of a stage: unchanged, restored or made by its command
elsewhere.py    one run of a stage whose command runs on another machine
running.py      stages brought up to date and recorded
working.py      one stage made away from its repository, by a worker
tree_config.py  the configuration of the tree that a worker makes it in
remote_runs.py  the run cache on a remote
staged_listings.py listings that dvc-data leaves in memory
batch.py        running many stages at once
origins.py      the addresses of imported repositories, and whether one is this repository
sources.py      the sources of imports: looking them up, and fetching into the cache
availability.py objects that the remotes of imported repositories lack
syncing.py      writing to the disk what metafiles are about to name
switching.py    keeping data in step with `git checkout`
tracking.py     `dvc add`, and `dvc import-url` within the repository
removing.py     removing a collection from a data set, as `dvc remove`
garbage.py      the objects in the cache and their disk usage
purging.py      removing files from folders, and objects from cache and remotes
updating.py     `dvc import` from another repository, and `dvc update`
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from registry_assets.dvc_repo.quiet_import import import_dvc

if TYPE_CHECKING:
    from registry_assets.dvc_repo.batch import StageResult, StageTask
    from registry_assets.dvc_repo.edits import Edit
    from registry_assets.dvc_repo.folders.ignoring import IgnoreRule, refused_reason
    from registry_assets.dvc_repo.folders.remembered import KnownData, KnownFolder
    from registry_assets.dvc_repo.garbage import ObjectUse
    from registry_assets.dvc_repo.initialising import (
        check_cache,
        check_outside,
        keep_together,
        why_unshared,
    )
    from registry_assets.dvc_repo.listings import Listings, build_listing, hash_listing
    from registry_assets.dvc_repo.metafiles import cut_entry, read_lock_text
    from registry_assets.dvc_repo.objects import CacheState
    from registry_assets.dvc_repo.opening import RepoAccess
    from registry_assets.dvc_repo.overlaps import Places
    from registry_assets.dvc_repo.purging import CachedObject, RemoteContents
    from registry_assets.dvc_repo.reading import Declarations
    from registry_assets.dvc_repo.remotes import (
        PushResult,
        RemoteObject,
        RemoteState,
        count_objects,
    )
    from registry_assets.dvc_repo.repository import DvcRepo
    from registry_assets.dvc_repo.results import MadeOn, PendingResult, RecordedOutput
    from registry_assets.dvc_repo.sources import SourceLook, source_session
    from registry_assets.dvc_repo.stage_run import Before
    from registry_assets.dvc_repo.states import OutputState
    from registry_assets.dvc_repo.switching import Restored, Unsaved
    from registry_assets.dvc_repo.tree_config import find_caches, lead_to_cache
    from registry_assets.dvc_repo.working import make_resolved

_PLACES = {
    "Declarations": "reading",
    "Places": "overlaps",
    "Before": "stage_run",
    "CacheState": "objects",
    "DvcRepo": "repository",
    "Edit": "edits",
    "CachedObject": "purging",
    "KnownData": "folders.remembered",
    "KnownFolder": "folders.remembered",
    "Listings": "listings",
    "OutputState": "states",
    "MadeOn": "results",
    "PendingResult": "results",
    "PushResult": "remotes",
    "RecordedOutput": "results",
    "RemoteContents": "purging",
    "RemoteObject": "remotes",
    "RemoteState": "remotes",
    "RepoAccess": "opening",
    "Restored": "switching",
    "SourceLook": "sources",
    "StageResult": "batch",
    "StageTask": "batch",
    "ObjectUse": "garbage",
    "IgnoreRule": "folders.ignoring",
    "Unsaved": "switching",
    "build_listing": "listings",
    "check_cache": "initialising",
    "check_outside": "initialising",
    "count_objects": "remotes",
    "cut_entry": "metafiles",
    "find_caches": "tree_config",
    "hash_listing": "listings",
    "keep_together": "initialising",
    "lead_to_cache": "tree_config",
    "make_resolved": "working",
    "read_lock_text": "metafiles",
    "refused_reason": "folders.ignoring",
    "source_session": "sources",
    "why_unshared": "initialising",
}

_WITHOUT_DVC = {"listings", "results"}

__all__ = [
    "Before",
    "CacheState",
    "CachedObject",
    "Declarations",
    "DvcRepo",
    "Edit",
    "IgnoreRule",
    "KnownData",
    "KnownFolder",
    "Listings",
    "MadeOn",
    "ObjectUse",
    "OutputState",
    "PendingResult",
    "Places",
    "PushResult",
    "RecordedOutput",
    "RemoteContents",
    "RemoteObject",
    "RemoteState",
    "RepoAccess",
    "Restored",
    "SourceLook",
    "StageResult",
    "StageTask",
    "Unsaved",
    "build_listing",
    "check_cache",
    "check_outside",
    "count_objects",
    "cut_entry",
    "find_caches",
    "hash_listing",
    "keep_together",
    "lead_to_cache",
    "make_resolved",
    "read_lock_text",
    "refused_reason",
    "source_session",
    "why_unshared",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if _PLACES[name] not in _WITHOUT_DVC:
        import_dvc()
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
