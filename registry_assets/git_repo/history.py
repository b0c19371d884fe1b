"""Changes of files in all commits, and the refs that keep commits reachable."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from registry_assets.errors import RegistryError
from registry_assets.git_repo.reading import GitRepo, lines_of

_STASH = "refs/stash"
_UNLISTED = b"could not open directory"
INDEX = "what is staged"
"""What references a file that is staged but not committed."""
OTHER_WORK_TREE = "another work tree"
"""What references a file of another work tree of the same repository."""


@dataclass(frozen=True)
class CommittedChange:
    """A file that a commit changed.

    Attributes:
        path: From the root.
        before: The blobs in the parents of the commit; empty if the file is new.
        after: The blob in the commit; None if the commit removed the file.
    """

    commit: str
    path: str
    before: tuple[str, ...]
    after: str | None


def read_changes(git: GitRepo, patterns: Sequence[str]) -> Iterator[CommittedChange]:
    """Yields every change of some files in all reachable commits, newest first.

    For a merge, only files that differ from every parent.

    Args:
        git: The repository.
        patterns: Git pathspecs of the files to look at, below its `root`.
    """
    output = git.call(
        *("-c", "core.quotePath=false", "log", "--all", *_head(git), "--format=%x00%H"),
        *("--raw", "-c", "--no-abbrev", "--no-renames", "--relative", "--", *patterns),
    ).stdout.decode(errors="surrogateescape")
    for entry in output.split("\0")[1:]:
        commit, *lines = entry.split("\n")
        for line in lines:
            if line.startswith(":"):
                yield _read_change(commit, line)


def _head(git: GitRepo) -> tuple[str, ...]:
    return ("HEAD",) if git.commit() is not None else ()


def _read_change(commit: str, line: str) -> CommittedChange:
    # "<colon per parent><mode per parent> mode <blob per parent> blob status\tpath"
    # (git-diff(1), "RAW OUTPUT FORMAT").
    fields, path = line.split("\t", 1)
    parents = len(fields) - len(fields.lstrip(":"))
    blobs = [_blob(text) for text in fields.split(" ")[parents + 1 : 2 * parents + 2]]
    return CommittedChange(commit, path, tuple(filter(None, blobs[:-1])), blobs[-1])


def _blob(text: str) -> str | None:
    return None if set(text) == {"0"} else text


def read_tips(git: GitRepo) -> Mapping[str, tuple[str, ...]]:
    """The commits that are named by a ref, with the names.

    Includes branches, tags, remote-tracking branches, stashes (with their index and untracked
    commits), DVC experiments, and the HEAD of every work tree.
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
    for line in lines_of(git.call("for-each-ref", f"--format={form}").stdout):
        name, kind, commit, meant_kind, meant = line.split("\0")
        if name != _STASH:
            yield meant_kind or kind, meant or commit, short_name(name)
    stashed = git.call("rev-list", "-g", "--parents", _STASH, check=False).stdout
    for number, line in enumerate(lines_of(stashed)):
        commit, _, *others = line.split()
        yield from (("commit", each, f"stash@{{{number}}}") for each in (commit, *others))
    for line in lines_of(git.call("worktree", "list", "--porcelain").stdout):
        if line.startswith("HEAD ") and line[5:] != head and set(line[5:]) != {"0"}:
            yield "commit", line[5:], OTHER_WORK_TREE


def find_other_work_trees(git: GitRepo) -> list[tuple[Path, Path]]:
    """Finds other work trees of the repository: the top folder, and the path of `root` in it."""
    inside = git.call("rev-parse", "--show-prefix").stdout.decode(errors="surrogateescape").strip()
    here = git.top()
    found = []
    output = git.call("worktree", "list", "--porcelain").stdout.decode(errors="surrogateescape")
    for entry in output.split("\n\n"):
        lines = entry.split("\n")
        if lines and lines[0].startswith("worktree ") and "bare" not in lines:
            top = Path(lines[0].removeprefix("worktree "))
            if here is None or top.resolve() != here.resolve():
                found.append((top, top / inside))
    return found


def find_files(git: GitRepo, patterns: Sequence[str]) -> list[str]:
    """Finds tracked and untracked files in the work tree, by path below `root`.

    Raises:
        RegistryError: when a folder cannot be read, of which Git only warns.
    """
    done = git.call("ls-files", "-z", "--cached", "--others", "--", *patterns)
    if _UNLISTED in done.stderr:
        raise RegistryError(f"{git.root}: {done.stderr.decode(errors='replace').strip()}")
    return sorted({*done.stdout.decode(errors="surrogateescape").split("\0")[:-1]})


def short_name(ref: str) -> str:
    """A ref as people write it: ``branch main`` for ``refs/heads/main``."""
    kinds = {"refs/heads/": "branch ", "refs/tags/": "tag ", "refs/remotes/": "branch "}
    for prefix, kind in kinds.items():
        if ref.startswith(prefix):
            return kind + ref.removeprefix(prefix)
    return ref


def read_blobs_at(git: GitRepo, commit: str, is_wanted: Callable[[str], bool]) -> Mapping[str, str]:
    """The blobs of files in a commit, by path below `root`."""
    return _parse_blobs(git.entries("ls-tree", "-r", "-z", commit), 2, is_wanted)


def read_staged_blobs(git: GitRepo, is_wanted: Callable[[str], bool]) -> Mapping[str, str]:
    """The blobs of files in the index, by path."""
    return _parse_blobs(git.entries("ls-files", "--stage", "-z"), 1, is_wanted)


def _parse_blobs(
    entries: Iterable[str], field: int, is_wanted: Callable[[str], bool]
) -> Mapping[str, str]:
    split = (entry.split("\t", 1) for entry in entries)
    return {path: fields.split(" ")[field] for fields, path in split if is_wanted(path)}


def find_paths_of(git: GitRepo, place: Path) -> list[str]:
    """Finds where Git has stored the content of a file, in any commit or in the index.

    Returns:
        Paths from the top of the work tree; ``blob HASH`` if no commit names a path.
    """
    blob = git.call("hash-object", "--no-filters", "--", str(place)).stdout.decode().strip()
    if git.call("cat-file", "-e", blob, check=False).returncode != 0:
        return []
    done = git.call(
        *("-c", "core.quotePath=false", "log", "--all", *_head(git), f"--find-object={blob}"),
        *("--format=", "--name-only"),
    )
    return list(dict.fromkeys(filter(None, lines_of(done.stdout)))) or [f"blob {blob}"]
