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


def test_the_head_is_what_git_says_without_asking_it_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert GitRepo(tmp_path).head() is None
    run(tmp_path, "git", "init", "--quiet", "--initial-branch", "main")
    git = GitRepo(tmp_path)
    assert git.head() == "refs/heads/main"
    run(tmp_path, "git", "commit", "--quiet", "--allow-empty", "--message", "Start")
    run(tmp_path, "git", "worktree", "add", "--quiet", "-b", "other/one", "linked")
    assert GitRepo(tmp_path / "linked").head() == "refs/heads/other/one"
    commit = git.commit()
    monkeypatch.setattr(GitRepo, "call", None)
    assert git.head() == "refs/heads/main"
    run(tmp_path, "git", "checkout", "--quiet", "--detach")
    assert git.head() == commit
