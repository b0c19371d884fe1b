"""What forgetting a picture comes to, and what is left of it, for people and for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TypedDict

from registry_assets.dvc_repo import CachedObject
from registry_assets.provenance.models.report import TrainedJson, trained_as_json
from registry_assets.provenance.models.tracing import Trained
from registry_assets.registry.decisions import DecidedJson, decided_as_json
from registry_assets.registry.status.archive_names import archive_stem
from registry_assets.retention.planning import Forgetting
from registry_assets.retention.remaining_copies import OlderVersion, RemainingCopies
from registry_assets.units import format_size

_MOST_NAMED = 5
_SHORT = 10


class PlaceJson(TypedDict):
    """Where a current version has the picture, or what was made of it.

    Attributes:
        path: The file, from the root.
        output: The output that holds it.
        md5: Its content.
    """

    path: str
    output: str
    md5: str


class OlderVersionJson(TypedDict):
    """A version that has the picture, or what was made of it, and is not the current one.

    Attributes:
        path: The output; null where nothing tells.
        version: The md5 that DVC records.
        files: How many such files it has.
        commit: The newest that recorded it; null where none did.
        kept_by: The branches, tags and stashes that have it now.
    """

    path: str | None
    version: str
    files: int
    commit: str | None
    kept_by: tuple[str, ...]


class CacheJson(TypedDict):
    """What the cache has.

    Attributes:
        objects: How many objects there are.
        size: Their bytes.
        other_links: How many other names they have on this disk.
    """

    objects: int
    size: int
    other_links: int


class RemoteJson(TypedDict):
    """What a remote has.

    Attributes:
        name: Its name.
        objects: How many objects it has; null when it does not answer.
        size: Their bytes; null when it does not answer.
        problem: Why it does not answer; null when it does.
    """

    name: str
    objects: int | None
    size: int | None
    problem: str | None


class _RemainingCopiesJson(TypedDict):
    objects: int
    versions: list[OlderVersionJson]
    cache: CacheJson
    remotes: list[RemoteJson]
    git: tuple[str, ...]
    raw: tuple[str, ...]
    tables: int
    contact_sheets: int
    decisions: list[DecidedJson]
    unread: list[str]


class RemainingCopiesJson(_RemainingCopiesJson, total=False):
    """What is left of a picture.

    Attributes:
        objects: How many contents were looked for: the picture, and what was made of it.
        versions: Older ones that have it.
        cache: What the cache has.
        remotes: What the remotes have.
        git: Files that Git itself has, or had, of the same content.
        raw: Copies in the raw folder that are no part of a collection, and archives that
            collections with it came from.
        tables: How many older tables of measurements have a row of it.
        contact_sheets: How many in Dagster's history are of versions that have it.
        decisions: What was decided about it, and about pictures that were left out in its favour.
        unread: Versions whose listings are nowhere to be had, each with its path.
        models: The models that were trained on it; null when the server is away. Where an MLflow
            server is configured and its client installed.
    """

    models: list[TrainedJson] | None


class ForgettingJson(TypedDict):
    """What forgetting a picture came to, or comes to with `--dry-run`.

    Attributes:
        file: The file that was asked about.
        md5: Its content.
        current: Where the current versions have it, and what was made of it.
        taken_out_of: The collections that are recorded without it.
        renewed: The outputs that are made anew.
        blocked: The outputs that keep it, each with the reason.
        made_of_it: The contents that were made of it.
        unread: Outputs whose listings the cache lacks.
        left: What is left of it.
        failures: What did not succeed.
    """

    file: str
    md5: str
    current: list[PlaceJson]
    taken_out_of: list[str]
    renewed: list[str]
    blocked: dict[str, str]
    made_of_it: list[str]
    unread: list[str]
    left: RemainingCopiesJson
    failures: Sequence[str]


def describe_plan(found: Forgetting) -> Iterator[str]:
    """What stands where now, and what is going to be done about it."""
    yield f"{found.file} (md5 {found.md5})"
    verb = "takes out"
    for path, files in found.takes.items():
        yield from (f"  {verb} {path}/{file}" for file in files)
    by_output = groupby(found.current, key=lambda place: place.output)
    for output, places in by_output:
        if output in found.takes or output in found.blocked:
            continue
        listed = list(places)
        more = f" and {len(listed) - 1} more" if len(listed) > 1 else ""
        yield f"  {verb} {listed[0].path}{more}"
    if not found.current:
        yield "  no current version has it"
    for path, reason in found.blocked.items():
        yield f"  stays in  {path}: it {reason}"


def describe_purge(
    found: Forgetting, remains: RemainingCopies, remotes: Sequence[str]
) -> Iterator[str]:
    """What purging removes, for good."""
    names = [found.md5[:_SHORT], *(md5[:_SHORT] for md5 in found.occurrences.made_of_it)]
    made = f" and {len(names) - 1} made of it" if len(names) > 1 else ""
    yield f"Purging removes for good the objects of this picture{made} ({_some(names)}):"
    size = format_size(sum(item.size for item in remains.cache))
    yield f"  cache     {_count(len(remains.cache), 'object')}, {size}"
    for remote in remains.remotes:
        if remote.name in remotes:
            there = remote.problem or _count(len(remote.sizes), "object")
            yield f"  remote    {remote.name} ({remote.url}): {there}"
    if remains.sheets:
        yield f"  sheets    {_count(remains.sheets, 'contact sheet')}, made anew without it"
    for md5, path in found.occurrences.shared.items():
        yield f"  stays     {md5[:_SHORT]}, as {path} has the same content and was not made of it"
    history = found.history
    committed = [v for v in found.occurrences.places if history.commit_of(*v) is not None]
    if committed:
        yield (
            f"Commits have {_count(len(committed), 'version')} with them: `dvc checkout` and `dvc "
            "pull` will fail there for the whole output, and give its other files one by one."
        )
    yield "Whoever else uses this cache or remote loses them, too."


def describe_links(kept: Sequence[CachedObject]) -> Iterator[str]:
    """What else is called by the picture on this disk, once it is out of the work tree."""
    for item in kept:
        if item.other_names:
            names = _count(item.other_names, "other name")
            yield (
                f"It has {names} on this disk, as where it was linked from, or in another clone: "
                f"`find / -xdev -inum {item.inode}` shows where"
            )


def describe_remaining_copies(remains: RemainingCopies, *, is_done: bool) -> Iterator[str]:
    """What is left of it, and where; or what would be, besides the current versions."""
    yield "What is left of it:" if is_done else "What would be left of it:"
    yield from _describe_versions(remains.versions)
    sizes = sum(item.size for item in remains.cache)
    in_cache = f"{len(remains.cache)} of {remains.objects} objects, {format_size(sizes)}"
    yield f"  cache     {in_cache if remains.cache else 'nothing'}"
    for remote in remains.remotes:
        there = f"{len(remote.sizes)} of {remains.objects} objects"
        if remote.problem is not None:
            yield f"  remote    {remote.name}: not known, {remote.problem}"
        elif remote.sizes:
            size = format_size(sum(remote.sizes.values()))
            yield f"  remote    {remote.name} ({remote.url}): {there}, {size}"
        else:
            yield f"  remote    {remote.name} ({remote.url}): nothing"
    if not remains.remotes:
        yield "  remote    there is none"
    if remains.git:
        yield f"  git       the same file is in Git itself: {_some(remains.git)}"
    yield from (f"  raw       {path} {_why_loose(path)}" for path in remains.loose)
    if remains.tables:
        yield (
            f"  tables    a row of it, without the picture, in {remains.tables} older tables of "
            "measurements"
        )
    if remains.sheets:
        yield f"  sheets    {_count(remains.sheets, 'contact sheet')} of versions that have it"
    for decided in remains.decided:
        yield (
            f"  decided   {decided.image} was {decided}; `registry decisions --withdraw "
            f"{decided.decision.md5}` takes it back"
        )
    if remains.unread:
        names = _some([f"{path} ({md5[:_SHORT]})" for path, md5 in remains.unread])
        yield f"  unknown   what was in {_count(len(remains.unread), 'older version')}: {names}"


def _why_loose(path: str) -> str:
    if archive_stem(path) is not None:
        return "is the archive that a collection with it came from: delete it by hand"
    return "is a copy that belongs to no collection: delete it by hand"


def _describe_versions(versions: Sequence[OlderVersion]) -> Iterator[str]:
    if not versions:
        yield "  versions  no older version has it"
    for keepers, some in groupby(sorted(versions, key=_by_keepers), key=lambda v: v.keepers):
        listed = list(some)
        commits = list(dict.fromkeys(v.commit[:_SHORT] for v in listed if v.commit))
        by = f"recorded by {_some(commits)}" if commits else "recorded by no commit"
        has = f", in {_some(keepers)}" if keepers else ""
        yield f"  versions  {len(listed)} older, {by}{has}:"
        outputs = Counter(version.path or version.md5 for version in listed)
        for name, count in [*outputs.items()][:_MOST_NAMED]:
            yield f"              {name}" + (f" ({count} versions)" if count > 1 else "")
        if len(outputs) > _MOST_NAMED:
            yield f"              and {len(outputs) - _MOST_NAMED} more outputs"


def _by_keepers(version: OlderVersion) -> tuple[object, ...]:
    # Where the picture came in, rather than where it went.
    return (version.keepers, version.path.count("/"), version.path)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def forgetting_as_json(
    plan: Forgetting, remains: RemainingCopies, trained: Trained | None, failures: Sequence[str]
) -> ForgettingJson:
    """The form of `registry forget --json`."""
    return {
        "file": plan.file,
        "md5": plan.md5,
        "current": [
            {"path": place.path, "output": place.output, "md5": place.md5} for place in plan.current
        ],
        "taken_out_of": sorted(plan.takes),
        "renewed": list(plan.renewed),
        "blocked": dict(plan.blocked),
        "made_of_it": list(plan.occurrences.made_of_it),
        "unread": list(plan.unread),
        "left": {**_remaining_copies_as_json(remains), **trained_as_json(trained)},
        "failures": failures,
    }


def _remaining_copies_as_json(remains: RemainingCopies) -> _RemainingCopiesJson:
    return {
        "objects": remains.objects,
        "versions": [
            {
                "path": version.path or None,
                "version": version.md5,
                "files": version.files,
                "commit": version.commit,
                "kept_by": version.keepers,
            }
            for version in remains.versions
        ],
        "cache": {
            "objects": len(remains.cache),
            "size": sum(item.size for item in remains.cache),
            "other_links": sum(item.other_names for item in remains.cache),
        },
        "remotes": [
            {
                "name": remote.name,
                "objects": None if remote.problem else len(remote.sizes),
                "size": None if remote.problem else sum(remote.sizes.values()),
                "problem": remote.problem,
            }
            for remote in remains.remotes
        ],
        "git": remains.git,
        "raw": remains.loose,
        "tables": remains.tables,
        "contact_sheets": remains.sheets,
        "decisions": list(map(decided_as_json, remains.decided)),
        "unread": [f"{path} {md5}" for path, md5 in remains.unread],
    }
