"""`registry new`: a second data set that works at once, of a template or like another one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from registry_assets.cli import main
from registry_assets.intake.datasets import TEMPLATES, make_dataset
from registry_assets.registry.reading import read_registry
from tests.conftest import commit_all, lineage_of, run, write_tree
from tests.images.drawing import noise, save
from tests.persisting.helpers import is_clean


def registry(root: Path, *arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(main, ["--root", str(root), *arguments])
    assert done.exit_code == code, done.output
    return done.output


@pytest.mark.parametrize("template", TEMPLATES)
def test_what_a_template_makes_runs_at_once(
    tmp_path: Path, template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "registry"
    registry(root, "init", str(root))
    shutil.rmtree(root / "processed")
    monkeypatch.chdir(root)
    for name in ("01_a", "02_b"):
        save(root / f"raw/{name}/{name}.png", noise(seed=int(name[:2])))
    registry(root, "add", "01_a")
    registry(root, "add", "02_b")
    said = registry(root, "new", "05_mine", "--template", template)
    assert "registry import NAME --into 05_mine" in said
    assert (root / "processed/05_mine/README.md").read_text().startswith("# 05_mine\n")
    registry(root, "import", "01_a", "--into", "05_mine")
    run(root, "dvc", "repro", "processed/05_mine/dvc.yaml")
    assert "2 of 2 collections tracked, " in registry(root, "status")
    registry(root, "import", "02_b", "--into", "05_mine")
    registry(root, "materialize")
    assert is_clean(root)
    made = {
        place.name
        for place in (root / "processed/05_mine/data/outputs").rglob("*.png")
        if place.is_file()
    }
    assert made == {"01_a.png", "02_b.png"}


def test_the_templates_are_listed(bare: Path) -> None:
    said = registry(bare, "new")
    assert said == registry(bare, "new", "--list")
    assert [line.split()[0] for line in said.splitlines()] == [*TEMPLATES]


def test_one_like_another_has_its_code_and_none_of_its_data(text_registry: Path) -> None:
    old = text_registry / "processed/texts"
    pipeline = (old / "dvc.yaml").read_text()
    write_tree(
        text_registry,
        {
            "processed/texts/collections.yaml": "# Ours.\nmore: kept\ncollections: []\n",
            "processed/texts/src/paths.py": (
                'A = "processed/texts/params.yaml"\nB = "../texts/params.yaml"\n'
                'C = "texts"\nD = "processed/texts_two"\nE = "my_processed/texts"\n'
            ),
            "processed/texts/run.sh": "cat params.yaml\n",
            "processed/texts/notes/a.md": "See processed/texts. And ../texts/notes.\n",
            "processed/texts/secret.env": "x\n",
            "processed/texts/src/__pycache__/paths.pyc": "x\n",
            "processed/texts/.DS_Store": "x\n",
            ".gitignore": "*.env\n/.dagster/\n.env\n",
        },
    )
    (old / "model.bin").write_bytes(b"\xff\xfe processed/texts")
    (old / "run.sh").chmod(0o755)
    run(text_registry, "mv", "raw/02_b", "..")
    registry(text_registry, "materialize", "--collection", "01_a")
    commit_all(text_registry)
    run(text_registry, "mv", "../02_b", "raw")
    said = registry(text_registry, "new", "texts_too", "--like", "texts")
    assert "texts_too/src/paths.py: changed 2 paths to processed/texts_too" in said
    new = text_registry / "processed/texts_too"
    assert sorted(p.relative_to(new).as_posix() for p in new.rglob("*") if p.is_file()) == [
        "collections.yaml",
        "dvc.yaml",
        "model.bin",
        "notes/a.md",
        "params.yaml",
        "run.sh",
        "src/paths.py",
        "upper.py",
    ]
    assert (new / "dvc.yaml").read_text() == pipeline
    assert (new / "collections.yaml").read_text() == "# Ours.\nmore: kept\ncollections: []\n"
    assert (new / "src/paths.py").read_text() == (
        'A = "processed/texts_too/params.yaml"\nB = "../texts_too/params.yaml"\n'
        'C = "texts"\nD = "processed/texts_two"\nE = "my_processed/texts"\n'
    )
    assert (new / "notes/a.md").read_text() == (
        "See processed/texts_too. And ../texts_too/notes.\n"
    )
    assert (new / "model.bin").read_bytes() == b"\xff\xfe processed/texts"
    assert (new / "run.sh").stat().st_mode & 0o777 == 0o755
    registry(text_registry, "materialize", "--collection", "02_b")
    assert is_clean(text_registry)
    paths = lineage_of(text_registry).nodes
    assert "processed/texts_too/data/outputs/names/02_b" in paths
    assert "processed/texts_too/data/outputs/names/01_a" not in paths
    # The same code makes the same of the same.
    made = "data/intermediate/upper/02_b"
    assert run(text_registry, "diff", "-r", f"processed/texts/{made}", str(new / made)) == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["texts"], "processed/texts exists already"),
        (["a b"], "'a b' cannot be the name of a data set"),
        (["../up"], "'../up' cannot be the name of a data set"),
        (["more", "--like", "nothing"], "there is no data set nothing: choose one of texts"),
        (["more", "--template", "nothing"], "choose one of quality_and_light, bare"),
        (["hidden"], ".gitignore"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_is_made(
    text_registry: Path, arguments: list[str], said: str
) -> None:
    write_tree(text_registry, {"processed/.gitignore": "/hidden\n"})
    before = sorted((text_registry / "processed").rglob("*"))
    assert said in registry(text_registry, "new", *arguments, code=1)
    assert sorted((text_registry / "processed").rglob("*")) == before


@pytest.mark.parametrize("arguments", [["--template", "bare"], ["--like", "texts"]])
def test_what_was_killed_is_finished_by_the_same_again(
    text_registry: Path, arguments: list[str]
) -> None:
    registry(text_registry, "new", "more", *arguments)
    place = text_registry / "processed/more"
    whole = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    unfinished = text_registry / ".dvc/tmp/more.making"
    place.rename(unfinished)
    (unfinished / "dvc.yaml").unlink()
    (unfinished / "collections.yaml").write_bytes(whole[place / "collections.yaml"][:5])
    place.mkdir()
    registry(text_registry, "new", "more", *arguments)
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == whole
    assert not unfinished.exists()
    (place / "dvc.yaml").unlink()
    assert "exists already" in registry(text_registry, "new", "more", *arguments, code=1)


@pytest.mark.parametrize(
    "arguments",
    [["more", "--like", "texts", "--template", "bare"], ["more", "--list"], ["--like", "texts"]],
)
def test_what_does_not_go_together_is_wrong_usage(
    text_registry: Path, arguments: list[str]
) -> None:
    registry(text_registry, "new", *arguments, code=2)


def test_it_goes_where_the_settings_look_for_data_sets(text_registry: Path) -> None:
    project = text_registry / "pyproject.toml"
    text = project.read_text().replace("processed/*/data/inputs/*", "sets/*/in/*")
    project.write_text(text)
    list(make_dataset(read_registry(text_registry), "one", template="bare"))
    assert (text_registry / "sets/one/dvc.yaml").exists()
