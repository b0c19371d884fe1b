"""What a terminal is told short is told in full where something else reads it."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
import threading
from pathlib import Path

from registry_assets.making.progress import shorten
from tests.conftest import write_tree

WIDTH = 60


def on_terminal(root: Path, *arguments: str) -> list[str]:
    """The lines that a command writes to a terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, WIDTH, 0, 0))
    said: list[bytes] = []

    def read() -> None:
        try:
            while part := os.read(ours, 4096):
                said.append(part)
        except OSError:  # nobody writes to it any more
            pass

    reader = threading.Thread(target=read)
    reader.start()
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    subprocess.run(
        ["registry", *arguments],
        cwd=root,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        check=False,
    )
    os.close(theirs)
    reader.join()
    os.close(ours)
    return b"".join(said).decode().splitlines()


def in_pipe(root: Path, *arguments: str) -> list[str]:
    """The lines that a command writes where no terminal is."""
    done = subprocess.run(
        ["registry", *arguments], cwd=root, capture_output=True, text=True, check=False
    )
    return (done.stdout + done.stderr).splitlines()


def test_a_line_is_shortened_in_its_middle() -> None:
    assert shorten("0123456789", 10) == "0123456789"
    assert shorten("0123456789ab", 10) == "012 … 89ab"
    assert shorten("0123456789ab", None) == "0123456789ab"


def test_what_stages_say_is_cut_to_the_terminal_and_to_nothing_else(text_registry: Path) -> None:
    write_tree(text_registry, {f"raw/{'x' * WIDTH}/one.txt": "one\n"})
    command = f"python upper.py data/inputs/{'x' * WIDTH}"
    cut = on_terminal(text_registry, "materialize", "--collection", "x" * WIDTH)
    assert [line for line in cut if line.startswith("    ")]
    assert all(len(line) <= WIDTH for line in cut if line.startswith("    "))
    assert any(" … " in line for line in cut)
    said = in_pipe(text_registry, "materialize", "--collection", "x" * WIDTH, "--force")
    assert any(command in line for line in said)
    assert not any("…" in line for line in said)
