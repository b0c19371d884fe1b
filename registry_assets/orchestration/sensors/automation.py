"""Declarative automation for the assets of data sets.

Plain `AutomationCondition.eager()` would take every collection into every data set, as a partition
that was never materialized counts as missing. So a partition is materialized automatically only if
its data set has taken the collection in. The workspace tells this, not Dagster, whose event log
also has collections that were taken out again.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path

from dagster import (
    AssetKey,
    AssetSelection,
    AutomationCondition,
    AutomationConditionSensorDefinition,
    AutomationContext,
    AutomationResult,
    BetaWarning,
    DefaultSensorStatus,
    RunsFilter,
)

from registry_assets.model import metafile_of
from registry_assets.orchestration.history.event_log import AT_WORK, asset_key, still_at_work
from registry_assets.orchestration.internals import record
from registry_assets.orchestration.names import FOLLOW_SENSOR_NAME, own_name
from registry_assets.registry.lineage.graph import AssetGroup, Lineage
from registry_assets.registry.lineage.taking_in import dataset_with_inputs
from registry_assets.registry.translator import COLLECTIONS

BRING_JOB = "bring_up_to_date"

_INTERVAL_SECONDS = 30


@record
class IsTakenIn(AutomationCondition[AssetKey]):
    """True for the collections that a data set has taken in.

    Attributes:
        inputs: The folder of the imports of the data set.
    """

    inputs: str

    @property
    def name(self) -> str:
        """The name of the condition in the UI."""
        return "is_taken_in"

    def evaluate(self, context: AutomationContext[AssetKey]) -> AutomationResult[AssetKey]:
        """Keeps the partitions that have a ``.dvc`` file in the folder."""
        candidates = context.candidate_subset
        keys = candidates.expensively_compute_partition_keys()
        taken_in = {key for key in keys if (Path(self.inputs) / metafile_of(key)).exists()}
        return AutomationResult(
            context, candidates.compute_intersection_with_partition_keys(taken_in)
        )


@record
class NothingInBulk(AutomationCondition[AssetKey]):
    """True while no run of the job that brings assets up to date is going on.

    A run that ended without saying so does not hold others for more than some hours.

    Attributes:
        job: The name of that job.
    """

    job: str

    @property
    def name(self) -> str:
        """The name of the condition in the UI."""
        return "nothing_in_bulk"

    def evaluate(self, context: AutomationContext[AssetKey]) -> AutomationResult[AssetKey]:
        """Keeps all candidates or none."""
        running = context.asset_graph_view.instance.get_runs_count(
            RunsFilter(job_name=self.job, statuses=AT_WORK, created_after=still_at_work())
        )
        return AutomationResult(
            context, context.get_empty_subset() if running else context.candidate_subset
        )


def build_condition(lineage: Lineage, group: AssetGroup) -> AutomationCondition[AssetKey] | None:
    """Builds the automation condition of a group; None if it is never materialized automatically.

    The assets of a data set follow upstream changes, unless it is manual: imports from this
    repository follow new versions of raw data, and stages follow their inputs. A stage over a whole
    family does not wait for collections that were never taken in.
    """
    dataset = dataset_with_inputs(lineage.registry, group)
    if dataset is None or dataset.take_in.is_manual:
        return None
    condition = AutomationCondition.eager()
    nothing_in_bulk = NothingInBulk(job=own_name(lineage.registry, BRING_JOB))
    if group.kind == "import":
        here = [asset_key(u.key) for u in group.upstream if u.key not in lineage.sources]
        if not here:
            return None
        condition = condition.allow(AssetSelection.assets(*here))
    if group.partitions is None:
        return condition.without(~AutomationCondition.any_deps_missing()) & nothing_in_bulk
    if group.partitions != COLLECTIONS:
        return None
    inputs = str(lineage.registry.root / str(dataset.inputs))
    return condition & IsTakenIn(inputs=inputs) & nothing_in_bulk


def build_follow_sensor(
    lineage: Lineage, *, skip: Sequence[AssetKey] = ()
) -> AutomationConditionSensorDefinition | None:
    """Builds the sensor that evaluates automation conditions; None if no asset has one.

    Args:
        lineage: The graph.
        skip: Asset keys to leave out, as other code defines them.
    """
    keys = [
        asset_key(output.key)
        for group in lineage.groups
        if build_condition(lineage, group) is not None
        and not any(asset_key(output.key) in skip for output in group.outputs)
        for output in group.outputs
    ]
    if not keys:
        return None
    with warnings.catch_warnings():
        # The warning about `use_user_code_server` is of no use to somebody who runs a command.
        warnings.simplefilter("ignore", BetaWarning)
        return AutomationConditionSensorDefinition(
            own_name(lineage.registry, FOLLOW_SENSOR_NAME),
            target=AssetSelection.assets(*keys),
            default_status=DefaultSensorStatus.RUNNING,
            minimum_interval_seconds=_INTERVAL_SECONDS,
            # One run per collection, since a run gives all its partitions the same data version.
            emit_backfills=False,
            # Only the code server can load our own conditions.
            use_user_code_server=True,
            description="Materializes imports and stages when their upstream data changes, in "
            "data sets that are not manual; takes in no collections.",
        )
