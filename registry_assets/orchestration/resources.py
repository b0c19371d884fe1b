"""Typed configuration at Dagster's edge.

Dagster reads annotations at run time, so this module, like the others that define assets, does
without postponed ones.
"""

from pathlib import Path

from dagster import Config, ConfigurableResource
from pydantic import Field

from registry_assets.dvc_repo import DvcRepo


class DvcRepoResource(ConfigurableResource[DvcRepo]):
    """The DVC repository that assets are materialized in."""

    root: str = Field(description="The root of the repository.")
    wait_seconds: float = Field(
        default=3600.0, description="How long to wait for a lock that somebody else holds."
    )

    def dvc(self) -> DvcRepo:
        """The repository, not opened yet."""
        return DvcRepo(Path(self.root), wait_seconds=self.wait_seconds)


class MaterializeConfig(Config):
    """What can be said at the launch of a run."""

    force: bool = Field(
        default=False, description="Run the command even though nothing changed since dvc.lock."
    )
    update: bool = Field(
        default=False,
        description="Move an import from elsewhere on to what its source has now, as `dvc update` "
        "does; otherwise it is restored as it was taken.",
    )
