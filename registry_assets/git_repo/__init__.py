"""The only package that runs ``git``.

reading.py     `GitRepo`: branches, commits and files of the repository around a registry
work_tree.py   sparse checkouts and index flags; edited files
committing.py  commits made without touching the checked-out work tree, index and branch
remotes.py     Git remotes: their refs, fetching and pushing
tags.py        reading and making tags
switching.py   `git checkout`, and which files it would overwrite
conflicts.py   unmerged files, and the merge driver
snapshots.py   a work tree as it is, as a commit that travels in a pack
history.py     changes of files in all commits, and the refs that keep commits reachable
"""

from registry_assets.git_repo.committing import BlobChange, TreeBuilder
from registry_assets.git_repo.conflicts import Unmerged
from registry_assets.git_repo.reading import (
    AskIgnored,
    GitRepo,
    check_git,
    check_no_option,
    find_rev,
    is_commit,
    names_of,
)
from registry_assets.git_repo.remotes import GitRemote, RemoteRefs
from registry_assets.git_repo.snapshots import Snapshot, take_snapshot, unpack_snapshot
from registry_assets.git_repo.tags import Tag
from registry_assets.git_repo.work_tree import check_own

__all__ = [
    "AskIgnored",
    "BlobChange",
    "GitRemote",
    "GitRepo",
    "RemoteRefs",
    "Snapshot",
    "Tag",
    "TreeBuilder",
    "Unmerged",
    "check_git",
    "check_no_option",
    "check_own",
    "find_rev",
    "is_commit",
    "names_of",
    "take_snapshot",
    "unpack_snapshot",
]
