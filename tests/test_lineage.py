"""The graph of outputs and the assets that it is gathered into, on real DVC repositories."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from registry_assets import Lineage, RegistryTranslator, build_lineage, read_registry
from registry_assets.dvc_repo import DvcRepo
from registry_assets.errors import OutputNotFoundError
from registry_assets.registry.lineage.code_versions import CodeReader
from registry_assets.registry.lineage.graph import AssetGroup, Upstream
from registry_assets.registry.translator import Key
from tests.conftest import lineage_of, run, write_tree


def tracked(path: str, source: str | None = None) -> dict[str, str]:
    """The ``.dvc`` file of a folder that was added, or taken in from a path of its repository."""
    md5 = hashlib.md5((source or path).encode()).hexdigest()
    version = f"md5: {md5}.dir\n  size: 1\n  nfiles: 1\n  hash: md5"
    up = "../" * path.count("/")
    head = f"frozen: true\ndeps:\n- {version}\n  path: {up}{source}\n" if source else ""
    return {f"{path}.dvc": f"{head}outs:\n- {version}\n  path: {path.rpartition('/')[2]}\n"}


def names(items: str) -> str:
    return "collections:\n" + "".join(f'  - "{item}"\n' for item in items.split())


def groups(lineage: Lineage) -> dict[str, AssetGroup]:
    """The groups by the path of their first output."""
    return {"/".join(group.outputs[0].key): group for group in lineage.groups}


def check_edges(root: Path, lineage: Lineage) -> set[tuple[str, str]]:
    """Asserts that edges between outputs are DVC's own, plus the self-imports; returns them."""
    ours = {edge for edge in lineage.edges if lineage.nodes[edge[0]].address is not None}
    imports = {(i.source.path, i.output.path) for i in lineage.registry.inputs}
    dvc = DvcRepo(root).read_edges()
    assert ours == dvc | {edge for edge in imports if edge[0] in lineage.nodes}
    return ours


CHAIN = """\
vars:
  - collections.yaml
stages:
  clean:
    foreach: ${collections}
    do:
      cmd: make data/clean/${item}
      deps:
        - clean.py
        - data/inputs/${item}
      outs:
        - data/clean/${item}
  train:
    foreach: ${collections}
    do:
      cmd: train ${item}
      deps:
        - data/clean/${item}
        - data/inputs/${item}/labels.csv
      outs:
        - models/model_${item}.pkl
        - models/model_${item}.log
  gather:
    cmd: gather
    deps:
      - data/clean
    outs:
      - data/all.csv
  compare:
    cmd: compare
    deps:
      - data/clean/01_a
      - data/clean/02_b
      - data/all.csv
    outs:
      - data/comparison.csv
"""
DS = "processed/ds"
INPUTS = f"{DS}/data/inputs"


def write_chain(root: Path, items: str = "01_a 02_b 03_c") -> None:
    files = {
        f"{DS}/dvc.yaml": CHAIN,
        f"{DS}/clean.py": "",
        f"{DS}/collections.yaml": names(items),
    }
    for item in items.split():
        files |= tracked(f"raw/{item}") | tracked(f"{INPUTS}/{item}", f"raw/{item}")
    write_tree(root, files | tracked("raw/04_d"))


def test_keys_are_paths_with_families_as_partitions(bare: Path) -> None:
    write_chain(bare)
    lineage = lineage_of(bare)
    assert set(lineage.output_of) == {
        ("raw",),
        ("processed", "ds", "data", "inputs"),
        ("processed", "ds", "data", "clean"),
        ("processed", "ds", "models", "model_.pkl"),
        ("processed", "ds", "models", "model_.log"),
        ("processed", "ds", "data", "all.csv"),
        ("processed", "ds", "data", "comparison.csv"),
    }
    assert {path: (node.key, node.partition) for path, node in lineage.nodes.items()} == {
        **{f"raw/{item}": (("raw",), item) for item in ("01_a", "02_b", "03_c", "04_d")},
        **{
            path: (key, item)
            for item in ("01_a", "02_b", "03_c")
            for path, key in {
                f"{INPUTS}/{item}": ("processed", "ds", "data", "inputs"),
                f"{DS}/data/clean/{item}": ("processed", "ds", "data", "clean"),
                f"{DS}/models/model_{item}.pkl": ("processed", "ds", "models", "model_.pkl"),
                f"{DS}/models/model_{item}.log": ("processed", "ds", "models", "model_.log"),
            }.items()
        },
        f"{DS}/data/all.csv": (("processed", "ds", "data", "all.csv"), None),
        f"{DS}/data/comparison.csv": (("processed", "ds", "data", "comparison.csv"), None),
        f"{DS}/clean.py": (None, None),
    }
    assert lineage.partition_keys == {"collections": ("01_a", "02_b", "03_c", "04_d")}


def test_edges_are_dvcs_own_and_the_imports(bare: Path) -> None:
    write_chain(bare)
    edges = check_edges(bare, lineage_of(bare))
    assert ("raw/01_a", f"{INPUTS}/01_a") in edges
    assert (f"{INPUTS}/01_a", f"{DS}/models/model_01_a.log") in edges
    assert len(edges) == 3 + 3 + 3 * 2 * 2 + 3 + 2 + 1


def test_edges_between_assets_say_which_partitions(bare: Path) -> None:
    write_chain(bare)
    found = groups(lineage_of(bare))
    inputs, clean = ("processed", "ds", "data", "inputs"), ("processed", "ds", "data", "clean")
    assert found["raw"].upstream == ()
    assert found[INPUTS].upstream == (Upstream(("raw",), "same"),)
    assert found[f"{DS}/data/clean"].upstream == (Upstream(inputs, "same"),)
    assert set(found[f"{DS}/models/model_.pkl"].upstream) == {
        Upstream(clean, "same"),
        Upstream(inputs, "same"),
    }
    assert found[f"{DS}/data/all.csv"].upstream == (Upstream(clean, "all"),)
    assert set(found[f"{DS}/data/comparison.csv"].upstream) == {
        Upstream(clean, ("01_a", "02_b")),
        Upstream(("processed", "ds", "data", "all.csv"), None),
    }
    assert {name: group.partitions for name, group in found.items()} == {
        "raw": "collections",
        INPUTS: "collections",
        f"{DS}/data/clean": "collections",
        f"{DS}/models/model_.pkl": "collections",
        f"{DS}/data/all.csv": None,
        f"{DS}/data/comparison.csv": None,
    }


def test_a_data_set_without_collections_has_the_same_graph(bare: Path) -> None:
    write_chain(bare, "")
    text = (bare / DS / "dvc.yaml").read_text()
    (bare / DS / "dvc.yaml").write_text(text[: text.index("  compare:")])
    (bare / DS / "collections.yaml").write_text("collections: []\n")
    found = groups(lineage_of(bare))
    assert found[INPUTS].upstream == (Upstream(("raw",), "same"),)
    assert found[f"{DS}/data/clean"].partitions == "collections"
    assert found[f"{DS}/data/all.csv"].upstream == (
        Upstream(("processed", "ds", "data", "clean"), "all"),
    )


def test_addresses_and_paths_of_a_collection_that_is_not_there_yet_are_known(bare: Path) -> None:
    write_chain(bare)
    found = groups(lineage_of(bare))
    models = found[f"{DS}/models/model_.pkl"]
    assert models.address_of("01_a") == f"{DS}/dvc.yaml:train@01_a"
    assert models.address_of("09_x") == f"{DS}/dvc.yaml:train@09_x"
    assert models.path_of(models.outputs[0], "09_x") == f"{DS}/models/model_09_x.pkl"
    assert found[INPUTS].address_of("09_x") == f"{INPUTS}/09_x.dvc"
    assert found["raw"].path_of(found["raw"].outputs[0], "09_x") == "raw/09_x"


SHAPES = """\
stages:
  by_key:
    foreach:
      day: {limit: 100}
      night: {limit: 50}
    do:
      cmd: pick ${key} ${item.limit}
      outs:
        - keyed/${key}
  grid:
    matrix:
      size: [1, 2]
      kind: [a, b]
    cmd: train ${item.size} ${item.kind}
    deps:
      - keyed/day
    outs:
      - grid/${item.size}-${item.kind}
  after_key:
    foreach: [day, night]
    do:
      cmd: refine ${item}
      deps:
        - keyed/${item}
      outs:
        - refined/${item}/deep
  table:
    foreach:
      - {name: one, size: 1}
      - {name: two, size: 2}
    do:
      cmd: tabulate ${item.name}
      outs:
        - tables/${item.name}
"""


def test_every_way_to_repeat_a_stage_is_a_family(bare: Path) -> None:
    write_tree(bare, {"dvc.yaml": SHAPES} | tracked("raw/01_a"))
    lineage = lineage_of(bare)
    assert lineage.registry.problems == ()
    check_edges(bare, lineage)
    found = groups(lineage)
    assert found["keyed"].addresses == {
        "day": "dvc.yaml:by_key@day",
        "night": "dvc.yaml:by_key@night",
    }
    assert set(found["grid"].addresses) == {"1-a", "1-b", "2-a", "2-b"}
    assert found["grid"].outputs[0].paths["2-a"] == "grid/2-a"
    assert set(found["refined/deep"].addresses) == {"day", "night"}
    # Those that go hand in hand share their partitions, and nobody else's.
    assert found["refined/deep"].upstream == (Upstream(("keyed",), "same"),)
    assert found["keyed"].partitions == found["refined/deep"].partitions == "keyed"
    assert found["grid"].partitions == "grid"
    assert found["raw"].partitions == "collections"
    # All of the grid reads the one partition.
    assert found["grid"].upstream == (Upstream(("keyed",), ("day",)),)
    # DVC numbers items that are dictionaries in a list; their names are in the paths only.
    assert found["tables/one"].partitions is None
    assert found["tables/two"].address == "dvc.yaml:table@1"


def test_dependencies_inside_and_around_outputs_are_edges(bare: Path) -> None:
    pipeline = """\
stages:
  inside:
    cmd: inside
    deps: [raw/01_a/deep/labels.csv, made/sub/one.txt]
    outs: [inside.csv]
  around:
    cmd: around
    deps: [raw, elsewhere]
    outs: [around.csv]
  make:
    cmd: make
    outs: [made, elsewhere/x, elsewhere/sub/y]
  near:
    cmd: near
    deps: [elsewhere/x.txt, made-not]
    outs: [near.csv]
"""
    write_tree(bare, {"dvc.yaml": pipeline} | tracked("raw/01_a") | tracked("raw/02_b"))
    lineage = lineage_of(bare)
    assert check_edges(bare, lineage) == {
        ("raw/01_a", "inside.csv"),
        ("made", "inside.csv"),
        ("raw/01_a", "around.csv"),
        ("raw/02_b", "around.csv"),
        ("elsewhere/x", "around.csv"),
        ("elsewhere/sub/y", "around.csv"),
    }
    found = groups(lineage)
    assert set(found["inside.csv"].upstream) == {
        Upstream(("made",), None),
        Upstream(("raw",), ("01_a",)),
    }
    assert set(found["around.csv"].upstream) == {
        Upstream(("raw",), "all"),
        Upstream(("elsewhere", "x"), None),
        Upstream(("elsewhere", "sub", "y"), None),
    }
    assert lineage.nodes["made-not"].kind == "file"


def test_a_key_that_two_rules_would_give_gets_the_stages_name(bare: Path) -> None:
    pipeline = """\
stages:
  each:
    foreach: [a, b]
    do:
      cmd: each ${item}
      outs: ["out/${item}/x"]
  twice:
    foreach: [a, b]
    do:
      cmd: twice ${item}
      outs: ["out/x/${item}1"]
  whole:
    cmd: whole
    outs: [out/x/1]
  single:
    cmd: single
    outs: [out/y]
"""
    write_tree(bare, {"dvc.yaml": pipeline})
    lineage = lineage_of(bare)
    assert {output.key for group in lineage.groups for output in group.outputs} == {
        ("out", "x"),
        ("out", "x", "1"),
        ("out", "x", "1", "whole"),
        ("out", "y"),
    }
    assert lineage.node("out/x/1").key == ("out", "x", "1", "whole")
    assert lineage.node("out/b/x").key == ("out", "x")
    assert len({group.name for group in lineage.groups}) == 4


def test_two_outputs_of_one_stage_never_share_a_key(bare: Path) -> None:
    pipeline = """\
stages:
  each:
    foreach: [a, b]
    do:
      cmd: each ${item}
      outs: ["${item}/x", "x/${item}"]
"""
    write_tree(bare, {"dvc.yaml": pipeline})
    lineage = lineage_of(bare)
    (group,) = lineage.groups
    assert [output.key for output in group.outputs] == [("x",), ("x", "each")]
    assert group.outputs[1].paths == {"a": "x/a", "b": "x/b"}


CLASSES = """\
stages:
  classify:
    foreach: [a, b]
    do:
      cmd: classify ${item}
      outs:
        - out/day/foggy/${item}
        - out/day/sharp/${item}
        - out/night/foggy/${item}
        - out/odd/${item}
  show:
    cmd: show
    deps: [out/day/foggy/a]
    outs: [shown/foggy]
"""


def test_boxes_of_a_stage_have_distinct_names_where_the_settings_say_so(bare: Path) -> None:
    write_tree(bare, {"dvc.yaml": CLASSES})
    by_path = {
        *(("out", "day", "foggy"), ("out", "day", "sharp"), ("out", "night", "foggy")),
        *(("out", "odd"), ("shown", "foggy")),
    }
    assert set(lineage_of(bare).output_of) == by_path
    (bare / "pyproject.toml").write_text('[tool.registry_assets]\nbox_names = "distinct"\n')
    lineage = lineage_of(bare)
    # `sharp` is the only one, and `shown/foggy` of another stage.
    assert set(lineage.output_of) == {
        *(("out", "day_foggy"), ("out", "day", "sharp"), ("out", "night_foggy")),
        *(("out", "odd"), ("shown", "foggy")),
    }
    assert groups(lineage)["shown/foggy"].upstream == (Upstream(("out", "day_foggy"), ("a",)),)
    assert lineage.node("out/night/foggy/b").key == ("out", "night_foggy")


def test_names_that_would_not_be_distinct_stay_as_they_are() -> None:
    translator = RegistryTranslator()
    for keys in (
        [("a", "x"), ("b", "x"), ("c", "a_x")],
        [("x",), ("a", "x"), ("b", "x"), ("b_x",)],
        [("x",), ("x",)],
    ):
        assert translator.distinct_keys(keys) == keys
    assert translator.distinct_keys([("x",), ("a", "x")]) == [("x",), ("a_x",)]
    assert translator.distinct_keys([("a", "p", "x"), ("b", "p", "x")]) == [
        *(("a_p_x",), ("b_p_x",)),
    ]


ODD_NAMES = ["my photos", "été 2021", "a.b", "a-b", "a_b", "a_b_2", "x@y", "データ", "図"]


def test_odd_names_of_files_give_keys_and_distinct_ops(bare: Path) -> None:
    files: dict[str, str] = {}
    for name in ODD_NAMES:
        files |= tracked(f"kept/{name}")
    stages = "".join(
        f"  stage{number}:\n    cmd: make\n    deps: ['kept/{name}']\n    outs: ['made/{name}']\n"
        for number, name in enumerate(ODD_NAMES)
    )
    write_tree(bare, {"dvc.yaml": f"stages:\n{stages}"} | files)
    lineage = lineage_of(bare)
    assert check_edges(bare, lineage) == {(f"kept/{n}", f"made/{n}") for n in ODD_NAMES}
    assert set(lineage.output_of) == {(f, n) for f in ("kept", "made") for n in ODD_NAMES}
    op_names = [group.name for group in lineage.groups]
    assert len(set(op_names)) == len(op_names)
    assert all(name.isidentifier() and name.isascii() for name in op_names)


def test_an_import_from_outside_has_an_external_asset(bare: Path) -> None:
    metafile = (
        "frozen: true\ndeps:\n- path: photos\n  repo:\n    url: git@example.org:team/r.git\n"
        f"    rev_lock: {'0' * 39}a\nouts:\n- md5: {'a' * 32}.dir\n  hash: md5\n  path: taken\n"
    )
    url = (
        "frozen: true\ndeps:\n- size: 1\n  path: https://example.org/x.zip\n"
        f"outs:\n- md5: {'b' * 32}\n  hash: md5\n  path: x.zip\n"
    )
    write_tree(bare, {"taken.dvc": metafile, "x.zip.dvc": url})
    lineage = lineage_of(bare)
    assert lineage.registry.problems == ()
    assert set(lineage.sources.values()) == {
        "git@example.org:team/r.git/photos",
        "https://example.org/x.zip",
    }
    found = groups(lineage)
    (upstream,) = found["taken"].upstream
    assert lineage.sources[upstream.key] == "git@example.org:team/r.git/photos"
    assert found["x.zip"].upstream == (Upstream(("https:", "example.org", "x.zip"), None),)
    assert lineage.nodes["https://example.org/x.zip"].kind == "source"


def test_groups_are_named_after_the_folder_of_the_pipeline(bare: Path) -> None:
    write_chain(bare)
    write_tree(
        bare,
        {"dvc.yaml": "stages:\n  top:\n    cmd: x\n    outs: [top.txt]\n"}
        | tracked("elsewhere/deep/x"),
    )
    found = {name: group.group for name, group in groups(lineage_of(bare)).items()}
    assert found["raw"] == "raw"
    assert found[INPUTS] == found[f"{DS}/data/clean"] == "processed__ds"
    assert found["top.txt"] == "root"
    assert found["elsewhere/deep/x"] == "elsewhere__deep"


def test_an_unknown_path_is_an_error(bare: Path) -> None:
    write_chain(bare)
    lineage = lineage_of(bare)
    for path in ("nowhere", f"{DS}/clean.py"):
        with pytest.raises(OutputNotFoundError, match=path):
            lineage.node(path)


def test_what_a_path_is_made_of_is_found_by_address(bare: Path) -> None:
    write_chain(bare)
    lineage = lineage_of(bare)
    assert set(lineage.input_addresses(f"{DS}/models/model_01_a.pkl")) == {
        f"{DS}/dvc.yaml:clean@01_a",
        f"{INPUTS}/01_a.dvc",
    }


def test_a_translator_of_ones_own_names_assets_and_the_edges_to_them(bare: Path) -> None:
    class Prefixed(RegistryTranslator):
        def asset_key(self, path: str) -> Key:
            return ("mine", *super().asset_key(path))

    write_chain(bare)
    lineage = build_lineage(read_registry(bare), Prefixed())
    assert all(key[0] == "mine" for key in lineage.output_of)
    assert groups(lineage)[f"mine/{INPUTS}"].upstream == (Upstream(("mine", "raw"), "same"),)


CODE = """\
stages:
  one:
    cmd: python src/one.py
    deps: [src, lib.py, raw/01_a/labels.csv, made/x]
    params: [threshold]
    outs: [one.csv]
  make:
    cmd: make
    outs: [made/x/deep]
"""


@pytest.fixture
def code(bare: Path) -> Path:
    write_tree(
        bare,
        {
            "dvc.yaml": CODE,
            "params.yaml": "threshold: 1\nother: 1\n",
            "src/one.py": "1",
            "src/sub/two.py": "2",
            "lib.py": "3",
            "raw/01_a/labels.csv": "4",
            "made/x/deep/file": "5",
            "made/x/side": "6",
        }
        | tracked("raw/01_a"),
    )
    return bare


def version_of_one(root: Path) -> str:
    registry = read_registry(root)
    (stage,) = (stage for stage in registry.stages if stage.name == "one")
    return CodeReader(registry).version(stage)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("dvc.yaml", CODE.replace("python src/one.py", "python src/one.py -v")),
        ("params.yaml", "threshold: 2\nother: 1\n"),
        ("lib.py", "changed"),
        ("src/one.py", "changed"),
        ("src/sub/two.py", "changed"),
        ("src/new.py", "new"),
    ],
)
def test_code_versions_change_with_command_parameters_and_code(
    code: Path, path: str, text: str
) -> None:
    before = version_of_one(code)
    write_tree(code, {path: text})
    assert version_of_one(code) != before


@pytest.mark.parametrize(
    "path",
    ["raw/01_a/labels.csv", "made/x/deep/file", "made/x/side", "src/__pycache__/one.pyc"],
)
def test_code_versions_do_not_change_with_data(code: Path, path: str) -> None:
    before = version_of_one(code)
    write_tree(code, {path: "changed"})
    (code / "params.yaml").write_text("threshold: 1\nother: 2\n")
    assert version_of_one(code) == before


def test_code_versions_do_not_change_when_a_collection_comes(bare: Path) -> None:
    def versions() -> dict[str, str | None]:
        return {name: group.code_version for name, group in groups(lineage_of(bare)).items()}

    write_chain(bare, "01_a 02_b")
    (bare / INPUTS / ".gitignore").write_text("/01_a\n/02_b\n")
    before = versions()
    write_chain(bare, "01_a 02_b 03_c")
    (bare / INPUTS / ".gitignore").write_text("/01_a\n/02_b\n/03_c\n")
    assert versions() == before


def test_items_whose_paths_differ_in_more_than_their_name_are_assets_of_their_own(
    tmp_path: Path,
) -> None:
    run(tmp_path, "git", "init", "--quiet")
    run(tmp_path, "dvc", "init", "--quiet")
    write_tree(
        tmp_path,
        {
            "dvc.yaml": """\
stages:
  make:
    foreach:
      a: {n: one}
      b: {n: two}
    do:
      cmd: echo ${key} > made/${key}/${item.n}
      outs: ["made/${key}/${item.n}"]
"""
        },
    )
    lineage = lineage_of(tmp_path)
    assert set(lineage.output_of) == {("made", "a", "one"), ("made", "b", "two")}
    assert all(group.partitions is None for group in lineage.groups)
