"""The registry as plain values: what the metafiles declare and record.

Paths are relative to the root of the repository and use ``/``. A version is the md5 that DVC
records: the md5 of a file, or that of a folder's listing, which ends in ``.dir``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Literal
from unicodedata import normalize

from registry_assets.errors import NotFoundError, RefusedError

ITEM = "__item__"
"""The placeholder for the item in the paths of a `StageTemplate`."""

DVC_SUFFIX = ".dvc"
"""The suffix of a metafile beside the data that it records."""

PIPELINE_FILE = "dvc.yaml"
"""The name of a file that declares stages."""

LOCK_FILE = "dvc.lock"
"""The name of the file that records outputs and dependencies of the stages in `PIPELINE_FILE`."""

DVC_FOLDER = ".dvc"
"""The folder with DVC's own files in the root of a repository."""

_COLLECTION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def check_collection_name(name: str) -> str:
    """Make sure that a collection's name is safe in paths, shell commands and partition keys.

    Returns:
        The name.

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
    """Why a name is not allowed for a collection or data set; None if it is allowed."""
    if not _COLLECTION_NAME.fullmatch(name):
        return "only letters, digits, `.`, `_` and `-` are allowed, with a letter or digit first"
    if "..." in name:
        return "Dagster reads `...` as a range of partitions"
    if name.endswith(DVC_SUFFIX):
        return "`.dvc` is the suffix of DVC's own files"
    if name == PIPELINE_FILE:
        return "it is the name of DVC's own files"
    return None


def metafile_of(path: str) -> str:
    """The ``.dvc`` file beside a tracked path."""
    return f"{path}{DVC_SUFFIX}"


def folders_above(path: str) -> Iterator[str]:
    """The folders that a path is in, from the innermost to the root: ``a/b``, ``a``, ``.``.

    As `PurePosixPath.parents`, at a tenth of the cost: graphs ask for those of every path.
    """
    folder = path
    while folder not in ("", "/", "."):
        folder = folder.rpartition("/")[0] or ("/" if folder[0] == "/" else ".")
        yield folder


def name_of_folder(root: Path) -> str:
    """The default name of a registry, derived from the name of its folder."""
    ascii_only = normalize("NFKD", root.resolve().name).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9]+", "_", ascii_only).strip("_") or "registry"


EMPTY_MD5 = "d41d8cd98f00b204e9800998ecf8427e"
"""The md5 of an empty file: no picture, and never a link, as all would be the same inode."""

FOLDER_SUFFIX = ".dir"
"""The suffix of a folder's md5, which is that of its listing (`dvc_data.hashfile.hash_info`)."""


def is_folder(md5: str) -> bool:
    """Whether an md5, or the name of an object, belongs to a folder."""
    return md5.endswith(FOLDER_SUFFIX)


@dataclass(frozen=True)
class Version:
    """A recorded version of a file or folder.

    Attributes:
        md5: DVC's hash; ends in ``.dir`` for a folder.
        size: The total size in bytes; None if not recorded.
        nfiles: The number of files in a folder; None if not recorded.
    """

    md5: str
    size: int | None = None
    nfiles: int | None = None


@dataclass(frozen=True)
class Output:
    """A file or folder that a stage or a ``.dvc`` file declares.

    A stage without outputs (one that tests, prints or uploads) has one output here, its run: like
    other outputs, it is up to date or not, as in `dvc status`.

    Attributes:
        path: The path; for a run, DVC's address of the stage.
        version: The recorded version, None if it was never made; for a run, the md5 of the stage's
            entry in ``dvc.lock``.
        is_cached: Whether DVC stores its content (`cache: false` leaves it to Git).
        is_persistent: Whether DVC keeps it while its stage runs (`persist: true`).
        metric: Whether it is declared as metrics.
        plot: Whether it is declared as a plot.
        is_run: Whether it stands for the run of a stage without outputs.
        description: The `desc` of its declaration.
        is_legacy: Whether its version is one of DVC 2, which hashed texts in another way.
    """

    path: str
    version: Version | None = None
    is_cached: bool = True
    is_persistent: bool = False
    metric: bool = False
    plot: bool = False
    is_run: bool = False
    description: str | None = None
    is_legacy: bool = False


@dataclass(frozen=True)
class Dependency:
    """A dependency of a stage, or the source of an import.

    Attributes:
        path: The path from the root; a URL or an absolute path if `is_external`.
        version: The recorded version, None if the stage never ran.
        is_external: Whether it is outside this repository.
    """

    path: str
    version: Version | None = None
    is_external: bool = False


@dataclass(frozen=True)
class Parameter:
    """A parameter of a stage.

    Attributes:
        file: The parameters file.
        key: The key in the file, with dots; None if the whole file is tracked.
        value: The current value, None if the file does not have it.
        recorded: The value in the last run of the stage.
    """

    file: str
    key: str | None
    value: object = None
    recorded: object = None


@dataclass(frozen=True)
class Stage:
    """One stage of a ``dvc.yaml``, with its templating resolved.

    Attributes:
        address: DVC's address, with the path from the root: ``processed/ds/dvc.yaml:name@item``.
        file: The ``dvc.yaml``.
        name: The name without the item.
        item: The item of a `foreach` or `matrix` stage.
        outputs: Its outputs; its run, if it declares none.
        command_changed: Whether its last run was with another command.
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
    """A `foreach` or `matrix` stage, with a placeholder for the item.

    Attributes:
        stage: The stage for the item `ITEM`.
        items: The current items, in the order of the file.
    """

    stage: Stage
    items: tuple[str, ...]


@dataclass(frozen=True)
class RawCollection:
    """Data that was added with `dvc add`.

    Attributes:
        is_edited: Whether the metafile was changed by hand, as DVC tells by its `md5`.
    """

    output: Output
    metafile: str
    description: str | None = None
    is_edited: bool = False

    @property
    def name(self) -> str:
        """The last part of the path."""
        return PurePosixPath(self.output.path).name


@dataclass(frozen=True)
class ImportedInput:
    """Data that was imported with `dvc import` or `dvc import-url`.

    Attributes:
        source: The source, with the imported version. External, unless it is in this repository.
        repository: The address of the Git repository of the source, as in the metafile; None for a
            path or URL. It may be the address of this repository.
        revision: The imported commit, for imports from a Git repository.
        rev: The branch, tag or commit that updates follow, None for the default branch.
        is_edited: See `RawCollection`.
    """

    output: Output
    metafile: str
    source: Dependency
    repository: str | None = None
    revision: str | None = None
    is_frozen: bool = True
    rev: str | None = None
    is_edited: bool = False

    @property
    def name(self) -> str:
        """The last part of the path."""
        return PurePosixPath(self.output.path).name


Tracked = RawCollection | ImportedInput
"""What a ``.dvc`` file declares."""


Likeness = Literal["same", "alike"]
"""Which pictures count as duplicates: those with the same content, or also similar ones."""


@dataclass(frozen=True)
class TakeIn:
    """Which new collections a data set takes in automatically.

    Attributes:
        patterns: Shell patterns for names of collections; one has to match.
        is_manual: Whether collections are taken in and updated only on request.
    """

    patterns: tuple[str, ...] = ("*",)
    is_manual: bool = False

    def wants(self, collection: str) -> bool:
        """Whether a new collection is taken in automatically."""
        is_wanted = any(fnmatchcase(collection, pattern) for pattern in self.patterns)
        return is_wanted and not self.is_manual


@dataclass(frozen=True)
class Dataset:
    """A folder with a ``dvc.yaml``.

    Attributes:
        path: The folder; "" for the root.
        inputs: The folder for its imports; None if `families` has no pattern for it.
        collections_file: The YAML file that lists the collections it has taken in; None if its
            pipeline has no such list.
        take_in: Which new collections it takes in.
        decisions: The folder with decisions about images, one file per collection; None if no stage
            depends on it.
    """

    path: str
    inputs: str | None = None
    collections_file: str | None = None
    take_in: TakeIn = TakeIn()
    decisions: str | None = None

    def decisions_file(self, collection: str) -> str | None:
        """The file of decisions about images of a collection, whether or not it exists."""
        return f"{self.decisions}/{collection}.yaml" if self.decisions is not None else None

    @property
    def name(self) -> str:
        """The last part of the path."""
        return PurePosixPath(self.path).name


@dataclass(frozen=True)
class Workers:
    """The settings in ``[tool.registry_assets.workers]``: which stages are made elsewhere.

    Attributes:
        scheduler: The address of a Dask scheduler, such as ``tcp://10.0.0.5:8786``.
        local: The number of worker processes to start on this machine instead.
        command: A command to run for each stage instead, which carries what it reads from standard
            input to `registry work` on another machine, and its answer back.
        at_once: How many of these commands run at a time.
        stages: The Dask resources that each worker must have for a stage, by a pattern for the
            stage's name; stages that match no pattern are made here (default: all are made
            elsewhere).
        keep: Where outputs are kept: in the ``workspace``, or on the ``remote`` only.
        versions: Workers with the ``same`` versions of Python and of what results depend on are
            used, or those with ``any``.
    """

    scheduler: str | None = None
    local: int = 0
    command: str | None = None
    at_once: int = 4
    stages: Mapping[str, Mapping[str, float]] = field(default_factory=lambda: {"*": {}})
    keep: Literal["workspace", "remote"] = "workspace"
    versions: Literal["same", "any"] = "same"

    def resources_for(self, stage: str) -> Mapping[str, float] | None:
        """The resources that a stage needs; None if it is made here.

        Args:
            stage: Its address.
        """
        name = stage.rpartition(":")[2].partition("@")[0]
        return next(
            (needed for pattern, needed in self.stages.items() if fnmatchcase(name, pattern)), None
        )


@dataclass(frozen=True)
class Settings:
    """The settings in ``[tool.registry_assets]`` of the repository's ``pyproject.toml``.

    Attributes:
        name: The name of the registry in Dagster, where several share an instance; None for the
            name of the folder.
        key_prefix: The first parts of all its asset keys.
        box_names: The last part of an asset key, as its box in Dagster's graph shows only that: the
            ``last`` part of the path, or as many as make the outputs of a stage ``distinct``.
        families: Patterns for the paths of collections; the last part is the collection.
        settle_seconds: How long a new folder must be unchanged before it is taken in.
        import_check_seconds: How often the sources of imports are checked; 0 for never.
        git: ``none``: runs leave changed metafiles uncommitted; ``commit``: each commits its own.
        protected_branches: Branches that are never committed to or pushed.
        publish_branch: The name of a published branch: ``{name}`` is a summary of its content,
            ``{id}`` a hash of it.
        modified: What happens when a registered collection is edited: ``leave`` it to a person, or
            ``register`` the next version.
        modified_check_seconds: How often collections are checked for edits; 0 for never.
        archive_most_ratio: The largest ratio of an archive's unpacked size to its own size.
        archive_most_files: The largest number of files in an archive.
        archive_free_gigabytes: How much disk space must stay free when an archive is unpacked.
        duplicate_distance: In how many of 64 bits the perceptual hashes of similar pictures may
            differ.
        take_in: Which new collections each data set takes in, by its name or path; data sets
            without an entry take in all.
        leave_out_duplicates: Which data sets leave out duplicate pictures, by name or path. Only
            pictures with the ``same`` content are left out automatically. ``alike``, which included
            similar ones in earlier versions, is read as ``same``.
        mlflow_tracking_uri: The MLflow server with models trained on the data; None for none.
        workers: Which stages other machines make; None for none.
    """

    name: str | None = None
    key_prefix: tuple[str, ...] = ()
    box_names: Literal["last", "distinct"] = "last"
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
    workers: Workers | None = None

    @cached_property
    def _patterns(self) -> list[list[str]]:
        """The parts of each family."""
        return [family.split("/") for family in self.families]

    def leads_to_collections(self, folder: str) -> bool:
        """Whether a folder may hold collections, or is above a folder that may."""
        parts = folder.split("/") if folder else []
        return any(
            len(parts) < len(pattern) and all(map(fnmatchcase, parts, pattern))
            for pattern in self._patterns
        )

    def is_collection(self, path: str) -> bool:
        """Whether a path is that of a collection in a family, tracked by DVC or not."""
        parts = path.split("/")
        return any(_fits(parts, pattern) for pattern in self._patterns)

    def declares(self, path: str) -> bool:
        """Whether a file with the name of a metafile is one, judging by its path.

        All files in a collection are data, whatever their names. Beside collections, only ``.dvc``
        files are metafiles.
        """
        parts = path.split("/")
        for pattern in self._patterns:
            depth = len(pattern)
            if len(parts) > depth and _fits(parts[:depth], pattern):
                return False
            is_beside = len(parts) == depth and _fits(parts[:-1], pattern[:-1])
            if is_beside and not path.endswith(DVC_SUFFIX):
                return False
        return True

    def leave_out_duplicates_of(self, dataset: str) -> Likeness | None:
        """Which duplicates the data set at a path leaves out; None if it keeps all."""
        settings = self.leave_out_duplicates
        return settings.get(dataset) or settings.get(PurePosixPath(dataset).name)


def _fits(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether each part of a path matches the same part of a pattern."""
    return len(parts) == len(pattern) and all(map(fnmatchcase, parts, pattern))


@dataclass(frozen=True)
class Registry:
    """Everything that the metafiles of one repository declare and record.

    Attributes:
        family_folders: The folders that hold collections, such as ``raw``.
        variable_files: The files with variables for templating; paths of those outside the root
            begin with ``..``.
        problems: A message for each metafile that could not be read and is left out.
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
        """Its unique name in Dagster and in URLs: letters, digits and ``_``."""
        return self.settings.name or name_of_folder(self.root)

    @cached_property
    def tracked(self) -> tuple[Tracked, ...]:
        """Everything that ``.dvc`` files declare."""
        return (*self.raw, *self.inputs)

    @cached_property
    def outputs(self) -> dict[str, Output]:
        """All outputs by path."""
        found = {item.output.path: item.output for item in self.tracked}
        for stage in self.stages:
            found.update((output.path, output) for output in stage.outputs)
        return found

    @cached_property
    def _data_paths(self) -> tuple[frozenset[str], frozenset[str]]:
        """The paths of outputs, also of those for future items, and the folders above them."""
        made = (*self.outputs.values(), *(o for t in self.templates for o in t.stage.outputs))
        families = (f"{folder}/{ITEM}" for folder in self.family_folders)
        paths = frozenset((*(o.path for o in made if not o.is_run), *families))
        return paths, frozenset(up for path in paths for up in folders_above(path))

    def holds_data(self, path: str) -> bool:
        """Whether a path is an output, is inside one, or contains one: data, not code."""
        paths, folders = self._data_paths
        above = {path, *folders_above(path)}
        return ITEM in path or path in folders or not above.isdisjoint(paths)

    @cached_property
    def code_files(self) -> frozenset[str]:
        """The files and folders that stages depend on, and that the cache does not have.

        These are code, parameters, and outputs that are not cached.
        """
        read = (d.path for s in self.stages for d in s.dependencies if not d.is_external)
        made = (output for stage in self.stages for output in stage.outputs)
        return frozenset(
            (
                *(path for path in read if not self.holds_data(path)),
                *(parameter.file for stage in self.stages for parameter in stage.parameters),
                *(o.path for o in made if not o.is_cached and not o.is_run),
            )
        )

    def is_below_family(self, path: str) -> bool:
        """Whether a path is below a folder that holds collections."""
        return any(path.startswith(f"{folder}/") for folder in self.family_folders)

    @cached_property
    def import_of(self) -> dict[str, ImportedInput]:
        """Imports by the path of their output."""
        return {item.output.path: item for item in self.inputs}

    @cached_property
    def stage_of(self) -> dict[str, Stage]:
        """Stages by the paths of their outputs."""
        return {output.path: stage for stage in self.stages for output in stage.outputs}

    @cached_property
    def importing_folders(self) -> frozenset[str]:
        """The family folders with imports, not raw collections."""
        declared = {dataset.inputs for dataset in self.datasets}
        imported = {str(PurePosixPath(item.output.path).parent) for item in self.inputs}
        return frozenset(f for f in self.family_folders if f in declared or f in imported)

    @property
    def raw_folder(self) -> str | None:
        """The folder for new collections; None if no family has one."""
        folders = (f for f in self.family_folders if f not in self.importing_folders)
        return next(folders, None)

    def family_folder_of(self, path: str) -> str | None:
        """The family folder that directly contains a path; None if there is none."""
        parent = next(folders_above(path), "")
        return parent if parent in self.family_folders else None

    def dataset_of(self, metafile: str) -> Dataset | None:
        """The innermost data set whose folder contains a metafile."""
        holding = (d for d in self.datasets if not d.path or metafile.startswith(f"{d.path}/"))
        return max(holding, key=lambda dataset: len(dataset.path), default=None)

    def dataset(self, name: str) -> Dataset:
        """The data set with a name or path; "." is one in the root.

        Raises:
            NotFoundError: when there is none.
        """
        for dataset in self.datasets:
            if name in (dataset.name, dataset.path or "."):
                return dataset
        known = [dataset.name or "." for dataset in self.datasets]
        raise no_dataset(name, known, self.problems[:1])


def no_dataset(name: str, known: Sequence[str], problems: Sequence[str] = ()) -> NotFoundError:
    """The error for a data set that does not exist.

    Args:
        name: The name that the user gave.
        known: The names of existing data sets.
        problems: Metafiles that could not be read, and may declare more.
    """
    choice = f"choose one of {', '.join(known)}" if known else "no folder here is a data set"
    unread = f", or fix what cannot be read: {'; '.join(problems)}" if problems else ""
    return NotFoundError(f"there is no data set {name}: {choice}{unread}")


def no_collection(name: str, folder: str, alike: Sequence[str] = ()) -> NotFoundError:
    """The error for a collection that has neither a folder nor a metafile.

    Args:
        name: The name of the collection.
        folder: The folder for collections.
        alike: Existing collections with similar names.
    """
    meant = f"did you mean {' or '.join(alike)}? If not, " if alike else ""
    return NotFoundError(
        f"there is no collection {name}: {meant}put its files into {folder}/{name} and run "
        f"`registry add {name}`, or restore {folder}/{name}.dvc from Git"
    )
