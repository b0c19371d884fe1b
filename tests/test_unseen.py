"""What is there is seen: ignored metafiles and folders behind links are named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from dvc.repo import Repo

from registry_assets import read_registry
from registry_assets.cli import main
from registry_assets.dvc_repo import DvcRepo
from registry_assets.dvc_repo.unseen import asking_once
from registry_assets.errors import RefusedError
from registry_assets.registry.status.arrivals import find_arrivals, reject_unseen
from registry_assets.registry.status.reading import read_status
from tests.conftest import lineage_of, run, write_tree

RAW = "raw/01_a.dvc"
INPUT = "processed/texts/data/inputs/01_a.dvc"
PIPELINE = "processed/texts/dvc.yaml"
LOCK = "processed/texts/dvc.lock"


def registry(root: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["--root", str(root), *words])


def everything_in(root: Path) -> set[Path]:
    kept = {root / ".git", root / ".dvc", root / ".dagster"}
    return {path for path in root.rglob("*") if kept.isdisjoint((path, *path.parents))}


@pytest.mark.parametrize(
    ("file", "text", "unseen", "rule"),
    [
        (".gitignore", "raw/**\n!raw/*.dvc\n", [RAW], "raw/**"),
        (".gitignore", "/raw\n", [RAW], "/raw"),
        (".gitignore", "raw/*\n", [RAW], "raw/*"),
        (".gitignore", "data/\n", [INPUT], "data/"),
        (".gitignore", "*.dvc\n", [RAW, INPUT], "*.dvc"),
        (".gitignore", "processed/\n", [PIPELINE, INPUT], "processed/"),
        (".gitignore", "dvc.yaml\n", [PIPELINE], "dvc.yaml"),
        (".gitignore", "dvc.lock\n", [LOCK], "dvc.lock"),
        ("raw/.gitignore", "*\n", [RAW], "*"),
        (".git/info/exclude", "*.dvc\n", [RAW, INPUT], "*.dvc"),
        ("../ignored-everywhere", "01_a.dvc\n", [RAW, INPUT], "01_a.dvc"),
        ("../.gitignore", "registry/raw/\n", [RAW], "registry/raw/"),
    ],
)
def test_metafiles_that_git_ignores_are_named_with_the_rule(
    materialized_registry: Path, file: str, text: str, unseen: list[str], rule: str
) -> None:
    root = materialized_registry
    if file == "../.gitignore":
        (root / ".git").rename(root.parent / ".git")
    if file == "../ignored-everywhere":
        run(root, "git", "config", "core.excludesFile", str((root / file).resolve()))
    assert read_registry(root).problems == ()
    place = root / file
    before = place.read_text() if place.exists() else ""
    place.write_text(before + text)
    (problem,) = read_registry(root).problems
    line = before.count("\n") + 1
    assert problem.startswith(f"{', '.join(unseen)}: Git ignores ")
    assert f"{Path(file).name}:{line}: {rule})" in problem
    for metafile in unseen:
        if metafile != LOCK:
            with pytest.raises(RefusedError, match=f"ignores .*:{line}: .*DVC does not see"):
                DvcRepo(root).check_seen(metafile)
    assert registry(root, "status").exit_code == 1


@pytest.mark.parametrize("text", ["raw/**\n!raw/*.dvc\n", "*.dvc\n"])
def test_nothing_is_recorded_that_would_be_seen_by_nobody(text_registry: Path, text: str) -> None:
    root = text_registry
    assert registry(root, "add", "01_a").exit_code == 0
    (root / ".gitignore").write_text(text)
    elsewhere = root.parent / "far"
    write_tree(elsewhere, {"a.txt": "a"})
    before = everything_in(root)
    for words in (
        ("add", "02_b"),
        ("add", "01_a"),
        ("add", str(elsewhere)),
        ("import", "01_a", "--into", "texts"),
        ("materialize", "--collection", "02_b"),
        *([("import", "x", "--into", "texts", "--from", str(root))] if text == "*.dvc\n" else []),
    ):
        done = registry(root, *words)
        assert done.exit_code == 1, words
        assert "Git ignores" in done.stderr.splitlines()[-1], done.stderr
        assert ".gitignore:1: " in done.stderr.splitlines()[-1], done.stderr
    assert everything_in(root) == before
    status = read_status(lineage_of(root))
    (new,) = [item for item in status.raw if item.collection == "02_b"]
    assert new.state == "rejected"
    assert "Git ignores" in str(new.reason)


def test_what_people_ignore_on_purpose_is_no_problem(materialized_registry: Path) -> None:
    root = materialized_registry
    write_tree(
        root,
        {
            "venv/lib/dvc.yaml": "stages: {}\n",
            "node_modules/it/data.dvc": "outs: []\n",
            "scratch/tried.dvc": "outs: []\n",
            "raw/01_a/inside.dvc": "no metafile",
            "processed/other/dvc.yaml": "stages: {}\n",
        },
    )
    with (root / ".gitignore").open("a") as ignore:
        ignore.write("venv/\nnode_modules\nscratch/*\nprocessed/other/\n")
    (problem,) = read_registry(root).problems
    assert problem.startswith("processed/other/dvc.yaml: Git ignores processed/other/ (")
    # As the message says.
    with (root / ".dvcignore").open("a") as ignore:
        ignore.write("processed/other\n")
    assert read_registry(root).problems == ()


def test_what_dvcignore_leaves_out_is_not_recorded_either(text_registry: Path) -> None:
    with (text_registry / ".dvcignore").open("a") as ignore:
        ignore.write("raw/02_b.dvc\n")
    done = registry(text_registry, "add", "02_b")
    assert done.exit_code == 1
    assert ".dvcignore ignores it" in done.stderr
    assert not (text_registry / "raw/02_b.dvc").exists()


def move_away(folder: str) -> Callable[[Path], None]:
    def move(root: Path) -> None:
        large = root.parent / "large"
        large.mkdir()
        (root / folder).rename(large / "it")
        (root / folder).symlink_to(large / "it")

    return move


def leave_dangling(folder: str) -> Callable[[Path], None]:
    def leave(root: Path) -> None:
        shutil.rmtree(root / folder)
        (root / folder).symlink_to(root.parent / "large" / "it")

    return leave


@pytest.mark.parametrize("change", [move_away, leave_dangling])
@pytest.mark.parametrize(
    "folder",
    ["raw", "processed", "processed/texts", "processed/texts/data", "processed/texts/data/inputs"],
)
def test_a_link_in_the_place_of_a_folder_of_collections_is_named(
    materialized_registry: Path, folder: str, change: Callable[[str], Callable[[Path], None]]
) -> None:
    root = materialized_registry
    assert read_registry(root).problems == ()
    change(folder)(root)
    link = f"{folder} is a symbolic link to {root.parent / 'large/it'}"
    said = f"{link}, and DVC does not follow links to folders"
    assert read_registry(root).problems[0].startswith(said)
    assert registry(root, "status").exit_code == 1
    metafile = "raw/09_new.dvc" if folder == "raw" else "processed/texts/data/inputs/09_new.dvc"
    with pytest.raises(RefusedError, match=r"is a symbolic link .*cache dir"):
        DvcRepo(root).check_seen(metafile)


@pytest.mark.parametrize("folder", ["data/intermediate", "data/outputs", "data"])
def test_no_stage_writes_behind_a_link_out_of_the_registry(
    materialized_registry: Path, folder: str
) -> None:
    root = materialized_registry
    assert read_registry(root).problems == ()
    move_away(f"processed/texts/{folder}")(root)
    before = sorted((root.parent / "large").rglob("*"))
    assert f"texts/{folder} is a symbolic link to" in read_registry(root).problems[0]
    (root / "processed/texts/params.yaml").write_text("suffix: 2\n")
    stage = f"{PIPELINE}:{'count' if folder == 'data/outputs' else 'upper'}@01_a"
    with (
        pytest.raises(RefusedError, match=f"{folder} is a symbolic link"),
        DvcRepo(root).running(stage, report=print),
    ):
        raise AssertionError("it ran")
    assert sorted((root.parent / "large").rglob("*")) == before


def test_nothing_is_put_behind_a_link(text_registry: Path) -> None:
    root = text_registry
    move_away("raw")(root)
    write_tree(root.parent / "far", {"a.txt": "a"})
    for words in (
        ("add", "02_b"),
        ("import", "01_a", "--into", "texts"),
        ("add", str(root.parent / "far")),
    ):
        done = registry(root, *words)
        assert done.exit_code == 1
        assert "raw is a symbolic link to" in done.stderr.splitlines()[-1]
    assert {path.name for path in (root.parent / "large/it").iterdir()} >= {"01_a", "02_b"}
    assert not list((root.parent / "large/it").glob("*.dvc"))
    told = {
        a.name: str(a.reason) for a in reject_unseen(DvcRepo(root), find_arrivals(root / "raw"))
    }
    assert "raw is a symbolic link to" in told["02_b"]


def test_a_collection_that_is_a_link_is_modified_and_not_recorded(
    materialized_registry: Path,
) -> None:
    root = materialized_registry
    for change in (move_away, leave_dangling):
        if change is leave_dangling:
            shutil.rmtree(root.parent / "large/it")
        else:
            change("raw/01_a")(root)
        (item,) = [i for i in read_status(lineage_of(root)).raw if i.collection == "01_a"]
        assert item.state in ("modified", "missing")
        kind = "broken symbolic link" if change is leave_dangling else "symbolic link"
        assert "it is a symbolic link to" in str(item.reason)
        done = registry(root, "add", "01_a")
        assert done.exit_code == 1
        assert f"raw/01_a cannot be taken in: it is a {kind}" in done.stderr
    (root / "raw/01_a").unlink()
    run(root, "dvc", "checkout", "raw/01_a")
    assert registry(root, "status").exit_code == 0


def test_links_that_dvc_allows_are_no_problem(materialized_registry: Path) -> None:
    root = materialized_registry
    move_away(".dvc/cache")(root)
    (root / "processed/newest").symlink_to("texts")
    (root / "elsewhere").symlink_to(root.parent)
    done = registry(root, "status")
    assert done.exit_code == 0, done.output
    assert registry(root, "add", "02_b").exit_code == 0


def test_data_on_another_disk_by_the_cache(text_registry: Path) -> None:
    root = text_registry
    run(root, "dvc", "cache", "dir", "--local", str(root.parent / "large"))
    run(root, "dvc", "config", "--local", "cache.type", "symlink")
    assert registry(root, "add", "01_a").exit_code == 0
    assert (root / "raw/01_a/one.txt").resolve().is_relative_to(root.parent / "large")
    assert registry(root, "import", "01_a", "--into", "texts").exit_code == 0
    assert registry(root, "materialize").exit_code == 0
    done = registry(root, "status")
    assert done.exit_code == 0, done.output
    assert run(root, "dvc", "status") == "Data and pipelines are up to date.\n"


@pytest.mark.parametrize(
    "lines",
    ["", "/01_a\n", "01_a/\n", "/01_a\n!/01_a\n", "0*\n", "/01_\\[a\n", "sub/01_a\n", "*\n!01_a\n"],
)
@pytest.mark.parametrize("others", [0, 400])
def test_what_git_ignores_is_what_dvc_finds_ignored(
    tmp_path: Path, lines: str, others: int
) -> None:
    run(tmp_path, "git", "init", "--quiet")
    run(tmp_path, "dvc", "init", "--quiet")
    other_lines = "".join(f"/other{number}\n" for number in range(others))
    write_tree(tmp_path, {"raw/01_a/1.txt": "one\n", "raw/.gitignore": other_lines + lines})
    paths = [str(tmp_path / path) for path in ("raw/01_a", "raw/01_a/", "raw/02", "raw/01_a.dvc")]
    with DvcRepo(tmp_path).open() as repo:
        ours = [repo.scm.is_ignored(path) for path in paths]
        with asking_once(repo, [Path(path) for path in paths]):
            assert [repo.scm.is_ignored(path) for path in paths] == ours
    assert ours == [Repo(tmp_path).scm.is_ignored(path) for path in paths]
