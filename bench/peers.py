"""Other tools: DVC, Oxen and Xvc, which keep versions of files, and CleanVision, which measures.

Oxen pushes to a server only, so it has no rows for a remote. imagededup is left out, as it brings
PyTorch and CUDA, three gigabytes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cells import Cells, Time
from images import DATASET
from photographs import build_photographs
from registries import IDENTITY
from transfers import build_many_files

from registry_assets.intake.initialising import init_registry

_PICTURES = "raw/shots"
_COMMIT = ["git", *IDENTITY, "commit"]
_COMMIT += ["--quiet", "--message", "Add pictures"]
_IDENTITY = [
    f"GIT_{role}_{field}=bench@example.org"
    for role in ("AUTHOR", "COMMITTER")
    for field in ("NAME", "EMAIL")
]
_CHECKOUT = Path(__file__).parents[1]
_LOCK = _CHECKOUT / "requirements-peers.lock"
_CLEANVISION = """
import sys, cleanvision
cleanvision.Imagelab(data_path=sys.argv[1]).find_issues(verbose=False)
"""
_XVC = "import sys, xvc; xvc.run_xvc('xvc ' + ' '.join(sys.argv[1:]))"
_OXEN = """
import sys, oxen
repo, (what, *rest) = oxen.Repo("."), sys.argv[1:]
if what == "init":
    oxen.user.config_user("bench", "bench@example.org")
getattr(repo, what)(*rest)
"""
_STEPS = {
    "add": "add {}, hard links, and commit",
    "status": "status of {}, nothing changed",
    "checkout": "check out {}",
    "push": "push {} to a folder",
    "pull": "pull {} from a folder",
}


@dataclass(frozen=True)
class _Peer:
    """A tool that keeps versions of files.

    Attributes:
        name: Of the tool.
        objects: The folder where it keeps them.
        commands: What to run for a step, one after another.
        prepare: What to run before, not measured.
    """

    name: str
    objects: str
    commands: Mapping[str, Sequence[list[str]]]
    prepare: Sequence[list[str]] = field(default=())


def measure_peers(scratch: Path, files: int, size: int, runs: int, time: Time) -> Iterator[Cells]:
    """Adding, looking at, checking out, pushing and pulling files in one folder.

    Tools work in turn, each in a copy of the same folder with hard links to the same files.

    Args:
        scratch: A folder for repositories.
        files: How many files.
        size: Bytes in each.
        runs: How often; each in repositories of their own.
        time: Returns how long a command takes in a folder.
    """
    base = scratch / "peers"
    build_many_files(base, files, size)
    ours, *others = _tools(_install(scratch / "peers-environment"))
    took: dict[str, dict[str, list[float]]] = {peer.name: {} for peer in (ours, *others)}
    for _ in range(runs):
        for peer in (ours, *others):
            for step, seconds in _run(peer, base, scratch / "peer", time):
                took[peer.name].setdefault(step, []).append(seconds)
    shutil.rmtree(base)
    of = f"{files:,} files of {size / 1000:.1f} kB"
    for step, work in _STEPS.items():
        for peer in others:
            if step in took[peer.name]:
                yield Cells(
                    work.format(of), peer.name, took[ours.name][step], took[peer.name][step]
                )


def measure_measuring(scratch: Path, count: int, runs: int, time: Time) -> Iterator[Cells]:
    """Measuring photographs: all that our table has, beside what CleanVision looks for.

    Both decode each picture once, on all cores. CleanVision looks for dark, light, odd, blurry,
    grey and equal pictures; ours also checks each file in full and hashes it.

    Args:
        scratch: A folder for pictures.
        count: Photographs of 640 x 480.
        runs: How often.
        time: Returns how long a command takes in a folder.
    """
    python = _install(scratch / "peers-environment")
    root = scratch / "measuring"
    list(init_registry(root))
    build_photographs(root / "pictures", count)
    extract = [sys.executable, str(root / DATASET / "src/extract_frames.py")]
    time([*extract, "--frames-per-second", "1", "pictures", "frames"], root)
    stage = [sys.executable, str(root / DATASET / "src/measure_images.py")]
    ours, theirs = [], []
    for number in range(runs):
        ours.append(time([*stage, "pictures", "frames", f"out{number}"], root))
        theirs.append(time([str(python), "-c", _CLEANVISION, "pictures"], root))
    work = f"measure {count:,} photographs of 640 x 480"
    yield Cells(work, "CleanVision", ours, theirs)
    shutil.rmtree(root)


def _run(peer: _Peer, base: Path, root: Path, time: Time) -> Iterator[tuple[str, float]]:
    """The seconds of each step, in a repository that is gone afterwards."""
    shutil.copytree(base, root, copy_function=os.link, symlinks=True)
    # Settings are written in place.
    shutil.rmtree(root / ".dvc")
    shutil.copytree(base / ".dvc", root / ".dvc")
    for command in peer.prepare:
        time(command, root)
    count = sum(1 for _ in (root / _PICTURES).rglob("*.jpg"))
    before: Mapping[str, Callable[[], None]] = {
        "checkout": lambda: shutil.rmtree(root / _PICTURES),
        "pull": lambda: _lose(root, peer),
    }
    for step, commands in peer.commands.items():
        before.get(step, lambda: None)()
        os.sync()
        yield step, sum(time(command, root) for command in commands)
        if sum(1 for _ in (root / _PICTURES).rglob("*.jpg")) != count:
            raise SystemExit(f"{peer.name} lost files: {step}")
    shutil.rmtree(root)
    shutil.rmtree(root.with_name("peer-remote"), ignore_errors=True)


def _lose(root: Path, peer: _Peer) -> None:
    shutil.rmtree(root / _PICTURES)
    shutil.rmtree(root / peer.objects)


def _tools(python: Path) -> Iterator[_Peer]:
    """This project, and the others."""
    git = [["git", "add", "--all"], _COMMIT]
    remote = ["dvc", "remote", "add", "--default", "--force", "peer", "../peer-remote"]
    hard = [["dvc", "config", "cache.type", "hardlink,copy"], remote]
    restore = ["registry", "materialize", "--select", "key:raw", "--collection", "shots"]
    yield _Peer(
        "registry",
        ".dvc/cache",
        {
            "add": [["registry", "add", "shots"], *git],
            "status": [["registry", "status"]],
            "checkout": [restore],
            "push": [["registry", "push"]],
            "pull": [restore],
        },
        hard,
    )
    yield _Peer(
        "DVC",
        ".dvc/cache",
        {
            "add": [["dvc", "add", "--quiet", _PICTURES], *git],
            "status": [["dvc", "status", "--quiet"]],
            "checkout": [["dvc", "checkout", "--quiet", f"{_PICTURES}.dvc"]],
            "push": [["dvc", "push", "--quiet"]],
            "pull": [["dvc", "pull", "--quiet", f"{_PICTURES}.dvc"]],
        },
        hard,
    )
    # Settings of their own, and not in the home folder of whoever measures.
    alone = ["env", f"HOME={python.parents[1]}"]
    oxen = [*alone, str(python), "-c", _OXEN]
    yield _Peer(
        "Oxen",
        ".oxen",
        {
            "add": [[*oxen, "add", _PICTURES], [*oxen, "commit", "Add pictures"]],
            "status": [[*oxen, "status"]],
            "checkout": [[*oxen, "restore", _PICTURES]],
        },
        [[*oxen, "init"]],
    )
    xvc = [*alone, *_IDENTITY, str(python), "-c", _XVC]
    linked = ["--recheck-method", "hardlink"]
    yield _Peer(
        "Xvc",
        ".xvc/b3",
        {
            # It commits to Git itself.
            "add": [[*xvc, "file", "track", *linked, _PICTURES]],
            "status": [[*xvc, "file", "list", _PICTURES]],
            "checkout": [[*xvc, "file", "recheck", *linked, f"{_PICTURES}/"]],
            "push": [[*xvc, "file", "send", "--to", "peer", f"{_PICTURES}/"]],
            "pull": [[*xvc, "file", "bring", "--from", "peer", f"{_PICTURES}/"]],
        },
        [
            # It sets aside what is staged, which needs a first commit.
            [*_COMMIT, "--allow-empty"],
            [*xvc, "init"],
            [*xvc, "storage", "new", "local", "--name", "peer", "--path", "../peer-remote"],
        ],
    )


def _install(folder: Path) -> Path:
    """Installs the others in an environment of their own; returns its Python."""
    if (folder / "bin/python").exists():
        return folder / "bin/python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin/python"
    uv = [sys.executable, "-m", "scripts.environments", "pip", "install", "--quiet"]
    install = [*uv, "--python", str(python), "--require-hashes", "-r", str(_LOCK)]
    subprocess.run(install, check=True, cwd=_CHECKOUT)
    return python
