"""A table of the origins of some files of a version."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from registry_assets.dvc_repo import DvcRepo
from registry_assets.images import has_image_suffix
from registry_assets.registry.lineage.building import build_lineage
from registry_assets.registry.lineage.file_lineage import Chain, Tracer
from registry_assets.registry.lineage.graph import AssetGroup, Lineage
from registry_assets.registry.reading import read_registry

_MOST_ROWS = 10


def read_ancestry(
    dvc: DvcRepo, lineage: Lineage, group: AssetGroup, partition: str | None
) -> Tracer:
    """A `Tracer` for everything upstream of one partition of an asset group.

    Reads only the metafiles upstream, so that the cost does not grow with the number of
    collections; reads all if an upstream asset is read as a whole.
    """
    addresses = list(_addresses_behind(lineage, group, partition))
    registry = lineage.registry
    if None in addresses:
        registry = read_registry(registry.root)
    else:
        declared = dvc.read_addresses([address for address in addresses if address is not None])
        registry = replace(
            registry,
            raw=declared.raw,
            inputs=declared.inputs,
            stages=declared.stages,
            templates=(),
        )
    return Tracer(build_lineage(registry, lineage.translator), dvc.listings())


def _addresses_behind(
    lineage: Lineage, group: AssetGroup, partition: str | None
) -> Iterator[str | None]:
    """The stages and ``.dvc`` files upstream; None if all partitions of an asset are."""
    waiting = [(group, partition)]
    seen = set()
    while waiting:
        group, partition = waiting.pop()
        address = group.address_of(partition)
        if address in seen:
            continue
        seen.add(address)
        yield address
        for upstream in group.upstream:
            maker = lineage.group_of.get(upstream.key)
            if maker is None:
                continue
            names = upstream.read_by(partition)
            if names is None:
                yield None
            else:
                waiting.extend((maker, name) for name in names)


def build_origin_table(tracer: Tracer, output: str) -> list[dict[str, str]]:
    """Build a table of the origins of about ten images, evenly sampled from an output.

    Reads listings only, no data.

    Returns:
        Rows with the columns `file` (inside the output), `how` (`same content`, or the rule by
        name), `collection`, `raw file`, `video` and `frame`, empty where not applicable. No rows
        for an output without images, without origin, or whose listing is not in the cache.
    """
    version = tracer.recorded.get(output)
    files = tracer.files(output, version) if version is not None else None
    if files is None or tracer.lineage.nodes[output].kind not in ("stage", "import"):
        return []
    images = sorted(file for file in files.listed if has_image_suffix(file or output))
    count = min(len(images), _MOST_ROWS)
    sampled = [images[len(images) * number // count] for number in range(count)]
    return [_row(tracer.chain(files.place(file))) for file in sampled]


def _row(chain: Chain) -> dict[str, str]:
    place = chain.steps[0].place
    return {
        "file": place.file or place.path,
        "how": _how(chain),
        "collection": chain.collection or "",
        "raw file": _raw_file(chain),
        "video": chain.video or "",
        "frame": "" if chain.frame is None else str(chain.frame),
    }


def _how(chain: Chain) -> str:
    origins = [step.origin for step in chain.steps if step.origin is not None]
    guesses = dict.fromkeys(origin.how for origin in origins if not origin.is_proof)
    if chain.unread:
        return "unknown: a listing is not in the cache"
    if guesses:
        return f"{', '.join(guesses)} (by name)"
    return "same content" if origins or chain.source.node.kind == "import" else "made here"


def _raw_file(chain: Chain) -> str:
    source = chain.source
    if chain.unread or source.node.kind == "stage":
        return ""
    if source.node.kind == "import" and source.made_of:
        file = source.place.file
        return f"{source.made_of[0]}/{file}" if file else source.made_of[0]
    return source.place.path
