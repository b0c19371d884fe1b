"""Reading a registry: its settings, DVC's metafiles, and what its folders mean."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.scalarstring import ScalarString

from registry_assets.bounded import check_yaml, read_text
from registry_assets.dvc_repo import Declarations, DvcRepo
from registry_assets.errors import MetafileError
from registry_assets.fingerprint import read_clock
from registry_assets.images.decisions import DECISIONS_FOLDER
from registry_assets.model import ITEM, Dataset, Registry, Settings, StageTemplate, TakeIn
from registry_assets.registry.kept_answers import KEPT_FOLDER
from registry_assets.registry.last_reading import (
    ALL_QUOTED,
    COLLECTIONS_FILE,
    keep,
    recall,
)
from registry_assets.registry.rereading import read_changes
from registry_assets.settings import SETTINGS_FILE, read_settings

# What ends an unquoted YAML item: a comment, or the next item of a list in flow style.
_END_OF_ITEM = re.compile(r"\s#|[,\]]")


def read_registry(root: Path, dvc: DvcRepo | None = None) -> Registry:
    """Read everything that the metafiles of a repository declare and record.

    Broken metafiles are listed in `Registry.problems`, and the others are read.

    Args:
        root: Any folder of a DVC repository.
        dvc: That repository, if it is open already.

    Raises:
        NotFoundError: when there is no DVC repository at or above the folder.
        MetafileError: when the settings, or a list of collections, cannot be read.
    """
    dvc = dvc or DvcRepo(root)
    began = read_clock(dvc.root / KEPT_FOLDER)
    last = recall(dvc.root)
    if last is not None and not last.changed:
        return last.registry
    registry = _read(dvc, None if last is None else read_changes(dvc, last))
    keep(registry, began)
    return registry


def _read(dvc: DvcRepo, declared: Declarations | None = None) -> Registry:
    """Read a registry, whose metafiles may have been read already."""
    settings = read_settings(dvc.root)
    # Checked before DVC reads them, because a date makes DVC fail.
    lists = _collections_files(dvc.root, settings.families)
    for path in lists:
        check_collections_file(dvc.root / path, path)
    declared = declared or dvc.read_declarations()
    dataset_paths = [_folder_of(path) for path in declared.pipeline_files]
    for path in filter(None, (_collections_file(dvc.root, folder) for folder in dataset_paths)):
        if path not in lists:
            check_collections_file(dvc.root / path, path)
    tracked = [raw.output.path for raw in declared.raw]
    for imported in declared.inputs:
        tracked.append(imported.output.path)
        if not imported.source.is_external and imported.repository is None:
            tracked.append(imported.source.path)
    folders = _family_folders(
        settings.families, tracked, declared.templates, dataset_paths, dvc.root
    )
    datasets = tuple(
        Dataset(
            path,
            inputs=next((f for f in folders if path and f.startswith(f"{path}/")), None),
            collections_file=_collections_file(dvc.root, path),
            take_in=settings.take_in.get(path)
            or settings.take_in.get(PurePosixPath(path).name)
            or TakeIn(),
            decisions=_decisions_folder(path, declared.templates),
        )
        for path in dataset_paths
    )
    # With problems, a name that seems unknown may be a data set that could not be read.
    unknown = [] if declared.problems else list(_unknown_names(settings, datasets))
    return Registry(
        root=dvc.root,
        settings=settings,
        family_folders=folders,
        raw=declared.raw,
        inputs=declared.inputs,
        stages=declared.stages,
        templates=declared.templates,
        datasets=datasets,
        variable_files=declared.variable_files,
        problems=(*declared.problems, *unknown),
    )


def _unknown_names(settings: Settings, datasets: Sequence[Dataset]) -> Iterator[str]:
    """A line for each setting of a data set that has no effect."""
    known = {name for dataset in datasets for name in (dataset.path, dataset.name)}
    for setting, named in (
        ("take_in", settings.take_in),
        ("leave_out_duplicates", settings.leave_out_duplicates),
    ):
        for name in named:
            if name not in known:
                yield f"{SETTINGS_FILE}: {setting} names {name}, but there is no such data set"
    for dataset in datasets:
        if settings.leave_out_duplicates_of(dataset.path) and dataset.decisions is None:
            yield (
                f"{SETTINGS_FILE}: leave_out_duplicates names {dataset.name}, but no stage of it "
                f"depends on {DECISIONS_FOLDER}/${{item}}.yaml"
            )


def reread(dvc: DvcRepo, registry: Registry, addresses: Collection[str]) -> Registry:
    """Read some stages and ``.dvc`` files again, and take the others as they were read before.

    Reads all metafiles if one of the addresses is new.

    Args:
        dvc: The repository.
        registry: As it was read before.
        addresses: The stages and ``.dvc`` files that changed.
    """
    wanted = set(addresses)
    known = {stage.address for stage in registry.stages if not stage.outputs[0].is_run}
    if not wanted <= known | {item.metafile for item in registry.tracked}:
        # What was made may hold ignore files.
        dvc.forget_ignored()
        return read_registry(registry.root, dvc)
    declared = dvc.read_addresses(list(addresses))
    stages = {stage.address: stage for stage in declared.stages}
    raw = {item.output.path: item for item in declared.raw}
    inputs = {item.output.path: item for item in declared.inputs}
    return replace(
        registry,
        stages=tuple(stages.get(stage.address, stage) for stage in registry.stages),
        raw=tuple(raw.get(item.output.path, item) for item in registry.raw),
        inputs=tuple(inputs.get(item.output.path, item) for item in registry.inputs),
    )


def check_collections_file(path: Path, name: str) -> None:
    """Check that a list of collections holds quoted strings.

    YAML reads ``2021_10_16``, ``01`` and ``1e3`` as numbers, and ``2021-10-16`` as a date, which
    makes DVC fail.

    Raises:
        MetafileError: for the first unquoted name, with its line and the fix.
    """
    text = read_text(path, name)
    if ALL_QUOTED.fullmatch(text):
        # No need of ruamel.yaml, which is slow.
        return
    check_yaml(text, name)
    yaml = YAML()
    yaml.preserve_quotes = True
    try:
        data = yaml.load(text) or {}
    except MarkedYAMLError as error:
        mark = error.problem_mark
        raise MetafileError(name, error.problem or str(error), mark and mark.line + 1) from error
    except RecursionError as error:
        raise MetafileError(name, "it is nested too deeply") from error
    listed = data.get("collections") if isinstance(data, dict) else None
    if not isinstance(listed, CommentedSeq):
        if listed is not None:
            raise MetafileError(name, "`collections` must be a list of quoted names")
        return
    lines = text.splitlines()
    for index, item in enumerate(listed):
        if not isinstance(item, ScalarString):
            line, column = listed.lc.item(index)
            written = _END_OF_ITEM.split(lines[line][column:])[0].strip()
            raise MetafileError(name, f'write the name in quotes: - "{written}"', line + 1)


def _family_folders(
    patterns: Sequence[str],
    tracked: Sequence[str],
    templates: Sequence[StageTemplate],
    dataset_paths: Collection[str],
    root: Path,
) -> tuple[str, ...]:
    """The folders that hold collections, in the order of the patterns.

    A matching folder counts if it exists, if something in it is tracked or was imported from it,
    or if a pipeline reads from it. So a new data set is in the graph before its first collection,
    and so are collections outside a sparse checkout.
    """
    read = {dependency.path for template in templates for dependency in template.stage.dependencies}
    candidates = {str(PurePosixPath(path).parent) for path in (*tracked, *read)}
    found: list[str] = []
    for pattern in patterns:
        parent = pattern.removesuffix("/*")
        there = {p.relative_to(root).as_posix() for p in root.glob(parent) if p.is_dir()}
        matching = {path for path in candidates if PurePosixPath(path).match(parent)}
        depth = parent.count("/")
        found.extend(
            path
            for path in sorted(there | matching)
            if path.count("/") == depth and path not in found and path not in dataset_paths
        )
    return tuple(found)


def _collections_files(root: Path, patterns: Sequence[str]) -> list[str]:
    """Find the lists of collections in all parents of the family folders."""
    above = {parent for pattern in patterns for parent in PurePosixPath(pattern).parents}
    found = {place for folder in above for place in root.glob(str(folder / COLLECTIONS_FILE))}
    return sorted(place.relative_to(root).as_posix() for place in found)


def _collections_file(root: Path, dataset: str) -> str | None:
    path = PurePosixPath(dataset) / COLLECTIONS_FILE
    return str(path) if (root / path).is_file() else None


def _decisions_folder(dataset: str, templates: Sequence[StageTemplate]) -> str | None:
    """The folder of a data set's decisions; None if its stages do not depend on decisions."""
    folder = str(PurePosixPath(dataset) / DECISIONS_FOLDER)
    read = {dependency.path for template in templates for dependency in template.stage.dependencies}
    return folder if f"{folder}/{ITEM}.yaml" in read else None


def _folder_of(metafile: str) -> str:
    parent = str(PurePosixPath(metafile).parent)
    return "" if parent == "." else parent
