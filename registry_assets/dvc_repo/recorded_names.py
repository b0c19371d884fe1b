"""What metafiles and listings may name: objects by their md5, and files inside a folder.

Both come with a branch or from a remote, so anybody may have written them. An md5 becomes a path in
the cache, and the name of a file a path in the workspace: neither may lead elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from registry_assets.model import FOLDER_SUFFIX

_DIGITS = "0123456789abcdef"
_LENGTH = 32
_HASH = "md5"


def are_md5s(md5s: Collection[str]) -> bool:
    """Whether all are md5s, as DVC writes them."""
    return set(map(len, md5s)) <= {_LENGTH} and not "".join(md5s).strip(_DIGITS)


def are_inside(names: Collection[str]) -> bool:
    """Whether all are paths of files inside a folder: relative, and without ``..``."""
    # A listing may have a million, and few texts are searched faster than many.
    text = "/" + "/\0/".join(names) + "/"
    leads_out = any(part in text for part in ("//", "/./", "/../"))
    return not names or not (leads_out or text.count("\0") >= len(names))


def find_problem(entry: Mapping[str, Any]) -> str | None:
    """What a stage of a ``dvc.lock``, or a ``.dvc`` file, names that is no md5 or no file inside.

    Args:
        entry: Its data, which has the form that DVC demands.
    """
    for item in (*(entry.get("deps") or ()), *(entry.get("outs") or ())):
        if isinstance(item, Mapping):
            path = str(item.get("path"))
            if str(item.get("hash", _HASH)) != _HASH:
                return f"{path} is recorded by {item['hash']!s:.99}, and DVC only uses {_HASH}"
            files = item.get("files") or ()
            md5s = [each[_HASH] for each in (item, *files) if each.get(_HASH) is not None]
            if not are_md5s([str(md5).removesuffix(FOLDER_SUFFIX) for md5 in md5s]):
                return f"what is recorded of {path} is no md5"
            if not are_inside([str(file.get("relpath")) for file in files]):
                return f"what is recorded of {path} has files outside of it"
    return None


def find_problems(lock: Mapping[str, Any]) -> Iterator[str]:
    """The same for every stage of a ``dvc.lock``."""
    for entry in (lock.get("stages") or {}).values():
        problem = find_problem(entry) if isinstance(entry, Mapping) else None
        if problem is not None:
            yield problem
