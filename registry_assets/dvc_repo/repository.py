"""Everything that the rest of the package asks of DVC, in one place."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from registry_assets.dvc_repo import (
    availability,
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
from registry_assets.dvc_repo.folders import ignoring
from registry_assets.dvc_repo.listings import Listings
from registry_assets.dvc_repo.loading import load_stages
from registry_assets.dvc_repo.opening import RepoAccess, Report
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
from registry_assets.model import Tracked, metafile_of

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
        """What every metafile declares; one that is broken is reported, and the rest is here."""
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
        """The files of the version that a ``.dvc`` file records of a folder.

        Empty where there is no such file, or the cache lacks the listing.
        """
        with self.open() as repo:
            return reading.read_recorded_files(repo, self.root, metafile, path)

    def output_states(
        self, addresses: Sequence[str] | None = None
    ) -> Mapping[str, states.OutputState]:
        """Compares the outputs of stages with their metafiles, as `dvc status` does.

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
        """Compares an output with its ``.dvc`` file; None when it is as recorded, or not there.

        DVC remembers the hash of every file by its date, size and inode, so that only files that
        changed are read.

        Raises:
            FileNotFoundError: when it is being written.
            DataBeingWrittenError: likewise.
        """
        with self.open() as repo:
            return edits.find_edit(self, repo, metafile, path)

    def find_files(self, folder: Path) -> list[Path]:
        """The files in a folder and its sub-folders that DVC does not ignore."""
        with self.open() as repo:
            return list(ignoring.find_files(repo, folder))

    def read_edges(self) -> set[tuple[str, str]]:
        """The edges between outputs in DVC's own index, from what is read to what is made.

        A stage that makes nothing stands for itself; DVC's graph of outputs leaves it out.
        """
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
        """Looks for the objects of versions in the cache, and hashes some of them, or all.

        Listings are hashed in any case: what the version has is not known but from them.

        Args:
            recorded: The md5 that is recorded for each path.
            most_hashed: How many files to hash in all, chosen by chance; None for every one.
        """
        with self.open() as repo:
            return objects.read_cache_states(repo, recorded, most_hashed)

    def find_damaged_objects(self, besides: Collection[str]) -> list[objects.VersionObject]:
        """Hashes every object of the cache; returns those that do not hash to their names.

        Args:
            besides: Objects to leave out.
        """
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
        """The commit that an import would be updated to; nothing is fetched.

        Returns:
            The commit that its branch or tag, or the default branch, is at. The commit that it is
            pinned to stays. None when there is no such branch or tag.

        Raises:
            SourceUnreachableError: when the repository cannot be asked.
        """
        with self.open() as repo:
            (stage,) = load_stages(repo, self.root, [metafile])
            return sources.find_tip(repo, stage)

    def look_at_source(self, metafile: str, commit: str) -> sources.SourceLook:
        """Looks at what an import was taken from, as it is at a commit; fetches no data.

        Raises:
            SourceUnreachableError: when the repository cannot be cloned, or lacks the commit.
        """
        with self.open() as repo:
            (stage,) = load_stages(repo, self.root, [metafile])
            return sources.look(repo, stage, commit)

    def find_missing_at_source(self, metafile: str) -> tuple[str, ...]:
        """Looks on the remote of an import's repository for the objects of what was imported.

        Every object is looked for, as a remote that has the listing of a folder need not have all
        of its files; nothing is fetched but listings.

        Args:
            metafile: The ``.dvc`` file of an import from a Git repository.

        Returns:
            The paths, in the other repository, of what its remote lacks.

        Raises:
            SourceUnreachableError: when the repository or its remote does not answer, or the commit
                is not there.
        """
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
        """What `dvc update` would find changed about a path or URL outside: None, when nothing.

        Returns:
            DVC's word for it; ``deleted`` when there is nothing at the address any more.

        Raises:
            SourceUnreachableError: when the address does not answer.
        """
        with self.open() as repo:
            (stage,) = load_stages(repo, self.root, [metafile])
            return sources.changes_of_url(stage.deps[0])

    # --- persisting ----------------------------------------------------------------------------

    # Each is documented where it is defined, as a function whose first argument is the repository.
    running = running_stage
    run_batch = run_stages
    tracking = tracking_path
    importing = importing_path
    importing_from = importing_from_repository
    updating = updating_import
    restoring = restoring_recorded
    take_out = take_collection_out

    def find_left_out(self, path: str) -> str | None:
        """Why a folder that is not tracked yet would be refused for what DVC leaves out of it.

        As far as that is not for what `registry add` sets aside.
        """
        with self.open() as repo:
            return find_left_out(self, repo, path)

    def rule_above(self, place: Path) -> ignoring.IgnoreRule:
        """What the ignore files above a folder say of anything in it; those in it are not heeded.

        Ask it on the way down: it does not know that all is ignored in an ignored folder in there.
        """
        with self.open() as repo:
            return ignoring.rule_above(repo, str(place))

    def why_unseen(self, metafiles: Sequence[str]) -> Mapping[str, RegistryError | None]:
        """Why DVC does not see metafiles, whether they are there or not; None where it does.

        Git is asked about all of them at once, and within a session about none of them twice.
        """
        with self.open() as repo:
            return unseen.why_unseen(self, repo, metafiles)

    def ignored_folders(self, folders: Sequence[str]) -> frozenset[str]:
        """Those of some folders, by path from the root, that ``.dvcignore`` files ignore."""
        with self.open() as repo:
            ignored = repo.dvcignore.is_ignored_dir
            return frozenset(path for path in folders if ignored(str(self.root / path)))

    def check_seen(self, metafile: str) -> None:
        """Makes sure that DVC sees a metafile, or will see it when it is written.

        Raises:
            RefusedError: when it lies behind a link.
            RefusedError: when it is ignored.
        """
        with self.open() as repo:
            unseen.check_seen(self, repo, metafile)

    def check_trackable(self, path: str) -> None:
        """Makes sure that a path may have a ``.dvc`` file of its own, if it has none.

        Raises:
            RefusedError: when DVC would not see it.
            RefusedError: when it would lie behind a link.
            DvcError: naming what it overlaps with, or when Git tracks it.
        """
        with self.open() as repo:
            check_trackable(self, repo, path)

    @contextmanager
    def replacing(self, path: str) -> Iterator[previous_outputs.Replacement]:
        """While a path gets new content that is to be recorded: the old comes back if that fails.

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
        """Restores the outputs of stages and ``.dvc`` files from the cache, else pulls them.

        What is there already as recorded is left alone.

        Raises:
            DataNotAvailableError: when one is nowhere to be had.
            DataModifiedError: when one was edited by hand.
        """
        with self.open() as repo:
            for stage in load_stages(repo, self.root, addresses):
                for out in stage.outs:
                    data.ensure(self, repo, out, report)

    def write_text(self, path: str, text: str) -> None:
        """Replaces the text of a metafile in one rename: a reader sees the old or the new text."""
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
        """Sends to the remotes what they lack of outputs, and looks whether it is there.

        A remote that keeps versions of its own (``version_aware``) is left to DVC.

        Args:
            addresses: The stages and ``.dvc`` files whose outputs are sent; all when None.
            extra: Versions to send besides, by path of the output.
            full: Whether to read everything that is there, and replace what is damaged.
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
        """While nobody else reads or writes an output of the repository.

        Raises:
            RefusedError: when somebody does, naming the process.
        """
        with self.open() as repo, switching.standing_still(self, repo, report):
            yield

    def find_unsaved(self, paths: Sequence[str]) -> Sequence[switching.Unsaved]:
        """What stands at paths and would be lost with them: what the cache lacks, or DVC ignores.

        Of a folder that is also what is called how, which its listing says; not what file managers
        leave, which nobody will miss.
        """
        with self.open() as repo:
            return list(switching.find_unsaved(repo, paths))

    def find_leftovers(self, declared: Collection[str]) -> Mapping[str, str]:
        """What DVC brought into the workspace, nobody touched since, and nothing declares any more.

        `dvc checkout` removes the same. DVC knows it by inode and times (`folders/state.py`).

        Args:
            declared: The outputs that there are or will be; what overlaps with one is no leftover.

        Returns:
            The version of each, by path from the root.
        """
        with self.open() as repo:
            return switching.find_leftovers(self, repo, declared)

    def switch(
        self, gone: Mapping[str, tuple[str, str | None]], move: Callable[[], None], report: Report
    ) -> list[str]:
        """Moves Git to another commit, and takes away what that does not declare.

        A folder that no metafile names any more would pass for a new collection, so it goes first;
        it is put back where Git does not move, also by whoever comes next after a crash.

        Args:
            gone: The outputs that go, by path, with the stage or ``.dvc`` file and the version that
                it records; None of what nothing records any more.
            move: Moves Git.
            report: Takes progress.

        Returns:
            Those of the outputs that were there.
        """
        with self.open() as repo:
            return switching.switch(self, repo, gone, move, report)

    def restore_all(self, report: Report) -> switching.Restored:
        """Brings every recorded version into the workspace: from the cache, else from a remote.

        Incomplete outputs are not restored: half a folder would pass for an edited one.
        """
        with self.open() as repo:
            return switching.restore_all(self, repo, self._collect(repo).stages, report)

    # --- remotes -------------------------------------------------------------------------------

    def read_remote_states(
        self, addresses: Sequence[str] | None = None, *, full: bool = False
    ) -> Mapping[str, remotes.RemoteState]:
        """Looks whether the recorded versions of outputs are on their remotes.

        Args:
            addresses: The stages and ``.dvc`` files whose outputs to look for, but for those that
                are not to be pushed; all when None.
            full: Whether to read and hash every object; else only sizes are compared.

        Returns:
            By path.

        Raises:
            RemoteError: when a remote cannot be asked.
            DvcError: when there is none, or it keeps versions of its own.
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
        """Looks whether a tracked folder may be recorded anew without some files.

        Raises:
            DataModifiedError: when it was edited besides: that would be recorded, too.
        """
        with self.open() as repo:
            purging.check_folder(repo, self, metafile, path, files)

    def take_files_out(
        self, metafile: str, path: str, files: Collection[str], *, report: Report
    ) -> None:
        """Removes files of a tracked folder from the workspace; recording that is another step.

        Only names are removed: what else has the same content by a link keeps it.

        Args:
            metafile: The ``.dvc`` file that records the folder.
            path: The folder, from the root; it is fetched where it is not in the workspace.
            files: What to remove, by path inside the folder; some may be gone, where an earlier
                attempt was interrupted.
            report: Takes progress.

        Raises:
            DataModifiedError: when the folder was edited besides.
            RegistryError: when a file cannot be removed.
        """
        with self.open() as repo:
            purging.take_files_out(self, repo, metafile, path, files, report)

    def find_in_cache(self, md5s: Collection[str]) -> list[purging.CachedObject]:
        """Finds contents in the cache, also where DVC 2 has left them."""
        with self.open() as repo:
            return list(purging.find_in_cache(repo, md5s))

    def remove_from_cache(
        self,
        md5s: Collection[str],
        find_needed: Callable[[], Collection[str]],
        *,
        report: Report,
    ) -> int:
        """Removes contents from the cache, while nobody is at work who may count on them.

        Only what is named is removed: what is put there meanwhile stays.

        Args:
            md5s: The contents.
            find_needed: Gives those of them that stay all the same; asked once nobody is at work.
            report: Takes a line when there is somebody to wait for.

        Returns:
            How many objects were removed.

        Raises:
            RegistryError: when one cannot be removed.
        """
        with self.open() as repo:
            return purging.remove_from_cache(self, repo, md5s, find_needed, report)

    def fetch_listings(self, versions: Mapping[str, str], *, report: Report) -> str | None:
        """Fetches from the default remote those listings of folders that the cache lacks.

        Args:
            versions: What to call the folder of each version when something is said about it.
            report: Takes progress.

        Returns:
            Why it cannot be asked; None when it was, or when there is nothing to ask or nobody.
        """
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

    def find_on_remote(self, name: str, md5s: Collection[str]) -> purging.RemoteContents:
        """Asks a remote which of some contents it has."""
        with self.open() as repo:
            return purging.find_on_remote(repo, name, md5s)

    def remove_from_remote(self, name: str, md5s: Sequence[str], *, report: Report) -> None:
        """Removes contents from a remote, as far as it has them.

        Raises:
            RemoteError: when it does not do it; what was removed is gone.
        """
        with self.open() as repo:
            purging.remove_from_remote(repo, name, md5s, report)

    def scan_cache(self) -> Mapping[str, garbage.ObjectUse]:
        """Everything in the cache, by md5, also what DVC 2 left there."""
        with self.open() as repo:
            return garbage.scan_cache(repo)

    @property
    def shares_cache(self) -> bool:
        """Whether other clones may use the cache, so that more than this one need what is in it."""
        with self.open() as repo:
            is_inside = Path(repo.cache.local.path).resolve().is_relative_to(self.root.resolve())
            return not is_inside or bool(repo.config["cache"].get("shared"))

    def recover(self, report: Report) -> None:
        """Puts back what killed processes left behind; leaves living ones alone."""
        with self.open() as repo:
            previous_outputs.recover(self, repo, report)
