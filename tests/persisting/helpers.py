"""What the tests of persisting share: bringing and recording, and comparing repositories."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn, TypeVar

from ruamel.yaml import YAML

from faults.programs import CHANGES, changed_names
from registry_assets.dvc_repo import DvcRepo, RecordedOutput
from registry_assets.dvc_repo.initialising import set_link_type
from registry_assets.making.unit import Unit
from registry_assets.making.unit import make as make_unit
from registry_assets.registry.home import HOME
from tests.conftest import commit_all, copy_empty_repository, lineage_of, run, write_tree

T = TypeVar("T")

RAW = ("raw",)
INPUTS = ("processed", "texts", "data", "inputs")
UPPER = ("processed", "texts", "data", "intermediate", "upper")
LINES = ("processed", "texts", "data", "outputs", "lines")
UPPER_STAGE = "processed/texts/dvc.yaml:upper@{}"
INPUT_FILE = "processed/texts/data/inputs/{}.dvc"


@dataclass
class Made:
    """What came of bringing and recording once."""

    outcome: str
    said: list[str] = field(default_factory=list)
    records: Mapping[str, RecordedOutput] = field(default_factory=dict)


def materialize(
    root: Path, key: tuple[str, ...], partition: str | None = None, *, force: bool = False
) -> Made:
    """Does what materializing an asset does, without Dagster."""
    said: list[str] = []
    lineage = lineage_of(root)
    group = lineage.group_of[key]
    unit = Unit(group, partition)
    with make_unit(DvcRepo(root), lineage, unit, said.append, force=force) as pending:
        records = pending.persist()
    return Made(pending.outcome, said, records)


def make(root: Path, address: str, *, inputs: Sequence[str] = (), force: bool = False) -> Made:
    """Runs and records one stage."""
    said: list[str] = []
    with DvcRepo(root).running(address, inputs=inputs, force=force, report=said.append) as pending:
        records = pending.persist()
    return Made(pending.outcome, said, records)


def make_upper(root: Path, name: str = "01_a", *, force: bool = False) -> Made:
    """Runs the first stage of the text registry for one collection."""
    return make(root, UPPER_STAGE.format(name), inputs=[INPUT_FILE.format(name)], force=force)


def take_in(root: Path, *names: str) -> None:
    """Adds collections of the text registry and takes them in."""
    for name in names:
        materialize(root, RAW, name)
        materialize(root, INPUTS, name)


def build_repository(root: Path, files: Mapping[str, str]) -> Path:
    """A repository with a pipeline, its cache shared with the workspace through hardlinks."""
    copy_empty_repository(root, HOME)
    set_link_type(root, "hardlink", "repo")
    write_tree(root, files)
    commit_all(root)
    return root


def metafiles(root: Path) -> dict[str, bytes]:
    """Every file that DVC writes into the work tree, by path."""
    found = {}
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix()
        if name.startswith((".git/", ".dvc/", ".dagster/")) or not path.is_file():
            continue
        if path.suffix == ".dvc" or path.name in {"dvc.lock", ".gitignore"}:
            found[name] = path.read_bytes()
    return found


def lock_entries(root: Path, folder: str = "processed/texts") -> dict[str, object]:
    """The entries of a `dvc.lock`."""
    path = root / folder / "dvc.lock"
    if not path.exists():
        return {}
    stages: dict[str, object] = YAML(typ="safe").load(path.read_text())["stages"]
    return stages


def is_clean(root: Path) -> bool:
    """Whether `dvc status` has nothing to say."""
    return run(root, "dvc", "status").strip() == "Data and pipelines are up to date."


def contents(folder: Path) -> dict[str, str]:
    """The text files of a folder, by path inside it."""
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def copy_repository(root: Path, target: Path) -> Path:
    """A twin: the same work tree, history and cache, at another place."""
    shutil.copytree(root, target, symlinks=True)
    config = target / ".dvc" / "config"
    config.write_text(config.read_text().replace(str(root), str(target)))
    return target


def copy_with_remote(folder: Path, target: Path) -> Path:
    """A twin of the folder `registry`, with one of its remote, the folder `remote` beside it."""
    root = copy_repository(folder / "registry", target / "registry")
    shutil.copytree(folder / "remote", target / "remote")
    config = root / ".dvc" / "config"
    config.write_text(config.read_text().replace(str(folder), str(target)))
    return root


def leftovers(root: Path) -> list[str]:
    """What is left of runs that should have cleaned up behind themselves."""
    folder = root / ".dvc" / "tmp" / "registry"
    beside = [path for path in root.rglob("*.tmp") if not path.is_relative_to(root / ".dvc")]
    return sorted(str(path) for path in [*folder.glob("*"), *beside])


def at_once(*works: Callable[[], T]) -> list[T]:
    """Does several things at the same time, each in a process of its own.

    Raises:
        AssertionError: with the tracebacks, when one of them fails.
    """
    context = multiprocessing.get_context("fork")
    start = context.Barrier(len(works))
    results = [context.Pipe(duplex=False) for _ in works]

    def do(work: Callable[[], T], answer: Connection) -> None:
        try:
            start.wait()
            answer.send((work(), None))
        except BaseException:
            answer.send((None, traceback.format_exc()))

    processes = [
        context.Process(target=do, args=(work, answer))
        for work, (_, answer) in zip(works, results, strict=True)
    ]
    for process in processes:
        process.start()
    found = [receiver.recv() for receiver, _ in results]
    for process in processes:
        process.join()
    failures = [failure for _, failure in found if failure]
    assert not failures, "\n".join(failures)
    return [value for value, _ in found]


# A folder that is made is not counted: nothing is lost with it.
_CHANGES = {event: count for event, count in CHANGES.items() if event != "os.mkdir"}


def die(root: Path, work: Callable[[], object], *, at: int) -> int:
    """Does something in a process that kills itself before its n-th change to the file system.

    Nothing of what it does is replaced: Python's audit events say what is about to be done.

    Args:
        root: Where changes are counted, but for locks and DVC's memory of hashes.
        work: What to do.
        at: The number of the change; 0 to be left alive.

    Returns:
        How many changes there were.
    """
    receiver, sender = multiprocessing.Pipe(duplex=False)
    pid = os.fork()
    if pid == 0:
        _do_and_die(str(root), work, at, sender)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return at
    count, failure = receiver.recv()
    assert not failure, failure
    return int(count)


def _do_and_die(root: str, work: Callable[[], object], at: int, answer: Connection) -> NoReturn:
    count = 0

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        names = changed_names(event, arguments, _CHANGES)
        # Names without a folder come from the removal of whole trees.
        if any(is_work(name) for name in names):
            count += 1
            if count == at:
                os.kill(os.getpid(), signal.SIGKILL)

    def is_work(name: str) -> bool:
        if not Path(name).is_absolute():
            return True
        is_lock = name.startswith(f"{root}/.dvc/tmp/") and "/registry" not in name
        return name.startswith(f"{root}/") and not is_lock

    sys.addaudithook(watch)
    try:
        work()
        answer.send((count, ""))
    except BaseException:
        answer.send((count, traceback.format_exc()))
    finally:
        os._exit(0)
