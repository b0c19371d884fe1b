"""Ending commands whose worker was killed.

Nothing in a process runs when it is killed, so a shell waits for it: it holds the read end of a
pipe, which the system closes with the process.
"""

from __future__ import annotations

import atexit
import contextlib
import subprocess
from pathlib import Path

# Reads process groups, a line each; an empty line for none. The folder is `$1`. Files in it may be
# hard links to objects of a cache, so they keep their mode.
_SCRIPT = """\
trap '' HUP INT TERM
group=
while read -r line; do group=$line; done
if [ -n "$group" ]; then
  kill -s TERM -- "-$group"
  tries=0
  while [ "$tries" -lt 50 ] && kill -s 0 -- "-$group"; do sleep 0.1; tries=$((tries + 1)); done
  kill -s KILL -- "-$group"
fi
find "$1" -type d ! -perm -u=rwx -exec chmod u+rwx {} +
rm -rf -- "$1"
"""
_MOST_SECONDS = 60.0


class Guard:
    """Ends a command and removes a folder when this process ends, however it ends.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process = self._start()
        atexit.register(self.close)

    def note(self, pid: int | None) -> None:
        """Takes the process group to end, instead of the one before; None for none."""
        line = b"\n" if pid is None else b"%d\n" % pid
        try:
            self._write(line)
        except BrokenPipeError:
            # Somebody ended it. It has removed the folder, or not.
            self._process.wait()
            self._process = self._start()
            self._write(line)

    def close(self) -> None:
        """Removes the folder."""
        atexit.unregister(self.close)
        stdin = self._process.stdin
        assert stdin is not None
        with contextlib.suppress(BrokenPipeError):
            stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_MOST_SECONDS)

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["/bin/sh", "-c", _SCRIPT, "registry-guard", str(self._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            bufsize=0,
            # Whoever ends the process group of this process must not end it, too.
            start_new_session=True,
        )

    def _write(self, line: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line)
