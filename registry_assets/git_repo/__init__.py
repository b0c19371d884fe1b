"""The only package that runs ``git``.

reading.py     `GitRepo`: branches, commits and files of the repository around a registry
work_tree.py   what Git keeps out of the work tree, and what of it was edited
committing.py  commits made beside the checked-out work tree, index and branch
remotes.py     repositories elsewhere: what they have, and branches and tags pushed to them
tags.py        tags: reading and making them
switching.py   checking a commit out, and what that would overwrite
conflicts.py   what a merge or rebase left to be decided; the merge driver
history.py     files as all commits have had them, and what keeps a commit by name
"""

from registry_assets.git_repo.committing import BlobChange, TreeBuilder
from registry_assets.git_repo.conflicts import Unmerged
from registry_assets.git_repo.reading import GitRepo, check_git, find_rev, is_commit
from registry_assets.git_repo.remotes import GitRemote, RemoteRefs
from registry_assets.git_repo.tags import Tag

__all__ = [
    "BlobChange",
    "GitRemote",
    "GitRepo",
    "RemoteRefs",
    "Tag",
    "TreeBuilder",
    "Unmerged",
    "check_git",
    "find_rev",
    "is_commit",
]
