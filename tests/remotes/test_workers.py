"""A stage made by a worker that shares nothing with the registry but a remote."""

from __future__ import annotations

from pathlib import Path

import pytest
from dvc.config import Config

from tests.conftest import run
from tests.remotes.conftest import COLLECTION
from tests.remotes.servers.storage import Storage
from tests.workers.ordering import ask, entry_of, make, recorded

STAGE = f"processed/texts/dvc.yaml:upper@{COLLECTION}"


def test_outputs_and_their_run_come_to_the_remote_and_are_found_there(
    registry: Path, storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(registry, "dvc", "push", "--quiet", f"raw/{COLLECTION}.dvc")
    asked = ask(registry, STAGE)
    wanted = recorded(registry, STAGE)
    # The worker's machine has credentials of its own: those of the clone stay in it.
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path / "dvc of the worker"))
    with Config().edit("global") as config:
        config["remote"] = {"storage": {"url": storage.url, **storage.credentials}}
    first = make(asked, tmp_path / "one")
    assert entry_of(first) == wanted
    again = make(asked, tmp_path / "other")
    assert again.made is not None
    assert again.made.outcome == "restored"
    assert entry_of(again) == wanted
    # DVC finds it there, too.
    run(registry, "rm", "-rf", ".dvc/cache")
    run(registry, "dvc", "fetch", "--quiet", "--run-cache", STAGE)
    assert len(list((registry / ".dvc/cache/runs").glob("*/*/*"))) == 1
