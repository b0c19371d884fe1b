"""What a registry is after a command, so that disturbed and undisturbed runs can be compared."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from faults.programs import find_running
from faults.registries import Site

_TRUSTED = 0o444
_COMMENT = re.compile(rb"^#.*\n", re.MULTILINE)
_DATE = re.compile(r"\d{4}-\d\d-\d\dT[\d:.+]+")
_SECONDS = re.compile(r"\b\d+(\.\d+)? s\b")
# What may be left: unfinished objects, which nothing finds by any name, until `git gc` and
# `registry gc`.
_MAY_BE_LEFT = re.compile(r"registry/\.dvc/(cache|storage)/.*\.tmp|.*/tmp_(obj|pack|idx)_\w+")

# What each clone has for itself; and what a killed clone left, which the next one names.
_OWN = re.compile(r"\.(git|dvc|dagster)|\..*\.cloning-\w+")
_TAKEN_OUT = re.compile(r"in RWLock-file .* had been killed\. Auto removed")
# Not that of the metafile of an import itself, which is not indented.
_MD5 = re.compile(r"(?<=[ -])md5: ([0-9a-f]{32}(?:\.dir)?)")

State = Mapping[str, object]


def state_of(site: Site) -> State:
    """What has to be the same after a disturbed run as after an undisturbed one.

    Files and their contents, objects in cache and remote, branches and tags by their trees, and
    what the commands that check say.
    """
    return {
        "files": dict(_files(site.root)),
        "files beside": dict(_files(site.beside)),
        "cache": sorted(name for name, _ in find_objects(site.cache)),
        "remote": sorted(name for name, _ in find_objects(site.root / ".dvc/storage")),
        "history": _history(site, site.root),
        "history of origin": _history(site, site.origin),
        **look(site),
    }


def look(site: Site) -> State:
    """What the commands that check say."""
    said = {}
    for command in (*_checks(), *(c for root in _beside(site) for c in _checks(root))):
        ended = site.run(*command)
        output = _SECONDS.sub("… s", ended.output.replace(str(site.place), "…"))
        # DVC warns in the order in which the disk has the metafiles, and takes out of its `rwlock`
        # what killed processes held.
        lines = (line for line in output.splitlines() if not _TAKEN_OUT.search(line))
        output = "\n".join(sorted(lines))
        said[" ".join(command)] = f"{output.strip()} ({ended.code})"
    return said


def _checks(root: str = ".") -> Sequence[tuple[str, ...]]:
    return (
        ("git", "-C", root, "status", "--porcelain"),
        ("git", "-C", root, "fsck", "--strict", "--no-dangling", "--no-progress"),
        ("dvc", "--cd", root, "status"),
        ("registry", "--root", root, "lineage", "--check"),
    )


def _beside(site: Site) -> list[str]:
    """The registries that were made beside the first one, from there."""
    return sorted(f"../beside/{git.parent.name}" for git in site.beside.glob("*/.git"))


def differences(before: State, after: State) -> Iterator[str]:
    """Yields what differs between two states, a line each."""
    for name in sorted({*before, *after}):
        one, other = before.get(name), after.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            for key in sorted({*one, *other}):
                if one.get(key) != other.get(key):
                    yield f"{name}, {key}: {other.get(key)} instead of {one.get(key)}"[:400]
        elif isinstance(one, list) and isinstance(other, list):
            lacks, has = sorted({*one} - {*other}), sorted({*other} - {*one})
            if lacks or has:
                yield f"{name}: lacks {lacks}, has {has}"[:400]
        elif one != other:
            yield f"{name}: {other!r} instead of {one!r}"[:1500]


def wrongs(site: Site, *, was_disturbed: bool = False) -> Iterator[str]:
    """Yields what should never be, a line each: damaged objects, and what lies about."""
    objects = dict(find_objects(site.cache))
    yield from damaged_objects({name: at for name, at in objects.items() if not is_protected(at)})
    yield from damages(site)
    for path in leftovers(site, was_disturbed=was_disturbed):
        yield f"left lying about: {path.relative_to(site.place)}"
    for process in find_running(site.place):
        yield f"left running: {' '.join(process.cmdline())[:200]}"


def damaged_objects(objects: Mapping[str, Path]) -> Iterator[str]:
    """Yields those objects of a cache or remote that are damaged, a line each."""
    for name, path in objects.items():
        if not is_whole(name, path):
            yield f"damaged object: {path.parents[3].name} has {name}, {path.stat().st_size} bytes"


def is_whole(name: str, path: Path) -> bool:
    """Whether an object has the content that its name tells."""
    md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    return md5 == name.removesuffix(".dir")


def is_protected(path: Path) -> bool:
    """Whether an object of a cache has the mode by which DVC trusts it."""
    return stat.S_IMODE(path.stat().st_mode) == _TRUSTED


def damages(site: Site) -> Iterator[str]:
    """Yields what should not be at any moment: damaged objects, and metafiles without theirs.

    Where DVC itself stores an object, it may have its name before its content, but not yet the mode
    of objects: without that, neither DVC nor we take an object for what its name says.
    """
    objects = dict(find_objects(site.cache))
    yield from damaged_objects({name: at for name, at in objects.items() if is_protected(at)})
    yield from damaged_objects(dict(find_objects(site.root / ".dvc/storage")))
    there = {name for name, at in objects.items() if is_protected(at) or is_whole(name, at)}
    for path in (*site.root.rglob("*.dvc"), *site.root.rglob("dvc.lock")):
        if path.is_file():
            for md5 in set(_MD5.findall(path.read_text(encoding="utf-8"))):
                named = {md5, *(_listed(site, md5) if md5 in there else ())}
                for name in sorted(named - there):
                    yield f"{path.relative_to(site.root)} names {md5}, and the cache lacks {name}"


def _listed(site: Site, md5: str) -> set[str]:
    path = site.cache / "files/md5" / md5[:2] / md5[2:]
    is_folder = md5.endswith(".dir")
    return {entry["md5"] for entry in json.loads(path.read_bytes())} if is_folder else set()


def leftovers(site: Site, *, was_disturbed: bool = False) -> list[Path]:
    """What a killed process may have left, that the next command should have removed.

    What a dead process held in DVC's ``rwlock`` may stay after a disturbance: the same command has
    no need to lock anything where nothing is left to do. Whoever locks next takes it out, and DVC
    does not wait for it. Without a disturbance, it was not given back.
    """
    found = [*site.temporary.iterdir()]
    tmp = site.root / ".dvc/tmp"
    found.extend((tmp / "registry").glob("*-*"))
    rwlock = tmp / "rwlock"
    pids = list(_holders(rwlock))
    if any(map(psutil.pid_exists, pids)) if was_disturbed else pids:
        found.append(rwlock)
    for where, folders, names in os.walk(site.root):
        found.extend(Path(where) / name for name in (*folders, *names) if name.endswith(".tmp"))
    for git in (site.root / ".git", site.origin):
        found.extend(git.rglob("*.lock"))
        found.extend((git / "worktrees").glob("*"))
    named = {path.relative_to(site.place).as_posix(): path for path in found}
    return [path for name, path in named.items() if not _MAY_BE_LEFT.fullmatch(name)]


def _holders(rwlock: Path) -> Iterator[int]:
    """The processes that hold paths by a ``rwlock`` of DVC."""
    if rwlock.exists():
        held = json.loads(rwlock.read_text(encoding="utf-8") or "{}")
        for holders in (*held.get("write", {}).values(), *held.get("read", {}).values()):
            yield from (by["pid"] for by in (holders if isinstance(holders, list) else [holders]))


def find_objects(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yields the objects of a cache or remote, by md5."""
    for path in (folder / "files/md5").glob("??/*"):
        name = path.parent.name + path.name
        if re.fullmatch(r"[0-9a-f]{32}(\.dir)?", name):
            yield name, path


def _files(root: Path) -> Iterator[tuple[str, str]]:
    for where, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not _OWN.fullmatch(name)]
        for name in names:
            if name == ".env":
                continue
            path = Path(where) / name
            content = path.read_bytes()
            is_text = path.suffix in (".dvc", ".lock", ".yaml") or name == ".gitignore"
            if name == ".dvcignore":
                # Its first lines say what it is for: DVC writes them once, and does not sync them.
                content = _COMMENT.sub(b"", content)
            md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
            text = content.decode(errors="replace") if is_text else md5
            yield path.relative_to(root).as_posix(), _DATE.sub("…", text)


def _history(site: Site, git: Path) -> str:
    # Commits themselves may differ in their parents, where a part was done before.
    form = "%(refname) %(tree)%(*tree) %(contents:subject)"
    refs = site.check("git", "-C", str(git), "for-each-ref", f"--format={form}")
    head = ("rev-parse", "--symbolic-full-name", "HEAD", "HEAD^{tree}")
    return refs + site.check("git", "-C", str(git), *head)
