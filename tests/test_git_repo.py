"""What Git says of a repository, word for word."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry_assets.git_repo import GitRepo
from tests.conftest import run


@pytest.mark.parametrize("name", [" in front", "behind ", "plain"])
def test_the_name_of_a_folder_keeps_its_blanks(name: str, tmp_path: Path) -> None:
    run(tmp_path, "git", "init", "--quiet")
    (tmp_path / name).mkdir()
    assert GitRepo(tmp_path).prefix() == ""
    assert GitRepo(tmp_path / name).prefix() == f"{name}/"
