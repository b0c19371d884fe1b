"""Files as all commits have had them: what a commit changed, and which commits have a name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from registry_assets.git_repo.reading import GitRepo

_STASH = "refs/stash"
INDEX = "what is staged"
"""What keeps a file that is staged and not committed."""
OTHER_WORK_TREE = "another work tree"
"""What keeps a file of a work tree beside this one."""


@dataclass(frozen=True)
class CommittedChange:
    """A file that a commit changed.

    Attributes:
        path: From the root.
        before: The blobs that its parents have; none where it is new.
        after: The blob that it has; None where it removed the file.
    """

    commit: str
    path: str
    before: tuple[str, ...]
    after: str | None


def read_changes(git: GitRepo, patterns: Sequence[str]) -> Iterator[CommittedChange]:
    """Every change of some files in all commits that a branch, tag or stash leads to, newest first.

    Of a merge those files that it has otherwise than each of its parents.

    Args:
        git: The repository.
        patterns: The files to look at, as patterns of Git; those below its `root` count.
    """
    said = git.call(
        *("-c", "core.quotePath=false", "log", "--all", *_head(git), "--format=%x00%H"),
        *("--raw", "-c", "--no-abbrev", "--no-renames", "--relative", "--", *patterns),
    ).stdout.decode(errors="surrogateescape")
    for entry in said.split("\0")[1:]:
        commit, *lines = entry.split("\n")
        for line in lines:
            if line.startswith(":"):
                yield _read_change(commit, line)


def _head(git: GitRepo) -> tuple[str, ...]:
    return ("HEAD",) if git.commit() is not None else ()


def _read_change(commit: str, line: str) -> CommittedChange:
    # ":modes of n parents, mode, blobs of n parents, blob, status, tab, path" (git-diff(1), "RAW
    # OUTPUT FORMAT"), with as many colons as parents.
    told, path = line.split("\t", 1)
    parents = len(told) - len(told.lstrip(":"))
    blobs = [_blob(text) for text in told.split(" ")[parents + 1 : 2 * parents + 2]]
    return CommittedChange(commit, path, tuple(filter(None, blobs[:-1])), blobs[-1])


def _blob(text: str) -> str | None:
    return None if set(text) == {"0"} else text


def read_tips(git: GitRepo) -> Mapping[str, tuple[str, ...]]:
    """The commits that something is called after, with what that is.

    Branches and tags, those of remotes as they were fetched last, every stash with what was staged
    and not tracked, what DVC keeps of experiments, and what is checked out, here and in other work
    trees.
    """
    found: dict[str, dict[str, None]] = {}
    for kind, commit, name in _named(git):
        if kind == "commit":
            found.setdefault(commit, {})[name] = None
    return {commit: tuple(names) for commit, names in found.items()}


def _named(git: GitRepo) -> Iterator[tuple[str, str, str]]:
    head = git.commit()
    if head is not None:
        yield "commit", head, "HEAD"
    form = "%(refname)%00%(objecttype)%00%(objectname)%00%(*objecttype)%00%(*objectname)"
    for line in git.call("for-each-ref", f"--format={form}").stdout.decode().splitlines():
        name, kind, commit, meant_kind, meant = line.split("\0")
        if name != _STASH:
            yield meant_kind or kind, meant or commit, short_name(name)
    stashed = git.call("rev-list", "-g", "--parents", _STASH, check=False).stdout.decode()
    for number, line in enumerate(stashed.splitlines()):
        commit, _, *others = line.split()
        yield from (("commit", each, f"stash@{{{number}}}") for each in (commit, *others))
    for line in git.call("worktree", "list", "--porcelain").stdout.decode().splitlines():
        if line.startswith("HEAD ") and line[5:] != head and set(line[5:]) != {"0"}:
            yield "commit", line[5:], OTHER_WORK_TREE


def find_other_work_trees(git: GitRepo) -> list[tuple[Path, Path]]:
    """The other work trees of the same repository, each with where `root` would be in it."""
    inside = git.call("rev-parse", "--show-prefix").stdout.decode(errors="surrogateescape").strip()
    here = git.top()
    found = []
    said = git.call("worktree", "list", "--porcelain").stdout.decode(errors="surrogateescape")
    for entry in said.split("\n\n"):
        lines = entry.splitlines()
        if lines and lines[0].startswith("worktree ") and "bare" not in lines:
            top = Path(lines[0].removeprefix("worktree "))
            if here is None or top.resolve() != here.resolve():
                found.append((top, top / inside))
    return found


def find_files(git: GitRepo, patterns: Sequence[str]) -> list[str]:
    """The files of a work tree that are tracked or could be, by path below `root`."""
    said = git.call("ls-files", "-z", "--cached", "--others", "--", *patterns).stdout
    return sorted({*said.decode(errors="surrogateescape").split("\0")} - {""})


def short_name(ref: str) -> str:
    """What people call a reference."""
    kinds = {"refs/heads/": "branch ", "refs/tags/": "tag ", "refs/remotes/": "branch "}
    for prefix, kind in kinds.items():
        if ref.startswith(prefix):
            return kind + ref.removeprefix(prefix)
    return ref


def read_blobs_at(git: GitRepo, commit: str, is_wanted: Callable[[str], bool]) -> Mapping[str, str]:
    """The blobs of files of a commit below `root`, by path."""
    said = git.call("ls-tree", "-r", "-z", commit).stdout.decode(errors="surrogateescape")
    return _choose(((entry, 2) for entry in said.split("\0")[:-1]), is_wanted)


def read_staged_blobs(git: GitRepo, is_wanted: Callable[[str], bool]) -> Mapping[str, str]:
    """The blobs of files that are staged, by path."""
    said = git.call("ls-files", "--stage", "-z").stdout.decode(errors="surrogateescape")
    return _choose(((entry, 1) for entry in said.split("\0")[:-1]), is_wanted)


def _choose(
    entries: Iterable[tuple[str, int]], is_wanted: Callable[[str], bool]
) -> Mapping[str, str]:
    found = {}
    for entry, place in entries:
        told, path = entry.split("\t", 1)
        if is_wanted(path):
            found[path] = told.split(" ")[place]
    return found


def find_paths_of(git: GitRepo, place: Path) -> list[str]:
    """Where Git itself has, or had, a file of the content of another, in any commit or staged.

    Returns:
        Paths from the top of the work tree; the blob where no commit tells.
    """
    blob = git.call("hash-object", "--no-filters", str(place)).stdout.decode().strip()
    if git.call("cat-file", "-e", blob, check=False).returncode != 0:
        return []
    said = git.call(
        *("-c", "core.quotePath=false", "log", "--all", *_head(git), f"--find-object={blob}"),
        *("--format=", "--name-only"),
    ).stdout.decode(errors="surrogateescape")
    return list(dict.fromkeys(line for line in said.splitlines() if line)) or [f"blob {blob}"]
