"""Many stages in one go: the same metafiles as `dvc repro`, whatever finishes first."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import psutil
import pytest

from registry_assets.dvc_repo import DvcRepo, StageResult, StageTask
from registry_assets.errors import DvcError
from tests.conftest import UPPER, run, write_tree
from tests.persisting.helpers import (
    INPUT_FILE,
    UPPER_STAGE,
    build_repository,
    contents,
    copy_repository,
    is_clean,
    leftovers,
    metafiles,
    take_in,
)

NAMES = ("01_a", "02_b", "03_c")
COUNT_STAGE = "processed/texts/dvc.yaml:count@{}"
# What DVC itself has to hash, for the link.
LINKING = f"{UPPER}(target / 'link.txt').symlink_to(path.name)\n"


@pytest.fixture
def root(text_registry: Path) -> Path:
    write_tree(text_registry, {"raw/03_c/four.txt": "four\n"})
    take_in(text_registry, *NAMES)
    return text_registry


def tasks(names: Sequence[str] = NAMES) -> list[StageTask]:
    upper = [StageTask(UPPER_STAGE.format(n), (INPUT_FILE.format(n),)) for n in names]
    return [*upper, *(StageTask(COUNT_STAGE.format(n), (UPPER_STAGE.format(n),)) for n in names)]


def run_batch(
    root: Path, wanted: Sequence[StageTask] | None = None, *, force: bool = False
) -> dict[str, StageResult]:
    with ThreadPoolExecutor(3) as executor:
        results = DvcRepo(root, wait_seconds=5).run_batch(
            tasks() if wanted is None else wanted,
            force=force,
            executor=executor,
            most_at_once=6,
            report=lambda _line: None,
        )
        return {result.address.partition(":")[2]: result for result in results}


def outcomes(results: dict[str, StageResult]) -> dict[str, str | None]:
    return {name: result.outcome for name, result in results.items()}


ALL = {f"{stage}@{name}" for stage in ("upper", "count") for name in NAMES}


def test_every_metafile_is_that_of_dvc_repro(root: Path, tmp_path: Path) -> None:
    theirs = copy_repository(root, tmp_path / "theirs")
    # The first is the last to finish.
    script = (root / "processed/texts/upper.py").read_text()
    slow = script + "if source.name == '01_a': import time; time.sleep(1)\n"
    for place in (root, theirs):
        (place / "processed/texts/upper.py").write_text(slow)
    assert outcomes(run_batch(root)) == dict.fromkeys(ALL, "ran")
    run(theirs, "dvc", "repro", "--quiet", "processed/texts/dvc.yaml")
    assert metafiles(root) == metafiles(theirs)
    assert is_clean(root)
    assert leftovers(root) == []


def test_a_second_batch_finds_nothing_to_do_and_restores_what_is_lost(root: Path) -> None:
    run_batch(root)
    before = metafiles(root)
    assert outcomes(run_batch(root)) == dict.fromkeys(ALL, "unchanged")
    (root / "processed/texts/data/outputs/lines/02_b").unlink()
    again = outcomes(run_batch(root))
    assert again.pop("count@02_b") == "restored"
    assert set(again.values()) == {"unchanged"}
    assert metafiles(root) == before


def test_one_that_fails_stops_only_what_is_made_of_it(root: Path) -> None:
    run_batch(root)
    before = metafiles(root)
    (root / "raw/02_b/three.txt").unlink()
    (root / "raw/02_b/three.txt").write_bytes(b"\xff\xfe not text")
    take_in(root, "02_b")
    lock = (root / "processed/texts/dvc.lock").read_bytes()
    found = run_batch(root)
    assert "UnicodeDecodeError" in str(found["upper@02_b"].error)
    assert "not run, as processed/texts/dvc.yaml:upper@02_b failed" in str(
        found["count@02_b"].error
    )
    assert {n for n, result in found.items() if result.outcome is None} == {
        "upper@02_b",
        "count@02_b",
    }
    # The previous version is in its place, and recorded.
    assert (root / "processed/texts/dvc.lock").read_bytes() == lock
    assert before["processed/texts/dvc.lock"] == lock
    previous = root / "processed/texts/data/intermediate/upper/02_b/three.txt"
    assert previous.read_text() == "THREE\n\n"
    assert leftovers(root) == []


PIPELINE = """\
stages:
  good:
    cmd: mkdir -p good && cp in.txt good
    deps: [in.txt]
    outs: [good]
  odd:
    cmd: %s
    deps: [%s]
    outs: [odd]
"""


def build_two(root: Path, command: str, dependency: str = "in.txt") -> Path:
    files = {"dvc.yaml": PIPELINE % (command, dependency), "in.txt": "words\n"}
    return build_repository(root, files)


def assert_nothing_is_held(root: Path) -> None:
    dvc = DvcRepo(root, wait_seconds=0)
    with dvc.running("dvc.yaml:good", report=lambda _line: None) as pending:
        assert pending.outcome == "unchanged"
    assert leftovers(root) == []


@pytest.mark.parametrize(
    ("command", "dependency", "problem"),
    [
        ("mkdir odd", "gone.txt", "dvc.yaml:odd reads gone.txt, which does not exist"),
        ("mkdir odd && touch odd/.dvcignore odd/x", "in.txt", ".dvcignore"),
        ("mkdir odd && mkfifo odd/pipe", "in.txt", "odd/pipe cannot be stored"),
    ],
)
def test_one_that_dvc_refuses_stops_no_other(
    tmp_path: Path, command: str, dependency: str, problem: str
) -> None:
    root = build_two(tmp_path / "two", command, dependency)
    wanted = [StageTask("dvc.yaml:odd"), StageTask("dvc.yaml:good")]
    results = run_batch(root, wanted)
    assert outcomes(results) == {"odd": None, "good": "ran"}
    assert problem in str(results["odd"].error)
    assert (root / "good/in.txt").read_text() == "words\n"
    assert_nothing_is_held(root)


JOINED = """\
stages:
  bad:
    cmd: exit 3
    outs: [bad]
  good:
    cmd: sleep 1; echo good > good
    outs: [good]
  join:
    cmd: cat bad good > join
    deps: [bad, good]
    outs: [join]
  after:
    cmd: cp good after
    deps: [good]
    outs: [after]
"""


def test_a_reader_of_a_failed_and_of_a_good_stage_stops_no_other(tmp_path: Path) -> None:
    root = build_repository(tmp_path / "joined", {"dvc.yaml": JOINED})
    wanted = [
        StageTask("dvc.yaml:bad"),
        StageTask("dvc.yaml:good"),
        StageTask("dvc.yaml:join", ("dvc.yaml:bad", "dvc.yaml:good")),
        StageTask("dvc.yaml:after", ("dvc.yaml:good",)),
    ]
    results = run_batch(root, wanted)
    assert outcomes(results) == {"bad": None, "good": "ran", "join": None, "after": "ran"}


def test_an_interrupt_ends_what_is_under_way_and_brings_back_what_was_there(
    tmp_path: Path,
) -> None:
    root = build_two(tmp_path / "two", "mkdir odd && echo $$ > ../pid && sleep 60")
    write_tree(root, {"odd/before.txt": "before\n"})
    started = time.monotonic()
    with ThreadPoolExecutor(2) as executor:
        batch = DvcRepo(root).run_batch(
            [StageTask("dvc.yaml:odd"), StageTask("dvc.yaml:good")],
            force=False,
            executor=executor,
            most_at_once=2,
            report=lambda _line: None,
        )
        assert next(batch).address == "dvc.yaml:good"
        while not (tmp_path / "pid").exists() and time.monotonic() - started < 20:
            time.sleep(0.05)
        with pytest.raises(KeyboardInterrupt):
            batch.throw(KeyboardInterrupt())
    assert time.monotonic() - started < 30
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))
    assert contents(root / "odd") == {"before.txt": "before\n"}
    assert_nothing_is_held(root)


def test_new_entries_keep_the_order_of_the_tasks_beside_old_ones(root: Path) -> None:
    run_batch(root, tasks(["02_b"]))
    run_batch(root, tasks(["01_a", "03_c"]))
    lock = (root / "processed/texts/dvc.lock").read_text()
    names = [
        line.strip(" :") for line in lock.splitlines() if line[2:3].isalpha() and line[:2] == "  "
    ]
    assert names == [
        *("upper@02_b", "count@02_b"),
        *("upper@01_a", "upper@03_c", "count@01_a", "count@03_c"),
    ]


def test_an_output_that_another_process_holds_is_waited_for_or_named(root: Path) -> None:
    busy = str(root / "processed/texts/data/intermediate/upper/02_b")
    lock = {"write": {busy: {"pid": os.getppid(), "cmd": "somebody"}}, "read": {}}
    (root / ".dvc/tmp/rwlock").write_text(json.dumps(lock))
    found = run_batch(root)
    assert "somebody" in str(found["upper@02_b"].error)
    (root / ".dvc/tmp/rwlock").unlink()
    others = {name for name in ALL if not name.endswith("02_b")}
    assert {name for name, result in found.items() if result.outcome == "ran"} == others


def test_an_entry_that_somebody_else_writes_meanwhile_is_kept(root: Path) -> None:
    script = root / "processed/texts/upper.py"
    dvc = [sys.executable, "-m", "dvc", "repro", "--quiet", "--single-item"]
    command = [*dvc, "processed/texts/dvc.yaml:upper@03_c"]
    # While the first collection is made, `dvc` makes the third.
    script.write_text(
        script.read_text()
        + "if source.name == '01_a':\n"
        + f"    import subprocess; subprocess.run({command!r}, cwd={str(root)!r}, check=True)\n"
    )
    assert outcomes(run_batch(root, tasks(["01_a", "02_b"]))).keys() == {
        f"{stage}@{name}" for stage in ("upper", "count") for name in ("01_a", "02_b")
    }
    lock = (root / "processed/texts/dvc.lock").read_text()
    for name in ("upper@03_c", "upper@01_a", "upper@02_b", "count@01_a", "count@02_b"):
        assert f"  {name}:\n" in lock
    assert outcomes(run_batch(root))["upper@03_c"] == "unchanged"
    assert is_clean(root)


def test_what_overlaps_is_refused_within_a_session_too(root: Path) -> None:
    dvc = DvcRepo(root)
    write_tree(root, {"raw/04_d/sub/five.txt": "five\n", "raw/05_e/six.txt": "six\n"})

    def track(path: str) -> None:
        with dvc.tracking(path, report=lambda _line: None) as pending:
            pending.persist()

    with dvc.session():
        track("raw/04_d")
        track("raw/05_e")
        for path in ("raw", "raw/04_d/sub", "processed/texts/data/intermediate"):
            (root / path).mkdir(parents=True, exist_ok=True)
            with pytest.raises(DvcError, match="overlap"):
                track(path)
    assert not (root / "raw.dvc").exists()
    assert not (root / "raw/04_d/sub.dvc").exists()


def test_files_in_memory_of_the_process_around_it_stay(root: Path) -> None:
    write_tree(root, {"processed/texts/upper.py": LINKING})
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/theirs/note.txt", b"a note")
    # Named like those of dvc-data, as they are where the process uses DVC itself.
    memory.pipe_file("/.AAAAAAAAAAAAAAAAAAAAAA.tmp", b"[]")
    memory.mkdir("/theirs/empty")
    before = (dict(memory.store), list(memory.pseudo_dirs))
    try:
        for force in (False, True):
            results = run_batch(root, force=force)
            assert {result.error for result in results.values()} == {None}
            assert (dict(memory.store), list(memory.pseudo_dirs)) == before
    finally:
        memory.rm("/theirs", recursive=True)
        memory.rm("/.AAAAAAAAAAAAAAAAAAAAAA.tmp")
