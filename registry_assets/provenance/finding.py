"""One file, asked about by its path or by its content: its way back, its way on, its commits."""

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
    """Where a file was, in a version that is not the current one.

    Attributes:
        path: From the root; inside the folder only, where no commit tells which folder it is.
        output: None where no commit recorded the version.
        commit: The newest that recorded the version.
    """

    path: str
    output: str | None
    version: str
    commit: str | None


@dataclass(frozen=True)
class Trace:
    """What is known about one file.

    Attributes:
        file: As it was asked for.
        chains: The ways back: one for a path of the repository; for a content one for each place
            from which it went no further.
        equals: Other files of the same content that nothing upstream explains.
        forward: Every place of the content and of what was made of it, upstream before
            downstream; None when nobody asked.
        former: Where it was, when no current version holds it.
        unread: Outputs whose listings the cache lacks, so that something may be left out.
        decided: What was decided about the content.
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
        """The same with other steps."""
        return replace(
            self,
            chains=tuple(
                replace(chain, steps=tuple(map(change, chain.steps))) for chain in self.chains
            ),
            forward=None if self.forward is None else tuple(map(change, self.forward)),
        )


def trace_file(lineage: Lineage, file: Path, *, forward: bool = False) -> Trace:
    """Traces one file, of the registry or of anywhere else, by its content.

    Hashes that file and nothing else.

    Args:
        lineage: The graph, from the metafiles as they are now.
        file: See `identify`.
        forward: Whether to follow it to all that was made of it, too.

    Raises:
        RefusedError: for a folder, and for what cannot be read.
        ListingNotAvailableError: when an output is recorded at the path, not in the workspace, and
            its listing is not in the cache.
        NotFoundError: when no version, current or former, holds it.
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
                    f"{file} was edited, and no recorded version holds what it is now (md5 {md5}): "
                    "`registry status` says how to record it"
                )
            raise not_recorded(file, md5, unread)
        return Trace(str(file), md5, former=former, unread=tuple(unread))
    is_path = place is not None and place.md5 == md5
    if is_path and not forward:
        # What else may hold it was not asked.
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
    """Tells which content is meant; hashes the file where it is on this machine.

    Args:
        tracer: What is recorded.
        root: Of the registry.
        file: Where it is, from the working directory or from the root; or a path that a metafile
            records, in the workspace or not; or the md5 itself.

    Returns:
        The md5, and the file that a metafile records at the path, if there is one.

    Raises:
        RefusedError: for a folder, and for what cannot be read.
        ListingNotAvailableError: when an output is recorded at the path, not in the workspace, and
            its listing is not in the cache.
        NotFoundError: when it is none of those.
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
        f"there is no file {file}, and no metafile records one: check the path, "
        "`registry lineage` lists the outputs"
    )


def not_recorded(file: Path, md5: str, unread: Sequence[str]) -> NotFoundError:
    """What to raise where no recorded version, current or former, holds a file.

    Args:
        file: As it was asked for.
        md5: Its content.
        unread: Outputs whose listings could not be searched.
    """
    if unread:
        return NotFoundError(
            f"{file} (md5 {md5}) was not found so far, as {describe_unread(unread)}"
        )
    return NotFoundError(
        f"no recorded version holds {file} (md5 {md5}): `registry add NAME` takes a collection in"
    )


def _find_location(root: Path, file: Path) -> Path | None:
    """Where the file is on this machine, None when it is not."""
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
    """The file that a metafile records at a path, None when there is none."""
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
    """What a path may mean in the repository: from the working directory, and from the root."""
    # Not resolved: a file in the workspace may be a link into the cache.
    meant = [os.path.abspath(place) for place in (Path.cwd() / file, root / file)]  # noqa: PTH100
    meant += [str(Path(place).parent.resolve() / Path(place).name) for place in meant]
    inside = (Path(place) for place in meant)
    roots = (root, root.resolve())
    found = [p.relative_to(r).as_posix() for p in inside for r in roots if p.is_relative_to(r)]
    return list(dict.fromkeys(found))


def _find_former(listings: Listings, git: GitRepo, md5: str) -> Iterable[FormerPlace]:
    """Where a content was in versions that are not current, as far as the cache tells."""
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
    """The same with the commit of every version on the way."""
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
    """What Dagster knows of how a version was made.

    Attributes:
        run: The run that recorded it; "" where that was done outside Dagster.
        made_with: The programs and the machine that made it; None where nobody knows.
    """

    run: str
    made_with: str | None = None


def with_runs(trace: Trace, find_run: Callable[[Node, str], RunOfVersion | None]) -> Trace:
    """The same with the Dagster run that recorded each version on the way.

    Args:
        trace: What was found.
        find_run: Gives the run of a version of an output; None where Dagster has not seen it.
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
