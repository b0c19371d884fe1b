"""The head: the machine that has the registry and asks workers for stages."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import commit_all, run
from tests.persisting.helpers import is_clean, leftovers, metafiles
from tests.workers.cluster import Cluster, wait_until

SETTINGS = "[tool.registry_assets.workers]"


def settle(root: Path, **settings: str | int) -> None:
    """Writes the settings for workers, in place of others, and commits them."""
    place = root / "pyproject.toml"
    before = place.read_text(encoding="utf-8").partition(SETTINGS)[0]
    lines = [f"{name} = {_toml(value)}" for name, value in settings.items()]
    place.write_text("\n".join([before.rstrip(), "", SETTINGS, *lines, ""]), encoding="utf-8")
    commit_all(root, "Have stages made by workers")


def _toml(value: str | int) -> str:
    is_plain = isinstance(value, int) or value.startswith("{")
    return str(value) if is_plain else f'"{value}"'


@dataclass
class Ended:
    """A command that has ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The lines that say what went wrong, but for what was not run because of it."""
        return [
            line
            for line in self.err.splitlines()
            if line.startswith("registry:") and "not run, as" not in line
        ]


class Head:
    """A command of the head that is running.

    Args:
        root: The registry.
        arguments: Of `registry`.
        environment: What is different for it.
        program: What runs (default: a fork of a process of the tests).
    """

    def __init__(
        self,
        root: Path,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        program: str = "registry",
    ) -> None:
        self.root = root
        with (
            (root.parent / "head.out").open("wb") as out,
            (root.parent / "head.err").open("wb") as err,
        ):
            self.process = subprocess.Popen(
                [program, *arguments],
                cwd=root,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        """What it said on standard error so far."""
        return (self.root.parent / "head.err").read_text(encoding="utf-8", errors="replace")

    def wait(self, seconds: float = 120) -> Ended:
        """Waits until it has ended."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"it ran for {seconds} s, and said:\n{self.said}") from None
        out = (self.root.parent / "head.out").read_text(encoding="utf-8", errors="replace")
        return Ended(code, out, self.said)

    def wait_until_said(self, text: str, seconds: float = 60) -> None:
        """Waits until it says something."""
        wait_until(lambda: text in self.said, repr(text), seconds)

    def kill(self) -> None:
        """Kills it, as the kernel does when memory is full."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def materialize(root: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> Ended:
    """Brings a registry up to date, and waits."""
    return Head(root, "materialize", *arguments, environment=environment).wait()


def begin_two(root: Path, cluster: Cluster) -> Head:
    """Has the head make two collections, and waits until both commands have begun; they hold."""
    settle(root, scheduler=cluster.address)
    cluster.hold("01_a", "02_b")
    head = Head(root, "materialize", "--collection", "01_a", "--collection", "02_b")
    wait_until(lambda: len(cluster.runs()) == 2, "two commands")
    return head


def check_undisturbed(root: Path, expected: Mapping[str, bytes]) -> None:
    """Checks that a registry is as `dvc repro` on one machine makes it, and that all agree.

    Args:
        root: The registry.
        expected: The metafiles of its twin.
    """
    assert metafiles(root) == expected
    assert is_clean(root)
    run(root, "registry", "lineage", "--check")
    assert leftovers(root) == []
    assert not list((root / ".dvc" / "cache" / "registry_assets" / "beacons").glob("*"))


def forget_cache(root: Path) -> None:
    """Empties the cache and the workspace of a registry; its remote keeps everything."""
    shutil.rmtree(root / ".dvc" / "cache")
