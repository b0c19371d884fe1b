"""The only package that imports DVC.

The public names are loaded when they are first used: taking a metafile apart needs no DVC.

repository.py   `DvcRepo`, what the rest of the package asks of DVC
opening.py      opening a repository, its locks, and DVC's errors turned into ours
initialising.py making a repository, and its configuration
internals.py    all that we use of DVC beyond its public interface
loading.py      stages out of metafiles, by DVC's own classes
collecting.py   every metafile loaded, as far as it can be, and what is wrong with the rest
quiet_import.py importing DVC without what it does to loggers
unseen.py       where DVC does not look: what is ignored, and folders behind links
overlaps.py     whether what is new overlaps with what is declared
reading.py      what was loaded -> the values of `registry_assets.model`
plain_yaml.py   the plain YAML that DVC writes, read without a YAML parser
lock_text.py    the text of a `dvc.lock` taken apart
metafiles.py    the text of metafiles, written in one rename
listings.py     the files of folders' versions, looked up in the cache without DVC
versions.py     what a version is: named by metafiles, listed in the cache
remotes.py      what remotes have of outputs: pushed, fetched, looked at
store.py        the objects of one remote: found, sent, received, removed, each one verified
remote_errors.py  what goes wrong with remotes, turned into our errors
folders/        folders of many files: hashed, put into the cache, linked out of it
objects.py      whether the cache has the objects of a version, and has them right
states.py       how the workspace compares with the metafiles, as `dvc status` sees it
data.py         versions in the workspace: restored, pulled
edits.py        whether data was edited since it was put under DVC
previous_outputs.py  previous outputs, kept until the new ones are recorded
run_cache.py    the run cache of DVC, independent of the working directory
processes.py    telling living processes from dead ones
commands.py     the command of a stage, run as DVC runs it
results.py      what came of a stage or collection, and how its files differ from before
running.py      one stage: unchanged, restored or run
staged_listings.py listings that dvc-data leaves in memory
batch.py        many stages in one go
origins.py      where the repositories of imports are, and which of them is this one
sources.py      the sources of imports: what they have now, fetched into the cache
availability.py what the remotes of the sources of imports lack
switching.py    data that follows a checkout of Git
tracking.py     `dvc add` and the in-repository `dvc import-url`
removing.py     `dvc remove` of a collection and all that a data set made of it
garbage.py      the cache as it lies on the disk
purging.py      single files taken out of folders; contents removed from cache and remotes
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
    from registry_assets.dvc_repo.garbage import ObjectUse
    from registry_assets.dvc_repo.initialising import keep_together
    from registry_assets.dvc_repo.listings import Listings, build_listing, hash_listing
    from registry_assets.dvc_repo.metafiles import cut_entry, read_lock_text
    from registry_assets.dvc_repo.objects import CacheState
    from registry_assets.dvc_repo.purging import CachedObject, RemoteContents
    from registry_assets.dvc_repo.remotes import PushResult, RemoteObject, RemoteState
    from registry_assets.dvc_repo.repository import DvcRepo
    from registry_assets.dvc_repo.results import PendingResult, RecordedOutput
    from registry_assets.dvc_repo.running import Before
    from registry_assets.dvc_repo.sources import SourceLook, source_session
    from registry_assets.dvc_repo.states import OutputState
    from registry_assets.dvc_repo.switching import Restored, Unsaved

_PLACES = {
    "Before": "running",
    "CacheState": "objects",
    "DvcRepo": "repository",
    "Edit": "edits",
    "CachedObject": "purging",
    "Listings": "listings",
    "OutputState": "states",
    "PendingResult": "results",
    "PushResult": "remotes",
    "RecordedOutput": "results",
    "RemoteContents": "purging",
    "RemoteObject": "remotes",
    "RemoteState": "remotes",
    "Restored": "switching",
    "SourceLook": "sources",
    "StageResult": "batch",
    "StageTask": "batch",
    "ObjectUse": "garbage",
    "IgnoreRule": "folders.ignoring",
    "Unsaved": "switching",
    "build_listing": "listings",
    "cut_entry": "metafiles",
    "hash_listing": "listings",
    "keep_together": "initialising",
    "read_lock_text": "metafiles",
    "refused_reason": "folders.ignoring",
    "source_session": "sources",
}

_WITHOUT_DVC = {"listings", "results"}

__all__ = [
    "Before",
    "CacheState",
    "CachedObject",
    "DvcRepo",
    "Edit",
    "IgnoreRule",
    "Listings",
    "ObjectUse",
    "OutputState",
    "PendingResult",
    "PushResult",
    "RecordedOutput",
    "RemoteContents",
    "RemoteObject",
    "RemoteState",
    "Restored",
    "SourceLook",
    "StageResult",
    "StageTask",
    "Unsaved",
    "build_listing",
    "cut_entry",
    "hash_listing",
    "keep_together",
    "read_lock_text",
    "refused_reason",
    "source_session",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if _PLACES[name] not in _WITHOUT_DVC:
        import_dvc()
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
