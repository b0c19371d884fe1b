"""What the tests of any repository ask of each: that DVC and the registry tell the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from click.testing import CliRunner, Result
from dvc.repo import Repo
from ruamel.yaml import YAML

from registry_assets import Lineage, build_definitions
from registry_assets.cli import main
from registry_assets.dvc_repo.versions import path_in_repo
from tests.conftest import commit_all, copy_empty_repository, lineage_of, run, write_tree


def registry(root: Path, *arguments: str) -> Result:
    """Runs the command line; fails the test when it ends in a traceback."""
    done = CliRunner().invoke(main, ["--root", str(root), *arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return done


def complaints(done: Result) -> list[str]:
    """What a command says is wrong, among the progress that it reports."""
    return [line for line in done.stderr.splitlines() if line.startswith("registry: ")]


def write_repository(
    root: Path,
    files: dict[str, str] | None = None,
    *,
    added: Sequence[str] = (),
    script: str = "",
) -> Path:
    """A repository with files in it, some added, or what a script leaves that runs at its root."""
    copy_empty_repository(root)
    write_tree(root, files or {})
    if added:
        run(root, "dvc", "add", "--quiet", *added)
    if script:
        run(root, "sh", "-e", "-c", script)
    commit_all(root)
    return root


def outputs_of_dvc(root: Path) -> tuple[set[str], set[tuple[str, str]], set[str]]:
    """DVC's own graph: outputs, the edges between them, and stages that make nothing."""
    with Repo(str(root)) as repo:
        index = repo.index
        outs = {path_in_repo(repo, out) for out in index.outs}
        edges = {
            (path_in_repo(repo, source), path_in_repo(repo, target))
            for target, source in index.outs_graph.edges
        }
        runs = {
            f"{Path(stage.path).relative_to(root).as_posix()}:{stage.name}"
            for stage in index.stages
            if not stage.outs
        }
    return outs, edges, runs


def check_graph(root: Path) -> Lineage:
    """Asserts that nothing DVC knows is lost: outputs, edges, stages; returns the graph."""
    lineage = lineage_of(root)
    assert lineage.registry.problems == ()
    outs, edges, runs = outputs_of_dvc(root)
    declared = {path for path, node in lineage.nodes.items() if node.address is not None}
    assert declared == outs | runs
    ours = {
        (source, target)
        for source, target in lineage.edges
        if source in declared and target not in runs
    }
    here = [item for item in lineage.registry.inputs if item.repository is None]
    imports = {(item.source.path, item.output.path) for item in here}
    assert ours == edges | {edge for edge in imports if edge[0] in declared}
    keys = build_definitions(root).resolve_asset_graph().get_all_asset_keys()
    assert {tuple(key.path) for key in keys} == {*lineage.output_of, *lineage.sources}
    return lineage


def is_up_to_date_for_dvc(root: Path) -> bool:
    """What `dvc status` says."""
    with Repo(str(root)) as repo:
        return not repo.status()


def recorded(root: Path) -> dict[str, object]:
    """What the metafiles record, by path; the order of stages in a ``dvc.lock`` left aside."""
    found: dict[str, object] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if name.startswith((".git/", ".dvc/", ".dagster/")) or not path.is_file():
            continue
        if path.name == "dvc.lock":
            found[name] = YAML(typ="safe").load(path.read_text())
        elif path.suffix == ".dvc":
            found[name] = path.read_text()
        elif path.name == ".gitignore":
            found[name] = sorted(path.read_text().splitlines())
    return found
