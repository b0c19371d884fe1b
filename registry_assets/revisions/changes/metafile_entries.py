"""Parsing single entries of metafiles, without DVC, so at any commit."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from registry_assets.bounded import check_yaml
from registry_assets.dvc_repo.lock_text import HEADER
from registry_assets.dvc_repo.plain_yaml import read_plain
from registry_assets.errors import MetafileError
from registry_assets.model import DVC_SUFFIX, LOCK_FILE, PIPELINE_FILE, Version
from registry_assets.revisions.changes.merging import read_lock

METAFILE_PATTERNS = (f"*{DVC_SUFFIX}", LOCK_FILE, f"*/{LOCK_FILE}")
"""The metafiles that record versions, as Git pathspecs."""

_MD5 = re.compile(r"[0-9a-f]{32}(?:\.dir)?")
_CONFLICT = re.compile(r"^(?:<{7}|={7}|>{7})(?: |$)", re.MULTILINE)


@dataclass(frozen=True)
class RecordedRun:
    """How a stage was run.

    Attributes:
        command: The command as in ``dvc.lock``; None for a ``.dvc`` file.
        parameters: The values of its parameters, by file (from the root) and key.
    """

    command: object
    parameters: Mapping[tuple[str, str], object]


@dataclass(frozen=True)
class MetafileEntry:
    """A stage of a ``dvc.lock``, or a ``.dvc`` file.

    Attributes:
        address: The DVC address, with the path from the root.
        text: The YAML text of the entry.
    """

    address: str
    text: str

    @property
    def is_stage(self) -> bool:
        """Whether it is a stage. Not told by a colon, which a ``.dvc`` file's name may have too."""
        return not self.address.endswith(DVC_SUFFIX)

    @property
    def metafile(self) -> str:
        """The ``dvc.yaml`` or ``.dvc`` file."""
        return self.address.partition(":")[0] if self.is_stage else self.address

    def read_outputs(self) -> Mapping[str, Version]:
        """The recorded versions of its outputs, by path from the root.

        Raises:
            MetafileError: when it cannot be read.
        """
        return self._read("outs")

    def read_dependencies(self) -> Mapping[str, Version]:
        """The recorded versions of its dependencies, by path from the root.

        Raises:
            MetafileError: when it cannot be read.
        """
        return self._read("deps")

    def read_run(self) -> RecordedRun:
        """The recorded command and parameters.

        Raises:
            MetafileError: when it cannot be read.
        """
        data = self._data
        folder = self._working_folder(data)
        return RecordedRun(
            data.get("cmd"),
            {
                (posixpath.normpath(posixpath.join(folder, str(file))), str(key)): value
                for file, values in (data.get("params") or {}).items()
                for key, value in (values or {}).items()
            },
        )

    def find_objects(self) -> frozenset[str]:
        """All md5s under its outputs, including those of cloud-versioned files.

        Raises:
            MetafileError: when it cannot be read.
        """
        return frozenset(_find_md5s(self._data.get("outs")))

    def _read(self, section: str) -> Mapping[str, Version]:
        data = self._data
        folder = self._working_folder(data)
        return {
            posixpath.normpath(posixpath.join(folder, str(item["path"]))): Version(
                str(item["md5"]), item.get("size"), item.get("nfiles")
            )
            for item in data.get(section) or ()
            # Anything else is the name of no object.
            if "path" in item and _MD5.fullmatch(str(item.get("md5")))
        }

    def _working_folder(self, data: Mapping[str, Any]) -> str:
        return posixpath.join(posixpath.dirname(self.metafile), str(data.get("wdir", "")))

    @cached_property
    def _data(self) -> dict[str, Any]:
        document = f"{HEADER}{self.text}" if self.is_stage else self.text
        try:
            data: Any = read_plain(document)
            if data is None:
                check_yaml(document, self.address)
                data = YAML(typ="safe").load(document)
        except (YAMLError, RecursionError, ValueError) as error:
            raise MetafileError(self.address, " ".join(str(error).split())) from error
        if self.is_stage:
            (data,) = data["stages"].values()
        if not isinstance(data, dict):
            raise MetafileError(self.address, "it is not a mapping")
        return data


def _find_md5s(value: object) -> Iterator[str]:
    """Every md5 in a nested value."""
    if isinstance(value, str):
        if _MD5.fullmatch(value):
            yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _find_md5s(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _find_md5s(inner)


def records_versions(path: str) -> bool:
    """Whether a file is a metafile that records versions, by its name."""
    return path.endswith(DVC_SUFFIX) or PurePosixPath(path).name == LOCK_FILE


def split_entries(path: str, text: str | None) -> Mapping[str, MetafileEntry]:
    """The entries of a ``.dvc`` file or ``dvc.lock``, by address; empty for an empty or no file.

    Raises:
        MetafileError: when it cannot be split, or contains conflict markers.
    """
    if not text:
        return {}
    if _CONFLICT.search(text):
        raise MetafileError(path, "it contains merge conflict markers")
    if path.endswith(DVC_SUFFIX):
        return {path: MetafileEntry(path, text)}
    entries = {}
    before = stage_address(path, "")
    try:
        lock = read_lock(text)
    except MetafileError as error:
        raise MetafileError(path, error.problem) from error
    for name, entry in lock.entries.items():
        address = before + name
        entries[address] = MetafileEntry(address, entry)
    return entries


def stage_address(lock: str, name: str) -> str:
    """The DVC address of a stage in a ``dvc.lock``."""
    return f"{PurePosixPath(lock).with_name(PIPELINE_FILE)}:{name}"
