"""Pull requests by the commands of forges: each is a program on PATH that answers as they do."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry_assets.revisions.publishing.pull_requests import PullRequest, open_pull_request

HOSTS = {"gh": "github.com", "glab": "gitlab.com", "tea": "codeberg.org"}
PAGES = {
    "gh": "https://github.com/team/photos/pull/",
    "glab": "https://gitlab.com/team/photos/-/merge_requests/",
    "tea": "https://codeberg.org/team/photos/pulls/",
}
OPEN = ["data/harbour", "main"]
EACH_PROGRAM = pytest.mark.parametrize("name", HOSTS)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def install(programs: Path, name: str, *cases: tuple[str, str, int]) -> Path:
    """A program that answers by its first two arguments; returns the record of all arguments.

    Args:
        programs: Where to.
        name: Of the command.
        cases: The arguments, what it prints (to stderr where it fails), and its exit code.
    """
    record = programs.parent / f"{name}.asked"
    lines = ["#!/bin/sh", f"printf '%s\\n' \"$*\" >> {record}", 'case "$1 $2" in']
    for words, answer, code in cases:
        stream = " >&2" if code else ""
        lines.append(f'"{words}") printf "%s\\n" \'{answer}\'{stream}; exit {code};;')
    (programs / name).write_text("\n".join([*lines, "*) exit 2;;", "esac", ""]))
    (programs / name).chmod(0o755)
    return record


def open_at(host: str, root: Path) -> PullRequest:
    addresses = [f"git@{host}:team/photos.git"]
    return open_pull_request(root, addresses, *OPEN, title="One more", description="| raw | 1 |")


CREATE = {"gh": "pr create", "glab": "mr create", "tea": "pulls create"}


@EACH_PROGRAM
def test_the_command_of_the_forge_opens_a_pull_request(
    name: str, programs: Path, tmp_path: Path
) -> None:
    said = f"# 7 One more\n\nas {PAGES[name]}3 did\n\n{PAGES[name]}7"
    record = install(programs, name, (CREATE[name], said, 0))
    for other in HOSTS.keys() - {name}:
        install(programs, other)
    assert open_at(HOSTS[name], tmp_path) == PullRequest("opened", f"{PAGES[name]}7")
    (asked,) = record.read_text().splitlines()
    for value in (*OPEN, "One more", "| raw | 1 |"):
        assert value in asked
    assert {path.name for path in tmp_path.glob("*.asked")} == {record.name}


@EACH_PROGRAM
def test_one_that_is_there_is_named(name: str, programs: Path, tmp_path: Path) -> None:
    there = f"{PAGES[name]}4"
    refusal = {
        "gh": f'a pull request for branch "data/harbour" already exists:\n{there}',
        "glab": "Another open merge request already exists for this source branch: !4",
        "tea": "Could not create PR: pull request already exists for these targets [id: 4]",
    }
    listed = {
        "gh": "",
        "glab": f'[{{"iid":4,"source_branch":"data/harbour","web_url":"{there}"}}]',
        "tea": f"other {PAGES[name]}3\ndata/harbour {there}",
    }
    listing = {"gh": "pr list", "glab": "mr list", "tea": "pulls list"}
    install(programs, name, (CREATE[name], refusal[name], 1), (listing[name], listed[name], 0))
    assert open_at(HOSTS[name], tmp_path) == PullRequest("there", there)


@EACH_PROGRAM
def test_a_refusal_is_told_with_the_page_for_a_person(
    name: str, programs: Path, tmp_path: Path
) -> None:
    install(programs, name, (CREATE[name], "401 for https://me:s3cret@x.org/: log in", 1))
    done = open_at(HOSTS[name], tmp_path)
    assert done.state == "address"
    assert done.url is not None
    assert done.url.startswith(f"https://{HOSTS[name]}/team/photos/")
    assert done.reason is not None
    assert done.reason.startswith(f"{name}: 401")
    assert "s3cret" not in repr(done)


@EACH_PROGRAM
def test_without_the_command_its_page_is_told_and_no_token_is_read(
    name: str, programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("GH_TOKEN", "GITLAB_TOKEN", "GITEA_SERVER_TOKEN"):
        monkeypatch.setenv(variable, "s3cret")
    done = open_at(HOSTS[name], tmp_path)
    assert (done.state, done.reason) == ("address", None)


@pytest.mark.parametrize(
    ("name", "login"),
    [
        ("gh", "code.example.org\n  Logged in to code.example.org as me"),
        ("glab", "code.example.org\n  Logged in to code.example.org as me"),
        ("tea", "work https://code.example.org code.example.org me true"),
    ],
)
def test_of_a_host_of_another_name_the_command_is_used_that_is_logged_in_there(
    name: str, login: str, programs: Path, tmp_path: Path
) -> None:
    logins = {"gh": "auth status", "glab": "auth status", "tea": "logins list"}
    for other in HOSTS.keys() - {name}:
        install(programs, other, (logins[other], "other.example.org", int(other != "tea")))
    page = PAGES[name].replace(HOSTS[name], "code.example.org")
    install(programs, name, (logins[name], login, 0), (CREATE[name], f"{page}7", 0))
    assert open_at("code.example.org", tmp_path) == PullRequest("opened", f"{page}7")
    assert open_at("elsewhere.example.org", tmp_path).state == "none"
