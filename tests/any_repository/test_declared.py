"""Everything that DVC can declare is shown, and made as `dvc repro` makes it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.any_repository.looking import (
    check_graph,
    complaints,
    is_up_to_date_for_dvc,
    recorded,
    registry,
    write_repository,
)
from tests.any_repository.repositories import PIPELINES, TRACKED
from tests.conftest import run

# `dvc status` calls these changed however often they run.
ALWAYS_CHANGED = {
    "without dependencies, outputs or a command",
    "always changed, persistent and uncached",
}
# `keyed` and `listed` are read as folders in which DVC keeps a `.gitignore`, in the order of runs.
ORDER_TELLS = {"foreach over lists and dictionaries"}
# Those that say something about the root of a repository, or not what the others say.
AT_THE_ROOT = ("several and nested pipelines", *sorted(ALWAYS_CHANGED), *ORDER_TELLS)


@pytest.mark.parametrize("name", AT_THE_ROOT)
def test_a_pipeline_is_shown_whole_and_made_as_dvc_makes_it(name: str, tmp_path: Path) -> None:
    root = write_repository(tmp_path / "root", dict(PIPELINES[name]))
    check_shown_and_made(
        root,
        tmp_path / "twin",
        is_clean=name not in ALWAYS_CHANGED,
        is_same=name not in ORDER_TELLS,
    )


def test_many_pipelines_are_shown_whole_and_made_as_dvc_makes_them(tmp_path: Path) -> None:
    files = {
        f"{name}/{path}": text
        for name, pipeline in PIPELINES.items()
        for path, text in pipeline.items()
        if name not in AT_THE_ROOT
    }
    root = write_repository(tmp_path / "root", files)
    check_shown_and_made(root, tmp_path / "twin", is_clean=True, is_same=True)


def check_shown_and_made(root: Path, twin: Path, *, is_clean: bool, is_same: bool) -> None:
    shutil.copytree(root, twin, symlinks=True)
    lineage = check_graph(root)

    nodes = json.loads(registry(root, "lineage", "--json").stdout)["nodes"]
    assert {node["path"] for node in nodes} == set(lineage.nodes)
    assert registry(root, "status").exit_code == 1
    done = registry(root, "materialize")
    assert (done.exit_code, complaints(done)) == (0, [])
    assert is_up_to_date_for_dvc(root) == is_clean
    assert registry(root, "status").exit_code == (0 if is_clean else 1)
    assert registry(root, "sync").stdout == "reported 0 materializations and 0 checks\n"
    check = registry(root, "lineage", "--check")
    assert (check.exit_code, check.stderr) == (0, ""), check.output

    run(twin, "dvc", "repro", "--quiet", "--all-pipelines")
    if is_same:
        assert recorded(root) == recorded(twin)


@pytest.mark.parametrize("name", TRACKED)
def test_what_is_tracked_or_imported_is_shown_and_brought(name: str, tmp_path: Path) -> None:
    root = write_repository(tmp_path / "root", script=TRACKED[name])
    check_graph(root)

    assert registry(root, "sync").exit_code == 0
    assert registry(root, "status").exit_code in (0, 1)
    done = registry(root, "materialize")
    if "gone" in name:
        assert done.exit_code == 1
        assert complaints(done)
        check_graph(root)
        return
    assert (done.exit_code, complaints(done)) == (0, [])
    assert is_up_to_date_for_dvc(root)
    assert registry(root, "status").exit_code == 0
    check = registry(root, "lineage", "--check")
    assert (check.exit_code, check.stderr) == (0, ""), check.output


def test_an_import_without_a_download_is_downloaded_as_dvc_does(tmp_path: Path) -> None:
    script = "mkdir ../outside && echo one > ../outside/one.txt\n"
    script += 'dvc import-url -q --no-download "$(realpath ../outside)/one.txt" one.txt'
    root = write_repository(tmp_path / "first" / "root", script=script)
    assert registry(root, "materialize").exit_code == 0
    ours = (root / "one.txt.dvc").read_text()
    run(root, "git", "checkout", "--quiet", "one.txt.dvc")
    run(root, "dvc", "repro", "--quiet", "one.txt.dvc")
    assert (root / "one.txt.dvc").read_text() == ours


def test_a_stage_that_makes_nothing_has_the_status_that_dvc_gives_it(tmp_path: Path) -> None:
    pipeline = "stages:\n  test:\n    cmd: cat code.py\n    deps: [code.py]\n"
    files = {"sub/dvc.yaml": pipeline, "sub/code.py": "1\n"}
    root = write_repository(tmp_path / "root", files)
    address = "sub/dvc.yaml:test"
    assert registry(root, "lineage").stdout == "sub/test\n"
    assert f"never_run  {address}" in registry(root, "status").stdout
    run(root, "dvc", "repro", "--quiet", "sub/dvc.yaml")
    assert registry(root, "status").exit_code == 0
    assert registry(root, "sync").stdout.startswith(f"reported {address}\n")
    (root / "sub/code.py").write_text("2\n")
    said = registry(root, "status", "-v").stdout
    assert f"stale      {address}  (sub/code.py is modified)" in said
    assert registry(root, "materialize").exit_code == 0
    assert is_up_to_date_for_dvc(root)
    assert registry(root, "lineage", "--check").exit_code == 0


def test_parameters_with_numbers_for_keys_are_shown(tmp_path: Path) -> None:
    files = {
        "params.yaml": "names: {1: one, two: two}\n",
        "dvc.yaml": "stages:\n  make:\n    cmd: echo > out\n    params: [names]\n    outs: [out]\n",
    }
    root = write_repository(tmp_path / "root", files)
    check_graph(root)
    assert registry(root, "status").exit_code == 1


def test_a_repository_below_the_root_of_git_is_one(tmp_path: Path) -> None:
    outer = tmp_path / "outer"
    (outer / "sub").mkdir(parents=True)
    run(outer, "git", "init", "--quiet")
    root = outer / "sub"
    run(root, "dvc", "init", "--quiet", "--subdir")
    (outer / "in.txt").write_text("in\n")
    (root / "dvc.yaml").write_text(
        "stages:\n  make:\n    cmd: cat ../in.txt > out.txt\n"
        "    deps: [../in.txt]\n    outs: [out.txt]\n"
    )
    check_graph(root)
    assert registry(root, "materialize").exit_code == 0
    assert is_up_to_date_for_dvc(root)
    assert registry(root, "lineage", "--check").exit_code == 0


def test_the_shipped_example_has_the_edges_of_dvc() -> None:
    check_graph(Path(__file__).parents[2])
