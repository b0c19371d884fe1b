"""One stage: unchanged, restored or run; and what stays as it was when it fails."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import psutil
import pytest

from registry_assets.dvc_repo import DvcRepo
from registry_assets.dvc_repo.initialising import set_default_remote
from registry_assets.errors import (
    DataModifiedError,
    DataNotAvailableError,
    NotFoundError,
    RepositoryChangedError,
    StageFailedError,
)
from tests.conftest import run, write_tree
from tests.persisting.helpers import (
    INPUTS,
    RAW,
    build_repository,
    contents,
    copy_repository,
    is_clean,
    leftovers,
    make,
    make_upper,
    materialize,
    take_in,
)

PIPELINE = """\
stages:
  make:
    cmd: sh make.sh
    deps: [make.sh, in.txt]
    params: [times]
    outs: [folder, file.txt]
"""
SCRIPT = """\
echo ran >> "$COUNTER"
mkdir -p folder/sub
cat in.txt params.yaml > folder/sub/all.txt
cp in.txt folder/first.txt
cat in.txt > file.txt
"""
MAKE = "dvc.yaml:make"


@pytest.fixture
def counter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "counter"
    path.write_text("")
    monkeypatch.setenv("COUNTER", str(path))
    return path


@pytest.fixture
def root(tmp_path: Path, counter: Path) -> Path:
    files = {
        "dvc.yaml": PIPELINE,
        "make.sh": SCRIPT,
        "in.txt": "words\n",
        "params.yaml": "times: 1\n",
    }
    root = build_repository(tmp_path / "registry", files)
    (tmp_path / "remote").mkdir()
    set_default_remote(root, "storage", tmp_path / "remote", "repo")
    return root


def runs(counter: Path) -> int:
    return len(counter.read_text().splitlines())


def results(root: Path) -> dict[str, str]:
    found = contents(root / "folder")
    found["file.txt"] = (root / "file.txt").read_text()
    found["dvc.lock"] = (root / "dvc.lock").read_text()
    return found


def delete_results(root: Path) -> None:
    shutil.rmtree(root / "folder")
    (root / "file.txt").unlink()


def delete_cache(root: Path) -> None:
    shutil.rmtree(root / ".dvc" / "cache" / "files")


# --- unchanged and restored ------------------------------------------------------------------


def test_what_did_not_change_does_not_run(root: Path, counter: Path) -> None:
    assert make(root, MAKE).outcome == "ran"
    before = results(root)
    assert make(root, MAKE).outcome == "unchanged"
    assert (runs(counter), results(root)) == (1, before)
    assert leftovers(root) == []


def test_deleted_outputs_come_from_the_cache(root: Path, counter: Path) -> None:
    make(root, MAKE)
    before = results(root)
    delete_results(root)
    made = make(root, MAKE)
    assert made.outcome == "restored"
    assert (runs(counter), results(root)) == (1, before)
    assert made.records["folder"].version == made.records["folder"].previous
    assert is_clean(root)
    assert leftovers(root) == []


def test_an_output_that_lost_a_file_is_made_whole(root: Path, counter: Path) -> None:
    make(root, MAKE)
    before = results(root)
    (root / "folder/first.txt").unlink()
    (root / "folder/added.txt").write_text("by hand\n")
    assert make(root, MAKE).outcome == "restored"
    assert (runs(counter), results(root)) == (1, before)


def test_outputs_that_only_the_remote_has_are_pulled(root: Path, counter: Path) -> None:
    make(root, MAKE)
    before = results(root)
    run(root, "dvc", "push", "--quiet")
    delete_results(root)
    delete_cache(root)
    made = make(root, MAKE)
    assert made.outcome == "restored"
    assert (runs(counter), results(root)) == (1, before)
    assert any("pulling" in line for line in made.said)


def test_outputs_that_nobody_has_are_made_again(root: Path, counter: Path) -> None:
    make(root, MAKE)
    before = results(root)
    delete_results(root)
    delete_cache(root)
    made = make(root, MAKE)
    assert made.outcome == "ran"
    assert (runs(counter), results(root)) == (2, before)
    assert any("cannot be pulled" in line for line in made.said)


def test_a_parameter_changed_and_changed_back_finds_the_run_cache(
    root: Path, counter: Path
) -> None:
    make(root, MAKE)
    before = results(root)
    write_tree(root, {"params.yaml": "times: 2\n"})
    second = make(root, MAKE)
    assert second.outcome == "ran"
    assert results(root) != before
    write_tree(root, {"params.yaml": "times: 1\n"})
    third = make(root, MAKE)
    assert third.outcome == "restored"
    assert third.records["folder"].previous == second.records["folder"].version
    assert (runs(counter), results(root)) == (2, before)
    assert is_clean(root)


def test_force_runs_in_any_case(root: Path, counter: Path) -> None:
    make(root, MAKE)
    before = results(root)
    assert make(root, MAKE, force=True).outcome == "ran"
    assert (runs(counter), results(root)) == (2, before)


def test_a_frozen_stage_that_lost_its_outputs_says_that_they_were_restored(
    root: Path, counter: Path
) -> None:
    make(root, MAKE)
    before = results(root)
    delete_results(root)
    write_tree(root, {"dvc.yaml": f"{PIPELINE}    frozen: true\n", "in.txt": "others\n"})
    assert make(root, MAKE).outcome == "restored"
    assert make(root, MAKE).outcome == "unchanged"
    assert (runs(counter), results(root)) == (1, before)


def test_what_is_not_recorded_is_put_back(root: Path) -> None:
    make(root, MAKE)
    before = results(root)
    write_tree(root, {"in.txt": "others\n"})
    with DvcRepo(root).running(MAKE, report=print) as pending:
        assert pending.outcome == "ran"
        assert (root / "file.txt").read_text() == "others\n"
    assert results(root) == before
    assert leftovers(root) == []


def test_a_result_is_recorded_once(root: Path) -> None:
    with DvcRepo(root).running(MAKE, report=print) as pending:
        first = pending.persist()
        (root / "dvc.lock").unlink()
        assert pending.persist() is first
    assert not (root / "dvc.lock").exists()


# --- failing ---------------------------------------------------------------------------------

FAILING = """\
stages:
  make:
    cmd: sh make.sh
    deps: [make.sh]
    outs:
    - plain
    - persisting: {persist: true}
    - uncached.txt: {cache: false}
    - both.txt: {cache: false, persist: true}
"""
GROWING = """\
mkdir -p plain persisting
echo "$1" > plain/file.txt
echo "log $1" >> persisting/log.txt
echo "uncached $1" > uncached.txt
echo "both $1" >> both.txt
"""


@pytest.fixture
def growing(tmp_path: Path) -> Path:
    files = {"dvc.yaml": FAILING, "make.sh": f"set -- one\n{GROWING}"}
    return build_repository(tmp_path / "growing", files)


def everything(root: Path) -> dict[str, str]:
    """The work tree but for the script."""
    found = {}
    for path in root.iterdir():
        if path.is_dir() and path.name not in {".git", ".dvc"}:
            found.update({f"{path.name}/{name}": text for name, text in contents(path).items()})
        elif path.is_file() and path.name != "make.sh":
            found[path.name] = path.read_text()
    return found


def test_a_failed_command_leaves_the_previous_version(growing: Path) -> None:
    make(growing, MAKE)
    before = everything(growing)
    lines = "for n in $(seq 50); do echo line $n; done\necho the reason >&2\nexit 3\n"
    write_tree(growing, {"make.sh": f"set -- two\n{GROWING}{lines}"})
    with pytest.raises(StageFailedError) as caught:
        make(growing, MAKE)
    assert everything(growing) == before
    message = str(caught.value)
    assert "exit code 3" in message
    assert "dvc.yaml:make" in message
    assert message.splitlines()[-1] == "  | the reason"
    assert "line 50" in message
    assert "line 3\n" not in message
    assert "; the previous version was kept" in message
    assert leftovers(growing) == []


def test_a_command_that_fails_the_first_time_leaves_nothing(growing: Path) -> None:
    write_tree(growing, {"make.sh": f"set -- one\n{GROWING}exit 1\n"})
    before = everything(growing)
    with pytest.raises(StageFailedError, match="; nothing was recorded") as caught:
        make(growing, MAKE)
    assert "previous version" not in str(caught.value)
    assert everything(growing) == before


def test_the_second_of_two_commands_does_not_run_after_the_first_failed(tmp_path: Path) -> None:
    pipeline = "stages:\n  make:\n    cmd: [exit 1, echo two > out]\n    outs: [out]\n"
    root = build_repository(tmp_path / "two", {"dvc.yaml": pipeline})
    with pytest.raises(StageFailedError, match="`exit 1` ended with exit code 1"):
        make(root, MAKE)
    assert not (root / "out").exists()


def test_a_command_that_a_signal_ended_says_which(tmp_path: Path) -> None:
    pipeline = "stages:\n  make:\n    cmd: kill -9 $$\n    outs: [out]\n"
    root = build_repository(tmp_path / "killed", {"dvc.yaml": pipeline})
    with pytest.raises(StageFailedError, match="signal 9"):
        make(root, MAKE)


def test_an_output_left_out_records_nothing(growing: Path) -> None:
    make(growing, MAKE)
    before = everything(growing)
    write_tree(growing, {"make.sh": f"set -- two\n{GROWING}rm uncached.txt\n"})
    with pytest.raises(StageFailedError, match=r"did not make uncached\.txt"):
        make(growing, MAKE)
    assert everything(growing) == before
    assert leftovers(growing) == []


def test_output_that_persists_grows_and_its_old_version_stays_in_the_cache(growing: Path) -> None:
    first = make(growing, MAKE).records["persisting"].version
    write_tree(growing, {"make.sh": f"set -- two\n{GROWING}"})
    second = make(growing, MAKE).records["persisting"].version
    assert (growing / "persisting/log.txt").read_text() == "log one\nlog two\n"
    assert (growing / "both.txt").read_text() == "both one\nboth two\n"
    assert first != second
    # The workspace and the cache are one file as long as it is linked.
    (listing,) = (DvcRepo(growing).read_listing(first.md5) or {}).values()
    cached = growing / ".dvc/cache/files/md5" / listing[:2] / listing[2:]
    assert cached.read_text() == "log one\n"


def test_an_interrupted_run_ends_the_command_and_all_that_it_started(root: Path) -> None:
    make(root, MAKE)
    before = results(root)
    stubborn = "(trap '' TERM; while true; do sleep 0.1; done) & echo $!; wait\n"
    write_tree(root, {"make.sh": f"{SCRIPT}{stubborn}"})
    started: list[int] = []

    def interrupt(line: str) -> None:
        if line.isdigit():
            started.append(int(line))
            raise KeyboardInterrupt

    with (
        pytest.raises(KeyboardInterrupt),
        DvcRepo(root).running(MAKE, report=interrupt),
    ):
        pass
    assert results(root) == before
    assert_ended(started[0])
    assert leftovers(root) == []


def assert_ended(pid: int) -> None:
    for _ in range(100):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    pytest.fail(f"{pid} is still running")


def test_a_command_is_done_when_it_ends_and_not_when_its_background_does(tmp_path: Path) -> None:
    pipeline = "stages:\n  make:\n    cmd: sleep 5 & echo $! | tee out\n    outs: [out]\n"
    root = build_repository(tmp_path / "background", {"dvc.yaml": pipeline})
    started = time.monotonic()
    made = make(root, MAKE)
    assert time.monotonic() - started < 4
    assert made.said[-1] == (root / "out").read_text().strip()


# --- inputs ----------------------------------------------------------------------------------


@pytest.fixture
def taken_in(text_registry: Path) -> Path:
    take_in(text_registry, "01_a")
    return text_registry


def inputs_of(root: Path) -> Path:
    return root / "processed/texts/data/inputs/01_a"


def test_missing_inputs_come_from_the_cache(taken_in: Path) -> None:
    before = contents(inputs_of(taken_in))
    shutil.rmtree(inputs_of(taken_in))
    assert make_upper(taken_in).outcome == "ran"
    assert contents(inputs_of(taken_in)) == before


def test_inputs_that_only_the_remote_has_are_pulled(taken_in: Path) -> None:
    before = contents(inputs_of(taken_in))
    run(taken_in, "dvc", "push", "--quiet", "raw/01_a")
    shutil.rmtree(inputs_of(taken_in))
    shutil.rmtree(taken_in / "raw/01_a")
    delete_cache(taken_in)
    made = make_upper(taken_in)
    assert made.outcome == "ran"
    assert any("pulling" in line for line in made.said)
    assert contents(inputs_of(taken_in)) == before


@pytest.mark.parametrize("remote", ["empty", "none", "broken"])
def test_inputs_that_are_nowhere_are_named(taken_in: Path, remote: str) -> None:
    if remote == "none":
        run(taken_in, "dvc", "remote", "remove", "storage")
    if remote == "broken":
        write_tree(taken_in, {"file": ""})
        run(taken_in, "dvc", "remote", "modify", "storage", "url", str(taken_in / "file"))
    shutil.rmtree(inputs_of(taken_in))
    shutil.rmtree(taken_in / "raw/01_a")
    delete_cache(taken_in)
    with pytest.raises(DataNotAvailableError, match="processed/texts/data/inputs/01_a is neither"):
        make_upper(taken_in)
    assert not (taken_in / "processed/texts/dvc.lock").exists()


def test_a_file_that_nothing_makes_is_named_with_what_to_do(root: Path, counter: Path) -> None:
    make(root, MAKE)
    before = results(root)
    (root / "in.txt").unlink()
    with pytest.raises(
        NotFoundError, match=r"reads in\.txt, which does not exist.*git restore in\.txt"
    ):
        make(root, MAKE)
    assert (runs(counter), results(root)) == (1, before)


def test_inputs_edited_by_hand_are_refused_and_kept(taken_in: Path) -> None:
    edited = inputs_of(taken_in) / "one.txt"
    edited.unlink()
    edited.write_text("by hand\n")
    with pytest.raises(DataModifiedError, match="dvc commit"):
        make_upper(taken_in)
    assert edited.read_text() == "by hand\n"
    assert (inputs_of(taken_in) / "two.txt").read_text() == "two\n"


CHAIN = """\
stages:
  first:
    cmd: cat in.txt > middle.txt
    deps: [in.txt]
    outs: [{middle.txt: {cache: false}}]
  second:
    cmd: cat middle.txt > out.txt
    deps: [middle.txt]
    outs: [out.txt]
"""


def test_inputs_that_are_not_cached_are_refused_when_edited(tmp_path: Path) -> None:
    root = build_repository(tmp_path / "chain", {"dvc.yaml": CHAIN, "in.txt": "words\n"})
    make(root, "dvc.yaml:first")
    assert make(root, "dvc.yaml:second", inputs=["dvc.yaml:first"]).outcome == "ran"
    (root / "middle.txt").write_text("by hand\n")
    with pytest.raises(DataModifiedError):
        make(root, "dvc.yaml:second", inputs=["dvc.yaml:first"])
    assert (root / "middle.txt").read_text() == "by hand\n"
    (root / "middle.txt").unlink()
    with pytest.raises(DataNotAvailableError, match="Git"):
        make(root, "dvc.yaml:second", inputs=["dvc.yaml:first"])


def test_an_import_that_is_behind_is_read_as_it_was_taken(taken_in: Path) -> None:
    write_tree(taken_in, {"raw/01_a/new.txt": "new\n"})
    materialize(taken_in, RAW, "01_a")
    shutil.rmtree(inputs_of(taken_in))
    make_upper(taken_in)
    assert set(contents(inputs_of(taken_in))) == {"one.txt", "two.txt"}
    materialize(taken_in, INPUTS, "01_a")
    assert set(contents(inputs_of(taken_in))) == {"one.txt", "two.txt", "new.txt"}


# --- changes meanwhile -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("git switch --quiet --create other", "branch"),
        ("git commit --quiet --allow-empty -m x && git checkout --quiet --detach", "branch"),
        ("echo '# changed' >> make.sh", r"make\.sh changed"),
        ("echo more >> in.txt", r"in\.txt changed"),
        ("echo 'times: 2' > params.yaml", r"params\.yaml changed"),
    ],
)
@pytest.mark.parametrize("when", ["while it runs", "before it is recorded"])
def test_nothing_is_recorded_when_something_changed(
    root: Path, change: str, what: str, when: str
) -> None:
    make(root, MAKE)
    before = results(root)
    write_tree(root, {"make.sh": f"{SCRIPT}echo more > folder/more.txt\necho go\nsleep 0.3\n"})

    def report(line: str) -> None:
        if line == "go" and when == "while it runs":
            run(root, "sh", "-c", change)

    def run_and_change() -> None:
        with DvcRepo(root).running(MAKE, report=report) as pending:
            if when == "before it is recorded":
                run(root, "sh", "-c", change)
            pending.persist()

    with pytest.raises(RepositoryChangedError, match=what):
        run_and_change()
    assert results(root) == before
    assert leftovers(root) == []
    # The result of one state must not be found for another in the run cache.
    run(root, "git", "switch", "--quiet", "main")
    assert make(root, MAKE).outcome == "ran"


def test_a_commit_on_the_same_branch_meanwhile_is_no_change(root: Path) -> None:
    with DvcRepo(root).running(MAKE, report=print) as pending:
        run(root, "git", "commit", "--quiet", "--allow-empty", "--message", "Meanwhile")
        pending.persist()
    assert is_clean(root)


# --- how the command runs --------------------------------------------------------------------

SHOWING = """\
vars:
- name: shown
stages:
  show:
    wdir: sub
    cmd: env | sort > ${name}; pwd > where; echo "$0 $-" > shell; ps -o args= $$ > args
    outs: [shown, where, shell, args]
"""


@pytest.mark.parametrize(("shell", "folder"), [("/bin/sh", "deep/er"), ("/bin/bash", "")])
def test_the_command_finds_what_it_finds_under_dvc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str, folder: str
) -> None:
    monkeypatch.setenv("SHELL", shell)
    path = f"{folder}/dvc.yaml".lstrip("/")
    place = Path(folder) / "sub"
    ours = build_repository(
        tmp_path / "ours", {path: SHOWING, f"{place}/.gitignore": "", "elsewhere/x": ""}
    )
    theirs = copy_repository(ours, tmp_path / "theirs")
    monkeypatch.chdir(ours / "elsewhere")
    make(ours, f"{path}:show")
    run(theirs, "dvc", "repro", "--quiet", path)

    def shown(root: Path) -> list[str]:
        text = (root / place / "shown").read_text().replace(str(root), "ROOT")
        own = ("PATH=", "OLDPWD=", "_=", "PYTEST", "DVC_DAEMON", "DVCLIVE")
        return [line for line in text.splitlines() if not line.startswith(own)]

    assert shown(ours) == shown(theirs)
    assert "DVC_ROOT=ROOT" in shown(ours)
    stage = f"{path}:show" if folder else "show"
    assert f"DVC_STAGE={stage}" in shown(ours)
    for name in ("shell", "args"):
        assert (ours / place / name).read_text() == (theirs / place / name).read_text()
    assert (ours / place / "where").read_text() == f"{ours / place}\n"


def test_output_comes_in_order_and_while_the_command_runs(tmp_path: Path) -> None:
    script = (
        "echo one; echo two >&2; printf 'three\\r'; echo four; printf '\\377 \\303\\244\\n'\n"
        "n=0; until [ -e go ] || [ $n = 100 ]; do sleep 0.05; n=$((n+1)); done\n"
        "[ -e go ] && echo seen > out; printf 'no end of line'\n"
    )
    pipeline = "stages:\n  make:\n    cmd: sh make.sh\n    outs: [out]\n"
    root = build_repository(tmp_path / "talking", {"dvc.yaml": pipeline, "make.sh": script})
    said: list[str] = []

    def report(line: str) -> None:
        said.append(line)
        if line == "four":
            (root / "go").write_text("")

    with DvcRepo(root).running(MAKE, report=report) as pending:
        pending.persist()
    assert said == ["> sh make.sh", "one", "two", "three", "four", "\ufffd ä", "no end of line"]


def test_nothing_can_be_typed_into_a_command(tmp_path: Path) -> None:
    pipeline = "stages:\n  make:\n    cmd: cat > out\n    outs: [out]\n"
    root = build_repository(tmp_path / "asking", {"dvc.yaml": pipeline})
    make(root, MAKE)
    assert (root / "out").read_text() == ""


def test_messages_name_the_stage_from_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = "stages:\n  make:\n    cmd: exit 1\n    outs: [out]\n"
    root = build_repository(tmp_path / "deep", {"a/b/dvc.yaml": pipeline})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StageFailedError, match=r"^a/b/dvc\.yaml:make: "):
        make(root, "a/b/dvc.yaml:make")
