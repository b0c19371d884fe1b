"""What `read_status` says after real edits, beside what `dvc status` says."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
from click.testing import CliRunner
from dvc.repo import Repo

from registry_assets.cli import main
from registry_assets.registry.status.reading import read_status
from registry_assets.registry.status.report import (
    describe_details,
    describe_status,
    status_as_json,
)
from registry_assets.registry.status.values import CollectionStatus, OutputStatus, RegistryStatus
from tests.conftest import commit_all, lineage_of, run, write_tree

DATA = "processed/texts/data"
INPUT = f"{DATA}/inputs/01_a"
UPPER = f"{DATA}/intermediate/upper/01_a"
LINES = f"{DATA}/outputs/lines/01_a"
NAMES = f"{DATA}/outputs/names/01_a"
OUTPUTS = (INPUT, UPPER, LINES, NAMES)


@pytest.fixture(scope="session")
def _done(_text_registry: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry whose first collection went all the way, by DVC's own commands."""
    root = tmp_path_factory.mktemp("done") / "registry"
    shutil.copytree(_text_registry, root, symlinks=True)
    write_tree(root, {"raw/01_a/one.txt": "one\n", "raw/01_a/two.txt": "two\n"})
    run(root, "dvc", "add", "--quiet", "raw/01_a")
    (root / DATA / "inputs").mkdir(parents=True)
    run(root / DATA / "inputs", "dvc", "import-url", "--quiet", "../../../../raw/01_a", "01_a")
    (root / "processed/texts/collections.yaml").write_text('collections:\n  - "01_a"\n')
    run(root, "dvc", "repro", "--quiet", "processed/texts/dvc.yaml")
    return root


@pytest.fixture
def done(_done: Path, tmp_path: Path) -> Path:
    root = tmp_path / "registry"
    shutil.copytree(_done, root, symlinks=True)
    return root


def states(root: Path) -> dict[str, str]:
    """The state of every output; asserts that DVC calls the same stages changed."""
    found = read_status(lineage_of(root))
    check_against_dvc(root, found)
    assert [output.path for output in found.outputs] == sorted(o.path for o in found.outputs)
    return {output.path: output.state for output in found.outputs}


def check_against_dvc(root: Path, found: RegistryStatus) -> None:
    lineage = lineage_of(root)
    ours = {
        lineage.nodes[output.path].address
        for output in found.outputs
        if output.state not in ("up_to_date", "behind")
    }
    ours |= {
        f"{item.path}.dvc" for item in found.raw if item.state not in ("tracked", "new", "rejected")
    }
    with pytest.MonkeyPatch.context() as patch, Repo(str(root)) as repo:
        patch.chdir(root)  # DVC names stages relative to the working directory
        assert ours == set(repo.status())


def raw(root: Path) -> dict[str, CollectionStatus]:
    found = read_status(lineage_of(root))
    check_against_dvc(root, found)
    return {item.collection: item for item in found.raw}


def output(root: Path, path: str) -> OutputStatus:
    return next(o for o in read_status(lineage_of(root)).outputs if o.path == path)


def replace_in(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def rewrite(path: Path, text: str) -> None:
    """Replaces a file that may be linked to the cache."""
    path.unlink()
    path.write_text(text)


def test_everything_is_up_to_date_after_a_run(done: Path) -> None:
    assert states(done) == dict.fromkeys(OUTPUTS, "up_to_date")
    found = read_status(lineage_of(done))
    assert found.up_to_date
    assert json.loads(run(done, "dvc", "status", "--json")) == {}
    assert [item.state for item in found.raw] == ["tracked"]
    assert all(output.why == () for output in found.outputs)


def test_a_collection_in_no_data_set_is_named_and_no_finding(done: Path) -> None:
    (done / "raw/one.txt").write_text("no collection")
    run(done, "dvc", "add", "--quiet", "raw/one.txt")
    assert read_status(lineage_of(done)).notes == ()
    for name, takes in (("02_b", "registry import 02_b --into texts"), ("03_c", "import NAME")):
        write_tree(done, {f"raw/{name}/one.txt": name})
        run(done, "dvc", "add", "--quiet", f"raw/{name}")
        found = read_status(lineage_of(done))
        (note,) = found.notes
        assert name in note
        assert takes in note
        assert found.up_to_date
    assert note in run(done, "registry", "status").splitlines()
    # Where nothing takes collections in, there is nothing to say.
    shutil.rmtree(done / "processed")
    assert read_status(lineage_of(done)).notes == ()


def test_the_json_has_the_documented_shape(done: Path) -> None:
    write_tree(done, {"raw/02_b/one.txt": "1", "raw/x; rm/one.txt": "1"})
    rewrite(done / LINES, "99\n")
    found = json.loads(json.dumps(status_as_json(read_status(lineage_of(done))), default=asdict))
    assert set(found) == {"root", "up_to_date", "raw", "outputs", "problems", "notes"}
    assert (found["root"], found["up_to_date"], found["problems"]) == (str(done), False, [])
    for item in found["raw"]:
        assert set(item) == {"collection", "path", "state", "reason", "md5", "size", "nfiles"}
    tracked, new, rejected = found["raw"]
    assert tracked == {
        "collection": "01_a",
        "path": "raw/01_a",
        "state": "tracked",
        "reason": None,
        "md5": tracked["md5"],
        "size": 8,
        "nfiles": 2,
    }
    assert f"md5: {tracked['md5']}\n" in (done / "raw/01_a.dvc").read_text()
    assert (new["state"], new["md5"], new["size"], new["nfiles"]) == ("new", None, None, None)
    assert (rejected["state"], "letters, digits" in rejected["reason"]) == ("rejected", True)
    for item in found["outputs"]:
        assert set(item) == {"path", "asset", "partition", "state", "why", "md5"}
    lines = next(item for item in found["outputs"] if item["path"] == LINES)
    assert (lines["asset"], lines["partition"]) == (f"{DATA}/outputs/lines", "01_a")
    assert (lines["state"], lines["why"]) == ("stale", [f"{LINES} is modified"])
    assert f"md5: {lines['md5']}\n" in (done / "processed/texts/dvc.lock").read_text()


# --- what people read ---------------------------------------------------------------------------


def short(root: Path) -> list[str]:
    return list(describe_status(read_status(lineage_of(root))))


def test_an_edit_is_one_line_with_its_cause_and_the_next_command(done: Path) -> None:
    replace_in(done / "processed/texts/upper.py", "upper()", "title()")
    rewrite(done / UPPER / "one.txt", "eno\n")
    # What is stale for this alone is counted, and not explained once more.
    assert short(done) == [
        "stale      processed/texts: 3 outputs of 01_a  (upper.py is modified)"
        "  → registry materialize",
        "1 of 1 collections tracked, 1 of 4 outputs up to date; `registry status -v` says why",
    ]
    told = [line for line in describe_details(read_status(lineage_of(done))) if "stale" in line]
    assert [line.split()[1] for line in told] == [UPPER, LINES, NAMES]
    assert f"{UPPER} is modified" in told[1]


def test_one_output_is_named_and_its_edit_is_the_cause(done: Path) -> None:
    rewrite(done / LINES, "99\n")
    assert short(done)[0] == (
        f"stale      {LINES}  (data/outputs/lines/01_a is modified)  → registry materialize"
    )


def test_what_was_never_made_is_one_line_without_reasons(done: Path) -> None:
    with (done / "processed/texts/collections.yaml").open("a") as stream:
        stream.write('  - "02_b"\n  - "03_c"\n')
    assert short(done)[:-1] == [
        "never_run  processed/texts: 6 outputs of 2 partitions  → registry materialize"
    ]
    write_tree(done, {"raw/02_b/one.txt": "1", "raw/03_c/one.txt": "1"})
    assert short(done)[:-1] == [
        "new        raw/02_b  → registry add 02_b",
        "new        raw/03_c  → registry add 03_c",
        "never_run  processed/texts: 6 outputs of 2 collections  → registry materialize",
    ]


def test_collections_have_their_command_or_what_stands_in_the_way(done: Path) -> None:
    write_tree(done, {"raw/01_a/three.txt": "3"})
    (done / "raw/02_b").mkdir()
    assert short(done)[:-1] == [
        "modified   raw/01_a  → registry add 01_a",
        "rejected   raw/02_b  (it contains no files)",
    ]
    run(done, "dvc", "add", "--quiet", "raw/01_a")
    (done / "raw/02_b").rmdir()
    assert short(done)[:-1] == [f"behind     {INPUT}  → registry update"]


def test_what_a_clone_lacks_is_one_line_with_the_command_that_brings_it(
    done: Path, tmp_path: Path
) -> None:
    run(done, "dvc", "remote", "add", "--force", "--default", "storage", str(tmp_path / "remote"))
    run(done, "dvc", "push", "--quiet")
    clone = tmp_path / "clone"
    commit_all(done)
    run(tmp_path, "git", "clone", "--quiet", str(done), str(clone))
    lacks = "missing    1 collection and 4 outputs are not in the workspace  → "
    assert short(clone)[:-1] == [f"{lacks}dvc pull"]
    run(clone, "dvc", "fetch", "--quiet")
    assert short(clone)[:-1] == [f"{lacks}registry materialize"]
    run(clone, "registry", "materialize")
    assert short(clone) == ["1 of 1 collections tracked, 4 of 4 outputs up to date"]


def test_the_command_prints_the_short_form_the_details_or_json(done: Path) -> None:
    replace_in(done / "processed/texts/upper.py", "upper()", "title()")
    found = read_status(lineage_of(done))
    for arguments, lines in (
        ([], describe_status(found)),
        (["-v"], describe_details(found)),
        (["--verbose"], describe_details(found)),
    ):
        told = CliRunner().invoke(main, ["--root", str(done), "status", *arguments])
        assert (told.exit_code, told.stdout.splitlines()) == (1, list(lines))
    plain, verbose = (
        CliRunner().invoke(main, ["--root", str(done), "status", "--json", *more])
        for more in ([], ["-v"])
    )
    assert plain.stdout == verbose.stdout
    assert json.loads(plain.stdout)["up_to_date"] is False


# --- raw collections ----------------------------------------------------------------------------


def test_a_new_folder_is_new_and_nothing_left_to_do(done: Path) -> None:
    write_tree(done, {"raw/02_b/one.txt": "1"})
    assert {name: item.state for name, item in raw(done).items()} == {
        "01_a": "tracked",
        "02_b": "new",
    }
    assert read_status(lineage_of(done)).up_to_date


def test_a_folder_that_cannot_be_taken_in_is_rejected_with_the_reason(done: Path) -> None:
    (done / "raw/02_b").mkdir()
    found = raw(done)["02_b"]
    assert (found.state, found.reason) == ("rejected", "it contains no files")


@pytest.mark.parametrize("edit", ["added", "removed", "changed"])
def test_an_edited_collection_is_modified(done: Path, edit: str) -> None:
    place = done / "raw/01_a/one.txt"
    if edit == "added":
        write_tree(done, {"raw/01_a/three.txt": "3"})
    elif edit == "removed":
        place.unlink()
    else:
        rewrite(place, "eno\n")
    assert raw(done)["01_a"].state == "modified"
    assert not read_status(lineage_of(done)).up_to_date


def test_a_collection_that_is_not_in_the_workspace_is_missing(done: Path) -> None:
    shutil.rmtree(done / "raw/01_a")
    assert raw(done)["01_a"].state == "missing"
    assert not read_status(lineage_of(done)).up_to_date


# --- outputs ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "old", "new", "why"),
    [
        ("dvc.yaml", "python upper.py", "python -B upper.py", "the command changed"),
        ("params.yaml", "suffix: 1", "suffix: 2", "suffix"),
        ("upper.py", "upper()", "title()", "processed/texts/upper.py is modified"),
    ],
)
def test_what_a_stage_depends_on_makes_it_stale(
    done: Path, path: str, old: str, new: str, why: str
) -> None:
    replace_in(done / "processed/texts" / path, old, new)
    assert states(done) == {**dict.fromkeys(OUTPUTS, "up_to_date"), UPPER: "stale"}
    assert any(why in words for words in output(done, UPPER).why)


def test_a_changed_input_makes_the_stage_stale(done: Path) -> None:
    rewrite(done / INPUT / "one.txt", "eno\n")
    assert states(done) == {
        INPUT: "stale",
        UPPER: "stale",
        LINES: "up_to_date",
        NAMES: "up_to_date",
    }
    assert f"{INPUT} is modified" in output(done, UPPER).why


def test_an_edited_output_is_stale_and_so_is_what_is_made_of_it(done: Path) -> None:
    rewrite(done / UPPER / "one.txt", "eno\n")
    assert states(done) == {INPUT: "up_to_date", UPPER: "stale", LINES: "stale", NAMES: "stale"}


def test_an_edited_lock_entry_makes_its_outputs_stale(done: Path) -> None:
    lines = output(done, LINES)
    assert lines.md5 is not None
    replace_in(done / "processed/texts/dvc.lock", lines.md5, "0" * 31 + "a")
    assert states(done)[LINES] == "stale"


def test_an_import_whose_source_moved_on_is_behind(done: Path) -> None:
    write_tree(done, {"raw/01_a/three.txt": "3"})
    # An edit that is not recorded yet is nobody's next version.
    assert states(done) == dict.fromkeys(OUTPUTS, "up_to_date")
    run(done, "dvc", "add", "--quiet", "raw/01_a")
    assert states(done) == {**dict.fromkeys(OUTPUTS, "up_to_date"), INPUT: "behind"}
    assert output(done, INPUT).why == (
        f"raw/01_a has a newer version: run `registry update {INPUT}`",
    )
    assert not read_status(lineage_of(done)).up_to_date
    run(done, "dvc", "update", "--quiet", f"{INPUT}.dvc")
    assert states(done)[INPUT] == "up_to_date"


def test_a_stage_that_was_never_run_says_so(done: Path) -> None:
    (done / "processed/texts/dvc.lock").unlink()
    assert states(done) == {
        INPUT: "up_to_date",
        **dict.fromkeys((UPPER, LINES, NAMES), "never_run"),
    }
    assert output(done, UPPER).md5 is None


def test_a_collection_that_was_just_listed_was_never_run(done: Path) -> None:
    with (done / "processed/texts/collections.yaml").open("a") as stream:
        stream.write('  - "02_b"\n')
    found = states(done)
    assert {path: state for path, state in found.items() if path.endswith("02_b")} == {
        path.replace("01_a", "02_b"): "never_run" for path in (UPPER, LINES, NAMES)
    }
    assert {found[path] for path in OUTPUTS} == {"up_to_date"}


def test_an_output_that_is_not_in_the_workspace_is_missing(done: Path) -> None:
    (done / LINES).unlink()
    assert states(done) == {**dict.fromkeys(OUTPUTS, "up_to_date"), LINES: "missing"}
    shutil.rmtree(done / INPUT)
    assert states(done) == {
        INPUT: "missing",
        UPPER: "stale",
        LINES: "missing",
        NAMES: "up_to_date",
    }


def test_a_clone_lacks_everything_and_nothing_is_stale(done: Path) -> None:
    for path in OUTPUTS:
        place = done / path
        shutil.rmtree(place) if place.is_dir() else place.unlink()
    shutil.rmtree(done / "raw/01_a")
    found = read_status(lineage_of(done))
    assert {item.state for item in found.raw} == {"missing"}
    assert {item.state for item in found.outputs} == {"missing"}


def test_outputs_that_dvc_does_not_cache_have_a_state(done: Path) -> None:
    pipeline = done / "processed/texts/dvc.yaml"
    metrics = "    metrics:\n      - score.json:\n          cache: false\n"
    pipeline.write_text(f"{pipeline.read_text()}  score:\n    cmd: echo 1 > score.json\n{metrics}")
    run(done, "dvc", "repro", "--quiet", "processed/texts/dvc.yaml")
    path = "processed/texts/score.json"
    assert states(done)[path] == "up_to_date"
    (done / path).write_text("2\n")
    assert states(done)[path] == "stale"
    (done / path).unlink()
    assert states(done)[path] == "missing"


def test_a_frozen_stage_does_not_look_at_what_it_depends_on(done: Path) -> None:
    replace_in(
        done / "processed/texts/dvc.yaml",
        "      cmd: python",
        "      frozen: true\n      cmd: python",
    )
    replace_in(done / "processed/texts/upper.py", "upper()", "title()")
    assert states(done) == dict.fromkeys(OUTPUTS, "up_to_date")


def test_a_metafile_that_cannot_be_read_is_not_up_to_date(done: Path) -> None:
    write_tree(done, {"broken/dvc.yaml": "stages:\n  x:\n    cmd: [\n"})
    found = read_status(lineage_of(done))
    assert not found.up_to_date
    assert len(found.problems) == 1
    assert {output.state for output in found.outputs} == {"up_to_date"}


def test_a_repository_without_collections_has_a_status(tmp_path: Path) -> None:
    run(tmp_path, "git", "init", "--quiet")
    run(tmp_path, "dvc", "init", "--quiet")
    write_tree(tmp_path, {"dvc.yaml": "stages:\n  x:\n    cmd: echo > y\n    outs: [y]\n"})
    found = read_status(lineage_of(tmp_path))
    assert (found.raw, [o.state for o in found.outputs]) == ((), ["never_run"])


def test_a_dependency_in_storage_that_refuses_access_is_named_beside_all_others(
    done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    stage = "stages:\n  x:\n    cmd: echo > y\n    deps: ['s3://nobody/x']\n    outs: [y]\n"
    write_tree(done, {"x/dvc.yaml": stage})
    found = read_status(lineage_of(done))
    assert {o.path for o in found.outputs if o.state == "up_to_date"} == set(OUTPUTS)
    (other,) = (o for o in found.outputs if o.path == "x/y")
    (why,) = (line for line in other.why if line.startswith("s3://nobody/x"))
    assert "cannot be compared: " in why
    assert "refuses access" in why


def test_metafiles_in_folders_that_are_hundreds_deep_are_not_looked_for(done: Path) -> None:
    deep = "/".join(["d"] * 300)
    write_tree(done, {f"{deep}/x.dvc": "outs:\n- path: o\n"})
    found = read_status(lineage_of(done))
    assert {output.state for output in found.outputs} == {"up_to_date"}
    (problem,) = found.problems
    assert "more than 200 folders deep): move it up, or add it to .dvcignore" in problem


def test_a_gitignore_that_is_no_text_is_named(done: Path) -> None:
    commit_all(done, "One collection")
    (done / "raw/.gitignore").write_bytes(b"\xff\xfe\n")
    found = CliRunner().invoke(main, ["--root", str(done), "diff", "HEAD"])
    assert found.exit_code == 1
    assert "raw/.gitignore: it is not UTF-8: save it as such" in found.output
