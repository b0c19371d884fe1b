"""Objects that the remotes of imported repositories lack."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dvc.dependency.repo import RepoDependency
from dvc.repo import Repo
from dvc_data.hashfile.tree import Tree

from registry_assets.dvc_repo.overlaps import overlap
from registry_assets.dvc_repo.sources import address_of_source, clean_up_at_exit, reaching
from registry_assets.errors import SourceUnreachableError

if TYPE_CHECKING:
    from dvc.output import Output as DvcOutput
    from dvc.stage import Stage as DvcStage


def find_missing(repo: Repo, stage: DvcStage) -> tuple[str, ...]:
    """Finds the objects of an import that the remote of its repository lacks."""
    address = address_of_source(repo, stage)
    dependency = stage.deps[0]
    path = str(dependency.def_path)
    clean_up_at_exit()
    commit = dependency.def_repo.get(RepoDependency.PARAM_REV_LOCK)
    with reaching(address), Repo.open(address, rev=commit) as source:
        outputs = [out for out in source.index.outs if overlap(_path_of(out), path)]
        return tuple(name for out in outputs for name in _missing(source, out))


def _path_of(out: DvcOutput) -> str:
    """The path of an output from the root of its repository, also at another commit."""
    return str(out.fs.relpath(out.fs_path, out.repo.root_dir)).replace("\\", "/")


def _missing(source: Repo, out: DvcOutput) -> Iterator[str]:
    if not out.use_cache:
        return
    hash_name = str(out.hash_name)
    remote: Any = source.cloud.get_remote_odb(out.remote, "look", hash_name=hash_name)
    path = _path_of(out)
    named = {str(out.hash_info.value): path}
    if out.hash_info.isdir:
        listing = out.get_obj()
        if not isinstance(listing, Tree):
            raise SourceUnreachableError(str(remote.path), f"it lacks the listing of {path}")
        named |= {str(info.value): f"{path}/{'/'.join(key)}" for key, _, info in listing}
    there = set(remote.oids_exist(list(named)))
    yield from (name for md5, name in named.items() if md5 not in there)
