"""Real repositories on `tmp_path`, with the machine's own settings kept out."""

from __future__ import annotations

import atexit
import fcntl
import gc
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest
from dagster import DagsterInstance
from dvc.repo import Repo

from registry_assets import Lineage, build_lineage, read_registry
from registry_assets.cli.own_process import look_for_cycles_less_often
from registry_assets.intake.initialising import init_registry
from registry_assets.orchestration.assets import select_keys
from registry_assets.orchestration.history.event_storage import OpenSqliteStorage
from registry_assets.orchestration.history.opening import open_history
from registry_assets.registry.home import HOME
from tests.commands import run_anew, serving
from tests.runs import define_assets, execute, plan_runs

# A shell starts background commands with SIGINT ignored, and Dagster handles SIGTERM alike: what it
# starts would inherit that, and could not be ended.
signal.signal(signal.SIGINT, signal.default_int_handler)

BIN = Path(sys.executable).parent

MOSTLY_WAIT = {
    *("test_ui.py", "test_deployment.py", "test_dg.py"),  # for Dagster's clock
    *("test_deaths.py", "test_changes.py"),  # for what notices that it is alone
}

Run = Callable[..., str]
"""Runs a program in a folder and returns what it printed; fails the test when it fails."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begins with those that mostly wait: beside others, and nobody waits for them at the end."""
    items.sort(key=lambda item: item.path.name not in MOSTLY_WAIT)


def pytest_collection_finish() -> None:
    """Spares the collector of garbage what stays, and most of its runs, as commands do."""
    look_for_cycles_less_often()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _isolated_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps the tests from reading or writing anybody's settings, caches and histories."""
    home = tmp_path_factory.mktemp("home")
    (home / ".gitconfig").write_text(
        "[user]\n\tname = Test\n\temail = test@example.org\n"
        "[init]\n\tdefaultBranch = main\n"
        '[protocol "file"]\n\tallow = always\n',
        encoding="utf-8",
    )
    with pytest.MonkeyPatch.context() as patch:
        # With the last one, each program that a test starts would compile all that it imports.
        for name in (
            "DAGSTER_HOME",
            "REGISTRY_ROOT",
            "XDG_CONFIG_HOME",
            "PYTHONDONTWRITEBYTECODE",
        ):
            patch.delenv(name, raising=False)
        patch.setenv("HOME", str(home))
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        patch.setenv("DVC_NO_ANALYTICS", "1")
        patch.setenv("DVC_GLOBAL_CONFIG_DIR", str(home / "dvc-global"))
        patch.setenv("DVC_SYSTEM_CONFIG_DIR", str(home / "dvc-system"))
        patch.setenv("DVC_SITE_CACHE_DIR", str(home / "dvc-site-cache"))
        patch.setenv("PATH", f"{BIN}{os.pathsep}{os.environ['PATH']}")
        with serving() as programs:
            patch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
            yield


def run(folder: Path, *command: str, env: Mapping[str, str] | None = None) -> str:
    """Runs a program in a folder and returns what it printed; raises when it fails."""
    done = run_anew(command, folder, {**os.environ, **(env or {})})
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def commit_all(root: Path, message: str = "Change") -> str:
    """Commits everything that Git does not ignore; returns the commit."""
    run(root, "git", "add", "--all")
    run(root, "git", "commit", "--quiet", "--allow-empty", "--message", message)
    return run(root, "git", "rev-parse", "HEAD").strip()


def write_tree(folder: Path, files: Mapping[str, str]) -> None:
    """Writes text files, by path inside a folder."""
    for path, text in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")


def lineage_of(root: Path) -> Lineage:
    """The graph of a registry, read anew."""
    return build_lineage(read_registry(root))


def seeds(default: str) -> list[int]:
    """What chance starts with: a few, or those that `REGISTRY_SEEDS` names, as `100-140`."""
    first, _, last = os.environ.get("REGISTRY_SEEDS", default).partition("-")
    return list(range(int(first), int(last or first) + 1))


PIPELINE = """\
vars:
  - collections.yaml
stages:
  upper:
    foreach: ${collections}
    do:
      desc: Writes every file in capitals
      cmd: python upper.py data/inputs/${item} data/intermediate/upper/${item}
      deps:
        - upper.py
        - data/inputs/${item}
      params:
        - suffix
      outs:
        - data/intermediate/upper/${item}
  count:
    foreach: ${collections}
    do:
      cmd: >-
        mkdir -p data/outputs/lines data/outputs/names
        && cat data/intermediate/upper/${item}/* | wc -l > data/outputs/lines/${item}
        && ls data/intermediate/upper/${item} > data/outputs/names/${item}
      deps:
        - data/intermediate/upper/${item}
      outs:
        - data/outputs/lines/${item}
        - data/outputs/names/${item}
"""

UPPER = """\
import pathlib, sys
source, target = map(pathlib.Path, sys.argv[1:])
target.mkdir(parents=True)
for path in sorted(source.iterdir()):
    (target / path.name).write_text(path.read_text().upper() + "\\n")
"""


@cache
def _empty_repository() -> Path:
    """A DVC repository with nothing in it but an empty history; making the latter takes long."""
    root = Path(mkdtemp())
    atexit.register(shutil.rmtree, root)
    run(root, "git", "init", "--quiet", "--template=")
    Repo.init(str(root)).close()
    with open_history(root):
        pass
    return root


def copy_empty_repository(root: Path, *left_out: str) -> Path:
    """A DVC repository with nothing in it, not even what is left out."""
    ignore = shutil.ignore_patterns(*left_out)
    return Path(shutil.copytree(_empty_repository(), root, symlinks=True, ignore=ignore))


@pytest.fixture(scope="session")
def _text_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with the shape of the real one and a pipeline that takes milliseconds."""
    root = tmp_path_factory.mktemp("text") / "registry"
    list(init_registry(root))
    shutil.rmtree(root / "processed")
    write_tree(
        root,
        {
            "processed/texts/dvc.yaml": PIPELINE,
            "processed/texts/upper.py": UPPER,
            "processed/texts/params.yaml": "suffix: 1\n",
            "processed/texts/collections.yaml": "collections: []\n",
        },
    )
    commit_all(root, "Start")
    with open_history(root):
        pass
    return root


@pytest.fixture
def text_registry(_text_registry: Path, tmp_path: Path) -> Path:
    """A fresh registry whose pipeline works on text files, with two collections in raw/."""
    root = tmp_path / "registry"
    shutil.copytree(_text_registry, root, symlinks=True)
    config = root / ".dvc" / "config"
    config.write_text(config.read_text().replace(str(_text_registry), str(root)))
    (root / ".env").unlink()
    write_tree(
        root,
        {
            "raw/01_a/one.txt": "one\n",
            "raw/01_a/two.txt": "two\n",
            "raw/02_b/three.txt": "three\n",
        },
    )
    return root


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A DVC repository with nothing in it."""
    return copy_empty_repository(tmp_path / "bare")


@contextmanager
def history_in(home: Path) -> Iterator[DagsterInstance]:
    """The Dagster instance in a folder, opened as commands do, as a run takes half as long."""
    own = {"module": OpenSqliteStorage.__module__, "class": OpenSqliteStorage.__name__}
    storage = {"custom": {**own, "config": {"base_dir": str(home)}}}
    with DagsterInstance.local_temp(str(home), overrides={"storage": storage}) as found:
        yield found


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[DagsterInstance]:
    """A Dagster instance of its own, on disk."""
    home = tmp_path / "history"
    shutil.copytree(_empty_repository() / HOME, home)
    with history_in(home) as found:
        yield found


@pytest.fixture(scope="session")
def _materialized(_text_registry: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a registry whose first collection went all the way, and with its history."""
    folder = tmp_path_factory.mktemp("materialized")
    root = folder / "registry"
    shutil.copytree(_text_registry, root, symlinks=True)
    write_tree(root, {"raw/01_a/one.txt": "one\n", "raw/02_b/two.txt": "two\n"})
    shutil.copytree(_empty_repository() / HOME, folder / "history")
    lineage = lineage_of(root)
    definitions = define_assets(lineage)
    with history_in(folder / "history") as history:
        for planned in plan_runs(lineage, select_keys(lineage, None), ["01_a"]):
            assert execute(definitions, history, planned, force=False, tags={}).failures == ()
    return folder


@pytest.fixture(scope="session")
def finished_registry(_materialized: Path) -> Path:
    """A registry whose first collection went all the way, to be copied."""
    return _materialized / "registry"


@pytest.fixture
def materialized_registry(_materialized: Path, tmp_path: Path) -> Path:
    """A registry whose first collection went all the way, materialized in `its_history`."""
    return Path(shutil.copytree(_materialized / "registry", tmp_path / "registry", symlinks=True))


@pytest.fixture
def its_history(_materialized: Path, tmp_path: Path) -> Iterator[DagsterInstance]:
    """The Dagster instance that `materialized_registry` was materialized in."""
    shutil.copytree(_materialized / "history", tmp_path / "history")
    with history_in(tmp_path / "history") as found:
        yield found


def make_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A registry that takes long to make, for tests that change nothing.

    Args:
        factory: Where the folders of this test process are.
        name: What it is called among those made once.
        make: Makes it in a folder that does not exist yet; called by one of the test processes that
            share the work, while others wait for it.
    """
    # They have the folder above their own in common.
    shared = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    made = shared / name / "registry"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            made.parent.mkdir()
            make(made)
    # A copy, as DVC locks a whole repository; with its links between workspace and cache.
    root = factory.mktemp(name) / "registry"
    run(shared, "cp", "-a", str(made), str(root))
    return root


def _make_demo(root: Path) -> None:
    run(root.parent, "registry", "init", str(root))
    run(root, "registry", "demo")
    commit_all(root, "Demo")


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry after its first `registry demo`, committed; for tests that change nothing."""
    return make_once(tmp_path_factory, "demo", _make_demo)
