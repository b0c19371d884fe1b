"""The whole chain, from raw folders to a model in Production and back, step by step.

Each test goes on where the one before it ended, so they run together and in this order.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import pytest
from dagster import AssetKey, DagsterInstance
from ruamel.yaml import YAML

from awesome_ml_model.definitions import REGISTERED_MODEL, TRAINING_RUN, build
from awesome_ml_model.table import read_table
from demo.starting import OUTPUTS, commit, run
from tests.conftest import World

COLLECTIONS = ["01_data_collection_16_oct_2021", "02_data_collection_20_oct_2021"]


def one_line(said: str, *parts: str) -> None:
    """Makes sure that an error is one line that says what it should."""
    assert said.count("\n") == 1, said
    for part in parts:
        assert part in said


def metafile(world: World, name: str) -> Any:
    return YAML(typ="safe").load((world.repository / "data" / f"{name}.dvc").read_text())


@contextmanager
def moved_away(path: Path) -> Iterator[None]:
    aside = path.with_name(f"{path.name}.aside")
    path.rename(aside)
    try:
        yield
    finally:
        aside.rename(path)


def test_the_pipeline_gives_the_same_twice(world: World) -> None:
    before = (world.repository / "dvc.lock").read_bytes()
    run(world.repository, "dvc", "repro", "--force", "--no-run-cache")
    assert (world.repository / "dvc.lock").read_bytes() == before
    assert run(world.repository, "git", "status", "--porcelain") == ""
    metrics = json.loads((world.repository / "outputs" / "metrics.json").read_text())
    assert metrics["images"] == 20
    assert metrics["accuracy"] >= 0.8


def test_what_is_not_committed_is_not_logged(world: World) -> None:
    params = world.repository / "params.yaml"
    before = params.read_text()
    try:
        params.write_text(
            before.replace("inverse_regularization: 1.0", "inverse_regularization: 9")
        )
        done = world.own("log")
        assert done.exit_code == 1
        one_line(done.stderr, "not up to date: outputs/", "run `dvc repro`")
        params.write_text(f"{before}# a remark\n")
        done = world.own("register")
        assert done.exit_code == 1
        one_line(done.stderr, "not committed: params.yaml; commit first")
    finally:
        params.write_text(before)
    assert world.client.search_registered_models() == []


def test_a_run_that_fails_half_way_leaves_nothing(world: World) -> None:
    artifacts = world.repository.with_name("mlflow") / "artifacts"
    artifacts.write_text("in the way of every artifact")
    try:
        done = world.own("register")
    finally:
        artifacts.unlink()
    assert done.exit_code == 1
    one_line(done.stderr, "the MLflow server", " failed (")
    experiment = world.client.get_experiment_by_name("awesome-ml-model")
    assert experiment is not None
    assert world.client.search_runs([experiment.experiment_id]) == []
    assert world.client.search_registered_models() == []


def test_a_run_names_its_parameters_metrics_data_and_both_commits(world: World) -> None:
    assert world.own("register").exit_code == 0
    version = world.client.get_model_version("day_night", "1")
    found = world.client.get_run(version.run_id)
    assert found.data.params["crops.per_image"] == "8"
    metrics = json.loads((world.repository / "outputs" / "metrics.json").read_text())
    assert found.data.metrics == metrics
    assert found.data.tags["model_repository.commit"] == world.head(world.repository)
    assert found.data.tags["data_registry.commit"] == world.head(world.registry)
    assert found.data.tags["data_registry.url"] == str(world.registry)
    logged = {one.dataset.digest: one.dataset for one in found.inputs.dataset_inputs}
    assert len(logged) == 2
    for name in ("day_images", "night_images"):
        recorded = metafile(world, name)
        source = json.loads(logged[recorded["outs"][0]["md5"]].source)
        assert source == {
            "url": str(world.registry),
            "path": f"{OUTPUTS}/{name}",
            "rev_lock": recorded["deps"][0]["repo"]["rev_lock"],
        }
    artifacts = {artifact.path for artifact in world.client.list_artifacts(version.run_id)}
    assert {"confusion_matrix.png", "metrics.json"} <= {
        one.path.rpartition("/")[2]
        for folder in artifacts
        for one in world.client.list_artifacts(version.run_id, folder)
    }


def test_a_registered_model_has_its_signature_and_tells_day_from_night(world: World) -> None:
    table = read_table(world.repository / "outputs" / "features.csv")
    mlflow.set_tracking_uri(world.address)
    model = mlflow.pyfunc.load_model("models:/day_night/1")
    assert model.metadata.signature.inputs.input_names() == list(table.features.columns)
    taken_for = model.predict(table.features[table.is_whole])
    assert (taken_for == table.labels[table.is_whole]).mean() >= 0.9


def test_registering_again_gives_the_same_version(world: World) -> None:
    again = world.own("register")
    assert "models:/day_night/1  Experimental" in again.stdout
    assert "already logged" in world.own("log").stdout
    assert world.stages() == {"1": "Experimental"}


def test_dagster_trains_logs_and_registers_the_next_one(world: World) -> None:
    params = world.repository / "params.yaml"
    params.write_text(params.read_text().replace("per_image: 8", "per_image: 4"))
    on_mlflow = [TRAINING_RUN, REGISTERED_MODEL]
    job = build(world.repository).resolve_implicit_global_asset_job_def()
    made = [AssetKey(["outputs", name]) for name in ("features.csv", "model.joblib")]
    judged = ("metrics.json", "confusion_matrix.png", "predictions.csv")
    made += [AssetKey(["outputs", name]) for name in judged]
    with DagsterInstance.ephemeral() as instance:
        assert job.execute_in_process(instance=instance, asset_selection=made).success
        assert run(world.repository, "dvc", "status") == "Data and pipelines are up to date.\n"
        commit(world.repository, "Train on fewer pieces")
        assert job.execute_in_process(instance=instance, asset_selection=on_mlflow).success
        newest = [instance.get_latest_materialization_event(key) for key in on_mlflow]
    training, model = (event.asset_materialization.metadata for event in newest if event)
    version = world.client.get_model_version("day_night", "2")
    page = f"{world.address}/#/models/day_night/versions/2"
    assert model["mlflow/model"].value == page
    assert str(training["mlflow/run"].value).endswith(f"/runs/{version.run_id}")
    assert training["git/commit"].value == world.head(world.repository)


def test_a_model_moves_through_all_four_stages(world: World) -> None:
    def aliases() -> dict[str, str]:
        return dict(world.client.get_registered_model("day_night").aliases)

    for stage, alias in (("Staging", {"staging": "1"}), ("Production", {"production": "1"})):
        done = world.own("move", "1", stage)
        assert (done.exit_code, done.stdout) == (0, f"models:/day_night/1  {stage}\n"), done.stderr
        assert aliases() == alias
        assert world.client.get_model_version("day_night", "1").tags["stage"] == stage
    # Production holds one version: the other has to leave.
    done = world.own("move", "2", "production")
    assert done.stdout == "models:/day_night/2  Production\nmodels:/day_night/1  Archived\n"
    assert (aliases(), world.stages()) == (
        {"production": "2"},
        {"1": "Archived", "2": "Production"},
    )
    assert world.own("move", "1", "Experimental").exit_code == 0
    assert world.own("move", "@production", "Archived").exit_code == 0
    assert (aliases(), world.stages()) == ({}, {"1": "Experimental", "2": "Archived"})


def test_production_is_refused_when_the_data_is_not_to_be_had(world: World) -> None:
    with moved_away(world.registry):
        refused = world.own("move", "1", "Production")
    assert refused.exit_code == 1
    one_line(refused.stderr, "stays out of Production: its data set is not reachable")
    lost = next(
        path
        for path in sorted((world.registry / ".dvc" / "storage").rglob("*"))
        if path.is_file() and path.stat().st_size > 100_000 and path.suffix != ".dir"
    )
    assert world.stages()["1"] == "Experimental"
    with moved_away(lost.parent):
        refused = world.own("move", "1", "Production")
    one_line(refused.stderr, "not reachable: the remote of", "`registry push` there")
    assert world.stages()["1"] == "Experimental"


def test_production_is_refused_when_a_check_of_the_data_fails(world: World) -> None:
    params = world.repository / "params.yaml"
    params.write_text(params.read_text().replace("fewest_images: 5", "fewest_images: 10"))
    commit(world.repository, "Ask for more images than there are")
    assert "models:/day_night/3" in world.own("register").stdout
    try:
        refused = world.own("move", "3", "Production")
        assert refused.exit_code == 1
        failed = "models:/day_night/3 stays out of Production: check enough_images of data/night_"
        one_line(refused.stderr, failed, "9 images, and 10 are asked for")
        assert world.stages() == {"1": "Experimental", "2": "Archived", "3": "Experimental"}
        # What was asked of the first one when it was trained is what it has to pass.
        assert world.own("move", "1", "Production").exit_code == 0
    finally:
        world.client.delete_model_version("day_night", "3")


def test_production_is_refused_when_the_data_set_was_not_up_to_date(world: World) -> None:
    params = world.registry / "processed" / "01_image_dataset" / "params.yaml"
    params.write_text(params.read_text().replace("image_threshold: 100", "image_threshold: 90"))
    commit(world.registry, "Move the line between day and night, and run nothing")
    run(world.registry, "git", "tag", "v2")
    taken = ("data/day_images.dvc", "data/night_images.dvc")
    run(world.repository, "dvc", "update", "--quiet", "--rev", "v2", *taken)
    commit(world.repository, "Move on to v2")
    assert world.own("register").exit_code == 0
    newest = max(world.client.search_model_versions("name = 'day_night'"), key=lambda v: v.version)
    # The content is the same, and still the commit is the one it was taken at.
    logged = world.client.get_run(newest.run_id).inputs.dataset_inputs
    commits = {json.loads(one.dataset.source)["rev_lock"] for one in logged}
    assert commits == {world.head(world.registry)}
    try:
        refused = world.own("move", newest.version, "Production")
        assert refused.exit_code == 1
        one_line(refused.stderr, "was not up to date at commit", "day_night_image_threshold")
    finally:
        world.client.delete_model_version("day_night", newest.version)


def test_a_model_leads_back_to_its_raw_collections(world: World) -> None:
    trained_at = run(world.registry, "git", "rev-parse", "v1").strip()
    run(world.registry, "git", "rm", "-q", f"raw/{COLLECTIONS[0]}.dvc")
    commit(world.registry, "Drop a collection from the newest state")
    for name in ("models:/day_night/1", "models:/day_night@production"):
        found = world.traced(name)
        assert (found["model"], found["version"], found["stage"]) == (
            "day_night",
            "1",
            "Production",
        )
    for data in found["data"]:
        assert data["commit"] == trained_at
        assert [raw["path"] for raw in data["raw"]] == [f"raw/{name}" for name in COLLECTIONS]
        for raw in data["raw"]:
            text = run(world.registry, "git", "show", f"{trained_at}:{raw['metafile']}")
            assert raw["version"] in text
    said = world.trace("models:/day_night/Production").stdout
    assert said.startswith("models:/day_night/1  Production\n")
    assert said.endswith(f"= collections {', '.join(COLLECTIONS)}\n")


def test_a_raw_image_leads_to_the_models_trained_on_it(world: World) -> None:
    found = world.traced("--forward", f"raw/{COLLECTIONS[1]}/city.mp4")
    models = {model["version"]: model for model in found["models"]}
    assert list(models) == ["2", "1"]
    assert models["1"]["stage"] == "Production"
    frames = [f"city.mp4/frame_{number:06d}.jpg" for number in (0, 25, 50, 75)]
    folder = f"{OUTPUTS}/night_images/sharp/{COLLECTIONS[1]}"
    assert models["1"]["data"]["files"] == [f"{folder}/{frame}" for frame in frames]
    # What was sorted out has trained nothing.
    assert world.traced("--forward", f"raw/{COLLECTIONS[1]}/deep_sky.jpg")["models"] == []


def test_an_unknown_model_is_one_line(world: World) -> None:
    for name in ("models:/day_night/99", "models:/none/1", "models:/day_night@challenger"):
        done = world.trace(name)
        assert (done.exit_code, done.stdout) == (1, "")
        one_line(done.stderr, name)
    done = world.own("move", "99", "Staging")
    assert done.exit_code == 1
    one_line(done.stderr, "models:/day_night/99")


def test_a_deleted_run_is_named_and_nothing_is_moved_or_registered(world: World) -> None:
    run_id = world.client.get_model_version("day_night", "2").run_id
    world.client.delete_run(run_id)
    try:
        done = world.trace("models:/day_night/2")
        assert done.exit_code == 1
        one_line(done.stderr, run_id, "was deleted", "mlflow runs restore --run-id")
        assert world.own("move", "2", "Production").exit_code == 1
        assert world.stages() == {"1": "Production", "2": "Archived"}
        done = world.trace("--forward", "--json", f"raw/{COLLECTIONS[1]}/city.mp4")
        assert done.exit_code == 1
        assert [model["version"] for model in json.loads(done.stdout)["models"]] == ["1"]
        one_line(done.stderr, "incomplete: the data of models:/day_night/2 is unknown")
    finally:
        world.client.restore_run(run_id)


def test_a_server_that_is_away_is_one_line_and_soon(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    started = time.monotonic()
    for done in (world.trace("models:/day_night/1"), world.own("move", "1", "Staging")):
        assert (done.exit_code, done.stdout) == (1, "")
        one_line(done.stderr, f"MLflow server http://127.0.0.1:{port}", "Connection refused")
    forward = world.trace("--forward", f"raw/{COLLECTIONS[1]}/city.mp4")
    assert forward.exit_code == 1
    assert "went to 18 files" in forward.stdout
    assert "trained" not in forward.stdout
    one_line(forward.stderr, "incomplete: the MLflow server")
    assert time.monotonic() - started < 60
