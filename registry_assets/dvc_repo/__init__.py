"""The only package that imports DVC.

repository.py   `DvcRepo`, what the rest of the package asks of DVC
opening.py      opening a repository, its locks, and DVC's errors turned into ours
reading.py      the index -> the values of `registry_assets.model`
metafiles.py    the text of metafiles, written in one rename
versions.py     what a version is: named by metafiles, listed and kept in the cache
data.py         versions in the workspace: status, restore, pull
set_aside.py    previous outputs, kept until the new ones are recorded
run_cache.py    the run cache of DVC, independent of the working directory
processes.py    telling living processes from dead ones
running.py      one stage: unchanged, restored or run
origins.py      where the repositories of imports are, and which of them is this one
sources.py      the sources of imports: what they have now, fetched into the cache
tracking.py     `dvc add` and the in-repository `dvc import-url`
updating.py     `dvc import` from another repository, and `dvc update`
"""

from registry_assets.dvc_repo.data import OutputState
from registry_assets.dvc_repo.repository import DvcRepo
from registry_assets.dvc_repo.results import PendingResult, RecordedOutput
from registry_assets.dvc_repo.sources import SourceLook, source_session

__all__ = [
    "DvcRepo",
    "OutputState",
    "PendingResult",
    "RecordedOutput",
    "SourceLook",
    "source_session",
]
