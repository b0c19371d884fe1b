"""Reading and editing the text of metafiles; byte for byte as DVC writes it.

DVC rewrites all of ``dvc.lock`` for every entry, with a slow YAML library that keeps comments, so
that N entries cost N². Here DVC's serializer prints one entry, which is spliced into the text. A
file in another format is rewritten as a whole, as DVC would.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dvc.dvcfile import LOCK_FILE
from dvc.stage.serialize import to_lockfile, to_single_stage_file
from dvc.utils.serialize import YAMLError, parse_yaml, parse_yaml_for_update

from registry_assets.bounded import check_size, check_yaml, read_text
from registry_assets.dvc_repo.lock_text import (
    ANCHOR,
    ENTRY,
    HEADER,
    ODD_LINE,
    TOP_LEVEL_KEY,
    LockText,
    next_match,
    split_lock,
)
from registry_assets.dvc_repo.plain_yaml import dumps, read_plain
from registry_assets.dvc_repo.processes import name_of_mine
from registry_assets.dvc_repo.syncing import sync_stored
from registry_assets.errors import MetafileError
from registry_assets.git_repo import GitRepo
from registry_assets.git_repo.work_tree import bring_in, find_kept_out, kept_out
from registry_assets.writing import replace_file

if TYPE_CHECKING:
    from dvc.output import Output as DvcOutput
    from dvc.repo import Repo
    from dvc.stage import PipelineStage
    from dvc.stage import Stage as DvcStage
    from ruamel.yaml import YAML

# Names that YAML can write in one way only, except for quotes.
PLAIN_NAME = re.compile(r"[A-Za-z0-9_@.-]+")
# A list in the form that `with_collection` writes, which takes no parser: it grows with every
# collection, and would be parsed for each.
_PLAIN_LIST = re.compile(r'collections:\n(?:  - "[A-Za-z0-9_@.-]+"\n)+')
IGNORE_FILE = ".gitignore"
_NAME_LINE = re.compile(r"^  \S.*:$", re.MULTILINE)
_MOST_SEARCHED = 20


def replace_text(path: Path, text: str, *, scratch: Path | None = None) -> None:
    """Replaces the text of a file atomically, and syncs it.

    Args:
        path: The file.
        text: The new text.
        scratch: The folder for the temporary file (default: that of the file).

    Raises:
        RefusedError: when the file is missing because Git keeps it out of the work tree.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    check_not_kept_out(path)
    folder = scratch or path.parent
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{name_of_mine()}.tmp"
    try:
        with temporary.open("x", encoding="utf-8", newline="") as stream:
            stream.write(text)
        if path.exists():
            _keep_access(path, temporary)
        replace_file(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        is_elsewhere = isinstance(error, OSError) and error.errno == errno.EXDEV
        if not is_elsewhere or scratch is None:
            raise
        replace_text(path, text)


def _keep_access(path: Path, fresh: Path) -> None:
    """Copies the mode and, if permitted, the group of a file to its replacement."""
    with suppress(OSError):
        os.chown(fresh, -1, path.stat().st_gid)
    shutil.copymode(path, fresh)


def check_not_kept_out(path: Path) -> None:
    """Checks that a metafile is not missing because Git keeps it out of the work tree.

    Raises:
        RefusedError: when it is.
    """
    if not path.exists():
        folder = next(above for above in path.parents if above.is_dir())
        name = path.relative_to(folder).as_posix()
        git = GitRepo(folder)
        if find_kept_out(git).lacks(name):
            raise kept_out(f"{git.prefix()}{name}")


def bring_in_ignore_file(out: DvcOutput) -> None:
    """Restores the ``.gitignore`` for an output if Git keeps it out of the work tree.

    Otherwise DVC would create a new one, losing all other lines.
    """
    folder = Path(out.fs_path).parent
    if out.is_in_repo and folder.is_dir():
        bring_in(GitRepo(folder), IGNORE_FILE)


def remove_ignore_line(repo: Repo, path: str) -> str | None:
    """Removes the line for a path from the ``.gitignore`` beside it, as DVC's Git library does.

    The library empties the file before it writes what is left, which a power cut would make last.

    Returns:
        The file, or None if no line is left, and no file.
    """
    file = Path(path).with_name(IGNORE_FILE)
    if not file.exists():
        return None
    lines = [*StringIO(read_text(file))]
    kept = [line for line in lines if line.strip() != f"/{Path(path).name}".strip()]
    if not kept:
        file.unlink()
        return None
    if kept != lines:
        replace_text(file, "".join(kept), scratch=scratch_folder(repo))
    return str(file)


def write_dvc_file(stage: DvcStage) -> None:
    """Writes the ``.dvc`` file of a stage, preserving comments as DVC does."""
    text = dumps(to_single_stage_file(stage))
    sync_stored(stage.repo)
    replace_text(Path(stage.path), text, scratch=scratch_folder(stage.repo))


def write_lock_entries(stages: Sequence[PipelineStage], order: Sequence[str] = ()) -> None:
    """Writes the entries of stages into the ``dvc.lock`` beside each ``dvc.yaml``.

    Args:
        stages: The stages.
        order: The order of new entries, by stage name. Names that are not in it go to the end.
    """
    if stages:
        sync_stored(stages[0].repo)
    by_file: dict[Path, list[PipelineStage]] = {}
    for stage in stages:
        by_file.setdefault(Path(stage.path).with_name(LOCK_FILE), []).append(stage)
    for path, members in by_file.items():
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        entries = {name: e for stage in members for name, e in to_lockfile(stage).items()}
        after = splice_entries(before, entries, order)
        if after != before:
            replace_text(path, after, scratch=scratch_folder(members[0].repo))


def entry_names(path: Path) -> frozenset[str]:
    """The stages with entries in the ``dvc.lock`` beside a ``dvc.yaml``."""
    lock = path.with_name(LOCK_FILE)
    text = read_text(lock) if lock.exists() else ""
    return frozenset(line.strip().removesuffix(":") for line in _NAME_LINE.findall(text))


def scratch_folder(repo: Repo) -> Path:
    """The folder for temporary files; cleaned up after killed processes."""
    return scratch_below(Path(repo.dvc_dir))


def scratch_below(dvc_folder: Path) -> Path:
    """The folder for temporary files below the ``.dvc`` of a repository."""
    return dvc_folder / "tmp" / "registry"


def splice_entries(text: str, entries: Mapping[str, Any], order: Sequence[str] = ()) -> str:
    """Returns the text of a ``dvc.lock`` with entries replaced or added.

    The text is split once, so that many entries cost little more than one.

    Args:
        text: The text of the file; "" if it does not exist.
        entries: The entries by name of the stage, as returned by DVC's `to_lockfile`.
        order: See `write_lock_entries`.
    """
    cuts = {}
    for name, entry in entries.items():
        document = dumps({"schema": "2.0", "stages": {name: entry}})
        if not text and len(entries) == 1:
            return document
        cuts[name] = document.removeprefix(HEADER)
    parts = split_lock(text)
    if (
        parts is None
        # Flow style stays flow style.
        or (text and not parts.entries)
        # Repeated values get anchors, which are numbered throughout the file.
        or any(ODD_LINE.search(cut) or ANCHOR.search(cut) for cut in cuts.values())
    ):
        for name, entry in entries.items():
            text = _rewrite(text, {name: entry})
        return text
    return str(replace(parts, entries=_merge_in_order(parts.entries, cuts, order)))


def _merge_in_order(
    there: Mapping[str, str], cuts: Mapping[str, str], order: Sequence[str]
) -> Mapping[str, str]:
    """Replaces entries, and puts each new one before the first that follows it in the order."""
    new = {name: cut for name, cut in cuts.items() if name not in there}
    # The new entries before each that is there, or at the end; the last of them first.
    before: dict[str | None, list[str]] = {}
    follower: str | None = None
    for name in reversed(order):
        if name in there:
            follower = name
        elif name in new:
            before.setdefault(follower, []).append(name)
    merged = {}
    for name, cut in there.items():
        merged.update({other: new[other] for other in reversed(before.get(name, ()))})
        merged[name] = cuts.get(name, cut)
    merged.update({other: new[other] for other in reversed(before.get(None, ()))})
    return {**merged, **{name: cut for name, cut in new.items() if name not in merged}}


def read_lock(path: Path, names: Collection[str]) -> dict[str, Any]:
    """Reads some entries of the ``dvc.lock`` beside a ``dvc.yaml``; see `read_entries`."""
    lock = path.with_name(LOCK_FILE)
    text = read_text(lock) if lock.exists() else ""
    return read_entries(text, names)


def read_entries(text: str, names: Collection[str]) -> dict[str, Any]:
    """Reads some entries of a ``dvc.lock``; others are not parsed if it is in DVC's format.

    Args:
        text: The text of the file; "" if it does not exist.
        names: The stages; those without an entry are left out of the result.
    """
    if not text:
        return {}
    # Searching for each of many would read the text as many times; splitting it takes as long as
    # searching for a hundred.
    parts = split_lock(text) if len(names) > _MOST_SEARCHED else None
    if parts is not None:
        cuts = {name: parts.entries[name] for name in names if name in parts.entries}
        return dict(_parse(f"{HEADER}{''.join(cuts.values())}")["stages"]) if cuts else {}
    cuts = {name: cut for name in names if (cut := cut_entry(text, name)) is not None}
    wanted = list(cuts.values())
    unclear = any(name not in cuts and not _is_absent(text, name) for name in names)
    if not text.startswith(HEADER) or unclear or any(map(ANCHOR.search, wanted)):
        stages: dict[str, Any] = _parse(text).get("stages", {})
        return {name: stages[name] for name in names if name in stages}
    if not wanted:
        return {}
    return dict(_parse(f"{HEADER}{''.join(wanted)}")["stages"])


def _parse(text: str) -> Any:
    check_size(text, LOCK_FILE)
    data = read_plain(text)
    if data is None:
        check_yaml(text, LOCK_FILE)
        data = parse_yaml(text, LOCK_FILE)
    return data


def _is_absent(text: str, name: str) -> bool:
    """Whether a text certainly has no entry with a name, in any YAML style."""
    is_plain = PLAIN_NAME.fullmatch(name) is not None
    return is_plain and not re.search(rf"(?<![\w@.-]){re.escape(name)}(?![\w@.-])", text)


def read_lock_text(text: str) -> LockText:
    """Splits a ``dvc.lock`` into entries; if it is not in DVC's format, entries are reformatted.

    Raises:
        MetafileError: when it is not a ``dvc.lock``.
    """
    found = split_lock(text)
    if found is not None:
        return found
    try:
        data = _parse(text)
    except (YAMLError, RecursionError, ValueError) as error:
        raise MetafileError(LOCK_FILE, " ".join(str(error.__cause__ or error).split())) from error
    stages = data.get("stages") if isinstance(data, dict) else None
    if isinstance(data, dict) and data and "schema" not in data and stages is None:
        # DVC 1 wrote stages at the top level.
        data, stages = {}, data
    if not isinstance(stages, dict) or not all(isinstance(e, dict) for e in stages.values()):
        raise MetafileError(LOCK_FILE, "it has no stages")
    entries = {
        str(name): dumps({"schema": "2.0", "stages": {name: entry}}).removeprefix(HEADER)
        for name, entry in stages.items()
    }
    rest = {key: value for key, value in data.items() if key not in ("schema", "stages")}
    return LockText(entries, dumps(rest) if rest else "")


def without_entries(text: str, names: Collection[str]) -> str:
    """Returns the text of a ``dvc.lock`` without some entries; "" if none is left."""
    parsed = read_entries(text, names)
    if not parsed:
        return text
    parts = split_lock(text)
    if parts is not None:
        left = {name: entry for name, entry in parts.entries.items() if name not in parsed}
        return str(replace(parts, entries=left)) if left or parts.tail else ""
    data = parse_yaml_for_update(text, LOCK_FILE)
    for name in parsed:
        del data["stages"][name]
    is_empty = not data["stages"] and set(data) <= {"schema", "stages"}
    return "" if is_empty else dumps(data)


def cut_entry(text: str, name: str) -> str | None:
    """The text of one entry of a ``dvc.lock`` in DVC's format; None if it is not found."""
    start = text.find(f"\n  {name}:\n") + 1
    if start == 0:
        return None
    after = start + len(name)
    return text[start : min(next_match(ENTRY, text, after), next_match(TOP_LEVEL_KEY, text, after))]


def _rewrite(text: str, entry: Mapping[str, Any]) -> str:
    """Rewrites the whole file, as DVC does; slow."""
    data = parse_yaml_for_update(text, LOCK_FILE)
    if not data:
        data["schema"] = "2.0"
    data["stages"] = data.get("stages") or {}
    data["stages"].update(entry)
    return dumps(data)


def with_collection(text: str, name: str) -> str:
    """Returns the text of a ``collections.yaml`` with a collection added; comments are kept."""
    if PLAIN_NAME.fullmatch(name) and _PLAIN_LIST.fullmatch(text):
        line = f'  - "{name}"\n'
        return text if f"\n{line}" in text else f"{text}{line}"
    from ruamel.yaml.comments import CommentedSeq
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    yaml = _list_yaml()
    data = yaml.load(text)
    remarks = text if data is None else ""
    data = data or {}
    listed = data.get("collections") or []
    if name in listed:
        return text
    if not listed:
        # `collections: []` would stay in flow style, on one line.
        listed = CommentedSeq()
    listed.append(DoubleQuotedScalarString(name))
    data["collections"] = listed
    return remarks + _dump(yaml, data)


def without_collection(text: str, name: str) -> str:
    """Returns the text of a ``collections.yaml`` without a collection; comments are kept."""
    yaml = _list_yaml()
    data = yaml.load(text)
    listed = data.get("collections") if isinstance(data, Mapping) else None
    if not listed or name not in listed:
        return text
    listed.remove(name)
    return _dump(yaml, data)


def without_collections(text: str) -> str:
    """Returns the text of a ``collections.yaml`` that lists nothing, with all else that it has."""
    yaml = _list_yaml()
    data = yaml.load(text)
    if not isinstance(data, dict) or not data.get("collections"):
        return text
    data["collections"] = []
    return _dump(yaml, data)


def _list_yaml() -> YAML:
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = sys.maxsize
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def _dump(yaml: YAML, data: object) -> str:
    stream = StringIO()
    yaml.dump(data, stream)
    return stream.getvalue()
