"""The command line: its contract, its exit codes, its help."""

import json
import os
import re
import shutil
import socket
import threading
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from registry_assets.cli import main
from tests.conftest import run, write_tree

ROOT = Path(__file__).parents[1]
GUIDES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
"""What people wrote for people: the README and the pages of the site, without what is generated."""


def registry(root: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--root", str(root), *arguments])


@pytest.mark.parametrize("name", sorted(main.commands))
def test_every_command_has_help_and_stands_in_a_guide(name: str) -> None:
    command = main.commands[name]
    assert command.help
    shown = CliRunner().invoke(main, [name, "--help"])
    assert shown.exit_code == 0
    assert command.help.splitlines()[0].split(";")[0] in " ".join(shown.output.split())
    named = re.compile(rf"\bregistry (--root \S+ )?{name}\b")
    assert any(named.search(guide.read_text(encoding="utf-8")) for guide in GUIDES), name


def test_every_command_in_the_guides_exists() -> None:
    text = "\n".join(guide.read_text(encoding="utf-8") for guide in GUIDES)
    blocks = "\n".join(re.findall(r"```.*?```", text, re.DOTALL))
    named = set(re.findall(r"^registry (?:--root \S+ )?([a-z][a-z-]*)", blocks, re.MULTILINE))
    assert len(named) > 5
    assert named <= set(main.commands)


def test_every_option_has_help() -> None:
    for command in main.commands.values():
        for parameter in command.params:
            if isinstance(parameter, click.Option) and parameter.name not in ("host", "port"):
                assert parameter.help, (command.name, parameter.name)


def test_wrong_usage_exits_2(text_registry: Path) -> None:
    assert registry(text_registry, "nonsense").exit_code == 2
    assert registry(text_registry, "import", "01_a").exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["add", "nothing"], "run `registry add nothing`"),
        (["add", "x; rm -rf ~"], "cannot be the name of a collection"),
        (["import", "01_a", "--into", "texts"], "run `registry add 01_a`"),
        (["import", "01_a", "--into", "nowhere"], "choose one of texts"),
        (["materialize", "--select", 'key:"nothing"'], "names no asset"),
        (["materialize", "--collection", "01_b"], "did you mean 02_b or 01_a?"),
        (["import", "01_aa", "--into", "texts"], "did you mean 01_a?"),
        (["add", "01_aa"], "did you mean 01_a?"),
    ],
)
def test_failures_exit_1_and_name_the_next_step(
    text_registry: Path, arguments: list[str], words: str
) -> None:
    done = registry(text_registry, *arguments)
    assert done.exit_code == 1
    assert words in done.stderr
    assert "Traceback" not in done.output


def test_outside_a_repository_the_way_in_is_named(tmp_path: Path) -> None:
    done = registry(tmp_path, "status")
    assert done.exit_code == 1
    assert "registry init" in done.stderr


def test_status_in_json_has_the_promised_form(text_registry: Path) -> None:
    write_tree(text_registry, {"raw/bad name/x.txt": "x"})
    assert registry(text_registry, "materialize", "--collection", "01_a").exit_code == 0
    (text_registry / "processed/texts/params.yaml").write_text("suffix: 2\n")
    done = registry(text_registry, "status", "--json")
    assert done.exit_code == 1
    status = json.loads(done.output)
    assert status["root"] == str(text_registry)
    assert status["up_to_date"] is False
    raw = {item["collection"]: item for item in status["raw"]}
    assert {name: item["state"] for name, item in raw.items()} == {
        "01_a": "tracked",
        "02_b": "new",
        "bad name": "rejected",
    }
    assert raw["01_a"]["nfiles"] == 2
    assert raw["01_a"]["md5"].endswith(".dir")
    assert "rename the folder" in raw["bad name"]["reason"]
    outputs = {item["path"]: item for item in status["outputs"]}
    upper = outputs["processed/texts/data/intermediate/upper/01_a"]
    assert upper["state"] == "stale"
    assert upper["asset"] == "processed/texts/data/intermediate/upper"
    assert upper["partition"] == "01_a"
    assert any("suffix is modified" in why for why in upper["why"])
    assert outputs["processed/texts/data/inputs/01_a"]["state"] == "up_to_date"


def test_lineage_in_json_has_the_promised_form(text_registry: Path) -> None:
    assert registry(text_registry, "materialize", "--collection", "02_b").exit_code == 0
    graph = json.loads(registry(text_registry, "lineage", "--json").output)
    nodes = {node["path"]: node for node in graph["nodes"]}
    assert nodes["raw/02_b"] == {
        "path": "raw/02_b",
        "asset": "raw",
        "partition": "02_b",
        "kind": "raw",
        "stage": None,
        "md5": nodes["processed/texts/data/inputs/02_b"]["md5"],
        "size": 6,
        "nfiles": 1,
    }
    lines = nodes["processed/texts/data/outputs/lines/02_b"]
    assert lines["kind"] == "stage"
    assert lines["stage"] == "processed/texts/dvc.yaml:count@02_b"
    assert nodes["processed/texts/data/inputs/02_b"]["kind"] == "import"
    assert nodes["processed/texts/upper.py"]["kind"] == "file"
    assert ["raw/02_b", "processed/texts/data/inputs/02_b"] in graph["edges"]
    upper = "processed/texts/data/intermediate/upper/02_b"
    assert ["processed/texts/upper.py", upper] in graph["edges"]


def test_add_then_import_then_materialize_is_recorded_in_dagster(text_registry: Path) -> None:
    assert registry(text_registry, "add", "01_a").exit_code == 0
    assert registry(text_registry, "import", "01_a", "--into", "texts").exit_code == 0
    listed = (text_registry / "processed/texts/collections.yaml").read_text()
    assert '  - "01_a"\n' in listed
    assert registry(text_registry, "materialize").exit_code == 0
    check = registry(text_registry, "lineage", "--check")
    assert check.exit_code == 0, check.output
    assert "5 outputs" in check.output
    assert registry(text_registry, "materialize").output.startswith("Nothing to do")


def test_materialize_removes_what_a_killed_run_left_also_when_all_was_recorded(
    text_registry: Path,
) -> None:
    assert registry(text_registry, "add", "01_a").exit_code == 0
    left = text_registry / ".dvc/tmp/registry/999999999-1.00-000000001_left/0"
    left.parent.mkdir(parents=True)
    left.write_text("one\n")
    assert registry(text_registry, "materialize").output.startswith("Nothing to do")
    assert not left.parent.exists()


def last_line(root: Path, *arguments: str) -> str:
    done = registry(root, *arguments)
    assert done.exit_code == 0, done.output
    assert done.stdout.count("Next: ") == 1
    return done.stdout.splitlines()[-1]


def test_a_command_shows_all_that_it_prints_however_late_programs_start(
    text_registry: Path, tmp_path: Path
) -> None:
    programs = tmp_path / "programs"
    write_tree(programs, {"tail": '#!/bin/sh\nsleep 2\nPATH=${PATH#*:}\nexec tail "$@"\n'})
    (programs / "tail").chmod(0o755)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    said = run(text_registry, "registry", "add", "01_a", env={"PATH": path})
    assert "recorded raw/01_a: 2 files" in said


def test_what_takes_data_in_says_what_changed_and_what_comes_next(text_registry: Path) -> None:
    shares = "`registry publish` shares it"
    takes_in = "`registry import 01_a --into texts` imports it into a data set"
    makes = "Next: `registry materialize` makes 3 outputs from it"
    done = registry(text_registry, "add", "01_a")
    assert done.stdout.splitlines() == [
        "  recorded raw/01_a: 2 files (+2), 8 B",
        f"Next: {takes_in}, {shares}",
    ]
    assert last_line(text_registry, "import", "01_a", "--into", "texts") == f"{makes}, {shares}"
    registry(text_registry, "materialize")
    assert last_line(text_registry, "add", "01_a") == f"Next: {shares}"
    write_tree(text_registry, {"raw/01_a/more.txt": "more\n"})
    moves = "`registry update 01_a` updates it in texts"
    assert last_line(text_registry, "add", "01_a") == f"Next: {moves}, {shares}"
    assert last_line(text_registry, "update", "01_a") == f"{makes}, {shares}"
    assert "Next" not in registry(text_registry, "update").stdout
    with (text_registry / "pyproject.toml").open("a") as settings:
        settings.write('\n[tool.registry_assets.take_in]\ntexts = "0[3-9]*"\n')
    assert last_line(text_registry, "add", "02_b") == f"Next: {shares}"


def test_materializing_everything_takes_nothing_new_in(text_registry: Path) -> None:
    assert registry(text_registry, "add", "01_a").exit_code == 0
    assert registry(text_registry, "materialize").exit_code == 0
    assert not (text_registry / "processed/texts/data/inputs/01_a").exists()
    assert not (text_registry / "raw/02_b.dvc").exists()


def test_one_collection_that_fails_does_not_stop_the_others(text_registry: Path) -> None:
    (text_registry / "raw/01_a/one.txt").write_bytes(b"\xff\xfe not text")
    done = registry(text_registry, "materialize", "--collection", "01_a", "--collection", "02_b")
    assert done.exit_code == 1
    assert "registry: processed/texts/dvc.yaml:upper@01_a" in done.stderr
    assert "UnicodeDecodeError" in done.stderr
    assert (text_registry / "processed/texts/data/outputs/lines/02_b").exists()
    assert not (text_registry / "processed/texts/data/outputs/lines/01_a").exists()


def test_force_runs_what_did_not_change(text_registry: Path) -> None:
    registry(text_registry, "materialize", "--collection", "02_b")
    done = registry(text_registry, "materialize", "--force", "--collection", "02_b")
    assert done.exit_code == 0
    assert re.search(r"ran\s+processed/texts/data/intermediate/upper", done.output)


def test_check_finds_an_edited_lock_file_and_sync_mends_it(text_registry: Path) -> None:
    registry(text_registry, "materialize", "--collection", "02_b")
    write_tree(text_registry, {"raw/02_b/three.txt": "four\n"})
    run(text_registry, "dvc", "add", "--quiet", "raw/02_b")
    check = registry(text_registry, "lineage", "--check")
    assert check.exit_code == 1
    (line,) = check.stdout.splitlines()
    assert line.startswith("raw/02_b: ")
    assert line.endswith("registry sync")
    assert registry(text_registry, "sync").exit_code == 0
    assert registry(text_registry, "lineage", "--check").exit_code == 0


def test_a_stale_import_is_behind_and_catches_up(text_registry: Path) -> None:
    registry(text_registry, "materialize", "--collection", "02_b")
    write_tree(text_registry, {"raw/02_b/four.txt": "four\n"})
    assert registry(text_registry, "add", "02_b").exit_code == 0
    status = json.loads(registry(text_registry, "status", "--json").output)
    states = {item["path"]: item["state"] for item in status["outputs"]}
    assert states["processed/texts/data/inputs/02_b"] == "behind"
    assert registry(text_registry, "materialize").exit_code == 0
    assert (text_registry / "processed/texts/data/intermediate/upper/02_b/four.txt").exists()
    assert json.loads(registry(text_registry, "status", "--json").output)["up_to_date"] is True
    assert json.loads(run(text_registry, "dvc", "status", "--json")) == {}


@pytest.mark.parametrize("revision", [None, "v1"])
def test_a_collection_of_another_repository_is_imported_as_dvc_does(
    text_registry: Path, tmp_path: Path, revision: str | None
) -> None:
    other = tmp_path / "other"
    shutil.copytree(text_registry, other, symlinks=True)
    run(other, "dvc", "add", "--quiet", "raw/02_b")
    run(other, "dvc", "remote", "modify", "storage", "url", str(tmp_path / "storage"))
    run(other, "git", "add", ".dvc/config")
    run(other, "git", "add", "raw/02_b.dvc", "raw/.gitignore")
    run(other, "git", "commit", "--quiet", "--message", "Add a collection")
    run(other, "git", "tag", "v1")
    pinned = ["--rev", revision] if revision else []
    arguments = ["import", "02_b", "--into", "texts", "--from", str(other), *pinned]
    too_early = registry(text_registry, *arguments)
    assert too_early.exit_code == 1
    assert "failed to load directory" in too_early.stderr
    assert not (text_registry / "processed/texts/data/inputs/02_b.dvc").exists()
    run(other, "dvc", "push", "--quiet")
    done = registry(text_registry, *arguments)
    assert done.exit_code == 0, done.output

    inputs = text_registry / "processed/texts/data/inputs"
    written = (inputs / "02_b.dvc").read_text()
    (inputs / "twin").mkdir()
    run(inputs, "dvc", "import", "--quiet", str(other), "raw/02_b", "-o", "twin/02_b", *pinned)
    assert written == (inputs / "twin/02_b.dvc").read_text()
    shutil.rmtree(inputs / "twin")

    assert registry(text_registry, "materialize").exit_code == 0
    assert (text_registry / "processed/texts/data/intermediate/upper/02_b/three.txt").exists()
    assert registry(text_registry, "lineage", "--check").exit_code == 0
    again = registry(text_registry, *arguments)
    assert again.exit_code == 1
    assert "is imported already" in again.stderr


def test_any_dvc_repository_can_be_looked_at(tmp_path: Path) -> None:
    run(tmp_path, "git", "init", "--quiet")
    run(tmp_path, "dvc", "init", "--quiet")
    write_tree(
        tmp_path,
        {"dvc.yaml": "stages:\n  make:\n    cmd: echo 1 > made\n    outs: [made]\n"},
    )
    run(tmp_path, "dvc", "repro", "--quiet")
    assert registry(tmp_path, "lineage").output == "made\n"
    assert registry(tmp_path, "status").exit_code == 0
    assert registry(tmp_path, "sync").exit_code == 0
    assert registry(tmp_path, "lineage", "--check").exit_code == 0
    assert run(tmp_path, "git", "status", "--porcelain", "--", ".dagster") == ""


def test_nothing_but_metafiles_is_left_behind(text_registry: Path) -> None:
    registry(text_registry, "materialize", "--collection", "01_a")
    left = run(text_registry, "git", "status", "--porcelain", "--untracked-files=all")
    names = {Path(line[3:]).name for line in left.splitlines()}
    names -= {"config", "one.txt", "two.txt", "three.txt"}  # were there before
    assert names == {"01_a.dvc", ".gitignore", "dvc.lock", "collections.yaml"}
    assert not list((text_registry / ".dvc/tmp").glob("registry/*"))


def test_what_cannot_be_read_is_a_finding_and_nothing_is_called_up_to_date(
    text_registry: Path,
) -> None:
    assert registry(text_registry, "materialize", "--collection", "01_a").exit_code == 0
    lock = text_registry / "processed/texts/dvc.lock"
    os.utime(lock, (1, 1))
    lock.write_text("")
    os.utime(lock, (1, 1))
    done = registry(text_registry, "materialize")
    assert done.exit_code == 1
    assert "up to date" not in done.output
    assert "processed/texts/dvc.lock" in done.stderr
    assert "None" not in done.output


def test_a_lock_file_that_is_just_being_written_is_read_again(text_registry: Path) -> None:
    assert registry(text_registry, "materialize", "--collection", "01_a").exit_code == 0
    lock = text_registry / "processed/texts/dvc.lock"
    text = lock.read_text()
    lock.write_text("")
    timer = threading.Timer(0.5, lambda: lock.write_text(text))
    timer.start()
    try:
        done = registry(text_registry, "status", "--json")
    finally:
        timer.join()
    assert json.loads(done.stdout)["up_to_date"] is True


def test_a_link_to_a_folder_is_refused_by_every_command(
    text_registry: Path, tmp_path: Path
) -> None:
    write_tree(tmp_path, {"outside/one.txt": "one\n"})
    (text_registry / "raw/linked").symlink_to(tmp_path / "outside")
    for arguments in (["add", "linked"], ["materialize", "--collection", "linked"]):
        done = registry(text_registry, *arguments)
        assert done.exit_code == 1
        assert "replace the link by a copy of its target" in done.stderr
    assert os.access(tmp_path / "outside/one.txt", os.W_OK)
    assert (tmp_path / "outside/one.txt").stat().st_nlink == 1
    assert not (text_registry / "raw/linked.dvc").exists()


def test_a_registry_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["init", "/proc/registry"])
    assert done.exit_code == 1
    assert done.stderr.startswith("registry: cannot create /proc/registry")


def test_what_the_disk_refuses_is_one_clear_line(text_registry: Path) -> None:
    shutil.rmtree(text_registry / ".dvc/tmp", ignore_errors=True)
    (text_registry / ".dvc/tmp").write_text("in the way")
    done = registry(text_registry, "status")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1].startswith(f"registry: {text_registry}/.dvc/tmp")
    assert "Traceback" not in done.stderr


def test_settings_are_not_blamed_for_a_pipeline_that_cannot_be_read(text_registry: Path) -> None:
    with (text_registry / "pyproject.toml").open("a") as settings:
        settings.write('\n[tool.registry_assets.take_in]\ntexts = "0*"\nother = "0*"\n')
    assert "take_in names other" in registry(text_registry, "status").stderr
    with (text_registry / "processed/texts/dvc.yaml").open("a") as pipeline:
        pipeline.write("]\n")
    done = registry(text_registry, "status")
    assert "processed/texts/dvc.yaml" in done.stderr
    assert "take_in" not in done.stderr
    refused = registry(text_registry, "import", "01_a", "--into", "texts")
    assert "fix what cannot be read: processed/texts/dvc.yaml" in refused.stderr


def test_a_registry_at_a_path_that_is_not_ascii(tmp_path: Path) -> None:
    place = tmp_path / "Fotos übers Jahr"
    assert registry(place, "init", str(place)).exit_code == 0
    # In one line, however long the path is.
    shown = run(place, "dvc", "remote", "list", env={"COLUMNS": "1000"})
    assert str(place / ".dvc/storage") in shown
    write_tree(place, {"raw/01_a/one.txt": "one\n"})
    assert registry(place, "add", "01_a").exit_code == 0
    assert registry(place, "push").exit_code == 0
    # As in a clone, where the remote has no address yet.
    (place / ".dvc/config").write_text("[core]\n    remote = storage\n")
    config = place / ".dvc/config.local"
    config.write_text("['remote \"other\"']\n    url = s3://b\n    secret_access_key = ü\n")
    done = registry(place, "init", str(place))
    assert done.exit_code == 0, done.output
    assert "secret_access_key = ü" in config.read_text()
    assert "['remote \"storage\"']\n    url = storage\n" in config.read_text()


def test_a_registry_is_made_in_a_folder_of_a_git_repository_but_not_of_another_registry(
    tmp_path: Path, text_registry: Path
) -> None:
    done = registry(text_registry / "raw", "init", str(text_registry / "raw"))
    assert done.exit_code == 1
    assert f"lies in the DVC repository {text_registry}" in done.stderr
    place = text_registry / "new/er"
    assert registry(place, "init", str(place)).exit_code == 1
    assert not place.parent.exists()
    (text_registry / "new").mkdir()
    assert registry(place, "init", str(place)).exit_code == 1
    assert list(place.parent.iterdir()) == []
    run(tmp_path, "git", "init", "--quiet", "code")
    root = tmp_path / "code/images"
    assert registry(root, "init", str(root)).exit_code == 0
    write_tree(root, {"raw/01_a/one.txt": "one\n"})
    assert registry(root, "add", "01_a").exit_code == 0
    assert registry(root, "status").exit_code == 0
    assert "core.no_scm" not in (root / ".dvc/config").read_text()


def test_a_git_repository_of_its_own_becomes_a_registry_also_in_the_folder_of_another_one(
    text_registry: Path,
) -> None:
    place = text_registry / "scratch"
    place.mkdir()
    run(place, "git", "init", "--quiet")
    done = registry(place, "init", str(place))
    assert done.exit_code == 0, done.output
    assert (place / "processed/01_image_dataset/dvc.yaml").exists()


def test_a_port_that_is_taken_is_said_before_anything_starts(text_registry: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = registry(text_registry, "ui", "--port", port)
    assert done.exit_code == 1
    assert "choose another with --port" in done.stderr
    assert registry(text_registry, "ui", "--port", "99999").exit_code == 2


@pytest.mark.parametrize("host", ["192.0.2.1", "no-host.invalid", "::1"])
def test_a_host_that_is_not_this_machine_is_said_to_be_at_fault(
    text_registry: Path, host: str
) -> None:
    done = registry(text_registry, "ui", "--host", host)
    assert done.exit_code == 1
    assert f"cannot listen on {host}:3000: " in done.stderr
    assert "of this machine with --host" in done.stderr
    assert "--port" not in done.stderr


@pytest.mark.parametrize(
    ("command", "named"),
    [
        (["init", "."], "."),
        (["init", "{tmp}/other"], "{tmp}/other"),
        (["clone", "{tmp}/hub.git"], "hub"),
        (["clone", "{tmp}/hub.git", "here"], "here"),
        (["demo", "{tmp}/other"], "{tmp}/other"),
    ],
)
def test_a_root_beside_the_folder_to_make_a_registry_of_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], named: str
) -> None:
    here, root = tmp_path / "here", tmp_path / "root"
    here.mkdir()
    monkeypatch.chdir(here)
    done = registry(root, *(word.format(tmp=tmp_path) for word in command))
    assert done.exit_code == 2
    assert f"--root {root} and {named.format(tmp=tmp_path)} are two folders" in done.stderr
    assert f"to make a registry of: `registry {command[0]} … DIR`" in done.stderr
    assert [*tmp_path.iterdir(), *here.iterdir()] == [here]


def test_a_root_that_is_the_folder_to_make_a_registry_of_says_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert registry(tmp_path, "init", ".").exit_code == 0
    assert registry(Path(), "init", str(tmp_path)).exit_code == 0
