"""DVC's run cache, independent of the working directory, and asked without hashing again.

Entries lie in ``runs/`` in the cache: in a folder named after the SHA-256 of a stage's command,
dependencies, parameters and the paths of its outputs, a file named after the SHA-256 of all that
and the versions of the outputs (`dvc.stage.cache`, DVC 3).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dvc.dvcfile import PROJECT_FILE
from dvc.schema import COMPILED_LOCK_FILE_STAGE_SCHEMA as _SCHEMA
from dvc.stage import PipelineStage, create_stage
from dvc.stage.loader import StageLoader
from dvc.stage.serialize import to_single_stage_lockfile
from dvc.utils import dict_sha256
from dvc.utils.serialize import YAMLFileCorruptedError, dumps_yaml, load_yaml
from dvc.utils.strictyaml import YAMLValidationError, validate
from dvc_data.hashfile.meta import Meta

from registry_assets.dvc_repo.folders.comparing import is_in_cache
from registry_assets.dvc_repo.processes import name_of_mine

if TYPE_CHECKING:
    from dvc.repo import Repo


class RunCache:
    """The run cache of a repository, with its throw-away stages placed at the root of that.

    DVC places them in the working directory, and refuses when that lies outside the repository,
    where Dagster's processes may well have been started. DVC also hashes the dependencies of a
    stage anew for each question; here the hashes count that `Stage.save_deps` found.
    """

    def __init__(self, repo: Repo) -> None:
        self.repo = repo
        self.folder = Path(repo.stage_cache.cache_dir)

    def knows(self, stage: PipelineStage) -> bool:
        """Whether there is an answer to a stage whose dependencies were hashed, in the cache."""
        return self._answer(stage, self._newest(stage)) is not None

    def take(self, stage: PipelineStage) -> bool:
        """Links the outputs that are known for a stage whose dependencies were hashed.

        Returns:
            Whether there are any.
        """
        return _check_out(self._answer(stage, self._newest(stage)))

    def restore(self, stage: PipelineStage) -> bool:
        """Links the outputs that are recorded of a stage whose inputs are as recorded.

        Returns:
            Whether they are in the cache.
        """
        recorded = to_single_stage_lockfile(stage) if _is_fit(stage) else None
        return _check_out(self._answer(stage, recorded))

    def save(self, stage: PipelineStage) -> None:
        """Remembers the outputs of a stage whose dependencies and outputs were hashed."""
        if not _is_fit(stage):
            return
        entry = to_single_stage_lockfile(stage)
        place = self._folder_of(stage) / _hash(entry)
        known = _load(place)
        uncached = {out.def_path for out in stage.outs if not out.use_cache}
        with _as_copies(self.repo):
            for out in self._stage_of(known or entry, stage.wdir).outs:
                if out.def_path in uncached:
                    out.commit()
        if known:
            return
        validate(entry, _SCHEMA)
        self.repo.cache.legacy.makedirs(str(place.parent))
        fresh = place.with_name(f"{name_of_mine()}.tmp")
        fresh.write_text(dumps_yaml(entry), encoding="utf-8")
        self.repo.cache.legacy.move(str(fresh), str(place))

    def _newest(self, stage: PipelineStage) -> Mapping[str, Any] | None:
        """The newest entry for a stage, None where there is none."""
        try:
            entries = list(self._folder_of(stage).iterdir()) if _is_fit(stage) else []
        except FileNotFoundError:
            return None
        newest = max(entries, key=lambda place: place.stat().st_mtime, default=None)
        return _load(newest) if newest is not None else None

    def _answer(
        self, stage: PipelineStage, entry: Mapping[str, Any] | None
    ) -> PipelineStage | None:
        """A stage with the outputs of an entry, None where they are not all in the cache."""
        if not entry:
            return None
        answer = self._stage_of(entry, stage.wdir)
        return answer if all(is_in_cache(out) for out in answer.outs) else None

    def _folder_of(self, stage: PipelineStage) -> Path:
        entry = to_single_stage_lockfile(stage)
        key = _hash({**entry, "outs": [out["path"] for out in entry.get("outs", [])]})
        return self.folder / key[:2] / key

    def _stage_of(self, entry: Mapping[str, Any], wdir: str) -> PipelineStage:
        """A throw-away stage, of whose outputs all are kept in the cache."""
        stage = create_stage(
            PipelineStage,
            repo=self.repo,
            path=str(Path(self.repo.root_dir) / PROJECT_FILE),
            cmd=entry["cmd"],
            wdir=wdir,
            outs=[out["path"] for out in entry["outs"]],
        )
        StageLoader.fill_from_lock(stage, entry)
        return stage


def _check_out(answer: PipelineStage | None) -> bool:
    if answer is not None:
        answer.checkout()
    return answer is not None


def _load(place: Path) -> Mapping[str, Any] | None:
    """An entry, None where there is none; one that is broken is removed, as DVC does."""
    try:
        entry: Mapping[str, Any] = validate(load_yaml(str(place)), _SCHEMA)
    except FileNotFoundError:
        return None
    except (YAMLFileCorruptedError, YAMLValidationError):
        place.unlink(missing_ok=True)
        return None
    return entry


def _hash(entry: Mapping[str, Any]) -> str:
    return str(dict_sha256(entry, exclude=[Meta.PARAM_SIZE, Meta.PARAM_NFILES]))


@contextmanager
def _as_copies(repo: Repo) -> Iterator[None]:
    """While outputs are committed that Git keeps: they stay files of their own."""
    caches = (repo.cache.local, repo.cache.legacy)
    before = [cache.cache_types for cache in caches]
    try:
        for cache in caches:
            cache.cache_types = ["copy"]
        yield
    finally:
        for cache, types in zip(caches, before, strict=True):
            cache.cache_types = types


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
