"""The sources of imports: looking up their current version, and fetching it into the cache.

Nothing here takes a lock or touches the workspace. A Git repository is read at one commit, never
from its work tree, so that ``rev_lock`` names what was imported.
"""

from __future__ import annotations

import atexit
import posixpath
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from dvc.dependency.repo import RepoDependency
from dvc.repo.open_repo import clean_repos
from dvc_data.hashfile.build import build
from dvc_data.hashfile.transfer import transfer
from dvc_data.hashfile.tree import Tree

from registry_assets.addresses import is_local, without_secrets
from registry_assets.dvc_repo.folders.comparing import is_in_cache
from registry_assets.dvc_repo.opening import Report
from registry_assets.dvc_repo.origins import Origins
from registry_assets.dvc_repo.remotes import fetch_objects
from registry_assets.errors import (
    DvcError,
    NotFoundError,
    RefusedError,
    RegistryError,
    SourceUnreachableError,
)
from registry_assets.forgotten import FORGOTTEN_FILE, Forgotten, parse_forgotten
from registry_assets.git_repo import GitRepo, find_rev, is_commit, names_of
from registry_assets.units import few_of

if TYPE_CHECKING:
    from dvc.dependency import Dependency as DvcDependency
    from dvc.fs import DVCFileSystem
    from dvc.repo import Repo
    from dvc.stage import Stage as DvcStage
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.meta import Meta

_HASH = "md5"
_GONE = (404, 410)


@dataclass(frozen=True)
class SourceLook:
    """The state of an import's source at one commit.

    Attributes:
        commit: The commit.
        md5: The version at the imported path; None when nothing is there.
        has_recorded_commit: Whether the commit in ``rev_lock`` is still in the history.
    """

    commit: str
    md5: str | None
    has_recorded_commit: bool


@dataclass
class _Session:
    """Cached refs of repositories, and file systems at a commit."""

    refs: dict[str, Mapping[str, str] | SourceUnreachableError] = field(default_factory=dict)
    files: dict[str, DVCFileSystem] = field(default_factory=dict)


_session: ContextVar[_Session | None] = ContextVar("_session", default=None)


@contextmanager
def source_session() -> Iterator[None]:
    """Within this context each repository is queried and cloned once for all its imports.

    Clones are removed at the end; those made outside a session, when the process ends.
    """
    token = _session.set(_Session())
    try:
        yield
    finally:
        _session.reset(token)
        clean_repos()


@cache
def clean_up_at_exit() -> None:
    """Removes the clones of this process when it ends."""
    atexit.register(clean_repos)


def address_of_source(repo: Repo, stage: DvcStage) -> str:
    """The URL or absolute path of an import's repository."""
    url = str(stage.deps[0].def_repo[RepoDependency.PARAM_URL])
    return Origins(Path(repo.root_dir)).locate(url, Path(stage.path))


def find_tip(repo: Repo, stage: DvcStage) -> str | None:
    """The commit that `dvc update` would update an import to; fetches nothing."""
    definition = stage.deps[0].def_repo
    rev: str | None = definition.get(RepoDependency.PARAM_REV)
    recorded: str | None = definition.get(RepoDependency.PARAM_REV_LOCK)
    if rev is not None and recorded is not None and is_commit(rev) and recorded.startswith(rev):
        return recorded
    return find_commit(repo, address_of_source(repo, stage), rev)


def find_commit(repo: Repo, address: str, rev: str | None) -> str | None:
    """The commit of a branch, tag or commit hash (default: the default branch); None if unknown.

    Raises:
        SourceUnreachableError: when the repository cannot be reached.
    """
    if is_local(address):
        git = GitRepo(Path(address))
        if not Path(address).is_dir() or not git.is_repository:
            raise SourceUnreachableError(address, "there is no Git repository")
        return git.resolve(rev)
    refs = _read_refs(repo, address)
    # A full hash is not checked: that would need a clone.
    return find_rev(refs, rev) or (rev if rev and is_commit(rev) and len(rev) == 40 else None)


def lacks_revision(repo: Repo, address: str, rev: str | None) -> NotFoundError:
    """The error for a revision that a repository lacks, with some that it has."""
    there = names_of(_read_refs(repo, address))
    lacking = f"revision {rev}" if rev else "commit in its default branch"
    has = f"name one of those that it has with --rev, as {few_of(there)}"
    return NotFoundError(
        f"{without_secrets(address)} has no {lacking}, so nothing was imported: "
        f"{has if there else 'nothing is committed there yet'}"
    )


def _read_refs(repo: Repo, address: str) -> Mapping[str, str]:
    session = _session.get() or _Session()
    if address not in session.refs:
        try:
            session.refs[address] = GitRepo(Path(repo.root_dir)).read_refs(address)
        except SourceUnreachableError as error:
            session.refs[address] = error
    refs = session.refs[address]
    if isinstance(refs, SourceUnreachableError):
        raise refs
    return refs


def look(repo: Repo, stage: DvcStage, commit: str) -> SourceLook:
    """Looks up the version of an import's source at a commit; fetches no data."""
    address = address_of_source(repo, stage)
    recorded = stage.deps[0].def_repo.get(RepoDependency.PARAM_REV_LOCK)
    with reaching(address):
        dep = dependency_at(stage, address, commit)
        md5 = _version_there(repo, dep)
        clone = GitRepo(Path(dep.fs.repo.scm.root_dir))
    has_recorded = recorded is None or clone.holds(recorded)
    return SourceLook(commit, md5, has_recorded)


@contextmanager
def reaching(address: str) -> Iterator[None]:
    """Turns any other error into a `SourceUnreachableError`, or `DvcError` for what is damaged."""
    try:
        yield
    except RegistryError:
        raise
    except Exception as error:  # each storage library raises errors of its own
        if isinstance(error, RecursionError) or isinstance(error.__cause__, RecursionError):
            # Of what is parsed there, listings alone are not bounded.
            raise DvcError(
                f"a listing at {without_secrets(address)} is damaged (nested too deeply): ask who "
                "keeps that registry to record the folder anew"
            ) from error
        cause = f" ({error.__cause__})" if error.__cause__ is not None else ""
        reason = f"{error}{cause}".strip() or type(error).__name__
        raise SourceUnreachableError(address, reason) from error


def dependency_at(stage: DvcStage, address: str, commit: str) -> RepoDependency:
    """The dependency of an import, reading its source at a commit."""
    clean_up_at_exit()
    dep = stage.deps[0]
    definition = {
        **dep.def_repo,
        RepoDependency.PARAM_URL: address,
        RepoDependency.PARAM_REV_LOCK: commit,
    }
    at_commit = RepoDependency(definition, stage, str(dep.def_path))
    session = _session.get()
    if session is not None:
        # Opening a large repository takes DVC seconds.
        which = {key: value for key, value in definition.items() if key != RepoDependency.PARAM_REV}
        at_commit.fs = session.files.setdefault(repr(sorted(which.items())), at_commit.fs)
    return at_commit


def _version_there(repo: Repo, dep: RepoDependency) -> str | None:
    try:
        info = dep.fs.info(dep.fs_path)
    except FileNotFoundError:
        return None
    tracked = info.get("dvc_info")
    if tracked and tracked.get("isout") and info.get(_HASH):
        return str(info[_HASH])
    _, _, obj = build(repo.cache.local, dep.fs_path, dep.fs, _HASH, dry_run=True)
    return str(obj.hash_info.value)


def fetch_into_cache(repo: Repo, dep: DvcDependency, address: str) -> tuple[HashInfo, Meta]:
    """Fetches a dependency into the cache.

    Returns:
        Its hash, and the size and number of files that DVC would record.

    Raises:
        FileNotFoundError: when there is nothing at the path.
        DvcError: when an object could not be fetched, or is damaged at the source.
    """
    cache = repo.cache.local
    staging, meta, obj = build(cache, dep.fs_path, dep.fs, _HASH)
    result = transfer(staging, cache, {obj.hash_info}, shallow=False, verify=True)
    if result.failed:
        failed = len(result.failed)
        raise DvcError(f"{failed} objects of {dep.def_path} could not be fetched from {address}")
    damaged = sum(not Path(cache.oid_to_path(info.value)).exists() for info in result.transferred)
    if damaged:
        raise DvcError(f"{damaged} objects of {dep.def_path} are damaged at {address}")
    if isinstance(obj, Tree):
        # Listings have no sizes.
        sizes = (Path(cache.oid_to_path(info.value)).stat().st_size for _, _, info in obj)
        meta.size, meta.nfiles = sum(sizes), len(obj)
    # DVC does not keep the executable bit of imports.
    meta.isexec = False
    return obj.hash_info, meta


def fetch_commit(repo: Repo, stage: DvcStage, commit: str) -> tuple[HashInfo, Meta]:
    """Fetches an import, as it is at a commit of its source, into the cache.

    Raises:
        NotFoundError: when there is nothing at the path.
        RefusedError: when the source has forgotten pictures in it and removed their objects.
        SourceUnreachableError: when it could not be fetched.
    """
    address = address_of_source(repo, stage)
    with reaching(address):
        dep = dependency_at(stage, address, commit)
        try:
            dep.fs.info(dep.fs_path)
        except FileNotFoundError as error:
            raise source_gone(stage, address, str(dep.def_path)) from error
        try:
            return fetch_into_cache(repo, dep, address)
        except Exception as error:  # each storage library raises errors of its own
            forgotten = _find_purged(repo, dep, address)
            if not forgotten:
                raise
            raise _source_forgotten(str(dep.def_path), address, commit, forgotten) from error


def source_gone(stage: DvcStage, address: str, lacks: str) -> NotFoundError:
    """The error for an import whose source lacks the path, branch or commit."""
    (out,) = stage.outs
    source = without_secrets(address)
    if not out.hash_info:
        return NotFoundError(f"{source} has no {lacks}, so nothing was imported: check the name")
    return NotFoundError(
        f"{source} has no {lacks}, so {out} stays as it is: check the name, or import it again "
        "from where it is now"
    )


def _source_forgotten(
    path: str, source: str, commit: str, forgotten: Mapping[str, Forgotten]
) -> RefusedError:
    """The error for an import of pictures that its source has forgotten and purged."""
    entry = next(iter(forgotten.values()))
    who = f" by {entry.who}" if entry.who else ""
    why = f" ({entry.why})" if entry.why else ""
    return RefusedError(
        f"{path} cannot be fetched as of commit {commit[:7]} of {without_secrets(source)}: "
        f"{few_of([*forgotten], 1)} was forgotten there on {entry.when[:10]}{who}{why}, and its "
        "objects are gone for good: take a newer version, without --rev or with another one"
    )


def _find_purged(repo: Repo, dep: RepoDependency, address: str) -> Mapping[str, Forgotten]:
    """The purged pictures that an import has, by path in the source."""
    try:
        tip = find_commit(repo, address, None)
        git = GitRepo(Path(dep.fs.repo.scm.root_dir))
        text = git.text_at(tip, FORGOTTEN_FILE) if tip else None
        record = parse_forgotten(text) if text else {}
        purged = {md5: entry for md5, entry in record.items() if entry.purged}
        files = list(dep.fs.find(dep.fs_path)) if purged else []
        md5s = {path: str(dep.fs.info(path).get(_HASH)) for path in files}
    except Exception:  # the caller reports the error that came first
        return {}
    return {
        posixpath.join(str(dep.def_path), posixpath.relpath(path, dep.fs_path)): purged[md5]
        for path, md5 in md5s.items()
        if md5 in purged
    }


def fetch_recorded(repo: Repo, stage: DvcStage, report: Report) -> None:
    """Fetches the recorded version of an import into the cache.

    Tries the recorded commit, then this repository's remote, then the newest commit of the source
    if it has the same content.

    Raises:
        RegistryError: when none of them has it, with the reason of the first.
    """
    wanted = str(stage.outs[0].hash_info.value)
    recorded = stage.deps[0].def_repo.get(RepoDependency.PARAM_REV_LOCK)
    try:
        if recorded is None:
            raise source_gone(stage, address_of_source(repo, stage), "commit")
        found, _ = fetch_commit(repo, stage, recorded)
        if str(found.value) == wanted:
            return
        raise DvcError(f"commit {recorded[:7]} holds another version of it")
    except RegistryError as error:
        if _pull_from_own_remote(repo, stage, report):
            return
        tip = _find_same_content(repo, stage, wanted)
        if tip is None:
            raise
        report(f"not fetched from commit {str(recorded)[:7]} ({error}): using commit {tip[:7]}")
        fetch_commit(repo, stage, tip)


def _pull_from_own_remote(repo: Repo, stage: DvcStage, report: Report) -> bool:
    (out,) = stage.outs
    try:
        fetch_objects(repo, out, report)
    except RegistryError:
        return False
    out.obj = None
    return is_in_cache(out)


def _find_same_content(repo: Repo, stage: DvcStage, md5: str) -> str | None:
    """The newest commit of an import's branch, or of the default branch, with this content."""
    rev = stage.deps[0].def_repo.get(RepoDependency.PARAM_REV)
    for name in dict.fromkeys((rev, None)):
        try:
            tip = find_commit(repo, address_of_source(repo, stage), name)
            if tip is not None and look(repo, stage, tip).md5 == md5:
                return tip
        except RegistryError:
            continue
    return None


def changes_of_url(dep: DvcDependency) -> str | None:
    """What changed at an external path or URL, as `dvc status` says it; None if nothing."""
    address = str(dep.def_path)
    with reaching(address):
        change = next(iter(dep.status().values()), None)
        if change == "deleted" and dep.protocol != "local":
            _check_that_it_answers(dep)
    return None if change is None else str(change)


def _check_that_it_answers(dep: DvcDependency) -> None:
    """Raises if the server does not answer; DVC reports that as a missing file."""
    try:
        dep.fs.info(dep.fs_path)
    except FileNotFoundError as error:
        cause = error.__cause__
        if cause is not None and getattr(cause, "status", None) not in _GONE:
            raise SourceUnreachableError(str(dep.def_path), str(cause)) from error
