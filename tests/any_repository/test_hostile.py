"""A branch that a stranger made: looking at it and checking it out touches nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.any_repository.looking import registry, write_repository
from tests.conftest import commit_all, run

VICTIM = "not theirs\n"


def put(cache: Path, data: bytes, suffix: str = "") -> str:
    """Puts an object into a cache, as a stranger's remote has it; returns its name."""
    md5 = hashlib.md5(data).hexdigest() + suffix
    place = cache / md5[:2] / md5[2:]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    place.chmod(0o444)
    return md5


def put_listing(cache: Path, entries: Mapping[str, str]) -> str:
    files = [{"md5": md5, "relpath": name} for name, md5 in entries.items()]
    return put(cache, json.dumps(files).encode(), ".dir")


def outside(root: Path) -> dict[str, str]:
    """All that lies beside a repository."""
    return {p.name: p.read_text() for p in root.parent.iterdir() if p.is_file()}


def check_that_it_is_harmless(root: Path, branch: Mapping[str, str], name: str = "theirs") -> str:
    """Commits files to a branch, and looks at it as people do; returns what is said."""
    (root.parent / "victim").write_text(VICTIM)
    before = outside(root)
    run(root, "git", "checkout", "--quiet", "-b", name)
    for path, text in branch.items():
        (root / path).write_text(text)
    commit_all(root)
    run(root, "git", "checkout", "--quiet", "main")
    said = ""
    for command in (["diff", "main", name, "--files"], ["checkout", name], ["status"]):
        said += registry(root, *command).output
    assert outside(root) == before
    assert "this should not happen" not in said
    assert registry(root, "checkout", "main").exit_code == 0
    return said


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_repository(tmp_path / "root", {"a.txt": "a\n"}, added=["a.txt"])


OUT = "outs:\n- md5: {}\n  hash: md5\n  path: {}\n"
EMPTY = "d41d8cd98f00b204e9800998ecf8427e"
THERE = "../../../../../victim"
"""The way from where the cache would have the object of that name."""


def test_listings_lead_to_no_file_outside_of_their_folder_and_to_no_object_elsewhere(
    root: Path,
) -> None:
    names = ("../../escaped", "../victim", "", "a//b", "./c", "a\0b", "../../.git/hooks/push")
    metafiles = {}
    for number, name in enumerate(names):
        for folder, cache in (("new", ".dvc/cache/files/md5"), ("old", ".dvc/cache")):
            place, path = root / cache, f"{folder}_{number}"
            files = {name: put(place, b"theirs\n"), "good": put(place, b"good\n")}
            metafiles[f"{path}.dvc"] = OUT.format(put_listing(place, files), path)
            if folder == "old":
                # As DVC 2 wrote it.
                metafiles[f"{path}.dvc"] = metafiles[f"{path}.dvc"].replace("  hash: md5\n", "")
    stolen = put_listing(root / ".dvc/cache/files/md5", {"stolen": THERE})
    metafiles["stolen.dvc"] = OUT.format(stolen, "stolen")
    said = check_that_it_is_harmless(root, metafiles)
    assert said.count("its listing is not valid") == len(metafiles)
    assert not [*root.glob("*/good"), *root.glob(".git/hooks/push"), *root.glob("stolen/*")]


def test_metafiles_that_lead_elsewhere_are_left_out_and_named(root: Path) -> None:
    no_md5, ignored = "what is recorded of data is no md5", "is ignored by :."
    refused = {
        "object": (OUT.format(THERE, "data"), no_md5),
        "listing": (OUT.format(f"{THERE}.dir", "data"), no_md5),
        "etag": (
            f"outs:\n- hash: etag\n  etag: {THERE}\n  path: data\n",
            "data is recorded by etag, and DVC only uses md5",
        ),
        "files": (
            f"outs:\n- hash: md5\n  path: data\n  files:\n  - relpath: ../x\n    md5: {EMPTY}\n",
            "what is recorded of data has files outside of it",
        ),
        "above": (OUT.format(EMPTY, "../up"), "../up is outside of the repository"),
        "absolute": (OUT.format(EMPTY, "/tmp/up"), "/tmp/up is outside of the repository"),
        "hook": (OUT.format(EMPTY, ".git/hooks/post-checkout"), ignored),
        "settings": (OUT.format(EMPTY, ".dvc/config.local"), ignored),
    }
    pipeline = "stages:\n  s:\n    cmd: 'true'\n    outs:\n    - data\n"
    lock = (
        "schema: '2.0'\nstages:\n  s:\n    cmd: 'true'\n    outs:\n"
        f"    - path: data\n      hash: md5\n      md5: {THERE}\n"
    )
    metafiles = {f"{name}.dvc": text for name, (text, _) in refused.items()}
    said = check_that_it_is_harmless(
        root, {**metafiles, "dvc.yaml": pipeline, "dvc.lock": lock}
    ).splitlines()
    for name, problem in [
        *((f"{n}.dvc", p) for n, (_, p) in refused.items()),
        ("dvc.lock", no_md5),
    ]:
        assert any(f"left out: {name}: " in line and problem in line for line in said), name


LAUGHS = "a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha, ha]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 10)
)
DEEP = "[" * 3000 + "]" * 3000
STAGE = "stages:\n  s:\n    cmd: echo ${a9}\n    outs:\n    - o\n"


def test_yaml_that_explodes_is_named_before_anybody_waits_for_it(root: Path) -> None:
    laughs = f"meta:\n{LAUGHS.replace('a', ' a', 1)}".replace("\na", "\n a")
    folders = {"own": STAGE, "named": f"vars:\n- v.yaml\n{STAGE}", "itself": STAGE}
    variables = {"own": "params.yaml", "named": "v.yaml", "itself": "params.yaml"}
    for folder in folders:
        (root / folder).mkdir()
    said = check_that_it_is_harmless(
        root,
        {
            **{f"{folder}/dvc.yaml": text for folder, text in folders.items()},
            **{f"{folder}/{file}": LAUGHS for folder, file in variables.items()},
            "itself/params.yaml": "a9: &a9 [*a9]\n",
        },
    )
    for folder, file in variables.items():
        assert f"left out: {folder}/{file}: its aliases repeat one another too often" in said
    said = check_that_it_is_harmless(
        root, {"laughs.dvc": f"{laughs}{OUT.format(EMPTY, 'o')}"}, name="more"
    )
    assert "laughs.dvc: its aliases repeat one another too often" in said


@pytest.mark.parametrize(
    "text",
    [
        f"meta: {DEEP}\n",
        "meta:\n"
        + "".join(f"{' ' * depth}a:\n" for depth in range(1, 2000))
        + " " * 2000
        + "b: 1\n",
        f"meta: {'9' * 9999}\n",
        "meta: 2026-99-99\n",
        "meta: !!python/object/apply:os.system [touch made]\n",
    ],
)
def test_yaml_that_no_parser_takes_is_one_clear_line(text: str, root: Path) -> None:
    said = check_that_it_is_harmless(root, {"odd.dvc": f"{text}{OUT.format(EMPTY, 'o')}"})
    assert "odd.dvc" in said
    assert not Path("made").exists()
