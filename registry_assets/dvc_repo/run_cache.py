"""DVC's run cache, independent of the working directory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dvc.dvcfile import PROJECT_FILE
from dvc.stage import PipelineStage, create_stage
from dvc.stage.cache import StageCache
from dvc.stage.loader import StageLoader

if TYPE_CHECKING:
    from dvc.repo import Repo


class RootedStageCache(StageCache):  # type: ignore[misc]
    """The run cache with its throw-away stages placed at the root of the repository.

    DVC places them in the working directory, and refuses when that lies outside the repository,
    where Dagster's processes may well have been started.
    """

    repo: Repo

    def _create_stage(self, cache: dict[str, Any], wdir: str | None = None) -> PipelineStage:
        root = Path(self.repo.root_dir)
        stage = create_stage(
            PipelineStage,
            repo=self.repo,
            path=str(root / PROJECT_FILE),
            cmd=cache["cmd"],
            wdir=wdir or str(root),
            outs=[out["path"] for out in cache["outs"]],
        )
        StageLoader.fill_from_lock(stage, cache)
        return stage
