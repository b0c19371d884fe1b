"""Reading and making tags."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from registry_assets.git_repo.reading import GitRepo

_FIELDS = ("refname:strip=2", "objectname", "*objectname", "creatordate:iso-strict", "contents")


@dataclass(frozen=True)
class Tag:
    """A tag.

    Attributes:
        name: Without ``refs/tags/``.
        commit: The commit that it points to.
        date: When it was made (ISO 8601); for a lightweight tag, the date of the commit.
        message: The message of the tag; for a lightweight tag, of the commit.
    """

    name: str
    commit: str
    date: str
    message: str


def read_tags(git: GitRepo, *selection: str) -> Iterator[Tag]:
    """Yields tags, oldest first.

    Args:
        git: The repository.
        selection: Further arguments for git-for-each-ref(1).
    """
    form = "".join(f"%({field})%00" for field in _FIELDS)
    done = git.call("for-each-ref", "--sort=creatordate", f"--format={form}", *selection)
    parts = done.stdout.decode(errors="replace").split("\0")[:-1]
    for name, own, target, date, message in zip(*[iter(parts)] * len(_FIELDS), strict=False):
        yield Tag(name.lstrip("\n"), target or own, date, message.strip())


def read_tags_in(git: GitRepo, prefix: str) -> list[Tag]:
    """The tags named ``prefix/…``."""
    return list(read_tags(git, f"refs/tags/{prefix}/"))


def tags_at(git: GitRepo, commit: str) -> list[str]:
    """The names of the tags at a commit; empty if this repository lacks the commit."""
    if not git.is_known(commit):
        return []
    return [tag.name for tag in read_tags(git, f"--points-at={commit}", "refs/tags/")]


def is_tag_name(git: GitRepo, name: str) -> bool:
    """Whether this is a valid name for a tag."""
    done = git.call("check-ref-format", f"refs/tags/{name}", check=False)
    return done.returncode == 0 and not name.startswith("-")


def make_tag(git: GitRepo, name: str, commit: str, message: str) -> None:
    """Makes an annotated tag.

    Raises:
        RegistryError: with Git's message, such as that the tag exists.
    """
    git.call(
        *("tag", "--annotate", "--cleanup=verbatim", "--file=-", "--", name, commit),
        stdin=message.encode(),
    )


def remove_tag(git: GitRepo, name: str) -> None:
    """Removes a tag from this repository."""
    git.call("tag", "--delete", "--", name)
