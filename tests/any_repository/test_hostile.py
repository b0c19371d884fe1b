"""A branch that a stranger made: looking at it and checking it out touches nothing else."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import pytest

from registry_assets.errors import MetafileError
from registry_assets.merge_driver import main as merge_driver
from registry_assets.revisions.changes.merging import read_lock
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


# A pipe, as reading a device would take all memory where it is not refused.
ENDLESS = ("../pipe", "/dev/zero", "/proc/self/status", ".")
MOST_SECONDS = 60


def look_at(root: Path, *commands: str) -> str:
    """What commands say of a stranger's branch; each in a process, which ends within a minute."""
    said = ""
    for command in commands:
        done = subprocess.run(
            ["registry", *command.split()],
            cwd=root,
            capture_output=True,
            check=False,
            text=True,
            timeout=MOST_SECONDS,
        )
        assert done.returncode in (0, 1), done
        said += done.stdout + done.stderr
    assert "this should not happen" not in said
    return said


@pytest.fixture
def pipe(root: Path) -> None:
    os.mkfifo(root.parent / "pipe")


READS_A = "stages:\n  s:\n    cmd: echo ${a}\n    outs:\n    - o\n"


@pytest.mark.usefixtures("pipe")
@pytest.mark.parametrize("target", ENDLESS)
def test_a_link_in_the_place_of_a_metafile_is_read_only_to_what_ends(
    target: str, root: Path
) -> None:
    links = ("x.dvc", "a/dvc.yaml", "b/dvc.lock", "c/params.yaml", "e/.gitignore", "forgotten.yaml")
    put_links(root, links, target)
    look_at(root, "status", "diff --files HEAD~1", "checkout HEAD~1")
    # What is ignored decides about all others: nothing is read without it.
    put_links(root, ("d/.dvcignore", "pyproject.toml"), target)
    look_at(root, "status", "diff --files HEAD~1")


def put_links(root: Path, links: Sequence[str], target: str) -> None:
    for link in links:
        place = root / link
        place.parent.mkdir(exist_ok=True)
        if place.parent != root:
            place.with_name("dvc.yaml").write_text(READS_A)
        place.unlink(missing_ok=True)
        is_absolute = target.startswith("/")
        place.symlink_to(target if is_absolute else os.path.relpath(root / target, place.parent))
    commit_all(root)


STAGES = (
    "deps: ['{}']",
    "params: [{{'{}': [a]}}]",
    "vars: ['{}']",
    "outs: [{{'{}': {{cache: false}}}}]",
    "wdir: {}/.\n    params: [{{'zero': [a]}}]",
    "wdir: {}/.\n    vars: ['zero']",
)


@pytest.mark.usefixtures("pipe")
def test_what_a_stage_names_is_read_only_if_it_ends(root: Path) -> None:
    named = [
        *product(STAGES[1:], ("../../pipe", "/dev/zero", "/proc/self")),
        *product(STAGES[:1], ("../../pipe", "/dev/zero", "/dev", "/proc/self", "/", "../..")),
    ]
    for number, (stage, target) in enumerate(named):
        folder = root / f"{number}"
        folder.mkdir()
        text = f"stages:\n  s:\n    cmd: touch ran\n    {stage.format(target)}\n"
        (folder / "dvc.yaml").write_text(text)
    said = look_at(root, "status -v")
    assert "/pipe cannot be stored: not a regular file" in said
    assert "/dev/zero cannot be stored: not a regular file" in said
    assert "/proc/self cannot be stored: nothing that is on a disk" in said
    assert "cannot be stored: the registry is in it" in said
    assert not [*root.rglob("ran")]


@pytest.mark.usefixtures("pipe")
@pytest.mark.parametrize("target", ["../../pipe", "/dev/zero"])
def test_a_link_in_a_folder_is_followed_only_to_what_ends(target: str, root: Path) -> None:
    (root / "src").mkdir()
    (root / "src/link").symlink_to(target)
    (root / "dvc.yaml").write_text("stages:\n  s:\n    cmd: touch ran\n    deps: [src]\n")
    assert "src/link cannot be stored: not a regular file" in look_at(root, "status -v")


NESTED = {
    "brackets": "a: " + "[" * 50_000 + "]" * 50_000,
    "dashes": "a:\n  " + "- " * 50_000 + "x",
    "keys": "{a: " * 50_000 + "}" * 50_000,
}


def test_yaml_that_is_nested_deeply_does_not_end_the_process(root: Path) -> None:
    files = ("x.dvc", "params.yaml", "dvc.lock", "dvc.yaml")
    for name, text in NESTED.items():
        for file in files:
            folder = root / f"{name}_{file}"
            folder.mkdir()
            (folder / "dvc.yaml").write_text(READS_A)
            (folder / file).write_text(f"{text}\n")
    (root / "forgotten.yaml").write_text(NESTED["brackets"])
    commit_all(root)
    said = look_at(root, "status", "diff HEAD~1", "checkout HEAD~1")
    for name in NESTED:
        for file in files:
            assert f"{name}_{file}/{file}: it is nested too deeply" in said


def test_stages_that_nobody_could_count_are_named(root: Path) -> None:
    (root / "dvc.yaml").write_text(
        "vars:\n- long: "
        + "x" * 100_000
        + "\nstages:\n  many:\n    matrix:\n"
        + "".join(f"      m{n}: [{', '.join(map(str, range(60)))}]\n" for n in range(6))
        + "    cmd: echo\n    outs:\n    - m${key}\n"
        + f"  long:\n    foreach: [{', '.join(map(str, range(1000)))}]\n    do:\n"
        + f"      cmd: {'${long}' * 10}\n      outs:\n      - l${{item}}\n"
    )
    said = look_at(root, "status")
    assert "left out: dvc.yaml:4: its matrix stands for 46,656,000,000 stages" in said
    assert "left out: dvc.yaml:15: its commands are too long" in said


def test_variables_that_never_end_are_named_before_anybody_waits_for_them(root: Path) -> None:
    unended = "${a" * 30_000
    (root / "dvc.yaml").write_text(f"stages:\n  s:\n    cmd: echo\n    outs: ['{unended}']\n")
    assert "left out: dvc.yaml: it has too many ${ without a }" in look_at(root, "status")
    shell = "${a:-${b:-${c}}} " * 10_000
    (root / "dvc.yaml").write_text(f"stages:\n  s:\n    cmd: echo \\{shell}\n    outs: [o]\n")
    assert "without a }" not in look_at(root, "status")


@pytest.mark.parametrize(
    "path",
    [".dvc/tmp", ".dvc/tmp/lock", ".dvc/cache", ".dvc/config.local", ".dagster", ".dvc/config"],
)
def test_nothing_is_written_through_a_link_that_stands_for_what_is_each_clones_own(
    path: str, root: Path
) -> None:
    place = root / path
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "config").write_text((root / ".dvc/config").read_text())
    # The lock of DVC and its settings are files.
    target = outside / "config" if "." in place.name[1:] or place.name in LOCAL_FILES else outside
    shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(target)
    run(root, "git", "add", "--force", path)
    run(root, "git", "commit", "--quiet", "--message", "Theirs")
    before = {p: p.read_text() for p in outside.rglob("*")}
    step = f"Git tracks {path} here, where each clone writes its own"
    assert step in look_at(root.parent, f"clone {root} clone")
    assert not (root.parent / "clone").exists()
    run(root.parent, "git", "clone", "--quiet", str(root), "clone")
    for command in ("status", "lineage --check", "sync", "init ."):
        assert step in look_at(root.parent / "clone", command)
    assert {p: p.read_text() for p in outside.rglob("*")} == before


LOCAL_FILES = {"lock", "config"}


def test_the_merge_driver_leaves_a_lock_that_explodes_to_people(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ("", "schema: '2.0'\nstages: {}\n", f"{LAUGHS}schema: '2.0'\nstages: {{s: *a9}}\n")
    names = [str(tmp_path / name) for name in ("base", "ours", "theirs")]
    for name, text in zip(names, texts, strict=True):
        Path(name).write_text(text)
    assert merge_driver([*names, "dvc.lock"]) == 1
    assert "its aliases repeat one another too often" in capsys.readouterr().err
    assert Path(names[1]).read_text() == texts[1]


def test_a_lock_that_is_larger_than_any_is_refused_before_it_is_read() -> None:
    text = "schema: '2.0'\nstages:\n" + "  # a line\n" * 7_000_000
    began = time.process_time()
    with pytest.raises(MetafileError, match="larger than 64 MiB"):
        read_lock(text)
    assert time.process_time() - began < 4


SLOW = "a*" * 8 + "b"


@pytest.mark.parametrize("rule", [SLOW, "/".join(["**/a"] * 6), "/".join([SLOW[:7]] * 4)])
def test_a_rule_that_would_be_matched_for_hours_is_named(rule: str, root: Path) -> None:
    name = "a" * 200
    deep = root.joinpath("raw", *["a" * 40] * 4, *"a" * 40)
    deep.mkdir(parents=True)
    (deep / "dvc.yaml").write_text(READS_A)
    (root / f"raw/{name}").mkdir()
    (root / f"raw/{name}/file").write_text("a\n")
    (root / ".dvcignore").write_text(f"# Theirs\n{rule}\n")
    said = look_at(root, "status", f"add {name}")
    assert said.count("has too many stars: write several") == 2
    (root / ".dvcignore").write_text("*_*_*_*.jpg\n**/tmp/**/*.jpg\n*/*/*/*/*.jpg\n**/*a*/**\n")
    assert "stars" not in look_at(root, "status", f"add {name}")


def test_an_ignore_file_of_rules_without_number_is_named(root: Path) -> None:
    (root / ".dvcignore").write_text("".join(f"{number}*.jpg\n" for number in range(200_000)))
    assert "it has more than 50,000 lines" in look_at(root, "status")


@pytest.mark.parametrize(
    "name",
    [".dvcignore", ".dvc/config", "pyproject.toml", "dvc.yaml", "params.yaml", "collections.yaml"],
)
def test_a_metafile_that_is_no_text_is_named(name: str, root: Path) -> None:
    (root / "dvc.yaml").write_text(
        "vars: [params.yaml, collections.yaml]\nstages: {a: {cmd: 'echo a'}}\n"
    )
    for other in ("params.yaml", "collections.yaml"):
        (root / other).touch()
    with (root / name).open("ab") as file:
        file.write(b"# caf\xe9\n")
    assert f"{name}: it is not UTF-8: save it as such" in look_at(root, "status")


@pytest.mark.parametrize("target", ["../victim", ".git/config", "new"])
def test_no_ignore_file_is_written_through_a_link(target: str, root: Path) -> None:
    place = root / "raw/.gitignore"
    place.parent.mkdir(exist_ok=True)
    place.unlink(missing_ok=True)
    place.symlink_to(os.path.relpath(root / target, place.parent))
    (root.parent / "victim").write_text(VICTIM)
    settings = (root / ".git/config").read_text()
    (root / "raw/more").mkdir()
    (root / "raw/more/file").write_text("a\n")
    said = look_at(root, "add more")
    assert "raw/.gitignore is a symbolic link to ../" in said
    assert "put a file in its place" in said
    assert (root.parent / "victim").read_text() == VICTIM
    assert (root / ".git/config").read_text() == settings
    assert not (root / "new").exists()
