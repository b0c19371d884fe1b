"""What a person names a version of the registry by: a commit, a branch, a tag, or the work tree."""

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
        name: As it was asked for; None for the work tree.
        commit: The commit; None for the work tree, and for a tree that holds nothing.
        tree: What to compare: the commit, or the tree of the metafiles that stand in the work tree.
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
    """What there was before the first version."""
    return Revision("nothing", None, builder.empty_tree)


def check_git(git: GitRepo) -> None:
    """Makes sure that there are versions to name.

    Raises:
        NotFoundError: when there is no Git repository.
    """
    if not git.is_present:
        raise NotFoundError(
            "there is no Git repository here, so there are no versions to name: `git init`"
        )


def find_commit(git: GitRepo, name: str, prefix: str | None = None) -> str:
    """The commit that a name stands for.

    Args:
        git: The repository.
        name: A commit, in full or shortened, a branch, a tag, or anything that Git understands.
        prefix: Of the tags of a data set, so that ``v3`` may stand for ``PREFIX/v3``.

    Raises:
        NotFoundError: when there is none.
    """
    own = git.resolve(f"refs/tags/{prefix}/{name}") if prefix else None
    found = own or git.resolve(name)
    if found is None:
        if name == "HEAD":
            raise NotFoundError("there is no commit yet: commit the registry first")
        if git.is_shallow:
            raise NotFoundError(
                f"there is no commit, branch or tag {name} in this shallow clone: `git fetch "
                "--unshallow --tags` brings all that the original has"
            )
        raise NotFoundError(
            f"there is no commit, branch or tag {name} here: `git fetch --tags` brings those of "
            "others, `registry versions` lists the versions of data sets"
        )
    return found


def read_revision(
    registry: Registry, git: GitRepo, name: str | None, prefix: str | None = None
) -> Revision:
    """A version of the registry, by name; the work tree for None.

    Raises:
        NotFoundError: when there is no such commit, or none at all.
    """
    if name is not None:
        commit = find_commit(git, name, prefix)
        return Revision(name, commit, commit)
    head = find_commit(git, "HEAD")
    return Revision(None, None, build_metafile_tree(registry, TreeBuilder(git), head))
