"""The answer of the last look holds until anything is written, and not a moment longer."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from registry_assets.cli import main
from registry_assets.dvc_repo import DvcRepo
from registry_assets.fingerprint import Moment, read_clock
from registry_assets.registry.status import reading
from registry_assets.registry.status.last_status import Observation, observe
from registry_assets.registry.status.reading import read_status
from tests.conftest import lineage_of, run, write_tree
from tests.edits import DATASET, EDITS, ask, replace_in
from tests.persisting.helpers import copy_repository


@pytest.fixture
def done(finished_registry: Path, tmp_path: Path) -> Path:
    return copy_repository(finished_registry, tmp_path / "registry")


def look(root: Path) -> Observation:
    found = observe(root / "raw")
    assert found is not None
    return found


def of_coarse_times(folder: Path) -> Moment:
    """The clock of a file system that stores even seconds."""
    return Moment(folder.stat().st_dev, time.time_ns() // 2_000_000_000 * 2_000_000_000, 0)


WAIT = """\
#!/bin/sh
root=$(dirname "$0")
touch "$root/.dvc/tmp/begun"
while [ ! -e "$root/.dvc/tmp/go_on" ]; do sleep 0.01; done
"""


def test_whatever_is_written_ends_the_answer(finished_registry: Path, tmp_path: Path) -> None:
    for number, (name, edit) in enumerate(EDITS.items()):
        root = copy_repository(finished_registry, tmp_path / str(number))
        status = ask(root)
        assert look(root).status == status, name
        edit(root)
        assert look(root).status is None, name


def remove_object(root: Path, metafile: str) -> None:
    """Removes what the cache has of a folder, but not its listing."""
    _, _, after = (root / metafile).read_text().partition("outs:\n- md5: ")
    md5 = after.partition("\n")[0]
    objects = root / ".dvc/cache/files/md5"
    listing = json.loads((objects / md5[:2] / md5[2:]).read_text())
    file = objects / listing[0]["md5"][:2] / listing[0]["md5"][2:]
    file.chmod(0o644)
    file.unlink()


UPPER = f"{DATASET}/data/intermediate/upper/01_a"
IMPORT = f"{DATASET}/data/inputs/01_a.dvc"

TO_WHAT_IS_RECORDED: dict[str, Callable[[Path], object]] = {
    **EDITS,
    "an import by hand": lambda root: replace_in(root, IMPORT, "raw/01_a", "raw/01_b"),
    "an import that is not frozen": lambda root: replace_in(root, IMPORT, "frozen: true\n", ""),
    "the md5 of an import": lambda root: write_tree(
        root, {IMPORT: re.sub("^md5: .", "md5: 0", (root / IMPORT).read_text())}
    ),
    "a version of DVC 2": lambda root: replace_in(root, "raw/01_a.dvc", "  hash: md5\n", ""),
    "another version of a collection": lambda root: (
        write_tree(root, {"raw/01_a/two.txt": "2\n"}),
        run(root, "dvc", "add", "--quiet", "raw/01_a"),
    ),
    "a version of an input": lambda root: replace_in(
        root, f"{DATASET}/dvc.lock", "inputs/01_a\n      hash: md5\n", "inputs/01_a\n"
    ),
    "a command": lambda root: replace_in(root, f"{DATASET}/dvc.yaml", "python ", "python  "),
    "a stage that is frozen": lambda root: replace_in(
        root, f"{DATASET}/dvc.yaml", "      cmd:", "      frozen: true\n      cmd:"
    ),
    "an output that is not cached": lambda root: replace_in(
        root,
        f"{DATASET}/dvc.yaml",
        "    outs:\n        - data/intermediate/upper/${item}",
        "    outs:\n        - data/intermediate/upper/${item}:\n            cache: false",
    ),
    "an output that is gone": lambda root: shutil.rmtree(root / UPPER),
    "an output that is a link": lambda root: (
        (root / UPPER).rename(root / "elsewhere"),
        (root / UPPER).symlink_to(root / "elsewhere"),
    ),
    "an object that is gone": lambda root: remove_object(root, "raw/01_a.dvc"),
}


@pytest.mark.parametrize("most_loaded_alone", [0, 1])
def test_what_is_known_of_the_data_changes_no_answer(
    most_loaded_alone: int,
    finished_registry: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reading, "_MOST_LOADED_ALONE", most_loaded_alone)
    for number, (name, edit) in enumerate(TO_WHAT_IS_RECORDED.items()):
        root = copy_repository(finished_registry, tmp_path / str(number))
        ask(root)
        edit(root)
        found = ask(root)
        assert found == read_status(lineage_of(root)), name
        assert ask(root) == found, name


def test_what_was_not_looked_at_is_not_known(done: Path) -> None:
    ask(done)
    objects = done / ".dvc/cache/files/md5"
    kept = shutil.copytree(objects, done / ".dvc/tmp/objects")
    remove_object(done, "raw/01_a.dvc")
    (done / "raw/01_a/one.txt").unlink()
    write_tree(done, {"raw/01_a/one.txt": "other\n"})
    assert ask(done).raw[0].state == "modified"
    # What the cache lacks is not compared; now it has it again.
    shutil.copytree(kept, objects, dirs_exist_ok=True)
    assert ask(done).raw[0].state == "modified"


def test_only_what_may_not_be_up_to_date_is_loaded(
    done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_MOST_LOADED_ALONE", 1)
    ask(done)
    loaded: list[object] = []
    output_states = DvcRepo.output_states

    def count(dvc: DvcRepo, addresses: object = None, **options: Any) -> object:
        loaded.append(addresses)
        return output_states(dvc, addresses, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(DvcRepo, "output_states", count)
    write_tree(done, {"raw/02_b/one.txt": "1\n"})
    run(done, "dvc", "add", "--quiet", "raw/02_b")
    assert ask(done).raw[1].state == "tracked"
    # What is no folder has to be looked at, too.
    assert loaded == [["raw/02_b.dvc", f"{DATASET}/dvc.yaml:count@01_a"]]


def test_only_folders_that_were_written_to_are_compared_again(done: Path) -> None:
    ask(done)
    write_tree(done, {"raw/01_a/one.txt": "1\n", f"{DATASET}/params.yaml": "suffix: 2\n"})
    known = look(done).known
    assert known is not None
    assert known.in_cache
    changed = {path for path, folder in known.folders.items() if not folder.is_unchanged}
    assert changed == {"raw/01_a"}
    assert len(known.folders) == 3


def test_what_git_ignores_in_every_repository_counts(done: Path, tmp_path: Path) -> None:
    ignored = tmp_path / "ignored everywhere"
    run(done, "git", "config", "core.excludesFile", str(ignored))
    status = ask(done)
    assert look(done).status == status
    ignored.write_text("*.dvc\n")
    assert look(done).status is None


def test_what_nothing_depends_on_does_not_end_it(done: Path) -> None:
    (done / ".cache_of_a_tool").mkdir()
    write_tree(done, {".cache_of_a_tool/.gitignore": "*\n"})
    status = ask(done)
    write_tree(done, {".cache_of_a_tool/x": "1", ".dagster/y": "1", ".dvc/tmp/z": "1"})
    run(done, "git", "commit", "--quiet", "--allow-empty", "--message", "Anything")
    assert look(done).status == status


def test_an_object_that_is_gone_or_has_come_back_ends_it(done: Path) -> None:
    metafile = (done / "raw/01_a.dvc").read_text()
    listing = re.findall(r"[0-9a-f]{32}\.dir", metafile)[0]
    cached = done / ".dvc/cache/files/md5" / listing[:2] / listing[2:]
    assert ask(done).up_to_date
    assert look(done).status is not None
    cached.rename(done / ".dvc/tmp/away")
    assert look(done).status is None
    status = ask(done)
    (collection,) = (item for item in status.raw if item.collection == "01_a")
    assert collection.state == "modified"
    assert "dvc fetch raw/01_a" in (collection.reason or "")
    assert look(done).status == status
    (done / ".dvc/tmp/away").rename(cached)
    assert look(done).status is None
    assert ask(done).up_to_date


def test_an_answer_is_not_kept_while_the_clock_could_hide_a_change(done: Path) -> None:
    write_tree(done, {"raw/01_a/one.txt": "one\n"})
    now = observe(done, clock=of_coarse_times)
    assert now is not None
    lineage = lineage_of(done)
    now.keep(lineage.registry, read_status(lineage), DvcRepo(done))
    assert look(done).status is None


def test_an_edit_in_the_tick_of_a_look_changes_what_is_seen(tmp_path: Path) -> None:
    (tmp_path / ".dvc").mkdir()
    file = tmp_path / "file"
    for number in range(200):
        file.write_text(f"{number:09}")
        before = observe(tmp_path)
        file.write_text(f"{number:9}")
        after = observe(tmp_path)
        assert before is not None
        assert after is not None
        assert not before.is_settled or before.entries != after.entries


def test_a_clock_that_cannot_be_read_counts_as_the_coarsest(tmp_path: Path) -> None:
    moment = read_clock(tmp_path)
    assert moment.device == tmp_path.stat().st_dev
    assert moment.is_after(moment.time_ns - 1, {tmp_path.stat().st_dev})
    assert not moment.is_after(moment.time_ns - 1, {tmp_path.stat().st_dev, -1})
    (tmp_path / "file").touch()
    moment = read_clock(tmp_path / "file")
    assert not moment.is_after(time.time_ns() - 2_000_000_000, {tmp_path.stat().st_dev})
    assert moment.is_after(time.time_ns() - 2_100_000_000, {tmp_path.stat().st_dev})


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
    assert look(done).status is None


def test_materialize_asks_nobody_when_nothing_was_written(done: Path) -> None:
    def materialize() -> str:
        result = CliRunner().invoke(main, ["--root", str(done), "materialize"])
        assert result.exit_code == 0, result.output
        return result.output

    log = done / ".dagster/history/runs/index.db"
    assert "Nothing to do" in materialize()
    before = log.stat()
    assert "Nothing to do" in materialize()
    assert log.stat().st_mtime_ns == before.st_mtime_ns
    shutil.rmtree(done / ".dagster")
    assert "Nothing to do" in materialize()
    assert log.exists(), "a new history is told everything again"


@pytest.mark.parametrize("command", ["status", "materialize"])
def test_an_answer_that_holds_is_given_without_dvc_and_dagster(done: Path, command: str) -> None:
    assert CliRunner().invoke(main, ["--root", str(done), command]).exit_code == 0
    assert imported_by(done, command) == "[]"


def imported_by(root: Path, command: str) -> str:
    """Which of DVC and Dagster a command imports, in a process of its own."""
    program = (
        "import atexit, sys; from registry_assets.cli import main; "
        "atexit.register(lambda: print(sorted({'dvc', 'dagster'} & {*sys.modules}))); "
        f"main(['--root', {str(root)!r}, {command!r}])"
    )
    return run(root, sys.executable, "-c", program).splitlines()[-1]


def test_what_a_run_recorded_is_known_right_after_it(done: Path) -> None:
    write_tree(done, {f"{DATASET}/params.yaml": "suffix: 2\n"})
    assert CliRunner().invoke(main, ["--root", str(done), "materialize"]).exit_code == 0
    assert imported_by(done, "materialize") == "[]"
    assert imported_by(done, "status") == "[]"
    assert run(done, "registry", "lineage", "--check")
    status = look(done).status
    assert status == read_status(lineage_of(done))


@pytest.mark.parametrize(
    "name", ["data of the same size and time", "a new folder", "a parameter", "the lock file"]
)
def test_an_edit_right_after_a_run_is_noticed(name: str, done: Path) -> None:
    write_tree(done, {f"{DATASET}/params.yaml": "suffix: 2\n"})
    assert CliRunner().invoke(main, ["--root", str(done), "materialize"]).exit_code == 0
    EDITS[name](done)
    assert look(done).status is None


@pytest.mark.parametrize(
    "edit",
    [
        lambda root: write_tree(root, {"raw/01_a/one.txt": "1\n"}),
        lambda root: write_tree(root, {f"{DATASET}/params.yaml": "suffix: 3\n"}),
        lambda root: write_tree(root, {".dvcignore": "one.txt\n"}),
        lambda root: run(root, "dvc", "config", "--local", "cache.dir", "elsewhere"),
        lambda root: run(root, "git", "config", "core.excludesFile", "/nowhere"),
    ],
    ids=["data", "a parameter", "what dvc ignores", "a setting of dvc", "a setting of git"],
)
def test_an_edit_during_a_run_is_in_the_next_answer(
    edit: Callable[[Path], object], done: Path
) -> None:
    pipeline = done / f"{DATASET}/dvc.yaml"
    text = pipeline.read_text()
    pipeline.write_text(text.replace("python upper.py", "../../wait && python upper.py"))
    write_tree(done, {"wait": WAIT})
    (done / "wait").chmod(0o755)
    with ThreadPoolExecutor(1) as pool:
        made = pool.submit(subprocess.run, ["registry", "materialize"], cwd=done, check=False)
        while not (done / ".dvc/tmp/begun").exists():
            time.sleep(0.01)
        edit(done)
        (done / ".dvc/tmp/go_on").touch()
        made.result()
    known = look(done).status
    assert known is None or known == read_status(lineage_of(done))
