"""Running ``git``, and reading branches, commits and files of a repository."""

from __future__ import annotations

import errno
import os
import re
import shlex
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from registry_assets.addresses import is_local, without_secrets
from registry_assets.errors import (
    RefusedError,
    RegistryError,
    SourceUnreachableError,
    UnusableError,
    with_disk_step,
)

_ANSWER_SECONDS = 20
_IGNORE_SECONDS = 120.0
_FATAL = 128
_LEAST_FREE_BYTES = 2**16
_DISTRUSTED = b"dubious ownership"
_OLDEST = (2, 31)
"""The first version with `rev-parse --path-format`."""
_LOCKED = re.compile(r"Unable to create '(?P<file>[^']+\.lock)': File exists")
_COMMIT = re.compile(r"[0-9a-f]{7,40}")
_WHOLE_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_ASKED_AT_ONCE = 100
_ANSWER_FIELDS = 4
"""File, line, rule and path (git-check-ignore(1))."""
_PIPE_BYTES = 2**12
"""The least that a pipe holds (pipe(7), PIPE_BUF)."""
_NO_BRANCH = "refs/heads/.invalid"
"""In the file of HEAD where references are kept elsewhere."""


AskIgnored = Callable[[Sequence[str]], frozenset[str] | None]
"""Filters paths that match an ignore rule; see `GitRepo.ignored`."""


def is_commit(rev: str) -> bool:
    """Whether a revision looks like a full or abbreviated commit hash."""
    return _COMMIT.fullmatch(rev) is not None


def find_rev(refs: Mapping[str, str], rev: str | None) -> str | None:
    """Finds the commit of a branch or tag; None if there is no such ref.

    Args:
        refs: As `GitRepo.read_refs` returns them.
        rev: The name (default: the default branch). A tag takes precedence over a branch of the
            same name (gitrevisions(7)).
    """
    if rev is None:
        return refs.get("HEAD")
    names = (rev, f"refs/{rev}", f"refs/tags/{rev}", f"refs/heads/{rev}")
    # An annotated tag is peeled to its commit.
    found = (refs.get(f"{name}^{{}}") or refs.get(name) for name in names)
    return next(filter(None, found), None)


def names_of(refs: Mapping[str, str]) -> list[str]:
    """The short names of branches, and then of tags; see `find_rev`."""
    return [
        name.removeprefix(kind)
        for kind in ("refs/heads/", "refs/tags/")
        for name in refs
        # An annotated tag is there a second time, peeled.
        if name.startswith(kind) and not name.endswith("^{}")
    ]


def no_prompts() -> dict[str, str]:
    """Environment variables that make Git fail instead of prompting."""
    settings = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    if "GIT_SSH_COMMAND" not in os.environ:
        settings["GIT_SSH_COMMAND"] = "ssh -oBatchMode=yes"
    return settings


def error_line(stderr: str) -> str:
    """The line of Git's stderr that states the error."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("fatal:", "error:", "ERROR:", "! ["))]
    return (errors or lines or [""])[0]


def with_lock_step(said: str) -> str:
    """An error of Git, with the next step where a file was in the way that says it is at work."""
    found = _LOCKED.search(said)
    if found is None:
        return said
    return (
        f"{said}: another `git` is at work, or one was killed; if none runs any more, remove "
        f"{found['file']}, then run this again"
    )


def lines_of(output: bytes) -> list[str]:
    """The lines of what Git prints. Only its own newlines end one: names may have others."""
    text = output.decode(errors="surrogateescape")
    return text.removesuffix("\n").split("\n") if text else []


def check_no_option(rev: str) -> None:
    """Checks that `git checkout` takes a revision for one; before 2.43 it knows no other way.

    Git makes no branch or tag whose name begins with a dash, but fetches those of others.

    Raises:
        RefusedError: when it would take it for an option.
    """
    if rev.startswith("-"):
        raise RefusedError(f"Git would take {rev} for an option: give its commit instead")


def run_git(
    *arguments: str,
    stdin: bytes = b"",
    settings: Mapping[str, str] | None = None,
    most_seconds: float | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Runs ``git``; the caller checks the exit status.

    Args:
        arguments: Of the command.
        stdin: What it reads.
        settings: Additional environment variables.
        most_seconds: Timeout.

    Raises:
        UnusableError: when Git is not installed, or does not trust the owner of the repository.
        TimeoutExpired: when it takes too long.
    """
    try:
        done = subprocess.run(
            ["git", *arguments],
            capture_output=True,
            input=stdin,
            check=False,
            # Its messages are parsed, so they must not be translated.
            env={**os.environ, "LANGUAGE": "en", **(settings or {})},
            timeout=most_seconds,
        )
    except FileNotFoundError as error:
        raise UnusableError("there is no `git` on the PATH: install Git 2.31 or newer") from error
    if done.returncode == _FATAL and _DISTRUSTED in done.stderr:
        stderr = done.stderr.decode(errors="replace")
        place = stderr.partition("repository at '")[2].partition("'")[0]
        raise UnusableError(
            f"{place} belongs to another user, and Git does not trust it: "
            f"if you do, run `git config --global --add safe.directory {shlex.quote(place)}`",
        )
    return done


def _command_in(arguments: Sequence[str]) -> str:
    """The command of Git in a command line, after its settings."""
    return arguments[0] if arguments[0] != "-c" else _command_in(arguments[2:])


def check_git() -> None:
    """Checks that a recent enough Git is installed.

    Raises:
        UnusableError: when it is not.
    """
    version = run_git("version").stdout.decode(errors="replace").strip()
    found = re.search(r"(\d+)\.(\d+)", version)
    if found is not None and (int(found[1]), int(found[2])) < _OLDEST:
        raise UnusableError(f"{version} is too old: install Git 2.31 or newer")


def _ask(process: subprocess.Popen[bytes], paths: Sequence[str]) -> Iterator[str]:
    """The ignored ones among paths, as `git check-ignore --verbose --non-matching` says.

    Raises:
        EOFError: when it has ended before it has answered.
        OSError: the same.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    for start in range(0, len(paths), _ASKED_AT_ONCE):
        asked = paths[start : start + _ASKED_AT_ONCE]
        text = "".join(f"{path}\0" for path in asked).encode(errors="surrogateescape")
        answer = bytearray()
        # In parts that a pipe holds, as it may wait until its answers are read.
        for begin in range(0, len(text), _PIPE_BYTES):
            process.stdin.write(text[begin : begin + _PIPE_BYTES])
            wanted = text.count(b"\0", 0, begin + _PIPE_BYTES) * _ANSWER_FIELDS
            while answer.count(b"\0") < wanted:
                part = process.stdout.read(_PIPE_BYTES)
                if not part:
                    raise EOFError
                answer += part
        words = answer.decode(errors="surrogateescape").split("\0")
        for rule, path in zip(words[2::_ANSWER_FIELDS], words[3::_ANSWER_FIELDS], strict=True):
            if rule and not rule.startswith("!"):
                yield path


@contextmanager
def _killed_after(seconds: float, process: subprocess.Popen[bytes]) -> Iterator[threading.Event]:
    """Kills a process when the block takes too long; yields what tells whether it was killed."""
    is_late = threading.Event()

    def end() -> None:
        is_late.set()
        process.kill()

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield is_late
    finally:
        timer.cancel()


class GitRepo:
    """The Git repository that a folder lies in, if any.

    Args:
        root: Any folder of the work tree.
        ignore_seconds: The longest time to wait for what Git ignores: rules can take it for ever.
    """

    def __init__(self, root: Path, *, ignore_seconds: float = _IGNORE_SECONDS) -> None:
        self.root = root
        self._ignore_seconds = ignore_seconds
        self._head_file: Path | None = None

    def _run(self, *arguments: str, check: bool = False) -> str | None:
        done = self.call(*arguments, check=check)
        return None if done.returncode else done.stdout.decode(errors="surrogateescape").strip()

    def _lines(self, *arguments: str) -> list[str]:
        """The lines that a command prints; none if it fails."""
        done = self.call(*arguments, check=False)
        return [] if done.returncode else lines_of(done.stdout)

    def call(
        self,
        *arguments: str,
        check: bool = True,
        stdin: bytes = b"",
        settings: Mapping[str, str] | None = None,
        most_seconds: float | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """Runs ``git`` in the folder.

        Args:
            arguments: Of the command.
            check: Whether to raise when it fails.
            stdin: What it reads.
            settings: Additional environment variables.
            most_seconds: Timeout.

        Raises:
            RegistryError: with Git's message, when it fails or takes too long.
        """
        try:
            done = run_git(
                *("-C", str(self.root), *arguments),
                stdin=stdin,
                settings=settings,
                most_seconds=most_seconds,
            )
        except subprocess.TimeoutExpired as error:
            reason = f"no answer within {most_seconds:.0f} s"
            raise RegistryError(f"git {_command_in(arguments)} failed: {reason}") from error
        if check and done.returncode != 0:
            reason = without_secrets(error_line(done.stderr.decode(errors="replace")))
            if shutil.disk_usage(self.root).free < _LEAST_FREE_BYTES:
                # Git does not say of each file why it could not be written.
                reason = f"{reason} ({os.strerror(errno.ENOSPC)})"
            raise RegistryError(
                with_lock_step(with_disk_step(f"git {_command_in(arguments)} failed: {reason}"))
            )
        return done

    def entries(
        self, *arguments: str, check: bool = True, settings: Mapping[str, str] | None = None
    ) -> list[str]:
        """The NUL-terminated entries that a command with ``-z`` prints; see `call`."""
        done = self.call(*arguments, check=check, settings=settings)
        return done.stdout.decode(errors="surrogateescape").split("\0")[:-1]

    @property
    def is_present(self) -> bool:
        """Whether the folder lies in a Git work tree."""
        return self._run("rev-parse", "--is-inside-work-tree") == "true"

    @property
    def is_repository(self) -> bool:
        """Whether the folder lies in a Git repository, with or without a work tree."""
        return self._run("rev-parse", "--git-dir") is not None

    @property
    def is_shallow(self) -> bool:
        """Whether the clone is shallow, as made with ``--depth``."""
        return self._run("rev-parse", "--is-shallow-repository") == "true"

    def head(self) -> str | None:
        """The full name of the checked-out branch, or the commit of a detached HEAD, or None.

        Read from its file, as runs ask before each stage. Where references are not files, Git is
        asked (gitformat-reftable(5)).
        """
        if self._head_file is None:
            folder = self._run("rev-parse", "--absolute-git-dir")
            if folder is None:
                return None
            self._head_file = Path(folder, "HEAD")
        with suppress(OSError, UnicodeDecodeError):
            text = self._head_file.read_text(encoding="utf-8").strip()
            name = text.removeprefix("ref: ")
            if name != _NO_BRANCH and (name != text or _WHOLE_COMMIT.fullmatch(text)):
                return name
        return self._run("symbolic-ref", "--quiet", "HEAD") or self.commit()

    def commit(self) -> str | None:
        """The checked-out commit; None if there is none yet."""
        return self._run("rev-parse", "--verify", "--quiet", "HEAD")

    def first_commit(self) -> str | None:
        """The oldest commit, which all clones share; None where the history does not show it."""
        if self.is_shallow:
            return None
        roots = self._run("rev-list", "--max-parents=0", "HEAD")
        return roots.split()[-1] if roots else None

    def branch(self) -> str | None:
        """The short name of the checked-out branch; None if HEAD is detached."""
        return self._run("symbolic-ref", "--quiet", "--short", "HEAD")

    def setting(self, key: str) -> str | None:
        """The value of a setting in Git's configuration; None if it is not set."""
        return self._run("config", "--get", key) or None

    def author(self) -> str:
        """The author of a new commit: name and email address.

        Raises:
            RegistryError: when Git does not know it.
        """
        found = self.find_author()
        if found is None:
            raise RegistryError(
                "Git does not know who you are: say so with --by, or run `git config --global "
                "user.name NAME` and `git config --global user.email ADDRESS`"
            )
        return found

    def find_author(self) -> str | None:
        """The author of a new commit; None when Git does not know it."""
        ident = self._run("var", "GIT_AUTHOR_IDENT")
        # "NAME <ADDRESS> TIME".
        return None if ident is None else ident.rpartition(">")[0] + ">"

    def text_at(self, commit: str, path: str) -> str | None:
        """The text of a file in a commit, by path from `root`; None if it is not in it."""
        return self._run("show", "--end-of-options", f"{commit}:./{path}")

    def newest_change(self, text: str, path: str, start: str = "HEAD") -> str | None:
        """The newest ancestor of `start` that added or removed a text in a file; None if none."""
        return self._run("log", "-1", "--format=%H", f"-S{text}", start, "--", path) or None

    def changes(self, pattern: str, paths: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Yields the commits of all branches that changed lines matching a pattern.

        Args:
            pattern: A regular expression, as for `git log -G`.
            paths: Git pathspecs of the files to look at, below `root`.

        Yields:
            Commit and path of the file from `root`, newest first.
        """
        output = self._run(
            *("-c", "core.quotePath=false", "log", "--all", "--format=%x00%H"),
            *("--name-only", "--relative", f"-G{pattern}", "--", *paths),
        )
        for entry in (output or "").split("\0")[1:]:
            commit, *files = entry.split("\n")
            yield from ((commit, file) for file in files if file)

    def init(self) -> None:
        """Makes the folder a Git repository with the branch ``main``."""
        # DVC cannot read SHA-256 repositories, which may be the configured default.
        self._run("init", "--quiet", "--initial-branch=main", "--object-format=sha1", check=True)

    @property
    def has_readable_objects(self) -> bool:
        """Whether DVC can read this repository: it supports SHA-1 objects only."""
        return self._run("rev-parse", "--show-object-format") in (None, "sha1")

    def top(self) -> Path | None:
        """The top folder of the work tree."""
        done = self.call("rev-parse", "--show-toplevel", check=False)
        # Only the newline is removed: the name may end in a space.
        top = os.fsdecode(done.stdout).removesuffix("\n")
        return Path(top) if done.returncode == 0 and top else None

    def ignored(self, paths: Sequence[str]) -> frozenset[str] | None:
        """Filters paths that match an ignore rule, whether or not Git tracks them.

        Args:
            paths: From `root`, or absolute; a folder ends in ``/``.

        Returns:
            None if Git cannot tell: outside a repository, or when a path lies in a submodule.

        Raises:
            RegistryError: when Git takes too long.
        """
        if not paths:
            return frozenset()
        stdin = "\0".join(paths).encode(errors="surrogateescape")
        arguments = ("check-ignore", "--no-index", "-z", "--stdin")
        try:
            done = run_git(
                *("-C", str(self.root), *arguments), stdin=stdin, most_seconds=self._ignore_seconds
            )
        except subprocess.TimeoutExpired as error:
            raise self._takes_too_long_to_ignore() from error
        found = done.stdout.decode(errors="surrogateescape").split("\0")[:-1]
        return frozenset(found) if done.returncode in (0, 1) else None

    @contextmanager
    def asking_ignored(self) -> Iterator[AskIgnored]:
        """Answers any number of calls of `ignored` with one process, which takes most of the time.

        Ignore files that change within the context may not be noticed. It raises what `ignored`
        raises.
        """
        process: subprocess.Popen[bytes] | None = None

        def ignored(paths: Sequence[str]) -> frozenset[str] | None:
            nonlocal process
            if not paths:
                return frozenset()
            with suppress(OSError, EOFError):
                process = process or self._start_ignoring()
                with _killed_after(self._ignore_seconds, process) as is_late:
                    try:
                        return frozenset(_ask(process, paths))
                    except (OSError, EOFError):
                        if is_late.is_set():
                            raise self._takes_too_long_to_ignore() from None
                        raise
            # It has ended, as it cannot tell or is not there.
            return self.ignored(paths)

        try:
            yield ignored
        finally:
            if process is not None:
                process.communicate()

    def _takes_too_long_to_ignore(self) -> RegistryError:
        return RegistryError(
            f"Git does not tell in {self._ignore_seconds:.0f} s what it ignores: look for rules "
            "with many ** in .gitignore files, or check out another commit with `git checkout`"
        )

    def _start_ignoring(self) -> subprocess.Popen[bytes]:
        options = ("--no-index", "--verbose", "--non-matching", "-z", "--stdin")
        return subprocess.Popen(
            ["git", "-C", str(self.root), "check-ignore", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )

    def ignore_rules(self, paths: Sequence[str]) -> Mapping[str, str]:
        """The rule that ignores each path, as ``.gitignore:3: raw/**``, by path.

        Args:
            paths: As for `ignored`; paths that are not ignored are left out of the result.
        """
        if not paths:
            return {}
        stdin = "\0".join(paths).encode(errors="surrogateescape")
        done = self.call(
            "check-ignore", "--no-index", "-v", "-z", "--stdin", check=False, stdin=stdin
        )
        words = done.stdout.decode(errors="surrogateescape").split("\0")
        fields = zip(*(words[number::4] for number in range(4)), strict=False)
        return {path: f"{file}:{line}: {rule}" for file, line, rule, path in fields}

    def tracked(self, paths: Sequence[str]) -> frozenset[str]:
        """The tracked files among paths; a folder stands for all files in it."""
        return frozenset(self.entries("ls-files", "-z", "--", *(f":(literal){p}" for p in paths)))

    def tracked_like(self, patterns: Sequence[str]) -> tuple[str, ...]:
        """The tracked files that match one of some glob patterns (``**`` matches folders)."""
        if not patterns:
            return ()
        wanted = (f":(glob){pattern}" for pattern in patterns)
        return tuple(self.entries("ls-files", "-z", "--", *wanted, check=False))

    def settings_files(self) -> tuple[Path, ...]:
        """The files with this repository's settings and local ignore rules."""
        named = ("config", "info/exclude")
        options = [word for name in named for word in ("--git-path", name)]
        paths = self._lines("rev-parse", "--path-format=absolute", *options)
        excludes = self._run("config", "--type=path", "--get", "core.excludesFile")
        return tuple(map(Path, [*paths, *((excludes,) if excludes else ())]))

    def prefix(self) -> str:
        """The path of `root` from the top of the work tree, ending in ``/``; "" at the top."""
        # Only the newline is removed: the name may begin or end with a space.
        done = self.call("rev-parse", "--show-prefix", check=False)
        return "" if done.returncode else os.fsdecode(done.stdout).removesuffix("\n")

    def remotes(self) -> tuple[str, ...]:
        """The URLs of all remotes."""
        listed = self._lines("remote", "--verbose")
        # "origin<tab>URL (fetch)": the URL may contain spaces.
        addresses = (line.partition("\t")[2].rpartition(" (")[0] for line in listed)
        return tuple(dict.fromkeys(filter(None, addresses)))

    def remote_branches(self) -> list[str]:
        """The branches that remotes had when they were fetched, without the names of remotes."""
        listed = self._lines("for-each-ref", "--format=%(refname:lstrip=3)", "refs/remotes")
        return sorted(set(listed) - {"HEAD"})

    def resolve(self, rev: str | None) -> str | None:
        """The commit of a revision (default: HEAD), also of a branch of origin; None if unknown."""
        if rev is not None and "\0" in rev:
            # No argument of a process can hold that.
            return None
        names = ("HEAD",) if rev is None else (rev, f"refs/remotes/origin/{rev}")
        found = (
            self._run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
            for name in names
        )
        return next(filter(None, found), None)

    def holds(self, commit: str) -> bool:
        """Whether a commit is reachable from HEAD, a branch or a tag.

        A clone gets reachable commits only, even if this repository still has the object.
        """
        ancestry = ("merge-base", "--is-ancestor", "--end-of-options", commit, "HEAD")
        if self._run(*ancestry) is not None:
            return True
        return bool(self._run("for-each-ref", "--count=1", f"--contains={commit}"))

    def resolve_ref(self, name: str) -> str | None:
        """The commit of a ref, by its full name; None if there is no such ref."""
        return self._run("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")

    def is_branch_name(self, name: str) -> bool:
        """Whether this is a valid name for a branch."""
        return self._run("check-ref-format", "--branch", name) == name

    def merge_base(self, one: str, other: str) -> str | None:
        """The best common ancestor of two commits; None if they share no history."""
        return self._run("merge-base", one, other)

    def is_known(self, commit: str) -> bool:
        """Whether this repository has a commit, reachable or not."""
        return self._run("cat-file", "-e", "--end-of-options", f"{commit}^{{commit}}") is not None

    def count_commits(self, start: str, end: str) -> int:
        """The number of commits in ``start..end``."""
        return int(self._run("rev-list", "--count", f"{start}..{end}") or 0)

    def clone(self, source: str, *, asks: bool) -> None:
        """Clones a repository into this folder, which is not there yet, for people to work in.

        Args:
            source: An address, as Git takes it.
            asks: Whether Git may ask somebody at the terminal for a password.

        Raises:
            SourceUnreachableError: when it cannot be cloned, with Git's reason.
        """
        settings = {"LC_ALL": "C"} if asks else no_prompts()
        done = run_git("clone", "--quiet", "--", source, str(self.root), settings=settings)
        if done.returncode != 0:
            said = error_line(done.stderr.decode(errors="replace"))
            raise SourceUnreachableError(source, said or "git clone failed")

    def check_out(self, source: str, commit: str) -> None:
        """Clones a repository into this folder, which must not exist, and checks out a commit.

        Args:
            source: A URL, or a local repository, whose objects are shared.
            commit: The commit; in a local repository it need not be reachable.

        Raises:
            RefusedError: when Git would take the commit for an option.
            SourceUnreachableError: when it cannot be cloned, or has no such commit.
        """
        check_no_option(commit)
        sharing = ["--shared"] if is_local(source) else []
        clone = ["clone", "--quiet", "--no-checkout", *sharing, "--", source, str(self.root)]
        for arguments in (
            clone,
            ["-C", str(self.root), "checkout", "--quiet", "--detach", commit, "--"],
        ):
            # Configured hooks are meant for people who work in a clone.
            done = run_git("-c", f"core.hooksPath={os.devnull}", *arguments, settings=no_prompts())
            if done.returncode != 0:
                reason = error_line(done.stderr.decode(errors="replace"))
                raise SourceUnreachableError(source, reason or "git failed")

    def read_refs(self, url: str) -> Mapping[str, str]:
        """Lists the refs of a repository elsewhere; fetches nothing.

        Returns:
            Commits by the full names of refs, with ``HEAD`` for the default branch.

        Raises:
            SourceUnreachableError: with Git's message.
        """
        lines = (line.partition("\t") for line in self.list_remote(url))
        return {name: commit for commit, _, name in lines}

    def list_remote(self, url: str, *options: str) -> list[str]:
        """The output of `git ls-remote`, line by line.

        Raises:
            SourceUnreachableError: with Git's message.
        """
        try:
            done = self.call(
                *("ls-remote", *options, "--", url),
                check=False,
                settings=no_prompts(),
                most_seconds=_ANSWER_SECONDS,
            )
        except RegistryError as error:
            reason = f"no answer within {_ANSWER_SECONDS} s"
            raise SourceUnreachableError(url, reason) from error
        if done.returncode != 0:
            reason = error_line(done.stderr.decode(errors="replace"))
            raise SourceUnreachableError(url, reason or "git ls-remote failed")
        return lines_of(done.stdout)
