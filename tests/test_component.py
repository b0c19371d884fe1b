"""The same repository under other names: by a subclass in Python, and from YAML."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import AssetKey, DagsterInstance, Definitions
from dagster.components import load_from_defs_folder

from registry_assets import RegistryTranslator, build_definitions, build_lineage, read_registry
from tests.conftest import write_tree
from tests.runs import execute, own, plan_runs

Graph = dict[str, tuple[set[str], str]]


class Prefixed(RegistryTranslator):
    """Puts everything under one more folder and in one group."""

    def asset_key(self, path: str) -> tuple[str, ...]:
        return ("photos", *super().asset_key(path))

    def group_name(self, folder: str) -> str:
        return "photos"

    def metadata(self, path: str, metafile: str) -> dict[str, str]:
        return {**super().metadata(path, metafile), "team": "seeing"}


def graph_of(definitions: Definitions) -> Graph:
    graph = definitions.resolve_asset_graph()
    return {
        key.to_user_string(): (
            {parent.to_user_string() for parent in graph.get(key).parent_keys},
            graph.get(key).group_name,
        )
        for key in graph.get_all_asset_keys()
    }


def expected(root: Path, prefix: str) -> Graph:
    return {
        f"{prefix}{key}": ({f"{prefix}{parent}" for parent in parents}, "photos")
        for key, (parents, _) in graph_of(build_definitions(root)).items()
    }


def test_a_subclass_renames_assets_and_what_points_at_them(text_registry: Path) -> None:
    definitions = build_definitions(text_registry, translator=Prefixed())
    assert graph_of(definitions) == expected(text_registry, "photos/")
    raw = definitions.resolve_asset_graph().get(AssetKey(["photos", "raw"]))
    assert raw.metadata["team"] == "seeing"


def test_renamed_assets_are_materialized_at_their_old_paths(
    text_registry: Path, instance: DagsterInstance
) -> None:
    definitions = build_definitions(text_registry, translator=Prefixed())
    lineage = build_lineage(read_registry(text_registry), Prefixed())
    for run in plan_runs(lineage, set(lineage.group_of), ["01_a"]):
        result = execute(definitions, instance, run, force=False, tags={})
        assert not result.failures
    assert (text_registry / "processed/texts/data/outputs/lines/01_a").read_text().strip() == "4"
    key = AssetKey(["photos", "processed", "texts", "data", "outputs", "lines"])
    assert instance.get_latest_materialization_event(key) is not None


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """An empty `dg` project."""
    folder = tmp_path / "photo_project"
    write_tree(
        tmp_path,
        {
            "pyproject.toml": '[project]\nname = "photo_project"\nversion = "0"\n'
            '[tool.dg]\ndirectory_type = "project"\n'
            '[tool.dg.project]\nroot_module = "photo_project"\n',
            "photo_project/__init__.py": "",
            "photo_project/defs/__init__.py": "",
        },
    )
    sys.path.insert(0, str(tmp_path))
    yield folder
    sys.path.remove(str(tmp_path))
    for name in [name for name in sys.modules if name.partition(".")[0] == "photo_project"]:
        del sys.modules[name]


def test_yaml_gives_the_same_assets_as_python(text_registry: Path, project: Path) -> None:
    text = f"type: registry_assets.DvcRegistryComponent\nattributes:\n  root: {text_registry}\n"
    write_tree(project, {"defs/photos/defs.yaml": text})
    definitions = load_from_defs_folder(path_within_project=project)
    assert graph_of(definitions) == graph_of(build_definitions(text_registry))
    assert definitions.resolve_sensor_def(own(text_registry, "new_raw_collections")) is not None


def test_yaml_renames_assets_and_what_points_at_them(text_registry: Path, project: Path) -> None:
    write_tree(
        project,
        {
            "defs/photos/defs.yaml": f"""\
type: registry_assets.DvcRegistryComponent
attributes:
  root: {text_registry}
  translation:
    key: "photos/{{{{ path }}}}"
    group_name: photos
    tags:
      team: seeing
"""
        },
    )
    definitions = load_from_defs_folder(path_within_project=project)
    assert graph_of(definitions) == expected(text_registry, "photos/")
    raw = definitions.resolve_asset_graph().get(AssetKey(["photos", "raw"]))
    assert raw.tags["team"] == "seeing"
    assert raw.metadata["dvc/path"] == "raw/*"


def test_the_root_is_relative_to_the_yaml_file(text_registry: Path, project: Path) -> None:
    text = "type: registry_assets.DvcRegistryComponent\nattributes:\n  root: ../../../registry\n"
    write_tree(project, {"defs/photos/defs.yaml": text})
    definitions = load_from_defs_folder(path_within_project=project)
    assert "raw" in graph_of(definitions)
