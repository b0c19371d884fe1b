"""Metafiles are byte for byte what DVC itself writes."""

from __future__ import annotations

import os
import random
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dvc.dvcfile import Lockfile
from dvc.repo import Repo
from dvc.stage import PipelineStage, create_stage
from dvc.stage.loader import StageLoader
from dvc.stage.serialize import to_lockfile
from ruamel.yaml import YAML

from registry_assets.dvc_repo.metafiles import (
    read_entries,
    read_lock_text,
    replace_text,
    splice_entries,
    with_collection,
)
from tests.conftest import seeds

MD5 = "d41d8cd98f00b204e9800998ecf8427e"


class Twin:
    """A `dvc.lock` that DVC writes, and the text that we make of the same entries."""

    def __init__(self, repo: Repo, path: Path) -> None:
        self.repo = repo
        self.path = path
        self.ours = ""

    def start_with(self, text: str) -> None:
        self.path.write_bytes(text.encode())
        # As everything that reads a metafile does: line ends become "\n".
        self.ours = self.path.read_text(encoding="utf-8")

    def write(self, name: str, **entry: Any) -> None:
        stage = build_stage(self.repo, name, **entry)
        Lockfile(self.repo, str(self.path)).dump_stages([stage])
        self.ours = splice_entries(self.ours, to_lockfile(stage))

    def check(self) -> None:
        assert self.ours.encode() == self.path.read_bytes()
        check_entries(self.ours)


def check_entries(text: str) -> None:
    """Asserts that entries read one by one are those of the whole file."""
    stages = YAML(typ="safe").load(text)["stages"]
    names = [name for name in stages if isinstance(name, str)]
    assert {name: read_entries(text, [name])[name] for name in names} == {
        name: stages[name] for name in names
    }
    assert list(read_entries(text, names[:2])) == names[:2]
    assert read_entries(text, ["nothing", *names[:1]]).keys() == set(names[:1])


def build_stage(
    repo: Repo,
    name: str,
    *,
    cmd: str | list[str] = "true",
    deps: tuple[str, ...] = ("dep",),
    outs: tuple[str, ...] = ("out",),
    params: dict[str, dict[str, Any]] | None = None,
    size: int = 3,
) -> PipelineStage:
    params = params or {}
    stage = create_stage(
        PipelineStage,
        repo=repo,
        path=str(Path(repo.root_dir) / "dvc.yaml"),
        name=name,
        cmd=cmd,
        wdir=repo.root_dir,
        deps=list(deps),
        outs=list(outs),
        params=[{file: list(values)} for file, values in params.items()],
    )
    recorded = {
        "cmd": cmd,
        "deps": [{"path": p, "hash": "md5", "md5": MD5, "size": size} for p in deps],
        "params": params,
        "outs": [
            {"path": p, "hash": "md5", "md5": f"{MD5}.dir", "size": size, "nfiles": 2} for p in outs
        ],
    }
    StageLoader.fill_from_lock(stage, recorded)
    return stage


@pytest.fixture(scope="module")
def _repo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repo]:
    root = tmp_path_factory.mktemp("metafiles")
    repo = Repo.init(str(root), no_scm=True)
    yield repo
    repo.close()


@pytest.fixture
def twin(_repo: Repo, tmp_path: Path) -> Twin:
    return Twin(_repo, tmp_path / "dvc.lock")


def test_the_first_entry_makes_the_file(twin: Twin) -> None:
    twin.write("make")
    twin.check()
    assert twin.ours.startswith("schema: '2.0'\nstages:\n  make:\n    cmd: 'true'\n")


def test_entries_are_appended_in_the_order_they_come(twin: Twin) -> None:
    for name in ("make@b", "make@a", "check"):
        twin.write(name)
        twin.check()


@pytest.mark.parametrize("name", ["one", "two", "three"])
def test_an_entry_is_replaced_where_it_stands(twin: Twin, name: str) -> None:
    for other in ("one", "two", "three"):
        twin.write(other)
    before = twin.ours
    twin.write(name, cmd="other", size=77, outs=("out", "second out"))
    twin.check()
    assert twin.ours != before


def test_an_entry_that_did_not_change_leaves_the_text_alone(twin: Twin) -> None:
    for name in ("one", "two"):
        twin.write(name)
    before = twin.ours
    twin.write("one")
    twin.check()
    assert twin.ours == before


def test_names_that_begin_alike_are_told_apart(twin: Twin) -> None:
    for name in ("make@a", "make@a1", "make", "make@a-1"):
        twin.write(name)
    for name in ("make", "make@a", "make@a1"):
        twin.write(name, size=len(name))
        twin.check()


DATASETS = """\
datasets:
- name: pictures
  type: url
  url: https://example.org/pictures
"""


@pytest.mark.parametrize("name", ["one", "two", "three"])
def test_what_follows_the_stages_stays(twin: Twin, name: str) -> None:
    for other in ("one", "two"):
        twin.write(other)
    twin.start_with(twin.ours + DATASETS)
    twin.write(name, cmd="other")
    twin.check()
    assert twin.ours.endswith(DATASETS)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "schema: '2.0'\nstages: {}\n",
        f"schema: '2.0'\n{DATASETS}stages: {{}}\n",
        'schema: "2.0"\nstages:\n  old:\n    cmd: "x"\n',
        "schema: '2.0'\nstages:\n    old:\n        cmd: x\n",
        "schema: '2.0'\nstages:\n old:\n  cmd: x\n",
        "# a note\nschema: '2.0'\nstages:\n  old:\n    cmd: x\n",
        "schema: '2.0'\nstages:\n# a note\n  old:\n    cmd: x\n",
        "schema: '2.0'\nstages:\n  # a note\n  old:\n    cmd: x\n",
        "schema: '2.0'\nstages:\n  old:\n    cmd: x\n# a note\n  other:\n    cmd: x\n",
        "schema: '2.0'\nstages:\n  old:\n    cmd: x\n# the end\n",
        "schema: '2.0'\nstages:\n  old:   # a note\n    cmd: x\n",
        "schema: '2.0'\nstages:\n  old:\n    cmd: x # a note\n",
        "schema: '2.0'\nstages:\n  'old':\n    cmd: x\n",
        "schema: '2.0'\nstages:\n  \"old\":\n    cmd: x\n",
        "schema: '2.0'\nstages:\n  old: {cmd: x}\n",
        "schema: '2.0'\nstages:\n  ? old\n  : cmd: x\n",
        "schema: '2.0'\nstages:\n  old:\n      cmd:   x\n",
        "schema: '2.0'\nstages:\n  old:\n    cmd: x",
        "schema: '2.0'\nstages:\n  old:\n    cmd: x\n\n\n",
        "schema: '2.0'\nstages:\n\n  old:\n    cmd: x\n\n  other:\n    cmd: x\n",
        "schema: '2.0'\r\nstages:\r\n  old:\r\n    cmd: x\r\n",
        "old:\n  cmd: x\n",
    ],
)
@pytest.mark.parametrize("name", ["old", "new"])
def test_a_file_in_another_shape_is_written_as_dvc_writes_it(
    twin: Twin, text: str, name: str
) -> None:
    twin.start_with(text)
    twin.write(name, cmd="other")
    twin.check()
    stages = YAML(typ="safe").load(twin.ours)["stages"]
    assert stages[name]["cmd"] == "other"
    assert ("old" in stages) == ("old" in text and not text.startswith("old")) or name == "old"


def test_a_stages_section_without_entries_is_filled(twin: Twin) -> None:
    # DVC itself stumbles over this one.
    assert "\n  new:\n    cmd: 'true'\n" in splice_entries(
        "schema: '2.0'\nstages:\n", to_lockfile(build_stage(twin.repo, "new"))
    )


def test_entries_at_once_are_those_that_dvc_writes_one_by_one(twin: Twin) -> None:
    for name in ("b", "d", "g"):
        twin.write(name, cmd=f"first {name}")
    before = twin.ours
    names = ["e", "d", "a", "h", "c", "other"]
    entries = {}
    for name in names:
        twin.write(name, cmd=f"second {name}")
        entries |= to_lockfile(build_stage(twin.repo, name, cmd=f"second {name}"))
    assert splice_entries(before, entries) == twin.ours
    twin.check()
    ordered = splice_entries(before, entries, order=["a", "c", "e", "h"])
    assert list(read_lock_text(ordered).entries) == ["b", "d", "g", "a", "c", "e", "h", "other"]
    ordered = splice_entries(before, entries, order=list("abcdefgh"))
    assert list(read_lock_text(ordered).entries) == [*"abcdegh", "other"]
    check_entries(ordered)
    assert read_entries(ordered, [*names, "not there"]) == {
        name: dict(entry) for name, entry in entries.items()
    }


COMMANDS: list[str | list[str]] = [
    "python train.py",
    "python src/prepare.py " + " ".join(f"--option-{n}=value{n}" for n in range(30)),
    "x" * 300,
    "first --flag\nsecond\n",
    "trailing space ",
    "echo 'single' \"double\" `back` $HOME # no comment",
    "key: value",
    "- dash",
    "tab\there",
    "grüße 写真 📷 > out",
    "",
    ["one", "two with spaces " * 10, "three: 3"],
    ["only"],
]
NAMES = [
    "make",
    "make@01_a",
    "make@a b",
    "make@it's",
    'make@"quoted"',
    "make@bär",
    "make@写真",
    "make@a: b",
    "make@#1",
    "1e3",
    "2021_10_16",
    "2021-10-16",
    "null",
    "yes",
    "~",
    "make@" + "long" * 40,
    "make@\t",
    "make@a\\b",
    "- make",
    "make@📷",
]
VALUES: list[Any] = [
    1,
    -2.5,
    1e-05,
    1e20,
    0.1 + 0.2,
    True,
    None,
    "text",
    "1",
    "multi\nline\n",
    "long words " * 20,
    [1, "a", [2, 3]],
    [],
    {},
    {"b": 1, "a": {"c": [{"d": None}]}},
    "",
    " ",
    "2021-10-16",
    float("inf"),
]
PATHS = ["data", "data/a b", "data/it's", "data/bär", "data/#1", "data/a: b", "写真/📷", "d" * 200]


@pytest.mark.parametrize("command", [c for c in COMMANDS if c], ids=lambda c: str(c)[:20])
def test_commands_of_every_kind(twin: Twin, command: str | list[str]) -> None:
    twin.write("before")
    twin.write("make", cmd=command)
    twin.write("after")
    twin.check()
    twin.write("make", cmd=command, size=9)
    twin.check()


@pytest.mark.parametrize("name", NAMES)
def test_names_of_every_kind(twin: Twin, name: str) -> None:
    twin.write("before")
    twin.write(name)
    twin.write("after")
    twin.check()
    twin.write(name, size=9)
    twin.check()


def test_values_that_stand_twice_in_an_entry_are_named_as_dvc_names_them(twin: Twin) -> None:
    shared = {"width": 640}
    twin.write("one", params={"params.yaml": {"a": shared, "b": shared}})
    twin.write("two", params={"params.yaml": {"a": shared, "b": shared}})
    twin.check()
    assert "*id002" in twin.ours


@pytest.mark.parametrize("seed", seeds("0-7"))
def test_any_entries_in_any_order(twin: Twin, seed: int) -> None:
    chance = random.Random(seed)
    names = chance.sample(NAMES, 5)
    twin.start_with(chance.choice(["", "", DATASETS]))
    for _ in range(8):
        twin.write(
            chance.choice(names),
            cmd=chance.choice([c for c in COMMANDS if c]),
            deps=tuple(f"in/{path}" for path in chance.sample(PATHS, chance.randint(0, 3))),
            outs=tuple(f"out/{path}" for path in chance.sample(PATHS, chance.randint(1, 3))),
            params={
                file: {f"key{n}": value for n, value in enumerate(chance.sample(VALUES, 3))}
                for file in chance.sample(["params.yaml", "other.json", "a.toml"], 2)
            },
            size=chance.randint(0, 10**12),
        )
        twin.check()


def test_a_collection_is_listed_once_and_the_rest_stays() -> None:
    text = """\
# What this data set has taken in
collections:
  - "01_a" # the first one
  # a remark
  - '02_b'
other: "quoted" # kept
long: a plain value that goes on and on, and is longer than eighty characters, to see it folded
"""
    once = with_collection(text, "03_c")
    added = [line for line in once.splitlines() if line not in text.splitlines()]
    assert added == ['  - "03_c"']
    assert [line for line in once.splitlines() if line not in added] == text.splitlines()
    assert with_collection(once, "03_c") == once
    assert with_collection(text, "01_a") == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# only a note\n",
        "collections: []\n",
        "# above\ncollections: [] # beside\n# below\n",
        "collections:\n",
        "# above\ncollections: # beside\n",
        "other: 1\n",
        "---\ncollections: []\n",
    ],
)
def test_the_first_collection_of_a_list(text: str) -> None:
    once = with_collection(text, "2021_10_16")
    assert YAML(typ="safe").load(once)["collections"] == ["2021_10_16"]
    assert '- "2021_10_16"' in once
    for note in ("# only a note", "# above", "# beside", "# below"):
        assert once.count(note) == text.count(note)
    twice = with_collection(once, "01")
    assert YAML(typ="safe").load(twice)["collections"] == ["2021_10_16", "01"]
    assert with_collection(twice, "2021_10_16") == twice
    for note in ("# only a note", "# above", "# beside", "# below"):
        assert twice.count(note) == text.count(note)


def test_a_plain_list_grows_as_any_other_one() -> None:
    names = ["02_b", "01-a", "x.y_z", "0", "true"]
    plain = noted = ""
    for name in names:
        plain = with_collection(plain, name)
        noted = with_collection(noted or "# noted\n", name)
    assert noted == f"# noted\n{plain}"
    assert YAML(typ="safe").load(plain)["collections"] == names
    assert with_collection(plain, "0") == plain


@pytest.mark.parametrize("text", ["collections:\n- '01_a'\n- '02_b'\n", "collections: ['01_a']\n"])
def test_other_shapes_of_a_list_are_understood(text: str) -> None:
    once = with_collection(text, "03_c")
    expected = [*YAML(typ="safe").load(text)["collections"], "03_c"]
    assert YAML(typ="safe").load(once)["collections"] == expected
    assert "'01_a'" in once


def test_a_replaced_file_keeps_its_mode_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "dvc.lock"
    replace_text(path, "old: ä\n")
    path.chmod(0o640)
    replace_text(path, "new: 写真\n")
    assert path.read_bytes() == "new: 写真\n".encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(path.parent) == ["dvc.lock"]


def test_a_new_file_gets_the_mode_that_any_new_file_gets(tmp_path: Path) -> None:
    (tmp_path / "usual").write_text("")
    replace_text(tmp_path / "ours", "")
    modes = {(tmp_path / name).stat().st_mode for name in ("usual", "ours")}
    assert len(modes) == 1


def test_text_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "dvc.lock"
    replace_text(path, "old\n")
    with pytest.raises(UnicodeEncodeError):
        replace_text(path, "new \ud800\n")
    assert path.read_text() == "old\n"
    assert os.listdir(tmp_path) == ["dvc.lock"]


def test_a_reader_sees_the_old_text_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "dvc.lock"
    texts = [f"{letter * 500_000}\n" for letter in "ab"]
    replace_text(path, texts[0])
    with path.open() as reader:
        half = reader.read(1000)
        replace_text(path, texts[1])
        assert half + reader.read() == texts[0]
    assert path.read_text() == texts[1]
