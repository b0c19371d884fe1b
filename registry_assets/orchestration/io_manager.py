"""The IO manager that records outputs in DVC: the one place where data becomes a version."""

import os
import re
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from dagster import (
    AllPartitionMapping,
    ConfigurableIOManager,
    DataVersion,
    InputContext,
    OutputContext,
    SpecificPartitionsPartitionMapping,
    TimeWindowPartitionMapping,
)
from PIL import Image
from pydantic import Field

from registry_assets.dvc_repo import DvcRepo, PendingResult, RecordedOutput
from registry_assets.errors import DvcError, OutputNotFoundError, RegistryError
from registry_assets.making.progress import describe_step
from registry_assets.making.unit import Unit
from registry_assets.model import Registry, metafile_of
from registry_assets.orchestration.describing import Describer, Telling, describe_version
from registry_assets.orchestration.names import collections_definition
from registry_assets.revisions.changes.committing import Written, commit_written
from registry_assets.settings import read_settings

IO_MANAGER_KEY = "dvc_io_manager"
_LEAST_SECONDS = 0.05
"""Shorter durations are not logged."""


@dataclass(frozen=True)
class PendingOutput:
    """One output of a pending result, which a generated asset returns to the IO manager.

    Attributes:
        problems: Collects errors that occur after the output was recorded: the version is still
            reported to Dagster, and the step fails afterwards.
    """

    result: PendingResult
    path: str
    unit: Unit
    describer: Describer
    problems: list[RegistryError]


class DvcIOManager(ConfigurableIOManager):
    """Records what an asset returns as a version in DVC, and loads it as a path.

    Generated assets return a `PendingOutput`; the first output of a stage records the whole stage,
    so that nothing is left to do for the others. A user's own assets return a path, bytes, a
    picture, or a mapping from file names to those. DVC tracks it at the path that the asset key
    names, with the partition key as its last part.
    """

    root: str = Field(description="The root of the DVC repository.")
    wait_seconds: float = Field(
        default=3600.0, description="How long to wait for a lock that another process holds."
    )

    def _dvc(self) -> DvcRepo:
        return DvcRepo(Path(self.root), wait_seconds=self.wait_seconds)

    def _registry_name(self) -> str:
        root = Path(self.root)
        return Registry(root, read_settings(root)).name

    def handle_output(self, context: OutputContext, obj: Any) -> None:
        """Records an output and sets the data version and metadata of its materialization."""
        dvc = self._dvc()
        with dvc.session():
            self._record(dvc, context, obj)

    def _record(self, dvc: DvcRepo, context: OutputContext, obj: Any) -> None:
        if isinstance(obj, PendingOutput):
            result, path = obj.result, obj.path
            outputs = result.persist()
        else:
            path = path_of_asset(context)
            result, outputs = _record_own(dvc, context, obj, path)
        record, outcome, seconds = outputs[path], result.outcome, result.seconds
        said = describe_step(outcome, record.path, record.summary)
        # An output that was there already took no time to make.
        took = f", in {seconds:.1f} s" if seconds >= _LEAST_SECONDS else ""
        context.log.info(f"{said}{took}")
        asset = context.asset_key.to_user_string()
        partition = context.partition_key if context.has_partition_key else None
        written = Written(result.address, tuple(outputs), outcome, asset, partition)
        try:
            commit_written(dvc, [written], context.run_id, context.log.info)
        except RegistryError as error:
            if not isinstance(obj, PendingOutput):
                raise
            obj.problems.append(error)
        commit = dvc.git.commit()
        if isinstance(obj, PendingOutput):
            unit = obj.unit
            telling = Telling(record, unit.group, unit.partition, outcome, seconds, result.made_on)
            (metadata,) = obj.describer.describe([telling], commit)
        else:
            metadata = describe_version(
                dvc, self._registry_name(), record, commit, outcome, seconds
            )
        context.step_context.set_data_version(context.asset_key, DataVersion(record.version.md5))
        context.add_output_metadata(metadata)

    def load_input(self, context: InputContext) -> Path | dict[str, Path]:
        """Restores an upstream asset to the workspace.

        Returns:
            Its path, or its paths by partition key where the partition mapping selects several
            partitions.

        Raises:
            DataNotAvailableError: when the recorded version cannot be fetched from anywhere.
            OutputNotFoundError: when no metafile declares the path.
            RegistryError: when nothing tells where the upstream asset is stored.
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
            address = _with_partition(str(metafile), partition) if metafile else metafile_of(path)
            if base.count("*") > 1:
                path = _output_like(base, dvc.output_states([address]))
            dvc.ensure_in_workspace([address], report=context.log.info)
            return dvc.path_of(path)

        if not context.has_asset_partitions:
            return place(None)
        keys = context.asset_partition_keys
        if len(keys) == 1 and not _selects_several(context):
            return place(keys[0])
        places = {}
        for key in keys:
            # All data sets share the partition keys, also those that never took a collection in.
            with suppress(OutputNotFoundError):
                places[key] = place(key)
        return places


def _selects_several(context: InputContext) -> bool:
    """Whether an input has a partition mapping that selects any number of partitions.

    False also for mappings of which only the number of partitions tells, such as a user's own.
    Dagster's own IO managers always go by the number, so that the type of the input changes when a
    family gets its second partition.
    """
    if not context.has_input_name:  # loaded outside a run, for the partitions that were asked for
        return False
    step = context.step_context
    assets = step.job_def.asset_layer.get_assets_def_for_node(step.node_handle)
    mapping = assets.get_partition_mapping(context.asset_key) if assets is not None else None
    if isinstance(mapping, TimeWindowPartitionMapping):
        return mapping.start_offset != mapping.end_offset
    if mapping is not None:
        return isinstance(mapping, AllPartitionMapping | SpecificPartitionsPartitionMapping)
    # Dagster's default mapping for an unpartitioned downstream asset selects all partitions.
    return assets is None or assets.partitions_def is None


def _record_own(
    dvc: DvcRepo, context: OutputContext, obj: Any, path: str
) -> tuple[PendingResult, Mapping[str, RecordedOutput]]:
    """Records what a user's own asset returned."""
    _check_place(dvc, context, path)
    with dvc.replacing(path) as replacement:
        if not (isinstance(obj, Path) and obj.resolve() == dvc.path_of(path).resolve()):
            dump(obj, replacement.fresh)
            replacement.swap()
        is_collection = read_settings(dvc.root).is_collection(path)
        with dvc.tracking(path, is_complete=is_collection, report=context.log.info) as result:
            return result, result.persist()


def _check_place(dvc: DvcRepo, context: OutputContext, path: str) -> None:
    """Checks that a user's own asset can be recorded at a path, before anything is written.

    Raises:
        RegistryError: when a metafile already declares the path, or a path above or below it.
    """
    try:
        dvc.check_trackable(path)
    except DvcError as error:
        words = " ".join(str(error).split())
        raise RegistryError(
            f"{path} cannot be recorded for {context.asset_key.to_user_string()}: {words}; take "
            "that output out of its metafile, or give the asset another key"
        ) from error
    folder = PurePosixPath(path).parent
    settings = read_settings(dvc.root)
    families = (PurePosixPath(f).parent for f in settings.families)
    is_of_collections = context.has_partition_key and (
        context.asset_partitions_def == collections_definition(Registry(dvc.root, settings))
    )
    if is_of_collections and not any(folder.match(str(family)) for family in families):
        context.log.warning(
            f"{folder} is no family: until `families` in pyproject.toml names {folder}/*, each "
            "partition is shown as an asset of its own, too"
        )


def path_of_asset(context: OutputContext) -> str:
    """The path that an asset key names, with the partition key as its last part."""
    pattern = (context.definition_metadata or {}).get("dvc/path")
    base = str(pattern) if pattern else "/".join(context.asset_key.path)
    return _with_partition(base, context.partition_key if context.has_partition_key else None)


def _with_partition(path: str, partition: str | None) -> str:
    if partition is None:
        return path
    return path.replace("*", partition) if "*" in path else f"{path}/{partition}"


def _output_like(pattern: str, paths: Iterable[str]) -> str:
    """The output of one item of a `matrix` stage: its path does not follow from the partition key.

    Raises:
        OutputNotFoundError: when the stage has no such output any more.
    """
    expression = "[^/]*".join(map(re.escape, pattern.split("*")))
    found = next((path for path in paths if re.fullmatch(expression, path)), None)
    if found is None:
        raise OutputNotFoundError(pattern)
    return found


def dump(obj: Any, place: Path) -> None:
    """Writes what an asset returned to a path that does not exist yet.

    Args:
        obj: A path (its content is copied), bytes, a Pillow image (written in the format of the
            path's suffix, as PNG if it has none), or a mapping from file names to those.
        place: The path.

    Raises:
        RegistryError: when `obj` is anything else, or a file name leads out of the folder.
    """
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
            dump(item, target)
    else:
        raise RegistryError(
            f"{type(obj).__name__} cannot be persisted through DVC: return a pathlib.Path, bytes, "
            "a PIL.Image.Image, or a mapping from file names to those"
        )
