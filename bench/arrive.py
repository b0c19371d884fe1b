"""What happens when a folder has arrived: a tick of the sensor, and the run that it asks for.

In one process; Dagster's daemon has another start for the run. Works on the registry that it is
started in.
"""

import sys
from pathlib import Path

from dagster import SensorResult, build_sensor_context

from registry_assets import read_registry
from registry_assets.definitions import defs
from registry_assets.orchestration.history.opening import open_history
from registry_assets.orchestration.names import ARRIVAL_SENSOR_NAME, own_name
from registry_assets.orchestration.sensors.folders import TAKE_IN_JOB

if __name__ == "__main__":
    registry = read_registry(Path.cwd())
    with open_history(Path.cwd()) as instance:
        context = build_sensor_context(
            instance=instance, definitions=defs, sensor_name=own_name(registry, ARRIVAL_SENSOR_NAME)
        )
        result = defs.resolve_sensor_def(own_name(registry, ARRIVAL_SENSOR_NAME))(context)
        assert isinstance(result, SensorResult)
        (request,) = result.run_requests or ()
        assert request.partition_key is not None
        assert request.asset_selection is not None
        instance.add_dynamic_partitions(own_name(registry, "collections"), [request.partition_key])
        job = defs.resolve_job_def(own_name(registry, TAKE_IN_JOB)).get_subset(
            asset_selection=set(request.asset_selection), asset_check_selection=set()
        )
        done = job.execute_in_process(instance=instance, partition_key=request.partition_key)
        sys.exit(0 if done.success else 1)
