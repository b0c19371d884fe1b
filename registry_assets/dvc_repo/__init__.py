"""The only package that imports DVC.

repository.py   opening a repository, its locks, and DVC's errors turned into ours
reading.py      the index -> the values of `registry_assets.model`
metafiles.py    the text of metafiles, written in one rename
data.py         versions in cache and workspace: status, restore, pull, push, listings
set_aside.py    previous outputs, kept until the new ones are recorded
run_cache.py    the run cache of DVC, independent of the working directory
processes.py    telling living processes from dead ones
running.py      one stage: unchanged, restored or run
tracking.py     `dvc add` and the in-repository `dvc import-url`
"""

from registry_assets.dvc_repo.data import OutputState
from registry_assets.dvc_repo.repository import DvcRepo
from registry_assets.dvc_repo.results import PendingResult, RecordedOutput

__all__ = ["DvcRepo", "OutputState", "PendingResult", "RecordedOutput"]
