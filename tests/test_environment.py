"""Dagster and DVC in one environment."""

from pathlib import Path

from dagster import AssetKey, AssetSelection, Definitions, asset, define_asset_job

from tests.conftest import commit_all, run, write_tree


def test_dagster_parses_asset_selections() -> None:
    @asset
    def photographs() -> None: ...

    @asset(deps=[photographs])
    def frames() -> None: ...

    definitions = Definitions(
        [photographs, frames], jobs=[define_asset_job("all_of_it", selection='+key:"frames"')]
    )
    graph = definitions.resolve_asset_graph()
    chosen = AssetSelection.from_string('key:"photographs" or key:"frames"').resolve(graph)
    assert chosen == {AssetKey("photographs"), AssetKey("frames")}
    assert definitions.resolve_job_def("all_of_it").asset_layer.executable_asset_keys == chosen


def test_dvc_parses_overrides_of_parameters(tmp_path: Path) -> None:
    run(tmp_path, "git", "init", "--quiet")
    run(tmp_path, "dvc", "init", "--quiet")
    write_tree(
        tmp_path,
        {
            "params.yaml": "rate: 1\n",
            "dvc.yaml": "stages:\n  show:\n    cmd: cat params.yaml > shown\n"
            "    params: [rate]\n    outs: [shown]\n",
        },
    )
    commit_all(tmp_path)
    run(tmp_path, "dvc", "exp", "run", "--quiet", "-S", "rate=7")
    assert (tmp_path / "shown").read_text() == "rate: 7\n"
