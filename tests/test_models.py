"""Models and the data they were trained on, as far as a registry tells; MLflow is not asked here.

The links as MLflow keeps them are tested in `examples/awesome-ml-model`, against its server.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from registry_assets.cli import main
from registry_assets.dvc_repo import DvcRepo
from registry_assets.errors import MetafileError, SourceUnreachableError
from registry_assets.provenance.models.links import DataSource, ModelVersion, is_installed
from registry_assets.provenance.models.report import describe_model
from registry_assets.provenance.models.tracing import find_trained, trace_data
from registry_assets.settings import read_settings
from tests.conftest import commit_all, run

ONE = hashlib.md5(b"one\n").hexdigest()
OUTPUTS = "processed/texts/data/outputs"
UPPER = "processed/texts/data/intermediate/upper"
ADDRESS = "http://127.0.0.1:9"


@pytest.fixture
def moved_on(materialized_registry: Path) -> tuple[Path, str]:
    """A registry without the collection that a commit of it has, and that commit."""
    commit = commit_all(materialized_registry, "Take in 01_a")
    for path in ("raw", "processed/texts/data"):
        run(materialized_registry, "git", "rm", "-rq", "--ignore-unmatch", f"{path}/*.dvc")
    run(materialized_registry, "git", "rm", "-q", "processed/texts/dvc.lock")
    shutil.rmtree(materialized_registry / "raw" / "01_a")
    commit_all(materialized_registry, "Drop it")
    return materialized_registry, commit


def source(commit: str, path: str = OUTPUTS, url: str = "https://example.org/r.git") -> DataSource:
    return DataSource(url, path, commit, "0.dir")


def model(version: str, *data: DataSource, is_active: bool = True) -> ModelVersion:
    return ModelVersion(
        name="m",
        version=version,
        stage=None,
        aliases=(),
        run_id="r",
        run="active" if is_active else "deleted",
        data=data,
    )


def test_a_model_leads_back_to_raw_collections_as_of_the_commit_it_was_trained_at(
    moved_on: tuple[Path, str], bare: Path
) -> None:
    root, commit = moved_on
    (found,) = trace_data(root, [source(commit)])
    assert [item.path for item in found.outputs] == [
        f"{OUTPUTS}/{n}/01_a" for n in ("lines", "names")
    ]
    (raw,) = found.raw
    assert (raw.path, raw.collection, raw.metafile) == ("raw/01_a", "01_a", "raw/01_a.dvc")
    assert raw.commit == commit
    assert raw.version is not None
    assert raw.version in run(root, "git", "show", f"{commit}:raw/01_a.dvc")
    assert found.versions == ()
    # Asked from another repository, the registry is read from where it is.
    (elsewhere,) = trace_data(bare, [source(commit, url=str(root))])
    assert (elsewhere.outputs, elsewhere.raw) == (found.outputs, found.raw)
    for name in ("texts/v3", "other/v1", "v3"):
        run(root, "git", "tag", name, commit)
    for place, url in ((root, "https://example.org/r.git"), (bare, str(root))):
        (named,) = trace_data(place, [source(commit, url=url)])
        assert named.versions == ("texts/v3",)
    assert any(line.endswith(" (texts/v3)") for line in describe_model(model("1"), [named]))
    with pytest.raises(SourceUnreachableError, match="cannot be reached"):
        trace_data(bare, [source("0" * 40, url=str(root))])
    with pytest.raises(SourceUnreachableError, match="no output in processed/other"):
        trace_data(root, [source(commit, "processed/other")])


def test_what_was_not_up_to_date_at_the_commit_is_named(materialized_registry: Path) -> None:
    fresh = commit_all(materialized_registry)
    (materialized_registry / "processed/texts/params.yaml").write_text("suffix: 2\n")
    stale = commit_all(materialized_registry, "Change a parameter and run nothing")
    found = trace_data(materialized_registry, [source(fresh), source(stale)])
    assert [[status.path for status in one.stale] for one in found] == [[], [f"{UPPER}/01_a"]]


def test_a_raw_file_leads_to_the_models_that_learned_from_what_was_made_of_it(
    moved_on: tuple[Path, str],
) -> None:
    root, commit = moved_on
    run(root, "git", "remote", "add", "origin", "ssh://git@example.org/r.git")
    others = [
        model("2", source("1" * 40, url="https://example.org/another.git")),
        model("3", source(commit, "raw/02_b")),
    ]
    found = find_trained(root, ONE, [model("1", source(commit, UPPER)), *others])
    assert [(one.model.version, one.files) for one in found.models or ()] == [
        ("1", (f"{UPPER}/01_a/one.txt",))
    ]
    assert found.gaps == ()
    # What is not known is said.
    unknown = [model("4", is_active=False), model("5", source("1" * 40))]
    gone, not_here = find_trained(root, ONE, unknown).gaps
    assert gone == "the data of models:/m/4 is unknown: its run was deleted"
    assert "models:/m/5 was trained at commit 1111111111, which is not here" in not_here


def test_what_the_remote_of_a_source_lacks_is_named_file_by_file(
    materialized_registry: Path, bare: Path
) -> None:
    config = materialized_registry / ".dvc" / "config"
    storage = materialized_registry.with_name("storage")
    config.write_text(re.sub(r"url = .*", f"url = {storage}", config.read_text()))
    commit_all(materialized_registry)
    DvcRepo(materialized_registry).push(report=lambda _line: None)
    run(bare, "dvc", "import", "--quiet", str(materialized_registry), UPPER, "--out", "upper")
    assert DvcRepo(bare).find_missing_at_source("upper.dvc") == ()
    # The listing of the folder is still there.
    capitals = hashlib.md5(b"ONE\n\n").hexdigest()
    (storage / "files" / "md5" / capitals[:2] / capitals[2:]).unlink()
    assert DvcRepo(bare).find_missing_at_source("upper.dvc") == (f"{UPPER}/01_a/one.txt",)
    materialized_registry.rename(materialized_registry.with_name("away"))
    with pytest.raises(SourceUnreachableError):
        DvcRepo(bare).find_missing_at_source("upper.dvc")


def test_the_server_is_a_setting(bare: Path) -> None:
    settings = bare / "pyproject.toml"
    settings.write_text(f'[tool.registry_assets]\nmlflow_tracking_uri = "{ADDRESS}"\n')
    assert read_settings(bare).mlflow_tracking_uri == ADDRESS
    settings.write_text("[tool.registry_assets]\nmlflow_tracking_uri = 5000\n")
    with pytest.raises(MetafileError, match="mlflow_tracking_uri must be the address"):
        read_settings(bare)


def trace(root: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--root", str(root), "trace", "--no-runs", *arguments])


def test_without_a_server_a_model_is_an_error_with_the_next_step(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    done = trace(bare, "models:/m/3")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert (
        "no MLflow server is configured to look up models:/m/3: set MLFLOW_TRACKING_URI"
        in done.stderr
    )


@pytest.mark.skipif(is_installed(), reason="MLflow is installed here")
def test_without_mlflow_nothing_changes_but_a_note(
    materialized_registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    asked = ("--forward", "--json", "raw/01_a/one.txt")
    before = trace(materialized_registry, *asked)
    assert "models" not in json.loads(before.stdout)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", ADDRESS)
    after = trace(materialized_registry, *asked)
    assert (after.exit_code, after.stdout) == (0, before.stdout)
    assert "pip install 'registry-assets[mlflow]'" in after.stderr
    done = trace(materialized_registry, "models:/m/3")
    assert done.exit_code == 1
    assert "MLflow's client is not installed here" in done.stderr
