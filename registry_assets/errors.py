"""What can go wrong, each error with the next step in its message.

    RegistryError
    ├── NotFoundError                no registry, collection, file, revision or model of that name
    │   └── OutputNotFoundError      no metafile declares an output at that path
    ├── NotTrackedError              a collection that DVC, or a data set, does not know yet
    ├── MetafileError                a metafile, list or setting that cannot be read
    ├── RefusedError                 not done: something has to be fixed or decided first
    │   ├── RejectedError            a folder or archive that cannot become a collection
    │   ├── FileNotStorableError     a pipe, a name that is no text, what may not be read
    │   ├── LinksLeadNowhereError    links into a cache that is not there, or lacks the objects
    │   └── DataModifiedError        edited by hand, or never recorded: going on would lose it
    ├── DataNotAvailableError        neither in the workspace, nor in the cache, nor on a remote
    │   └── InputsLackingError       inputs of a stage that a worker finds nowhere
    ├── ListingNotAvailableError     what a version holds is not known on this machine
    ├── DataBeingWrittenError        a file that changed while it was being stored: wait, run again
    ├── RepositoryChangedError       branch, code or inputs changed during a run: run again
    │   └── DependencyOutdatedError  a file that a worker has otherwise than was recorded
    ├── RepositoryBusyError          somebody else holds the output for too long
    ├── StageFailedError             the command of a stage failed, or left an output out
    ├── AlgorithmVersionError        results of another version than this package computes
    ├── RemoteError                  a DVC remote that cannot be used, or lacks data
    │   ├── RemoteAccessError        it refuses access
    │   └── RemoteUnreachableError   it does not answer, or went away in the middle
    ├── SourceUnreachableError       the source of an import that cannot be asked
    ├── UnusableError                Git, Dagster's history or MLflow: missing, too old, refusing
    └── DvcError                     anything else that DVC reports

There is a class for what a caller can sensibly tell apart; the message says the rest.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

from registry_assets.addresses import without_secrets
from registry_assets.units import few_of, printable

DISK_STEPS = {
    errno.EROFS: "the file system is mounted read-only: mount it for writing, or work on a copy",
    errno.ENOSPC: "the disk is full: free some space, then run this again",
    errno.EDQUOT: "your quota is used up: free some space, then run this again",
}
"""The next step when a disk does not take any more, by number of the operating system."""
_STEPS_BY_WORDS = {
    # Git, of a file that was written in part.
    "Out of diskspace": DISK_STEPS[errno.ENOSPC],
    # SQLite, which says the second for a quota, too.
    "disk is full": DISK_STEPS[errno.ENOSPC],
    "disk I/O error": "check whether the disk is full or damaged, or your quota is used up",
}
"""The same, by words of programs that do not say the system's."""


def with_disk_step(said: str) -> str:
    """A message of another program, with the next step where a disk did not take any more."""
    return ": ".join([said, *(step for step in _disk_steps(said) if step not in said)])


def _disk_steps(said: str) -> list[str]:
    found = [step for number, step in DISK_STEPS.items() if os.strerror(number) in said]
    return found + [step for words, step in _STEPS_BY_WORDS.items() if words in said]


class RegistryError(Exception):
    """Base of every error that this package raises on purpose."""


class NotFoundError(RegistryError):
    """Nothing has that name or path, here or in the source of an import."""


class OutputNotFoundError(NotFoundError):
    """No metafile declares an output at a path."""

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(f"no metafile declares {path}: `registry lineage` lists what there is")


class NotTrackedError(RegistryError):
    """DVC, or the pipeline of a data set, does not know a collection yet."""


class MetafileError(RegistryError):
    """A metafile cannot be read."""

    def __init__(self, path: str, problem: str, line: int | None = None) -> None:
        self.path = path
        self.problem = problem
        self.line = line
        where = path if line is None else f"{path}:{line}"
        super().__init__(f"{where}: {problem}")


class RefusedError(RegistryError):
    """Something has to be fixed or decided before this can be done."""


class RejectedError(RefusedError):
    """A folder or an archive cannot become a collection as it is; it stays where it is."""

    def __init__(self, path: str, reason: str) -> None:
        self.reason = reason
        super().__init__(f"{path} cannot be taken in: {reason}")


class FileNotStorableError(RefusedError):
    """DVC cannot store a file: it would wait for ever, or fail."""

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(
            f"{printable(path)} cannot be stored ({reason}): take it away; of a collection, "
            "`registry add NAME` sets it aside"
        )


class LinksLeadNowhereError(RefusedError):
    """Files in the workspace are links to objects of a cache that are not there: not an edit."""

    def __init__(self, path: str, link: str, target: str, next_step: str) -> None:
        self.path = path
        self.reason = (
            f"{printable(link)} is a link to {printable(target)} in a cache, which is not there: "
            f"{next_step}"
        )
        super().__init__(f"{path} is not here in full: {self.reason}")


class DataModifiedError(RefusedError):
    """Data was edited by hand or never recorded, and going on would lose it."""

    def __init__(self, path: str, *, is_recorded: bool = True) -> None:
        self.path = path
        super().__init__(
            f"{path} differs from its recorded version and the difference is saved nowhere: "
            f"keep it with `dvc commit {path}`, or drop it with `dvc checkout --force {path}`"
            if is_recorded
            else f"{path} was never recorded and is saved nowhere: "
            f"keep it with `dvc commit {path}`, or delete it"
        )


class DataNotAvailableError(RegistryError):
    """A recorded version could not be found anywhere."""

    def __init__(self, path: str, reason: str, next_step: str | None = None) -> None:
        self.path = path
        self.reason = reason
        super().__init__(
            f"{path} is neither in the workspace nor in the cache, and pulling it failed "
            f"({reason}): "
            f"{next_step or 'push it from a machine that has it, or materialize it again'}"
        )


class InputsLackingError(DataNotAvailableError):
    """Inputs of a stage are neither in the cache of a worker nor on a remote."""

    def __init__(self, paths: Sequence[str], reason: str) -> None:
        self.paths = tuple(paths)
        super().__init__(few_of(paths), reason)


class ListingNotAvailableError(RegistryError):
    """The cache lacks the listing of a folder, so what is in it is not known."""

    def __init__(self, outputs: Sequence[str]) -> None:
        super().__init__(describe_unread(outputs))


def describe_unread(outputs: Sequence[str]) -> str:
    """The message for outputs whose listings the cache lacks."""
    target = f" {outputs[0]}" if len(outputs) == 1 else ""
    return (
        f"the listing of {few_of(outputs, 1)} is not in the cache: `dvc fetch{target}`, then ask "
        "again"
    )


class AlgorithmVersionError(RegistryError):
    """A data set states another version of an algorithm than this package computes."""

    def __init__(self, name: str, asked: int, computed: int) -> None:
        self.name = name
        self.asked = asked
        self.computed = computed
        super().__init__(
            f"params.yaml states version {asked} of `{name}`, and this registry-assets computes "
            f"version {computed}: write `{name}: {computed}` under `algorithms` there, after which "
            "what it governs is stale and is made anew, or install the registry-assets that "
            f"computes version {asked}"
        )


class RemoteError(RegistryError):
    """A remote cannot be used.

    Args:
        remote: Its name in DVC's configuration.
        url: Where it is, without secrets.
        reason: A clause about the remote.
        next_step: What to do about it.
    """

    def __init__(self, remote: str, url: str, reason: str, next_step: str) -> None:
        self.reason = f"remote {remote} ({url}) {reason}"
        self.next_step = next_step
        super().__init__(f"{self.reason}: {next_step}")


class RemoteAccessError(RemoteError):
    """A remote refuses access, or there are no credentials to ask it with."""

    def __init__(self, remote: str, url: str, reason: str) -> None:
        step = (
            f"check its credentials and what they may do; `dvc remote modify --local {remote}` "
            'sets them, see "Remotes" in the documentation'
        )
        if "://" not in url:
            step = "check who may read and write there"
        super().__init__(remote, url, f"refuses access ({reason})", step)


class RemoteUnreachableError(RemoteError):
    """A remote does not answer, or stopped answering."""

    def __init__(self, remote: str, url: str, reason: str) -> None:
        # A remote may be a folder on a disk.
        steps = _disk_steps(reason)
        super().__init__(
            remote,
            url,
            f"cannot be {'used' if steps else 'reached'} ({reason})",
            steps[0]
            if steps
            else "check its address and the network, then run this again: it resumes where it "
            "stopped",
        )


class SourceUnreachableError(RegistryError):
    """The source of an import cannot be asked."""

    def __init__(self, address: str, reason: str) -> None:
        self.address = without_secrets(address)
        self.reason = without_secrets(" ".join(reason.split()))
        steps = _disk_steps(self.reason)
        what = "used" if steps else "reached"
        step = steps[0] if steps else "check the address, the network and your access to it"
        super().__init__(f"{self.address} cannot be {what} ({self.reason}): {step}")


class DataBeingWrittenError(RegistryError):
    """A file changed while it was being hashed or stored."""

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(
            f"{path} changed while it was being stored, so nothing was recorded: wait until "
            "nobody writes to it, and run this again"
        )


class StageFailedError(RegistryError):
    """The command of a stage failed; its previous outputs, if any, are back in place."""

    def __init__(
        self, stage: str, reason: str, last_lines: Sequence[str] = (), *, has_previous: bool
    ) -> None:
        self.stage = stage
        self.reason = reason
        self.last_lines = tuple(last_lines)
        said = "".join(f"\n  | {line}" for line in last_lines)
        kept = "the previous version was kept" if has_previous else "nothing was recorded"
        super().__init__(f"{stage}: {reason}; {kept}{said}")


class RepositoryChangedError(RegistryError):
    """Something that a result depends on changed during the run."""

    def __init__(self, what: str, change: str) -> None:
        super().__init__(
            f"{what}: {change} while it was running, so nothing was recorded; run it again"
        )


class DependencyOutdatedError(RepositoryChangedError):
    """A dependency of a stage is not what it was when the stage was sent to a worker."""

    def __init__(self, stage: str, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(stage, f"{path} {reason}")


class RepositoryBusyError(RegistryError):
    """Somebody else has been holding an output, or the repository, for too long."""

    def __init__(self, waited_seconds: float, holder: str) -> None:
        self.holder = holder
        super().__init__(f"gave up after waiting {waited_seconds:.0f} s: {holder}")


class UnusableError(RegistryError):
    """A program or service that is needed is missing, too old, or refuses to work."""


class DvcError(RegistryError):
    """Anything else that DVC reports, in its own words."""
