"""The IO manager that persists through DVC: the one place where data becomes a version."""

import base64
import io
import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dagster import (
    ConfigurableIOManager,
    DataVersion,
    InputContext,
    MetadataValue,
    OutputContext,
    TableRecord,
)
from PIL import Image
from pydantic import Field

from registry_assets.arriving.duplicates import Duplicates, find_duplicates, holds_table
from registry_assets.changes.committing import Written, commit_written
from registry_assets.decided import decisions_file_of
from registry_assets.dvc_repo import DvcRepo, PendingResult, RecordedOutput
from registry_assets.errors import RegistryError
from registry_assets.history.event_log import version_metadata
from registry_assets.images import build_contact_sheet, read_decisions
from registry_assets.images.measurements import MEASUREMENTS_TABLE
from registry_assets.lineage.graph import AssetGroup, Lineage
from registry_assets.model import Registry
from registry_assets.tracing.origin_table import build_origin_table
from registry_assets.tracing.walking import Tracer

IO_MANAGER_KEY = "dvc_io_manager"
_MOST_EXAMPLES = 20


@dataclass(frozen=True)
class PendingOutput:
    """One output of a pending result: what the generated assets hand to the IO manager.

    Attributes:
        ancestry: Gives what can follow its files back, once the result is recorded; None for raw
            data, which comes from nowhere.
        duplicates: Gives what to say of pictures that other collections have, too.
        decisions: Gives what to say of decisions that the stage heeds.
    """

    result: PendingResult
    path: str
    ancestry: Callable[[], Tracer] | None = None
    duplicates: Callable[[RecordedOutput], Mapping[str, MetadataValue]] | None = None
    decisions: Callable[[], Mapping[str, MetadataValue]] | None = None


class DvcIOManager(ConfigurableIOManager):
    """Persists what an asset returns as a version in DVC, and loads it as a path.

    Generated assets hand over a `PendingOutput`; the first output of a stage records the whole
    stage, the others find it done. Assets of a user's own return a path, bytes, a picture, or a
    mapping of file names to those; they become a tracked output at the path their key names, with
    the partition key as last part.
    """

    root: str = Field(description="The root of the DVC repository.")
    wait_seconds: float = Field(
        default=3600.0, description="How long to wait for a lock that somebody else holds."
    )

    def _dvc(self) -> DvcRepo:
        return DvcRepo(Path(self.root), wait_seconds=self.wait_seconds)

    def handle_output(self, context: OutputContext, obj: Any) -> None:
        """Records an output and sets the asset's data version and metadata."""
        dvc = self._dvc()
        with dvc.session():
            self._record(dvc, context, obj)

    def _record(self, dvc: DvcRepo, context: OutputContext, obj: Any) -> None:
        origins: dict[str, MetadataValue] = {}
        if isinstance(obj, PendingOutput):
            result, paths = obj.result, tuple(obj.result.persist())
            record = result.persist()[obj.path]
            origins = origins_metadata(obj.ancestry(), obj.path) if obj.ancestry else {}
            origins |= obj.duplicates(record) if obj.duplicates else {}
            origins |= obj.decisions() if obj.decisions else {}
        else:
            path = path_of_asset(context)
            dump(obj, dvc.path_of(path))
            with dvc.tracking(path, report=context.log.info) as result:
                record = result.persist()[path]
            paths = (path,)
        outcome = result.outcome
        # What is unchanged was written by somebody else, who may want to look at it first.
        if outcome != "unchanged" or result.address.endswith(".dvc"):
            partition = f" [{context.partition_key}]" if context.has_partition_key else ""
            asset = f"{context.asset_key.to_user_string()}{partition}"
            written = Written(result.address, paths, asset)
            commit_written(dvc, [written], context.run_id, context.log.info)
        context.step_context.set_data_version(context.asset_key, DataVersion(record.version.md5))
        context.add_output_metadata(
            {"dvc/outcome": outcome, **output_metadata(dvc, record, dvc.git.commit()), **origins}
        )

    def load_input(self, context: InputContext) -> Path | dict[str, Path]:
        """The path of an upstream asset, brought into the workspace; by partition, if several.

        Raises:
            DataNotAvailableError: when the recorded version is nowhere to be had.
        """
        dvc = self._dvc()
        upstream = context.upstream_output
        if upstream is None:
            raise RegistryError(f"{context.asset_key.to_user_string()} has no recorded output")
        pattern = (upstream.definition_metadata or {}).get("dvc/path")
        metafile = (upstream.definition_metadata or {}).get("dvc/metafile")
        base = str(pattern) if pattern else "/".join(context.asset_key.path)

        def place(partition: str | None) -> Path:
            path = _with_partition(base, partition)
            address = _with_partition(str(metafile), partition) if metafile else f"{path}.dvc"
            if base.count("*") > 1:
                path = _output_like(base, dvc.output_states([address]))
            dvc.ensure_in_workspace([address], report=context.log.info)
            return dvc.path_of(path)

        if not context.has_asset_partitions:
            return place(None)
        keys = list(context.asset_partition_keys)
        if len(keys) == 1:
            return place(keys[0])
        return {key: place(key) for key in keys}


def path_of_asset(context: OutputContext) -> str:
    """The path that an asset's key names, with the partition key as last part."""
    pattern = (context.definition_metadata or {}).get("dvc/path")
    base = str(pattern) if pattern else "/".join(context.asset_key.path)
    return _with_partition(base, context.partition_key if context.has_partition_key else None)


def _with_partition(path: str, partition: str | None) -> str:
    if partition is None:
        return path
    return path.replace("*", partition) if "*" in path else f"{path}/{partition}"


def _output_like(pattern: str, paths: Iterable[str]) -> str:
    """The output of a stage that is repeated over a grid: the partition's name tells no path."""
    expression = "[^/]*".join(map(re.escape, pattern.split("*")))
    return next(path for path in paths if re.fullmatch(expression, path))


def dump(obj: Any, place: Path) -> None:
    """Writes what an asset returned to its place; the old content goes when the new one stands.

    Args:
        obj: A path (what it leads to is copied), bytes, a Pillow image (in the format that the
            name's ending says, PNG when it says none), or a mapping of file names to those.
        place: Where to.

    Raises:
        RegistryError: for anything else.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(obj, Path) and obj.resolve() == place.resolve():
        return
    fresh = place.with_name(f".{uuid.uuid4().hex}-{place.name}")
    try:
        _write(obj, fresh)
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
        fresh.rename(place)
    finally:
        if fresh.is_dir():
            shutil.rmtree(fresh)
        else:
            fresh.unlink(missing_ok=True)


def _write(obj: Any, place: Path) -> None:
    if isinstance(obj, Path):
        if obj.is_dir():
            shutil.copytree(obj, place)
        else:
            shutil.copyfile(obj, place)
    elif isinstance(obj, bytes):
        place.write_bytes(obj)
    elif isinstance(obj, Image.Image):
        is_known = place.suffix.lower() in Image.registered_extensions()
        obj.save(place, format=None if is_known else "PNG")
    elif isinstance(obj, Mapping):
        place.mkdir()
        for name, item in obj.items():
            target = place / name
            if not name or Path(os.path.normpath(target)) != target or place not in target.parents:
                raise RegistryError(f"{name!r} is not the name of a file inside {place.name}")
            target.parent.mkdir(parents=True, exist_ok=True)
            _write(item, target)
    else:
        raise RegistryError(
            f"{type(obj).__name__} cannot be persisted through DVC: return a pathlib.Path, bytes, "
            "a PIL.Image.Image, or a mapping of file names to those"
        )


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
    listing = dvc.read_listing(record.version.md5) if record.version.md5.endswith(".dir") else None
    found.update(_changes(dvc, record, listing or {}))
    if place.is_dir():
        sheet = build_contact_sheet(_files_of(place, listing))
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


def _changes(
    dvc: DvcRepo, record: RecordedOutput, after: Mapping[str, str]
) -> dict[str, MetadataValue]:
    """Files added, removed and changed since the version before."""
    if not record.version.md5.endswith(".dir"):
        return {}
    previous = record.previous
    before = dvc.read_listing(previous.md5) if previous and previous.md5.endswith(".dir") else {}
    if before is None:
        return {}
    added = [path for path in after if path not in before]
    removed = [path for path in before if path not in after]
    changed = [path for path in after if path in before and before[path] != after[path]]
    found: dict[str, MetadataValue] = {
        "files/added": MetadataValue.int(len(added)),
        "files/removed": MetadataValue.int(len(removed)),
        "files/changed": MetadataValue.int(len(changed)),
    }
    examples = [
        TableRecord({"file": path, "change": change})
        for change, paths in (("added", added), ("removed", removed), ("changed", changed))
        for path in paths[:_MOST_EXAMPLES]
    ]
    if examples and before:
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
