"""The folder in which a collection is assembled before one rename moves it into the raw folder.

It is ``.arriving`` in the raw folder, hidden from the sensor, and ignored by Git and DVC, because
an archive may contain metafiles.
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
from registry_assets.writing import rename, replace_file, sync_disks, write_whole

ARRIVING_FOLDER = ".arriving"

_IGNORE_ALL = "*\n"


@dataclass(frozen=True)
class Note:
    """A record of one arrival.

    Attributes:
        source: The archive or folder that it came from.
        stamp: For an archive, its fingerprint; for a folder, how it is copied.
        refusal: Why the archive was rejected; None when it was not.
    """

    source: str
    stamp: str
    refusal: str | None = None


class Landing:
    """The folder in which one collection is assembled.

    Args:
        raw: The raw folder.
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
        """Lock the folder against other processes.

        Raises:
            RegistryError: when another process holds the lock.
        """
        self._prepare()
        with (self._place / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise RegistryError(
                    f"another process is adding {self.target.name}: wait until it is done"
                ) from error
            yield

    def _prepare(self) -> None:
        self._place.mkdir(parents=True, exist_ok=True)
        for name in (".gitignore", ".dvcignore"):
            if not (self._home / name).exists():
                write_whole(self._home / name, _IGNORE_ALL)

    def read_note(self) -> Note | None:
        """The note of the last arrival of that name; None if there is none, or not readable."""
        try:
            return Note(**json.loads(self._note.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            # Another version of this package may have written other fields.
            return None

    def write_note(self, note: Note) -> None:
        """Write the note of an arrival."""
        self._prepare()
        temporary = self._note.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(note)), encoding="utf-8")
        replace_file(temporary, self._note)

    def land(self, content: Path, note: Note) -> None:
        """Move the complete collection into the raw folder, and write its note.

        Raises:
            RegistryError: when the raw folder has something of that name.
        """
        if os.path.lexists(self.target):
            raise RegistryError(f"{self.target.name} exists already: choose another name")
        self.write_note(note)
        # The original may be on a card that is erased next.
        sync_disks(content)
        rename(content, self.target)
        self.clear()

    def clear(self) -> None:
        """Remove the content assembled so far; keeps the note."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for file in (self.journal, self.unfinished):
            file.unlink(missing_ok=True)

    def forget(self) -> None:
        """Remove content and note, once the collection is registered.

        The note goes last, as whoever finds it does this again.
        """
        self.clear()
        for file in (self._place / "lock", self._note):
            file.unlink(missing_ok=True)
        shutil.rmtree(self._place, ignore_errors=True)
