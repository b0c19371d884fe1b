"""What forgetting a picture comes to, and what is left of it, in lines for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from registry_assets.dvc_repo import CachedObject
from registry_assets.registry.status.archive_names import archive_stem
from registry_assets.retention.planning import Forgetting
from registry_assets.retention.remaining_copies import OlderVersion, Remains
from registry_assets.units import format_size

_MOST_NAMED = 5
_SHORT = 10


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


def describe_purge(found: Forgetting, remains: Remains, remotes: Sequence[str]) -> Iterator[str]:
    """What purging removes, for good."""
    names = [found.md5[:_SHORT], *(md5[:_SHORT] for md5 in found.descent.made_of_it)]
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
    for md5, path in found.descent.shared.items():
        yield f"  stays     {md5[:_SHORT]}, as {path} has the same content and was not made of it"
    history = found.history
    committed = [v for v in found.descent.places if history.commit_of(*v) is not None]
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


def describe_remains(remains: Remains, *, is_done: bool) -> Iterator[str]:
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


def plan_as_json(found: Forgetting) -> dict[str, Any]:
    """The form of `registry forget --json`, but for what is left."""
    return {
        "file": found.file,
        "md5": found.md5,
        "current": [
            {"path": place.path, "output": place.output, "md5": place.md5}
            for place in found.current
        ],
        "taken_out_of": sorted(found.takes),
        "renewed": list(found.renewed),
        "blocked": dict(found.blocked),
        "made_of_it": list(found.descent.made_of_it),
        "unread": list(found.unread),
    }
