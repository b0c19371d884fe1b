"""Loading stages from metafiles, by DVC's own classes and rules."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dvc.dvcfile import (
    DVC_FILE_SUFFIX,
    LOCK_FILE,
    PROJECT_FILE,
    FileIsGitIgnored,
    FileMixin,
    Lockfile,
    ProjectFile,
    SingleStageFile,
    check_dvcfile_path,
    is_git_ignored,
)
from dvc.stage.exceptions import (
    StageFileDoesNotExistError,
    StageFileIsNotDvcFileError,
    StageNotFound,
)
from dvc.stage.loader import SingleStageLoader
from dvc.utils import relpath
from dvc.utils.serialize import YAMLError
from dvc.utils.strictyaml import YAMLSyntaxError, YAMLValidationError, load, validate

from registry_assets.bounded import check_yaml, read_text
from registry_assets.dvc_repo.metafiles import read_lock
from registry_assets.dvc_repo.plain_yaml import read_plain
from registry_assets.dvc_repo.recorded_names import find_problem, find_problems
from registry_assets.errors import MetafileError, OutputNotFoundError

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import Stage as DvcStage

T = TypeVar("T")

_MOST_READS = 10
_READ_AGAIN_SECONDS = 0.3
_JUST_WRITTEN_SECONDS = 3.0


def read_stages(repo: Repo, path: str) -> Mapping[str | None, DvcStage]:
    """All stages of a metafile, by name."""
    if Path(path).name != PROJECT_FILE:
        return _read_again(path, lambda: _load_single(repo, path))
    return _read_again(path, lambda: _load_pipeline(repo, path, lambda: _load_lock(repo, path)))


def read_found(repo: Repo, path: str) -> Mapping[str | None, DvcStage]:
    """Like `read_stages`, for a metafile that is known not to be ignored by Git.

    DVC would match it against every line of ``.gitignore``, which has one line per collection, so
    N collections would cost N².
    """
    if Path(path).suffix != DVC_FILE_SUFFIX:
        return read_stages(repo, path)
    return _read_again(path, lambda: _load_single(repo, path, is_found=True))


def _load_single(repo: Repo, path: str, *, is_found: bool = False) -> Mapping[str | None, DvcStage]:
    file = SingleStageFile(repo, path)
    stages: Mapping[str | None, DvcStage] = SingleStageLoader(file, *_read(file, is_found=is_found))
    return stages


def _load_pipeline(
    repo: Repo, path: str, load_lock: Callable[[], object]
) -> Mapping[str | None, DvcStage]:
    """The stages of a ``dvc.yaml``, with their recorded versions."""
    file = _project_file(repo, path)
    file.lockfile_contents = load_lock()
    stages: Mapping[str | None, DvcStage] = file.stages
    return stages


def _project_file(repo: Repo, path: str) -> ProjectFile:
    """A ``dvc.yaml``, of which DVC would load the content lazily with its slow parser."""
    file = ProjectFile(repo, path)
    file.contents, _ = _read(file)
    return file


def _load_lock(repo: Repo, path: str) -> object:
    """The ``dvc.lock`` beside a ``dvc.yaml``; empty if it does not exist."""
    file = Lockfile(repo, str(Path(path).with_name(LOCK_FILE)))
    if is_git_ignored(repo, file.path):
        raise FileIsGitIgnored(file.path)
    return _parse(file)[0] if file.exists() else {}


def _read(file: FileMixin, *, is_found: bool = False) -> tuple[Any, str]:
    """Parses a metafile after DVC's checks; returns its data and its text."""
    if not file.exists():
        is_ignored = file.repo.dvcignore.is_ignored_file(file.path)
        raise StageFileDoesNotExistError(file.path, dvc_ignored=is_ignored)
    if not is_found:
        check_dvcfile_path(file.repo, file.path)
    return _parse(file)


def _parse(file: FileMixin) -> tuple[Any, str]:
    """Parses a metafile, with a full YAML parser only if needed; returns its data and its text."""
    if not file.repo.fs.isfile(file.path):
        raise StageFileIsNotDvcFileError(file.path)
    text = _text_of(Path(file.path))
    data = read_plain(text)
    if data is None:
        check_yaml(text, file.path)
        data, text = load(file.path, file.SCHEMA, file.repo.fs)
    else:
        validate(data, file.SCHEMA, text=text, path=relpath(file.path))
    if not isinstance(file, ProjectFile):
        _check_names(file.path, data)
    return data, text


def _check_names(path: str, data: Mapping[str, Any]) -> None:
    """Checks what a ``.dvc`` file or ``dvc.lock`` records.

    Raises:
        MetafileError: when it names what DVC would look for outside of the cache or the output.
    """
    problem = (
        next(find_problems(data), None) if Path(path).name == LOCK_FILE else find_problem(data)
    )
    if problem is not None:
        raise MetafileError(path, problem)


def _text_of(path: Path) -> str:
    """The text of a file; "" if it is a folder, so that DVC reports that."""
    try:
        return read_text(path)
    except IsADirectoryError:
        return ""


def _read_again(path: str, read: Callable[[], T]) -> T:
    """Reads a metafile, retrying while it is invalid and was just written.

    DVC writes its metafiles in place, and we read them without its lock.
    """
    for _ in range(_MOST_READS - 1):
        try:
            return read()
        except (YAMLError, YAMLSyntaxError, YAMLValidationError):
            files = (Path(path), Path(path).with_name(LOCK_FILE))
            written = max(file.stat().st_mtime for file in files if file.exists())
            if abs(time.time() - written) > _JUST_WRITTEN_SECONDS:
                break
            time.sleep(_READ_AGAIN_SECONDS)
    return read()


def load_stages(
    repo: Repo, root: Path, addresses: Sequence[str], *, skip_missing: bool = False
) -> list[DvcStage]:
    """Loads DVC's stages by address, reading each of their metafiles once.

    Only their entries of a ``dvc.lock`` are parsed: a thousand entries would take seconds.

    Args:
        repo: The repository.
        root: Its root.
        addresses: The stages and ``.dvc`` files.
        skip_missing: Whether to leave out addresses that no metafile declares.

    Raises:
        OutputNotFoundError: when a metafile does not declare the stage.
    """
    names: dict[str, list[str]] = {}
    for address in addresses:
        path, _, name = address.partition(":")
        names.setdefault(path, []).append(name)
    files: dict[str, Mapping[str | None, DvcStage]] = {}
    stages = []
    for address in addresses:
        path, _, name = address.partition(":")
        try:
            if path not in files:
                files[path] = _read_some(repo, str(root / path), names[path])
            stages.append(files[path][name or None])
        except (StageNotFound, StageFileDoesNotExistError) as error:
            if not skip_missing:
                raise OutputNotFoundError(address) from error
    return stages


def read_definitions(repo: Repo, path: str) -> Mapping[str, Any]:
    """What a ``dvc.yaml`` declares under `stages`, as DVC's unresolved definitions, by name."""
    definitions: Mapping[str, Any] = _project_file(repo, path).resolver.definitions
    return definitions


def _read_some(repo: Repo, path: str, names: Sequence[str]) -> Mapping[str | None, DvcStage]:
    """The stages of a metafile; recorded versions are loaded only for the named ones."""
    if Path(path).name != PROJECT_FILE:
        return read_stages(repo, path)

    def load_lock() -> object:
        lock = {"schema": "2.0", "stages": read_lock(Path(path), names)}
        try:
            validate(lock, Lockfile.SCHEMA, text="", path="")
        except YAMLValidationError:
            # Says which line is wrong.
            return _load_lock(repo, path)
        _check_names(str(Path(path).with_name(LOCK_FILE)), lock)
        return lock

    return _read_again(path, lambda: _load_pipeline(repo, path, load_lock))


def address_of(stage: DvcStage) -> str:
    """DVC's address of a stage, with the path from the root of the repository."""
    path = Path(stage.path).relative_to(stage.repo.root_dir).as_posix()
    name = getattr(stage, "name", None)
    return f"{path}:{name}" if name else path
