"""The interface to DVC for the rest of the package."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dvc.fs import localfs

from registry_assets.dvc_repo import (
    availability,
    clones,
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
    sources,
    states,
    switching,
    unseen,
    versions,
)
from registry_assets.dvc_repo.batch import run_stages
from registry_assets.dvc_repo.folders import handing_out, ignoring
from registry_assets.dvc_repo.folders.comparing import find_whole
from registry_assets.dvc_repo.folders.dangling import check_not_dangling
from registry_assets.dvc_repo.folders.remembered import KnownData, remembered
from registry_assets.dvc_repo.listings import Listings
from registry_assets.dvc_repo.loading import load_stages
from registry_assets.dvc_repo.opening import RepoAccess, Report, translated_errors
from registry_assets.dvc_repo.removing import take_collection_out
from registry_assets.dvc_repo.running import running_stage
from registry_assets.dvc_repo.tracking import (
    check_trackable,
    find_left_out,
    importing_path,
    restoring_recorded,
    tracking_path,
)
from registry_assets.dvc_repo.updating import importing_from_repository, updating_import
from registry_assets.errors import OutputNotFoundError, RegistryError
from registry_assets.model import Stage, Tracked, metafile_of

if TYPE_CHECKING:
    from dvc.output import Output as DvcOutput
    from dvc.repo import Repo


class DvcRepo(RepoAccess):
    """A DVC repository on this machine.

    Its methods take and return plain values; DVC's own objects stay inside this package.
    """

    _reads_once = False

    # --- reading -------------------------------------------------------------------------------

    @contextmanager
    def reading_once(self) -> Iterator[None]:
        """Loads all metafiles only once within this context, in which nothing may be written."""
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
        """Reads all metafiles; those that cannot be read are reported in `problems`."""
        with self.open() as repo:
            return reading.read_declarations(repo, self.root, self._collect(repo))

    def read_addresses(self, addresses: Sequence[str]) -> reading.Declarations:
        """Reads some stages and ``.dvc`` files, those that exist, and no other metafile."""
        with self.open() as repo:
            return reading.read_addresses(repo, self.root, addresses)

    def read_items(
        self, pipeline: str, known: Mapping[str, Stage]
    ) -> tuple[list[Stage], Mapping[str, tuple[str, ...]]]:
        """Reads which stages a ``dvc.yaml`` has, and only those that are not known.

        Args:
            pipeline: Its path, from the root.
            known: The stages that it had, by address.

        Returns:
            The stages in order, and the items of each template, by its name.
        """
        with self.open() as repo:
            return reading.read_items(repo, self.root, pipeline, known)

    def read_dvc_file(self, metafile: str) -> Tracked | None:
        """Reads one ``.dvc`` file; None if it does not exist."""
        with self.open() as repo:
            return reading.read_dvc_file(repo, self.root, metafile)

    def read_recorded_files(self, metafile: str, path: str) -> Collection[str]:
        """The files in the recorded version of a folder.

        Empty if there is no such ``.dvc`` file, or the cache lacks the listing.
        """
        with self.open() as repo:
            return reading.read_recorded_files(repo, self.root, metafile, path)

    def output_states(
        self,
        addresses: Sequence[str] | None = None,
        *,
        kept: Mapping[str, str] | None = None,
        known: KnownData | None = None,
    ) -> Mapping[str, states.OutputState]:
        """Compares the outputs of stages with their metafiles, as `dvc status` does.

        Args:
            addresses: The stages and ``.dvc`` files to check (default: all that can be read).
            kept: The recorded md5 of outputs that are kept on a remote only, by path.
            known: What an earlier command found out (`known_data`), as far as it still holds.
        """
        with self.open() as repo:
            if addresses is None:
                stages = self._collect(repo).stages
            else:
                stages = load_stages(repo, self.root, addresses)
            return states.output_states(repo, stages, kept, known)

    def find_whole(self, versions: Collection[str]) -> frozenset[str]:
        """The versions, hashed as DVC 3 does, of which the cache has all objects."""
        with self.open() as repo:
            return find_whole(repo, versions)

    def take_known(self, known: KnownData) -> None:
        """Takes what an earlier command found out, so that unchanged folders are not hashed."""
        with self.open() as repo:
            remembered(repo).take(repo.root_dir, known)

    def known_data(self) -> KnownData:
        """What was found out about data in this session, for later commands."""
        with self.open() as repo:
            memory = remembered(repo)
            root = f"{self.root}{os.sep}"
            return KnownData(
                {
                    self.relative(place): folder
                    for place, folder in memory.folders.items()
                    if place.startswith(root)
                },
                memory.in_cache,
            )

    def find_edit(self, metafile: str, path: str) -> edits.Edit | None:
        """Compares an output with its ``.dvc`` file; None if it is unchanged or missing.

        Only changed files are hashed: DVC knows the hash of others by mtime, size and inode.

        Raises:
            FileNotFoundError: when a file was removed meanwhile.
            DataBeingWrittenError: when a file changed meanwhile.
            LinksLeadNowhereError: when part of it is links into a cache that is not there.
        """
        with self.open() as repo:
            return edits.find_edit(self, repo, metafile, path)

    def check_not_dangling(self, path: str, metafile: str) -> None:
        """Makes sure that no link in a file or folder leads to a cached object that is not there.

        Raises:
            LinksLeadNowhereError: naming the first one.
        """
        with self.open() as repo:
            check_not_dangling(repo, path, metafile)

    def find_files(self, folder: Path) -> list[Path]:
        """The files in a folder and its subfolders that DVC does not ignore."""
        with self.open() as repo:
            return list(ignoring.find_files(repo, folder))

    def read_edges(self) -> set[tuple[str, str]]:
        """The edges of DVC's own graph of outputs, from dependency to output.

        A stage without outputs, which DVC's graph leaves out, is represented by its address.
        """
        with self.open() as repo:
            return collecting.read_edges(repo)

    def read_listing(self, md5: str) -> Mapping[str, str] | None:
        """The files in a version of a folder, with md5s; None if the cache lacks the listing."""
        return self.listings().read(md5)

    def listings(self) -> Listings:
        """The listings of folders in the cache."""
        with self.open() as repo:
            return versions.listings_of(repo)

    def read_cache_states(
        self, recorded: Mapping[str, str], *, most_hashed: int | None = 0
    ) -> Mapping[str, objects.CacheState]:
        """Checks whether the cache has the objects of versions, and hashes some or all of them.

        Listings are always hashed.

        Args:
            recorded: The recorded md5 of each path.
            most_hashed: How many files to hash, chosen at random; None for all.
        """
        with self.open() as repo:
            return objects.read_cache_states(repo, recorded, most_hashed)

    def find_damaged_objects(self, besides: Collection[str]) -> list[objects.VersionObject]:
        """Hashes every object in the cache; returns those whose hash differs from their name.

        Args:
            besides: Objects to skip.
        """
        with self.open() as repo:
            return objects.find_damaged_objects(repo, besides)

    @property
    def run_cache_folder(self) -> Path:
        """The folder of DVC's run cache."""
        with self.open() as repo:
            return Path(repo.stage_cache.cache_dir)

    def declares(self, address: str) -> bool:
        """Whether the metafile in an address declares the stage."""
        with self.open() as repo:
            try:
                load_stages(repo, self.root, [address])
            except OutputNotFoundError:
                return False
        return True

    # --- sources of imports --------------------------------------------------------------------

    def find_tip(self, metafile: str) -> str | None:
        """The commit that `dvc update` would update an import to; fetches nothing.

        Returns:
            The commit of its branch or tag, or of the default branch; the pinned commit if it is
            pinned to one. None if the source has no such branch or tag.

        Raises:
            SourceUnreachableError: when the repository cannot be reached.
        """
        with self.open() as repo:
            (stage,) = load_stages(repo, self.root, [metafile])
            return sources.find_tip(repo, stage)

    def look_at_source(self, metafile: str, commit: str) -> sources.SourceLook:
        """Looks up the version of an import's source at a commit; fetches no data.

        Raises:
            SourceUnreachableError: when the repository cannot be cloned, or lacks the commit.
        """
        with self.open() as repo:
            (stage,) = load_stages(repo, self.root, [metafile])
            return sources.look(repo, stage, commit)

    def find_missing_at_source(self, metafile: str) -> tuple[str, ...]:
        """Finds the objects of an import that the remote of its repository lacks.

        Every object is looked up, as a remote with the listing of a folder may lack some of its
        files. Only listings are fetched.

        Args:
            metafile: The ``.dvc`` file of an import from a Git repository.

        Returns:
            Paths in the imported repository.

        Raises:
            SourceUnreachableError: when the repository or its remote cannot be reached, or the
                recorded commit is gone.
        """
        with self.open() as repo:
            (stage,) = load_stages(repo, self.root, [metafile])
            return availability.find_missing(repo, stage)

    def find_newest(self, metafile: str) -> str | None:
        """The newest commit on the default branch of an import's repository.

        Raises:
            SourceUnreachableError: when the repository cannot be reached.
        """
        with self.open() as repo:
            (stage,) = load_stages(repo, self.root, [metafile])
            return sources.find_commit(repo, sources.address_of_source(repo, stage), None)

    def changes_of_url(self, metafile: str) -> str | None:
        """What changed at the external path or URL of an import, as `dvc status` says it.

        Returns:
            DVC's word, such as ``deleted``; None if nothing changed.

        Raises:
            SourceUnreachableError: when the server does not answer.
        """
        with self.open() as repo:
            (stage,) = load_stages(repo, self.root, [metafile])
            return sources.changes_of_url(stage.deps[0])

    # --- persisting ----------------------------------------------------------------------------

    # Documented where they are defined, as functions whose first argument is the repository.
    running = running_stage
    run_batch = run_stages
    tracking = tracking_path
    importing = importing_path
    importing_from = importing_from_repository
    updating = updating_import
    restoring = restoring_recorded
    take_out = take_collection_out

    def find_left_out(self, path: str) -> str | None:
        """Why an untracked folder would be refused: files in it that DVC ignores.

        Files that `registry add` sets aside do not count.
        """
        with self.open() as repo:
            return find_left_out(self, repo, path)

    def rule_above(self, place: Path) -> ignoring.IgnoreRule:
        """The rule that the ignore files above a folder make for its contents.

        Ignore files in the folder are not read. Call it top-down: it does not take into account
        that everything in an ignored subfolder is ignored.
        """
        with self.open() as repo:
            return ignoring.rule_above(repo, str(place))

    def why_unseen(self, metafiles: Sequence[str]) -> Mapping[str, RegistryError | None]:
        """Why DVC does not see each metafile, existing or not; None if it does.

        Results are cached within a session.
        """
        with self.open() as repo:
            return unseen.why_unseen(self, repo, metafiles)

    def ignore_rule(self) -> Callable[[str], bool]:
        """A function that tells of a folder, by path from the root, if ``.dvcignore`` ignores it.

        The function reads each file once. The repository is not opened, as its databases take ten
        times as long.
        """
        with translated_errors():
            ignore = ignoring.DataHidingIgnore(localfs, str(self.root))

        def is_ignored(folder: str) -> bool:
            with translated_errors():
                return bool(ignore.is_ignored_dir(str(self.root / folder)))

        return is_ignored

    def check_seen(self, metafile: str) -> None:
        """Checks that DVC sees a metafile, or will see it once it is written.

        Raises:
            RefusedError: when it is ignored, or lies behind a symbolic link.
        """
        with self.open() as repo:
            unseen.check_seen(self, repo, metafile)

    def check_trackable(self, path: str) -> None:
        """Checks that a path has, or can have, a ``.dvc`` file.

        Raises:
            RefusedError: when it would be ignored, or lie behind a symbolic link.
            DvcError: when the path overlaps with an output, or Git tracks it.
        """
        with self.open() as repo:
            check_trackable(self, repo, path)

    @contextmanager
    def replacing(self, path: str) -> Iterator[previous_outputs.Replacement]:
        """Replaces the content of a path; restores the old content if the block raises.

        Args:
            path: From the root.
        """
        metafile = metafile_of(path)
        with (
            self.open() as repo,
            previous_outputs.replacing(self, repo, metafile, path) as replacement,
        ):
            yield replacement

    def ensure_in_workspace(self, addresses: Sequence[str], *, report: Report) -> None:
        """Restores the recorded outputs of stages and ``.dvc`` files, pulling what is missing.

        Raises:
            DataNotAvailableError: when one is neither in the cache nor on a remote.
            DataModifiedError: when one was edited by hand.
        """
        with self.open() as repo:
            for stage in load_stages(repo, self.root, addresses):
                for out in stage.outs:
                    data.ensure_input(self, repo, out, report)

    def fetch_files(
        self, address: str, path: str, files: Mapping[str, str], *, report: Report
    ) -> None:
        """Fetches some files of the recorded version of an output into the cache.

        Args:
            address: The stage or ``.dvc`` file.
            path: The output, from the root.
            files: The name of each file in messages, by md5.
            report: Takes lines of progress.

        Raises:
            RemoteError: when one is missing or damaged, or the remote cannot be used; the others
                are fetched.
            DataNotAvailableError: when the source of an import does not have it either.
            DvcError: when there is no remote.
        """
        with self.open() as repo:
            (stage,) = load_stages(repo, self.root, [address])
            data.fetch_files(repo, versions.output_at(repo, stage, path), files, report)

    def write_text(self, path: str, text: str) -> None:
        """Replaces the text of a metafile atomically."""
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
        """Pushes the objects of outputs that their remotes lack, and checks that they arrived.

        DVC itself pushes to ``version_aware`` remotes.

        Args:
            addresses: The stages and ``.dvc`` files whose outputs to push (default: all).
            extra: Additional versions to push, by path of the output.
            full: Whether to hash all objects on the remote, and replace damaged ones.
            report: Takes lines of progress.

        Raises:
            RemoteError: when a remote cannot be used.
            DvcError: when there is none.
        """
        with self.open() as repo:
            outs = self._outputs(repo, addresses)
            result = remotes.push(repo, outs, extra=extra or {}, full=full, report=report)
        report(f"pushed {result.pushed} objects")
        return result

    # --- other commits -------------------------------------------------------------------------

    @contextmanager
    def standing_still(self, report: Report) -> Iterator[None]:
        """Locks all outputs, so that no other process reads or writes one meanwhile.

        Raises:
            RefusedError: when another process does; names it.
        """
        with self.open() as repo, switching.standing_still(self, repo, report):
            yield

    def find_unsaved(self, paths: Sequence[str]) -> Sequence[switching.Unsaved]:
        """Finds data at paths that would be lost with them: not in the cache, or ignored by DVC.

        For a folder this includes its listing: which file has which name. Files that file managers
        leave behind do not count.
        """
        with self.open() as repo:
            return list(switching.find_unsaved(repo, paths))

    def find_leftovers(self, declared: Collection[str]) -> Mapping[str, str]:
        """Finds unmodified data that DVC linked into the workspace and nothing declares any more.

        `dvc checkout` removes the same. DVC recognizes it by inode and mtime (`folders/state.py`).

        Args:
            declared: All declared outputs; what overlaps with one is no leftover.

        Returns:
            The version of each, by path from the root.
        """
        with self.open() as repo:
            return switching.find_leftovers(self, repo, declared)

    def switch(
        self, gone: Mapping[str, tuple[str, str | None]], move: Callable[[], None], report: Report
    ) -> list[str]:
        """Checks out another commit in Git, and removes outputs that it does not declare.

        Outputs are set aside first, as a folder without a metafile would look like a new
        collection. They are put back if the checkout fails, after a crash by the next process.

        Args:
            gone: The outputs to remove, by path, with the address of their stage or ``.dvc`` file
                and its recorded md5 (None if no longer recorded).
            move: Checks out the commit in Git.
            report: Takes progress.

        Returns:
            The removed outputs that were in the workspace.
        """
        with self.open() as repo:
            return switching.switch(self, repo, gone, move, report)

    def restore_all(self, report: Report) -> switching.Restored:
        """Restores every recorded version into the workspace, pulling what the cache lacks.

        Incomplete outputs are not restored: a partial folder would look like an edit.
        """
        with self.open() as repo:
            return switching.restore_all(self, repo, self._collect(repo).stages, report)

    # --- remotes -------------------------------------------------------------------------------

    def read_remote_states(
        self, addresses: Sequence[str] | None = None, *, full: bool = False
    ) -> Mapping[str, remotes.RemoteState]:
        """Checks whether the recorded versions of outputs are on their remotes.

        Args:
            addresses: The stages and ``.dvc`` files whose outputs to check (default: all); outputs
                that are not pushed are left out.
            full: Whether to hash every object; otherwise only sizes are compared.

        Returns:
            The states by path.

        Raises:
            RemoteError: when a remote cannot be used.
            DvcError: when there is no remote, or it is ``version_aware``.
        """
        with self.open() as repo:
            outs = self._outputs(repo, addresses)
            return remotes.read_remote_states(repo, outs, full=full)

    def _outputs(self, repo: Repo, addresses: Sequence[str] | None) -> list[DvcOutput]:
        if addresses is None:
            return [out for stage in self._collect(repo).stages for out in stage.outs]
        return [out for stage in load_stages(repo, self.root, addresses) for out in stage.outs]

    # --- forgetting ----------------------------------------------------------------------------

    def check_folder(self, metafile: str, path: str, files: Collection[str]) -> None:
        """Checks that a tracked folder can be recorded again without some files.

        Raises:
            DataModifiedError: when it has other edits, which would be recorded, too.
        """
        with self.open() as repo:
            purging.check_folder(repo, self, metafile, path, files)

    def take_files_out(
        self, metafile: str, path: str, files: Collection[str], *, report: Report
    ) -> None:
        """Removes files of a tracked folder from the workspace, without recording the change.

        Other hard links to the same content stay.

        Args:
            metafile: The ``.dvc`` file that records the folder.
            path: The folder, from the root; restored if it is not in the workspace.
            files: The files to remove, by path inside the folder; missing ones are skipped.
            report: Takes progress.

        Raises:
            DataModifiedError: when the folder has other edits.
            RegistryError: when a file cannot be removed.
        """
        with self.open() as repo:
            purging.take_files_out(self, repo, metafile, path, files, report)

    def find_in_cache(self, md5s: Collection[str]) -> list[purging.CachedObject]:
        """Finds objects in the cache, including that of DVC 2."""
        with self.open() as repo:
            return list(purging.find_in_cache(repo, md5s))

    def remove_from_cache(
        self,
        md5s: Collection[str],
        find_needed: Callable[[], Collection[str]],
        *,
        others: Sequence[RepoAccess] = (),
        report: Report,
        sweeps: bool = False,
    ) -> Sequence[purging.CachedObject]:
        """Removes objects from the cache, once no other process uses the repository.

        Args:
            md5s: The objects to remove.
            find_needed: Returns those of them that are still needed; called under the lock.
            others: Other clones that use the cache.
            report: Takes a line while waiting for another process.
            sweeps: Whether to remove what killed processes did not finish there, too; then `others`
                has to name all clones.

        Returns:
            The objects that were removed.

        Raises:
            RegistryError: when one cannot be removed, or a clone cannot be locked.
        """
        with self.open() as repo:
            return purging.remove_from_cache(
                self, repo, md5s, find_needed, others, report, sweeps=sweeps
            )

    def fetch_listings(self, versions: Mapping[str, str], *, report: Report) -> str | None:
        """Fetches listings of folders that the cache lacks from the default remote.

        Args:
            versions: The name of the folder in messages, by md5 of the version.
            report: Takes progress.

        Returns:
            Why the remote could not be used; None on success, also if there is nothing to fetch or
            no default remote.
        """
        with self.open() as repo:
            return purging.fetch_listings(repo, versions, report)

    def fetch_objects(self, names: Mapping[str, str], *, report: Report) -> str | None:
        """Fetches files that the cache lacks, of any version, from the default remote.

        Args:
            names: The name of each file in messages, by md5.
            report: Takes progress.

        Returns:
            Why the remote could not be used; None on success, also if it lacks some of them.
        """
        with self.open() as repo:
            return purging.fetch_objects(repo, names, report)

    def hand_out(
        self, files: Iterable[tuple[str, str]], *, may_hardlink: bool = True
    ) -> frozenset[str]:
        """Links or copies objects of the cache to places outside the registry.

        Args:
            files: Pairs of an object in the cache and a path to make, whose folder exists.
            may_hardlink: Whether hard links are made if `cache.type` has them.

        Returns:
            The kinds that were made: `reflink`, `hardlink`, `copy`.

        Raises:
            OSError: when a file cannot be made.
        """
        with self.open() as repo:
            return handing_out.hand_out(repo, files, may_hardlink=may_hardlink)

    def remote_names(self) -> tuple[str, ...]:
        """The names of all configured remotes, the default one first."""
        with self.open() as repo:
            return purging.remote_names(repo)

    def default_remote(self) -> str | None:
        """The name of the default remote; None if there is none."""
        with self.open() as repo:
            name: str | None = repo.config["core"].get("remote")
            return name

    def find_on_remote(self, name: str, md5s: Collection[str]) -> purging.RemoteContents:
        """Looks up which objects a remote has."""
        with self.open() as repo:
            return purging.find_on_remote(repo, name, md5s)

    def remove_from_remote(self, name: str, md5s: Sequence[str], *, report: Report) -> None:
        """Removes objects from a remote; missing ones are skipped.

        Raises:
            RemoteError: when an object could not be removed; others may be gone by then.
        """
        with self.open() as repo:
            purging.remove_from_remote(repo, name, md5s, report)

    def scan_cache(self) -> Mapping[str, garbage.ObjectUse]:
        """The disk usage of all objects in the cache, including that of DVC 2, by md5."""
        with self.open() as repo:
            return garbage.scan_cache(repo)

    def find_unfinished(self) -> Mapping[Path, int]:
        """Files in the cache that are no objects yet, and their sizes in bytes."""
        with self.open() as repo:
            return garbage.find_unfinished(repo)

    def find_symlinked(self) -> frozenset[str]:
        """The objects that symbolic links of the work tree lead to, where DVC may make such."""
        with self.open() as repo:
            return garbage.find_symlinked(repo)

    @property
    def shares_cache(self) -> bool:
        """Whether other clones may use the same cache."""
        with self.open() as repo:
            cache = Path(repo.cache.local_cache_dir)
            is_inside = cache.resolve().is_relative_to(self.root.resolve())
            is_shared = bool(repo.config["cache"].get("shared"))
            return not is_inside or is_shared or (cache / clones.FOLDER).is_dir()

    def read_clones(self) -> clones.RegisteredClones:
        """The other clones that use the cache, as far as they were written down beside it."""
        with self.open() as repo:
            return clones.read_clones(Path(repo.cache.local_cache_dir), self.root)

    @contextmanager
    def freeing(self) -> Iterator[clones.RegisteredClones]:
        """While no other clone begins or ceases to use the cache; gives those that use it.

        Raises:
            RepositoryBusyError: when objects are being freed by another clone.
            UnusableError: when the file system of the cache cannot lock files.
            RegistryError: when another machine may be at work in one of them.
        """
        if not self.shares_cache:
            yield clones.RegisteredClones()
            return
        with self.open() as repo:
            cache = Path(repo.cache.local_cache_dir)
            with clones.locked(cache):
                found = clones.read_clones(cache, self.root)
                for root in found.foreign:
                    clones.check_idle(root)
                yield found

    @property
    def cache_root(self) -> Path:
        """DVC's cache directory."""
        with self.open() as repo:
            return Path(repo.cache.local_cache_dir)

    def beacon(self) -> AbstractContextManager[str]:
        """See `clones.showing_beacon`."""
        return clones.showing_beacon(self.cache_root)

    def recover(self, report: Report) -> None:
        """Restores previous outputs that killed processes have set aside."""
        with self.open() as repo:
            previous_outputs.recover(self, repo, report)
