"""Where a collection is gathered before it is moved, complete, into the raw folder.

``.arriving`` in the raw folder, so that one rename puts a collection into its place. It is hidden
from the sensor and from Git, and has DVC ignore what is in it: an archive may hold metafiles.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from registry_assets.errors import RegistryError

ARRIVING_FOLDER = ".arriving"

_IGNORE_ALL = "*\n"


@dataclass(frozen=True)
class Note:
    """What is remembered of one arrival.

    Attributes:
        source: The archive or folder that it came from.
        stamp: What tells an archive from a later one at its place; how a folder is brought.
        refusal: Why the archive was refused, None when it was not.
    """

    source: str
    stamp: str
    refusal: str | None = None


class Landing:
    """The place where one collection is gathered.

    Args:
        raw: The folder that collections are dropped into.
        name: The collection.
    """

    def __init__(self, raw: Path, name: str) -> None:
        self.target = raw / name
        self._home = raw / ARRIVING_FOLDER
        self._place = self._home / name
        self.folder = self._place / "content"
        self.journal = self._place / "copied.jsonl"
        self.unfinished = self._place / "unfinished"
        self._note = self._place / "note.json"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keeps other processes from gathering the collection meanwhile.

        Raises:
            RegistryError: when another one is at it.
        """
        self._prepare()
        with (self._place / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise RegistryError(
                    f"{self.target.name} is being brought in by another process: wait for it"
                ) from error
            yield

    def _prepare(self) -> None:
        self._place.mkdir(parents=True, exist_ok=True)
        for name in (".gitignore", ".dvcignore"):
            if not (self._home / name).exists():
                (self._home / name).write_text(_IGNORE_ALL, encoding="utf-8")

    def read_note(self) -> Note | None:
        """What is remembered of the last arrival of that name; None where that cannot be read."""
        try:
            return Note(**json.loads(self._note.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            # A note of another version has other fields.
            return None

    def write_note(self, note: Note) -> None:
        """Remembers an arrival."""
        self._prepare()
        temporary = self._note.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(note)), encoding="utf-8")
        temporary.replace(self._note)

    def land(self, content: Path, note: Note) -> None:
        """Puts what was gathered into its place, in one step, and remembers where it came from.

        Raises:
            RegistryError: when there is something at that place.
        """
        if os.path.lexists(self.target):
            raise RegistryError(f"{self.target.name} is there already: choose another name")
        self.write_note(note)
        content.rename(self.target)
        self.clear()

    def clear(self) -> None:
        """Removes what was gathered so far; not the note."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for file in (self.journal, self.unfinished):
            file.unlink(missing_ok=True)

    def forget(self) -> None:
        """Removes all that is remembered: the collection is registered."""
        shutil.rmtree(self._place, ignore_errors=True)
