"""Git remotes: their refs, fetching and pushing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from registry_assets.addresses import without_secrets
from registry_assets.errors import RegistryError
from registry_assets.git_repo.reading import GitRepo, error_line, lines_of, no_prompts

_MOST_SECONDS = 600.0
_BRANCHES = "refs/heads/"
_TAGS = "refs/tags/"
_PEELED = "^{}"
_SAID_BY_SERVER = "remote:"


@dataclass(frozen=True)
class RemoteRefs:
    """The refs of a remote.

    Attributes:
        default: The default branch; None if it has no commit yet.
        branches: Commits by the short names of branches.
        tags: Commits by the short names of tags.
    """

    default: str | None
    branches: Mapping[str, str]
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class GitRemote:
    """A remote that branches are pushed to.

    Attributes:
        git: The local repository.
        name: The name of the remote.
        url: The URL to push to.
        addresses: Its URL as configured, and as Git rewrites it (``url.<base>.insteadOf``).
    """

    git: GitRepo
    name: str
    url: str
    addresses: tuple[str, ...]

    @classmethod
    def find(cls, git: GitRepo, branch: str | None) -> GitRemote:
        """Finds the remote that `git push` would push a branch to.

        Raises:
            RegistryError: when there is none, or the choice is ambiguous.
        """
        names = lines_of(git.call("remote").stdout)
        if not names:
            raise RegistryError(
                "there is no Git remote to publish to: run `git remote add origin URL`"
            )
        configured = [
            git.setting(key)
            for key in (
                f"branch.{branch}.pushRemote",
                "remote.pushDefault",
                f"branch.{branch}.remote",
            )
        ]
        candidates = [*configured, *(names if len(names) == 1 else ()), "origin"]
        name = next((name for name in candidates if name in names), None)
        if name is None:
            raise RegistryError(
                f"there are several Git remotes ({', '.join(names)}): choose one with "
                "`git config remote.pushDefault NAME`"
            )
        url = git.call("remote", "get-url", "--push", "--", name).stdout.decode().strip()
        addresses = (
            git.setting(f"remote.{name}.pushurl") or git.setting(f"remote.{name}.url"),
            url,
        )
        return cls(git, name, url, tuple(dict.fromkeys(filter(None, addresses))))

    def read_state(self) -> RemoteRefs:
        """Lists its branches and tags; fetches nothing.

        Raises:
            SourceUnreachableError: with Git's message.
        """
        default, branches, tags = None, {}, {}
        for line in self.git.list_remote(self.url, "--symref"):
            what, _, name = line.partition("\t")
            if name == "HEAD" and what.startswith("ref: "):
                default = what.removeprefix("ref: ").removeprefix(_BRANCHES)
            elif name.startswith(_BRANCHES):
                branches[name.removeprefix(_BRANCHES)] = what
            elif name.startswith(_TAGS):
                # For an annotated tag, the peeled commit follows and overwrites the tag object.
                tags[name.removeprefix(_TAGS).removesuffix(_PEELED)] = what
        return RemoteRefs(default if default in branches else None, branches, tags)

    def fetch(self, branch: str) -> None:
        """Fetches a branch, without updating any ref of this repository."""
        self.git.call(
            *("fetch", "--quiet", "--no-tags", "--", self.url, f"{_BRANCHES}{branch}"),
            settings=no_prompts(),
            most_seconds=_MOST_SECONDS,
        )

    def push(self, branch: str, commit: str) -> tuple[str, ...]:
        """Pushes a commit to a branch, which must be new or fast-forward.

        Returns:
            The messages of the server, line by line.

        Raises:
            RegistryError: with Git's message.
        """
        return self._push(
            f"{commit}:{_BRANCHES}{branch}", f"the branch {branch}", "registry publish"
        )

    def push_tag(self, name: str) -> tuple[str, ...]:
        """Pushes a tag, unless the remote has it at another commit.

        Returns:
            The messages of the server, line by line.

        Raises:
            RegistryError: with Git's message.
        """
        ref = f"{_TAGS}{name}"
        return self._push(f"{ref}:{ref}", f"the tag {name}", f"registry tag {name} --push")

    def _push(self, what: str, called: str, again: str) -> tuple[str, ...]:
        done = self.git.call(
            *("push", "--", self.name, what),
            check=False,
            settings=no_prompts(),
            most_seconds=_MOST_SECONDS,
        )
        stderr = done.stderr.decode(errors="replace")
        if done.returncode != 0:
            raise RegistryError(
                f"pushing {called} to {without_secrets(self.url)} failed: "
                f"{without_secrets(error_line(stderr))}; its data is pushed already: fix this, "
                f"then run `{again}` again"
            )
        lines = (line.strip() for line in stderr.splitlines())
        return tuple(
            line.removeprefix(_SAID_BY_SERVER).strip()
            for line in lines
            if line.startswith(_SAID_BY_SERVER)
        )
