"""A server that does wrong is told in one line, and nothing wrong of it stays."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from dvc.config import Config

from faults import troubled_proxy
from registry_assets.errors import DataNotAvailableError, RemoteError
from tests.persisting.helpers import contents
from tests.remotes.conftest import RAW
from tests.remotes.servers.storage import Storage
from tests.remotes.test_promises import (
    OBJECTS,
    cached,
    is_one_clear_line,
    lacking,
    md5_of,
    pull,
    push,
)

pytestmark = pytest.mark.parametrize("storage", ["s3"], indirect=True)


def lead_to(root: Path, port: int) -> None:
    with Config(str(root / ".dvc")).edit("local") as config:
        config["remote"]["storage"]["endpointurl"] = f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("trouble", ["refuse", "error", "drop", "cut", "wrong bytes"])
def test_nothing_wrong_is_pulled_and_the_same_again_works(
    trouble: str, registry: Path, clone: Path, storage: Storage
) -> None:
    push(registry)
    with troubled_proxy.serving(storage.gate.port, Random(0)) as proxy:
        lead_to(clone, proxy.port)
        proxy.trouble, proxy.share = trouble, 1.0
        with pytest.raises(DataNotAvailableError) as failed:
            pull(clone)
        assert proxy.met
        assert is_one_clear_line(failed.value, names=RAW)
        assert not (clone / RAW).exists()
        assert not cached(clone)
        proxy.share = 0.0
        pull(clone)
    assert contents(clone / RAW) == contents(registry / RAW)


@pytest.mark.parametrize("trouble", ["refuse", "error", "drop"])
def test_a_push_resumes_when_the_trouble_is_over(
    trouble: str, registry: Path, storage: Storage
) -> None:
    with troubled_proxy.serving(storage.gate.port, Random(0)) as proxy:
        lead_to(registry, proxy.port)
        proxy.trouble, proxy.share = trouble, 1.0
        with pytest.raises(RemoteError) as failed:
            push(registry)
        assert proxy.met
        assert is_one_clear_line(failed.value, names="remote storage (")
        proxy.share = 0.0
        assert push(registry) <= OBJECTS
        assert lacking(registry, full=True) == set()
    assert all(
        path.parent.name + path.name.removesuffix(".dir") == md5_of(path.read_bytes())
        for path in cached(registry)
    )
