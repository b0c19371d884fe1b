"""A registry that is moved, copied or cloned works on its own data, with its own history."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from registry_assets.cli import main
from registry_assets.errors import RegistryError
from registry_assets.intake.initialising import init_registry
from registry_assets.orchestration.history.event_log import read_seen
from registry_assets.orchestration.history.opening import open_history
from registry_assets.registry.home import check_home, prepare_home, write_env
from registry_assets.revisions.changes.merge_driver import driver_command
from tests.conftest import HOME, commit_all, lineage_of, run, write_tree


def led_to(root: Path) -> str:
    return f"DAGSTER_HOME={root / HOME}\n"


def registry(root: Path, *arguments: str, **env: str) -> Result:
    done = CliRunner().invoke(main, ["--root", str(root), *arguments], env=env)
    assert done.exit_code == 0, done.output
    return done


@pytest.fixture
def original(text_registry: Path) -> Path:
    """A registry with a collection that is recorded, pushed and committed."""
    list(init_registry(text_registry))
    shutil.rmtree(text_registry / "raw/02_b")
    registry(text_registry, "add", "01_a")
    registry(text_registry, "push")
    commit_all(text_registry)
    return text_registry


def look_through(root: Path) -> dict[str, tuple[int, int]]:
    """Size and time of all files that hold data or history."""
    folders = (".dvc/cache", ".dvc/storage", HOME, "raw", ".git")
    return {
        path.relative_to(root).as_posix(): (path.stat().st_size, path.stat().st_mtime_ns)
        for folder in folders
        for path in (root / folder).rglob("*")
        if path.is_file()
    }


def move(original: Path, how: str) -> Path:
    place = original.parent / "elsewhere" / "a copy"
    place.parent.mkdir()
    if how == "moved":
        return original.rename(place)
    run(original.parent, "cp", "-a", str(original), str(place))
    return place


def test_nothing_that_git_takes_names_a_place(tmp_path: Path) -> None:
    root = tmp_path / "registry"
    list(init_registry(root))
    run(root, "git", "add", "--all")
    assert str(tmp_path) not in run(root, "git", "diff", "--cached")
    assert run(root, "git", "check-ignore", ".env") == ".env\n"


@pytest.mark.parametrize("how", ["moved", "copied"])
def test_one_elsewhere_has_its_own_history_and_data(
    original: Path, tmp_path: Path, how: str
) -> None:
    before = look_through(original)
    place = move(original, how)
    write_tree(place, {"raw/02_b/three.txt": "three\n"})
    registry(place, "add", "02_b")
    registry(place, "push")
    registry(place, "init", str(place))
    run(place, "dvc", "push", "--quiet")
    lineage = lineage_of(place)
    with open_history(place) as instance:
        partitions = {asset.partition for asset in read_seen(lineage, instance)}
        runs = instance.get_runs_count()
    assert partitions == {"01_a", "02_b"}
    assert runs == 2
    assert original.exists() == (how == "copied")
    if how == "copied":
        assert look_through(original) == before
        write_tree(original, {"raw/03_c/four.txt": "four\n"})
        registry(original, "add", "03_c")
    # Its data is there by itself, and others import it by its path.
    shutil.rmtree(place / ".dvc/cache")
    shutil.rmtree(place / "raw/01_a")
    run(place, "dvc", "pull", "--quiet", "raw/01_a")
    commit_all(place)
    other = tmp_path / "other"
    other.mkdir()
    run(other, "git", "init", "--quiet")
    run(other, "dvc", "init", "--quiet")
    run(other, "dvc", "import", "--quiet", str(place), "raw/01_a", "--out", "data")
    assert (other / "data/one.txt").read_text() == "one\n"


@pytest.mark.parametrize("variable", ["exported", "unset"])
def test_tools_of_dagster_find_the_history_where_they_are(
    original: Path, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = original.parent / "a 'quoted' $HOME"
    original.rename(place)
    registry(place, "sync")
    # What the last shell was in leads nowhere.
    monkeypatch.setenv("PWD", str(place.parent))
    if variable == "exported":
        monkeypatch.setenv("DAGSTER_HOME", str(place / HOME))
    assert str(place / HOME) in run(place, "dagster", "instance", "info")


def test_dagster_is_not_led_to_the_history_of_the_original(
    original: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = move(original, "copied")
    before = look_through(original)
    monkeypatch.delenv("PWD", raising=False)
    command = ("dagster", "definitions", "validate", "-m", "registry_assets.definitions")
    first = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    assert first.returncode != 0
    assert "was moved or copied" in first.stdout + first.stderr
    assert (place / ".env").read_text() == f"DAGSTER_HOME='{place / HOME}'\n"
    run(place, *command)
    assert look_through(original) == before
    check_home(original)
    assert (original / ".env").read_text() == led_to(original)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("DAGSTER_HOME=/old/.dagster\n", "{ours}"),
        ("KEY=1\nDAGSTER_HOME=/old place/.dagster\nOTHER=2\n", "KEY=1\nOTHER=2\n{ours}"),
        ("DAGSTER_HOME='/old \\'place/.dagster'\n", "{ours}"),
        ("{ours}KEY=1\n", "{ours}KEY=1\n"),
        ("DAGSTER_HOME=/srv/dagster\n", "DAGSTER_HOME=/srv/dagster\n"),
        ("KEY=1\n", "KEY=1\n"),
        ("KEY=\udcff\nDAGSTER_HOME=/old/.dagster\n", "KEY=\udcff\n{ours}"),
    ],
)
def test_a_stale_line_of_ours_is_mended_by_whoever_comes_first(
    bare: Path, before: str, after: str
) -> None:
    written = before.format(ours=led_to(bare))
    (bare / ".env").write_text(written, "utf-8", "surrogateescape")
    prepare_home(bare)
    found = (bare / ".env").read_text("utf-8", "surrogateescape")
    assert found == after.format(ours=led_to(bare))


def test_a_home_that_is_exported_wins_and_is_named(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "exported"
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with pytest.raises(RegistryError, match="unset DAGSTER_HOME"), open_history(original):
        pass
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    done = registry(original, "sync")
    assert f"using the history in {home}, as DAGSTER_HOME is set" in done.stderr
    # What `.env` says would go before it.
    assert write_env(original) is not None
    assert not (original / ".env").exists()
    monkeypatch.setenv("DAGSTER_HOME", str(original / HOME))
    assert registry(original, "sync").stderr == ""
    write_env(original)
    assert (original / ".env").read_text() == led_to(original)


@pytest.mark.parametrize("file", ["config", "config.local"])
@pytest.mark.parametrize("how", ["moved", "copied"])
def test_an_address_of_a_former_version_is_mended(original: Path, file: str, how: str) -> None:
    remote = f"['remote \"storage\"']\n    url = {original}/.dvc/storage\n"
    (original / ".dvc/config").write_text("[core]\n    remote = storage\n")
    with (original / ".dvc" / file).open("a") as stream:
        stream.write(remote)
    place = move(original, how)
    list(init_registry(place))
    assert str(place / ".dvc/storage") in run(place, "dvc", "remote", "list").replace("\n", "")
    assert str(original) not in (place / ".dvc" / file).read_text()


def test_a_clone_on_this_machine_reaches_the_storage_that_it_came_from(
    original: Path, tmp_path: Path
) -> None:
    clone = tmp_path / "a clone"
    run(tmp_path, "git", "clone", "--quiet", str(original), str(clone))
    registry(clone, "materialize")
    assert (clone / "raw/01_a/one.txt").read_text() == "one\n"
    shutil.rmtree(clone / "raw/01_a")
    shutil.rmtree(clone / ".dvc/cache")
    list(init_registry(clone))
    run(clone, "dvc", "pull", "--quiet")
    assert (clone / "raw/01_a/one.txt").read_text() == "one\n"
    assert run(clone, "git", "status", "--porcelain") == ""
    assert "default remote" not in "".join(init_registry(clone))
    moved = tmp_path / "moved"
    original.rename(moved)
    assert ".dvc/storage, relative to the registry" in "".join(init_registry(clone))


def test_the_remote_of_init_can_be_led_elsewhere(original: Path, tmp_path: Path) -> None:
    run(original, "dvc", "remote", "modify", "storage", "url", str(tmp_path / "nas"))
    registry(original, "push")
    assert len(list((tmp_path / "nas").rglob("??/*"))) == 3


def test_an_environment_in_the_registry_is_found_where_that_is() -> None:
    python = Path(sys.executable)
    assert f"if test -x ./bin/{python.name};" in driver_command(python.parents[1])
    assert f"if test -x {python};" in driver_command(python.parent / "registry")


def test_moving_costs_no_rewrite_of_what_was_recorded(original: Path) -> None:
    place = move(original, "moved")
    assert run(place, "dvc", "status", "--quiet") == ""
    write_tree(place, {"raw/03_c/three.txt": "three\n"})
    registry(place, "add", "03_c")
    assert run(place, "git", "status", "--porcelain").split() == [
        "M",
        "raw/.gitignore",
        "??",
        "raw/03_c.dvc",
    ]
