"""From models back to raw collections, and from a file forward to the models trained on it.

A model was trained on what a registry held at one commit, so the graph is read as that commit has
it. What is known of models comes from `links`; nobody here talks to MLflow.
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
from registry_assets.revisions.changes.snapshots import Snapshots

_SHORT_COMMIT = 10


@dataclass(frozen=True)
class RecordedData:
    """A version of a path, as a commit of the registry has it.

    Attributes:
        collection: Which collection it is, where it is one.
        address: The stage or ``.dvc`` file; None for what lies outside the registry.
        md5: None where none is recorded.
        commit: Which recorded it.
    """

    path: str
    collection: str | None
    address: str | None
    md5: str | None
    commit: str | None


@dataclass(frozen=True)
class DataTrace:
    """The way of a data set back.

    Attributes:
        source: What a model was trained on.
        outputs: The outputs that it consists of.
        raw: What they were made of in the end: raw collections, and what came from outside.
        stale: Outputs on the way that were not up to date at that commit, as its metafiles tell.
        versions: The tags of that commit that name it as a version of the data set.
    """

    source: DataSource
    outputs: tuple[RecordedData, ...]
    raw: tuple[RecordedData, ...]
    stale: tuple[OutputStatus, ...] = ()
    versions: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainedOn:
    """A model that was trained on a file, or on what was made of it.

    Attributes:
        files: Those in the data set, as of the commit of `source`.
    """

    model: ModelVersion
    source: DataSource
    files: tuple[str, ...]


@dataclass(frozen=True)
class Trained:
    """The models that were trained on a file.

    Attributes:
        models: None when the server could not be asked.
        gaps: What is not known of other models, a line each.
    """

    models: tuple[TrainedOn, ...] | None
    gaps: tuple[str, ...] = ()


def trace_data(root: Path, sources: Sequence[DataSource]) -> tuple[DataTrace, ...]:
    """Traces what a model was trained on back to raw collections.

    Args:
        root: The root of a repository. Where it has the commit, it is the registry; otherwise the
            registry is cloned from its address.
        sources: What the model was trained on.

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
    """The repository to read a commit from. Commits have their names from what is in them."""
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
        lacks = f"commit {source.rev_lock[:_SHORT_COMMIT]} has no output in {source.path}"
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
    """The tags of a commit that are versions of a data set which a path lies in."""
    datasets = [d for d in lineage.registry.datasets if d.path and _lies_in(inside, d.path)]
    for name in tags_at(GitRepo(lineage.registry.root), commit):
        if any(name.rpartition("/")[0] in (d.name, d.path) for d in datasets):
            yield name


def _find_ends(
    lineage: Lineage, versions: Mapping[str, str]
) -> tuple[set[tuple[str, str]], set[str]]:
    """What versions of outputs were made of in the end, in the versions that were read.

    Returns:
        Paths and versions; and all paths on the way.
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
    """What an import from elsewhere was taken from."""
    sources = (lineage.nodes[source] for source in lineage.upstream_of.get(path, ()))
    return {
        (node.path, node.version.md5 if node.version else "")
        for node in sources
        if node.kind == "source"
    }


def find_trained(root: Path, md5: str, models: Iterable[ModelVersion]) -> Trained:
    """Finds the models that were trained on a content, or on what was made of it.

    Each commit that a model was trained at is read once, with the files of its outputs from the
    cache of this registry.

    Args:
        root: The root of the registry.
        md5: The content.
        models: Those to look at.
    """
    found, gaps = [], []
    git, dvc = GitRepo(root), DvcRepo(root)
    with ExitStack() as stack:
        snapshots = Snapshots(stack)
        held: dict[str, _Held] = {}
        for model in models:
            if model.run in ("deleted", "gone"):
                gaps.append(f"what {model.uri} was trained on is not known: its run was deleted")
            for source in model.data:
                if git.resolve(source.rev_lock) is None:
                    gaps.extend(_say_if_ours(git, model, source))
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


def _say_if_ours(git: GitRepo, model: ModelVersion, source: DataSource) -> Iterator[str]:
    """A gap where a model was trained on a commit of this registry that is not here."""
    own = [*git.remotes(), str(git.top())]
    same = (is_same_repository(source.url, address) for address in own)
    if any(same):
        commit = source.rev_lock[:_SHORT_COMMIT]
        yield f"{model.uri} was trained at commit {commit}, which is not here: `git fetch`"


@dataclass(frozen=True)
class _Held:
    """The files at one commit that hold a content or were made of it."""

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
    """A registry as one commit has it.

    Attributes:
        inside: The path that was asked for, from the root of the registry.
    """

    lineage: Lineage
    inside: str


def _read_snapshot(snapshots: Snapshots, where: str, source: DataSource) -> _Snapshot:
    """The registry around the path of a data source, as its commit has it.

    Raises:
        SourceUnreachableError: when it cannot be cloned or has no such commit.
    """
    folder = snapshots.check_out(where, source.rev_lock)
    root = _dvc_root(folder, source.path)
    inside = (folder / source.path).relative_to(root).as_posix()
    return _Snapshot(snapshots.read(root), inside)


def _dvc_root(folder: Path, path: str) -> Path:
    """The DVC repository in a clone that a path belongs to: the innermost one around it."""
    for parent in (folder / path).parents:
        if (parent / DVC_FOLDER).is_dir() or parent == folder:
            return parent
    return folder


def _lies_in(path: str, folder: str) -> bool:
    return PurePosixPath(path).is_relative_to(folder)
