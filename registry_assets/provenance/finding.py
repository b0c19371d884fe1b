"""Tracing one file, given by path or content: upstream, downstream, and through commits."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from registry_assets.dvc_repo import DvcRepo, Listings
from registry_assets.errors import (
    ListingNotAvailableError,
    NotFoundError,
    RefusedError,
    describe_unread,
)
from registry_assets.git_repo import GitRepo
from registry_assets.images.contents import hash_file
from registry_assets.registry.decisions import Decided, find_decided
from registry_assets.registry.lineage.derivation import FileVersion
from registry_assets.registry.lineage.file_lineage import Chain, Step, Tracer
from registry_assets.registry.lineage.graph import Lineage, Node
from registry_assets.revisions.changes.metafile_history import CommitFinder, find_recorded

_MD5 = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True)
class FormerPlace:
    """The place of a file in a version that is not current.

    Attributes:
        path: The path from the root, or inside the output if that is unknown.
        output: The output; None if no commit recorded the version.
        version: The version of the output.
        commit: The newest commit that recorded the version.
    """

    path: str
    output: str | None
    version: str
    commit: str | None


@dataclass(frozen=True)
class Trace:
    """The trace of one file.

    Attributes:
        file: The file as given by the user.
        md5: The content.
        chains: Upstream chains: one for a path in the repository; for a content, one for each
            most downstream file that has it.
        equals: Other files with the same content that have no upstream file.
        forward: Every file with the content and every file derived from it, upstream first; None
            if not asked for.
        former: Former places, if no current version contains the file.
        unread: Outputs that could not be searched because the cache lacks their listing.
        decided: Decisions about the content.
    """

    file: str
    md5: str
    chains: tuple[Chain, ...] = ()
    equals: tuple[FileVersion, ...] = ()
    forward: tuple[Step, ...] | None = None
    former: tuple[FormerPlace, ...] = ()
    unread: tuple[str, ...] = ()
    decided: tuple[Decided, ...] = ()

    def map_steps(self, change: Callable[[Step], Step]) -> Trace:
        """A copy with each step replaced."""
        return replace(
            self,
            chains=tuple(
                replace(chain, steps=tuple(map(change, chain.steps))) for chain in self.chains
            ),
            forward=None if self.forward is None else tuple(map(change, self.forward)),
        )


def trace_file(lineage: Lineage, file: Path, *, forward: bool = False) -> Trace:
    """Trace one file, in the registry or anywhere else, by its content.

    Hashes only that file.

    Args:
        lineage: The graph, freshly read.
        file: A file as accepted by `identify`.
        forward: Whether to trace it downstream, too.

    Raises:
        RefusedError: for a folder, or a file that cannot be read.
        ListingNotAvailableError: when the path is in an output that is neither in the workspace
            nor has its listing in the cache.
        NotFoundError: when no version, current or former, contains it.
    """
    dvc = DvcRepo(lineage.registry.root)
    listings = dvc.listings()
    tracer = Tracer(lineage, listings)
    md5, place = identify(tracer, dvc.root, file)
    holders, unread = tracer.holders(md5)
    if not holders:
        former = tuple(_find_former(listings, dvc.git, md5))
        if not former:
            if place is not None:
                raise NotFoundError(
                    f"{file} was edited, and no recorded version contains its present content (md5 "
                    f"{md5}): `registry status` says how to record it"
                )
            raise not_recorded(file, md5, unread)
        return Trace(str(file), md5, former=former, unread=tuple(unread))
    is_path = place is not None and place.md5 == md5
    if is_path and not forward:
        # Other files with this content do not matter here.
        unread = []
    chains = (tracer.chain(place),) if place and is_path else tracer.last_chains(holders)
    steps, missing = tracer.forward(holders) if forward else (None, ())
    unread = [*unread, *missing, *(path for chain in chains for path in chain.unread)]
    on_the_way = {step.place.identity for chain in chains for step in chain.steps}
    others = (other for other in holders if other.identity not in on_the_way)
    trace = Trace(
        str(file),
        md5,
        chains,
        equals=tuple(other for other in others if tracer.origin(other) is None),
        forward=steps,
        unread=tuple(dict.fromkeys(unread)),
        decided=tuple(find_decided(lineage.registry, md5=md5)),
    )
    return _with_commits(trace, dvc.git)


def identify(tracer: Tracer, root: Path, file: Path) -> tuple[str, FileVersion | None]:
    """Find the content of a file; hashes it if it exists on this machine.

    Args:
        tracer: The tracer of the registry.
        root: Root of the registry.
        file: A path relative to the working directory or to the root, which need not be in the
            workspace if a metafile records it; or an md5.

    Returns:
        The md5, and the file that a metafile records at the path, if any.

    Raises:
        RefusedError: for a folder, or a file that cannot be read.
        ListingNotAvailableError: when the path is in an output that is neither in the workspace
            nor has its listing in the cache.
        NotFoundError: when there is no such file and no metafile records one.
    """
    location = _find_location(root, file)
    place = _find_place(tracer, root, file, location)
    if location is not None:
        return _hash(location, file), place
    if place is not None:
        return place.md5, place
    if _MD5.fullmatch(str(file)):
        return str(file), None
    raise NotFoundError(
        f"there is no file {file}, and no metafile records one: check the path (`registry lineage` "
        "lists the outputs)"
    )


def not_recorded(file: Path, md5: str, unread: Sequence[str]) -> NotFoundError:
    """The error for a file that no recorded version, current or former, contains.

    Args:
        file: The file as given by the user.
        md5: The content.
        unread: Outputs that could not be searched because the cache lacks their listing.
    """
    if unread:
        return NotFoundError(
            f"{file} (md5 {md5}) was not found so far, as {describe_unread(unread)}"
        )
    return NotFoundError(
        f"no recorded version contains {file} (md5 {md5}): `registry add NAME` adds a collection"
    )


def _find_location(root: Path, file: Path) -> Path | None:
    """The path of a file on this machine; None if it does not exist."""
    try:
        found = next((place for place in (Path.cwd() / file, root / file) if place.exists()), None)
        if found is None:
            return None
        mode = found.stat().st_mode
    except OSError as error:
        raise RefusedError(f"{file} cannot be read: {error.strerror}") from error
    if stat.S_ISDIR(mode):
        raise RefusedError(f"{file} is a folder: name one file in it")
    if not stat.S_ISREG(mode):
        raise RefusedError(f"{file} is neither a file nor recorded as one: name a file")
    return found


def _hash(location: Path, asked: Path) -> str:
    try:
        return hash_file(location)
    except OSError as error:
        raise RefusedError(f"{asked} cannot be read: {error.strerror}") from error


def _find_place(
    tracer: Tracer, root: Path, file: Path, location: Path | None
) -> FileVersion | None:
    """The file that a metafile records at a path; None if there is none."""
    for path in paths_in_repo(root, file if location is None else location):
        parts = path.split("/")
        above = ["/".join(parts[:length]) for length in range(len(parts), 0, -1)]
        output = next((path for path in above if path in tracer.recorded), None)
        if output is None:
            continue
        files = tracer.files(output, tracer.recorded[output])
        inside = path[len(output) + 1 :]
        if files is not None and inside in files.listed:
            return files.place(inside)
        if location is not None:
            continue
        if files is None:
            raise ListingNotAvailableError([output])
        if not inside or any(name.startswith(f"{inside}/") for name in files.listed):
            raise RefusedError(f"{file} is a folder: name one file in it")
    return None


def paths_in_repo(root: Path, file: Path) -> list[str]:
    """The paths in the repository that a path may mean: from the working directory or the root."""
    # Not resolved: a file in the workspace may be a link into the cache.
    meant = [os.path.abspath(place) for place in (Path.cwd() / file, root / file)]  # noqa: PTH100
    meant += [str(Path(place).parent.resolve() / Path(place).name) for place in meant]
    inside = (Path(place) for place in meant)
    roots = (root, root.resolve())
    found = [p.relative_to(r).as_posix() for p in inside for r in roots if p.is_relative_to(r)]
    return list(dict.fromkeys(found))


def _find_former(listings: Listings, git: GitRepo, md5: str) -> Iterable[FormerPlace]:
    """The places of a content in versions that are not current, by the listings in the cache."""
    files = {md5: [""]}
    for version in listings.find(md5):
        listed = listings.read(version) or {}
        files[version] = [file for file, held in listed.items() if held == md5]
    told = set()
    for recorded in find_recorded(git, files):
        told.add(recorded.md5)
        for file in files[recorded.md5]:
            path = f"{recorded.output}/{file}" if file else recorded.output
            yield FormerPlace(path, recorded.output, recorded.md5, recorded.commit)
    for version, names in files.items():
        if version not in told and version != md5:
            yield from (FormerPlace(file, None, version, None) for file in names)


def _with_commits(trace: Trace, git: GitRepo) -> Trace:
    """Add to each step the commit that recorded its version."""
    known: dict[tuple[str, str], str | None] = {}
    commits = CommitFinder(git)

    def complete(step: Step) -> Step:
        key = (step.place.output, step.place.version)
        if key not in known:
            known[key] = _commit_of(step, git, commits)
        return replace(step, commit=known[key])

    return trace.map_steps(complete)


def _commit_of(step: Step, git: GitRepo, commits: CommitFinder) -> str | None:
    if step.is_current and step.node.address is not None:
        return commits.find(step.node.address, step.place.version)
    recorded = find_recorded(git, [step.place.version])
    return next((found.commit for found in recorded if found.output == step.place.output), None)


@dataclass(frozen=True)
class RunOfVersion:
    """What Dagster recorded about a version.

    Attributes:
        run: The run that recorded it; "" if it was recorded outside Dagster.
        made_with: The programs and the machine that made it, if known.
    """

    run: str
    made_with: str | None = None


def with_runs(trace: Trace, find_run: Callable[[Node, str], RunOfVersion | None]) -> Trace:
    """Add to each step the Dagster run that recorded its version.

    Args:
        trace: The trace.
        find_run: Returns the run of a version of an output; None if Dagster does not know it.
    """
    known: dict[tuple[str, str], RunOfVersion | None] = {}

    def complete(step: Step) -> Step:
        key = (step.place.output, step.place.version)
        if key not in known:
            known[key] = find_run(step.node, step.place.version)
        found = known[key]
        if found is None:
            return replace(step, run_note="not seen by Dagster")
        note = None if found.run else "recorded outside Dagster"
        return replace(step, run=found.run or None, run_note=note, made_with=found.made_with)

    return trace.map_steps(complete)
