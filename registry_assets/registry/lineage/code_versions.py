"""What determines the results of a stage besides its inputs: command, parameters, code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from registry_assets.dvc_repo import DvcRepo, build_listing, hash_listing
from registry_assets.model import Dependency, Parameter, Registry, Stage


class CodeReader:
    """Reads the code of a registry's stages, each file once.

    The code of a stage is its dependencies that are not outputs of a stage or ``.dvc`` file.

    Args:
        registry: The registry.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._dvc = DvcRepo(registry.root)
        self._hash_of = cache(self._hash)
        self._dvc_md5 = cache(self._md5)

    def version(self, stage: Stage) -> str:
        """One hash of the command, the parameter values and the code of a stage."""
        files = {
            dependency.path: self._hash_of(self._registry.root / dependency.path)
            for dependency in self._code_of(stage)
        }
        facts = {
            "command": stage.command,
            "parameters": {f"{p.file}:{p.key or ''}": _sortable(p.value) for p in stage.parameters},
            "files": files,
        }
        text = json.dumps(facts, sort_keys=True, default=str)
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

    def changes(self, stage: Stage) -> Iterator[str]:
        """Describe what differs from ``dvc.lock``.

        For a frozen stage only the command counts, because DVC ignores its dependencies.
        """
        if stage.command_changed:
            yield "the command changed"
        if stage.is_frozen:
            return
        for parameter in stage.parameters:
            if parameter.recorded != parameter.value:
                yield f"{parameter.file}: {parameter.key or 'its content'} is {_how(parameter)}"
        for dependency in self._code_of(stage):
            md5 = self._dvc_md5(self._registry.root / dependency.path)
            if md5 is None:
                yield f"{dependency.path} is deleted"
            elif dependency.version is None or dependency.version.md5 != md5:
                yield f"{dependency.path} is {'modified' if dependency.version else 'new'}"

    def _md5(self, path: Path) -> str | None:
        """The md5 that DVC would record; for a folder, that of its listing."""
        if not path.is_dir():
            return _md5_of_file(path)
        files = self._dvc.find_files(path)
        md5s = ((found.relative_to(path).as_posix(), _md5_of_file(found) or "") for found in files)
        return hash_listing(build_listing(md5s))

    def _hash(self, path: Path) -> object:
        """The md5 of a file; for a folder, those of its files without ``__pycache__``."""
        if not path.is_dir():
            return _md5_of_file(path)
        return {
            found.relative_to(path).as_posix(): _md5_of_file(found)
            for found in self._dvc.find_files(path)
            if "__pycache__" not in found.parts
        }

    def _code_of(self, stage: Stage) -> list[Dependency]:
        return [
            dependency
            for dependency in stage.dependencies
            if not dependency.is_external and not self._registry.holds_data(dependency.path)
        ]


def _sortable(value: object) -> object:
    """A parameter with all keys as strings, because YAML's numeric keys do not sort with them."""
    if isinstance(value, Mapping):
        return {str(key): _sortable(inner) for key, inner in value.items()}
    return [_sortable(inner) for inner in value] if isinstance(value, list) else value


def _how(parameter: Parameter) -> str:
    if parameter.recorded is None:
        return "new"
    return "deleted" if parameter.value is None else "modified"


def _md5_of_file(path: Path) -> str | None:
    try:
        return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    except FileNotFoundError:
        return None
