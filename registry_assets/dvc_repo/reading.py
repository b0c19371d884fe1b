"""Converting loaded stages to the values of `registry_assets.model`."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dvc.dependency import ParamsDependency
from dvc.dependency.repo import RepoDependency
from dvc.exceptions import DvcException
from dvc.parsing import (
    JOIN,
    VARS_KWD,
    EntryDefinition,
    ForeachDefinition,
    MatrixDefinition,
    is_map_or_seq,
)
from dvc.stage import PipelineStage
from dvc.stage.loader import StageLoader

from registry_assets.dvc_repo.collecting import Collected, check_count
from registry_assets.dvc_repo.folders.comparing import read_recorded
from registry_assets.dvc_repo.folders.state import LEGACY_HASH
from registry_assets.dvc_repo.loading import load_stages, read_definitions
from registry_assets.dvc_repo.origins import Origins
from registry_assets.dvc_repo.versions import path_in_repo, version_of, version_of_run
from registry_assets.errors import MetafileError
from registry_assets.model import (
    ITEM,
    Dependency,
    ImportedInput,
    Output,
    Parameter,
    RawCollection,
    Stage,
    StageTemplate,
    Tracked,
)

if TYPE_CHECKING:
    from dvc.dependency import Dependency as DvcDependency
    from dvc.dvcfile import ProjectFile
    from dvc.output import Output as DvcOutput
    from dvc.repo import Repo
    from dvc.stage import Stage as DvcStage


@dataclass(frozen=True)
class Declarations:
    """What the metafiles of a repository declare, and problems with those that cannot be read.

    Attributes:
        variable_files: The files with variables for templates, by path from the root, which may
            begin with ``..``.
    """

    raw: tuple[RawCollection, ...]
    inputs: tuple[ImportedInput, ...]
    stages: tuple[Stage, ...]
    templates: tuple[StageTemplate, ...]
    pipeline_files: tuple[str, ...]
    problems: tuple[str, ...]
    variable_files: tuple[str, ...] = ()


def read_declarations(repo: Repo, root: Path, collected: Collected) -> Declarations:
    """Converts all loaded metafiles."""
    raw: list[RawCollection] = []
    inputs: list[ImportedInput] = []
    stages: list[Stage] = []
    templates: list[StageTemplate] = []
    pipeline_files: list[str] = []
    variable_files: set[str] = set()
    values = _ParameterValues()
    origins = Origins(root)

    for metafile in collected.metafiles:
        loader = metafile.loader
        for stage in metafile.stages:
            if _is_stage(stage):
                stages.append(_stage(repo, loader, stage, metafile.path, values))
            elif stage.is_import:
                inputs.append(_import(repo, stage, metafile.path, origins))
            else:
                raw.extend(_raw(repo, stage, metafile.path))
        if loader is not None:
            pipeline_files.append(metafile.path)
            templates.extend(_templates(repo, loader, metafile.path, values))
            variable_files.update(_variable_files(loader, root))
    return Declarations(
        tuple(sorted(raw, key=lambda item: item.output.path)),
        tuple(sorted(inputs, key=lambda item: item.output.path)),
        tuple(stages),
        tuple(templates),
        tuple(sorted(pipeline_files)),
        collected.problems,
        tuple(sorted(variable_files)),
    )


def read_addresses(repo: Repo, root: Path, addresses: Sequence[str]) -> Declarations:
    """Reads some stages and ``.dvc`` files, those that exist, and no other metafile."""
    raw: list[RawCollection] = []
    inputs: list[ImportedInput] = []
    stages: list[Stage] = []
    values = _ParameterValues()
    for stage in load_stages(repo, root, list(dict.fromkeys(addresses)), skip_missing=True):
        metafile = Path(stage.path).relative_to(root).as_posix()
        if _is_stage(stage):
            stages.append(_stage(repo, None, stage, metafile, values))
        elif stage.is_import:
            inputs.append(_import(repo, stage, metafile, Origins(root)))
        else:
            raw.extend(_raw(repo, stage, metafile))
    return Declarations(tuple(raw), tuple(inputs), tuple(stages), (), (), ())


def read_items(
    repo: Repo, root: Path, pipeline: str, known: Mapping[str, Stage]
) -> tuple[list[Stage], Mapping[str, tuple[str, ...]]]:
    """Reads which stages a ``dvc.yaml`` has, and only those that are not known."""
    names: list[str] = []
    items: dict[str, tuple[str, ...]] = {}
    for name, definition in read_definitions(repo, str(root / pipeline)).items():
        check_count(definition)
        if isinstance(definition, EntryDefinition):
            names.append(name)
        else:
            names += definition.get_generated_names()
            items[name] = tuple(definition.normalized_iterable)
    addresses = [f"{pipeline}:{name}" for name in names]
    new = read_addresses(repo, root, [each for each in addresses if each not in known]).stages
    stages = {**known, **{stage.address: stage for stage in new}}
    return [stages[address] for address in addresses], items


def read_dvc_file(repo: Repo, root: Path, metafile: str) -> Tracked | None:
    """Reads one ``.dvc`` file; None if it does not exist."""
    if not (root / metafile).exists():
        return None
    (stage,) = load_stages(repo, root, [metafile])
    if stage.is_import:
        return _import(repo, stage, metafile, Origins(root))
    return next(_raw(repo, stage, metafile))


def read_recorded_files(repo: Repo, root: Path, metafile: str, path: str) -> Collection[str]:
    """The files in the recorded version of a folder."""
    stages = load_stages(repo, root, [metafile], skip_missing=True)
    outs = (out for stage in stages for out in stage.outs if path_in_repo(repo, out) == path)
    return frozenset(name for out in outs for name in read_recorded(out) or ())


def _is_stage(stage: DvcStage) -> bool:
    return isinstance(stage, PipelineStage) or bool(stage.cmd)


def _raw(repo: Repo, stage: DvcStage, metafile: str) -> Iterator[RawCollection]:
    for out in stage.outs:
        yield RawCollection(_output(repo, out), metafile, stage.desc, stage.changed_stage())


def _import(repo: Repo, stage: DvcStage, metafile: str, origins: Origins) -> ImportedInput:
    (out,), (dep,) = stage.outs, stage.deps
    repository = revision = rev = None
    source = _dependency(repo, dep)
    if isinstance(dep, RepoDependency):
        definition = dep.def_repo
        repository = str(definition[RepoDependency.PARAM_URL])
        revision = definition.get(RepoDependency.PARAM_REV_LOCK)
        rev = definition.get(RepoDependency.PARAM_REV)
        address = origins.locate(repository, Path(stage.path))
        here = origins.path_here(address, str(dep.def_path))
        source = Dependency(here or str(dep.def_path), version_of(out), is_external=here is None)
    return ImportedInput(
        _output(repo, out),
        metafile,
        source,
        repository,
        revision,
        bool(stage.frozen),
        rev,
        stage.changed_stage(),
    )


def _stage(
    repo: Repo,
    loader: StageLoader | None,
    stage: DvcStage,
    metafile: str,
    values: _ParameterValues,
) -> Stage:
    name = getattr(stage, "name", None)
    group = stage.raw_data.generated_from if isinstance(stage, PipelineStage) else None
    item = name[len(group) + len(JOIN) :] if group and name else None
    command = "\n".join(stage.cmd) if isinstance(stage.cmd, list) else stage.cmd
    address = f"{metafile}:{name}" if name else metafile
    outputs = tuple(_output(repo, out) for out in stage.outs)
    return Stage(
        address=address,
        file=metafile,
        name=group or name or Path(metafile).stem,
        item=item,
        command=command,
        dependencies=tuple(
            _dependency(repo, dep) for dep in stage.deps if not isinstance(dep, ParamsDependency)
        ),
        parameters=tuple(
            parameter
            for dep in stage.deps
            if isinstance(dep, ParamsDependency)
            for parameter in _parameters(repo, dep, values)
        ),
        outputs=outputs or (_run(address, loader, name),),
        is_frozen=bool(stage.frozen),
        always_changed=bool(stage.always_changed or stage.is_callback),
        command_changed=bool(getattr(stage, "cmd_changed", False)),
        description=stage.desc,
    )


def _run(address: str, loader: StageLoader | None, name: str | None) -> Output:
    version = (
        version_of_run(loader.lockfile_data, name)
        if loader is not None and name is not None
        else None
    )
    return Output(address, version, is_cached=False, is_run=True)


def _output(repo: Repo, out: DvcOutput) -> Output:
    return Output(
        path=path_in_repo(repo, out),
        version=version_of(out),
        is_cached=bool(out.use_cache),
        is_persistent=bool(out.persist),
        metric=bool(out.metric),
        plot=bool(out.plot),
        description=out.annot.desc,
        is_legacy=out.hash_name == LEGACY_HASH,
    )


def _dependency(repo: Repo, dep: DvcDependency) -> Dependency:
    is_external = not dep.is_in_repo
    return Dependency(path_in_repo(repo, dep), version_of(dep), is_external)


class _ParameterValues:
    """The current values in parameter files, each read once."""

    def __init__(self) -> None:
        self._read: dict[tuple[str, tuple[str, ...]], Mapping[str, Any]] = {}

    def of(self, dep: ParamsDependency) -> Mapping[str, Any]:
        key = (dep.fs_path, tuple(dep.params))
        if key not in self._read:
            try:
                self._read[key] = dep.read_params()
            except (DvcException, MetafileError):
                # An invalid parameter file is reported when a stage that uses it runs.
                self._read[key] = {}
        return self._read[key]


def _parameters(repo: Repo, dep: ParamsDependency, values: _ParameterValues) -> Iterator[Parameter]:
    recorded = dep.hash_info.value if dep.hash_info else None
    before: Mapping[str, Any] = recorded if isinstance(recorded, Mapping) else {}
    now = values.of(dep)
    file = path_in_repo(repo, dep)
    if not dep.params:
        yield Parameter(file, None, dict(now), dict(before) or None)
    for key in dep.params:
        yield Parameter(file, key, now.get(key), before.get(key))


def _variable_files(loader: StageLoader, root: Path) -> Iterator[str]:
    """The files named in ``vars`` of a ``dvc.yaml`` and its stages, and its ``params.yaml``."""
    resolver = loader.resolver
    named = [os.path.relpath(path, resolver.wdir or ".") for path in resolver.context.imports]
    for definition in resolver.definitions.values():
        is_one = isinstance(definition, EntryDefinition)
        declared = definition.definition if is_one else definition.template
        variables = declared.get(VARS_KWD, ()) if isinstance(declared, Mapping) else ()
        named += [item.partition(":")[0] for item in variables if isinstance(item, str)]
    folder = Path(loader.dvcfile.path).parent
    for path in named:
        yield Path(os.path.relpath(folder / path, root)).as_posix()


def _templates(
    repo: Repo, loader: StageLoader, metafile: str, values: _ParameterValues
) -> Iterator[StageTemplate]:
    """Every `foreach` and `matrix` stage of a ``dvc.yaml``, resolved with `ITEM` as its item.

    So a stage without items is in the graph, too. Templates that DVC cannot resolve like this (for
    items that are dictionaries) are left out, and each item becomes an output of its own.
    """
    dvcfile: ProjectFile = loader.dvcfile
    for name, definition in dvcfile.resolver.definitions.items():
        if isinstance(definition, EntryDefinition):
            continue
        try:
            check_count(definition)
            items = tuple(definition.normalized_iterable)
            stage = _template(repo, dvcfile, name, definition)
        except (DvcException, MetafileError):
            continue
        template = replace(
            _stage(repo, loader, stage, metafile, values),
            address=f"{metafile}:{name}{JOIN}{ITEM}",
            name=name,
            item=ITEM,
        )
        yield StageTemplate(template, items)


def _template(
    repo: Repo,
    dvcfile: ProjectFile,
    name: str,
    definition: ForeachDefinition | MatrixDefinition,
) -> DvcStage:
    full_name = f"{name}{JOIN}{ITEM}"
    with definition.context.set_temporarily(_placeholder(definition), reserve=True):
        entry = EntryDefinition(
            definition.resolver, definition.context, full_name, definition.template
        )
        resolved = entry.resolve_stage(skip_checks=True)
    return StageLoader.load_stage(dvcfile, full_name, resolved[full_name])


def _placeholder(definition: ForeachDefinition | MatrixDefinition) -> dict[str, Any]:
    """The variables of the template, with `ITEM` in place of the item."""
    iterable = definition.resolved_iterable
    first = next(iter(definition.normalized_iterable.values()), ITEM)
    if isinstance(definition, MatrixDefinition):
        dimensions = {
            name: value if is_map_or_seq(value) else ITEM
            for name, value in (first.items() if isinstance(first, Mapping) else ())
        }
        return {definition.pair.key: ITEM, definition.pair.value: dimensions}
    if isinstance(iterable, Mapping):
        return {definition.pair.key: ITEM, definition.pair.value: first}
    if is_map_or_seq(first):
        return {definition.pair.value: first}
    return {definition.pair.value: ITEM}
