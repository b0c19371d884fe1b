"""The answer of the last look holds until anything is written, and not a moment longer."""

from __future__ import annotations

import re
import shutil
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from registry_assets.cli import main
from registry_assets.dvc_repo import DvcRepo
from registry_assets.registry.status.last_status import Observation, observe
from registry_assets.registry.status.reading import read_status
from registry_assets.registry.status.values import RegistryStatus
from tests.conftest import lineage_of, run, write_tree
from tests.edits import EDITS
from tests.persisting.helpers import copy_repository

SETTLED = 0.05


@pytest.fixture
def done(finished_registry: Path, tmp_path: Path) -> Path:
    return copy_repository(finished_registry, tmp_path / "registry")


def settled(root: Path) -> Observation:
    time.sleep(2 * SETTLED)
    found = observe(root / "raw", settled_seconds=SETTLED)
    assert found is not None
    return found


def ask(root: Path) -> RegistryStatus:
    """Looks, reads and keeps the status, as the command does."""
    now = settled(root)
    lineage = lineage_of(root)
    status = read_status(lineage)
    now.keep(lineage.registry, status, DvcRepo(root).object_folders)
    return status


def test_whatever_is_written_ends_the_answer(finished_registry: Path, tmp_path: Path) -> None:
    for number, (name, edit) in enumerate(EDITS.items()):
        root = copy_repository(finished_registry, tmp_path / str(number))
        status = ask(root)
        assert settled(root).status == status, name
        edit(root)
        assert settled(root).status is None, name


def test_what_git_ignores_in_every_repository_counts(done: Path, tmp_path: Path) -> None:
    ignored = tmp_path / "ignored everywhere"
    run(done, "git", "config", "core.excludesFile", str(ignored))
    status = ask(done)
    assert settled(done).status == status
    ignored.write_text("*.dvc\n")
    assert settled(done).status is None


def test_what_nothing_depends_on_does_not_end_it(done: Path) -> None:
    (done / ".cache_of_a_tool").mkdir()
    write_tree(done, {".cache_of_a_tool/.gitignore": "*\n"})
    status = ask(done)
    write_tree(done, {".cache_of_a_tool/x": "1", ".dagster/y": "1", ".dvc/tmp/z": "1"})
    run(done, "git", "commit", "--quiet", "--allow-empty", "--message", "Anything")
    assert settled(done).status == status


def test_an_object_that_is_gone_or_has_come_back_ends_it(done: Path) -> None:
    metafile = (done / "raw/01_a.dvc").read_text()
    listing = re.findall(r"[0-9a-f]{32}\.dir", metafile)[0]
    cached = done / ".dvc/cache/files/md5" / listing[:2] / listing[2:]
    assert ask(done).up_to_date
    assert settled(done).status is not None
    cached.rename(done / ".dvc/tmp/away")
    assert settled(done).status is None
    status = ask(done)
    (collection,) = (item for item in status.raw if item.collection == "01_a")
    assert collection.state == "modified"
    assert "dvc fetch raw/01_a" in (collection.reason or "")
    assert settled(done).status == status
    (done / ".dvc/tmp/away").rename(cached)
    assert settled(done).status is None
    assert ask(done).up_to_date


def test_an_answer_is_not_kept_while_the_clock_could_hide_a_change(done: Path) -> None:
    write_tree(done, {"raw/01_a/one.txt": "one\n"})
    now = observe(done)
    assert now is not None
    lineage = lineage_of(done)
    now.keep(lineage.registry, read_status(lineage), DvcRepo(done).object_folders)
    assert settled(done).status is None


@pytest.mark.parametrize(
    "pipeline",
    [
        "stages:\n  a:\n    cmd: cp {outside}/x y\n    deps: ['{outside}/x']\n    outs: [y]\n",
        "vars: ['{up}/x']\nstages:\n  a:\n    cmd: echo ${{name}}\n",
        "stages:\n  a:\n    cmd: ls linked\n    deps: [linked]\n",
    ],
    ids=["dependency", "variables", "linked folder"],
)
def test_what_lies_elsewhere_is_looked_at_each_time(
    pipeline: str, done: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    write_tree(outside, {"x": "name: 1\n"})
    (done / "linked").symlink_to(outside)
    if "linked" not in pipeline:
        (done / "linked").unlink()
    text = pipeline.format(outside=outside, up="../outside")
    write_tree(done, {"dvc.yaml": text})
    ask(done)
    assert settled(done).status is None


def test_materialize_asks_nobody_when_nothing_was_written(done: Path) -> None:
    def materialize() -> str:
        result = CliRunner().invoke(main, ["--root", str(done), "materialize"])
        assert result.exit_code == 0, result.output
        return result.output

    log = done / ".dagster/history/runs/index.db"
    time.sleep(2.1)
    assert "Nothing to do" in materialize()
    before = log.stat()
    assert "Nothing to do" in materialize()
    assert log.stat().st_mtime_ns == before.st_mtime_ns
    shutil.rmtree(done / ".dagster")
    assert "Nothing to do" in materialize()
    assert log.exists(), "a new history is told everything again"


@pytest.mark.parametrize("command", ["status", "materialize"])
def test_an_answer_that_holds_is_given_without_dvc_and_dagster(done: Path, command: str) -> None:
    time.sleep(2.1)
    for _ in range(2):
        assert CliRunner().invoke(main, ["--root", str(done), command]).exit_code == 0
    # In a process of its own, as this one has imported everything.
    program = (
        "import atexit, sys; from registry_assets.cli import main; "
        "atexit.register(lambda: print(sorted({'dvc', 'dagster'} & {*sys.modules}))); "
        f"main(['--root', {str(done)!r}, {command!r}])"
    )
    assert run(done, sys.executable, "-c", program).splitlines()[-1] == "[]"
