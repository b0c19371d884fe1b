"""Stages and ``.dvc`` files, grouped by the assets whose partitions they become."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from registry_assets.addresses import without_secrets
from registry_assets.model import (
    ITEM,
    Dependency,
    ImportedInput,
    Output,
    Registry,
    Stage,
    Tracked,
    metafile_of,
)
from registry_assets.registry.translator import Key

# A ``.dvc`` file or a stage; the template of a family of collections has neither.
Declared = Tracked | Stage


@dataclass
class Unit:
    """One stage, template or ``.dvc`` file, with its outputs and dependencies."""

    address: str
    metafile: str
    partition: str | None
    outputs: tuple[Output, ...]
    dependencies: tuple[Dependency, ...]
    declared: Declared | None


@dataclass
class Group:
    """Units that become the partitions of the same assets; the first represents all."""

    kind: Literal["raw", "import", "stage"]
    units: list[Unit]
    folder: str | None = None
    keys: list[Key] = field(default_factory=list)

    @property
    def lead(self) -> Unit:
        """The unit that represents all."""
        return self.units[0]

    @property
    def is_family(self) -> bool:
        """Whether the units are partitions."""
        return self.lead.partition is not None


def gather_groups(registry: Registry) -> list[Group]:
    """Group all stages and ``.dvc`` files; the groups have no keys yet."""
    return [*_collection_groups(registry), *_stage_groups(registry)]


def _collection_groups(registry: Registry) -> Iterator[Group]:
    members: dict[str, list[Unit]] = {f: [] for f in registry.family_folders}
    for item in registry.tracked:
        folder = registry.family_folder_of(item.output.path)
        if folder is None:
            yield Group(kind_of(item), [_dvc_unit(item, None)])
        else:
            members[folder].append(_dvc_unit(item, item.name))
    for folder, units in members.items():
        path = f"{folder}/{ITEM}"
        source = Dependency(f"{registry.raw_folder}/{ITEM}")
        is_import = folder in registry.importing_folders
        template = Unit(
            address=metafile_of(path),
            metafile=metafile_of(path),
            partition=ITEM,
            outputs=(Output(path),),
            dependencies=(source,) if is_import and registry.raw_folder else (),
            declared=None,
        )
        yield Group("import" if is_import else "raw", [template, *units], folder)


def _dvc_unit(item: Tracked, partition: str | None) -> Unit:
    read: tuple[Dependency, ...] = ()
    if isinstance(item, ImportedInput):
        read = (replace(item.source, path=source_address(item)),)
    return Unit(item.metafile, item.metafile, partition, (item.output,), read, item)


def _stage_groups(registry: Registry) -> Iterator[Group]:
    families = {
        (template.stage.file, template.stage.name): template
        for template in registry.templates
        if all(ITEM in output.path for output in template.stage.outputs)
    }
    for stage in registry.stages:
        template = families.get((stage.file, stage.name))
        if template is not None and stage.item and not _fits(template.stage, stage):
            del families[stage.file, stage.name]
    groups = {
        key: Group("stage", [_stage_unit(template.stage, ITEM)])
        for key, template in families.items()
    }
    for stage in registry.stages:
        key = (stage.file, stage.name)
        if stage.item is not None and key in groups:
            groups[key].units.append(_stage_unit(stage, stage.item))
        else:
            groups[stage.file, stage.address] = Group("stage", [_stage_unit(stage, None)])
    yield from groups.values()


def source_address(imported: ImportedInput) -> str:
    """The source of an import, without secrets: a path of this repository, or a URL."""
    if imported.repository is None or not imported.source.is_external:
        return without_secrets(imported.source.path)
    return without_secrets(f"{imported.repository.rstrip('/')}/{imported.source.path}")


def kind_of(item: Tracked) -> Literal["raw", "import"]:
    """The kind of the asset of a ``.dvc`` file."""
    return "import" if isinstance(item, ImportedInput) else "raw"


def _stage_unit(stage: Stage, partition: str | None) -> Unit:
    return Unit(stage.address, stage.file, partition, stage.outputs, stage.dependencies, stage)


def take_apart(group: Group) -> list[Group]:
    """Split a family of stages into one group per item; other groups stay as they are."""
    if not group.is_family or group.folder is not None:
        return [group]
    units = (unit for unit in group.units if unit.partition != ITEM)
    return [Group(group.kind, [replace(unit, partition=None)]) for unit in units]


def _fits(template: Stage, stage: Stage) -> bool:
    """Whether the outputs of an item differ from the template's only in the item's name."""
    return len(template.outputs) == len(stage.outputs) and all(
        re.fullmatch(re.escape(pattern.path).replace(ITEM, "[^/]+"), output.path)
        for pattern, output in zip(template.outputs, stage.outputs, strict=True)
    )


def is_here(unit: Unit) -> bool:
    """Whether the dependencies of a unit are paths here, not in another repository."""
    declared = unit.declared
    if not isinstance(declared, ImportedInput) or declared.repository is None:
        return True
    # The repository that is imported from may be this one.
    return not declared.source.is_external
