"""The registry as plain values: what the metafiles declare and record.

Paths are relative to the root of the repository and use ``/``. A version is the md5 that DVC
records: of a file its own, of a folder that of its listing, ending in ``.dir``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Literal
from unicodedata import normalize

from registry_assets.errors import NotFoundError, RefusedError

ITEM = "__item__"
"""Stands in the paths of a `StageTemplate` where an item's name will be."""

DVC_SUFFIX = ".dvc"
"""How the name of a metafile ends that stands beside what it records."""

PIPELINE_FILE = "dvc.yaml"
"""Declares stages."""

LOCK_FILE = "dvc.lock"
"""Records what the stages of the `PIPELINE_FILE` beside it made, and of what."""

DVC_FOLDER = ".dvc"
"""What DVC keeps of a repository for itself, in its root."""

_COLLECTION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def check_collection_name(name: str) -> str:
    """Returns the name of a collection if it is safe in paths, shell commands and partition keys.

    Raises:
        RefusedError: with the reason, when it is not.
    """
    reason = reason_against_name(name)
    if reason is not None:
        raise RefusedError(
            f"{name!r} cannot be the name of a collection: {reason}; rename the folder"
        )
    return name


def reason_against_name(name: str) -> str | None:
    """Why a folder of data may not have a name; None when it may."""
    if not _COLLECTION_NAME.fullmatch(name):
        return "it may hold letters, digits, `.`, `_`, `-` only and starts with a letter or digit"
    if "..." in name:
        return "Dagster reads `...` as a range of partitions"
    if name.endswith(DVC_SUFFIX):
        return "`.dvc` is the ending of DVC's own files"
    if name == PIPELINE_FILE:
        return "DVC's own files are called so"
    return None


def metafile_of(path: str) -> str:
    """The ``.dvc`` file beside a tracked path."""
    return f"{path}{DVC_SUFFIX}"


def name_of_folder(root: Path) -> str:
    """The name of a registry whose settings give it none, made of its folder's."""
    ascii_only = normalize("NFKD", root.resolve().name).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9]+", "_", ascii_only).strip("_") or "registry"


FOLDER_SUFFIX = ".dir"
"""How the md5 of a folder ends: that of its listing (`dvc_data.hashfile.hash_info`)."""


def is_folder(md5: str) -> bool:
    """Whether an md5, or the name of the object that it names, is that of a folder."""
    return md5.endswith(FOLDER_SUFFIX)


@dataclass(frozen=True)
class Version:
    """A recorded version of a file or folder.

    Attributes:
        md5: DVC's hash; ends in ``.dir`` for a folder.
        size: Bytes in all, where recorded.
        nfiles: Files in a folder, where recorded.
    """

    md5: str
    size: int | None = None
    nfiles: int | None = None


@dataclass(frozen=True)
class Output:
    """A file or folder that a stage or a ``.dvc`` file declares.

    A stage that makes nothing (it tests, prints, uploads) has one output all the same, its run:
    whether it is up to date is a question that `dvc status` answers, too.

    Attributes:
        path: Where it is; of a run, DVC's address of the stage.
        version: What is recorded, None when it was never made; of a run, the md5 of its entry in
            ``dvc.lock``.
        is_cached: Whether DVC keeps its content (`cache: false` leaves that to Git).
        is_persistent: Whether it stays while its stage runs (`persist: true`).
        metric: Whether it is declared as metrics.
        plot: Whether it is declared as a plot.
        is_run: Whether it stands for the run of a stage that makes nothing.
        description: The `desc` that its declaration gives.
    """

    path: str
    version: Version | None = None
    is_cached: bool = True
    is_persistent: bool = False
    metric: bool = False
    plot: bool = False
    is_run: bool = False
    description: str | None = None


@dataclass(frozen=True)
class Dependency:
    """Something that a stage or import reads: a path, or the address of something outside.

    Attributes:
        path: Relative to the root, or a URL or absolute path when `is_external`.
        version: What is recorded, None when the stage never ran.
        is_external: Whether it lies outside this repository.
    """

    path: str
    version: Version | None = None
    is_external: bool = False


@dataclass(frozen=True)
class Parameter:
    """A parameter that a stage reads.

    Attributes:
        file: The parameters file.
        key: Where in the file, with dots; None where the whole file is tracked.
        value: What the file says now, None where it says nothing.
        recorded: What the stage ran with last.
    """

    file: str
    key: str | None
    value: object = None
    recorded: object = None


@dataclass(frozen=True)
class Stage:
    """One stage of a ``dvc.yaml``, with its templating resolved.

    Attributes:
        address: DVC's own, with the path from the root: ``processed/ds/dvc.yaml:name@item``.
        file: The ``dvc.yaml``.
        name: The name without the item.
        item: The item of a `foreach` or `matrix` stage.
        outputs: What it makes; its run, where it makes nothing.
        command_changed: Whether it ran last with another command.
    """

    address: str
    file: str
    name: str
    item: str | None
    command: str | None
    dependencies: tuple[Dependency, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    outputs: tuple[Output, ...] = ()
    is_frozen: bool = False
    always_changed: bool = False
    command_changed: bool = False
    description: str | None = None


@dataclass(frozen=True)
class StageTemplate:
    """A `foreach` or `matrix` stage before its items are put in.

    Attributes:
        stage: The stage for the item `ITEM`.
        items: The items it has now, in the order of the file.
    """

    stage: Stage
    items: tuple[str, ...]


@dataclass(frozen=True)
class RawCollection:
    """Data that was put under DVC as it is (`dvc add`)."""

    output: Output
    metafile: str
    description: str | None = None

    @property
    def name(self) -> str:
        """The last part of the path."""
        return PurePosixPath(self.output.path).name


@dataclass(frozen=True)
class ImportedInput:
    """Data that was taken from somewhere else (`dvc import`, `dvc import-url`).

    Attributes:
        source: What it was taken from, with the version it was taken at. External, unless it is
            of this repository.
        repository: The address of the Git repository it was taken from, as the metafile gives it;
            None when it was taken from a path or URL. It may be this repository's own.
        revision: The commit it was taken at, for imports from a Git repository.
        rev: The branch, tag or commit it is to stay at, None for the default branch.
    """

    output: Output
    metafile: str
    source: Dependency
    repository: str | None = None
    revision: str | None = None
    is_frozen: bool = True
    rev: str | None = None

    @property
    def name(self) -> str:
        """The last part of the path."""
        return PurePosixPath(self.output.path).name


Tracked = RawCollection | ImportedInput
"""What a ``.dvc`` file declares."""


Likeness = Literal["same", "alike"]
"""Pictures of the same content, or what looks alike, too."""


@dataclass(frozen=True)
class TakeIn:
    """Which new collections a data set takes in by itself.

    Attributes:
        patterns: Of names, as in a shell; one that fits is enough.
        is_manual: Whether the data set takes in, and follows, only what a person asks for.
    """

    patterns: tuple[str, ...] = ("*",)
    is_manual: bool = False

    def wants(self, collection: str) -> bool:
        """Whether a new collection is taken in."""
        is_wanted = any(fnmatchcase(collection, pattern) for pattern in self.patterns)
        return is_wanted and not self.is_manual


@dataclass(frozen=True)
class Dataset:
    """A folder with a ``dvc.yaml``.

    Attributes:
        path: The folder; "" for the root.
        inputs: The folder its imports go to, None when it declares no such family.
        collections_file: The YAML file that lists the collections it has taken in, None when its
            pipeline takes everything it finds.
        take_in: Which new collections it takes in.
        decisions: The folder with a file of decisions about images for each collection; None where
            no stage depends on such.
    """

    path: str
    inputs: str | None = None
    collections_file: str | None = None
    take_in: TakeIn = TakeIn()
    decisions: str | None = None

    def decisions_file(self, collection: str) -> str | None:
        """The file of decisions about images of a collection, whether it is there or not."""
        return f"{self.decisions}/{collection}.yaml" if self.decisions is not None else None

    @property
    def name(self) -> str:
        """The last part of the path."""
        return PurePosixPath(self.path).name


@dataclass(frozen=True)
class Settings:
    """What ``[tool.registry_assets]`` in the repository's ``pyproject.toml`` sets.

    Attributes:
        name: What Dagster calls the registry, where several share an instance; the folder's name
            when None.
        key_prefix: What the keys of all its assets begin with.
        families: Patterns of paths that hold collections; the last part is the collection.
        settle_seconds: How long nothing may have changed in a new folder before it is taken in.
        import_check_seconds: How often the sources of imports are looked at; 0 for never.
        git: ``none``: runs leave metafiles in the work tree; ``commit``: each commits its own.
        protected_branches: Branches that are never committed to nor pushed.
        publish_branch: What a published branch is called: ``{name}`` is what is in it, ``{id}``
            stands for its content.
        modified: What becomes of a collection that was edited after it was registered: ``leave``
            it to a person, or ``register`` the next version.
        modified_check_seconds: How often collections are looked at for that; 0 for never.
        archive_most_ratio: How many times its own size an archive may unpack to.
        archive_most_files: How many files may be in an archive.
        archive_free_gigabytes: How much of the disk must stay free when one is unpacked.
        duplicate_distance: In how many of 64 bits the hashes of pictures may differ that count as
            alike.
        take_in: Which new collections data sets take in, by name or path of the data set; those
            that are not named take in all.
        leave_out_duplicates: Which data sets leave pictures out that they have a second time, by
            name or path. Only the ``same`` are left out without being asked for: ``alike``, which
            left out what looks alike, too, is read as that.
        mlflow_tracking_uri: Where models are looked up that were trained on the data; None for
            nowhere.
    """

    name: str | None = None
    key_prefix: tuple[str, ...] = ()
    families: tuple[str, ...] = ("raw/*", "processed/*/data/inputs/*")
    settle_seconds: float = 30.0
    import_check_seconds: float = 3600.0
    git: Literal["none", "commit"] = "none"
    protected_branches: tuple[str, ...] = ("main", "master")
    publish_branch: str = "data/{name}-{id}"
    modified: Literal["leave", "register"] = "leave"
    modified_check_seconds: float = 60.0
    archive_most_ratio: float = 100.0
    archive_most_files: int = 1_000_000
    archive_free_gigabytes: float = 1.0
    duplicate_distance: int = 5
    take_in: Mapping[str, TakeIn] = field(default_factory=dict)
    leave_out_duplicates: Mapping[str, Likeness] = field(default_factory=dict)
    mlflow_tracking_uri: str | None = None

    def leads_to_collections(self, folder: str) -> bool:
        """Whether a folder is one that may hold collections, or lies above such a one."""
        parts = PurePosixPath(folder).parts
        patterns = (PurePosixPath(family).parts for family in self.families)
        return any(
            len(parts) < len(pattern) and all(map(fnmatchcase, parts, pattern))
            for pattern in patterns
        )

    def is_collection(self, path: str) -> bool:
        """Whether a folder at a path is one of a family, whether or not DVC tracks it."""
        parts = path.split("/")
        return any(_fits(parts, pattern.split("/")) for pattern in self.families)

    def declares(self, path: str) -> bool:
        """Whether a metafile at a path declares anything, by where it lies.

        What somebody puts into a folder of a family is data, whatever it is called. Beside those
        folders a ``.dvc`` file declares each of them, and nothing else is a metafile.
        """
        parts = path.split("/")
        for pattern in (family.split("/") for family in self.families):
            depth = len(pattern)
            if len(parts) > depth and _fits(parts[:depth], pattern):
                return False
            is_beside = len(parts) == depth and _fits(parts[:-1], pattern[:-1])
            if is_beside and not path.endswith(DVC_SUFFIX):
                return False
        return True

    def leave_out_duplicates_of(self, dataset: str) -> Likeness | None:
        """Which pictures the data set at a path leaves out because it has them already."""
        settings = self.leave_out_duplicates
        return settings.get(dataset) or settings.get(PurePosixPath(dataset).name)


def _fits(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether the parts of a path are those of a pattern, one by one."""
    return len(parts) == len(pattern) and all(map(fnmatchcase, parts, pattern))


@dataclass(frozen=True)
class Registry:
    """Everything that the metafiles of one repository declare and record.

    Attributes:
        family_folders: The folders that hold collections, such as ``raw``.
        variable_files: What templates take variables from; those outside the root begin with
            ``..``.
        problems: Metafiles that could not be read, each with what is wrong; the rest is here.
    """

    root: Path
    settings: Settings = field(default_factory=Settings)
    family_folders: tuple[str, ...] = ()
    raw: tuple[RawCollection, ...] = ()
    inputs: tuple[ImportedInput, ...] = ()
    stages: tuple[Stage, ...] = ()
    templates: tuple[StageTemplate, ...] = ()
    datasets: tuple[Dataset, ...] = ()
    variable_files: tuple[str, ...] = ()
    problems: tuple[str, ...] = field(default=())

    @property
    def name(self) -> str:
        """What tells it from others in Dagster and in addresses: letters, digits and ``_``."""
        return self.settings.name or name_of_folder(self.root)

    @cached_property
    def tracked(self) -> tuple[Tracked, ...]:
        """Everything that a ``.dvc`` file declares."""
        return (*self.raw, *self.inputs)

    @cached_property
    def outputs(self) -> dict[str, Output]:
        """Every output by path."""
        found = {item.output.path: item.output for item in self.tracked}
        for stage in self.stages:
            found.update((output.path, output) for output in stage.outputs)
        return found

    @cached_property
    def _data_paths(self) -> tuple[frozenset[str], frozenset[str]]:
        """What outputs may stand at, also those of items to come, and the folders above them."""
        made = (*self.outputs.values(), *(o for t in self.templates for o in t.stage.outputs))
        families = (f"{folder}/{ITEM}" for folder in self.family_folders)
        paths = frozenset((*(o.path for o in made if not o.is_run), *families))
        return paths, frozenset(str(up) for path in paths for up in PurePosixPath(path).parents)

    def holds_data(self, path: str) -> bool:
        """Whether a path is an output, lies in one or has one in it: data, not code."""
        paths, folders = self._data_paths
        above = {path, *map(str, PurePosixPath(path).parents)}
        return ITEM in path or path in folders or not above.isdisjoint(paths)

    @cached_property
    def import_of(self) -> dict[str, ImportedInput]:
        """The import at a path, by the path of its output."""
        return {item.output.path: item for item in self.inputs}

    @cached_property
    def stage_of(self) -> dict[str, Stage]:
        """The stage that makes an output, by the output's path."""
        return {output.path: stage for stage in self.stages for output in stage.outputs}

    @cached_property
    def importing_folders(self) -> frozenset[str]:
        """The family folders that hold what was taken in, not what was shot."""
        declared = {dataset.inputs for dataset in self.datasets}
        imported = {str(PurePosixPath(item.output.path).parent) for item in self.inputs}
        return frozenset(f for f in self.family_folders if f in declared or f in imported)

    @property
    def raw_folder(self) -> str | None:
        """The folder that new collections are dropped into."""
        folders = (f for f in self.family_folders if f not in self.importing_folders)
        return next(folders, None)

    def family_folder_of(self, path: str) -> str | None:
        """The family folder that a path lies directly in."""
        parent = str(PurePosixPath(path).parent)
        return parent if parent in self.family_folders else None

    def dataset_of(self, metafile: str) -> Dataset | None:
        """The data set whose folder a metafile lies in, the innermost."""
        holding = (d for d in self.datasets if not d.path or metafile.startswith(f"{d.path}/"))
        return max(holding, key=lambda dataset: len(dataset.path), default=None)

    def dataset(self, name: str) -> Dataset:
        """The data set of a name or path.

        Raises:
            NotFoundError: when there is none.
        """
        for dataset in self.datasets:
            if name in (dataset.name, dataset.path):
                return dataset
        known = [dataset.name for dataset in self.datasets]
        raise no_dataset(name, known, self.problems[:1])


def no_dataset(name: str, known: Sequence[str], problems: Sequence[str] = ()) -> NotFoundError:
    """What to raise where there is no data set of a name.

    Args:
        name: As it was asked for.
        known: The names of those that there are.
        problems: What could not be read, where more may be declared.
    """
    choice = f"choose one of {', '.join(known)}" if known else "no folder here is a data set"
    unread = f", or mend what cannot be read: {'; '.join(problems)}" if problems else ""
    return NotFoundError(f"there is no data set {name}: {choice}{unread}")


def no_collection(name: str, folder: str, alike: Sequence[str] = ()) -> NotFoundError:
    """What to raise where there is neither a folder nor a metafile for a collection.

    Args:
        name: Its name.
        folder: The folder it would be in.
        alike: Collections that are called alike.
    """
    meant = f"did you mean {' or '.join(alike)}? Else " if alike else ""
    return NotFoundError(
        f"there is no collection {name}: {meant}put its files into {folder}/{name} and run "
        f"`registry add {name}`, or bring {folder}/{name}.dvc back from Git"
    )
