"""The metadata of a recorded output's materialization, built in one place.

It is derived from DVC, its cache and the decisions alone, so that it is the same after a run in the
UI, a batch, `registry add`, a `dvc repro` in a terminal, in a clone and at an old commit. Only the
process that made a version can add how it was made.
"""

import io
import json
import platform
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import version as version_of_package
from pathlib import Path, PurePosixPath

from dagster import MetadataValue, TableRecord

from registry_assets.bounded import check_yaml, read_text
from registry_assets.curation.duplicates import Duplicates, find_duplicates, holds_table
from registry_assets.curation.left_out import DatasetCounts, build_rows, count_pictures
from registry_assets.curation.pictures import read_one_table
from registry_assets.dvc_repo import DvcRepo, Listings, MadeOn, RecordedOutput
from registry_assets.errors import MetafileError
from registry_assets.images import has_image_suffix, read_decisions
from registry_assets.images.contents import hash_file
from registry_assets.images.measurements import MEASUREMENTS_TABLE
from registry_assets.images.verdicts import DAY, FOG, THRESHOLDS
from registry_assets.look.places import page_address, place_in_page
from registry_assets.model import Registry, Version, is_folder, metafile_of
from registry_assets.provenance.origin_table import build_origin_table
from registry_assets.registry.contact_sheets import sheet_address
from registry_assets.registry.decisions import decisions_file_of
from registry_assets.registry.lineage.file_lineage import Tracer
from registry_assets.registry.lineage.graph import AssetGroup, Lineage
from registry_assets.registry.translator import COLLECTIONS
from registry_assets.units import printable

Metadata = dict[str, MetadataValue]

SUMMARY = "dvc/summary"
"""What a version contains, and how it differs from the previous one."""
UNREAD = "dvc/not_in_cache"
"""Set when the cache lacked the version, so that its content has to be reported later."""
MADE_WITH = "made/with"
CONTACT_SHEET = "contact_sheet"

_MOST_EXAMPLES = 20
_METRICS_SUFFIXES = {".json", ".yaml", ".yml"}


@dataclass(frozen=True)
class Telling:
    """One output to describe.

    Attributes:
        record: The recorded version.
        group: The group of its asset.
        partition: The partition key.
        outcome: See `dvc_repo.results.Outcome`; None if it was made outside Dagster.
        seconds: How long making it took.
        made_on: The machine that ran the command, if it was another one.
    """

    record: RecordedOutput
    group: AssetGroup
    partition: str | None = None
    outcome: str | None = None
    seconds: float = 0.0
    made_on: MadeOn | None = None


class Describer:
    """Describes outputs of one registry.

    Args:
        dvc: The repository.
        lineage: The graph. If it is older than the outputs, pass a `tracer` with a newer one.
        tracer: Builds the `Tracer` that finds the origins of files (default: one for `lineage`).
    """

    def __init__(
        self, dvc: DvcRepo, lineage: Lineage, tracer: Callable[[], Tracer] | None = None
    ) -> None:
        self._dvc, self._lineage, self._find_tracer = dvc, lineage, tracer

    @cached_property
    def listings(self) -> Listings:
        """The listings of versions in the cache."""
        return self._dvc.listings()

    @cached_property
    def _tracer(self) -> Tracer:
        return self._find_tracer() if self._find_tracer else Tracer(self._lineage, self.listings)

    def describe(self, outputs: Sequence[Telling], commit: str | None) -> Iterator[Metadata]:
        """Yields the metadata of each output; duplicates are searched once for all of them.

        Args:
            outputs: The outputs.
            commit: The commit that is checked out.
        """
        duplicates = self._find_duplicates(outputs)
        for item in outputs:
            found = describe_version(
                self._dvc,
                self._lineage.registry.name,
                item.record,
                commit,
                item.outcome,
                item.seconds,
                item.made_on,
            )
            if item.group.kind != "raw":
                found |= _origins(self._tracer, item.record.path)
            found |= duplicates.get(item.record.path, {})
            found |= _decisions(self._lineage.registry, item.group, item.partition)
            found |= self._counts(item)
            yield found

    def _counts(self, item: Telling) -> Metadata:
        """What a stage with verdicts keeps and leaves out of a collection, by reason."""
        registry = self._lineage.registry
        dataset = registry.dataset_of(item.group.metafile)
        if item.group.kind != "stage" or item.partition is None or dataset is None:
            return {}
        judged = self._find_judged(item)
        if judged is None:
            return {}
        table, limits = judged
        file = decisions_file_of(registry, item.group, item.partition)
        place = self.listings.place_of((self.listings.read(table.md5) or {})[MEASUREMENTS_TABLE])
        if place is None:
            return {}
        try:
            decisions = read_decisions(registry.root / file) if file and limits else {}
            pictures = read_one_table(dataset, item.partition, place, limits, decisions)
        except (OSError, ValueError, MetafileError):
            # Whoever edits decisions gets the message of the stage; what was made is still told.
            return {}
        return _count_metadata(count_pictures(pictures))

    def _find_judged(self, item: Telling) -> tuple[Version, Mapping[str, float]] | None:
        """The table that a stage judges by, and its thresholds; None if it leaves nothing out."""
        if holds_table(self.listings, item.record.version):
            return item.record.version, {}
        # The graph may be older than the output.
        lineage = self._tracer.lineage
        stage = lineage.registry.stage_of.get(item.record.path)
        if stage is None or item.record.path not in lineage.nodes:
            return None
        used = {parameter.key: parameter.recorded for parameter in stage.parameters}
        if not used.keys().isdisjoint((DAY.parameter, FOG.parameter)):
            return None
        read = lineage.versions_read(item.record.path).values()
        table = next((version for version in read if holds_table(self.listings, version)), None)
        limits = {
            threshold.parameter: float(value)
            for threshold in THRESHOLDS
            if isinstance(value := used.get(threshold.parameter), (int, float))
        }
        return None if table is None else (table, limits)

    def _find_duplicates(self, outputs: Sequence[Telling]) -> dict[str, Metadata]:
        """The duplicates of those collections whose raw data or measurements are described."""
        raw: dict[str, Telling] = {}
        measured: dict[str, Telling] = {}
        for item in outputs:
            if item.partition is None or item.group.partitions != COLLECTIONS:
                continue
            if item.group.kind == "raw":
                raw[item.partition] = item
            elif item.group.kind == "stage" and holds_table(self.listings, item.record.version):
                measured[item.partition] = item
        told: dict[str, Metadata] = {}
        if raw:
            versions = {name: item.record.version.md5 for name, item in raw.items()}
            found = find_duplicates(self._lineage, self.listings, {*raw}, versions=versions)
            told |= {item.record.path: _duplicates(found, name) for name, item in raw.items()}
        if measured:
            found = find_duplicates(
                self._lineage,
                self.listings,
                {*measured},
                distance=self._lineage.registry.settings.duplicate_distance,
                # The graph may lack new collections.
                versions=self._raw_versions({*measured}),
                tables=self._tables(measured),
            )
            told |= {item.record.path: _duplicates(found, name) for name, item in measured.items()}
        return told

    def _raw_versions(self, names: set[str]) -> dict[str, str]:
        folder = self._lineage.registry.raw_folder
        unknown = {name for name in names if f"{folder}/{name}" not in self._lineage.nodes}
        files = {name: self._dvc.read_dvc_file(metafile_of(f"{folder}/{name}")) for name in unknown}
        return {
            name: raw.output.version.md5
            for name, raw in files.items()
            if raw is not None and raw.output.version is not None
        }

    def _tables(self, measured: Mapping[str, Telling]) -> dict[str, Path]:
        """The measurement tables of versions that the graph does not know yet."""
        tables = {}
        for name, item in measured.items():
            node = self._lineage.nodes.get(item.record.path)
            if node is None or node.version != item.record.version:
                listed = self.listings.read(item.record.version.md5) or {}
                place = self.listings.place_of(listed.get(MEASUREMENTS_TABLE, ""))
                if place is not None:
                    tables[name] = place
        return tables


def describe_version(
    dvc: DvcRepo,
    registry_name: str,
    record: RecordedOutput,
    commit: str | None,
    outcome: str | None = None,
    seconds: float = 0.0,
    made_on: MadeOn | None = None,
) -> Metadata:
    """The metadata that a version has by itself: its name, its changes and its content.

    Args:
        dvc: The repository.
        registry_name: What the registry is called in addresses.
        record: What was recorded.
        commit: What is checked out.
        outcome: How it came about; see `Telling`.
        seconds: How long that took.
        made_on: The machine that ran the command, if it was another one.
    """
    found: Metadata = {
        name: MetadataValue.text(value) if isinstance(value, str) else MetadataValue.int(value)
        for name, value in version_metadata(record.path, record.version, commit).items()
    }
    if outcome is not None:
        found |= _making(outcome, seconds)
    if made_on is not None:
        found["made/machine"] = MetadataValue.text(made_on.machine)
        found["made/run_seconds"] = MetadataValue.float(round(made_on.run_seconds, 3))
        found["made/queue_seconds"] = MetadataValue.float(round(made_on.wait_seconds, 3))
        versions = ", ".join(f"{name} {version}" for name, version in made_on.versions.items())
        found[MADE_WITH] = MetadataValue.text(f"{versions}; on {made_on.machine}")
    found[SUMMARY] = MetadataValue.text(record.summary)
    if is_folder(record.version.md5):
        if record.files is None:
            found[UNREAD] = MetadataValue.text(f"`dvc pull {record.path}` brings it")
        elif any(map(has_image_suffix, record.files)):
            found |= contact_sheet_metadata(registry_name, record.path, record.version.md5)
        found |= _changes(record)
    elif PurePosixPath(record.path).suffix in _METRICS_SUFFIXES:
        place = _content_of(dvc, record)
        if place is None:
            found[UNREAD] = MetadataValue.text(f"`dvc pull {record.path}` brings it")
        else:
            found |= _numbers(place, PurePosixPath(record.path).suffix)
    return found


def version_metadata(path: str, version: Version, commit: str | None) -> dict[str, str | int]:
    """What identifies a version: path, md5, size, number of files and commit, where known."""
    metadata: dict[str, str | int] = {"dvc/path": path, "dvc/md5": version.md5}
    if version.size is not None:
        metadata["dvc/size"] = version.size
    if version.nfiles is not None:
        metadata["dvc/nfiles"] = version.nfiles
    if commit is not None:
        metadata["git/commit"] = commit
    return metadata


def is_readable(dvc: DvcRepo, record: RecordedOutput) -> bool:
    """Whether the content of a version can be read now, to describe it."""
    if is_folder(record.version.md5):
        # None also if the listing is damaged.
        return record.files is not None
    is_metrics = PurePosixPath(record.path).suffix in _METRICS_SUFFIXES
    return not is_metrics or _content_of(dvc, record) is not None


def _content_of(dvc: DvcRepo, record: RecordedOutput) -> Path | None:
    """The path of a file's recorded content, in the cache or else in the workspace, if any."""
    place = record.listings.place_of(record.version.md5)
    if place is not None:
        return place
    there = dvc.path_of(record.path)
    # Outputs with `cache: false` are in the workspace only.
    is_recorded = there.is_file() and hash_file(there) == record.version.md5
    return there if is_recorded else None


def _making(outcome: str, seconds: float) -> Metadata:
    """How a version was made; if this process made it, also with which software and how fast."""
    found: Metadata = {"dvc/outcome": MetadataValue.text(outcome)}
    if outcome in ("ran", "recorded"):
        found["made/seconds"] = MetadataValue.float(round(seconds, 3))
        found[MADE_WITH] = MetadataValue.text(_tools())
    return found


@cache
def _tools() -> str:
    """The software of this process and the machine, as results may depend on them."""
    packages = ("registry-assets", "pillow", "dvc", "dagster")
    versions = [f"{name} {version_of_package(name)}" for name in packages]
    versions.insert(1, f"Python {platform.python_version()}")
    machine = f"{platform.system()} {platform.release()}, {platform.machine()}"
    return f"{', '.join(versions)}; on {platform.node()} ({machine})"


def contact_sheet_metadata(registry_name: str, path: str, md5: str) -> Metadata:
    """The contact sheet of a folder, which the webserver makes on request; leads to its pictures.

    Both addresses have no host, and no token: events stay what they are wherever the UI is.
    """
    # Escapes Markdown. Up to 1000 characters are shown in the UI without a click.
    quoted = re.sub(r"([][\\`*_<>&!~|])", r"\\\1", " ".join(printable(path).split()))
    text = f"contact sheet of {quoted}, which registry ui shows"
    page = f"{page_address(registry_name)}{place_in_page({'source': path})}"
    sheet = f"![{text}]({sheet_address(registry_name, md5)})"
    return {CONTACT_SHEET: MetadataValue.md(f"[{sheet}]({page})")}


def _changes(record: RecordedOutput) -> Metadata:
    """Files added, removed and changed since the previous version."""
    changes = record.changes
    if changes is None:
        return {}
    found: Metadata = {
        f"files/{change}": MetadataValue.int(len(paths)) for change, paths in changes.by_kind()
    }
    examples = [
        TableRecord({"file": path, "change": change})
        for change, paths in changes.by_kind()
        for path in paths[:_MOST_EXAMPLES]
    ]
    is_first = record.previous is None or not is_folder(record.previous.md5)
    if examples and not is_first:
        found["files/examples"] = MetadataValue.table(examples)
    return found


def _origins(tracer: Tracer, path: str) -> Metadata:
    """The origins of a few images of a version."""
    rows = build_origin_table(tracer, path)
    return {"files/origins": MetadataValue.table(list(map(TableRecord, rows)))} if rows else {}


def _duplicates(duplicates: Duplicates, collection: str) -> Metadata:
    """The duplicates of a collection; nothing if the cache lacks its listing."""
    if collection in duplicates.unread:
        return {}
    found = [item for item in duplicates.found if item.collection == collection]
    metadata: Metadata = {"duplicates/files": MetadataValue.int(len(found))}
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


def _decisions(registry: Registry, group: AssetGroup, partition: str | None) -> Metadata:
    """The decisions about images that a stage applies."""
    file = decisions_file_of(registry, group, partition)
    if file is None:
        return {}
    decided = [*read_decisions(registry.root / file).values()]
    allowed = [item for item in decided if item.verdict == "allow"]
    duplicates = [item for item in decided if item.duplicate_of]
    metadata: Metadata = {
        "decisions/allowed": MetadataValue.int(len(allowed)),
        "decisions/denied": MetadataValue.int(len(decided) - len(allowed) - len(duplicates)),
        "decisions/duplicates": MetadataValue.int(len(duplicates)),
    }
    # Decisions of people first: there are fewer of them, and they tell more.
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


def _count_metadata(counts: DatasetCounts) -> Metadata:
    rows = [TableRecord({"what": row.name, "files": row.total}) for row in build_rows(counts)]
    return {
        "images/kept": MetadataValue.int(counts.total.kept),
        "images/left_out": MetadataValue.int(counts.total.left_out),
        "images/reasons": MetadataValue.table(rows),
    }


def _numbers(place: Path, suffix: str) -> Metadata:
    """The numbers of a metrics file, which the UI plots over time."""
    from ruamel.yaml import YAML

    try:
        text = read_text(place)
        check_yaml(text, place.name)
        data = json.loads(text) if suffix == ".json" else YAML(typ="safe").load(io.StringIO(text))
    except Exception:  # any file can be declared as metrics: do not plot what cannot be parsed
        return {}
    found: Metadata = {}

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
