"""What Git says of a repository, word for word."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from registry_assets.errors import RefusedError, RegistryError, SourceUnreachableError
from registry_assets.git_repo import GitRemote, GitRepo
from registry_assets.git_repo.history import read_tips
from registry_assets.git_repo.switching import switch
from tests.conftest import commit_all, run, write_tree


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


def test_rules_that_git_would_match_for_ever_are_an_error(tmp_path: Path) -> None:
    run(tmp_path, "git", "init", "--quiet")
    (tmp_path / ".gitignore").write_text(f"{'/'.join(['**', '*a*'] * 16)}/b\n")
    git, deep = GitRepo(tmp_path, ignore_seconds=1), "/".join(["a" * 40] * 30)
    with pytest.raises(RegistryError, match="look for rules with many"):
        git.ignored([deep])
    with git.asking_ignored() as ask:
        assert ask(["a/"]) == frozenset()
        with pytest.raises(RegistryError, match="look for rules with many"):
            ask([f"{deep}/"])


ODD = ("a\u2028b", "c\u0085d", os.fsdecode(b"e\xfff"), "-f", "--upload-pack=touch made; true")
"""Names that Git makes no branch of, or other programs would split; it fetches all of them."""


def make_hub(folder: Path, *names: str) -> tuple[Path, str]:
    """A repository that has branches and tags of these names only, and their commit."""
    hub = folder / "hub"
    hub.mkdir(parents=True)
    run(hub, "git", "init", "--quiet")
    (hub / "file").write_text("theirs\n")
    commit = commit_all(hub)
    for name in names:
        for kind in ("heads", "tags"):
            ref = f"refs/{kind}/{name}".replace(" ", "\u3000")
            (hub / ".git" / ref).parent.mkdir(exist_ok=True)
            (hub / ".git" / ref).write_text(f"{commit}\n")
    run(hub, "git", "checkout", "--quiet", "--detach")
    run(hub, "git", "branch", "--quiet", "-D", "main")
    return hub, commit


def test_names_on_a_remote_are_read_whole_and_reach_git_as_no_options(tmp_path: Path) -> None:
    names = tuple(name.replace(" ", "\u3000") for name in ODD)
    hub, commit = make_hub(tmp_path, *names)
    run(tmp_path, "git", "clone", "--quiet", str(hub), "clone")
    git = GitRepo(tmp_path / "clone")
    state = GitRemote.find(git, None).read_state()
    assert set(state.branches) == set(state.tags) == set(names)
    assert set(git.remote_branches()) == set(names)
    assert git.read_refs(str(hub)).keys() == {
        "HEAD",
        *(f"refs/{kind}/{name}" for kind in ("heads", "tags") for name in names),
    }
    assert f"branch origin/{names[0]}" in read_tips(git)[commit]
    run(git.root, "git", "checkout", "--quiet", "-b", "mine", commit)
    (git.root / "file").write_text("mine\n")
    for name in names:
        assert git.resolve(name) == commit
        GitRemote.find(git, None).fetch(name)
        if name.startswith("-"):
            with pytest.raises(RefusedError, match="for an option: give its commit instead"):
                switch(git, name, commit)
    assert (git.root / "file").read_text() == "mine\n"
    assert not (tmp_path / "made").exists()


def test_a_recorded_commit_that_is_an_option_is_one_for_nobody(tmp_path: Path) -> None:
    hub, _ = make_hub(tmp_path)
    git = GitRepo(hub)
    written = tmp_path / "written"
    for word in (f"--output={written}", "--octopus", "-f", "--shell"):
        assert git.resolve(word) is None
        assert git.text_at(word, "file") is None
        assert not git.holds(word)
        assert not git.is_known(word)
        with pytest.raises(RefusedError, match="for an option"):
            GitRepo(tmp_path / "clone").check_out(str(hub), word)
    assert not list(tmp_path.glob("written*"))
    assert not (tmp_path / "clone").exists()


@pytest.mark.parametrize(
    "address",
    ["--upload-pack=touch made; true", "ext::sh -c touch% made", "ssh://-oProxyCommand=made/x"],
)
def test_no_address_runs_a_program(address: str, tmp_path: Path) -> None:
    run(tmp_path, "git", "init", "--quiet")
    with pytest.raises(SourceUnreachableError):
        GitRepo(tmp_path).read_refs(address)
    with pytest.raises(SourceUnreachableError):
        GitRepo(tmp_path / "clone").clone(address, asks=False)
    with pytest.raises(SourceUnreachableError):
        GitRepo(tmp_path / "clone").check_out(address, "0" * 40)
    assert not (tmp_path / "made").exists()


def test_many_questions_about_ignored_paths_have_the_answers_of_single_ones(tmp_path: Path) -> None:
    run(tmp_path, "git", "init", "--quiet")
    rules = "*.jpg\n!kept.jpg\nfolder/\n/top\n\\!odd\n"
    write_tree(tmp_path, {".gitignore": rules, "sub/.gitignore": "!*.jpg\nlater\n"})
    names = ["a.jpg", "kept.jpg", "folder/", "folder", "top", "!odd", "x\ny.jpg", "später", "later"]
    paths = [*names, *(f"sub/{name}" for name in names), *(f"{n}/{'x' * 99}" for n in range(999))]
    git = GitRepo(tmp_path)
    with git.asking_ignored() as ask:
        for asked in (paths, names, [], paths[::-1]):
            assert ask(asked) == git.ignored(asked)
        assert "a.jpg" in (ask(paths) or ())


def test_ignored_paths_outside_of_a_repository_are_not_told(tmp_path: Path) -> None:
    with GitRepo(tmp_path).asking_ignored() as ask:
        assert ask(["a"]) is None
        assert ask(["a", "b"]) is None
