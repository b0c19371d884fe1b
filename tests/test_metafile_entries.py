"""What single entries of metafiles record, read from their text, plain or not."""

from __future__ import annotations

import pytest

from registry_assets.dvc_repo.lock_text import HEADER
from registry_assets.errors import MetafileError
from registry_assets.revisions.changes.metafile_entries import MetafileEntry, split_entries

ONE, TWO = "1" * 31 + "a", "2" * 31 + "b"
DEEP = "data/intermediate/a_name_that_is_so_long_that_yaml_folds_the_line_before_it_begins"


def stage(text: str) -> MetafileEntry:
    (entry,) = split_entries("ds/dvc.lock", HEADER + text).values()
    return entry


def outputs(entry: MetafileEntry) -> dict[str, str]:
    return {path: version.md5 for path, version in entry.read_outputs().items()}


def test_a_stage_names_what_it_made_and_what_of() -> None:
    entry = stage(
        "  clean@01:\n    cmd: make\n    deps:\n    - path: data/in\n      hash: md5\n"
        f"      md5: {ONE}.dir\n      size: 12\n      nfiles: 3\n    params:\n      p.yaml:\n"
        f"        outs: 1\n    outs:\n    - path: \n        {DEEP}\n      hash: md5\n"
        f"      md5: {TWO}\n      size: 5\n"
    )
    (read,) = entry.read_dependencies().values()
    assert (read.md5, read.size, read.nfiles) == (f"{ONE}.dir", 12, 3)
    assert outputs(entry) == {f"ds/{DEEP}": TWO}
    assert entry.find_objects() == {TWO}


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (f"outs:\n- md5: {ONE}\n  hash: md5\n  path: in\n", "raw/in"),
        (f"outs:\n- md5: '{ONE}'\n  path: in\n", "raw/in"),
        (f'outs:\n- md5: {ONE}\n  path: "it\'s: #1"\n', "raw/it's: #1"),
        (f"outs:\n- path: in\n  md5: {ONE}\n  desc: |\n    md5: {TWO}\n", "raw/in"),
        (f"wdir: ../other\nouts:\n- path: in\n  md5: {ONE}\n", "other/in"),
        (f"outs: [{{path: in, md5: {ONE}}}]\n", "raw/in"),
        (f'{{"outs": [{{"path": "in", "md5": "{ONE}"}}]}}\n', "raw/in"),
        (f"# ours\nouts:\n# it\n- path: in  # here\n  md5: {ONE}\n", "raw/in"),
    ],
)
def test_a_dvc_file_is_read_however_it_is_written(text: str, path: str) -> None:
    (entry,) = split_entries("raw/in: a.dvc", text).values()
    assert outputs(entry) == {path: ONE}
    assert ONE in entry.find_objects()


def test_files_that_storage_keeps_versions_of_are_among_its_objects() -> None:
    text = f"outs:\n- path: in\n  files:\n  - relpath: x\n    md5: {ONE}\n    size: 1\n"
    (entry,) = split_entries("in.dvc", text).values()
    assert outputs(entry) == {}
    assert entry.find_objects() == {ONE}


@pytest.mark.parametrize("path", ["in.dvc", "dvc.lock"])
def test_the_marks_of_a_conflict_are_no_entry(path: str) -> None:
    text = f"{HEADER}  a:\n    cmd: a\n<<<<<<< ours\n=======\n>>>>>>> theirs\n"
    with pytest.raises(MetafileError, match="conflict"):
        split_entries(path, text)


@pytest.mark.parametrize("text", ["outs: [\n", "nothing\n", "outs:\n- x: {\n"])
def test_what_cannot_be_read_is_not_taken_for_empty(text: str) -> None:
    (entry,) = split_entries("in.dvc", text).values()
    with pytest.raises(MetafileError):
        entry.read_outputs()
