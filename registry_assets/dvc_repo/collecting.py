"""Loading every metafile of a repository, and reporting those that cannot be loaded.

DVC's own index raises at the first invalid stage, file or pair of outputs.
"""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from dvc.dependency import DatasetDependency
from dvc.dvcfile import (
    DVC_FILE_SUFFIX,
    LOCK_FILE,
    PROJECT_FILE,
    FileIsGitIgnored,
    is_valid_filename,
)
from dvc.parsing import EntryDefinition, ForeachDefinition, MatrixDefinition
from dvc.repo.trie import build_outs_trie
from dvc.stage.loader import StageLoader
from dvc.utils.serialize import parse_yaml_for_update
from dvc.utils.strictyaml import YAMLValidationError

from registry_assets.bounded import MOST_BYTES, MOST_FOLDERS_DEEP, read_text
from registry_assets.dvc_repo.folders.ignoring import without_data
from registry_assets.dvc_repo.loading import address_of, read_found
from registry_assets.dvc_repo.unseen import (
    describe_ignored,
    find_link_out,
    link_in_the_way,
    read_link,
)
from registry_assets.dvc_repo.versions import path_in_repo
from registry_assets.errors import MetafileError
from registry_assets.git_repo import AskIgnored, GitRepo
from registry_assets.model import Settings
from registry_assets.settings import read_settings
from registry_assets.units import first_of

if TYPE_CHECKING:
    from dvc.dependency import Dependency as DvcDependency
    from dvc.output import Output as DvcOutput
    from dvc.repo import Repo
    from dvc.stage import Stage as DvcStage

_MOST_NAMED = 3
_MOST_STAGES = 100_000
_IN_A_COLLECTION = (
    "files in a collection are data (`families` in [tool.registry_assets]): remove it from Git, or "
    "change `families`"
)
_BESIDE_COLLECTIONS = (
    "beside collections (`families` in [tool.registry_assets]) only their .dvc files are read: "
    "move it to another folder, or change `families`"
)
_CONFLICT = "<<<<<<< "


@dataclass
class Metafile:
    """A metafile.

    Attributes:
        path: From the root.
        loader: DVC's loader of a ``dvc.yaml``, with its unresolved templates; None for others.
        stages: The stages that could be loaded.
    """

    path: str
    loader: StageLoader | None
    stages: list[DvcStage]


@dataclass(frozen=True)
class Collected:
    """The loaded metafiles, and a line for each problem."""

    metafiles: tuple[Metafile, ...]
    problems: tuple[str, ...]

    @property
    def stages(self) -> list[DvcStage]:
        """Every stage and ``.dvc`` file."""
        return [stage for metafile in self.metafiles for stage in metafile.stages]


def collect(repo: Repo, root: Path) -> Collected:
    """Loads every metafile; invalid and conflicting stages are left out and reported."""
    metafiles: list[Metafile] = []
    settings = read_settings(root)
    found = walk_metafiles(repo, settings, settings.leads_to_collections)
    unread = (*_describe_unseen(root, settings, found), *_not_read(root, settings))
    problems: dict[str, None] = dict.fromkeys(unread)
    for place in found.metafiles:
        path = Path(place).relative_to(root).as_posix()
        try:
            loaded = read_found(repo, place)
            if isinstance(loaded, StageLoader):
                metafile = Metafile(path, loaded, [])
                for name, error in _load_into(metafile.stages, loaded):
                    problems[describe_problem(root, path, error, ("stages", name))] = None
            else:
                metafile = Metafile(path, None, [*loaded.values()])
        except Exception as error:  # an invalid metafile must not hide the others
            problems[describe_problem(root, path, error)] = None
        else:
            metafiles.append(metafile)
    stages = [stage for metafile in metafiles for stage in metafile.stages]
    outside = (*_behind_links(repo, stages), *_outside(stages))
    for refused, problem in (*find_conflicts(stages), *outside):
        problems[problem] = None
        for metafile in metafiles:
            metafile.stages = [s for s in metafile.stages if s not in refused]
    return Collected(tuple(metafiles), tuple(problems))


@dataclass(frozen=True)
class Walk:
    """The metafiles in a repository, as absolute paths.

    Attributes:
        metafiles: Metafiles that DVC sees, folder by folder; files before subfolders.
        ignored: Metafiles in folders for collections that Git ignores, by the ignored path: the
            file itself, or a folder above, which ends in a slash.
        links: Symbolic links to folders, or broken ones, in place of folders for collections.
        unlisted: Why folders could not be listed; whether metafiles are in them is not known.
    """

    metafiles: Sequence[str]
    ignored: Mapping[str, Sequence[str]]
    links: Sequence[str]
    unlisted: Mapping[str, OSError]


def find_metafiles(repo: Repo) -> Sequence[str]:
    """Finds every ``.dvc`` file and ``dvc.yaml`` that DVC sees."""
    settings = read_settings(Path(repo.root_dir))
    return walk_metafiles(repo, settings, lambda _folder: False).metafiles


def walk_metafiles(
    repo: Repo, settings: Settings, leads_to_collections: Callable[[str], bool]
) -> Walk:
    """Finds every ``.dvc`` file and ``dvc.yaml``, by DVC's rules and `Settings.declares`.

    Ignored files, outputs and collections are not searched.

    Args:
        repo: The repository.
        settings: Which folders are collections.
        leads_to_collections: Whether a folder, by path from the root, contains collections,
            directly or deeper. There, metafiles that Git ignores are searched too, to report them.
    """

    def leads(place: str) -> bool:
        return leads_to_collections(place[len(repo.root_dir) + 1 :].rstrip(os.sep))

    def is_second_name(link: str) -> bool:
        """Whether a link leads to another folder of collections, which is searched anyway."""
        target = os.path.relpath(os.path.realpath(link), os.path.realpath(repo.root_dir))
        return os.path.isdir(link) and leads_to_collections(target)  # noqa: PTH112 - a text

    found: list[str] = []
    unseen: dict[str, list[str]] = {}
    links: list[str] = []
    unlisted: dict[str, OSError] = {}
    # Each folder with its topmost ignored ancestor (or itself); "" if it is not ignored.
    level = [(repo.root_dir, "")]
    depth = 0
    # Git checks a whole level at once: DVC's way takes a millisecond per path.
    with GitRepo(Path(repo.root_dir)).asking_ignored() as ask:
        while level:
            files, folders, below = [], [], []
            for folder, culprit in level:
                try:
                    if depth > MOST_FOLDERS_DEEP:
                        why = f"more than {MOST_FOLDERS_DEEP} folders deep"
                        raise OSError(errno.ENAMETOOLONG, why)
                    inside, linked, names = _list(folder)
                except OSError as error:
                    unlisted[folder] = error
                    continue
                inside, names = repo.dvcignore(folder, [*inside, *linked], names)
                inside, names = without_data(repo.root_dir, settings, folder, inside, names)
                tracked = {name.removesuffix(DVC_FILE_SUFFIX) for name in names}
                places = [repo.fs.join(folder, name, "") for name in inside if name not in tracked]
                if linked:
                    behind = {repo.fs.join(folder, name, "") for name in linked}
                    links += [place.rstrip(os.sep) for place in places if place in behind]
                    places = [place for place in places if place not in behind]
                metafiles = [repo.fs.join(folder, name) for name in names]
                if not culprit:
                    files += metafiles
                    folders += places
                    continue
                if metafiles:
                    unseen.setdefault(culprit, []).extend(metafiles)
                below += [(place, culprit) for place in places if leads(place)]
            ignored = _ignored(repo, ask, [*files, *folders])
            found += [file for file in files if file not in ignored]
            unseen |= {
                file: [file] for file in files if file in ignored and leads(repo.fs.parent(file))
            }
            below += [(folder, "") for folder in folders if folder not in ignored]
            below += [(folder, folder) for folder in folders if folder in ignored and leads(folder)]
            level = [(folder.rstrip(os.sep), culprit) for folder, culprit in below]
            depth += 1
    links = [link for link in links if leads(link) and not is_second_name(link)]
    return Walk(sorted(found, key=_files_first), unseen, links, unlisted)


def _list(folder: str) -> tuple[list[str], list[str], list[str]]:
    """The names of subfolders, of links to folders or broken links, and of metafiles.

    Empty for a folder that is gone by now.

    Raises:
        OSError: when the folder cannot be read.
    """
    folders: list[str] = []
    links: list[str] = []
    files: list[str] = []
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
            elif is_valid_filename(entry.name):
                if not (entry.is_symlink() and os.path.isdir(entry.path)):  # noqa: PTH112 - a text
                    files.append(entry.name)
            elif entry.is_symlink() and not os.path.isfile(entry.path):  # noqa: PTH113 - a text
                links.append(entry.name)
    return folders, links, files


def _describe_unseen(root: Path, settings: Settings, found: Walk) -> Iterator[str]:
    """Yields a line for each reason why DVC does not see metafiles."""

    def path_of(place: str) -> str:
        # Not by `Path`: a folder keeps its slash.
        return place.removeprefix(f"{root}{os.sep}")

    ignored = {
        path_of(culprit): [path_of(file) for file in files]
        for culprit, files in found.ignored.items()
    }
    yield from describe_ignored(root, ignored)
    for folder, error in found.unlisted.items():
        may_be_ignored = not settings.leads_to_collections(path_of(folder))
        or_ignore = ", or add it to .dvcignore if there are none" if may_be_ignored else ""
        step = "move it up" if error.errno == errno.ENAMETOOLONG else "make it readable"
        yield (
            f"{path_of(folder)}{os.sep}: the metafiles in it are not known, as it cannot be read "
            f"({error.strerror}): {step}{or_ignore}"
        )
    for link in found.links:
        yield str(link_in_the_way(path_of(link), read_link(Path(link))))


def _behind_links(
    repo: Repo, stages: Iterable[DvcStage]
) -> Iterator[tuple[Sequence[DvcStage], str]]:
    """Finds stages whose outputs lie behind a link that leads out of the repository."""
    by_folder: dict[str, list[DvcStage]] = {}
    for stage in stages:
        for out in stage.outs:
            by_folder.setdefault(repo.fs.parent(out.fs_path), []).append(stage)
    for folder, refused in by_folder.items():
        error = find_link_out(repo, Path(folder))
        if error is not None:
            yield refused, str(error)


def _outside(stages: Iterable[DvcStage]) -> Iterator[tuple[Sequence[DvcStage], str]]:
    """Finds stages with an output outside of the repository that DVC is to cache, as it cannot."""
    for stage in stages:
        for out in stage.outs:
            if out.use_cache and not out.is_in_repo:
                yield (
                    [stage],
                    f"{_where(stage)}: {out.def_path} is outside of the repository, and DVC caches "
                    "nothing there: move it inside, or declare it with `cache: false`",
                )


def _not_read(root: Path, settings: Settings) -> Iterator[str]:
    """Yields a line for each metafile in or beside collections, where it is not read.

    Only metafiles that Git tracks; others are part of the data.
    """
    names = (PROJECT_FILE, f"*{DVC_FILE_SUFFIX}")
    inside = [f"{family}/**/{name}" for family in settings.families for name in names]
    for path in GitRepo(root).tracked_like(inside):
        if not settings.declares(path) and (root / path).is_file():
            yield f"{path}: not read: {_IN_A_COLLECTION}"
    for family in settings.families:
        for place in root.glob(str(PurePosixPath(family).with_name(PROJECT_FILE))):
            if place.is_file():
                yield f"{place.relative_to(root).as_posix()}: not read: {_BESIDE_COLLECTIONS}"


def _files_first(path: str) -> tuple[tuple[int, str], ...]:
    *folders, name = path.split("/")
    return (*((1, folder) for folder in folders), (0, name))


def _ignored(repo: Repo, ask: AskIgnored, paths: Sequence[str]) -> Collection[str]:
    ignored = ask(paths)
    if ignored is None:
        return [path for path in paths if repo.scm.is_ignored(path)]
    return ignored


def _load_into(stages: list[DvcStage], loader: StageLoader) -> Iterator[tuple[str, Exception]]:
    """Loads the stages of a ``dvc.yaml``; yields the name and error of those that fail."""
    left = MOST_BYTES
    for name, definition in loader.resolver.definitions.items():
        try:
            check_count(definition)
            is_one = isinstance(definition, EntryDefinition)
            items = [name] if is_one else definition.get_generated_names()
        except Exception as error:
            yield name, error
            continue
        for item in items:
            try:
                stages.append(loader[item])
                left -= len(str(stages[-1].cmd))
                if left < 0:
                    raise MetafileError(loader.resolver.relpath, "its commands are too long")
            except Exception as error:
                yield name, error
            if left < 0:
                break


def check_count(definition: EntryDefinition | ForeachDefinition | MatrixDefinition) -> None:
    """Checks that a stage of a ``dvc.yaml`` stands for no more stages than anybody can read.

    Raises:
        MetafileError: when it is a `matrix` that stands for more.
    """
    if isinstance(definition, MatrixDefinition):
        count = math.prod(map(len, definition.resolved_iterable.values()))
        if count > _MOST_STAGES:
            raise MetafileError(definition.relpath, f"its matrix stands for {count:,} stages")


def describe_problem(
    root: Path, metafile: str, error: Exception, where: Sequence[str | int] = ()
) -> str:
    """Describes an error in a metafile on one line: file, line and DVC's message.

    Args:
        root: Of the repository.
        metafile: The metafile that was being read.
        error: The error.
        where: The keys that lead to the invalid entry, if the error does not name them.
    """
    for file in (metafile, str(PurePosixPath(metafile).with_name(LOCK_FILE))):
        conflict = _line_of_conflict(root / file)
        if conflict is not None:
            return f"{_place(file, conflict)}: a merge conflict: choose one side, then commit"
    if isinstance(error, FileIsGitIgnored):
        # Ignored metafiles are not loaded, so it is the `dvc.lock` beside a `dvc.yaml`.
        lock = str(PurePosixPath(metafile).with_name(LOCK_FILE))
        return "; ".join(describe_ignored(root, {lock: [lock]}))
    if isinstance(error, YAMLValidationError) and error.exc.errors:
        invalid = error.exc.errors[0]
        file = _file_of(root, metafile, error.path)
        line = find_line(parse_yaml_for_update(error.text, error.path), invalid.path)
        named = ".".join(str(part) for part in invalid.path)
        return f"{_place(file, line)}: {invalid.error_message}: {named}"
    chain: list[BaseException] = [error]
    while chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)
    cause = chain[-1]
    mark = getattr(cause, "problem_mark", None)
    named_path = next((p for e in chain if isinstance(p := getattr(e, "path", None), str)), None)
    file = _file_of(root, metafile, named_path)
    line = mark.line + 1 if mark is not None else line_in_file(root / file, where)
    words = " ".join(str(getattr(cause, "problem", None) or error).split())
    return f"{_place(file, line)}: {words}"


def _line_of_conflict(path: Path) -> int | None:
    """The line of the first merge conflict in a file, if any."""
    try:
        lines = read_text(path).splitlines()
    except (OSError, MetafileError):
        return None
    return next((n for n, line in enumerate(lines, 1) if line.startswith(_CONFLICT)), None)


def _place(file: str, line: int | None) -> str:
    return file if line is None else f"{file}:{line}"


def find_line(data: Any, keys: Sequence[Any]) -> int | None:
    """The line of the deepest existing key of a key path, in YAML loaded with positions."""
    line = None
    for key in keys:
        try:
            line = (data.lc.item(key) if isinstance(key, int) else data.lc.key(key))[0] + 1
            data = data[key]
        except (AttributeError, KeyError, IndexError, TypeError):
            break
    return line


def line_in_file(path: Path, keys: Sequence[str | int]) -> int | None:
    """The line of a key path in a YAML file; None if unknown."""
    if not keys:
        return None
    try:
        return find_line(parse_yaml_for_update(read_text(path), path.name), keys)
    except Exception:  # the caller reports the error
        return None


def _file_of(root: Path, metafile: str, named: str | None) -> str:
    """The file that an error is in: it may be the ``dvc.lock`` of a ``dvc.yaml``."""
    if named is None:
        return metafile
    # DVC names files relative to the working directory.
    place = Path(os.path.abspath(named))  # noqa: PTH100 - resolving would follow links
    return place.relative_to(root).as_posix() if place.is_relative_to(root) else metafile


# --- conflicts ---------------------------------------------------------------------------------


def find_conflicts(stages: Sequence[DvcStage]) -> Iterator[tuple[Sequence[DvcStage], str]]:
    """Finds groups of valid stages that DVC refuses together, with the reason.

    All stages of a conflict are left out, as DVC runs none of them: only a person can tell which
    one is wrong, and running it could overwrite the other's data.
    """
    kept = list(stages)
    for refused, problem in _overlaps(stages):
        kept = [stage for stage in kept if stage not in refused]
        yield refused, problem
    made = build_outs_trie(kept)
    yield from _inside_outputs(kept, made)
    yield from _cycles(kept, made)


def _overlaps(stages: Iterable[DvcStage]) -> Iterator[tuple[Sequence[DvcStage], str]]:
    outs = [(out.fs.parts(out.fs_path), out) for stage in stages for out in stage.outs]
    outs.sort(key=lambda pair: pair[0])
    # Sorted, so paths inside an output follow it.
    groups: list[list[DvcOutput]] = []
    head = None
    for parts, out in outs:
        if head is not None and parts[: len(head)] == head:
            groups[-1].append(out)
        else:
            head = parts
            groups.append([out])
    for first, *others in groups:
        if others:
            makers = [f"{_named(o.stage)} makes {_path(o)}" for o in first_of(others, _MOST_NAMED)]
            if len(others) > len(makers):
                makers.append(f"{len(others) - len(makers)} more overlap")
            one = f"{_where(first.stage)}: {_called(first.stage)} makes {_path(first)}"
            refused = [first.stage, *(out.stage for out in others)]
            yield refused, f"{one}, and {' and '.join(makers)}"


def _inside_outputs(
    stages: Iterable[DvcStage], made: Any
) -> Iterator[tuple[Sequence[DvcStage], str]]:
    for stage in stages:
        found = made.shortest_prefix(stage.repo.fs.parts(stage.path))
        if found:
            maker = _named(found.value.stage)
            yield [stage], f"{_where(stage)}: it lies in {_path(found.value)}, an output of {maker}"


def _cycles(stages: Iterable[DvcStage], made: Any) -> Iterator[tuple[Sequence[DvcStage], str]]:
    graph = {stage: {out.stage for out in outputs_read(stage, made)} for stage in stages}
    for _ in range(len(graph)):
        try:
            TopologicalSorter(graph).prepare()
            return
        except CycleError as error:
            cycle = sorted(set(error.args[1]), key=address_of)
        first, *others = cycle
        if others:
            named = " and ".join(map(_named, others))
            yield cycle, f"{_where(first)}: {_called(first)} and {named} wait for one another"
        else:
            yield cycle, f"{_where(first)}: {_called(first)} reads what it makes itself"
        graph = {stage: read for stage, read in graph.items() if stage not in cycle}
        graph = {stage: read.difference(cycle) for stage, read in graph.items()}


def outputs_read(stage: DvcStage, made: Any) -> Iterator[DvcOutput]:
    """The outputs that a stage depends on, as in `dvc.repo.graph.build_outs_graph`."""
    if stage.is_repo_import or stage.is_db_import:
        return
    for dep in stage.deps:
        if not isinstance(dep, DatasetDependency):
            yield from _overlapping(dep, made)


def _overlapping(dep: DvcDependency, made: Any) -> Iterator[DvcOutput]:
    parts = dep.fs.parts(dep.fs_path)
    yield from (found.value for found in made.prefixes(parts))
    if made.has_subtrie(parts):
        yield from made.values(prefix=parts)


def read_edges(repo: Repo) -> set[tuple[str, str]]:
    """The edges of DVC's own graph of outputs, from dependency to output."""
    index = repo.index
    edges = {
        (path_in_repo(repo, source), path_in_repo(repo, target))
        for target, source in index.outs_graph.edges
    }
    for stage in index.stages:
        if not stage.outs:
            read = outputs_read(stage, index.outs_trie)
            edges.update((path_in_repo(repo, out), address_of(stage)) for out in read)
    return edges


def _path(out: DvcOutput) -> str:
    return path_in_repo(out.repo, out)


def _called(stage: DvcStage) -> str:
    name = getattr(stage, "name", None)
    return f"stage {name}" if name else "it"


def _named(stage: DvcStage) -> str:
    name = getattr(stage, "name", None)
    return f"stage {name} ({_where(stage)})" if name else _where(stage)


def _where(stage: DvcStage) -> str:
    """The metafile of a stage, with the line in a ``dvc.yaml``."""
    path = Path(stage.path)
    file = path.relative_to(stage.repo.root_dir).as_posix()
    if path.name != PROJECT_FILE:
        return file
    name = stage.raw_data.generated_from or stage.name
    return _place(file, line_in_file(path, ("stages", name)))
