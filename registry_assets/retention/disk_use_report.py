"""What the cache holds, for people and for programs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TypedDict

from registry_assets.model import ITEM, is_folder
from registry_assets.registry.lineage.graph import Lineage
from registry_assets.retention.disk_use import DiskUse, OutputUse, Standing, VersionUse
from registry_assets.retention.originals import Original
from registry_assets.units import format_size

_MOST_NAMED = 2
_MOST_FILES = 50
_SHORT = 10
_WIDTH = 10


class ObjectsJson(TypedDict):
    """Objects in numbers.

    Attributes:
        objects: How many there are.
        size: Their bytes.
    """

    objects: int
    size: int


class OriginalsJson(ObjectsJson):
    """What nothing needs, but cannot be had again as far as is known.

    Attributes:
        objects: How many objects there are.
        size: Their bytes.
        files: Each of them.
    """

    files: tuple[Original, ...]


class VersionUseJson(TypedDict):
    """What one version of an output has in the cache.

    Attributes:
        version: The md5 that DVC records.
        state: ``current``: metafiles name it now; ``kept``: a branch, tag or stash does; ``old``:
            none does.
        commit: The newest that recorded it; null where none did.
        kept_by: The branches, tags and stashes that have it now.
        objects: How many of its objects are there.
        size: Their bytes.
        own: The bytes of those that nothing has that is listed before it.
        freed: The bytes of those that nothing needs.
        missing: How many of its objects are not there, and may be on a remote.
    """

    version: str
    state: Standing
    commit: str | None
    kept_by: tuple[str, ...]
    objects: int
    size: int
    own: int
    freed: int
    missing: int


class OutputUseJson(TypedDict):
    """What the versions of one output have in the cache.

    Attributes:
        path: The output, from the root.
        kind: What it is; ``gone``: the metafiles do not have it any more.
        versions: The current one first.
    """

    path: str
    kind: str
    versions: list[VersionUseJson]


class _DiskUseJson(TypedDict):
    objects: int
    size: int
    needed: int
    unneeded: ObjectsJson
    linked: int
    originals: OriginalsJson
    unread: tuple[str, ...]
    unasked: tuple[str, ...]
    outputs: list[OutputUseJson]


class DiskUseJson(_DiskUseJson, total=False):
    """What is in the cache.

    Attributes:
        objects: How many objects there are in all.
        size: Their bytes.
        needed: The bytes of what metafiles, branches, tags or stashes need.
        unneeded: The objects that nothing needs and that can be had again: a commit or a remote has
            them, or a stage makes them; but for those that are linked.
        linked: How many objects nothing needs that have another name on this disk.
        originals: What nothing needs either, but cannot be had again.
        unread: Versions whose listings are not there.
        unasked: Remotes that could not be asked, each with the reason.
        outputs: Raw collections first, upstream before downstream; then what the metafiles do not
            have any more.
        removed: How many objects were removed. With `--yes`, where there were any to free.
    """

    removed: int


def describe_disk_use(use: DiskUse, lineage: Lineage) -> Iterator[str]:
    """A line for each raw collection, with those of its older versions, and for each family."""
    yield _row("current", "older", "not needed", "")
    family_of = {
        path: output.path.replace(ITEM, "*") if len(output.paths) > 1 else path
        for output in lineage.output_of.values()
        for path in output.paths.values()
    }
    families: defaultdict[str, list[OutputUse]] = defaultdict(list)
    for output in use.outputs:
        is_raw = output.kind == "raw"
        families[output.path if is_raw else family_of.get(output.path, output.path)].append(output)
    for name, outputs in families.items():
        yield _describe_outputs(name, outputs)
        if len(outputs[0].versions) > 1 and outputs[0].kind in ("raw", "gone"):
            yield from map(_describe_version, outputs[0].versions)
    nameless = use.size - sum(v.own for output in use.outputs for v in output.versions)
    if nameless:
        yield _row("", format_size(nameless), "", "recorded by no commit")
    yield ""
    yield (
        f"{use.objects:,} objects, {format_size(use.size)}; what several have is counted once, "
        "where it came in"
    )
    yield f"needed    {format_size(use.needed)}, by metafiles, branches, tags or stashes"
    if use.linked:
        yield (
            f"linked    {use.linked:,} objects that nothing needs stay, as they have another name "
            "on this disk: a work tree that holds an older version, or another clone"
        )
    if use.unread:
        yield (
            f"unknown   {len(use.unread)} versions whose listings are not in the cache: `dvc "
            "fetch` of their commits brings them"
        )
    yield from _describe_originals(use)
    yield f"to free   {format_size(use.freed)} in {len(use.unneeded):,} objects"


def _describe_originals(use: DiskUse) -> Iterator[str]:
    """What is kept all the same, by name."""
    if not use.originals:
        return
    files = [original for original in use.originals if not is_folder(original.md5)]
    size = format_size(sum(original.size for original in use.originals))
    yield (
        f"originals {len(files):,} files, {size}, stay: no commit and no remote has them, and no "
        "stage makes them; `registry gc --raw` frees them, too"
    )
    for reason in use.unasked:
        yield f"            not asked: {reason}"
    # As they come, those of one version stand beside each other.
    for (version, collection), group in groupby(files, lambda o: (o.version, o.collection)):
        named = [original.file or original.md5 for original in group]
        where = "in no version that is known"
        if version is not None:
            of = f"of {collection}" if collection is not None else "of what is gone"
            where = f"{version[:_SHORT]}, an earlier version {of}"
        yield f"            {where}: {len(named):,} files"
        yield from (f"              {name}" for name in named[:_MOST_FILES])
        if len(named) > _MOST_FILES:
            yield f"              and {len(named) - _MOST_FILES:,} more, which --json lists"


def _row(current: str, older: str, unneeded: str, name: str) -> str:
    return f"{current:>{_WIDTH}}  {older:>{_WIDTH}}  {unneeded:>{_WIDTH}}  {name}".rstrip()


def _describe_outputs(name: str, outputs: Sequence[OutputUse]) -> str:
    sums = [sum(output.sum_of(standing) for output in outputs) for standing in ("current", "kept")]
    old = sum(output.sum_of("old") for output in outputs)
    older = sum(len(output.versions) for output in outputs) - sum(
        version.standing == "current" for output in outputs for version in output.versions
    )
    count = f"  ({older} older version{'s' if older > 1 else ''})" if older else ""
    told = [format_size(size) if size else "" for size in (sums[0], sums[1] + old)]
    freed = {v.md5: v.freed for output in outputs for v in output.versions}
    unneeded = format_size(sum(freed.values())) if any(freed.values()) else ""
    return _row(told[0], told[1], unneeded, f"{name}{count}")


def _describe_version(version: VersionUse) -> str:
    by = f"recorded by {version.commit[:_SHORT]}" if version.commit else "not committed"
    more = len(version.keepers) - _MOST_NAMED
    names = ", ".join(version.keepers[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
    kept = f", in {names}" if version.keepers else ""
    gone = f", {version.missing} objects are not here" if version.missing else ""
    own, freed = (format_size(size) if size else "" for size in (version.own, version.freed))
    columns = (own, "", "") if version.standing == "current" else ("", own, freed)
    return _row(*columns, f"    {version.md5[:_SHORT]} {by}{kept}{gone}")


def disk_use_as_json(use: DiskUse) -> DiskUseJson:
    """The form of `registry gc --json`, but for what was removed."""
    return {
        "objects": use.objects,
        "size": use.size,
        "needed": use.needed,
        "unneeded": {"objects": len(use.unneeded), "size": use.freed},
        "linked": use.linked,
        "originals": {
            "objects": len(use.originals),
            "size": sum(original.size for original in use.originals),
            "files": use.originals,
        },
        "unread": use.unread,
        "unasked": use.unasked,
        "outputs": [
            {
                "path": output.path,
                "kind": output.kind,
                "versions": list(map(_version_as_json, output.versions)),
            }
            for output in use.outputs
        ],
    }


def _version_as_json(version: VersionUse) -> VersionUseJson:
    return {
        "version": version.md5,
        "state": version.standing,
        "commit": version.commit,
        "kept_by": version.keepers,
        "objects": version.objects,
        "size": version.size,
        "own": version.own,
        "freed": version.freed,
        "missing": version.missing,
    }
