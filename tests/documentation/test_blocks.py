"""The commands of the documentation, run as they stand.

A mark on the line before a block says that it is run:

    <!-- run: NAME -->              blocks of a page with one name run in order, in one place
    <!-- run: NAME expect-fail -->  the block has to fail

They start in the root of `my_registry`, a registry after `registry demo`, committed, whose branch
is pushed to Git's `origin`; those called `new` or `new-…` in a registry with nothing in `raw/`, and
those called `empty` or `empty-…` in an empty folder.

Beside the registries, and in the empty folder, lie `photographs/` with a folder for each sample
collection, and `photographs.zip`. `https://example.org/photos.git` leads to the repository that is
`origin`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import commit_all, run
from tests.documentation.conftest import ROOT

ORIGIN = "https://example.org/photos.git"
PATIENCE = 300
"""Seconds for the blocks of a name."""

_BLOCK = re.compile(
    r"^(?P<indent> *)(?:<!-- run: (?P<name>[\w-]+)(?P<fails> expect-fail)? -->\n(?P=indent))?"
    r"```(?P<language>[a-z]*)[^\n]*\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_LANGUAGES = {"bash": "bash", "python": "py"}


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    fails: bool


def pages() -> Iterator[Path]:
    yield ROOT / "README.md"
    yield from sorted((ROOT / "docs").rglob("*.md"))


def blocks_of(page: Path) -> dict[str, list[Block]]:
    """The marked blocks of a page, by name."""
    found: dict[str, list[Block]] = {}
    for block in _BLOCK.finditer(page.read_text(encoding="utf-8")):
        if block["name"]:
            text = re.sub(rf"^{block['indent']}", "", block["text"], flags=re.MULTILINE)
            item = Block(block["language"], text, bool(block["fails"]))
            found.setdefault(block["name"], []).append(item)
    return found


def marked() -> Iterator[tuple[str, str]]:
    for page in pages():
        yield from ((page.relative_to(ROOT).as_posix(), name) for name in blocks_of(page))


def test_every_mark_stands_before_a_block_that_can_be_run() -> None:
    for page in pages():
        text = page.read_text(encoding="utf-8")
        blocks = [block for some in blocks_of(page).values() for block in some]
        assert len(blocks) == len(re.findall(r"<!-- *run\b", text)), page
        assert {block.language for block in blocks} <= {*_LANGUAGES}, page


def test_what_the_readme_does_not_mark_installs_or_is_run_by_other_tests() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    unmarked = [
        line.partition("#")[0].split()
        for block in _BLOCK.finditer(text)
        if not block["name"] and block["language"] == "bash"
        for line in block["text"].splitlines()
    ]
    assert unmarked
    for program, *words in unmarked:
        if program == "make":
            assert re.search(rf"^{words[0]}:", makefile, re.MULTILINE), words
        else:
            # tests/test_distributions.py installs the wheel, tests/test_demo.py runs the demo.
            assert (program, words[0]) in {("pip", "install"), ("registry", "demo")}


@pytest.fixture(scope="session")
def named_demo(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo under the name that pages give it; to be copied."""
    root = tmp_path_factory.mktemp("named") / "my_registry"
    run(demo, "cp", "-a", str(demo), str(root))
    settings = root / "pyproject.toml"
    settings.write_text(settings.read_text().replace(f'"{demo.name}"', f'"{root.name}"'))
    run(root, "registry", "init", ".")  # as after any move
    run(root, "registry", "sync")
    run(root, "git", "commit", "--quiet", "--all", "--amend", "--no-edit")
    return root


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """Where the blocks of a name start."""
    name: str = request.node.callspec.params["name"]
    origin = tmp_path / "photos.git"
    run(tmp_path, "git", "init", "--quiet", "--bare", "--initial-branch=main", str(origin))
    home = tmp_path / "home"
    shutil.copytree(Path.home(), home, symlinks=True)
    with (home / ".gitconfig").open("a") as settings:
        settings.write(f'[url "{origin}"]\n\tinsteadOf = {ORIGIN}\n')
    monkeypatch.setenv("HOME", str(home))
    work = tmp_path / "work"
    samples = ROOT / "samples"
    shutil.copytree(samples, work / "photographs", ignore=shutil.ignore_patterns("*.md"))
    shutil.make_archive(str(work / "photographs"), "zip", work / "photographs")
    kind = name.partition("-")[0]
    if kind == "empty":
        return work
    root = work / "my_registry"
    if kind == "new":
        run(work, "registry", "init", str(root))
        commit_all(root, "Start")
    else:
        demo: Path = request.getfixturevalue("named_demo")
        run(work, "cp", "-a", str(demo), str(root))
        run(root, "registry", "init", ".")  # as after any move
    run(root, "git", "remote", "add", "origin", ORIGIN)
    run(root, "git", "push", "--quiet", "--set-upstream", "origin", "main")
    return root


@pytest.mark.parametrize(("page", "name"), list(marked()))
def test_the_commands_of_a_page_do_what_it_says(
    page: str, name: str, start: Path, tmp_path: Path
) -> None:
    lines = ["set -euo pipefail"]
    for number, block in enumerate(blocks_of(ROOT / page)[name], 1):
        place = tmp_path / f"{number}.{_LANGUAGES[block.language]}"
        place.write_text(block.text, encoding="utf-8")
        lines.append(f"echo '=== block {number}' >&2")
        program = "bash -euo pipefail" if block.language == "bash" else sys.executable
        if block.fails:
            lines.append(f"if {program} {place}; then echo 'did not fail' >&2; exit 99; fi")
        elif block.language == "bash":
            lines.append(f". {place}")  # so that `cd` and variables hold for the blocks after it
        else:
            lines.append(f"{program} {place}")
    done = subprocess.run(
        ["bash", "-c", "\n".join(lines)],
        cwd=start,
        env=os.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, f"{page}, {name}\n{done.stdout}\n{done.stderr}"
