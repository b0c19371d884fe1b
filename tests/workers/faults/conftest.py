"""A registry whose stages are made by workers, and its twin, in which `dvc repro` makes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from dvc.config import Config

from tests.commands import forking
from tests.conftest import commit_all, run, write_tree
from tests.persisting.helpers import copy_repository, copy_with_remote, metafiles, take_in
from tests.workers.cluster import CONTROL, Cluster, serving_cluster

COLLECTIONS = ("01_a", "02_b", "03_c", "04_d")

STAGES = """\
vars:
  - collections.yaml
stages:
  upper:
    foreach: ${collections}
    do:
      desc: Writes every file in capitals
      cmd: python program.py data/inputs/${item} data/intermediate/upper/${item}
      deps:
        - program.py
        - data/inputs/${item}
      params:
        - suffix
      outs:
        - data/intermediate/upper/${item}
  count:
    foreach: ${collections}
    do:
      cmd: >-
        mkdir -p data/outputs/lines
        && cat data/intermediate/upper/${item}/* | wc -l > data/outputs/lines/${item}
      deps:
        - data/intermediate/upper/${item}
      outs:
        - data/outputs/lines/${item}
"""

PROGRAM = """\
import os, pathlib, sys, time
source, target = map(pathlib.Path, sys.argv[1:])
control, name = pathlib.Path(os.environ["CONTROL"]), source.name
with (control / "runs").open("a") as runs:
    runs.write(name + "\\n")
print("began", name, flush=True)
while (control / "hold" / name).exists():
    time.sleep(0.02)
if (control / "kill" / name).exists():
    import psutil
    worker = psutil.Process(psutil.Process(os.getsid(0)).ppid())
    worker.kill()
    time.sleep(600)
target.mkdir(parents=True)
for path in sorted(source.iterdir()):
    (target / path.name).write_text(path.read_text().upper())
"""

TEXTS = "processed/texts"
REMOTE = "storage"


@dataclass(frozen=True)
class Twin:
    """What `dvc repro` makes of the registry on one machine.

    Attributes:
        metafiles: Every ``dvc.lock``, ``.dvc`` and ``.gitignore``.
    """

    metafiles: Mapping[str, bytes]


@pytest.fixture(scope="session")
def _sent(_text_registry: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry whose collections are taken in, and whose stages are still to be run."""
    folder = tmp_path_factory.mktemp("sent")
    root = copy_repository(_text_registry, folder / "registry")
    write_tree(
        root,
        {
            f"{TEXTS}/dvc.yaml": STAGES,
            f"{TEXTS}/program.py": PROGRAM,
            f"{TEXTS}/collections.yaml": "collections: []\n",
            **{f"raw/{name}/{n}.txt": f"{name} {n}\n" for name in COLLECTIONS for n in range(3)},
        },
    )
    (root / TEXTS / "upper.py").unlink()
    (root / ".env").unlink()
    take_in(root, *COLLECTIONS)
    commit_all(root, "Take collections in")
    return root


@pytest.fixture(scope="session")
def twin(_sent: Path, tmp_path_factory: pytest.TempPathFactory) -> Twin:
    """The registry after `dvc repro` on one machine."""
    folder = tmp_path_factory.mktemp("twin")
    root = copy_repository(_sent, folder / "registry")
    run(root / TEXTS, "dvc", "repro", "--quiet", env={CONTROL: str(folder)})
    return Twin(metafiles(root))


@pytest.fixture(scope="session")
def _shared(_sent: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the registry, and its data in the folder `remote` beside it."""
    folder = tmp_path_factory.mktemp("shared")
    root = copy_repository(_sent, folder / "registry")
    share(root, {"url": str(folder / "remote")})
    return folder


@pytest.fixture
def registry(_shared: Path, tmp_path: Path) -> Path:
    """A committed registry whose data is on its remote: the folder `remote` beside it."""
    root = copy_with_remote(_shared, tmp_path)
    commit_all(root, "Share the data")
    return root


def share(
    root: Path, settings: Mapping[str, object], credentials: Mapping[str, str] | None = None
) -> None:
    """Gives a registry a remote, and pushes its data there."""
    with Config(str(root / ".dvc")).edit("repo") as config:
        config["remote"] = {REMOTE: dict(settings)}
        config["core"]["remote"] = REMOTE
    if credentials:
        with Config(str(root / ".dvc")).edit("local") as config:
            config["remote"] = {REMOTE: dict(credentials)}
    run(root, "dvc", "push", "--quiet")
    commit_all(root, "Share the data")


@pytest.fixture(scope="session")
def forks(_isolated_machine: None) -> Iterator[str]:
    """The address of a server that has imported what a scheduler and workers import."""
    with forking("dask-scheduler", "dask-worker") as address:
        yield address


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, forks: str) -> Iterator[Cluster]:
    """A scheduler with two workers, for the tests of a module that leave them alive."""
    with serving_cluster(tmp_path_factory.mktemp("cluster"), forks) as found:
        found.start_worker("one")
        found.start_worker("two", {"GPU": 1})
        found.wait_for_workers(2)
        yield found


@pytest.fixture
def own_cluster(tmp_path: Path, forks: str) -> Iterator[Cluster]:
    """A scheduler without workers, for one test."""
    with serving_cluster(tmp_path / "cluster", forks) as found:
        yield found
