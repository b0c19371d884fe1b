"""What does not depend on the kind of remote: the command, and data that is nowhere."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from registry_assets.cli import main
from registry_assets.dvc_repo import DvcRepo
from registry_assets.errors import RegistryError
from tests.remotes.conftest import RAW
from tests.remotes.test_promises import OBJECTS, md5_of, push, remote_objects, replace

pytestmark = pytest.mark.parametrize("storage", ["folder"], indirect=True)


def call(root: Path, *arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["--root", str(root), "push", *arguments])
    return done.exit_code, done.output


def test_the_command_says_what_is_missing_sends_it_and_says_that_it_is_there(
    registry: Path,
) -> None:
    code, said = call(registry, "--check")
    assert code == 1
    assert f"missing  {RAW}  (9 of 9 objects)" in said
    assert call(registry) == (0, f"pushed {OBJECTS} objects\n")
    assert call(registry, "--check", "--full") == (0, "the remote has all of 5 outputs\n")


def test_data_that_is_nowhere_is_named_and_the_rest_is_sent(registry: Path) -> None:
    content = (registry / RAW / "01.txt").read_bytes()
    place = DvcRepo(registry).cache_folder / md5_of(content)[:2] / md5_of(content)[2:]
    place.unlink()
    code, said = call(registry)
    assert code == 1
    assert f"missing  {RAW}/01.txt" in said
    assert "materialize them again" in said
    assert f"pushed {OBJECTS - 1} objects" in said


def test_versions_besides_the_recorded_ones_can_be_sent(registry: Path) -> None:
    repo = DvcRepo(registry)
    before = repo.read_dvc_file(f"{RAW}.dvc")
    assert before is not None
    assert before.output.version is not None
    push(registry)
    shutil.rmtree(Path(remote_path(registry)))
    (registry / RAW / "new.txt").write_text("new")
    with repo.tracking(RAW, force=True, report=lambda _line: None) as pending:
        pending.persist()
    extra = {RAW: before.output.version.md5}
    assert repo.push([f"{RAW}.dvc"], report=lambda _line: None).objects == 10
    assert repo.push([f"{RAW}.dvc"], extra=extra, report=lambda _line: None).pushed == 1


def test_a_damaged_object_of_another_repository_is_not_imported(
    registry: Path, clone: Path, bare: Path
) -> None:
    push(registry)
    content = (registry / RAW / "01.txt").read_bytes()
    with remote_objects(registry) as objects:
        replace(objects, md5_of(content), content[::-1])
    taking_in = DvcRepo(bare).importing_from(
        str(clone), RAW, "raw", revision=None, collections_file=None, report=lambda _line: None
    )
    with pytest.raises(RegistryError, match="damaged"), taking_in as pending:
        pending.persist()
    assert not (bare / "raw").exists()


def remote_path(root: Path) -> str:
    with remote_objects(root) as objects:
        return str(objects.path)
