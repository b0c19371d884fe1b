"""What is new is held against everything declared, whether or not DVC has to be asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry_assets.dvc_repo import DvcRepo
from registry_assets.errors import DvcError
from tests.conftest import run, write_tree
from tests.persisting.helpers import build_repository, is_clean

APART = {
    "a/dvc.yaml": "vars: [{names: [x]}]\nstages:\n  s:\n    foreach: ${names}\n    do:\n"
    "      cmd: mkdir out-${item} && touch out-${item}/y\n      outs: ['out-${item}']\n",
    "b/dvc.yaml": "stages:\n  t:\n    cmd: touch n\n    outs:\n      - n: {cache: false}\n",
    "c.dvc": "outs:\n- path: c\n",
}
OVERLAPPING = {
    "an output of a stage": "    outs: [../raw/new]\n",
    "an output with settings": "    outs:\n      - ../raw/new/sub:\n          persist: true\n",
    "a metric": "    metrics:\n      - ../raw/new/m.json:\n          cache: false\n",
    "a folder above": "    wdir: ..\n    outs: [raw]\n",
    "a template": "    outs: ['../raw/${name}']\n",
    "a template in the working directory": "    wdir: ../${folder}\n    outs: [new]\n",
    "a name put together": "    outs: ['../raw/n${end}/']\n",
}
VARIABLES = "vars: [{name: new, folder: raw, end: ew}]\n"


def track(root: Path, path: str) -> None:
    dvc = DvcRepo(root)
    with dvc.tracking(path, report=lambda _line: None) as pending:
        pending.persist()


def test_what_overlaps_with_a_declaration_is_refused(tmp_path: Path) -> None:
    root = build_repository(tmp_path / "repository", APART)
    write_tree(root, {"raw/new/sub/1.txt": "1\n"})
    for name, outs in OVERLAPPING.items():
        write_tree(root, {"d/dvc.yaml": f"{VARIABLES}stages:\n  s:\n    cmd: 'true'\n{outs}"})
        with pytest.raises(DvcError, match=r"overlap|already specified|is in an output"):
            track(root, "raw/new")
        assert not (root / "raw/new.dvc").exists(), name
    (root / "d/dvc.yaml").unlink()
    write_tree(root, {"raw/old.dvc": "outs:\n- path: new/sub\n"})
    with pytest.raises(DvcError, match="overlap"):
        track(root, "raw/new")


def test_what_lies_apart_is_taken_as_dvc_takes_it(tmp_path: Path) -> None:
    root = build_repository(tmp_path / "repository", APART)
    write_tree(root, {"raw/new/1.txt": "1\n"})
    (root / "c.dvc").unlink()
    track(root, "raw/new")
    ours = (root / "raw/new.dvc").read_text()
    run(root, "dvc", "repro", "--quiet", "a/dvc.yaml", "b/dvc.yaml")
    assert is_clean(root)
    run(root, "dvc", "add", "--quiet", "raw/new")
    assert (root / "raw/new.dvc").read_text() == ours


def test_a_broken_metafile_elsewhere_leaves_the_question_to_dvc(tmp_path: Path) -> None:
    root = build_repository(tmp_path / "repository", {"x.dvc": "outs: 1\n"})
    write_tree(root, {"raw/new/1.txt": "1\n"})
    with pytest.raises(DvcError):
        track(root, "raw/new")
