"""The same collections through our code and through the `dvc` command line: the same bytes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tests.conftest import run, write_tree
from tests.persisting.helpers import (
    INPUTS,
    LINES,
    RAW,
    UPPER,
    build_repository,
    copy_repository,
    is_clean,
    leftovers,
    make,
    materialize,
    metafiles,
)

COLLECTIONS = 'collections:\n  - "01_a"\n  - "02_b"\n'


def dvc_takes_in(root: Path, *names: str) -> None:
    run(root, "dvc", "add", "--quiet", *(f"raw/{name}" for name in names))
    inputs = "processed/texts/data/inputs"
    (root / inputs).mkdir(parents=True, exist_ok=True)
    for name in names:
        run(root, "dvc", "import-url", "--quiet", f"raw/{name}", f"{inputs}/{name}")


def test_two_versions_of_two_collections(text_registry: Path, tmp_path: Path) -> None:
    ours, theirs = text_registry, copy_repository(text_registry, tmp_path / "theirs")
    write_tree(theirs, {"processed/texts/collections.yaml": COLLECTIONS})
    dvc_takes_in(theirs, "01_a", "02_b")
    for name in ("01_a", "02_b"):
        for key in (RAW, INPUTS):
            assert materialize(ours, key, name).outcome == "recorded"
    for name in ("01_a", "02_b"):
        for key in (UPPER, LINES):
            assert materialize(ours, key, name).outcome == "ran"
    # In our order: DVC appends entries as they come.
    names = [f"{stage}@{name}" for name in ("01_a", "02_b") for stage in ("upper", "count")]
    stages = [f"processed/texts/dvc.yaml:{name}" for name in names]
    run(theirs, "dvc", "repro", "--quiet", "--single-item", *stages)
    assert metafiles(ours) == metafiles(theirs)
    assert len(metafiles(ours)) >= 8

    for root in (ours, theirs):
        # Files are linked and read-only: they are replaced, not written to.
        (root / "raw/01_a/one.txt").unlink()
        write_tree(root, {"raw/01_a/one.txt": "one, again\n", "raw/01_a/new.txt": "new\n"})
        (root / "raw/01_a/new.txt").chmod(0o755)
        (root / "raw/01_a/two.txt").unlink()
    for key in (RAW, INPUTS, UPPER, LINES):
        materialize(ours, key, "01_a")
    run(theirs, "dvc", "add", "--quiet", "raw/01_a")
    run(theirs, "dvc", "update", "--quiet", "processed/texts/data/inputs/01_a.dvc")
    run(theirs, "dvc", "repro", "--quiet", "processed/texts/dvc.yaml:count@01_a")
    assert metafiles(ours) == metafiles(theirs)
    assert is_clean(ours)
    assert leftovers(ours) == []


def test_single_files_as_collections(text_registry: Path, tmp_path: Path) -> None:
    write_tree(text_registry, {"raw/notes.txt": "words\n", "raw/run.sh": "true\n"})
    (text_registry / "raw/run.sh").chmod(0o755)
    ours, theirs = text_registry, copy_repository(text_registry, tmp_path / "theirs")
    dvc_takes_in(theirs, "notes.txt", "run.sh")
    for name in ("notes.txt", "run.sh"):
        for key in (RAW, INPUTS):
            assert materialize(ours, key, name).outcome == "recorded"
    assert metafiles(ours) == metafiles(theirs)


def test_remarks_and_descriptions_in_metafiles_stay(text_registry: Path, tmp_path: Path) -> None:
    ours, theirs = text_registry, copy_repository(text_registry, tmp_path / "theirs")
    dvc_takes_in(theirs, "01_a")
    for key in (RAW, INPUTS):
        materialize(ours, key, "01_a")
    for root in (ours, theirs):
        for folder in ("raw", "processed/texts/data/inputs"):
            path = root / folder / "01_a.dvc"
            path.write_text(
                f"# where it was shot\n{path.read_text()}desc: a harbour\nmeta:\n  by: us # two\n"
            )
        write_tree(root, {"raw/01_a/three.txt": "three\n"})
    for key in (RAW, INPUTS):
        assert materialize(ours, key, "01_a").outcome == "recorded"
    run(theirs, "dvc", "add", "--quiet", "raw/01_a")
    run(theirs, "dvc", "update", "--quiet", "processed/texts/data/inputs/01_a.dvc")
    assert metafiles(ours) == metafiles(theirs)
    for folder in ("raw", "processed/texts/data/inputs"):
        assert "# where it was shot" in (ours / folder / "01_a.dvc").read_text()


PIPELINES = {
    "a file": "cmd: cat in.txt > out\ndeps: [in.txt]\nouts: [out]",
    "a folder": "cmd: mkdir -p out/sub && cp in.txt out/sub\ndeps: [in.txt]\nouts: [out]",
    "an empty folder": "cmd: mkdir out\ndeps: [in.txt]\nouts: [out]",
    "an executable": "cmd: cp in.txt out && chmod +x out\ndeps: [in.txt]\nouts: [out]",
    "persist": "cmd: cat in.txt >> out\ndeps: [in.txt]\nouts: [{out: {persist: true}}]",
    "persisting folder": (
        "cmd: mkdir -p out && cat in.txt >> out/all\ndeps: [in.txt]\nouts: [{out: {persist: true}}]"
    ),
    "no cache": "cmd: cat in.txt > out\ndeps: [in.txt]\nouts: [{out: {cache: false}}]",
    "cached and not": (
        "cmd: cat in.txt > out; cat in.txt > two\ndeps: [in.txt]\n"
        "outs: [two, {out: {cache: false}}]"
    ),
    "not to be pushed": "cmd: cat in.txt > out\ndeps: [in.txt]\nouts: [{out: {push: false}}]",
    "described": (
        "desc: copies\ncmd: cat in.txt > out\ndeps: [in.txt]\n"
        "outs: [{out: {desc: a copy, type: text, labels: [a], meta: {b: 1}}}]"
    ),
    "metrics": (
        'cmd: echo "{\\"n\\":$(wc -c < in.txt)}" | tee cached.json > out\ndeps: [in.txt]\n'
        "metrics: [cached.json, {out: {cache: false}}]"
    ),
    "plots": (
        "cmd: (echo x,y; cat in.txt) | tee cached.csv > out\ndeps: [in.txt]\n"
        "plots: [{cached.csv: {x: x, y: y, title: A plot}}, {out: {cache: false}}]"
    ),
    "parameters": (
        "cmd: cat params.yaml other.json third.toml > out\ndeps: [in.txt]\n"
        "params: [b, a.deep, {other.json: [list, none]}, {third.toml: }]\nouts: [out]"
    ),
    "only parameters": "cmd: cat params.yaml > out\nparams: [b]\nouts: [out]",
    "nothing to read": "cmd: echo made > out\nouts: [out]",
    "several commands": (
        "cmd:\n- cat in.txt > out\n- cat in.txt >> out\n- echo done\ndeps: [in.txt]\nouts: [out]"
    ),
    "several lines": "cmd: |\n  cat in.txt > out\n  cat in.txt >> out\ndeps: [in.txt]\nouts: [out]",
    "a long command": (
        f"cmd: cat in.txt > out && echo {'word ' * 40}\ndeps: [in.txt]\nouts: [out]"
    ),
    "a working folder": (
        "wdir: elsewhere\ncmd: cat ../in.txt > out\ndeps: [../in.txt]\n"
        "params: [../params.yaml:]\nouts: [out, ../out]"
    )
    .replace("params: [../params.yaml:]\n", "")
    .replace("[out, ../out]", "[out]"),
    "always changed": ("cmd: cat in.txt > out\ndeps: [in.txt]\nouts: [out]\nalways_changed: true"),
    "a folder to read": "cmd: ls folder > out\ndeps: [folder]\nouts: [out]",
    "odd names": "cmd: cat in.txt > 'out ä'\ndeps: [in.txt]\nouts: ['out ä']",
}
FILES = {
    "in.txt": "1,2\n",
    "params.yaml": "b: 1e-5\na:\n  deep: [1, {x: null}]\n  other: 2\n",
    "other.json": '{"list": [1, 2.5, "three"], "none": null}',
    "third.toml": 'name = "x"\n[table]\nkey = true\n',
    "elsewhere/keep": "",
    "folder/b": "",
    "folder/a": "",
}
CHANGES = {
    "in.txt": "3,4\n",
    "params.yaml": "b: 2\na:\n  deep: text\n",
    "other.json": '{"list": [], "none": {"a": 1}}',
    "third.toml": 'name = "y"\n',
    "folder/c": "",
}


FROZEN = "cmd: cat in.txt > out\ndeps: [in.txt]\nouts: [{out: {cache: %s}}]"
STAGES = {
    **PIPELINES,
    "frozen": FROZEN % "true",
    "frozen and not cached": FROZEN % "false",
}


def test_stages_of_every_kind(tmp_path: Path) -> None:
    folders = {kind.replace(" ", "_"): text for kind, text in STAGES.items()}
    files = {f"{folder}/{name}": text for folder in folders for name, text in FILES.items()}
    # Each its own content, or one would find the results of another in the run cache.
    files.update((f"{folder}/in.txt", f"1,{n}\n") for n, folder in enumerate(folders))
    files.update((f"{folder}/dvc.yaml", stage_file(text)) for folder, text in folders.items())
    changes = {f"{folder}/{name}": text for folder in folders for name, text in CHANGES.items()}
    changes.update((f"{folder}/in.txt", f"2,{n}\n") for n, folder in enumerate(folders))
    changes.update(
        (f"{folder}/dvc.yaml", stage_file(f"{text}\nfrozen: true"))
        for folder, text in folders.items()
        if folder.startswith("frozen")
    )
    ours = build_repository(tmp_path / "ours", files)
    theirs = copy_repository(ours, tmp_path / "theirs")

    assert set(make_all(ours, folders).values()) == {"ran"}
    run(theirs, "dvc", "repro", "--quiet", "--all-pipelines")
    assert metafiles(ours) == metafiles(theirs)

    for root in (ours, theirs):
        write_tree(root, changes)
    outcomes = make_all(ours, folders)
    run(theirs, "dvc", "repro", "--quiet", "--all-pipelines")
    assert metafiles(ours) == metafiles(theirs)
    same = {"frozen", "frozen_and_not_cached", "nothing_to_read"}
    assert {folder for folder, outcome in outcomes.items() if outcome != "ran"} == same

    again = make_all(ours, folders)
    assert again.pop("always_changed") == "ran"
    assert set(again.values()) == {"unchanged"}
    said = run(ours, "dvc", "status")
    assert said.split() == ["always_changed/dvc.yaml:make:", "always", "changed"]
    assert said == run(theirs, "dvc", "status")
    assert leftovers(ours) == []


def stage_file(text: str) -> str:
    lines = "".join(f"    {line}\n" for line in text.splitlines())
    return f"stages:\n  make:\n{lines}"


def make_all(root: Path, folders: Iterable[str]) -> dict[str, str]:
    return {folder: make(root, f"{folder}/dvc.yaml:make").outcome for folder in folders}


def test_a_second_stage_leaves_the_first_entry_as_dvc_does(tmp_path: Path) -> None:
    names = ["make", "make2", "ma"]
    stages = "".join(
        f"  {name}:\n    cmd: cat in.txt > {name}.txt\n    deps: [in.txt]\n    outs: [{name}.txt]\n"
        for name in names
    )
    ours = build_repository(tmp_path / "ours", {**FILES, "dvc.yaml": f"stages:\n{stages}"})
    theirs = copy_repository(ours, tmp_path / "theirs")
    for changes, order in (({}, names), (CHANGES, names[::-1])):
        for root in (ours, theirs):
            write_tree(root, changes)
        for name in order:
            make(ours, f"dvc.yaml:{name}")
        run(theirs, "dvc", "repro", "--quiet", "--single-item", *order)
        assert metafiles(ours) == metafiles(theirs)
    assert is_clean(ours)
