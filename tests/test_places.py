"""Where a registry can be: what `registry init` accepts works, and the rest is refused at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from registry_assets.cli import main
from registry_assets.errors import RegistryError
from registry_assets.intake.initialising import init_registry
from registry_assets.orchestration.history.opening import open_history
from tests.conftest import run, write_tree


def registry(root: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--root", str(root), *arguments])


@pytest.mark.parametrize(
    "name",
    [
        "-5\" back\\slash it's #1; 50% %2F $HOME $(x)",
        " ~a:b,c@d=e&(f)<g>|h`i` + ü 写真 ",
    ],
)
def test_at_an_unusual_path_everything_works(tmp_path: Path, name: str) -> None:
    root = tmp_path / name
    assert registry(root, "init", "--", str(root)).exit_code == 0
    tree = {"raw/01_a/one.txt": "one\n"}
    for path in (root / "processed").rglob("*"):
        if path.is_file():
            path.unlink()
    tree["processed/texts/dvc.yaml"] = (
        "stages:\n  upper:\n    cmd: wc -c < ../../raw/01_a/one.txt > size\n"
        "    deps: [../../raw/01_a]\n    outs: [size]\n"
    )
    write_tree(root, tree)
    for command in (["add", "01_a"], ["materialize"], ["push"], ["status"], ["lineage", "--check"]):
        done = registry(root, *command)
        assert done.exit_code == 0, done.output
    assert (root / "processed/texts/size").read_text().strip() == "4"
    assert run(root, "dvc", "status", "--quiet") == ""
    run(root, "dvc", "push", "--quiet")
    assert len(list((root / ".dvc/storage").rglob("??/*"))) >= 3
    assert registry(root, "init", str(root)).exit_code == 0


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("who?", "contains `?`"),
        ("[2021]", "contains `[`"),
        ("all*/of it", "contains `*`"),
        ("{x}", "contains `{`"),
        ("two\nlines", "control character '\\n'"),
        ("a\ttab", "control character"),
        (os.fsdecode(b"m\xfcll"), "not valid UTF-8"),
        ("/".join(["long" * 50] * 3), "longer than"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_made(
    tmp_path: Path, name: str, reason: str
) -> None:
    done = registry(tmp_path / name, "init", str(tmp_path / name))
    assert done.exit_code == 1, done.output
    assert reason in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_registry_that_was_moved_to_such_a_place_says_so(bare: Path) -> None:
    place = bare.rename(bare.parent / "who?")
    with pytest.raises(RegistryError, match="no registry can be at"), open_history(place):
        pass


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("My Photos", "My-Photos"),
        ("Fotos übers Jahr", "Fotos-ubers-Jahr"),
        ('5" lens', "5-lens"),
        ("_x_", "x"),
        ("写真", "registry"),
        ("...", "registry"),
        ("a.b-c_d", "a.b-c_d"),
    ],
)
def test_the_project_has_a_name_that_installers_accept(
    tmp_path: Path, folder: str, name: str
) -> None:
    list(init_registry(tmp_path / folder))
    written = (tmp_path / folder / "pyproject.toml").read_text()
    assert f'\nname = "{name}"\n' in written
