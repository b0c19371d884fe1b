"""Tracing models upstream to raw collections, and a file downstream to the models trained on it.

A model was trained on data of one commit of a registry, so the graph is read at that commit.
Models come from `links`; this module does not use MLflow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from registry_assets.addresses import is_same_repository
from registry_assets.dvc_repo import DvcRepo
from registry_assets.errors import RegistryError, SourceUnreachableError, describe_unread
from registry_assets.git_repo import GitRepo
from registry_assets.git_repo.tags import tags_at
from registry_assets.model import DVC_FOLDER
from registry_assets.provenance.models.links import DataSource, ModelVersion
from registry_assets.registry.lineage.file_lineage import Tracer
from registry_assets.registry.lineage.graph import Lineage
from registry_assets.registry.status.reading import read_recorded_status
from registry_assets.registry.status.values import OutputStatus
from registry_assets.revisions.changes.metafile_history import CommitFinder
from registry_assets.revisions.changes.revisions import SHORT_COMMIT
from registry_assets.revisions.changes.snapshots import Snapshots


@dataclass(frozen=True)
class RecordedData:
    """A version of a path at a commit of the registry.

    Attributes:
        path: The path from the root.
        collection: The name of the collection, if it is one.
        metafile: The stage or ``.dvc`` file; None for paths outside the registry.
        version: The recorded md5; None if there is none.
        commit: The commit that recorded the version.
    """

    path: str
    collection: str | None
    metafile: str | None
    version: str | None
    commit: str | None


@dataclass(frozen=True)
class DataTrace:
    """Training data traced upstream.

    Attributes:
        source: The data that a model was trained on.
        outputs: The outputs that it consists of.
        raw: The sources of these outputs: raw collections, and imports from elsewhere.
        stale: These and upstream outputs that were not up to date at that commit.
        versions: The tags of that commit that are versions of the data set.
    """

    source: DataSource
    outputs: tuple[RecordedData, ...]
    raw: tuple[RecordedData, ...]
    stale: tuple[OutputStatus, ...] = ()
    versions: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainedOn:
    """A model that was trained on a file, or on files derived from it.

    Attributes:
        model: The model.
        source: The data that it was trained on.
        files: The file and derived files in that data, at the commit of `source`.
    """

    model: ModelVersion
    source: DataSource
    files: tuple[str, ...]


@dataclass(frozen=True)
class Trained:
    """The models that were trained on a file.

    Attributes:
        models: The models; None when the server did not answer.
        gaps: Messages about models that could not be checked.
    """

    models: tuple[TrainedOn, ...] | None
    gaps: tuple[str, ...] = ()


def trace_data(root: Path, sources: Sequence[DataSource]) -> tuple[DataTrace, ...]:
    """Trace the data that a model was trained on upstream to raw collections.

    Args:
        root: The root of a repository. If it has the commit, it is used as the registry; otherwise
            the registry is cloned from its URL.
        sources: The data that the model was trained on.

    Raises:
        SourceUnreachableError: when the registry cannot be cloned, or lacks the commit or path.
    """
    git = GitRepo(root)
    with ExitStack() as stack:
        snapshots = Snapshots(stack)
        return tuple(
            _trace_source(_read_snapshot(snapshots, _where(git, source), source), source)
            for source in sources
        )


def _where(git: GitRepo, source: DataSource) -> str:
    """The repository to read a commit from: this one if it has the commit, else the source."""
    return str(git.top()) if git.resolve(source.rev_lock) is not None else source.url


def _trace_source(snapshot: _Snapshot, source: DataSource) -> DataTrace:
    lineage = snapshot.lineage
    outputs = [
        path
        for path, node in lineage.nodes.items()
        if node.address is not None
        and (_lies_in(path, snapshot.inside) or _lies_in(snapshot.inside, path))
    ]
    if not outputs:
        lacks = f"commit {source.rev_lock[:SHORT_COMMIT]} has no output in {source.path}"
        raise SourceUnreachableError(source.url, lacks)
    commits = CommitFinder(GitRepo(lineage.registry.root))

    def record(path: str, md5: str | None) -> RecordedData:
        node = lineage.nodes[path]
        commit = commits.find(node.address, md5) if node.address and md5 else None
        return RecordedData(path, node.partition, node.address, md5, commit)

    versions = {path: version.md5 for path in outputs if (version := lineage.nodes[path].version)}
    ends, on_the_way = _find_ends(lineage, versions)
    on_the_way.update(outputs)
    return DataTrace(
        source,
        tuple(record(path, versions.get(path)) for path in sorted(outputs)),
        tuple(record(path, md5) for path, md5 in sorted(ends)),
        tuple(
            status
            for status in read_recorded_status(lineage)
            if status.path in on_the_way and status.state in ("stale", "never_run")
        ),
        tuple(_find_versions(lineage, source.rev_lock, snapshot.inside)),
    )


def _find_versions(lineage: Lineage, commit: str, inside: str) -> Iterator[str]:
    """The tags of a commit that are versions of the data set that contains a path."""
    datasets = [d for d in lineage.registry.datasets if d.path and _lies_in(inside, d.path)]
    for name in tags_at(GitRepo(lineage.registry.root), commit):
        if any(name.rpartition("/")[0] in (d.name, d.path) for d in datasets):
            yield name


def _find_ends(
    lineage: Lineage, versions: Mapping[str, str]
) -> tuple[set[tuple[str, str]], set[str]]:
    """Trace versions of outputs upstream to their sources.

    Returns:
        The sources, as paths and versions; and all paths passed on the way.
    """
    ends, waiting, seen = set(), list(versions.items()), set(versions.items())
    while waiting:
        path, md5 = waiting.pop()
        read = lineage.versions_read(path)
        if not read:
            ends.update(_outside(lineage, path) or {(path, md5)})
        for upstream, version in read.items():
            if (upstream, version.md5) not in seen:
                seen.add((upstream, version.md5))
                waiting.append((upstream, version.md5))
    return ends, {path for path, _ in seen}


def _outside(lineage: Lineage, path: str) -> set[tuple[str, str]]:
    """The source of an import from elsewhere; empty for other outputs."""
    sources = (lineage.nodes[source] for source in lineage.upstream_of.get(path, ()))
    return {
        (node.path, node.version.md5 if node.version else "")
        for node in sources
        if node.kind == "source"
    }


def find_trained(root: Path, md5: str, models: Iterable[ModelVersion]) -> Trained:
    """Find the models that were trained on a file, or on files derived from it.

    Each commit that a model was trained at is read once, with the listings in the cache of this
    registry.

    Args:
        root: The root of the registry.
        md5: The content of the file.
        models: The models to check.
    """
    found, gaps = [], []
    git, dvc = GitRepo(root), DvcRepo(root)
    with ExitStack() as stack:
        snapshots = Snapshots(stack)
        held: dict[str, _Held] = {}
        for model in models:
            if model.run in ("deleted", "gone"):
                gaps.append(f"the data of {model.uri} is unknown: its run was deleted")
            for source in model.data:
                if git.resolve(source.rev_lock) is None:
                    gaps.extend(_missing_commit(git, model, source))
                    continue
                try:
                    snapshot = _read_snapshot(snapshots, _where(git, source), source)
                except RegistryError as error:
                    gaps.append(f"{model.uri}: {error}")
                    continue
                key = f"{source.rev_lock} {snapshot.lineage.registry.root}"
                if key not in held:
                    held[key] = _Held.read(snapshot.lineage, dvc, md5)
                    gaps.extend(held[key].gaps)
                files = held[key].files
                inside = tuple(file for file in files if _lies_in(file, snapshot.inside))
                if inside:
                    found.append(TrainedOn(model, source, inside))
    return Trained(tuple(found), tuple(dict.fromkeys(gaps)))


def _missing_commit(git: GitRepo, model: ModelVersion, source: DataSource) -> Iterator[str]:
    """A message if a model was trained on a commit of this registry that is missing here."""
    own = [*git.remotes(), str(git.top())]
    if any(is_same_repository(source.url, address) for address in own):
        commit = source.rev_lock[:SHORT_COMMIT]
        yield f"{model.uri} was trained at commit {commit}, which is not here: `git fetch`"


@dataclass(frozen=True)
class _Held:
    """The files at one commit that have a content or were derived from it."""

    files: tuple[str, ...]
    gaps: tuple[str, ...]

    @classmethod
    def read(cls, lineage: Lineage, dvc: DvcRepo, md5: str) -> _Held:
        tracer = Tracer(lineage, dvc.listings())
        holders, unread = tracer.holders(md5)
        steps, missing = tracer.forward(holders)
        gaps = [*unread, *missing]
        return cls(
            tuple(step.place.path for step in steps),
            (describe_unread(list(dict.fromkeys(gaps))),) if gaps else (),
        )


@dataclass(frozen=True)
class _Snapshot:
    """A registry at one commit.

    Attributes:
        lineage: The graph.
        inside: The path of the data, from the root of the registry.
    """

    lineage: Lineage
    inside: str


def _read_snapshot(snapshots: Snapshots, where: str, source: DataSource) -> _Snapshot:
    """The registry that contains a data source, at the commit of that.

    Raises:
        SourceUnreachableError: when it cannot be cloned or has no such commit.
    """
    folder = snapshots.check_out(where, source.rev_lock)
    root = _dvc_root(folder, source.path)
    inside = (folder / source.path).relative_to(root).as_posix()
    return _Snapshot(snapshots.read(root), inside)


def _dvc_root(folder: Path, path: str) -> Path:
    """The innermost DVC repository in a clone that contains a path."""
    for parent in (folder / path).parents:
        if (parent / DVC_FOLDER).is_dir() or parent == folder:
            return parent
    return folder


def _lies_in(path: str, folder: str) -> bool:
    return PurePosixPath(path).is_relative_to(folder)
