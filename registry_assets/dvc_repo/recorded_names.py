"""What metafiles and listings may name: objects by their md5, and files inside a folder.

Both come with a branch or from a remote, so anybody may have written them. An md5 becomes a path in
the cache, and the name of a file a path in the workspace: neither may lead elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from registry_assets.model import FOLDER_SUFFIX

_DIGITS = b"0123456789abcdef"
_LENGTH = 32
_HASH = "md5"
_OBJECT = re.compile(rf"[0-9a-f]{{{_LENGTH}}}(?:{re.escape(FOLDER_SUFFIX)})?")


def are_md5s(md5s: Collection[str]) -> bool:
    """Whether all are md5s of files, as DVC writes them."""
    is_long = set(map(len, md5s)) <= {_LENGTH}
    return is_long and not "".join(md5s).encode(errors="replace").translate(None, _DIGITS)


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
    items = (*(entry.get("deps") or ()), *(entry.get("outs") or ()))
    problems = (_find_problem_of(item) for item in items if isinstance(item, dict))
    return next(filter(None, problems), None)


def _find_problem_of(item: Mapping[str, Any]) -> str | None:
    path = item.get("path")
    if item.get("hash", _HASH) != _HASH:
        return f"{path} is recorded by {item['hash']!s:.99}, and DVC only uses {_HASH}"
    files = item.get("files") or ()
    for each in (item, *files):
        md5 = each.get(_HASH)
        if md5 is not None and not _OBJECT.fullmatch(str(md5)):
            return f"what is recorded of {path} is no md5"
    if files and not are_inside([str(file.get("relpath")) for file in files]):
        return f"what is recorded of {path} has files outside of it"
    return None


def find_problems(lock: Mapping[str, Any]) -> Iterator[str]:
    """The same for every stage of a ``dvc.lock``."""
    for entry in (lock.get("stages") or {}).values():
        problem = find_problem(entry) if isinstance(entry, dict) else None
        if problem is not None:
            yield problem
