"""The run cache on a remote, in DVC's layout; single entries, while DVC copies all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from dvc.fs import HTTPFileSystem
from dvc.schema import COMPILED_LOCK_FILE_STAGE_SCHEMA as _SCHEMA
from dvc.utils.serialize import YAMLFileCorruptedError, parse_yaml
from dvc.utils.strictyaml import YAMLValidationError, validate
from dvc_objects.fs.utils import as_atomic

from registry_assets.dvc_repo.plain_yaml import dumps
from registry_assets.dvc_repo.remote_errors import place_of, reaching_remote
from registry_assets.dvc_repo.run_cache import name_of

if TYPE_CHECKING:
    from dvc.repo import Repo


class RemoteRuns:
    """The run cache on the default remote, as ``dvc push --run-cache`` writes it.

    Args:
        repo: The opened repository, which has a default remote.

    Raises:
        RemoteError: when the remote cannot be used.
    """

    def __init__(self, repo: Repo) -> None:
        self._place = place_of(repo, repo.config["core"]["remote"])
        with reaching_remote(self._place):
            odb = repo.cloud.get_remote_odb(None, "push", "md5-dos2unix")
        self._fs, self._path = odb.fs, str(odb.path)
        # As in DVC.
        self._is_supported = not isinstance(odb.fs, HTTPFileSystem)

    def read(self, folder: PurePosixPath) -> Sequence[Mapping[str, Any]]:
        """The entries in a folder such as ``runs/xx/yyyy``, without damaged ones.

        Raises:
            RemoteError: when the remote cannot be used.
        """
        if not self._is_supported:
            return []
        with reaching_remote(self._place):
            self._fs.fs.invalidate_cache()
            try:
                found = sorted(self._fs.find(self._fs.join(self._path, *folder.parts)))
            except FileNotFoundError:
                return []
            texts = {path: self._fs.cat_file(path).decode(errors="replace") for path in found}
        entries = [(self._fs.name(path), _parse(text)) for path, text in texts.items()]
        return [entry for name, entry in entries if entry and name_of(entry) == name]

    def write(self, place: PurePosixPath, entry: Mapping[str, Any]) -> None:
        """Writes an entry, unless there is one of that name.

        Raises:
            RemoteError: when the remote cannot be used.
        """
        if not self._is_supported:
            return
        with reaching_remote(self._place):
            path = self._fs.join(self._path, *place.parts)
            if self._fs.exists(path):
                return
            text = dumps(entry).encode()
            if self._fs.protocol == "local":
                # What is written elsewhere is there at once, or not at all.
                with as_atomic(self._fs, path, create_parents=True) as fresh:
                    self._fs.pipe_file(fresh, text)
            else:
                self._fs.makedirs(self._fs.parent(path), exist_ok=True)
                self._fs.pipe_file(path, text)


def _parse(text: str) -> Mapping[str, Any] | None:
    try:
        entry: Mapping[str, Any] = validate(parse_yaml(text, ""), _SCHEMA)
    except (YAMLFileCorruptedError, YAMLValidationError):
        return None
    return entry
