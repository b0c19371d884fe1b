"""Reading the status of a registry: `dvc status`, plus what that does not cover."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import PurePosixPath

from registry_assets.dvc_repo import CacheState, DvcRepo, KnownData, OutputState
from registry_assets.errors import OutputNotFoundError
from registry_assets.git_repo import GitRepo
from registry_assets.git_repo.work_tree import find_kept_out
from registry_assets.model import (
    DVC_SUFFIX,
    LOCK_FILE,
    PIPELINE_FILE,
    Output,
    RawCollection,
    Registry,
    Stage,
    Tracked,
    Version,
    is_folder,
)
from registry_assets.registry.lineage.graph import Lineage, Node
from registry_assets.registry.status.arrivals import find_arrivals, reject_unseen
from registry_assets.registry.status.imports import behind_here
from registry_assets.registry.status.next_steps import (
    describe_link,
    describe_missing,
    describe_next_version,
)
from registry_assets.registry.status.values import (
    CollectionStatus,
    OutputStatus,
    RawState,
    RegistryStatus,
    State,
)

_MOST_LOADED_ALONE = 0.5
_METAFILES = (DVC_SUFFIX, LOCK_FILE, PIPELINE_FILE)


def read_status(
    lineage: Lineage, dvc: DvcRepo | None = None, known: KnownData | None = None
) -> RegistryStatus:
    """Compare the workspace with the metafiles; hashes only files that changed since the last time.

    Args:
        lineage: The graph.
        dvc: The repository, if it is open already.
        known: What an earlier command found out about data, as far as it still holds.
    """
    registry = lineage.registry
    dvc = dvc or DvcRepo(registry.root)
    kept = find_kept_elsewhere(registry)
    states = _read_states(lineage, dvc, kept, known)
    raw_folder = registry.raw_folder
    raw = [] if raw_folder is None else list(_collections(lineage, raw_folder, states, dvc))
    in_raw = {item.path for item in raw}
    outputs = tuple(
        _output_status(lineage, path, states, kept)
        for path, node in sorted(lineage.nodes.items())
        if node.address is not None and path not in in_raw and path in states
    )
    notes = tuple(_notes(lineage, raw))
    return RegistryStatus(str(registry.root), tuple(raw), outputs, registry.problems, notes)


def _read_states(
    lineage: Lineage, dvc: DvcRepo, kept: Mapping[str, str], known: KnownData | None
) -> Mapping[str, OutputState]:
    """Compare the outputs with their metafiles; DVC loads only what may not be up to date."""
    registry = lineage.registry
    of_address: dict[str, list[str]] = {}
    for node in lineage.nodes.values():
        if node.address is not None:
            of_address.setdefault(node.address, []).append(node.path)
    sure = set()
    if known is not None and not registry.problems:
        folders = {path: f.md5 for path, f in known.folders.items() if f.is_unchanged}
        recorded = {o.version.md5 for o in registry.outputs.values() if o.version is not None}
        lacking = recorded.intersection(folders.values()) - known.in_cache
        known = replace(known, in_cache=known.in_cache | dvc.find_whole(lacking))
        sure = {*_unchanged(lineage, folders, known.in_cache, kept)}
    unsure = [address for address in of_address if address not in sure]
    # Loading them one by one takes longer than loading all.
    if len(unsure) > len(of_address) * _MOST_LOADED_ALONE:
        return dvc.output_states(kept=kept, known=known)
    paths = (path for address in sure for path in of_address[address])
    same = {
        path: OutputState(path, is_recorded=True, is_present=True, changes=()) for path in paths
    }
    try:
        return {**same, **dvc.output_states(unsure, kept=kept, known=known)}
    except OutputNotFoundError:
        # A metafile was changed meanwhile.
        return dvc.output_states(kept=kept, known=known)


def _unchanged(
    lineage: Lineage, folders: Mapping[str, str], in_cache: Collection[str], kept: Collection[str]
) -> Iterator[str]:
    """The stages and ``.dvc`` files that are up to date, by what an earlier command found out.

    Only those whose outputs, and the outputs that they read, are folders. Others may be, too.

    Args:
        lineage: The graph.
        folders: The md5 of the folders that are certainly unchanged, by path.
        in_cache: The versions of which the cache has all objects.
        kept: The outputs that are kept on a remote only.
    """
    registry = lineage.registry

    def is_same(path: str, version: Version | None) -> bool:
        return version is not None and folders.get(path) == version.md5 and path not in kept

    def holds(output: Output) -> bool:
        version = output.version
        is_there = version is not None and version.md5 in in_cache
        is_plain = output.is_cached and not output.is_legacy
        return is_there and is_plain and is_same(output.path, version)

    of_file: dict[str, list[Tracked]] = {}
    for item in registry.tracked:
        of_file.setdefault(item.metafile, []).append(item)
    for metafile, items in of_file.items():
        if all(
            holds(item.output)
            and not item.is_edited
            and (isinstance(item, RawCollection) or item.is_frozen)
            for item in items
        ):
            yield metafile
    for stage in registry.stages:
        read = () if stage.is_frozen else stage.dependencies
        # What is no data is compared with the graph, as code.
        data = (d for d in read if d.is_external or registry.holds_data(d.path))
        if (
            not stage.always_changed
            and not lineage.code_changes[stage.address]
            and all(map(holds, stage.outputs))
            and all(is_same(each.path, each.version) for each in data)
        ):
            yield stage.address


def read_recorded_status(lineage: Lineage) -> tuple[OutputStatus, ...]:
    """The status of every output by the metafiles alone, without looking at data.

    If the workspace matches the metafiles, this is the same as `read_status`, except that
    dependencies on a part of an output, or on a folder around outputs, are not compared.
    """
    return tuple(
        _recorded_status(lineage, path)
        for path, node in sorted(lineage.nodes.items())
        if node.address is not None
    )


def read_cache_states(
    lineage: Lineage, nodes: Iterable[Node], most_hashed: int | None
) -> Mapping[str, CacheState]:
    """How the cache holds the recorded versions of outputs, of those that DVC keeps there.

    Args:
        lineage: The graph.
        nodes: The outputs.
        most_hashed: How many objects to hash in all, chosen by chance; None for all.
    """
    outputs = lineage.registry.outputs
    kept = find_kept_elsewhere(lineage.registry)
    recorded = {
        node.path: node.version.md5
        for node in nodes
        if node.version is not None
        and node.path in outputs
        and outputs[node.path].is_cached
        and node.path not in kept
    }
    return DvcRepo(lineage.registry.root).read_cache_states(recorded, most_hashed=most_hashed)


def _recorded_status(lineage: Lineage, path: str) -> OutputStatus:
    node = lineage.nodes[path]
    stage = lineage.registry.stage_of.get(path)
    why = [] if stage is None else [*lineage.code_changes[stage.address], *_moved(lineage, stage)]
    state: State = "up_to_date"
    if node.version is None:
        state, why = "never_run", ["no version is recorded"]
    elif why:
        state = "stale"
    elif behind := _behind(lineage, path):
        state, why = "behind", [behind]
    return _status_of(lineage, path, state, why)


def _moved(lineage: Lineage, stage: Stage) -> Iterator[str]:
    """Describe which dependencies of a stage changed, among those that are whole outputs."""
    if stage.always_changed:
        yield "always changed"
    if stage.is_frozen:
        return
    for dependency in stage.dependencies:
        source = lineage.nodes.get(dependency.path)
        if source is None or source.address is None or source.version is None:
            continue
        if dependency.version is None:
            yield f"{dependency.path} is new"
        elif dependency.version.md5 != source.version.md5:
            yield f"{dependency.path} is modified"


def _collections(
    lineage: Lineage, folder: str, states: Mapping[str, OutputState], dvc: DvcRepo
) -> Iterator[CollectionStatus]:
    found = []
    for path, node in lineage.nodes.items():
        if node.kind == "raw" and str(PurePosixPath(path).parent) == folder:
            version = node.version or Version("")
            found.append(
                CollectionStatus(
                    collection=PurePosixPath(path).name,
                    path=path,
                    state=_raw_state(states[path]),
                    reason=_raw_reason(states[path], PurePosixPath(path).name),
                    md5=version.md5 or None,
                    size=version.size,
                    nfiles=version.nfiles,
                )
            )
    for arrival in reject_unseen(dvc, find_arrivals(lineage.registry.root / folder)):
        path = f"{folder}/{arrival.path.name}"
        reason = arrival.reason
        if reason is None and arrival.path.is_dir():
            reason = dvc.find_left_out(path)
        state: RawState = "new" if reason is None else "rejected"
        state = "loose" if arrival.is_loose else state
        found.append(CollectionStatus(arrival.name, path, state, reason))
    yield from sorted(found, key=lambda item: item.collection)


def _notes(lineage: Lineage, raw: Iterable[CollectionStatus]) -> Iterator[str]:
    """Suggest next steps that are not needed to be up to date.

    Nothing is left out, as a status is kept for later commands.
    """
    datasets = [dataset.name for dataset in lineage.registry.datasets if dataset.inputs is not None]
    left = [
        item.collection
        for item in raw
        if item.md5 is not None and is_folder(item.md5) and not lineage.downstream_of.get(item.path)
    ]
    lacking = find_kept_out(GitRepo(lineage.registry.root)).lacking
    kept_out = [path for path in lacking if path.endswith(_METAFILES)]
    if kept_out:
        yield (
            f"outside the sparse checkout: {', '.join(kept_out)} (see `git sparse-checkout list`)"
        )
    # The missing metafiles may declare a data set.
    if datasets and left and not kept_out:
        name = left[0] if len(left) == 1 else "NAME"
        dataset = datasets[0] if len(datasets) == 1 else "DATASET"
        takes = f"`registry import {name} --into {dataset}` takes {'it' if name in left else 'one'}"
        yield f"in no data set: {', '.join(left)}; {takes} in"


def _raw_state(state: OutputState) -> RawState:
    if not state.is_present:
        return "missing"
    return "modified" if state.changes else "tracked"


def _raw_reason(state: OutputState, name: str) -> str | None:
    if state.link is not None:
        return describe_link(state.path, state.link)
    if not state.is_present:
        return describe_missing(state.path)
    if not state.changes:
        return None
    if state.elsewhere is not None:
        return state.elsewhere
    if state.changes == (f"{state.path} is not in cache",):
        return (
            f"the cache lacks part of it: `dvc fetch {state.path}` fetches that, `registry add "
            f"{name}` stores what is in the workspace"
        )
    return describe_next_version(name)


def _output_status(
    lineage: Lineage, path: str, states: Mapping[str, OutputState], kept: Collection[str]
) -> OutputStatus:
    found = states[path]
    why = list(found.changes)
    state: State = "up_to_date"
    if not found.is_recorded:
        state, why = "never_run", why or ["no version is recorded"]
    elif not found.is_present:
        state = "missing"
    elif why:
        state = "stale"
    elif behind := _behind(lineage, path):
        state, why = "behind", [behind]
    elif path in kept:
        why = [f"it is kept on the remote: `dvc pull {path}` brings it here"]
    return _status_of(lineage, path, state, why)


def find_kept_elsewhere(registry: Registry) -> Mapping[str, str]:
    """The recorded md5 of the outputs that workers leave on the remote, by path.

    An output that is in the workspace, as somebody has pulled it, is not among them.
    """
    workers = registry.settings.workers
    if workers is None or workers.keep != "remote":
        return {}
    return {
        output.path: output.version.md5
        for stage in registry.stages
        if workers.resources_for(stage.address) is not None
        for output in stage.outputs
        if output.is_cached and output.version and not (registry.root / output.path).exists()
    }


def _status_of(lineage: Lineage, path: str, state: State, why: Iterable[str]) -> OutputStatus:
    node = lineage.nodes[path]
    return OutputStatus(
        path=path,
        asset="/".join(node.key or ()),
        partition=node.partition,
        state=state,
        why=tuple(why),
        md5=node.version.md5 if node.version else None,
    )


def _behind(lineage: Lineage, path: str) -> str | None:
    """Why an import from this repository is behind its source; None when it is not."""
    imported = lineage.registry.import_of.get(path)
    return behind_here(lineage.registry, imported) if imported else None
