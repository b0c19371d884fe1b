"""Everything that the rest of the package asks of DVC, in one place."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from registry_assets.dvc_repo import (
    availability,
    batch,
    collecting,
    data,
    edits,
    garbage,
    metafiles,
    objects,
    previous_outputs,
    purging,
    reading,
    remotes,
    removing,
    running,
    sources,
    states,
    switching,
    tracking,
    unseen,
    updating,
    versions,
)
from registry_assets.dvc_repo.folders import ignoring
from registry_assets.dvc_repo.listings import Listings
from registry_assets.dvc_repo.loading import load_stages
from registry_assets.dvc_repo.opening import RepoAccess, Report
from registry_assets.dvc_repo.results import PendingResult
from registry_assets.errors import OutputNotFoundError, RegistryError
from registry_assets.model import Tracked

if TYPE_CHECKING:
    from dvc.output import Output as DvcOutput
    from dvc.repo import Repo


class DvcRepo(RepoAccess):
    """One DVC repository on this machine.

    Values go in and come out; none of DVC's own objects leaves this package.
    """

    _reads_once = False

    # --- reading -------------------------------------------------------------------------------

    @contextmanager
    def reading_once(self) -> Iterator[None]:
        """While this thread writes nothing: loads all metafiles once, whoever asks for them all."""
        with self.session():
            self._reads_once = True
            try:
                yield
            finally:
                self._reads_once = False

    def _collect(self, repo: Repo) -> collecting.Collected:
        known = self.recall(collecting.Collected) if self._reads_once else None
        if known is None:
            known = collecting.collect(repo, self.root)
            if self._reads_once:
                self.remember(known)
        return known

    def read_declarations(self) -> reading.Declarations:
        """Everything that the metafiles declare and record; see `reading.read_declarations`."""
        with self.open() as repo:
            return reading.read_declarations(repo, self.root, self._collect(repo))

    def read_addresses(self, addresses: Sequence[str]) -> reading.Declarations:
        """What stages and ``.dvc`` files declare and record, reading no other metafile."""
        with self.open() as repo:
            return reading.read_addresses(repo, self.root, addresses)

    def read_dvc_file(self, metafile: str) -> Tracked | None:
        """Reads one ``.dvc`` file and no other; None when there is none."""
        with self.open() as repo:
            return reading.read_dvc_file(repo, self.root, metafile)

    def read_recorded_files(self, metafile: str, path: str) -> Collection[str]:
        """The files of the version that a ``.dvc`` file records of a folder, as far as is known."""
        with self.open() as repo:
            return reading.read_recorded_files(repo, self.root, metafile, path)

    def output_states(
        self, addresses: Sequence[str] | None = None
    ) -> Mapping[str, states.OutputState]:
        """How outputs stand against their metafiles; see `states.output_states`.

        Args:
            addresses: The stages and ``.dvc`` files to look at; all that can be read when None.
        """
        with self.open() as repo:
            if addresses is None:
                stages = self._collect(repo).stages
            else:
                stages = load_stages(repo, self.root, addresses)
            return states.output_states(repo, stages)

    def find_edit(self, metafile: str, path: str) -> edits.Edit | None:
        """What an output is now, other than recorded; see `edits.find_edit`."""
        with self.open() as repo:
            return edits.find_edit(self, repo, metafile, path)

    def find_files(self, folder: Path) -> list[Path]:
        """The files in a folder and its sub-folders that DVC does not ignore."""
        with self.open() as repo:
            return list(ignoring.find_files(repo, folder))

    def read_edges(self) -> set[tuple[str, str]]:
        """The edges that DVC's own index draws; see `collecting.read_edges`."""
        with self.open() as repo:
            return collecting.read_edges(repo)

    def read_listing(self, md5: str) -> Mapping[str, str] | None:
        """The files of a folder's version and their md5s; None when the cache lacks the listing."""
        return self.listings().read(md5)

    def listings(self) -> Listings:
        """The listings of folders in the cache, for who reads many of them."""
        with self.open() as repo:
            return versions.listings_of(repo)

    def read_cache_states(
        self, recorded: Mapping[str, str], *, most_hashed: int | None = 0
    ) -> Mapping[str, objects.CacheState]:
        """How the cache holds versions; see `objects.read_cache_states`."""
        with self.open() as repo:
            return objects.read_cache_states(repo, recorded, most_hashed)

    def find_damaged_objects(self, besides: Collection[str]) -> list[objects.CachedObject]:
        """Hashes every object of the cache but some; see `objects.find_damaged_objects`."""
        with self.open() as repo:
            return objects.find_damaged_objects(repo, besides)

    @property
    def run_cache_folder(self) -> Path:
        """Where DVC keeps what stages made of what, of runs on this machine."""
        with self.open() as repo:
            return Path(repo.stage_cache.cache_dir)

    def declares(self, address: str) -> bool:
        """Whether a metafile declares a stage, reading that metafile only."""
        with self.open() as repo:
            try:
                load_stages(repo, self.root, [address])
            except OutputNotFoundError:
                return False
        return True

    # --- sources of imports --------------------------------------------------------------------

    def find_tip(self, metafile: str) -> str | None:
        """The commit that an import would be updated to, asking only; see `sources.find_tip`."""
        with self.open() as repo:
            (stage,) = load_stages(repo, self.root, [metafile])
            return sources.find_tip(repo, stage)

    def look_at_source(self, metafile: str, commit: str) -> sources.SourceLook:
        """What the repository of an import has at a commit; see `sources.look`."""
        with self.open() as repo:
            (stage,) = load_stages(repo, self.root, [metafile])
            return sources.look(repo, stage, commit)

    def find_missing_at_source(self, metafile: str) -> tuple[str, ...]:
        """What the remote of an import's repository lacks of it; see `availability`."""
        with self.open() as repo:
            (stage,) = load_stages(repo, self.root, [metafile])
            return availability.find_missing(repo, stage)

    def find_newest(self, metafile: str) -> str | None:
        """The newest commit of the default branch of an import's repository.

        Raises:
            SourceUnreachableError: when the repository cannot be asked.
        """
        with self.open() as repo:
            (stage,) = load_stages(repo, self.root, [metafile])
            return sources.find_commit(repo, sources.address_of_source(repo, stage), None)

    def changes_of_url(self, metafile: str) -> str | None:
        """What changed about a path or URL outside; see `sources.changes_of_url`."""
        with self.open() as repo:
            (stage,) = load_stages(repo, self.root, [metafile])
            return sources.changes_of_url(stage.deps[0])

    # --- persisting ----------------------------------------------------------------------------

    def running(
        self,
        address: str,
        *,
        inputs: Sequence[str] = (),
        force: bool = False,
        report: Report,
        before: running.Before | None = None,
    ) -> AbstractContextManager[PendingResult]:
        """Brings the outputs of one stage into the workspace; see `running.running`."""
        return running.running(
            self, address, inputs=inputs, force=force, report=report, before=before
        )

    def run_batch(
        self,
        tasks: Sequence[batch.StageTask],
        *,
        force: bool,
        executor: Executor,
        most_at_once: int,
        report: Report,
    ) -> Iterator[batch.StageResult]:
        """Brings many stages up to date; see `batch.run_batch`."""
        return batch.run_batch(
            self, tasks, force=force, executor=executor, most_at_once=most_at_once, report=report
        )

    def tracking(
        self,
        path: str,
        *,
        metafile: str | None = None,
        force: bool = False,
        is_complete: bool = False,
        report: Report,
    ) -> AbstractContextManager[PendingResult]:
        """Puts a file or folder under DVC as `dvc add` does; see `tracking.tracking`."""
        return tracking.tracking(
            self, path, metafile=metafile, force=force, is_complete=is_complete, report=report
        )

    def find_left_out(self, path: str) -> str | None:
        """Why a new folder would be refused for what DVC ignores; see `tracking.find_left_out`."""
        with self.open() as repo:
            return tracking.find_left_out(self, repo, path)

    def rule_above(self, place: Path) -> ignoring.IgnoreRule:
        """What DVC ignores in a folder; see `ignoring.rule_above`."""
        with self.open() as repo:
            return ignoring.rule_above(repo, str(place))

    def why_unseen(self, metafiles: Sequence[str]) -> Mapping[str, RegistryError | None]:
        """Why DVC does not see metafiles, there or not; see `unseen.why_unseen`."""
        with self.open() as repo:
            return unseen.why_unseen(self, repo, metafiles)

    def check_seen(self, metafile: str) -> None:
        """Makes sure that DVC sees a metafile, there or not; see `unseen.check_seen`."""
        with self.open() as repo:
            unseen.check_seen(self, repo, metafile)

    def check_trackable(self, path: str) -> None:
        """Makes sure that a path may have a ``.dvc`` file; see `tracking.check_trackable`."""
        with self.open() as repo:
            tracking.check_trackable(self, repo, path)

    @contextmanager
    def replacing(self, path: str) -> Iterator[previous_outputs.Replacement]:
        """While a tracked path gets new content; see `previous_outputs.replacing`."""
        metafile = tracking.metafile_of(path)
        with (
            self.open() as repo,
            previous_outputs.replacing(self, repo, metafile, path) as replacement,
        ):
            yield replacement

    def importing(
        self,
        source: str,
        path: str,
        *,
        collections_file: str | None = None,
        new_files: Mapping[str, str] | None = None,
        report: Report,
    ) -> AbstractContextManager[PendingResult]:
        """Takes tracked data in at a second path, without a copy; see `tracking.importing`."""
        return tracking.importing(
            self,
            source,
            path,
            collections_file=collections_file,
            new_files=new_files or {},
            report=report,
        )

    def importing_from(
        self,
        url: str,
        source: str,
        path: str,
        *,
        revision: str | None,
        collections_file: str | None,
        new_files: Mapping[str, str] | None = None,
        report: Report,
    ) -> AbstractContextManager[PendingResult]:
        """Takes a path of another repository in, as `dvc import` does; see `updating`."""
        return updating.importing_from(
            self,
            url,
            source,
            path,
            revision=revision,
            collections_file=collections_file,
            new_files=new_files or {},
            report=report,
        )

    def take_out(
        self,
        name: str,
        *,
        metafile: str,
        addresses: Sequence[str],
        collections_file: str | None,
        force: bool,
        report: Report,
    ) -> list[str]:
        """Takes a collection out of a data set again; see `removing.take_out`."""
        return removing.take_out(
            self,
            name,
            metafile=metafile,
            addresses=addresses,
            collections_file=collections_file,
            force=force,
            report=report,
        )

    def updating(self, address: str, *, report: Report) -> AbstractContextManager[PendingResult]:
        """Moves an import on to what its source has now; see `updating.updating`."""
        return updating.updating(self, address, report=report)

    def restoring(self, address: str, *, report: Report) -> AbstractContextManager[PendingResult]:
        """Brings what a ``.dvc`` file records into the workspace; see `tracking.restoring`."""
        return tracking.restoring(self, address, report=report)

    def ensure_in_workspace(self, addresses: Sequence[str], *, report: Report) -> None:
        """Checks recorded versions out of the cache, else pulls them; see `data.ensure`."""
        with self.open() as repo:
            for stage in load_stages(repo, self.root, addresses):
                for out in stage.outs:
                    data.ensure(self, repo, out, report)

    def write_text(self, path: str, text: str) -> None:
        """Replaces the text of a metafile in one rename; see `metafiles.replace_text`."""
        with self.open() as repo:
            scratch = metafiles.scratch_folder(repo)
            metafiles.replace_text(self.path_of(path), text, scratch=scratch)

    def push(
        self,
        addresses: Sequence[str] | None = None,
        *,
        extra: Mapping[str, str] | None = None,
        full: bool = False,
        report: Report,
    ) -> remotes.PushResult:
        """Sends to the remotes what they lack and looks whether it is there; see `remotes.push`.

        Args:
            addresses: The stages and ``.dvc`` files whose outputs are sent; all when None.
            extra: Versions to send besides, by path of the output.
            full: Whether to read everything that is there, and replace what is damaged.
            report: Takes lines of progress.
        """
        with self.open() as repo:
            outs = self._outputs(repo, addresses)
            result = remotes.push(repo, outs, extra=extra or {}, full=full, report=report)
        report(f"pushed {result.pushed} objects")
        return result

    # --- other commits -------------------------------------------------------------------------

    @contextmanager
    def standing_still(self, report: Report) -> Iterator[None]:
        """While nobody else reads or writes an output; see `switching.standing_still`."""
        with self.open() as repo, switching.standing_still(self, repo, report):
            yield

    def find_unsaved(self, paths: Sequence[str]) -> Sequence[switching.Unsaved]:
        """What would be lost with what stands at paths; see `switching.find_unsaved`."""
        with self.open() as repo:
            return list(switching.find_unsaved(repo, paths))

    def find_leftovers(self, declared: Collection[str]) -> Mapping[str, str]:
        """What DVC brought in and nothing declares any more; see `switching.find_leftovers`."""
        with self.open() as repo:
            return switching.find_leftovers(self, repo, declared)

    def switch(
        self, gone: Mapping[str, tuple[str, str | None]], move: Callable[[], None], report: Report
    ) -> list[str]:
        """Moves Git to another commit, what that lacks taken away; see `switching.switch`."""
        with self.open() as repo:
            return switching.switch(self, repo, gone, move, report)

    def restore_all(self, report: Report) -> switching.Restored:
        """Brings every recorded version into the workspace; see `switching.restore_all`."""
        with self.open() as repo:
            return switching.restore_all(self, repo, self._collect(repo).stages, report)

    # --- remotes -------------------------------------------------------------------------------

    def read_remote_states(
        self, addresses: Sequence[str] | None = None, *, full: bool = False
    ) -> Mapping[str, remotes.RemoteState]:
        """Whether the remotes have recorded versions; see `remotes.read_remote_states`."""
        with self.open() as repo:
            outs = self._outputs(repo, addresses)
            return remotes.read_remote_states(repo, outs, full=full)

    def _outputs(self, repo: Repo, addresses: Sequence[str] | None) -> list[DvcOutput]:
        if addresses is None:
            return [out for stage in self._collect(repo).stages for out in stage.outs]
        return [out for stage in load_stages(repo, self.root, addresses) for out in stage.outs]

    # --- forgetting ----------------------------------------------------------------------------

    def check_folder(self, metafile: str, path: str, files: Collection[str]) -> None:
        """Whether a folder may be recorded without some files; see `purging.check_folder`."""
        with self.open() as repo:
            purging.check_folder(repo, self, metafile, path, files)

    def take_files_out(
        self, metafile: str, path: str, files: Collection[str], *, report: Report
    ) -> None:
        """Removes files of a tracked folder from the workspace; see `purging.take_files_out`."""
        with self.open() as repo:
            purging.take_files_out(self, repo, metafile, path, files, report)

    def find_in_cache(self, md5s: Collection[str]) -> list[purging.KeptObject]:
        """The contents that the cache has; see `purging.find_in_cache`."""
        with self.open() as repo:
            return list(purging.find_in_cache(repo, md5s))

    def remove_from_cache(
        self,
        md5s: Collection[str],
        find_needed: Callable[[], Collection[str]],
        *,
        report: Report,
    ) -> int:
        """Removes contents from the cache; see `purging.remove_from_cache`."""
        with self.open() as repo:
            return purging.remove_from_cache(self, repo, md5s, find_needed, report)

    def fetch_listings(self, versions: Mapping[str, str], *, report: Report) -> str | None:
        """Fetches listings that the cache lacks; see `purging.fetch_listings`."""
        with self.open() as repo:
            return purging.fetch_listings(repo, versions, report)

    def remote_names(self) -> tuple[str, ...]:
        """The remotes that are configured, the default one first."""
        with self.open() as repo:
            return purging.remote_names(repo)

    def default_remote(self) -> str | None:
        """The remote that data is pushed to by default; None where there is none."""
        with self.open() as repo:
            name: str | None = repo.config["core"].get("remote")
            return name

    def ask_remote(self, name: str, md5s: Collection[str]) -> purging.RemoteAnswer:
        """Which of some contents a remote has; see `purging.ask_remote`."""
        with self.open() as repo:
            return purging.ask_remote(repo, name, md5s)

    def remove_from_remote(self, name: str, md5s: Sequence[str], *, report: Report) -> None:
        """Removes contents from a remote; see `purging.remove_from_remote`."""
        with self.open() as repo:
            purging.remove_from_remote(repo, name, md5s, report)

    def scan_cache(self) -> Mapping[str, garbage.StoredObject]:
        """Everything in the cache, by md5; see `garbage.scan_cache`."""
        with self.open() as repo:
            return garbage.scan_cache(repo)

    @property
    def shares_cache(self) -> bool:
        """Whether other clones may use the cache, too; see `garbage.shares_cache`."""
        with self.open() as repo:
            return garbage.shares_cache(self, repo)

    def recover(self, report: Report) -> None:
        """Puts back what killed processes left half done; see `previous_outputs.recover`."""
        with self.open() as repo:
            previous_outputs.recover(self, repo, report)
