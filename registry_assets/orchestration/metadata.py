"""What a materialization says besides its version: what changed, what is in it and its origins."""

import base64
import io
import json
from collections.abc import Mapping
from pathlib import Path

from dagster import MetadataValue, TableRecord

from registry_assets.curation.duplicates import Duplicates, find_duplicates, holds_table
from registry_assets.dvc_repo import DvcRepo, RecordedOutput
from registry_assets.images import build_contact_sheet, read_decisions
from registry_assets.images.measurements import MEASUREMENTS_TABLE
from registry_assets.model import Registry, is_folder
from registry_assets.orchestration.history.event_log import version_metadata
from registry_assets.provenance.origin_table import build_origin_table
from registry_assets.registry.decisions import decisions_file_of
from registry_assets.registry.lineage.file_lineage import Tracer
from registry_assets.registry.lineage.graph import AssetGroup, Lineage

SUMMARY = "dvc/summary"
"""The metadata that says what a version holds, and how it differs from the one before."""

_MOST_EXAMPLES = 20


def output_metadata(
    dvc: DvcRepo, record: RecordedOutput, commit: str | None
) -> dict[str, MetadataValue]:
    """What a person wants to see of a version: what it is, what changed, what is in it."""
    place = dvc.path_of(record.path)
    known = version_metadata(record.path, record.version, commit)
    found: dict[str, MetadataValue] = {
        name: MetadataValue.text(value) if isinstance(value, str) else MetadataValue.int(value)
        for name, value in known.items()
    }
    found[SUMMARY] = MetadataValue.text(record.summary)
    found.update(_changes(record))
    if place.is_dir():
        sheet = build_contact_sheet(_files_of(place, record.files))
        if sheet is not None:
            data = base64.b64encode(sheet).decode()
            found["contact_sheet"] = MetadataValue.md(
                f"![contact sheet](data:image/jpeg;base64,{data})"
            )
    elif place.suffix in {".json", ".yaml", ".yml"}:
        found.update(_numbers(place))
    return found


def _files_of(place: Path, listing: Mapping[str, str] | None) -> list[str]:
    # Walking a large folder takes many times as long as reading what is known of it.
    if listing is not None:
        return [f"{place}/{path}" for path in sorted(listing)]
    return sorted(str(path) for path in place.rglob("*") if path.is_file())


def _changes(record: RecordedOutput) -> dict[str, MetadataValue]:
    """Files added, removed and changed since the version before."""
    changes = record.changes
    if changes is None or not is_folder(record.version.md5):
        return {}
    found: dict[str, MetadataValue] = {
        "files/added": MetadataValue.int(len(changes.added)),
        "files/removed": MetadataValue.int(len(changes.removed)),
        "files/changed": MetadataValue.int(len(changes.changed)),
    }
    examples = [
        TableRecord({"file": path, "change": change})
        for change, paths in (
            ("added", changes.added),
            ("removed", changes.removed),
            ("changed", changes.changed),
        )
        for path in paths[:_MOST_EXAMPLES]
    ]
    is_first = record.previous is None or not is_folder(record.previous.md5)
    if examples and not is_first:
        found["files/examples"] = MetadataValue.table(examples)
    return found


def origins_metadata(tracer: Tracer, path: str) -> dict[str, MetadataValue]:
    """Where a few images of a version came from."""
    rows = build_origin_table(tracer, path)
    return {"files/origins": MetadataValue.table(list(map(TableRecord, rows)))} if rows else {}


def duplicates_metadata(duplicates: Duplicates, collection: str) -> dict[str, MetadataValue]:
    """Which files of a collection others have, too."""
    found = [item for item in duplicates.found if item.collection == collection]
    metadata: dict[str, MetadataValue] = {"duplicates/files": MetadataValue.int(len(found))}
    if found:
        rows = [
            TableRecord(
                {
                    "file": item.path,
                    "is": "the same as" if item.distance is None else f"like ({item.distance})",
                    "collection": item.other,
                    "other file": item.other_path,
                }
            )
            for item in found[:_MOST_EXAMPLES]
        ]
        metadata["duplicates/examples"] = MetadataValue.table(rows)
    return metadata


def look_for_duplicates(
    dvc: DvcRepo, lineage: Lineage, collection: str, record: RecordedOutput, *, is_raw: bool
) -> Mapping[str, MetadataValue]:
    """Which files of a collection others have, too, when it or its table was just recorded.

    Of a collection the same content is looked for, with a table what looks alike, too.
    """
    listings = dvc.listings()
    if is_raw:
        found = find_duplicates(
            lineage, listings, [collection], versions={collection: record.version.md5}
        )
        return duplicates_metadata(found, collection)
    if not holds_table(listings, record.version):
        return {}
    raw = dvc.read_dvc_file(f"{lineage.registry.raw_folder}/{collection}.dvc")
    version = raw.output.version if raw is not None else None
    found = find_duplicates(
        lineage,
        listings,
        [collection],
        distance=lineage.registry.settings.duplicate_distance,
        # The graph may be older than the collection.
        versions={collection: version.md5} if version is not None else None,
        tables={collection: dvc.path_of(record.path) / MEASUREMENTS_TABLE},
    )
    return duplicates_metadata(found, collection)


def decisions_metadata(
    registry: Registry, group: AssetGroup, partition: str | None
) -> Mapping[str, MetadataValue]:
    """How many images people allowed and denied, and why, where a stage heeds that."""
    file = decisions_file_of(registry, group, partition)
    if file is None:
        return {}
    decided = [*read_decisions(registry.root / file).values()]
    allowed = [item for item in decided if item.verdict == "allow"]
    duplicates = [item for item in decided if item.duplicate_of]
    metadata: dict[str, MetadataValue] = {
        "decisions/allowed": MetadataValue.int(len(allowed)),
        "decisions/denied": MetadataValue.int(len(decided) - len(allowed) - len(duplicates)),
        "decisions/duplicates": MetadataValue.int(len(duplicates)),
    }
    # Of what people said first: it is less, and says more.
    examples = sorted(decided, key=lambda item: bool(item.duplicate_of))[:_MOST_EXAMPLES]
    if examples:
        rows = [
            TableRecord(
                {
                    "file": item.path or item.md5,
                    "decision": item.verdict,
                    "by": item.by,
                    "on": item.date,
                    "why": item.why,
                }
            )
            for item in examples
        ]
        metadata["decisions/examples"] = MetadataValue.table(rows)
    return metadata


def _numbers(place: Path) -> dict[str, MetadataValue]:
    """The numbers of a metrics file, so that the UI plots them over time."""
    from ruamel.yaml import YAML

    try:
        text = place.read_text(encoding="utf-8")
        data = (
            json.loads(text)
            if place.suffix == ".json"
            else YAML(typ="safe").load(io.StringIO(text))
        )
    except Exception:  # somebody else's file: what cannot be parsed is not plotted
        return {}
    found: dict[str, MetadataValue] = {}

    def visit(value: object, name: str) -> None:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                visit(inner, f"{name}/{key}")
        elif isinstance(value, bool):
            return
        elif isinstance(value, int):
            found[name] = MetadataValue.int(value)
        elif isinstance(value, float):
            found[name] = MetadataValue.float(value)

    visit(data, "metrics")
    return found
