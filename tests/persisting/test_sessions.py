"""What a session keeps open, and for whom."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from registry_assets.dvc_repo import DvcRepo


def test_a_repository_stays_open_until_all_who_share_it_are_done(bare: Path) -> None:
    with ExitStack() as first:
        first.enter_context(DvcRepo(bare).session())
        with DvcRepo(bare).session(), DvcRepo(bare).open() as shared:
            first.close()
            with DvcRepo(bare).open() as still:
                assert still is shared
    with DvcRepo(bare).open() as fresh:
        assert fresh is not shared


def test_other_settings_are_not_shared(bare: Path) -> None:
    settings = {"core": {"no_scm": True}}
    with (
        DvcRepo(bare).session(),
        DvcRepo(bare).open() as one,
        DvcRepo(bare, settings=settings).open() as other,
    ):
        assert other is not one
