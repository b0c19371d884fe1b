"""A registry whose stages workers make."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import commit_all, copy_empty_repository, run, write_tree
from tests.persisting.helpers import copy_with_remote

STAGES = """\
stages:
  upper:
    foreach: ["01_a", "02_b"]
    do:
      desc: Writes every file in capitals
      cmd: python upper.py data/inputs/${item} data/upper/${item}
      deps: [upper.py, "data/inputs/${item}"]
      params: [suffix, {other.yaml: [deep.number]}]
      outs: ["data/upper/${item}"]
  twice:
    cmd: cat data/inputs/01_a/* > twice.txt && cp twice.txt again.txt
    deps: [data/inputs/01_a]
    outs: [twice.txt, again.txt]
  part:
    cmd: cp data/inputs/01_a/one.txt part.txt
    deps: [data/inputs/01_a/one.txt]
    outs: [part.txt]
  around:
    wdir: ..
    cmd: cat texts/data/inputs/*/*.txt | sort > texts/all.txt
    deps: [texts/data/inputs]
    outs: [texts/all.txt]
  measured:
    cmd: python count.py data/inputs/01_a
    deps: [count.py, tables, data/inputs/01_a]
    metrics: [numbers.json: {cache: false}]
    plots: [curve.csv: {cache: false, x: a}]
    outs: [counted]
  plain:
    cmd: cp upper.py plain.txt
    deps: [upper.py]
    outs: [plain.txt: {cache: false}]
  kept:
    cmd: cat data/inputs/02_b/three.txt >> kept.txt
    deps: [data/inputs/02_b]
    outs: [kept.txt: {persist: true}]
  nothing:
    cmd: grep -q one data/inputs/01_a/one.txt
    deps: [data/inputs/01_a]
  raw:
    wdir: ../..
    cmd: ls raw/01_a > processed/texts/listed.txt
    deps: [raw/01_a]
    outs: [processed/texts/listed.txt]
  fails:
    cmd: echo so far && exit 3
    deps: [upper.py]
    outs: [never.txt]
  forgets:
    cmd: "true"
    deps: [upper.py]
    outs: [forgotten.txt]
  slow:
    cmd: echo $$ > $STARTED; sleep 60 & sleep 60
    deps: [upper.py, data/inputs/01_a]
    outs: [later.txt]
"""

UPPER = """\
import pathlib, sys
source, target = map(pathlib.Path, sys.argv[1:])
target.mkdir(parents=True)
for path in sorted(source.iterdir()):
    (target / path.name).write_text(path.read_text().upper())
"""

COUNT = """\
import json, pathlib, sys
files = sorted(pathlib.Path(sys.argv[1]).iterdir())
weight = int(pathlib.Path("tables/weights/first.csv").read_text())
json.dump({"files": len(files) * weight}, open("numbers.json", "w"))
open("curve.csv", "w").write("a,b\\n1,2\\n")
pathlib.Path("counted").mkdir()
for path in files:
    pathlib.Path("counted", path.name).write_text(str(path.stat().st_size))
"""

TEXTS = "processed/texts/dvc.yaml:"


@pytest.fixture(scope="session")
def _sent_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a registry, and its data in the folder `remote` beside it."""
    folder = tmp_path_factory.mktemp("sent")
    root = copy_empty_repository(folder / "registry")
    write_tree(
        root,
        {
            "raw/01_a/one.txt": "one\n",
            "raw/01_a/two.txt": "two\n",
            "raw/01_a/empty.txt": "",
            "raw/02_b/three.txt": "three\n",
            "processed/texts/dvc.yaml": STAGES,
            "processed/texts/upper.py": UPPER,
            "processed/texts/count.py": COUNT,
            "processed/texts/params.yaml": "suffix: 1\n",
            "processed/texts/other.yaml": "deep: {number: [1, 2.5]}\n",
            "processed/texts/tables/weights/first.csv": "2\n",
            ".gitignore": "/processed/texts/tables\n",
        },
    )
    run(root, "dvc", "add", "--quiet", "raw/01_a", "raw/02_b")
    inputs = "processed/texts/data/inputs"
    (root / inputs).mkdir(parents=True)
    for name in ("01_a", "02_b"):
        run(root, "dvc", "import-url", "--quiet", f"raw/{name}", f"{inputs}/{name}")
    run(root, "dvc", "remote", "add", "--quiet", "--default", "store", str(folder / "remote"))
    run(root, "dvc", "push", "--quiet")
    return folder


@pytest.fixture
def registry(_sent_registry: Path, tmp_path: Path) -> Path:
    """A committed registry with its data pushed to the folder `remote`, on this machine."""
    root = copy_with_remote(_sent_registry, tmp_path)
    commit_all(root)
    return root


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where workers of this machine work."""
    return tmp_path / "work"
