"""Names of Dagster definitions that are unique to a registry.

Names of jobs, sensors and resources are unique in a code location, and names of dynamic partitions
in an instance. So each begins with the registry's name.
"""

from dagster import DynamicPartitionsDefinition

from registry_assets.model import Registry
from registry_assets.registry.lineage.graph import AssetGroup
from registry_assets.registry.translator import COLLECTIONS

ARRIVAL_SENSOR_NAME = "new_raw_collections"
EDIT_SENSOR_NAME = "modified_raw_collections"
CHANGE_SENSOR_NAME = "outside_changes"
IMPORT_SENSOR_NAME = "import_sources"
FOLLOW_SENSOR_NAME = "follow_changes"
CACHE_SCHEDULE = "check_cache_every_night"

SCHEDULED = (
    *(ARRIVAL_SENSOR_NAME, EDIT_SENSOR_NAME, CHANGE_SENSOR_NAME),
    *(IMPORT_SENSOR_NAME, FOLLOW_SENSOR_NAME, CACHE_SCHEDULE),
)
"""The sensors and schedules of a registry; version 0.1.0 has them under these names alone."""


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
