"""Planning to forget a picture: what to remove, to record and to rerun."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from registry_assets.dvc_repo import DvcRepo
from registry_assets.errors import (
    NotFoundError,
    RefusedError,
)
from registry_assets.forgotten import FORGOTTEN_FILE, Forgotten, read_forgotten, renew, with_entry
from registry_assets.git_repo.history import INDEX
from registry_assets.git_repo.work_tree import describe_kept_out, find_kept_out
from registry_assets.images import Memo
from registry_assets.model import DVC_FOLDER, EMPTY_MD5, is_folder
from registry_assets.provenance.finding import identify, not_recorded, paths_in_repo
from registry_assets.registry.lineage.derivation import FileVersion
from registry_assets.registry.lineage.file_lineage import Tracer
from registry_assets.registry.lineage.graph import Lineage, Node, recorded_in
from registry_assets.retention.occurrences import Occurrences, find_occurrences
from registry_assets.revisions.changes.version_history import VersionHistory, read_version_history

_MEMOS = "measures-*.sqlite"


@dataclass(frozen=True)
class Content:
    """The picture to forget.

    Attributes:
        md5: The content.
        size: Size in bytes, if known.
    """

    md5: str
    size: int | None = None


@dataclass(frozen=True)
class Forgetting:
    """A plan to forget a picture.

    Attributes:
        file: The file as given by the user.
        content: The picture.
        history: All versions that were ever recorded.
        occurrences: The picture and derived files in all versions.
        current: The picture and derived files in current versions, upstream first.
        raw: The paths of all raw collections.
        takes: The files to remove from each raw collection, by the path of the collection.
        renewed: The outputs to record again or rerun, including collections.
        blocked: Outputs that cannot be changed here, each with the reason and the next step.
        unread: Outputs that could not be searched because their listing is missing.
        problem: Why missing listings of older versions could not be fetched, if they could not.
    """

    file: str
    content: Content
    history: VersionHistory
    occurrences: Occurrences
    current: tuple[FileVersion, ...]
    raw: frozenset[str]
    takes: Mapping[str, tuple[str, ...]]
    renewed: tuple[str, ...]
    blocked: Mapping[str, str]
    unread: tuple[str, ...] = field(default=())
    problem: str | None = None

    @property
    def md5(self) -> str:
        """The md5 of the picture."""
        return self.content.md5

    @property
    def stood_at(self) -> tuple[str, ...]:
        """Its present and former paths in raw collections, or else in other outputs."""
        equal = [
            place
            for (path, md5), places in self.occurrences.places.items()
            for place in places
            if place.md5 == self.md5 and self.history.is_known(path, md5)
        ]
        raw = [place.path for place in equal if place.output in self.raw]
        return tuple(dict.fromkeys(raw or [place.path for place in equal]))


def plan_forgetting(lineage: Lineage, file: Path, dvc: DvcRepo) -> Forgetting:
    """Find a picture, all copies of it and all derived files, and plan to forget them.

    Args:
        lineage: The graph, freshly read.
        file: A file as accepted by `finding.identify`; also the former path of a picture that was
            forgotten or that an older version contains.
        dvc: The repository.

    Raises:
        RefusedError: when it is empty, or was made from another file.
        NotFoundError: when there is no such file in any version.
        DataModifiedError: when a collection that contains it has other edits.
    """
    listings = dvc.listings()
    history = read_version_history(lineage.registry, dvc.run_cache_folder)
    names = {md5: path for path, md5 in history.versions if is_folder(md5)}
    problem = dvc.fetch_listings(names, report=lambda _line: None)
    tracer = Tracer(lineage, listings)
    content = _find_content(tracer, history, file, dvc)
    if content.md5 == EMPTY_MD5:
        raise RefusedError(f"{file} is empty: there is no picture to forget")
    holders, unread = tracer.holders(content.md5)
    _check_is_source(tracer, file, content, holders)
    occurrences = find_occurrences(tracer, history, listings, content.md5)
    if not occurrences.places and content.md5 not in read_forgotten(dvc.root):
        raise not_recorded(file, content.md5, unread)
    current = _current(tracer, occurrences)
    blocked = {
        **dict(_find_kept_out(dvc, history, occurrences)),
        **dict(_find_blocked(lineage, current)),
    }
    takes: dict[str, list[str]] = {}
    for place in current:
        is_raw = lineage.nodes[place.output].kind == "raw"
        if is_raw and place.md5 == content.md5 and place.output not in blocked:
            takes.setdefault(place.output, []).append(place.file)
    for path, files in takes.items():
        dvc.check_folder(_address(lineage.nodes[path]), path, files)
    return Forgetting(
        str(file),
        content,
        history,
        occurrences,
        current,
        frozenset(path for path, node in lineage.nodes.items() if node.kind == "raw"),
        {path: tuple(files) for path, files in takes.items()},
        tuple(_find_renewed(tracer, [*takes, *_affected(lineage, occurrences, current)], blocked)),
        blocked,
        tuple(unread),
        problem,
    )


def _find_content(tracer: Tracer, history: VersionHistory, file: Path, dvc: DvcRepo) -> Content:
    root = dvc.root
    try:
        md5, _ = identify(tracer, root, file)
        sizes = [item.size for item in dvc.find_in_cache([md5])]
        here = (place for place in (Path.cwd() / file, root / file) if place.is_file())
        sizes += [place.stat().st_size for place in here]
        return Content(md5, next(iter(sizes), None))
    except NotFoundError:
        paths = paths_in_repo(root, file)
        for entry in read_forgotten(root).values():
            if any(path in entry.stood_at for path in paths):
                return Content(entry.md5, entry.size)
        for path in paths:
            for output, version in history.versions:
                inside = path[len(output) + 1 :]
                if output and path == f"{output}/{inside}":
                    files = tracer.files(output, version)
                    if files is not None and inside in files.listed:
                        return Content(files.listed[inside])
        raise


def _check_is_source(
    tracer: Tracer, file: Path, content: Content, holders: Collection[FileVersion]
) -> None:
    """Refuse a file that a stage made from another file, because the stage would make it again."""
    chains = tracer.last_chains(holders)
    if chains and not any(chain.source.place.md5 == content.md5 for chain in chains):
        raise RefusedError(
            f"{file} was made from {chains[0].source.place.path}: forget that file, and all files "
            "made from it are forgotten, too"
        )


def _current(tracer: Tracer, occurrences: Occurrences) -> tuple[FileVersion, ...]:
    return tuple(
        place
        for version in tracer.recorded.items()
        for place in sorted(occurrences.places.get(version, ()), key=lambda place: place.file)
    )


def _find_blocked(lineage: Lineage, current: Iterable[FileVersion]) -> Iterator[tuple[str, str]]:
    registry = lineage.registry
    for path, is_file in dict.fromkeys((place.output, not place.file) for place in current):
        node, imported = lineage.nodes[path], registry.import_of.get(path)
        if imported is not None:
            is_here = imported.source.path in registry.outputs and not imported.source.is_external
            if is_here and imported.repository is None:
                continue
            again = f"`registry update {path}`"
            if is_here:
                yield (
                    path,
                    (
                        f"is imported from a commit of this repository: commit and push the next "
                        f"version of {imported.source.path}, then {again}"
                    ),
                )
            else:
                source = imported.repository or imported.source.path
                yield path, f"is imported from {source}: remove it there, then {again}"
        elif node.kind == "raw" and is_file:
            yield (
                path,
                (f"is tracked by itself: `dvc remove --outs {node.address}`, then run this again"),
            )
        elif node.kind == "stage" and registry.stage_of[path].is_frozen:
            yield path, f"is frozen: `dvc unfreeze {node.address}`, then run this again"


def _find_kept_out(
    dvc: DvcRepo, history: VersionHistory, occurrences: Occurrences
) -> Iterator[tuple[str, str]]:
    """Outputs with the picture whose metafile is outside the sparse checkout."""
    kept_out = find_kept_out(dvc.git)
    for version in occurrences.places if kept_out.files else ():
        for number in history.versions.get(version, ()):
            metafile = recorded_in(history.entries[number].address)
            if INDEX in history.keepers[number] and kept_out.lacks(metafile):
                yield (
                    version[0],
                    f"{describe_kept_out(metafile)}, then run this again",
                )


def _affected(
    lineage: Lineage, occurrences: Occurrences, current: Iterable[FileVersion]
) -> Iterator[str]:
    """Outputs that contain it, and outputs that depend on those, such as a table of names."""
    yield from (place.output for place in current)
    for path in lineage.nodes:
        read = lineage.versions_read(path).items()
        if any((source, version.md5) in occurrences.places for source, version in read):
            yield path


def _find_renewed(tracer: Tracer, start: Iterable[str], blocked: Collection[str]) -> Iterator[str]:
    """The given outputs and everything downstream, except blocked ones, upstream first."""
    lineage = tracer.lineage
    waiting = [path for path in start if path not in blocked]
    reached = set(waiting)
    while waiting:
        for target in lineage.downstream_of.get(waiting.pop(), ()):
            if target not in reached and target not in blocked:
                reached.add(target)
                waiting.append(target)
    nodes = sorted(reached, key=lambda path: (tracer.rank[path], path))
    yield from (path for path in nodes if lineage.nodes[path].key and lineage.nodes[path].address)


def _address(node: Node) -> str:
    assert node.address is not None, f"{node.path} is declared nowhere"
    return node.address


def take_files_out(dvc: DvcRepo, lineage: Lineage, found: Forgetting) -> None:
    """Remove a picture from the collections in the workspace.

    Raises:
        DataModifiedError: when a collection was edited meanwhile.
    """
    for path, files in found.takes.items():
        dvc.take_files_out(_address(lineage.nodes[path]), path, files, report=lambda _line: None)


def find_left(lineage: Lineage, dvc: DvcRepo, found: Forgetting) -> Iterator[str]:
    """Describe the outputs that still contain the picture after everything was rerun.

    Args:
        lineage: The graph, freshly read.
        dvc: The repository.
        found: The plan.
    """
    holders, _ = Tracer(lineage, dvc.listings()).holders(found.md5)
    for path in dict.fromkeys(place.output for place in holders):
        if path not in found.blocked:
            yield (
                f"{path} still contains it: the picture does not come from a collection; remove it "
                "at its source, then run this again"
            )


def record(dvc: DvcRepo, found: Forgetting, why: str) -> Forgotten:
    """Record that a picture is forgotten; called first, so that its former path still finds it.

    Returns:
        The entry, merged with an earlier one.
    """
    kept = dvc.find_in_cache([found.md5])
    size = (
        found.content.size if found.content.size is not None else (kept[0].size if kept else None)
    )
    author = dvc.git.find_author() or ""
    return write_record(dvc, Forgotten(found.md5, size, now(), author, why, found.stood_at))


def write_record(dvc: DvcRepo, entry: Forgotten) -> Forgotten:
    """Write an entry to the record; returns it merged with an earlier one."""
    with dvc.open() as repo, dvc.write_lock(repo, lambda _line: None):
        known = read_forgotten(dvc.root)
        entry = renew(known.get(entry.md5), entry)
        if known.get(entry.md5) != entry:
            dvc.write_text(FORGOTTEN_FILE, with_entry(known, entry))
    return entry


def now() -> str:
    """The present time in the format of the record."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def forget_measures(root: Path, md5s: Collection[str]) -> None:
    """Remove the measurements of contents from the memos of this machine."""
    for place in sorted((root / DVC_FOLDER / "tmp").glob(_MEMOS)):
        Memo(str(place)).forget(md5s)
