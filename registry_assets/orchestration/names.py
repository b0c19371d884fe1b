"""Names that tell the definitions of one registry from another's in the same Dagster.

Jobs, sensors and resources are named once in a code location, and dynamic partitions once in an
instance, so each begins with the registry's name.
"""

from dagster import DynamicPartitionsDefinition

from registry_assets.model import Registry
from registry_assets.registry.lineage.graph import AssetGroup
from registry_assets.registry.translator import COLLECTIONS


def own_name(registry: Registry, name: str) -> str:
    """What a definition of a registry is called in Dagster: `harbour__bring_up_to_date`."""
    return f"{registry.name}__{name}"


def collections_definition(registry: Registry) -> DynamicPartitionsDefinition:
    """The partitions that all families keyed by collection share."""
    return DynamicPartitionsDefinition(name=own_name(registry, COLLECTIONS))


def partitions_definition(
    registry: Registry, group: AssetGroup
) -> DynamicPartitionsDefinition | None:
    """The partitions of a group's assets."""
    if group.partitions is None:
        return None
    return DynamicPartitionsDefinition(name=own_name(registry, group.partitions))
