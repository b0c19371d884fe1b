"""What several people write who share a registry."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner
from dagster import DagsterInstance
from sqlalchemy.exc import IntegrityError

from registry_assets.cli import main
from registry_assets.dvc_repo.metafiles import replace_text
from registry_assets.errors import MetafileError
from registry_assets.orchestration.history.opening import open_history
from registry_assets.orchestration.history.reporting import _add_partitions
from registry_assets.registry.home import read_env, read_env_home
from registry_assets.registry.sharing import find_locked_database, share_files, share_history
from tests.conftest import HOME, run


@pytest.fixture(autouse=True)
def _mask() -> Iterator[None]:
    """The umask of most people, whatever was shared meanwhile."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def mask() -> int:
    found = os.umask(0o022)
    os.umask(found)
    return found


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, 0o022),
        ("umask", 0o022),
        ("false", 0o022),
        ("0", 0o022),
        ("group", 0o002),
        ("true", 0o002),
        ("1", 0o002),
        ("all", 0o002),
        ("world", 0o002),
        ("0660", 0o007),
        ("0640", 0o027),
        ("0664", 0o002),
    ],
)
def test_files_are_shared_as_git_is_told(bare: Path, value: str | None, expected: int) -> None:
    if value is not None:
        run(bare, "git", "config", "core.sharedRepository", value)
    share_files(bare)
    assert mask() == expected


@pytest.mark.parametrize("file", ["config", "config.local"])
@pytest.mark.parametrize(("text", "expected"), [("shared = group", 0o002), ("type = copy", 0o022)])
def test_files_are_shared_as_dvc_is_told(bare: Path, file: str, text: str, expected: int) -> None:
    with (bare / ".dvc" / file).open("a") as stream:
        stream.write(f"['remote \"a\"']\n    url = x\n[cache]\n    {text}\n")
    (bare / "inside").mkdir()
    share_files(bare / "inside")
    assert mask() == expected


@pytest.mark.parametrize("file", ["config", "config.local"])
def test_a_pipe_in_the_place_of_settings_shares_nothing(bare: Path, file: str) -> None:
    (bare / ".dvc" / file).unlink(missing_ok=True)
    os.mkfifo(bare / ".dvc" / file)
    share_files(bare)
    assert mask() == 0o022


def test_outside_a_repository_nothing_is_shared(tmp_path: Path) -> None:
    share_files(tmp_path)
    share_files(tmp_path / "not there")
    assert mask() == 0o022


def test_all_that_is_written_is_writable_by_the_group(text_registry: Path) -> None:
    run(text_registry, "git", "config", "core.sharedRepository", "group")
    before = set(text_registry.rglob("*"))
    for command in (
        ["add", "01_a"],
        ["import", "01_a", "--into", "texts"],
        ["materialize"],
        ["push"],
        ["status"],
        ["init", str(text_registry)],
    ):
        done = CliRunner().invoke(main, ["--root", str(text_registry), *command])
        assert done.exit_code == 0, done.output
    cache = {".dvc/cache", ".dvc/storage"}
    written = [
        path
        for path in {*text_registry.rglob("*")} - before
        # Objects and what is linked to them are read-only for everybody.
        if not path.is_symlink()
        and not any(path.is_relative_to(text_registry / folder) for folder in cache)
        and not (path.is_file() and path.stat().st_nlink > 1)
    ]
    assert len(written) > 20
    assert [path for path in written if not mode(path) & stat.S_IWGRP] == []
    databases = [*(text_registry / HOME).rglob("*.db*")]
    assert [path.name for path in databases if not mode(path) & stat.S_IWGRP] == []


def test_databases_from_before_are_mended_by_their_owner(text_registry: Path) -> None:
    databases = [*(text_registry / HOME).rglob("*.db")]
    assert {mode(path) for path in databases} == {0o644}
    share_history(text_registry / HOME)
    assert {mode(path) for path in databases} == {0o644}
    run(text_registry, "git", "config", "core.sharedRepository", "group")
    share_files(text_registry)
    with open_history(text_registry):
        assert {mode(path) for path in databases} == {0o664}


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_database_of_somebody_else_is_left_alone(text_registry: Path) -> None:
    (text_registry / HOME / "history/runs/index.db").chmod(0o444)
    assert find_locked_database(text_registry / HOME) is not None
    done = CliRunner().invoke(main, ["--root", str(text_registry), "sync"])
    assert done.exit_code == 1
    assert "index.db belongs to" in done.stderr
    assert not (text_registry / HOME / "history/runs/index.db-shm").exists()


def test_a_file_that_is_replaced_keeps_mode_and_group(tmp_path: Path) -> None:
    place = tmp_path / "collections.yaml"
    place.write_text("a\n")
    place.chmod(0o660)
    if os.getuid() == 0:
        os.chown(place, -1, 2000)
    before = place.stat()
    replace_text(place, "b\n")
    assert (mode(place), place.stat().st_gid) == (0o660, before.st_gid)


def test_a_pipe_in_the_place_of_env_is_named(bare: Path) -> None:
    os.mkfifo(bare / ".env")
    for read in (read_env, read_env_home):
        with pytest.raises(MetafileError, match="it is not a regular file"):
            read(bare)


def test_partitions_that_another_process_adds_meanwhile_are_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    instance = DagsterInstance.ephemeral()
    add = instance.add_dynamic_partitions
    calls: list[Sequence[str]] = []

    def add_late(name: str, keys: Sequence[str]) -> None:
        calls.append(keys)
        add(name, keys[: len(calls)])
        if len(calls) == 1:
            raise IntegrityError("INSERT", None, Exception("UNIQUE constraint failed"))

    monkeypatch.setattr(instance, "add_dynamic_partitions", add_late)
    _add_partitions(instance, "collections", ["a", "b"])
    assert set(instance.get_dynamic_partitions("collections")) == {"a", "b"}
