"""A plan to forget a picture, and its remaining copies, as text and as JSON."""

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
from registry_assets.revisions.changes.revisions import SHORT_COMMIT
from registry_assets.units import count_of, few_of, first_of, format_size

_MOST_NAMED = 5


class PlaceJson(TypedDict):
    """The picture or a derived file in a current version.

    Attributes:
        path: The file, from the root.
        output: The output that contains it.
        md5: The content.
    """

    path: str
    output: str
    md5: str


class CacheJson(TypedDict):
    """The objects in the cache.

    Attributes:
        objects: Number of objects.
        size: Total size in bytes.
        other_links: Number of hardlinks to them elsewhere on this disk.
    """

    objects: int
    size: int
    other_links: int


class RemoteJson(TypedDict):
    """The objects on a remote.

    Attributes:
        name: The name of the remote.
        objects: Number of objects; null when it does not answer.
        size: Total size in bytes; null when it does not answer.
        problem: Why it does not answer; null when it does.
    """

    name: str
    objects: int | None
    size: int | None
    problem: str | None


class _RemainingCopiesJson(TypedDict):
    objects: int
    versions: tuple[OlderVersion, ...]
    cache: CacheJson
    remotes: list[RemoteJson]
    git: tuple[str, ...]
    raw: tuple[str, ...]
    tables: int
    contact_sheets: int
    thumbnails: int
    decisions: list[DecidedJson]
    unread: list[str]


class RemainingCopiesJson(_RemainingCopiesJson, total=False):
    """The remaining copies of a picture.

    Attributes:
        objects: Number of contents searched for: the picture and derived files.
        versions: Older versions that contain it.
        cache: The objects in the cache.
        remotes: The objects on each remote.
        git: Files with the same content in the history of Git itself.
        raw: Copies in the raw folder outside of collections, and the archives of collections that
            contain it.
        tables: Number of older tables of measurements with a row about it.
        contact_sheets: Number of stored contact sheets of versions that contain it.
        thumbnails: Number of stored thumbnails and previews of it.
        decisions: Decisions about it, and about pictures that were left out in its favour.
        unread: Versions whose listings are missing, each with its path.
        models: The models that were trained on it; null when the server does not answer. If an
            MLflow server is configured and its client installed.
    """

    models: list[TrainedJson] | None


class ForgettingJson(TypedDict):
    """The result of forgetting a picture; with `--dry-run`, the plan.

    Attributes:
        file: The file as given.
        md5: The content.
        current: The picture and derived files in current versions.
        taken_out_of: The collections that it is removed from.
        renewed: The outputs to record again or rerun.
        blocked: The outputs that keep it, each with the reason.
        made_of_it: The contents derived from it.
        unread: Outputs that could not be searched because their listing is missing.
        left: The remaining copies.
        failures: What failed.
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
    """Describe the plan: the files to remove, and those that stay."""
    yield f"{found.file} (md5 {found.md5})"
    for path, files in found.takes.items():
        yield from (f"  removes   {path}/{file}" for file in files)
    by_output = groupby(found.current, key=lambda place: place.output)
    for output, places in by_output:
        if output in found.takes or output in found.blocked:
            continue
        yield f"  removes   {few_of([place.path for place in places], 1)}"
    if not found.current:
        yield "  no current version contains it"
    for path, reason in found.blocked.items():
        yield f"  stays in  {path}: it {reason}"


def describe_purge(
    found: Forgetting, remains: RemainingCopies, remotes: Sequence[str]
) -> Iterator[str]:
    """Describe what purging removes for good."""
    names = [
        found.md5[:SHORT_COMMIT],
        *(md5[:SHORT_COMMIT] for md5 in found.occurrences.made_of_it),
    ]
    made = f" and of {len(names) - 1} made from it" if len(names) > 1 else ""
    yield f"Purging removes for good the objects of this picture{made} ({_few_of(names)}):"
    size = format_size(sum(item.size for item in remains.cache))
    yield f"  cache     {count_of(len(remains.cache), 'object')}, {size}"
    for remote in remains.remotes:
        if remote.name in remotes:
            there = remote.problem or count_of(len(remote.sizes), "object")
            yield f"  remote    {remote.name} ({remote.url}): {there}"
    if remains.sheets:
        yield f"  sheets    {count_of(remains.sheets, 'contact sheet')}, made again without it"
    if remains.thumbnails:
        yield f"  small     {count_of(remains.thumbnails, 'thumbnail')}"
    for md5, path in found.occurrences.shared.items():
        yield (
            f"  stays     {md5[:SHORT_COMMIT]}, because {path} has the same content, but was not "
            "made from it"
        )
    history = found.history
    committed = [v for v in found.occurrences.places if history.commit_of(*v) is not None]
    if committed:
        yield (
            f"Commits record {count_of(len(committed), 'version')} with them: there `dvc checkout` "
            "and `dvc pull` will fail for the whole output, but work for its other files."
        )
    yield "All other users of this cache or remote lose them, too."


def describe_links(kept: Sequence[CachedObject]) -> Iterator[str]:
    """Describe other hardlinks to the picture on this disk."""
    for item in kept:
        if item.other_names:
            links = count_of(item.other_names, "other hardlink")
            yield (
                f"It has {links} on this disk, such as its original or another clone: `find / "
                f"-xdev -inum {item.inode}` finds them"
            )


def describe_remaining_copies(remains: RemainingCopies, *, is_done: bool) -> Iterator[str]:
    """Describe the remaining copies, or those that would remain."""
    yield "Remaining copies:" if is_done else "Copies that would remain:"
    yield from _describe_versions(remains.versions)
    sizes = sum(item.size for item in remains.cache)
    in_cache = f"{len(remains.cache)} of {remains.objects} objects, {format_size(sizes)}"
    yield f"  cache     {in_cache if remains.cache else 'nothing'}"
    for remote in remains.remotes:
        there = f"{len(remote.sizes)} of {remains.objects} objects"
        if remote.problem is not None:
            yield f"  remote    {remote.name}: unknown, {remote.problem}"
        elif remote.sizes:
            size = format_size(sum(remote.sizes.values()))
            yield f"  remote    {remote.name} ({remote.url}): {there}, {size}"
        else:
            yield f"  remote    {remote.name} ({remote.url}): nothing"
    if not remains.remotes:
        yield "  remote    none configured"
    if remains.git:
        yield f"  git       the same file is in Git itself: {_few_of(remains.git)}"
    yield from (f"  raw       {path} {_why_loose(path)}" for path in remains.loose)
    if remains.tables:
        yield (
            f"  tables    a row about it, without the picture, in {remains.tables} older tables of "
            "measurements"
        )
    if remains.sheets:
        yield f"  sheets    {count_of(remains.sheets, 'contact sheet')} of versions that contain it"
    if remains.thumbnails:
        yield f"  small     {count_of(remains.thumbnails, 'thumbnail')} of it"
    for decided in remains.decided:
        yield (
            f"  decided   {decided.image} was {decided}; `registry decisions --withdraw "
            f"{decided.decision.md5}` withdraws that"
        )
    if remains.unread:
        names = _few_of([f"{path} ({md5[:SHORT_COMMIT]})" for path, md5 in remains.unread])
        yield f"  unknown   contents of {count_of(len(remains.unread), 'older version')}: {names}"


def _why_loose(path: str) -> str:
    if archive_stem(path) is not None:
        return "is the archive of a collection that contains it: delete it by hand"
    return "is a copy outside of any collection: delete it by hand"


def _describe_versions(versions: Sequence[OlderVersion]) -> Iterator[str]:
    if not versions:
        yield "  versions  no older version contains it"
    for keepers, some in groupby(sorted(versions, key=_by_keepers), key=lambda v: v.kept_by):
        listed = list(some)
        commits = list(dict.fromkeys(v.commit[:SHORT_COMMIT] for v in listed if v.commit))
        by = f"recorded by {_few_of(commits)}" if commits else "recorded by no commit"
        has = f", in {_few_of(keepers)}" if keepers else ""
        yield f"  versions  {len(listed)} older, {by}{has}:"
        outputs = Counter(version.path or version.version for version in listed)
        named = first_of([*outputs.items()], _MOST_NAMED)
        for name, count in named:
            yield f"              {name}" + (f" ({count} versions)" if count > 1 else "")
        if len(outputs) > len(named):
            yield f"              and {len(outputs) - len(named)} more outputs"


def _by_keepers(version: OlderVersion) -> tuple[object, ...]:
    # The shortest paths first, which are closest to its source.
    return (version.kept_by, (version.path or "").count("/"), version.path or "")


def _few_of(names: Sequence[str]) -> str:
    return few_of(names, _MOST_NAMED)


def forgetting_as_json(
    plan: Forgetting, remains: RemainingCopies, trained: Trained | None, failures: Sequence[str]
) -> ForgettingJson:
    """The JSON of `registry forget --json`."""
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
        "versions": remains.versions,
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
        "thumbnails": remains.thumbnails,
        "decisions": list(map(decided_as_json, remains.decided)),
        "unread": [f"{path} {md5}" for path, md5 in remains.unread],
    }
