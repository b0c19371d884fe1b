"""The disk use of the cache, as text and as JSON."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TypedDict

from registry_assets.model import ITEM, is_folder
from registry_assets.registry.lineage.graph import Lineage
from registry_assets.retention.disk_use import DiskUse, OutputUse, VersionUse
from registry_assets.retention.originals import Original
from registry_assets.revisions.changes.revisions import SHORT_COMMIT
from registry_assets.units import count_of, few_of, first_of, format_size

_MOST_NAMED = 2
_MOST_FILES = 50
_WIDTH = 10

UNREGISTERED = (
    "a clone that uses this cache, and in which no `registry` command ever ran, is not known: what "
    "it alone needs would be lost"
)
"""What to say before anything is freed in a cache that several clones may use."""


class ObjectsJson(TypedDict):
    """Number and size of objects.

    Attributes:
        objects: Number of objects.
        size: Total size in bytes.
    """

    objects: int
    size: int


class OriginalsJson(ObjectsJson):
    """Unneeded objects that may not be recoverable.

    Attributes:
        objects: Number of objects.
        size: Total size in bytes.
        files: The objects.
    """

    files: tuple[Original, ...]


class _DiskUseJson(TypedDict):
    objects: int
    size: int
    needed: int
    unneeded: ObjectsJson
    linked: int
    others: int
    originals: OriginalsJson
    unread: tuple[str, ...]
    unasked: tuple[str, ...]
    problems: tuple[str, ...]
    clones: tuple[str, ...]
    unknown_clones: tuple[str, ...]
    unfinished: ObjectsJson
    outputs: tuple[OutputUse, ...]


class DiskUseJson(_DiskUseJson, total=False):
    """The disk use of the cache.

    Attributes:
        objects: Number of objects in the cache.
        size: Total size in bytes.
        needed: Size of the objects that the work tree, branches, tags or stashes need.
        unneeded: Unneeded objects that can be recovered: a commit records them, a remote has them,
            or a stage can recompute them. Without hardlinked ones.
        linked: Number of unneeded objects that a link leads to: a hardlink elsewhere on this disk,
            or a symbolic link in a work tree.
        others: Size of the needed objects that only other clones have recorded.
        originals: Unneeded objects that may not be recoverable.
        unread: Versions whose listings are missing.
        unasked: Why remotes did not answer.
        problems: Why it is not known what this repository needs; nothing is freed then.
        clones: Other clones that use the cache; the objects that they need count as needed.
        unknown_clones: Other clones that cannot be read, each with the next step.
        unfinished: Files that killed commands did not finish; they are freed, too.
        outputs: The outputs: raw collections first, upstream before downstream; last, those that
            the metafiles no longer declare.
        removed: Number of removed objects. With `--yes`, if there were any to remove.
    """

    removed: int


def describe_disk_use(use: DiskUse, lineage: Lineage, *, raw: bool = False) -> Iterator[str]:
    """Describe the disk use: a line for each raw collection and its versions, and each family.

    Args:
        use: The disk use.
        lineage: The graph.
        raw: Whether originals are to be removed, too.
    """
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
    nameless -= use.others
    if use.others:
        yield _row("", format_size(use.others), "", "needed by other clones alone")
    if nameless:
        yield _row("", format_size(nameless), "", "recorded by no commit")
    yield ""
    yield (
        f"{use.objects:,} objects, {format_size(use.size)}; shared objects are counted once, "
        "upstream"
    )
    yield f"needed    {format_size(use.needed)}, by metafiles, branches, tags or stashes"
    yield from (f"unknown   {problem}" for problem in use.problems)
    yield from _describe_clones(use)
    if use.linked:
        yield (
            f"linked    {count_of(use.linked, 'unneeded object')} kept, as a link leads there: "
            "from a workspace with an older version, or from another clone"
        )
    if use.unread:
        yield (
            f"unknown   {len(use.unread)} versions whose listings are not in the cache: run `dvc "
            "fetch` for their commits"
        )
    yield from _describe_originals(use, raw=raw)
    if use.unfinished:
        count = count_of(use.unfinished, "file")
        yield (
            f"partial   {format_size(use.unfinished_size)} in {count} that killed commands did not "
            "finish, freed, too"
        )
    size, objects = use.size_to_free(raw=raw), use.objects_to_free(raw=raw)
    among = ", originals among them" if raw and use.originals else ""
    yield f"to free   {format_size(size)} in {count_of(len(objects), 'object')}{among}"


def _describe_clones(use: DiskUse) -> Iterator[str]:
    """Who uses the cache, too."""
    if use.clones:
        yield f"clones    {len(use.clones)} more use this cache, and what they need is counted:"
        yield from (f"            {root}" for root in use.clones)
    yield from (f"unknown   {reason}" for reason in use.unknown_clones)


def _describe_originals(use: DiskUse, *, raw: bool) -> Iterator[str]:
    """Describe the unneeded objects that are kept, or removed with `raw`."""
    if not use.originals:
        return
    files = [original for original in use.originals if not is_folder(original.md5)]
    size = format_size(sum(original.size for original in use.originals))
    stay = "go, too, for good" if raw else "stay"
    hint = "" if raw else "; `registry gc --raw` frees them, too"
    yield (
        f"originals {count_of(len(files), 'file')}, {size}, {stay}: no commit or remote has them, "
        f"and no stage makes them{hint}"
    )
    for reason in use.unasked:
        yield f"            not asked: {reason}"
    # Already ordered by version.
    for (version, collection), group in groupby(files, lambda o: (o.version, o.collection)):
        named = [original.file or original.md5 for original in group]
        where = "in no known version"
        if version is not None:
            of = f"of {collection}" if collection is not None else "of a removed output"
            where = f"{version[:SHORT_COMMIT]}, an earlier version {of}"
        yield f"            {where}: {count_of(len(named), 'file')}"
        shown = first_of(named, _MOST_FILES)
        yield from (f"              {name}" for name in shown)
        if len(named) > len(shown):
            yield f"              and {len(named) - len(shown):,} more, which --json lists"


def _row(current: str, older: str, unneeded: str, name: str) -> str:
    return f"{current:>{_WIDTH}}  {older:>{_WIDTH}}  {unneeded:>{_WIDTH}}  {name}".rstrip()


def _describe_outputs(name: str, outputs: Sequence[OutputUse]) -> str:
    sums = [sum(output.sum_of(standing) for output in outputs) for standing in ("current", "kept")]
    old = sum(output.sum_of("old") for output in outputs)
    older = sum(len(output.versions) for output in outputs) - sum(
        version.state == "current" for output in outputs for version in output.versions
    )
    count = f"  ({count_of(older, 'older version')})" if older else ""
    told = [format_size(size) if size else "" for size in (sums[0], sums[1] + old)]
    freed = {v.version: v.freed for output in outputs for v in output.versions}
    unneeded = format_size(sum(freed.values())) if any(freed.values()) else ""
    return _row(told[0], told[1], unneeded, f"{name}{count}")


def _describe_version(version: VersionUse) -> str:
    by = f"recorded by {version.commit[:SHORT_COMMIT]}" if version.commit else "not committed"
    kept = f", in {few_of(version.kept_by, _MOST_NAMED)}" if version.kept_by else ""
    gone = f", {version.missing} objects missing" if version.missing else ""
    own, freed = (format_size(size) if size else "" for size in (version.own, version.freed))
    columns = (own, "", "") if version.state == "current" else ("", own, freed)
    return _row(*columns, f"    {version.version[:SHORT_COMMIT]} {by}{kept}{gone}")


def disk_use_as_json(use: DiskUse) -> DiskUseJson:
    """The JSON of `registry gc --json`, without `removed`."""
    return {
        "objects": use.objects,
        "size": use.size,
        "needed": use.needed,
        "unneeded": {"objects": len(use.unneeded), "size": use.freed},
        "linked": use.linked,
        "others": use.others,
        "originals": {
            "objects": len(use.originals),
            "size": sum(original.size for original in use.originals),
            "files": use.originals,
        },
        "unread": use.unread,
        "unasked": use.unasked,
        "problems": use.problems,
        "clones": use.clones,
        "unknown_clones": use.unknown_clones,
        "unfinished": {"objects": use.unfinished, "size": use.unfinished_size},
        "outputs": use.outputs,
    }
