"""What can go wrong, each error with the next step in its message.

    RegistryError
    ├── RegistryNotFoundError        no DVC repository at or above the folder
    ├── MetafileError                a metafile, list or setting that can't be read
    ├── MetafileIgnoredError         a metafile that DVC does not see, as Git ignores it
    ├── LinkedFolderError            a symbolic link where a folder with data is due
    ├── KeptOutError                 a metafile that Git keeps out of the work tree
    ├── CollectionNameError          a name that must not reach a shell command
    ├── CollectionNotFoundError      neither a folder nor a metafile of that name
    ├── CollectionNotTrackedError    a folder that DVC does not know yet
    ├── CollectionRejectedError      a folder that cannot become a collection as it is
    ├── ArchiveRejectedError         an archive that cannot become a collection
    ├── CollectionNotTakenInError    a data set whose pipeline does not list the collection
    ├── DatasetNotFoundError         no data set of that name
    ├── DatasetNotChosenError        an image that no data set has, or several
    ├── NoDecisionsError             a data set whose stages heed no decisions about images
    ├── ImageNotDecidableError       a file about which deciding would change nothing
    ├── NotDecidedError              nothing was decided that could be taken back
    ├── OutputNotFoundError          no output at that path
    ├── NotAFileError                a folder, or something that cannot be read, where a file is due
    ├── FileNotRecordedError         a file that no recorded version holds
    ├── MadeOfAnotherError           a file to be forgotten that was made of another
    ├── ListingNotAvailableError     what a version holds is not known on this machine
    ├── DataNotAvailableError        neither in the workspace, nor in the cache, nor on a remote
    ├── DependencyMissingError       a file that a stage reads and nothing declares to make
    ├── RemoteError                  a remote that cannot be used
    │   ├── RemoteExtraMissingError  its kind of storage needs an extra
    │   ├── RemoteAccessError        it refuses access
    │   ├── RemoteUnreachableError   it does not answer, or went away in the middle
    │   ├── RemoteLacksDataError     objects are not there
    │   └── RemoteDamagedError       objects there that do not hold what their names say
    ├── SourceUnreachableError       the source of an import that cannot be asked
    ├── SourceGoneError              the source of an import lacks what was imported
    ├── SourceForgottenError         the source of an import has forgotten pictures of that version
    ├── GarbageError                 what the cache has to keep is not known
    ├── DataModifiedError            edited by hand, so that restoring would lose the edit
    ├── DataBeingWrittenError        a file that changed while it was being stored
    ├── FileNotStorableError         a pipe, a name that is no text, what may not be read
    ├── FilesLeftOutError            files that would be in no version, as DVC ignores them
    ├── AlgorithmVersionError        results of another version than this package computes
    ├── DatasetFormError             a data set whose stages state no versions of algorithms
    ├── StageFailedError             the command of a stage failed, or left an output out
    ├── RepositoryChangedError       branch, code or inputs changed while a stage was running
    ├── RepositoryBusyError          somebody else holds the output for too long
    ├── PublishError                 something that stands in the way of publishing
    ├── RevisionNotFoundError        no commit, branch or tag of that name
    ├── WouldBeLostError             checking a commit out would lose what is saved nowhere
    ├── CheckoutError                something else that stands in the way of checking one out
    ├── VersionError                 something that stands in the way of a version of a data set
    ├── MlflowNotInstalledError      asked for models without the client for MLflow
    ├── ModelServerError             the MLflow server does not answer, or refuses
    ├── ModelNotFoundError           no model, version or alias of that name
    ├── RunGoneError                 the run that made a model was deleted
    ├── HistoryError                 Dagster's history of the registry cannot be used
    ├── GitUnusableError             Git is missing, too old, or refuses the repository
    └── DvcError                     anything else that DVC reports

Errors take facts and build their own message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from registry_assets.addresses import without_secrets
from registry_assets.units import few_of, printable

if TYPE_CHECKING:
    from registry_assets.forgotten import Forgotten


class RegistryError(Exception):
    """Base of every error that this package raises on purpose."""


class RegistryNotFoundError(RegistryError):
    """There is no DVC repository at or above a folder."""

    def __init__(self, start: Path) -> None:
        self.start = start
        super().__init__(
            f"no DVC repository at or above {start}: "
            f"run `registry init {start}` to make one, or name one with --root"
        )


class MetafileError(RegistryError):
    """A metafile cannot be read."""

    def __init__(self, path: str, problem: str, line: int | None = None) -> None:
        self.path = path
        self.problem = problem
        self.line = line
        where = path if line is None else f"{path}:{line}"
        super().__init__(f"{where}: {problem}")


class MetafileIgnoredError(RegistryError):
    """DVC does not see metafiles, as they are ignored.

    Args:
        metafiles: The metafiles, from the root.
        by: What ignores them: Git, or a ``.dvcignore``.
        rule: The rule, with its file and line, where it is known.
        culprit: What the rule is about: a metafile, or a folder above, which ends in ``/``.
    """

    def __init__(
        self,
        metafiles: Sequence[str],
        by: str,
        rule: str | None = None,
        culprit: str | None = None,
    ) -> None:
        self.metafiles = tuple(metafiles)
        them = "it" if len(metafiles) == 1 else "them"
        what = culprit if culprit is not None and culprit.endswith("/") else them
        where = f" ({rule})" if rule is not None else ""
        next_step = "take that line out" if by == "Git" else "take the line that does so out"
        if by == "Git":
            next_step += (
                f", as DVC keeps data out of Git by itself, or name {them} in .dvcignore to do "
                f"without {them}"
            )
        super().__init__(
            f"{few_of(metafiles)}: {by} ignores {what}{where}, so DVC does not see {them}: "
            f"{next_step}"
        )


class LinkedFolderError(RegistryError):
    """There is a symbolic link where a folder with data is due."""

    def __init__(self, link: str, target: str) -> None:
        self.link = link
        self.target = target
        super().__init__(
            f"{link} is a symbolic link to {target}, and DVC follows no link to a folder: move "
            "the folder into its place; to have the data on another disk, move the whole registry "
            "there, or its cache (`dvc cache dir --local FOLDER`, then `dvc config --local "
            "cache.type symlink`)"
        )


class KeptOutError(RegistryError):
    """A metafile is not in the work tree because Git keeps it out, and must not be written anew."""

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(f"{path} {KEPT_OUT}: {describe_bringing_in(path)}")


KEPT_OUT = "is recorded, but Git keeps it out of this work tree"
"""What to say of a metafile outside a sparse checkout."""


def describe_bringing_in(path: str) -> str:
    """How to have a file in the work tree that Git keeps out."""
    return (
        f"`git sparse-checkout add {PurePosixPath(path).parent}` brings it in, or where a flag "
        f"does that (`skip-worktree`, `assume-unchanged`) `git update-index --no-FLAG {path}` and "
        f"`git restore {path}`"
    )


class CollectionNameError(RegistryError):
    """The name of a collection is not safe in a shell command or a path."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason
        super().__init__(
            f"{name!r} cannot be the name of a collection: {reason}; rename the folder"
        )


class CollectionNotFoundError(RegistryError):
    """There is neither a folder nor a metafile for a collection."""

    def __init__(self, name: str, folder: str) -> None:
        self.name = name
        super().__init__(
            f"there is no collection {name}: put its files into {folder}/{name} and run "
            f"`registry add {name}`, or bring {folder}/{name}.dvc back from Git"
        )


class CollectionNotTrackedError(RegistryError):
    """A collection's folder is there, but DVC does not know it."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"{name} is not tracked yet: run `registry add {name}`")


class CollectionRejectedError(RegistryError):
    """A folder cannot become a collection as it is."""

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path} cannot be taken in: {reason}")


class ArchiveRejectedError(RegistryError):
    """An archive cannot become a collection; it stays where it is."""

    def __init__(self, archive: str, reason: str) -> None:
        self.reason = reason
        super().__init__(f"{archive} cannot be taken in: {reason}")


class CollectionNotTakenInError(RegistryError):
    """The pipeline of a data set does not list a collection."""

    def __init__(self, name: str, stage: str, dataset: str) -> None:
        self.name = name
        super().__init__(
            f"{stage} does not list {name}: run `registry import {name} --into {dataset}`"
        )


class DatasetNotFoundError(RegistryError):
    """There is no data set of a name."""

    def __init__(self, name: str, known: Sequence[str], problems: Sequence[str] = ()) -> None:
        self.name = name
        choice = f"choose one of {', '.join(known)}" if known else "no folder here is a data set"
        unread = f", or mend what cannot be read: {'; '.join(problems)}" if problems else ""
        super().__init__(f"there is no data set {name}: {choice}{unread}")


class DatasetNotChosenError(RegistryError):
    """An image is in no data set, or in several."""

    def __init__(self, file: str, datasets: Sequence[str]) -> None:
        self.datasets = tuple(datasets)
        super().__init__(
            f"{file} is in {', '.join(datasets)}: choose one with --dataset"
            if datasets
            else f"{file} is in no data set: take its collection in with `registry import` first"
        )


class NoDecisionsError(RegistryError):
    """The stages of a data set do not heed what people decide about images."""

    def __init__(self, dataset: str) -> None:
        super().__init__(
            f"no stage of {dataset} depends on decisions/${{item}}.yaml: declare it in its "
            "dvc.yaml, as the data set does that `registry init` writes"
        )


class ImageNotDecidableError(RegistryError):
    """Deciding about a file would change nothing."""

    def __init__(self, file: str, reason: str) -> None:
        self.reason = reason
        super().__init__(f"{file} {reason}")


class NotDecidedError(RegistryError):
    """Nothing was decided about an image, so nothing can be taken back."""

    def __init__(self, file: str) -> None:
        super().__init__(f"nothing was decided about {file}: `registry decisions` lists what was")


class OutputNotFoundError(RegistryError):
    """No metafile declares an output at a path."""

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(f"no metafile declares {path}: `registry lineage` lists what there is")


class NotAFileError(RegistryError):
    """There is something else than a file, or a file that cannot be read."""

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        super().__init__(f"{path} {reason}")


class FileNotRecordedError(RegistryError):
    """No recorded version, current or former, holds a file.

    Args:
        path: As it was asked for.
        md5: Its content; None when there is no such file on this machine either.
        was_edited: Whether a metafile records the path with another content.
        unread: Outputs whose listings could not be searched.
    """

    def __init__(
        self, path: str, md5: str | None, *, was_edited: bool = False, unread: Sequence[str] = ()
    ) -> None:
        self.path = path
        if md5 is None:
            said = (
                f"there is no file {path}, and no metafile records one: check the path, "
                "`registry lineage` lists the outputs"
            )
        elif was_edited:
            said = (
                f"{path} was edited, and no recorded version holds what it is now (md5 {md5}): "
                "`registry status` says how to record it"
            )
        elif unread:
            said = f"{path} (md5 {md5}) was not found so far, as {describe_unread(unread)}"
        else:
            said = (
                f"no recorded version holds {path} (md5 {md5}): "
                "`registry add NAME` takes a collection in"
            )
        super().__init__(said)


class MadeOfAnotherError(RegistryError):
    """A file cannot be forgotten by itself: whoever runs the stage gets it again."""

    def __init__(self, path: str, source: str) -> None:
        self.source = source
        super().__init__(
            f"{path} was made of {source}: name that, and all that was made of it is forgotten, too"
        )


class ListingNotAvailableError(RegistryError):
    """The cache lacks the listing of a folder, so what is in it is not known."""

    def __init__(self, outputs: Sequence[str]) -> None:
        super().__init__(describe_unread(outputs))


def describe_unread(outputs: Sequence[str]) -> str:
    """What to say of outputs whose listings the cache lacks."""
    first, *others = outputs
    more = f" and {len(others)} more" if others else ""
    target = "" if others else f" {first}"
    return f"the listing of {first}{more} is not in the cache: `dvc fetch{target}`, then ask again"


class DataNotAvailableError(RegistryError):
    """A recorded version is nowhere to be had."""

    def __init__(self, path: str, reason: str, next_step: str | None = None) -> None:
        self.path = path
        self.reason = reason
        super().__init__(
            f"{path} is neither in the workspace nor in the cache, and pulling it failed "
            f"({reason}): "
            f"{next_step or 'push it from a machine that has it, or materialize it again'}"
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


class DatasetFormError(RegistryError):
    """The stages of a data set are those of a version in which they stated no algorithms."""

    def __init__(self) -> None:
        super().__init__(
            "the stages of this data set are those of an earlier registry-assets, and this one "
            "measures otherwise: run `registry init . --upgrade` at the root of the registry, look "
            "at what it changed, then run `registry materialize`; or install the earlier one"
        )


class DependencyMissingError(RegistryError):
    """A file or folder that a stage reads is not there, and no recorded version brings it back."""

    def __init__(self, stage: str, path: str) -> None:
        self.stage = stage
        self.path = path
        super().__init__(
            f"{stage} reads {path}, which is not there: bring it back (`git restore {path}`), run "
            "what writes it again (`registry materialize --force`), or take it out of the deps"
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


class RemoteExtraMissingError(RemoteError):
    """What talks to this kind of storage is not installed."""

    def __init__(self, remote: str, url: str, package: str) -> None:
        super().__init__(
            remote, url, "needs something more to be installed", f"run `pip install '{package}'`"
        )


class RemoteAccessError(RemoteError):
    """A remote refuses access, or there are no credentials to ask it with."""

    def __init__(self, remote: str, url: str, reason: str) -> None:
        step = (
            f"check its credentials and what they may do; `dvc remote modify --local {remote}` "
            'sets them, see "Remotes" in the README'
        )
        if "://" not in url:
            step = "check who may read and write there"
        super().__init__(remote, url, f"refuses access ({reason})", step)


class RemoteUnreachableError(RemoteError):
    """A remote does not answer, or stopped to do so."""

    def __init__(self, remote: str, url: str, reason: str) -> None:
        super().__init__(
            remote,
            url,
            f"cannot be reached ({reason})",
            "check its address and the way there, then run this again: it goes on where it stopped",
        )


class RemoteLacksDataError(RemoteError):
    """Objects are not on a remote, nor is anything to send there."""

    def __init__(self, remote: str, url: str, names: Sequence[str]) -> None:
        self.names = tuple(names)
        super().__init__(
            remote,
            url,
            f"lacks {few_of(names)}",
            "run `registry push` on a machine that has them in its cache, or make them again",
        )


class RemoteDamagedError(RemoteError):
    """Objects on a remote do not hold what their names say."""

    def __init__(self, remote: str, url: str, names: Sequence[str]) -> None:
        self.names = tuple(names)
        super().__init__(
            remote,
            url,
            f"has damaged objects: {few_of(names)}",
            "run `registry push --full` on a machine that has them in its cache, to replace them",
        )


class SourceUnreachableError(RegistryError):
    """The source of an import cannot be asked."""

    def __init__(self, address: str, reason: str) -> None:
        self.address = without_secrets(address)
        self.reason = without_secrets(" ".join(reason.split()))
        super().__init__(
            f"{self.address} cannot be reached ({self.reason}): check the address, the network "
            "and your access to it"
        )


class SourceGoneError(RegistryError):
    """The source of an import does not have any more what was imported."""

    def __init__(self, path: str, address: str, lacks: str) -> None:
        self.path = path
        super().__init__(
            f"{without_secrets(address)} has no {lacks}, so {path} stays as it is: check the name, "
            "or import it again from where it is now"
        )


class SourceForgottenError(RegistryError):
    """What is to be imported holds pictures that its source has forgotten for good.

    Args:
        path: What was to be imported, as the source calls it.
        source: The repository.
        commit: The version of it.
        forgotten: What was forgotten, by path inside.
    """

    def __init__(
        self, path: str, source: str, commit: str, forgotten: Mapping[str, Forgotten]
    ) -> None:
        self.forgotten = forgotten
        name, entry = next(iter(forgotten.items()))
        more = f" and {len(forgotten) - 1} more" if len(forgotten) > 1 else ""
        who = f" by {entry.who}" if entry.who else ""
        why = f" ({entry.why})" if entry.why else ""
        super().__init__(
            f"{path} cannot be had as it was at commit {commit[:7]} of {without_secrets(source)}: "
            f"{name}{more} was forgotten there on {entry.when[:10]}{who}{why}, and its objects are "
            "gone for good: take a newer version, without --rev or with another"
        )


class GarbageError(RegistryError):
    """It is not known what the cache has to keep, so nothing is removed from it."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"nothing was freed: {reason}")


class DataModifiedError(RegistryError):
    """Data was edited by hand, and restoring the recorded version would lose the edit."""

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(
            f"{path} differs from its recorded version and the difference is saved nowhere: "
            f"keep it with `dvc commit {path}`, or drop it with `dvc checkout --force {path}`"
        )


class DataBeingWrittenError(RegistryError):
    """A file changed while it was being hashed or stored."""

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(
            f"{path} changed while it was being stored, so nothing was recorded: wait until "
            "nobody writes to it, and run the same again"
        )


class FileNotStorableError(RegistryError):
    """DVC cannot store a file, and would wait for ever or break off at it."""

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(
            f"{printable(path)} cannot be stored ({reason}): take it away; of a collection, "
            "`registry add NAME` sets it aside"
        )


class FilesLeftOutError(RegistryError):
    """DVC would leave files out of a version: it is not recorded."""

    def __init__(self, path: str, files: Sequence[str], rule: str) -> None:
        self.path = path
        self.files = tuple(files)
        self.reason = (
            f"DVC leaves out {few_of(list(map(printable, files)))} ({rule}), which would be in no "
            "version: change that line, or take them out of the folder"
        )
        super().__init__(f"{path} cannot be recorded: {self.reason}")


class StageFailedError(RegistryError):
    """The command of a stage failed; the previous version is back in its place."""

    def __init__(self, stage: str, reason: str, last_lines: Sequence[str] = ()) -> None:
        self.stage = stage
        self.reason = reason
        said = "".join(f"\n  | {line}" for line in last_lines)
        super().__init__(f"{stage}: {reason}; the previous version was kept{said}")


class RepositoryChangedError(RegistryError):
    """Something that a result depends on changed while it was being made."""

    def __init__(self, what: str, change: str) -> None:
        super().__init__(
            f"{what}: {change} while it was running, so nothing was recorded; run it again"
        )


class RepositoryBusyError(RegistryError):
    """Somebody else has been holding an output, or the repository, for too long."""

    def __init__(self, waited_seconds: float, holder: str) -> None:
        self.holder = holder
        super().__init__(f"gave up after waiting {waited_seconds:.0f} s: {holder}")


class PublishError(RegistryError):
    """Something stands in the way of publishing."""


class RevisionNotFoundError(RegistryError):
    """There is no commit, branch or tag of a name."""

    def __init__(self, name: str, *, is_repository: bool = True, is_shallow: bool = False) -> None:
        self.name = name
        if is_shallow:
            said = (
                f"there is no commit, branch or tag {name} in this shallow clone: `git fetch "
                "--unshallow --tags` brings all that the original has"
            )
        elif not is_repository:
            said = "there is no Git repository here, so there are no versions to name: `git init`"
        elif name == "HEAD":
            said = "there is no commit yet: commit the registry first"
        else:
            said = (
                f"there is no commit, branch or tag {name} here: `git fetch --tags` brings those "
                "of others, `registry versions` lists the versions of data sets"
            )
        super().__init__(said)


class WouldBeLostError(RegistryError):
    """Checking a commit out would lose what is saved nowhere.

    Args:
        revision: What was to be checked out.
        what: Each path, with the reason.
        next_step: How to save it.
    """

    def __init__(self, revision: str, what: Sequence[str], next_step: str) -> None:
        self.what = tuple(what)
        super().__init__(
            f"checking out {revision} would lose {few_of(what)}: {next_step}; nothing was changed"
        )


class CheckoutError(RegistryError):
    """Something stands in the way of checking a commit out."""


class VersionError(RegistryError):
    """Something stands in the way of a version of a data set."""


class MlflowNotInstalledError(RegistryError):
    """Models are asked for, and there is nothing to ask MLflow with."""

    def __init__(self) -> None:
        super().__init__(
            "MLflow's client is not installed here: pip install 'registry-assets[mlflow]'"
        )


class ModelServerError(RegistryError):
    """The MLflow server does not answer, or does not do as it is asked."""

    def __init__(self, address: str, reason: str) -> None:
        self.address = without_secrets(address)
        said = without_secrets(" ".join(reason.split()))
        super().__init__(
            f"the MLflow server {self.address} did not do it ({said}): start it, or name another "
            "with MLFLOW_TRACKING_URI"
        )


class ModelNotFoundError(RegistryError):
    """There is no model of a name, no version of that number, or no such alias."""

    def __init__(self, uri: str, lacks: str) -> None:
        self.uri = uri
        super().__init__(f"{uri}: {lacks}; models are named models:/NAME/VERSION or @ALIAS")


class RunGoneError(RegistryError):
    """The run that made a model was deleted, so what it was trained on is not known."""

    def __init__(self, uri: str, run_id: str, *, for_good: bool) -> None:
        self.uri = uri
        next_step = (
            "train it again"
            if for_good
            else f"`mlflow runs restore --run-id {run_id}` on the server brings it back"
        )
        super().__init__(
            f"run {run_id} of {uri} was deleted, so what it was trained on is not known: "
            f"{next_step}"
        )


class GitUnusableError(RegistryError):
    """There is no Git, one that is too old, or one that refuses this repository."""

    def __init__(self, reason: str, next_step: str) -> None:
        self.reason = reason
        super().__init__(f"{reason}: {next_step}")


class HistoryError(RegistryError):
    """Dagster's history of a registry cannot be read or written.

    Args:
        place: Where it is kept.
        reason: A clause, in the words of the database.
        next_step: What to do about it.
    """

    def __init__(self, place: str, reason: str, next_step: str) -> None:
        self.reason = reason
        super().__init__(f"Dagster's history in {printable(place)}: {reason}: {next_step}")


class DvcError(RegistryError):
    """Anything else that DVC reports, in its own words."""
