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

from registry_assets.units import (
    cut,
    cut_middle,
    few_of,
    first_of,
    nothing_left_out,
    without_middle,
)
from tests.conftest import commit_all, run, write_tree

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


def test_a_line_is_cut_in_its_middle() -> None:
    assert without_middle("0123456789", 10) == "0123456789"
    assert without_middle("0123456789ab", 10) == "012 … 89ab"


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


def test_nothing_is_left_out_for_as_long_as_that_is_asked_for() -> None:
    names = list("abcde")
    for _ in range(2):
        assert few_of(names) == "a, b, c and 2 more"
        assert first_of(names, 2) == ["a", "b"]
        assert cut("abcde", 3) == "ab…"
        assert cut_middle("0123456789ab", 10) == "012 … 89ab"
        with nothing_left_out():
            assert few_of(names) == "a, b, c, d, e"
            assert first_of(names, 2) == names
            assert cut("abcde", 3) == "abcde"
            assert cut_middle("0123456789ab", 10) == "0123456789ab"
    assert few_of(names[:3]) == "a, b, c"


def test_a_list_is_short_at_a_terminal_and_whole_in_a_pipe(text_registry: Path) -> None:
    write_tree(text_registry, {f"raw/01_a/{number:03}.txt": "x\n" for number in range(120)})
    run(text_registry, "dvc", "add", "--quiet", "raw/01_a")
    commit_all(text_registry)
    files = ("diff", "HEAD~1", "--files")
    cut = on_terminal(text_registry, *files)
    assert len([line for line in cut if line.startswith("added ")]) == 100
    assert cut[-1] == "… and 22 more files: `--most 0` lists all"
    said = in_pipe(text_registry, *files)
    assert len([line for line in said if line.startswith("added ")]) == 122
    assert not any("…" in line for line in said)
    assert len(in_pipe(text_registry, *files, "--most", "5")) < 10


def test_collections_in_no_data_set_are_all_named_in_a_pipe(text_registry: Path) -> None:
    names = [f"{number:02}_{'x' * 30}" for number in range(10, 25)]
    write_tree(text_registry, {f"raw/{name}/one.txt": name for name in names})
    run(text_registry, "dvc", "add", "--quiet", *(f"raw/{name}" for name in names))
    (note,) = (line for line in in_pipe(text_registry, "status") if "in no data set" in line)
    assert note.startswith(f"in no data set: {', '.join(names)}; `registry import NAME --into ")
    (cut,) = (line for line in on_terminal(text_registry, "status") if "in no data set" in line)
    assert len(cut) == 300
    assert cut.endswith(note[-60:])


def test_names_and_errors_give_no_orders_to_a_terminal(text_registry: Path) -> None:
    write_tree(text_registry, {"raw/01_a/\x1b]0;mine\x07\rwiped\x9b2J\u202e.txt": "x\n"})
    run(text_registry, "dvc", "add", "--quiet", "raw/01_a")
    said = "\n".join(on_terminal(text_registry, "diff", "--files"))
    said += "\n".join(on_terminal(text_registry, "diff", "\x1b[2J"))
    assert r"added    raw/01_a/\x1b]0;mine\x07\rwiped\x9b2J\u202e.txt" in said
    assert r"tag \x1b[2J here" in said
    assert not set(said) & set("\x1b\x07\x9b\u202e")
