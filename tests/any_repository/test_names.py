"""Odd names survive the way into asset keys and back."""

from __future__ import annotations

from pathlib import Path

import pytest
from dagster import AssetKey, AssetSelection

from registry_assets import RegistryTranslator, build_definitions
from registry_assets.registry.lineage.graph import Lineage
from tests.any_repository.looking import check_graph, complaints, registry, write_repository
from tests.any_repository.repositories import PIPELINES
from tests.conftest import lineage_of

NAMES = [
    "a b.txt",
    "Foto (1) [x].v2-final.txt",
    "caf\u00e9.txt",
    "cafe\u0301.txt",
    "me@home+you,too;!#%&=~.txt",
    "it's.txt",
    ".hidden",
    "\u65e5\u672c.txt",
    "\U0001f4f7.jpg",
]


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Lineage:
    """The repository with odd names in its pipeline, and in `.dvc` files."""
    root = tmp_path_factory.mktemp("odd") / "root"
    own = {f"own/{name}": "own\n" for name in NAMES}
    write_repository(root, {**PIPELINES["odd names"], **own}, added=list(own))
    return check_graph(root)


def test_a_key_is_the_path_and_leads_back_to_it(odd: Lineage) -> None:
    for path, node in odd.nodes.items():
        if node.key is not None:
            assert "/".join(node.key) == path
            assert odd.output_of[node.key].paths[None] == path
            assert AssetKey(list(node.key)) == AssetKey.from_user_string(path)


@pytest.mark.parametrize("name", NAMES)
def test_dagsters_selection_names_one_file(name: str, odd: Lineage) -> None:
    graph = build_definitions(odd.registry.root).resolve_asset_graph()
    selected = AssetSelection.from_string(f'key:"own/{name}"').resolve(graph)
    assert selected == {AssetKey(["own", name])}


def test_one_of_them_is_materialized_by_its_name(tmp_path: Path) -> None:
    root = write_repository(tmp_path / "root", dict(PIPELINES["odd names"]))
    done = registry(root, "materialize", "--select", 'key:"cafe\u0301 2.txt"')
    assert (done.exit_code, complaints(done)) == (0, [])
    assert (root / "cafe\u0301 2.txt").exists()
    assert not (root / "next.txt").exists()
    node = lineage_of(root).node("cafe\u0301 2.txt")
    assert node.version is not None
    assert registry(root, "lineage", "--check").exit_code == 0


def test_accents_written_in_two_ways_are_two_outputs(odd: Lineage) -> None:
    assert {"own/caf\u00e9.txt", "own/cafe\u0301.txt"} <= set(odd.nodes)


def test_sources_outside_never_share_a_key_with_an_output() -> None:
    translator = RegistryTranslator()
    assert translator.source_key("/data/x") == ("file:", "data", "x")
    assert translator.source_key("/data/x") != translator.asset_key("data/x")
    assert translator.source_key("../data/x") == ("..", "data", "x")


def test_a_stage_that_makes_nothing_is_named_after_its_folder_and_itself() -> None:
    translator = RegistryTranslator()
    assert translator.run_key("", "test") == ("test",)
    assert translator.run_key("processed/ds", "test") == ("processed", "ds", "test")
