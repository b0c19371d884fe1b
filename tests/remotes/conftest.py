"""Registries whose remotes are real servers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random

import pytest
from dagster import DagsterInstance
from dvc.config import Config

from registry_assets.orchestration.assets import select_keys
from tests.conftest import commit_all, history_in, lineage_of, run, write_tree
from tests.persisting.helpers import copy_repository
from tests.remotes.servers import SERVERS
from tests.remotes.servers.storage import Storage
from tests.runs import define_assets, execute, plan_runs

COLLECTION = "01_a"
RAW = f"raw/{COLLECTION}"
INPUT = f"processed/texts/data/inputs/{COLLECTION}"
FILES = 8
FILE_SIZE = 20_000

# Each library tries again in its own way; what can be set is set to once.
os.environ["AWS_MAX_ATTEMPTS"] = "1"
# Read when gcsfs is imported, as modules of tests do: else it asks for the kind of bucket by gRPC,
# which the emulator does not speak, and waits for ever.
os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"


@pytest.fixture(scope="session", params=SERVERS)
def storage(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    _isolated_machine: None,
) -> Iterator[Storage]:
    """Each kind of storage in turn, served for all tests that ask for it."""
    with SERVERS[request.param](tmp_path_factory.mktemp(request.param)) as found:
        yield found


@pytest.fixture(scope="session")
def _processed(_text_registry: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("processed")
    root = copy_repository(_text_registry, folder / "registry")
    random = Random(5)
    texts = {f"{RAW}/{n:02}.txt": random.randbytes(FILE_SIZE // 2).hex() for n in range(FILES)}
    write_tree(root, texts)
    with history_in(folder) as history:
        assert materialize(root, history) == ()
    commit_all(root, "Take a collection in")
    return root


def materialize(root: Path, history: DagsterInstance) -> tuple[str, ...]:
    """Brings the collection up to date as `registry materialize` does; returns what failed."""
    lineage = lineage_of(root)
    failures: list[str] = []
    definitions = define_assets(lineage)
    for planned in plan_runs(lineage, select_keys(lineage, None), [COLLECTION]):
        failures += map(str, execute(definitions, history, planned, force=False, tags={}).failures)
    return tuple(failures)


@pytest.fixture
def registry(_processed: Path, tmp_path: Path, storage: Storage) -> Path:
    """A registry that is up to date, with a remote that holds nothing yet."""
    root = copy_repository(_processed, tmp_path / "registry")
    settings = {"url": storage.place_for(tmp_path.name), "jobs": 4, **storage.settings}
    with Config(str(root / ".dvc")).edit("repo") as config:
        config["remote"] = {"storage": settings}
        config["core"]["remote"] = "storage"
    sign_in(root, storage.credentials)
    commit_all(root, "Share the data")
    return root


@pytest.fixture
def clone(registry: Path, storage: Storage, tmp_path: Path) -> Path:
    """A fresh clone of it, without data."""
    root = tmp_path / "clone"
    run(tmp_path, "git", "clone", "--quiet", str(registry), str(root))
    sign_in(root, storage.credentials)
    return root


def sign_in(root: Path, credentials: Mapping[str, str]) -> None:
    """Sets credentials in place of others, where Git does not look."""
    with Config(str(root / ".dvc")).edit("local") as config:
        config["remote"] = {"storage": dict(credentials)} if credentials else {}
