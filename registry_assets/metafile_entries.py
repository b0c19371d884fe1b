"""What single entries of metafiles record, from their text: without DVC, at any commit."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from registry_assets.errors import MetafileError
from registry_assets.lock_text import HEADER, LockText, split_lock
from registry_assets.merging import DVC_SUFFIX, LOCK_FILE
from registry_assets.model import Version


@dataclass(frozen=True)
class Entry:
    """A stage of a ``dvc.lock``, or a ``.dvc`` file.

    Attributes:
        address: DVC's own, with the path from the root.
        text: As it is written.
    """

    address: str
    text: str

    def read_outputs(self) -> Mapping[str, Version]:
        """The versions that it records, by path from the root; none where it records none yet.

        Raises:
            MetafileError: when it cannot be read.
        """
        metafile, _, name = self.address.partition(":")
        document = f"{HEADER}{self.text}" if name else self.text
        try:
            data: Any = YAML(typ="safe").load(document)
        except YAMLError as error:
            raise MetafileError(self.address, " ".join(str(error).split())) from error
        if name:
            (data,) = data["stages"].values()
        if not isinstance(data, dict):
            raise MetafileError(self.address, "it is no mapping")
        folder = posixpath.join(posixpath.dirname(metafile), str(data.get("wdir", "")))
        return {
            posixpath.normpath(posixpath.join(folder, str(out["path"]))): Version(
                str(out["md5"]), out.get("size"), out.get("nfiles")
            )
            for out in data.get("outs") or ()
            if out.get("md5")
        }


def records_versions(path: str) -> bool:
    """Whether a file is a metafile that records versions, by its name."""
    return path.endswith(DVC_SUFFIX) or PurePosixPath(path).name == LOCK_FILE


def split_entries(path: str, text: str | None) -> Mapping[str, Entry]:
    """The entries of a ``.dvc`` file or ``dvc.lock``, by address; none where there is no file.

    Raises:
        MetafileError: when it cannot be taken apart.
    """
    if not text:
        return {}
    if path.endswith(DVC_SUFFIX):
        return {path: Entry(path, text)}
    entries = {}
    for name, entry in _read_lock(path, text).entries.items():
        address = stage_address(path, name)
        entries[address] = Entry(address, entry)
    return entries


def stage_address(lock: str, name: str) -> str:
    """DVC's address of a stage, by the ``dvc.lock`` that records it and its name there."""
    return f"{PurePosixPath(lock).with_name('dvc.yaml')}:{name}"


def _read_lock(path: str, text: str) -> LockText:
    found = split_lock(text)
    if found is not None:
        return found
    from registry_assets.dvc_repo import read_lock_text

    try:
        return read_lock_text(text)
    except MetafileError as error:
        raise MetafileError(path, error.problem) from error
