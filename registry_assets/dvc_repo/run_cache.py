"""DVC's run cache, independent of the working directory and without hashing again.

Entries are files in ``runs/`` in the cache. The folder of an entry is the SHA-256 of a stage's
command, dependencies, parameters and output paths, its name the SHA-256 of these and the versions
of the outputs (`dvc.stage.cache`, DVC 3).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from dvc.dvcfile import PROJECT_FILE
from dvc.schema import COMPILED_LOCK_FILE_STAGE_SCHEMA as _SCHEMA
from dvc.stage import PipelineStage, create_stage
from dvc.stage.loader import StageLoader
from dvc.stage.serialize import to_single_stage_lockfile
from dvc.utils import dict_sha256
from dvc.utils.serialize import YAMLFileCorruptedError, load_yaml
from dvc.utils.strictyaml import YAMLValidationError, validate
from dvc_data.hashfile.meta import Meta

from registry_assets.dvc_repo.folders.comparing import is_in_cache
from registry_assets.dvc_repo.folders.linking import link_folder
from registry_assets.dvc_repo.folders.links import NotPlainError
from registry_assets.dvc_repo.plain_yaml import dumps
from registry_assets.dvc_repo.processes import name_of_mine
from registry_assets.dvc_repo.recorded_names import find_problem

if TYPE_CHECKING:
    from dvc.repo import Repo


class RunCache:
    """The run cache of a repository.

    DVC makes its temporary stages in the working directory, and fails if that is outside the
    repository, as it may be for a Dagster process; here they are made in the root. DVC also hashes
    the dependencies again for each look-up; here the hashes from `Stage.save_deps` are used.
    """

    def __init__(self, repo: Repo) -> None:
        self.repo = repo
        self.folder = Path(repo.stage_cache.cache_dir)

    def knows(self, stage: PipelineStage) -> bool:
        """Whether the cache has outputs for a stage whose dependencies were hashed."""
        return self.find(stage) is not None

    def take(self, stage: PipelineStage) -> bool:
        """Links cached outputs for a stage whose dependencies were hashed; False if none."""
        return _check_out(self._answer(stage, self._newest(stage)))

    def restore(self, stage: PipelineStage) -> bool:
        """Links the recorded outputs of an unchanged stage; False if the cache lacks them."""
        recorded = to_single_stage_lockfile(stage) if _is_fit(stage) else None
        return _check_out(self._answer(stage, recorded))

    def save(self, stage: PipelineStage) -> None:
        """Saves a stage whose dependencies and outputs were hashed."""
        if not _is_fit(stage):
            return
        entry = to_single_stage_lockfile(stage)
        place = self._folder_of(stage) / name_of(entry)
        known = _load(place)
        self.keep_uncached(stage, known or entry)
        if known:
            return
        validate(entry, _SCHEMA)
        self.repo.cache.legacy.makedirs(str(place.parent))
        fresh = place.with_name(f"{name_of_mine()}.tmp")
        fresh.write_text(dumps(entry), encoding="utf-8")
        self.repo.cache.legacy.move(str(fresh), str(place))

    def keep_uncached(self, stage: PipelineStage, entry: Mapping[str, Any]) -> None:
        """Copies the outputs of a stage that are declared ``cache: false`` into the cache."""
        uncached = {out.def_path for out in stage.outs if not out.use_cache}
        if not uncached:
            return
        with _as_copies(self.repo):
            for out in self.stage_of(entry, stage.wdir).outs:
                if out.def_path in uncached:
                    out.commit()

    def find(self, stage: PipelineStage) -> Mapping[str, Any] | None:
        """The newest entry for a stage whose dependencies were hashed, if its outputs are here."""
        entry = self._newest(stage)
        return entry if self._answer(stage, entry) is not None else None

    def place_for(self, stage: PipelineStage) -> PurePosixPath | None:
        """The folder of the entries for a stage, in a cache; None if it cannot have any."""
        if not _is_fit(stage):
            return None
        return PurePosixPath(self._folder_of(stage).relative_to(self.folder.parent).as_posix())

    def _newest(self, stage: PipelineStage) -> Mapping[str, Any] | None:
        """The newest entry for a stage, if any."""
        try:
            entries = list(self._folder_of(stage).iterdir()) if _is_fit(stage) else []
        except FileNotFoundError:
            return None
        newest = max(entries, key=lambda place: place.stat().st_mtime, default=None)
        return _load(newest) if newest is not None else None

    def _answer(
        self, stage: PipelineStage, entry: Mapping[str, Any] | None
    ) -> PipelineStage | None:
        """A stage with the outputs of an entry; None if the cache lacks one of them."""
        if not entry:
            return None
        answer = self.stage_of(entry, stage.wdir)
        return answer if all(is_in_cache(out) for out in answer.outs) else None

    def _folder_of(self, stage: PipelineStage) -> Path:
        entry = to_single_stage_lockfile(stage)
        key = _hash({**entry, "outs": [out["path"] for out in entry.get("outs", [])]})
        return self.folder / key[:2] / key

    def stage_of(self, entry: Mapping[str, Any], wdir: str) -> PipelineStage:
        """A temporary stage with the outputs of an entry, all cached."""
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
    if answer is None:
        return False
    for out in answer.outs:
        try:
            link_folder(answer.repo, out)
        except NotPlainError:
            out.checkout()
        else:
            out.set_exec()
    return True


def _load(place: Path) -> Mapping[str, Any] | None:
    """Reads an entry; None if there is none. A damaged one is removed, as DVC does."""
    try:
        entry: Mapping[str, Any] = validate(load_yaml(str(place)), _SCHEMA)
    except FileNotFoundError:
        return None
    except (YAMLFileCorruptedError, YAMLValidationError):
        place.unlink(missing_ok=True)
        return None
    return None if find_problem(entry) else entry


def name_of(entry: Mapping[str, Any]) -> str:
    """The name of the file of an entry."""
    return _hash(entry)


def _hash(entry: Mapping[str, Any]) -> str:
    return str(dict_sha256(entry, exclude=[Meta.PARAM_SIZE, Meta.PARAM_NFILES]))


@contextmanager
def _as_copies(repo: Repo) -> Iterator[None]:
    """Makes DVC copy files into the cache: outputs that Git tracks must not become links."""
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
