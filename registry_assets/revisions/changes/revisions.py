"""Versions of the registry by name: a commit, a branch, a tag, or the work tree."""

from __future__ import annotations

from dataclasses import dataclass

from registry_assets.errors import NotFoundError
from registry_assets.git_repo import GitRepo, TreeBuilder
from registry_assets.model import Registry
from registry_assets.revisions.changes.committing import build_metafile_tree

SHORT_COMMIT = 10


@dataclass(frozen=True)
class Revision:
    """A version of the whole registry.

    Attributes:
        name: The name as given; None for the work tree.
        commit: The commit; None for the work tree and for the empty tree.
        tree: The commit or tree to compare; for the work tree, a tree of its metafiles.
    """

    name: str | None
    commit: str | None
    tree: str

    def __str__(self) -> str:
        if self.commit is None:
            return self.name or "the work tree"
        short = self.commit[:SHORT_COMMIT]
        is_hash = self.name is None or self.commit.startswith(self.name)
        return short if is_hash else f"{self.name} ({short})"


def read_nothing(builder: TreeBuilder) -> Revision:
    """The empty tree, as the version before the first."""
    return Revision("nothing", None, builder.empty_tree)


def check_git(git: GitRepo) -> None:
    """Check that there is a Git repository.

    Raises:
        NotFoundError: when there is none.
    """
    if not git.is_present:
        raise NotFoundError("versions need a Git repository, and there is none: run `git init`")


def find_commit(git: GitRepo, name: str, prefix: str | None = None) -> str:
    """Resolve a name to a commit.

    Args:
        git: The repository.
        name: Any Git revision: a full or abbreviated commit, a branch, a tag, …
        prefix: The tag prefix of a data set, so that ``v3`` also finds ``PREFIX/v3``.

    Raises:
        NotFoundError: when there is no such commit.
    """
    own = git.resolve(f"refs/tags/{prefix}/{name}") if prefix else None
    found = own or git.resolve(name)
    if found is None:
        if name == "HEAD":
            raise NotFoundError("there is no commit yet: commit the registry first")
        if git.is_shallow:
            raise NotFoundError(
                f"there is no commit, branch or tag {name} in this shallow clone: `git fetch "
                "--unshallow --tags` fetches the full history"
            )
        raise NotFoundError(
            f"there is no commit, branch or tag {name} here: `git fetch --tags` fetches those of "
            "the remote, `registry versions` lists the versions of data sets"
        )
    return found


def read_revision(
    registry: Registry, git: GitRepo, name: str | None, prefix: str | None = None
) -> Revision:
    """Read a version of the registry by name; None means the work tree.

    Raises:
        NotFoundError: when there is no such commit, or no commit at all.
    """
    if name is not None:
        commit = find_commit(git, name, prefix)
        return Revision(name, commit, commit)
    head = find_commit(git, "HEAD")
    return Revision(None, None, build_metafile_tree(registry, TreeBuilder(git), head))
