"""Names of Dagster definitions that are unique to a registry.

Names of jobs, sensors and resources are unique in a code location, and names of dynamic partitions
in an instance. So each begins with the registry's name.
"""

from dagster import DynamicPartitionsDefinition

from registry_assets.model import Registry
from registry_assets.registry.lineage.graph import AssetGroup
from registry_assets.registry.translator import COLLECTIONS


def own_name(registry: Registry, name: str) -> str:
    """The name of a definition of a registry in Dagster: `harbour__bring_up_to_date`."""
    return f"{registry.name}__{name}"


def collections_definition(registry: Registry) -> DynamicPartitionsDefinition:
    """The partitions with collections as keys."""
    return DynamicPartitionsDefinition(name=own_name(registry, COLLECTIONS))


def partitions_definition(
    registry: Registry, group: AssetGroup
) -> DynamicPartitionsDefinition | None:
    """The partitions of a group's assets."""
    if group.partitions is None:
        return None
    return DynamicPartitionsDefinition(name=own_name(registry, group.partitions))
