"""One run of a stage whose command runs on another machine.

This machine prepares and records it as any other run. Inputs need not be in its workspace: the
versions that their metafiles record count, and workers fetch them.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from dvc.stage.loader import StageLoader
from dvc.stage.serialize import to_pipeline_file, to_single_stage_lockfile

from registry_assets.dvc_repo.data import ensure_input, is_as_recorded, link_from_cache
from registry_assets.dvc_repo.folders.comparing import is_in_cache
from registry_assets.dvc_repo.listings import Listings
from registry_assets.dvc_repo.metafiles import bring_in_ignore_file
from registry_assets.dvc_repo.opening import translated_errors
from registry_assets.dvc_repo.overlaps import overlap
from registry_assets.dvc_repo.remotes import fetch_objects, find_missing, send_objects
from registry_assets.dvc_repo.resolved import DataVersion, Elsewhere, MadeStage, ResolvedStage
from registry_assets.dvc_repo.results import MadeOn
from registry_assets.dvc_repo.run_cache import RunCache
from registry_assets.dvc_repo.stage_run import StageRun, is_for_run_cache
from registry_assets.dvc_repo.versions import path_in_repo, place_in
from registry_assets.errors import DataNotAvailableError, StageFailedError

if TYPE_CHECKING:
    from dvc.output import Output as DvcOutput
    from dvc.repo import Repo

# Runs are executed in several threads of one opened repository, whose remotes are not made for it.
# One transfer uses several threads itself.
_transfer = Lock()


class ElsewhereRun(StageRun):
    """A run whose command runs on another machine; see `StageRun`.

    Args:
        elsewhere: The other machines.
        of_run: The arguments of `StageRun`.
    """

    def __init__(self, elsewhere: Elsewhere, *of_run: Any) -> None:
        super().__init__(*of_run)
        self._elsewhere = elsewhere
        self._is_forced = False

    def prepare(self, *, force: bool) -> None:
        """Reads the versions of the inputs; restores the outputs if possible."""
        self._is_forced = force
        super().prepare(force=force)

    def find_inputs(self) -> Mapping[str, DvcOutput]:
        """The inputs of the stage by absolute path, without those that are not here restored.

        Restored are inputs of which the stage depends on a part, or on a folder around them: they
        have to be hashed here.
        """
        inputs = self.read_inputs()
        wanted = {dep.fs_path for dep in self.stage.deps}
        self.absent = {
            place: out
            for place, out in inputs.items()
            if place in wanted and out.hash_info and out.use_cache and not os.path.lexists(place)
        }
        for place, out in inputs.items():
            if place not in self.absent and not is_as_recorded(self.repo, out):
                ensure_input(self.dvc, self.repo, out, self.report)
        return inputs

    def may_lack(self, out: DvcOutput) -> bool:
        """Whether an output is kept on the remote, and not in the workspace."""
        return bool(
            self._elsewhere.keeps_remote and out.use_cache and not os.path.lexists(out.fs_path)
        )

    @translated_errors()
    def execute(self) -> None:
        """Has another machine run the command, and fetches the outputs into the cache.

        Raises:
            StageFailedError: when the command fails, is stopped, or does not make an output.
            DataNotAvailableError: when the outputs are not where the worker says.
        """
        started = time.monotonic()
        resolved, files = self._resolve()
        try:
            made = self._elsewhere.make(resolved, files, self._send, self.report, self.stop)
        except StageFailedError as error:
            raise StageFailedError(
                error.stage, error.reason, error.last_lines, has_previous=self.aside.has_any
            ) from error
        StageLoader.fill_from_lock(self.stage, made.entry)
        with _transfer:
            for out in self.stage.outs:
                self._fetch(out, made)
        waited = max(time.monotonic() - started - made.seconds, 0.0)
        self.made_on = MadeOn(made.machine, made.seconds, waited, made.versions)
        self.outcome = made.outcome

    def keep_outputs(self) -> None:
        """Links the outputs from the cache, or leaves them on the remote."""
        if self.made_on is None:
            # Restored here, from the run cache, before another machine was asked.
            super().keep_outputs()
            return
        stage, repo = self.stage, self.repo
        for out in stage.outs:
            Path(out.fs_path).parent.mkdir(parents=True, exist_ok=True)
            bring_in_ignore_file(out)
            out.ignore()
            out.obj = out.files = None
            if not out.use_cache:
                _copy_from_cache(out)
            elif not self._elsewhere.keeps_remote:
                link_from_cache(self.dvc, repo, out)
        if is_for_run_cache(stage):
            RunCache(repo).save(stage)

    def _resolve(self) -> tuple[ResolvedStage, list[str]]:
        """The run as plain values, and the files outside DVC that the stage depends on."""
        stage, repo = self.stage, self.repo
        inputs = [out for out in self.read_inputs().values() if out.use_cache]
        entry: dict[str, Any] = to_single_stage_lockfile(stage)
        entry.pop("outs", None)
        resolved = ResolvedStage(
            self.address,
            to_pipeline_file(stage)[stage.name],
            entry,
            tuple(_data_version(repo, out) for out in inputs),
            tuple(_data_version(repo, out) for out in stage.outs if out.persist and out.hash_info),
            self._is_forced,
        )
        files = [
            path_in_repo(repo, dep)
            for dep in stage.deps
            if dep.protocol == "local"
            and not any(overlap(dep.fs_path, out.fs_path) for out in inputs)
        ]
        return resolved, files

    def _send(self, paths: Sequence[str]) -> None:
        """Puts inputs where workers find them.

        Raises:
            DataNotAvailableError: when this machine lacks them, too.
            RemoteError: when the remote cannot be used.
        """
        by_path = {path_in_repo(self.repo, out): out for out in self.read_inputs().values()}
        by_path |= {path_in_repo(self.repo, out): out for out in self.stage.outs if out.persist}
        with _transfer:
            for path in paths:
                out = by_path[path]
                if not is_in_cache(out):
                    raise DataNotAvailableError(path, "no worker finds it either")
                self.report(f"sending {path} to the workers")
                send_objects(self.repo, out, self.report)

    def _fetch(self, out: DvcOutput, made: MadeStage) -> None:
        """Fetches an output into the cache, or checks that it is where the worker says."""
        path = path_in_repo(self.repo, out)
        if not made.is_in_cache and not (self._elsewhere.keeps_remote and out.use_cache):
            fetch_objects(self.repo, out, self.report)
        elif not made.is_in_cache:
            missing = find_missing(self.repo, out, self.report)
            if missing:
                reason = f"the remote lacks {len(missing)} of its objects"
                raise DataNotAvailableError(path, reason, "run it again")
        if (made.is_in_cache or not out.use_cache) and not is_in_cache(out):
            reason = f"{made.machine} did not store all of it"
            raise DataNotAvailableError(path, reason, "run it again")


def runner_for(elsewhere: Elsewhere | None) -> Callable[..., StageRun]:
    """What builds runs on other machines, or on this one if there are none."""
    return StageRun if elsewhere is None else partial(ElsewhereRun, elsewhere)


def _data_version(repo: Repo, out: DvcOutput) -> DataVersion:
    return DataVersion(
        path_in_repo(repo, out),
        str(out.hash_info.value),
        out.hash_name,
        out.meta.size,
        out.meta.nfiles,
        out.remote,
    )


def _copy_from_cache(out: DvcOutput) -> None:
    """Copies an output that Git tracks from the cache: it must not become a link."""
    md5, place = str(out.hash_info.value), Path(out.fs_path)
    files: Mapping[str, str] = {"": md5}
    if out.hash_info.isdir:
        files = Listings([Path(out.cache.path)]).read(md5) or {}
        place.mkdir(parents=True, exist_ok=True)
    for name, oid in files.items():
        target = place / name if name else place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(place_in(out.cache, oid), target)
    out.set_exec()
