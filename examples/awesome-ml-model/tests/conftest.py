"""A registry, a repository of the example and an MLflow server, all real, for all tests."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from mlflow import MlflowClient

from awesome_ml_model.__main__ import main as own
from demo.starting import commit, make_registry, make_repository, run, serving
from registry_assets.cli import main as registry_command

# A shell starts background commands with SIGINT ignored, and what is started here would inherit it.
signal.signal(signal.SIGINT, signal.default_int_handler)


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
        for name in ("DAGSTER_HOME", "REGISTRY_ROOT", "XDG_CONFIG_HOME", "MLFLOW_TRACKING_URI"):
            patch.delenv(name, raising=False)
        for name, value in {
            "HOME": str(home),
            "GIT_CONFIG_NOSYSTEM": "1",
            "DVC_NO_ANALYTICS": "1",
            "DVC_GLOBAL_CONFIG_DIR": str(home / "dvc-global"),
            "DVC_SYSTEM_CONFIG_DIR": str(home / "dvc-system"),
            "DVC_SITE_CACHE_DIR": str(home / "dvc-site-cache"),
            "DAGSTER_DISABLE_TELEMETRY": "1",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }.items():
            patch.setenv(name, value)
        yield


@dataclass(frozen=True)
class World:
    """Everything there is.

    Attributes:
        registry: The registry, with the tag v1.
        repository: The repository of the example, its data imported at v1, trained and committed.
        address: Of the MLflow server.
        client: Asks the server, past our own code.
    """

    registry: Path
    repository: Path
    address: str
    client: MlflowClient

    def own(self, *arguments: str) -> Result:
        """Runs a command of the example."""
        before = Path.cwd()
        os.chdir(self.repository)
        try:
            return CliRunner().invoke(own, arguments, catch_exceptions=False)
        finally:
            os.chdir(before)

    def trace(self, *arguments: str) -> Result:
        """Runs `registry trace` in the registry."""
        command = ("--root", str(self.registry), "trace", "--no-runs", *arguments)
        return CliRunner().invoke(registry_command, command, catch_exceptions=False)

    def traced(self, *arguments: str) -> Any:
        """What `registry trace` says, as values."""
        done = self.trace("--json", *arguments)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    def head(self, repository: Path) -> str:
        """The newest commit of one of the repositories."""
        return run(repository, "git", "rev-parse", "HEAD").strip()

    def stages(self) -> Mapping[str, str]:
        """The stage of each version, as the example lists them."""
        lines = self.own("list").stdout.splitlines()
        return {line.split()[0].rpartition("/")[2]: line.split()[1] for line in lines}


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A registry made from raw folders, a model trained on it, and a server."""
    folder = tmp_path_factory.mktemp("world")
    registry, repository = folder / "registry", folder / "repository"
    with serving(folder / "mlflow") as server, pytest.MonkeyPatch.context() as patch:
        address = server.address
        patch.setenv("MLFLOW_TRACKING_URI", address)
        make_registry(registry)
        make_repository(repository, str(registry), "v1")
        run(repository, "dvc", "repro")
        commit(repository, "Train on v1")
        server.wait()
        yield World(registry, repository, address, MlflowClient(address, address))
