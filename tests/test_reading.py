"""What `read_registry` makes of the metafiles of real DVC repositories."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath

import pytest

from registry_assets import read_registry
from registry_assets.errors import MetafileError, NotFoundError
from registry_assets.model import ITEM, Parameter, Settings, Version, folders_above
from registry_assets.registry.reading import read_settings
from tests.conftest import commit_all, run, write_tree


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def test_collections_are_read_with_their_recorded_version(text_registry: Path) -> None:
    run(text_registry, "dvc", "add", "--quiet", "raw/01_a")
    registry = read_registry(text_registry)
    (raw,) = registry.raw
    assert (raw.name, raw.metafile, raw.output.path) == ("01_a", "raw/01_a.dvc", "raw/01_a")
    version = raw.output.version
    assert version is not None
    assert version.md5.endswith(".dir")
    assert version.md5 in (text_registry / "raw/01_a.dvc").read_text()
    assert (version.size, version.nfiles) == (len("one\n") + len("two\n"), 2)
    assert registry.raw_folder == "raw"
    assert registry.inputs == ()


def test_an_import_from_this_repository_names_the_source_path_and_its_md5(
    text_registry: Path,
) -> None:
    run(text_registry, "dvc", "add", "--quiet", "raw/01_a")
    inputs = "processed/texts/data/inputs"
    (text_registry / inputs).mkdir(parents=True)
    run(text_registry / inputs, "dvc", "import-url", "--quiet", "../../../../raw/01_a", "01_a")
    registry = read_registry(text_registry)
    (imported,) = registry.inputs
    assert imported.output.path == f"{inputs}/01_a"
    assert imported.source.path == "raw/01_a"
    assert not imported.source.is_external
    assert imported.source.version == registry.raw[0].output.version == imported.output.version
    assert (imported.repository, imported.revision, imported.is_frozen) == (None, None, True)
    assert registry.importing_folders == {inputs}


def test_an_import_from_another_git_repository_names_repository_and_revision(
    bare: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    run(other, "git", "init", "--quiet")
    write_tree(other, {"photos/one.txt": "one\n"})
    commit = commit_all(other)
    run(bare, "dvc", "import", "--quiet", str(other), "photos", "-o", "taken")
    (imported,) = read_registry(bare).inputs
    assert (imported.repository, imported.revision) == (str(other), commit)
    assert (imported.source.path, imported.source.is_external) == ("photos", True)
    assert imported.source.version == imported.output.version is not None


PIPELINE = """\
vars:
  - collections.yaml
stages:
  make:
    foreach: ${collections}
    do:
      cmd: python make.py ${item}
      deps:
        - make.py
        - ../../raw/${item}
      params:
        - threshold
        - nested.value
        - other.yaml:
            - size
      outs:
        - out/${item}
      metrics:
        - metrics/${item}.json:
            cache: false
  gather:
    desc: Puts everything together
    frozen: true
    cmd:
      - ls out > list.txt
      - wc -l list.txt
    deps:
      - out
    outs:
      - list.txt:
          desc: What there is
          persist: true
"""


def test_stages_are_read_with_their_templating_resolved(bare: Path) -> None:
    write_tree(
        bare,
        {
            "processed/ds/dvc.yaml": PIPELINE,
            "processed/ds/collections.yaml": 'collections:\n  - "01_a"\n  - "02_b"\n',
            "processed/ds/params.yaml": "threshold: 7\nnested:\n  value: true\n",
            "processed/ds/other.yaml": "size: 1.5\n",
            "processed/ds/dvc.lock": (
                "schema: '2.0'\nstages:\n  make@01_a:\n    cmd: python make.py 01_a\n"
                "    deps:\n    - path: ../../raw/01_a\n      hash: md5\n"
                "      md5: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.dir\n      size: 8\n      nfiles: 2\n"
                "    params:\n      params.yaml:\n        threshold: 5\n"
                "    outs:\n    - path: out/01_a\n      hash: md5\n"
                "      md5: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\n      size: 3\n"
            ),
        },
    )
    registry = read_registry(bare)
    assert registry.problems == ()
    stages = {stage.address: stage for stage in registry.stages}
    folder = "processed/ds"
    assert set(stages) == {
        f"{folder}/dvc.yaml:make@01_a",
        f"{folder}/dvc.yaml:make@02_b",
        f"{folder}/dvc.yaml:gather",
    }
    made = stages[f"{folder}/dvc.yaml:make@01_a"]
    assert (made.name, made.item, made.command) == ("make", "01_a", "python make.py 01_a")
    assert [d.path for d in made.dependencies] == [f"{folder}/make.py", "raw/01_a"]
    assert made.dependencies[1].version == Version("a" * 32 + ".dir", 8, 2)
    assert made.dependencies[0].version is None
    assert set(made.parameters) == {
        Parameter(f"{folder}/params.yaml", "threshold", 7, 5),
        Parameter(f"{folder}/params.yaml", "nested.value", True, None),
        Parameter(f"{folder}/other.yaml", "size", 1.5, None),
    }
    out, metrics = made.outputs
    assert (out.path, out.version, out.is_cached) == (
        f"{folder}/out/01_a",
        Version("b" * 32, 3),
        True,
    )
    assert (metrics.path, metrics.metric, metrics.is_cached) == (
        f"{folder}/metrics/01_a.json",
        True,
        False,
    )
    assert stages[f"{folder}/dvc.yaml:make@02_b"].outputs[0].version is None
    gathered = stages[f"{folder}/dvc.yaml:gather"]
    assert gathered.command == "ls out > list.txt\nwc -l list.txt"
    assert (gathered.item, gathered.is_frozen) == (None, True)
    assert gathered.description == "Puts everything together"
    (listed,) = gathered.outputs
    assert (listed.description, listed.is_persistent) == ("What there is", True)
    (template,) = registry.templates
    assert template.items == ("01_a", "02_b")
    assert template.stage.outputs[0].path == f"{folder}/out/{ITEM}"
    (dataset,) = registry.datasets
    assert (dataset.name, dataset.collections_file) == ("ds", f"{folder}/collections.yaml")


def test_a_broken_pipeline_is_a_problem_with_its_place_and_the_rest_is_read(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bare)
    write_tree(
        bare,
        {
            "good/dvc.yaml": "stages:\n  make:\n    cmd: echo > out\n    outs: [out]\n",
            "bad/dvc.yaml": "stages:\n  make:\n    cmd: echo\n    outs: [out\n",
            "worse/dvc.yaml": "stages:\n  make:\n    cmdd: echo\n",
            "raw/01_a.dvc": "outs:\n- md5: d41d8cd98f00b204e9800998ecf8427e\n  path: 01_a\n",
            "raw/02_b.dvc": "outs:\n- md5: [\n",
        },
    )
    registry = read_registry(bare)
    assert [stage.address for stage in registry.stages] == ["good/dvc.yaml:make"]
    assert [raw.name for raw in registry.raw] == ["01_a"]
    problems = sorted(registry.problems)
    assert [problem.partition(" ")[0] for problem in problems] == [
        "bad/dvc.yaml:5:",
        "raw/02_b.dvc:3:",
        "worse/dvc.yaml:3:",
    ]
    assert all(len(problem.splitlines()) == 1 for problem in problems)


def test_the_place_of_a_problem_does_not_depend_on_the_working_directory(bare: Path) -> None:
    write_tree(bare, {"bad/dvc.yaml": "stages:\n  make:\n    cmd: [\n"})
    (problem,) = read_registry(bare).problems
    assert problem.startswith("bad/dvc.yaml:4: ")


def test_a_problem_with_the_schema_says_what_and_where(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bare)
    write_tree(bare, {"bad/dvc.yaml": "stages:\n  make:\n    cmdd: echo\n"})
    (problem,) = read_registry(bare).problems
    assert problem.startswith("bad/dvc.yaml:3: ")
    assert "cmdd" in problem


def test_a_date_among_the_parameters_is_a_problem_and_the_rest_is_read(bare: Path) -> None:
    write_tree(
        bare,
        {
            "bad/dvc.yaml": "stages:\n  make:\n    cmd: echo > out\n    outs: [out]\n",
            "bad/params.yaml": "since: 2021-10-16\n",
            "good/dvc.yaml": "stages:\n  make:\n    cmd: echo > out\n    outs: [out]\n",
        },
    )
    registry = read_registry(bare)
    (problem,) = registry.problems
    assert problem.startswith("bad/dvc.yaml: ")
    assert [stage.address for stage in registry.stages] == ["good/dvc.yaml:make"]


def test_a_missing_list_of_collections_is_a_problem_and_the_rest_is_read(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bare)
    write_tree(
        bare,
        {
            "processed/ds/dvc.yaml": PIPELINE,
            "good/dvc.yaml": "stages:\n  make:\n    cmd: echo > out\n    outs: [out]\n",
        },
    )
    registry = read_registry(bare)
    (problem,) = registry.problems
    assert problem.startswith("processed/ds/dvc.yaml: ")
    assert "collections" in problem
    assert [stage.address for stage in registry.stages] == ["good/dvc.yaml:make"]


def test_an_empty_list_of_collections_still_gives_the_templates(text_registry: Path) -> None:
    registry = read_registry(text_registry)
    assert registry.stages == ()
    templates = {template.stage.name: template for template in registry.templates}
    assert set(templates) == {"upper", "count"}
    assert all(template.items == () for template in templates.values())
    assert [output.path for output in templates["count"].stage.outputs] == [
        f"processed/texts/data/outputs/lines/{ITEM}",
        f"processed/texts/data/outputs/names/{ITEM}",
    ]
    assert [parameter.value for parameter in templates["upper"].stage.parameters] == [1]


@pytest.mark.parametrize("item", ["2021_10_16", "01", "1e3", "2021-10-16", "harbour", "yes"])
def test_an_unquoted_collection_is_an_error_with_file_line_and_fix(
    text_registry: Path, item: str
) -> None:
    path = text_registry / "processed/texts/collections.yaml"
    path.write_text(f'collections:\n  - "01_a"\n  - {item}  # the harbour\n')
    with pytest.raises(MetafileError) as caught:
        read_registry(text_registry)
    assert str(caught.value) == (
        f'processed/texts/collections.yaml:3: write the name in quotes: - "{item}"'
    )
    path.write_text(f"collections:\n  - \"01_a\"\n  - '{item}'  # the harbour\n")
    items = {stage.item for stage in read_registry(text_registry).stages}
    assert items == {"01_a", item}


@pytest.mark.parametrize("text", ["collections: [01_a, 02_b]\n", 'collections: ["x", 01_a]\n'])
def test_the_fix_for_a_list_in_one_line_names_the_item(text_registry: Path, text: str) -> None:
    (text_registry / "processed/texts/collections.yaml").write_text(text)
    with pytest.raises(MetafileError, match=r':1: write the name in quotes: - "01_a"$'):
        read_registry(text_registry)


def test_lists_of_collections_are_checked_wherever_a_pipeline_is(bare: Path) -> None:
    write_tree(
        bare,
        {
            "elsewhere/dvc.yaml": PIPELINE,
            "elsewhere/collections.yaml": "collections:\n  - 2021_10_16\n",
        },
    )
    with pytest.raises(MetafileError, match=r"elsewhere/collections\.yaml:2: write the name"):
        read_registry(bare)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('collections: "01_a"\n', "must be a list of quoted names"),
        ("collections:\n  a: 1\n", "must be a list of quoted names"),
        ('collections:\n  - "01_a\n', r"collections\.yaml:\d+: "),
    ],
)
def test_a_list_of_collections_that_is_none_is_an_error(
    text_registry: Path, text: str, message: str
) -> None:
    (text_registry / "processed/texts/collections.yaml").write_text(text)
    with pytest.raises(MetafileError, match=message):
        read_registry(text_registry)


def test_settings_have_defaults_and_can_be_set(tmp_path: Path) -> None:
    assert read_settings(tmp_path) == Settings()
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert read_settings(tmp_path) == Settings()
    (tmp_path / "pyproject.toml").write_text(
        "[tool.registry_assets]\nfamilies = ['photos/*']\nsettle_seconds = 2\n"
    )
    assert read_settings(tmp_path) == Settings(families=("photos/*",), settle_seconds=2.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("settle_secs = 3", r"has no setting settle_secs.*families, settle_seconds"),
        ("families = 'raw/*'", r"families must be a list of patterns that end in /\*"),
        ("families = ['raw']", r"families must be a list of patterns that end in /\*"),
        ("families = [1]", r"families must be a list of patterns that end in /\*"),
        ("families = ['/*']", r"families must be"),
        ("families = ['/data/raw/*']", r"families must be"),
        ("families = ['../raw/*']", r"families must be"),
        ("settle_seconds = '3'", "settle_seconds must be a number"),
        ("settle_seconds = true", "settle_seconds must be a number"),
        ("settle_seconds = -1", "settle_seconds must be a number"),
        ("settle_seconds = nan", "settle_seconds must be a number"),
        ("git = true", 'git must be "none" or "commit"'),
        ("protected_branches = 'main'", "protected_branches must be a list of names"),
        ("publish_branch = '{date}'", "publish_branch must be the name of a branch"),
        ("settle_seconds = ", r"pyproject\.toml.*line 2"),
    ],
)
def test_a_bad_setting_is_an_error_that_names_the_fix(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.registry_assets]\n{text}\n")
    with pytest.raises(MetafileError, match=message) as caught:
        read_settings(tmp_path)
    assert str(caught.value).startswith("pyproject.toml")


@pytest.mark.parametrize("text", ["tool = 3\n", "[tool]\nregistry_assets = 3\n"])
def test_settings_that_are_no_table_are_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(MetafileError, match="must be a table"):
        read_settings(tmp_path)


def test_a_folder_outside_any_repository_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no DVC repository .*registry init"):
        read_registry(tmp_path)


def test_any_folder_of_the_repository_will_do(text_registry: Path) -> None:
    assert read_registry(text_registry / "processed" / "texts").root == text_registry


def test_families_can_be_declared_elsewhere(bare: Path) -> None:
    write_tree(
        bare,
        {
            "pyproject.toml": "[tool.registry_assets]\nfamilies = ['photos/*/shot/*']\n",
            "photos/x/shot/one.dvc": f"outs:\n- md5: {md5('1')}\n  path: one\n",
            "photos/two.dvc": f"outs:\n- md5: {md5('2')}\n  path: two\n",
        },
    )
    registry = read_registry(bare)
    assert registry.family_folders == ("photos/x/shot",)
    assert registry.family_folder_of("photos/x/shot/one") == "photos/x/shot"
    assert registry.family_folder_of("photos/two") is None


STAGE_NAMES = ("first", "second", "third", "fourth", "fifth")


def test_three_hundred_collections_of_five_stages_are_read(bare: Path) -> None:
    names = [f"{number:03}_collection" for number in range(300)]
    pipeline = ["vars:", "  - collections.yaml", "stages:"]
    lock = ["schema: '2.0'", "stages:"]
    before = "data/inputs"
    for stage in STAGE_NAMES:
        pipeline += [
            f"  {stage}:",
            "    foreach: ${collections}",
            "    do:",
            f"      cmd: python {stage}.py ${{item}}",
            "      deps:",
            f"        - {before}/${{item}}",
            "      outs:",
            f"        - data/{stage}/${{item}}",
        ]
        for name in names:
            lock += [
                f"  {stage}@{name}:",
                f"    cmd: python {stage}.py {name}",
                "    outs:",
                f"    - path: data/{stage}/{name}",
                "      hash: md5",
                f"      md5: {md5(stage + name)}.dir",
                "      size: 1",
                "      nfiles: 1",
            ]
        before = f"data/{stage}"
    files = {
        "processed/ds/dvc.yaml": "\n".join(pipeline) + "\n",
        "processed/ds/dvc.lock": "\n".join(lock) + "\n",
        "processed/ds/collections.yaml": "collections:\n"
        + "".join(f'  - "{name}"\n' for name in names),
    }
    for name in names:
        entry = f"- md5: {md5(name)}.dir\n  size: 1\n  nfiles: 1\n  hash: md5\n  path: {name}\n"
        files[f"raw/{name}.dvc"] = f"outs:\n{entry}"
        files[f"processed/ds/data/inputs/{name}.dvc"] = (
            f"frozen: true\ndeps:\n- path: ../../../../raw/{name}\n  md5: {md5(name)}.dir\n"
            f"  hash: md5\nouts:\n{entry}"
        )
    write_tree(bare, files)
    registry = read_registry(bare)
    assert registry.problems == ()
    assert (len(registry.raw), len(registry.inputs)) == (300, 300)
    assert len(registry.stages) == 1500
    assert [len(template.items) for template in registry.templates] == [300] * 5
    assert len(registry.outputs) == 300 + 300 + 1500
    for stage in STAGE_NAMES:
        output = registry.outputs[f"processed/ds/data/{stage}/299_collection"]
        assert output.version == Version(f"{md5(stage + '299_collection')}.dir", 1, 1)


@pytest.mark.parametrize("path", ["", ".", "/", "a", "a/b/c.dvc", "/a", "/a/b", "..", "../../a"])
def test_the_folders_above_a_path_are_its_parents(path: str) -> None:
    assert list(folders_above(path)) == [str(above) for above in PurePosixPath(path).parents]
