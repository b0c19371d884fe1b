"""The job that does `registry publish` from the UI.

Dagster reads annotations at run time, so they are not postponed here.
"""

from dagster import (
    Config,
    JobDefinition,
    MetadataValue,
    OpExecutionContext,
    in_process_executor,
    job,
    op,
)
from pydantic import Field

from registry_assets.curation.left_out import describe_totals
from registry_assets.model import Registry
from registry_assets.orchestration.names import own_name
from registry_assets.registry.lineage.building import build_lineage
from registry_assets.registry.reading import read_registry
from registry_assets.registry.translator import RegistryTranslator
from registry_assets.revisions.publishing.planning import plan_publication
from registry_assets.revisions.publishing.publication import (
    Nothing,
    Published,
    describe_pull_request,
)
from registry_assets.revisions.publishing.pushing import publish, publish_data

PUBLISH_JOB = "publish"
PUBLISH_OP = "publish_metafiles"


class PublishConfig(Config):
    """Options for publishing; the launchpad leaves out defaults that are null."""

    branch: str | None = Field(
        default="", description="Branch name (default: derived from its content)."
    )
    message: str | None = Field(
        default="", description="Subject of the commit (default: derived from its content)."
    )
    dry_run: bool = Field(default=False, description="Only show what would be published.")


def build_publish_job(registry: Registry, translator: RegistryTranslator) -> JobDefinition:
    """Builds the job that publishes what `registry publish` publishes."""

    @op(
        name=own_name(registry, PUBLISH_OP),
        description="Pushes data and verifies that it arrived, then pushes the metafiles on a new "
        "branch and opens a pull request.",
    )
    def publish_metafiles(context: OpExecutionContext, config: PublishConfig) -> None:
        root = registry.root
        plan = plan_publication(
            build_lineage(read_registry(root), translator),
            branch=config.branch or None,
            title=config.message or None,
            run_id=context.run_id,
            count_pictures=describe_totals,
        )
        if isinstance(plan, Nothing):
            if not config.dry_run:
                plan = publish_data(plan, root, context.log.info)
            context.log.info(plan.reason)
            context.add_output_metadata({"outcome": plan.reason})
            return
        for warning in plan.warnings:
            context.log.warning(warning)
        context.log.info(f"{plan.title}\n\n{plan.description}")
        metadata: dict[str, MetadataValue] = {
            "branch": MetadataValue.text(plan.branch),
            "title": MetadataValue.text(plan.title),
            "description": MetadataValue.md(plan.description),
        }
        if config.dry_run:
            context.add_output_metadata({"outcome": "planned", **metadata})
            return
        done = publish(plan, root, context.log.info)
        context.add_output_metadata({"outcome": "published", **metadata, **_published(done)})
        said = describe_pull_request(done.pull_request)
        if said:
            context.log.info(said)

    @job(
        name=own_name(registry, PUBLISH_JOB),
        executor_def=in_process_executor,
        description="Publishes the metafiles as they are: pushes their data to the DVC remote, "
        "then a new branch to the Git remote, with a pull request. The work tree does not change.",
    )
    def publish_job() -> None:
        publish_metafiles.alias(PUBLISH_OP)()

    return publish_job


def _published(done: Published) -> dict[str, MetadataValue]:
    request = done.pull_request
    found: dict[str, MetadataValue] = {
        "commit": MetadataValue.text(done.commit),
        "data/objects": MetadataValue.int(done.data.objects),
        "data/pushed": MetadataValue.int(done.data.pushed),
    }
    if request.url:
        found["pull_request"] = MetadataValue.url(request.url)
    return found
