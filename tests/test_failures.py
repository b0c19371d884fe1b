"""What the surroundings refuse: one line with cause and next step, and an exit status of 1."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from dagster import (
    AssetOut,
    AssetsDefinition,
    DagsterInstance,
    Definitions,
    Output,
    ResourceParam,
    asset,
    multi_asset,
    resource,
)

from registry_assets.cli import main
from registry_assets.errors import (
    MetafileError,
    RemoteUnreachableError,
    UnusableError,
    with_disk_step,
)
from registry_assets.intake.copying import describe_failed_copy
from registry_assets.intake.initialising import init_registry
from registry_assets.orchestration.batch_job import describe_failure
from registry_assets.orchestration.history.opening import open_history
from registry_assets.orchestration.internals import SerializableErrorInfo
from tests.conftest import BIN, HOME, run
from tests.runs import PlannedRun, execute


def registry(root: Path, *arguments: str, **env: str) -> Result:
    return CliRunner().invoke(main, ["--root", str(root), *arguments], env=env)


def is_one_line(done: Result) -> bool:
    """Whether a command failed with one line and no traceback."""
    assert done.exit_code == 1, done.output
    return len(done.stderr.splitlines()) == 1 and done.stderr.startswith("registry: ")


NOT_THERE = "{module: not_there, class: It}"
SETTINGS = {
    "not YAML": ("run_retries: [\n", "dagster.yaml:2: not valid YAML"),
    "not a mapping": ("- run_retries\n", "to parse to dictionary"),
    "not text": ("\x00", "dagster.yaml"),
    "nested without end": (f"a: {'[' * 50_000}{']' * 50_000}\n", "it is nested too deeply"),
    "a key with a typing mistake": (
        "run_cordinator: {}\n",
        'entry "run_cordinator" at the root: c',
    ),
    "a value of another type": ("sensors: 5\n", "root:sensors must be dict: correct"),
    "two storages": ("storage:\n  sqlite: {base_dir: a}\n  postgres: {}\n", "Expected one of"),
    "a variable that is not set": (
        "storage:\n  sqlite:\n    base_dir: {env: NOT_SET}\n",
        "variable NOT_SET is not set: set it",
    ),
    "a storage": (
        "storage:\n  mysql:\n    mysql_url: mysql://localhost/d\n",
        "import module dagster_mysql",
    ),
    "a storage of one's own": (f"storage:\n  custom: {NOT_THERE}\n", "module not_there"),
    "a run coordinator": (f"run_coordinator: {NOT_THERE}\n", "install the package that has it"),
    "a class of a coordinator": (
        "run_coordinator: {module: dagster, class: It}\n",
        "Couldn't find class It",
    ),
    "compute logs": (f"compute_logs: {NOT_THERE}\n", "install the package that has it"),
    "a scheduler": (f"scheduler: {NOT_THERE}\n", "install the package that has it"),
    "artifacts": (f"local_artifact_storage: {NOT_THERE}\n", "install the package that has it"),
    "an instance": (f"instance_class: {NOT_THERE}\n", "install the package that has it"),
    "a handler of logs": (
        "python_logs:\n  dagster_handler_config:\n    handlers: {it: {class: not_there.It}}\n",
        "Unable to configure handler 'it'",
    ),
}


@pytest.mark.parametrize("what", SETTINGS)
def test_settings_of_dagster_that_cannot_be_used_are_named(bare: Path, what: str) -> None:
    text, words = SETTINGS[what]
    (bare / HOME / "dagster.yaml").unlink()
    (bare / HOME / "dagster.yaml").symlink_to("../dagster.yaml")
    (bare / "dagster.yaml").write_text(text)
    with pytest.raises(MetafileError, match=r"^dagster\.yaml") as raised, open_history(bare):
        pass
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400


def test_only_who_launches_runs_needs_the_launcher(bare: Path) -> None:
    (bare / HOME / "dagster.yaml").write_text(f"run_launcher: {NOT_THERE}\n")
    with open_history(bare):
        pass
    with (
        pytest.raises(MetafileError, match="install the package that has it"),
        open_history(bare, launches_runs=True),
    ):
        pass


def test_settings_that_were_removed_are_those_of_a_new_history(bare: Path) -> None:
    (bare / HOME / "dagster.yaml").unlink()
    (bare / HOME / "dagster.yaml").symlink_to("../dagster.yaml")
    with open_history(bare) as instance:
        assert not instance.telemetry_enabled


def _damage(file: Path) -> None:
    with file.open("r+b") as stream:
        stream.seek(100)
        stream.write(b"\xff" * (file.stat().st_size - 100))


def _drop(file: Path) -> None:
    with sqlite3.connect(file) as database:
        database.execute("DROP TABLE asset_keys")


@pytest.mark.parametrize(
    ("name", "spoil", "words"),
    [
        ("runs.db", lambda file: file.write_bytes(b"photographs" * 1000), "registry sync"),
        ("runs/index.db", lambda file: file.write_bytes(b"photographs" * 1000), "registry sync"),
        ("runs/index.db", _damage, "registry sync"),
        ("runs/index.db", _drop, "another version of Dagster made the tables"),
    ],
)
def test_a_history_that_cannot_be_used_is_named(
    text_registry: Path, name: str, spoil: object, words: str
) -> None:
    assert callable(spoil)
    for rest in (text_registry / HOME / "history").rglob("*.db-*"):
        rest.unlink()
    spoil(text_registry / HOME / "history" / name)
    done = registry(text_registry, "sync")
    assert is_one_line(done), done.output
    assert f"Dagster's history in {text_registry / HOME}: " in done.stderr
    assert words in done.stderr


def test_a_server_of_a_database_that_does_not_answer_is_named(bare: Path) -> None:
    from sqlalchemy.exc import OperationalError

    with (
        pytest.raises(UnusableError, match=r"^Dagster's history in .*check that it can be reached"),
        open_history(bare),
    ):
        raise OperationalError("SELECT 1", {}, Exception("connection refused"))


@pytest.mark.parametrize("command", [["add", "01_a"], ["materialize", "--collection", "01_a"]])
def test_a_run_that_cannot_begin_is_no_success(text_registry: Path, command: list[str]) -> None:
    with (text_registry / "dagster.yaml").open("a") as stream:
        stream.write(f"compute_logs: {NOT_THERE}\n")
    done = registry(text_registry, *command)
    assert is_one_line(done), done.output
    assert not (text_registry / "raw/01_a.dvc").exists()


def _with_broken_resource() -> tuple[Definitions, DagsterInstance]:
    @resource
    def camera(_context: object) -> None:
        raise ValueError("no camera")

    @asset
    def pictures(camera: ResourceParam[object]) -> None: ...

    return Definitions([pictures], resources={"camera": camera}), DagsterInstance.ephemeral()


def _interrupted() -> tuple[Definitions, DagsterInstance]:
    @asset
    def pictures() -> None:
        raise KeyboardInterrupt

    return Definitions([pictures]), DagsterInstance.ephemeral()


def _failing() -> tuple[Definitions, DagsterInstance]:
    @asset
    def pictures() -> None:
        raise ValueError("no\ncamera")

    return Definitions([pictures]), DagsterInstance.ephemeral()


def _left_out() -> tuple[Definitions, DagsterInstance]:
    @multi_asset(outs={"pictures": AssetOut(is_required=False), "table": AssetOut()})
    def both() -> Iterator[Output[int]]:
        yield Output(1, "table")

    return Definitions([both]), DagsterInstance.ephemeral()


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (_with_broken_resource, "no camera"),
        (_interrupted, "KeyboardInterrupt"),
        (_failing, "no camera"),
        (_left_out, "pictures was not made"),
    ],
)
def test_a_run_is_a_success_only_where_all_was_made(build: object, words: str) -> None:
    assert callable(build)
    definitions, instance = build()
    built = definitions.assets or ()
    keys = [key for item in built if isinstance(item, AssetsDefinition) for key in item.keys]
    with instance:
        plan = PlannedRun(tuple(tuple(key.path) for key in keys))
        result = _execute(definitions, instance, plan)
    assert len(result) == 1, result
    assert words in result[0]


def test_a_run_without_its_logs_is_no_success(tmp_path: Path) -> None:
    @asset
    def pictures() -> None: ...

    broken = {"compute_logs": {"module": "not_there", "class": "It"}}
    with DagsterInstance.local_temp(str(tmp_path), overrides=broken) as instance:
        plan = PlannedRun((("pictures",),))
        (failure,) = _execute(Definitions([pictures]), instance, plan)
    assert failure.startswith("the run ended as failure: ")
    assert "not_there" in failure


def _execute(
    definitions: Definitions, instance: DagsterInstance, plan: PlannedRun
) -> tuple[str, ...]:
    return execute(definitions, instance, plan, force=False, tags={}).failures


@pytest.fixture
def breaking() -> Iterator[None]:
    """A command that ends in an error that nobody thought of."""

    @main.command("break")
    def _break() -> None:
        """Break."""
        raise LookupError("what\nnobody thought of")

    yield
    del main.commands["break"]


def test_a_damaged_database_of_dvc_names_the_next_step(text_registry: Path, tmp_path: Path) -> None:
    own = {"DVC_SITE_CACHE_DIR": str(tmp_path / "site")}
    assert registry(text_registry, "add", "01_a", **own).exit_code == 0
    for database in (tmp_path / "site").rglob("cache.db"):
        database.write_bytes(b"x" * 4096)
    done = registry(text_registry, "add", "01_a", **own)
    assert is_one_line(done)
    assert f"DVC's databases in {tmp_path}/site cannot be used: file is not" in done.stderr
    assert done.stderr.endswith(": delete them, DVC makes them anew\n")


def test_git_and_dvc_on_a_full_disk_name_the_next_step() -> None:
    said = f"git write-tree failed: fatal: {os.strerror(errno.ENOSPC)}"
    assert with_disk_step(said).endswith(": free some space, then run this again")
    in_part = "git update-index failed: fatal: sha1 file 'index.lock' write error. Out of diskspace"
    assert with_disk_step(in_part).endswith(": free some space, then run this again")
    by_quota = "DVC's databases in /var/tmp/dvc cannot be used: disk I/O error"
    assert with_disk_step(by_quota).endswith("or your quota is used up")
    assert with_disk_step(with_disk_step(said)) == with_disk_step(said)
    assert with_disk_step("git tag failed: fatal: tag exists").endswith(": tag exists")


def test_a_remote_on_a_full_disk_names_the_next_step() -> None:
    full = RemoteUnreachableError("storage", "/mnt/nas", os.strerror(errno.ENOSPC))
    assert "free some space, then run this again" in str(full)
    assert "network" not in str(full)


def test_a_run_on_a_read_only_disk_names_the_next_step() -> None:
    said = f"OSError: [Errno 30] {os.strerror(errno.EROFS)}: 'objects'"
    error = SerializableErrorInfo(said, [], "OSError")
    assert describe_failure(error, "").endswith(": mount it for writing, or work on a copy")


def test_a_copy_for_which_the_disk_is_too_full_names_the_next_step() -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    for link in (False, True):
        said = describe_failed_copy(Path("card/0.jpg"), full, link=link)
        assert said.startswith("card/0.jpg cannot be copied, as the disk is full: free some space")


@pytest.mark.usefixtures("breaking")
def test_what_nobody_thought_of_is_one_line_and_a_traceback_on_request(bare: Path) -> None:
    done = registry(bare, "break")
    assert is_one_line(done)
    assert "LookupError: what nobody thought of" in done.stderr
    assert "--debug" in done.stderr
    shown = CliRunner().invoke(main, ["--debug", "break"])
    assert shown.exit_code == 1
    assert shown.stderr.startswith("Traceback (most recent call last)")
    assert shown.stderr.splitlines()[-1] == done.stderr.strip()


def test_a_pipe_that_is_closed_is_no_traceback(text_registry: Path) -> None:
    command = f"{BIN}/registry lineage --json | true"
    done = subprocess.run(
        command, shell=True, cwd=text_registry, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""


def _put_git(folder: Path, script: str | None) -> str:
    """A PATH on which Git is what a script does, or is missing."""
    folder.mkdir()
    (folder / "sh").symlink_to(shutil.which("sh") or "/bin/sh")
    if script is not None:
        (folder / "git").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "git").chmod(0o755)
    return str(folder)


@pytest.mark.parametrize(
    "command", [["init"], ["status"], ["add", "01_a"], ["publish"], ["versions"], ["sync"]]
)
def test_without_git_every_command_says_so(text_registry: Path, command: list[str]) -> None:
    path = _put_git(text_registry.parent / "bin", None)
    done = registry(text_registry, *command, *_folder(command, text_registry), PATH=path)
    assert is_one_line(done), done.output
    assert "install Git 2.31 or newer" in done.stderr


def _folder(command: list[str], root: Path) -> list[str]:
    return [str(root)] if command == ["init"] else []


def test_a_git_that_is_too_old_is_refused(text_registry: Path) -> None:
    path = _put_git(text_registry.parent / "bin", "echo git version 2.20.1")
    done = registry(text_registry, "init", str(text_registry), PATH=path)
    assert is_one_line(done), done.output
    assert "2.20.1 is too old" in done.stderr


@pytest.mark.parametrize("command", [["init"], ["status"], ["add", "01_a"], ["publish"]])
def test_a_repository_that_git_does_not_trust_is_named(
    text_registry: Path, command: list[str]
) -> None:
    done = registry(
        text_registry,
        *(*command, *_folder(command, text_registry)),
        GIT_TEST_ASSUME_DIFFERENT_OWNER="1",
    )
    assert is_one_line(done), done.output
    assert f"git config --global --add safe.directory {text_registry}" in done.stderr


def test_names_of_git_that_dvc_cannot_read_are_refused_and_never_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, "git", "init", "--quiet", "--object-format=sha256", "theirs")
    done = registry(tmp_path / "theirs", "init", str(tmp_path / "theirs"))
    assert is_one_line(done), done.output
    assert "git init --object-format=sha1" in done.stderr
    assert not (tmp_path / "theirs/.dvc").exists()
    monkeypatch.setenv("GIT_DEFAULT_HASH", "sha256")
    list(init_registry(tmp_path / "ours"))


def test_a_user_without_a_name_or_a_home_is_served_or_told(text_registry: Path) -> None:
    program = Path(f"/usr/bin/python{sysconfig.get_python_version()}")
    if os.getuid() != 0 or not program.exists():
        pytest.skip("only root can be somebody else")
    packages = os.pathsep.join(path for path in sys.path if path)
    code = "import sys; from registry_assets.cli import main; sys.exit(main())"
    run(text_registry.parent, "chown", "-R", "54321", str(text_registry))
    for folder in text_registry.parents[:3]:
        folder.chmod(0o755)
    env = {"PYTHONPATH": packages, "PATH": "/usr/bin:/bin", "HOME": str(text_registry)}

    def call(env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(program), "-c", code, "status"],
            cwd=text_registry,
            capture_output=True,
            text=True,
            env=env,
            user=54321,
            check=False,
        )

    try:
        done = call(env)
    except PermissionError:
        pytest.skip("this Python is in a folder of root's own")
    if "Permission denied" in done.stderr:
        pytest.skip("this Python is in a folder of root's own")
    assert "2 collections" in done.stdout, done.stderr
    told = call({name: value for name, value in env.items() if name != "HOME"})
    assert told.returncode == 1
    assert told.stderr.count("\n") == 1
    assert "set HOME" in told.stderr
