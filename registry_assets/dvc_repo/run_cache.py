"""DVC's run cache, independent of the working directory, and asked without hashing again.

Entries lie in ``runs/`` in the cache: in a folder named after the SHA-256 of a stage's command,
dependencies, parameters and the paths of its outputs, a file named after the SHA-256 of all that
and the versions of the outputs (`dvc.stage.cache`, DVC 3).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dvc.dvcfile import PROJECT_FILE
from dvc.schema import COMPILED_LOCK_FILE_STAGE_SCHEMA
from dvc.stage import PipelineStage, create_stage
from dvc.stage.cache import StageCache, _get_cache_hash
from dvc.stage.loader import StageLoader
from dvc.stage.serialize import to_single_stage_lockfile
from dvc.utils.serialize import dumps_yaml

from registry_assets.dvc_repo.folders.comparing import is_in_cache
from registry_assets.dvc_repo.processes import name_of_mine

if TYPE_CHECKING:
    from dvc.repo import Repo


class RootedStageCache(StageCache):  # type: ignore[misc]
    """The run cache with its throw-away stages placed at the root of the repository.

    DVC places them in the working directory, and refuses when that lies outside the repository,
    where Dagster's processes may well have been started. DVC also hashes the dependencies of a
    stage anew for each question; here the hashes count that `Stage.save_deps` found.
    """

    repo: Repo

    def knows(self, stage: PipelineStage) -> bool:
        """Whether there is an answer to a stage whose dependencies were hashed, in the cache."""
        return self._answer(stage) is not None

    def take(self, stage: PipelineStage) -> bool:
        """Links the outputs that are known for a stage whose dependencies were hashed.

        Returns:
            Whether there are any.
        """
        answer = self._answer(stage)
        if answer is None:
            return False
        answer.checkout()
        return True

    def save(self, stage: PipelineStage) -> None:
        """Remembers the outputs of a stage whose dependencies and outputs were hashed."""
        if not _is_fit(stage):
            return
        entry = to_single_stage_lockfile(stage)
        key, value = _key_of(stage), _get_cache_hash(entry)
        known = self._load_cache(key, value)
        for out in self._uncached_outs(stage, known or entry):
            out.commit()
        if known:
            return
        COMPILED_LOCK_FILE_STAGE_SCHEMA(entry)
        place = Path(self._get_cache_path(key, value))
        self.repo.cache.legacy.makedirs(str(place.parent))
        fresh = place.with_name(f"{name_of_mine()}.tmp")
        fresh.write_text(dumps_yaml(entry), encoding="utf-8")
        self.repo.cache.legacy.move(str(fresh), str(place))

    def _answer(self, stage: PipelineStage) -> PipelineStage | None:
        entry = self._load(stage) if _is_fit(stage) else None
        if not entry:
            return None
        answer = self._create_stage(entry, wdir=stage.wdir)
        are_there = (
            is_in_cache(out) if out.use_cache else not out.changed() for out in answer.outs
        )
        return answer if all(are_there) else None

    def _load(self, stage: PipelineStage) -> Any:
        """The newest entry for a stage, None where there is none."""
        key = _key_of(stage)
        try:
            entries = list(Path(self._get_cache_dir(key)).iterdir())
        except FileNotFoundError:
            return None
        newest = max(entries, key=lambda place: place.stat().st_mtime, default=None)
        return self._load_cache(key, newest.name) if newest is not None else None

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


def _key_of(stage: PipelineStage) -> str:
    return str(_get_cache_hash(to_single_stage_lockfile(stage), key=True))


def _is_fit(stage: PipelineStage) -> bool:
    """DVC's own conditions (`dvc.stage.cache._can_hash`), without hashing."""
    if stage.is_callback or stage.always_changed or not (stage.cmd and stage.deps and stage.outs):
        return False
    return all(
        dep.protocol == "local" and dep.def_path and dep.hash_info for dep in stage.deps
    ) and all(
        out.protocol == "local" and out.def_path and not out.persist and out.is_in_repo
        for out in stage.outs
    )
