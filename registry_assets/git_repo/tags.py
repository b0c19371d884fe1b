"""Annotated tags: names that stay where they are."""

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
        commit: What it names.
        date: When it was made, in the form of ISO 8601; of one without a message of its own, when
            its commit was.
        message: Its own, or that of its commit.
    """

    name: str
    commit: str
    date: str
    message: str


def read_tags(git: GitRepo, *selection: str) -> Iterator[Tag]:
    """The tags of a repository, the oldest first.

    Args:
        git: The repository.
        selection: Further arguments of git-for-each-ref(1).
    """
    form = "".join(f"%({field})%00" for field in _FIELDS)
    done = git.call("for-each-ref", "--sort=creatordate", f"--format={form}", *selection)
    parts = done.stdout.decode(errors="replace").split("\0")[:-1]
    for name, own, target, date, message in zip(*[iter(parts)] * len(_FIELDS), strict=False):
        yield Tag(name.lstrip("\n"), target or own, date, message.strip())


def read_tags_in(git: GitRepo, prefix: str) -> list[Tag]:
    """The tags whose names begin with a folder."""
    return list(read_tags(git, f"refs/tags/{prefix}/"))


def tags_at(git: GitRepo, commit: str) -> list[str]:
    """The names of the tags of a commit; none where it is not here."""
    if not git.is_known(commit):
        return []
    return [tag.name for tag in read_tags(git, f"--points-at={commit}", "refs/tags/")]


def is_tag_name(git: GitRepo, name: str) -> bool:
    """Whether a tag may be called so."""
    done = git.call("check-ref-format", f"refs/tags/{name}", check=False)
    return done.returncode == 0 and not name.startswith("-")


def make_tag(git: GitRepo, name: str, commit: str, message: str) -> None:
    """Makes an annotated tag.

    Raises:
        RegistryError: with what Git says, such as that there is one.
    """
    git.call(
        *("tag", "--annotate", "--cleanup=verbatim", "--file=-", name, commit),
        stdin=message.encode(),
    )


def remove_tag(git: GitRepo, name: str) -> None:
    """Removes a tag here."""
    git.call("tag", "--delete", name)
