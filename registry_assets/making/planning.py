"""Which units to make for a request, and in which order."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from registry_assets.dvc_repo import DvcRepo, Edit
from registry_assets.errors import LinksLeadNowhereError
from registry_assets.making.progress import describe_step
from registry_assets.making.unit import Unit
from registry_assets.model import check_collection_name
from registry_assets.registry.lineage.graph import AssetGroup, Lineage
from registry_assets.registry.lineage.taking_in import dataset_with_inputs, is_taken_in
from registry_assets.registry.status.values import RegistryStatus
from registry_assets.registry.translator import COLLECTIONS, Key


def plan_units(
    lineage: Lineage, selected: Collection[Key], collections: Sequence[str] = ()
) -> list[Unit]:
    """Plans the units of assets, upstream before downstream.

    A group is planned whole, even if only some of its assets are selected.

    Args:
        lineage: The graph.
        selected: The assets.
        collections: Collections to take all the way, also into data sets that lack them if their
            `take_in` wants them (default: the collections that each data set has).

    Raises:
        RefusedError: when a name cannot be the name of a collection.
    """
    collections = [check_collection_name(name) for name in dict.fromkeys(collections)]
    units = []
    for group in lineage.groups_in_order():
        if not any(output.key in selected for output in group.outputs):
            continue
        if group.partitions is None:
            units.append(Unit(group))
            continue
        is_given = bool(collections) and group.partitions == COLLECTIONS
        names = collections if is_given else lineage.partition_keys.get(group.partitions, ())
        units += [
            Unit(group, name)
            for name in names
            if name in group.addresses or (is_given and _wants(lineage, group, name))
        ]
    return units


def _wants(lineage: Lineage, group: AssetGroup, name: str) -> bool:
    """Whether the data set of a group takes in a collection, or has taken it in already."""
    dataset = dataset_with_inputs(lineage.registry, group)
    return (
        dataset is None
        or dataset.take_in.wants(name)
        or is_taken_in(lineage.registry, dataset, name)
    )


def units_of(lineage: Lineage, paths: Iterable[str]) -> list[Unit]:
    """The units that make some outputs, each once, upstream before downstream.

    Raises:
        OutputNotFoundError: when no metafile declares one of them.
    """
    wanted: dict[str, dict[str | None, None]] = {}
    for path in paths:
        node = lineage.node(path)
        assert node.key is not None, f"{path} has no asset"
        wanted.setdefault(lineage.group_of[node.key].name, {})[node.partition] = None
    return [
        Unit(group, partition)
        for group in lineage.groups_in_order()
        for partition in wanted.get(group.name, ())
    ]


@dataclass(frozen=True)
class Plan:
    """The units to make for a request.

    Attributes:
        units: The units, upstream before downstream.
        edited: Raw data that was edited and is left for a person to record, by path.
    """

    units: tuple[Unit, ...]
    edited: Mapping[str, Edit]


def plan_bringing(
    lineage: Lineage,
    dvc: DvcRepo,
    status: RegistryStatus,
    selected: Collection[Key] | None = None,
    collections: Sequence[str] = (),
    *,
    force: bool = False,
) -> Plan:
    """Plans the units that bring assets up to date.

    With `modified = "leave"`, edited raw data is planned only if the request names it, by a
    selection or as a collection.

    Args:
        lineage: The graph.
        dvc: The repository.
        status: The status of the registry.
        selected: The assets (default: all).
        collections: Collections to take all the way.
        force: Whether to run commands even though nothing changed.
    """
    wanted = lineage.output_of if selected is None else selected
    units = plan_units(lineage, wanted, collections)
    leaves = lineage.registry.settings.modified == "leave" and selected is None
    edits = _find_edits(lineage, dvc, status) if leaves else {}
    edited = {p: edit for p, edit in edits.items() if lineage.nodes[p].partition not in collections}
    blocked = _find_blocked(lineage, edited)
    if not force:
        units = only_stale(units, lineage, status, blocked)
    return Plan(tuple(unit for unit in units if blocked.isdisjoint(unit.paths)), edited)


def describe_edit(lineage: Lineage, path: str, edit: Edit) -> str:
    """The message about an edit that is left for a person to record, with the next step."""
    node = lineage.nodes[path]
    folder, _, name = path.rpartition("/")
    is_collection = folder == lineage.registry.raw_folder
    keep = f"`registry add {name}`" if is_collection else f"`dvc commit {node.address}`"
    said = describe_step("left", path, edit.summary or "it was edited")
    return f"{said}: {keep} records it, `dvc checkout --force {node.address}` drops the edit"


def _find_edits(lineage: Lineage, dvc: DvcRepo, status: RegistryStatus) -> dict[str, Edit]:
    """Raw data whose content differs from what its metafile records, by path."""
    suspects = [item.path for item in status.raw if item.state == "modified"]
    suspects += [item.path for item in status.outputs if item.state == "stale"]
    found = {}
    for path in suspects:
        node = lineage.nodes[path]
        if node.kind == "raw" and node.address is not None:
            try:
                edit = dvc.find_edit(node.address, path)
            except LinksLeadNowhereError:
                # No edit: making it says what is to be done.
                continue
            if edit is not None and edit.is_changed:
                found[path] = edit
    return found


def _find_blocked(lineage: Lineage, edited: Collection[str]) -> frozenset[str]:
    """Outputs that wait until edits are recorded: the edited data, and stages that read it.

    An import reads the recorded version, so it does not wait.
    """
    return frozenset(lineage.with_all_downstream(edited, only="stage"))


def stale_keys(
    lineage: Lineage, status: RegistryStatus, blocked: Collection[str] = ()
) -> frozenset[tuple[Key, str | None]]:
    """The assets and partitions that are not up to date, and all downstream of them.

    Args:
        lineage: The graph.
        status: The status of the registry.
        blocked: Outputs that will not be made, so that nothing downstream changes because of them.
    """
    stale = {
        output.path
        for output in status.outputs
        if output.state != "up_to_date"
        and (output.state != "behind" or _is_updated_by_default(lineage, output.path))
    }
    stale |= {item.path for item in status.raw if item.state in ("new", "modified", "missing")}
    stale = lineage.with_all_downstream(stale - set(blocked))
    nodes = (lineage.nodes[path] for path in stale if path in lineage.nodes)
    return frozenset((node.key, node.partition) for node in nodes if node.key is not None)


def _is_updated_by_default(lineage: Lineage, path: str) -> bool:
    """Whether materializing an import updates it; others are updated only on request."""
    imported = lineage.registry.import_of.get(path)
    return imported is not None and imported.repository is None


def only_stale(
    units: Iterable[Unit], lineage: Lineage, status: RegistryStatus, blocked: Collection[str] = ()
) -> list[Unit]:
    """The units that are not up to date, or were never made."""
    stale = stale_keys(lineage, status, blocked)
    return [
        unit
        for unit in units
        if unit.partition not in unit.group.addresses
        or any((key, unit.partition) in stale for key in unit.keys)
    ]
