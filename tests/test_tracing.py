"""Where a file came from and where it went, on real repositories, from the outside."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from dagster import TableMetadataValue

from registry_assets import build_definitions
from registry_assets.cli import main
from registry_assets.orchestration.assets import select_keys
from registry_assets.orchestration.history.opening import open_history
from tests.conftest import commit_all, lineage_of, run, write_tree
from tests.runs import execute, plan_runs

DATASET = "processed/01_image_dataset"
VIDEOS = "02_data_collection_20_oct_2021"
FRAME = f"data/outputs/night_images/sharp/{VIDEOS}/city.mp4/frame_000025.jpg"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout in which the demo ran holds files of the same names."""
    monkeypatch.chdir(tmp_path)


def trace(root: Path, file: str | Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["--root", str(root), "trace", str(file), *options])


def traced(root: Path, file: str | Path, *options: str) -> dict[str, Any]:
    """What is found in JSON, without Dagster."""
    done = trace(root, file, "--json", "--no-runs", *options)
    assert done.exit_code == 0, done.output + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def ways(found: Mapping[str, Any]) -> list[list[tuple[str, str | None]]]:
    """Path and how, step by step, of every chain."""
    return [
        [(step["path"], step["from"] and step["from"]["how"]) for step in chain["steps"]]
        for chain in found["chains"]
    ]


def paths(found: Mapping[str, Any]) -> list[str]:
    """Where it went."""
    return [step["path"] for step in found["forward"]]


# --- the shipped data set ------------------------------------------------------------------------


def test_a_frame_leads_back_to_its_video_with_stages_commits_and_run(demo: Path) -> None:
    done = trace(demo, f"{DATASET}/{FRAME}", "--json")
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    (chain,) = found["chains"]
    assert chain["collection"] == VIDEOS
    assert chain["source"] == chain["video"] == f"raw/{VIDEOS}/city.mp4"
    assert chain["frame"] == 25
    frame = f"{VIDEOS}/city.mp4/frame_000025.jpg"
    middle = f"{DATASET}/data/intermediate"
    assert ways(found) == [
        [
            (f"{DATASET}/{FRAME}", "same content"),
            (f"{middle}/remove_dark_and_bright_images/{frame}", "same content"),
            (f"{middle}/remove_corrupted_images/{frame}", "same content"),
            (f"{middle}/extract_frames/{frame}", "frame"),
            (f"{DATASET}/data/inputs/{VIDEOS}/city.mp4", "same content"),
            (f"raw/{VIDEOS}/city.mp4", None),
        ]
    ]
    assert [step["stage"] for step in chain["steps"]] == [
        f"{DATASET}/dvc.yaml:classify_day_night_and_foggy_images@{VIDEOS}",
        f"{DATASET}/dvc.yaml:remove_dark_and_bright_images@{VIDEOS}",
        f"{DATASET}/dvc.yaml:remove_corrupted_images@{VIDEOS}",
        f"{DATASET}/dvc.yaml:extract_frames@{VIDEOS}",
        f"{DATASET}/data/inputs/{VIDEOS}.dvc",
        f"raw/{VIDEOS}.dvc",
    ]
    assert [step["from"] and step["from"]["proof"] for step in chain["steps"]] == (
        [True, True, True, False, True, None]
    )
    head = run(demo, "git", "rev-parse", "HEAD").strip()
    assert {step["commit"] for step in chain["steps"]} == {head}
    (run_id,) = {step["run"] for step in chain["steps"]}
    assert len(run_id) == 36
    assert {step["run_note"] for step in chain["steps"]} == {None}
    assert all(step["current"] for step in chain["steps"])


def test_a_video_goes_to_its_frames_in_every_output(demo: Path) -> None:
    went = paths(traced(demo, f"raw/{VIDEOS}/city.mp4", "--forward"))
    frames = [f"city.mp4/frame_{number:06d}.jpg" for number in (0, 25, 50, 75)]
    expected = [f"raw/{VIDEOS}/city.mp4", f"{DATASET}/data/inputs/{VIDEOS}/city.mp4"]
    for folder in (
        "intermediate/extract_frames",
        "intermediate/remove_corrupted_images",
        "intermediate/remove_dark_and_bright_images",
        "outputs/night_images/sharp",
    ):
        expected += [f"{DATASET}/data/{folder}/{VIDEOS}/{frame}" for frame in frames]
    assert went == expected


def test_every_image_of_every_output_leads_back_to_the_raw_file_it_is(demo: Path) -> None:
    """The files themselves tell: all but frames are passed on byte for byte."""
    seen = 0
    for place in sorted((demo / DATASET / "data/outputs").rglob("*.*")):
        if not place.is_file() or place.name == ".gitignore":
            continue
        (chain,) = traced(demo, place)["chains"]
        source = demo / chain["source"]
        if chain["frame"] is None:
            assert source.read_bytes() == place.read_bytes()
        else:
            assert source.name == place.parent.name
            assert place.name == f"frame_{chain['frame']:06d}.jpg"
        assert chain["collection"] == source.relative_to(demo / "raw").parts[0]
        seen += 1
    assert seen == 20


def test_people_read_one_line_or_two_for_a_step(demo: Path) -> None:
    done = trace(demo, f"{DATASET}/{FRAME}", "--forward")
    commit = run(demo, "git", "rev-parse", "HEAD").strip()[:10]
    said = done.stdout.splitlines()
    lines = [line for line in said if not line.startswith("        ")]
    # Behind each step that was made here: with what, and on which machine.
    assert [line.split()[0] for line in said if line not in lines] == ["made", "on"] * 6
    assert lines[0] == f"{DATASET}/{FRAME}"
    assert f"@{VIDEOS}, commit {commit}, run " in lines[1]
    assert lines[8] == f"<- frame 25 of (by name): {DATASET}/data/inputs/{VIDEOS}/city.mp4"
    assert lines[12] == f"= collection {VIDEOS}: raw/{VIDEOS}/city.mp4, frame 25"
    assert f"went to 4 files of 4 outputs, data sets {DATASET}:" in lines


def tables(root: Path) -> dict[tuple[str, str | None], list[dict[str, Any]]]:
    """The tables of origins of all newest materializations, by last parts of the key."""
    found = {}
    with open_history(root) as instance:
        for key in instance.get_asset_keys():
            records = instance.fetch_materializations(key, limit=20).records
            for record in reversed(records):
                materialization = record.asset_materialization
                assert materialization is not None
                table = materialization.metadata.get("files/origins")
                assert table is None or isinstance(table, TableMetadataValue)
                name = "/".join(key.path).removeprefix(f"{DATASET}/data/")
                rows = [dict(row.data) for row in table.records] if table else []
                found[name, materialization.partition] = rows
    return found


def test_the_ui_shows_the_origins_of_sampled_images(demo: Path) -> None:
    shown = tables(demo)
    raw = f"raw/{VIDEOS}"
    assert shown["intermediate/extract_frames", VIDEOS] == [
        {
            "file": f"city.mp4/frame_{number:06d}.jpg",
            "how": "frame (by name)",
            "collection": VIDEOS,
            "raw file": f"{raw}/city.mp4",
            "video": f"{raw}/city.mp4",
            "frame": str(number),
        }
        for number in (0, 25, 50, 75)
    ]
    assert shown["outputs/day_images_foggy", VIDEOS] == [
        {
            "file": "meadow_in_fog.jpg",
            "how": "same content",
            "collection": VIDEOS,
            "raw file": f"{raw}/meadow_in_fog.jpg",
            "video": "",
            "frame": "",
        }
    ]
    # Ten of thirteen, evenly; raw data has no origin, and a table of measurements is no image.
    kept = shown["intermediate/remove_corrupted_images", VIDEOS]
    assert len(kept) == 10
    assert kept[0]["file"] < "c" < kept[5]["file"] < "m" < kept[-1]["file"]
    assert shown["raw", VIDEOS] == []
    assert shown["intermediate/measure_images", VIDEOS] == []
    assert len(shown["inputs", VIDEOS]) == 10
    for rows in shown.values():
        for row in rows:
            assert (demo / row["raw file"]).is_file()


def reach_storage(clone: Path, origin: Path) -> None:
    """Leads DVC to the remote within a registry, which no committed file names."""
    storage = str(origin / ".dvc/storage")
    run(clone, "dvc", "remote", "modify", "--local", "storage", "url", storage)


def test_a_clone_without_data_names_the_way_to_it(demo: Path, tmp_path: Path) -> None:
    run(tmp_path, "git", "clone", "--quiet", str(demo), "clone")
    clone = tmp_path / "clone"
    reach_storage(clone, demo)
    done = trace(clone, f"{DATASET}/{FRAME}", "--no-runs")
    output = f"{DATASET}/data/outputs/night_images/sharp/{VIDEOS}"
    assert done.exit_code == 1
    assert f"`dvc fetch {output}`" in done.stderr
    outside = tmp_path / "outside.jpg"
    shutil.copy(demo / DATASET / FRAME, outside)
    assert "was not found so far" in trace(clone, outside, "--no-runs").stderr

    # With the last listing only, the way back is said to break off.
    run(clone, "dvc", "fetch", "--quiet", output)
    broken = trace(clone, f"{DATASET}/{FRAME}", "--json", "--no-runs")
    assert broken.exit_code == 1
    (chain,) = json.loads(broken.stdout)["chains"]
    assert len(chain["steps"]) == 1
    assert "remove_dark_and_bright_images" in chain["unread"][0]
    assert "incomplete" in broken.stderr

    run(clone, "dvc", "fetch", "--quiet")
    assert not (clone / DATASET / FRAME).exists()
    assert ways(traced(clone, f"{DATASET}/{FRAME}")) == ways(traced(demo, f"{DATASET}/{FRAME}"))


def test_dagster_is_asked_only_where_it_has_a_history(demo: Path, tmp_path: Path) -> None:
    run(tmp_path, "git", "clone", "--quiet", str(demo), "clone")
    clone = tmp_path / "clone"
    reach_storage(clone, demo)
    run(clone, "dvc", "fetch", "--quiet")
    file = f"raw/{VIDEOS}/city.mp4"
    (step,) = json.loads(trace(clone, file, "--json").stdout)["chains"][0]["steps"]
    assert (step["run"], step["run_note"]) == (None, None)
    assert not (clone / ".dagster").exists()
    run(clone, "registry", "sync")
    (step,) = json.loads(trace(clone, file, "--json").stdout)["chains"][0]["steps"]
    assert (step["run"], step["run_note"]) == (None, "recorded outside Dagster")
    write_tree(clone, {"raw/03_c/new.txt": "new\n"})
    keep_dvc(clone, "raw/03_c")
    (step,) = json.loads(trace(clone, "raw/03_c/new.txt", "--json").stdout)["chains"][0]["steps"]
    assert (step["run"], step["run_note"]) == (None, "not seen by Dagster")


# --- collections ---------------------------------------------------------------------------------


def keep_dvc(root: Path, *paths: str) -> None:
    run(root, "dvc", "add", "--quiet", *paths)


def test_an_equal_file_in_two_collections_is_told_of(text_registry: Path) -> None:
    write_tree(text_registry, {"raw/02_b/sub/again.txt": "one\n"})
    keep_dvc(text_registry, "raw/01_a", "raw/02_b")
    found = traced(text_registry, "raw/01_a/one.txt", "--forward")
    assert found["equals"] == ["raw/02_b/sub/again.txt"]
    assert paths(found) == ["raw/01_a/one.txt", "raw/02_b/sub/again.txt"]
    assert {chain["collection"] for chain in found["chains"]} == {"01_a"}
    # Of a file from outside nobody knows which of the two it was.
    outside = text_registry.parent / "outside.txt"
    outside.write_text("one\n")
    assert ways(traced(text_registry, outside)) == [
        [("raw/01_a/one.txt", None)],
        [("raw/02_b/sub/again.txt", None)],
    ]


def test_a_transforming_stage_is_followed_by_name_and_says_so(text_registry: Path) -> None:
    for name in ("01_a", "02_b"):
        keep_dvc(text_registry, f"raw/{name}")
        target = f"processed/texts/data/inputs/{name}"
        (text_registry / target).parent.mkdir(parents=True, exist_ok=True)
        run(text_registry, "dvc", "import-url", "--quiet", f"raw/{name}", target)
    write_tree(
        text_registry,
        {"processed/texts/collections.yaml": 'collections:\n  - "01_a"\n  - "02_b"\n'},
    )
    run(text_registry / "processed/texts", "dvc", "repro", "--quiet")
    data = "processed/texts/data"
    found = traced(text_registry, f"{data}/intermediate/upper/01_a/two.txt")
    assert ways(found) == [
        [
            (f"{data}/intermediate/upper/01_a/two.txt", "same path"),
            (f"{data}/inputs/01_a/two.txt", "same content"),
            ("raw/01_a/two.txt", None),
        ]
    ]
    assert found["chains"][0]["steps"][0]["from"]["proof"] is False
    said = trace(text_registry, f"{data}/intermediate/upper/01_a/two.txt", "--no-runs").stdout
    assert "not committed yet" in said
    assert "(by name)" in said
    assert paths(traced(text_registry, "raw/01_a/two.txt", "--forward")) == [
        "raw/01_a/two.txt",
        f"{data}/inputs/01_a/two.txt",
        f"{data}/intermediate/upper/01_a/two.txt",
    ]
    # A table of everything comes from no single file: what it was made of is named.
    (chain,) = traced(text_registry, f"{data}/outputs/lines/01_a")["chains"]
    assert chain["source"] == f"{data}/outputs/lines/01_a"
    assert chain["steps"][0]["made_of"] == [f"{data}/intermediate/upper/01_a"]

    # An import stays where it was taken, and its older version is found all the same.
    commit_all(text_registry, "Take in")
    write_tree(text_registry, {"raw/01_a/two.txt": "three\n"})
    keep_dvc(text_registry, "raw/01_a")
    found = traced(text_registry, f"{data}/inputs/01_a/two.txt")
    assert ways(found)[0][-1] == ("raw/01_a/two.txt", None)
    assert [step["current"] for step in found["chains"][0]["steps"]] == [True, False]
    commit = run(text_registry, "git", "rev-parse", "HEAD").strip()
    assert {step["commit"] for step in found["chains"][0]["steps"]} == {commit}


def test_a_file_that_only_an_older_version_held_is_found(text_registry: Path) -> None:
    keep_dvc(text_registry, "raw/01_a")
    first = commit_all(text_registry, "Add 01_a")
    (text_registry / "raw/01_a/one.txt").unlink()
    keep_dvc(text_registry, "raw/01_a")
    commit_all(text_registry, "Drop a file")
    outside = text_registry.parent / "outside.txt"
    outside.write_text("one\n")
    found = traced(text_registry, outside)
    assert found["chains"] == []
    (former,) = found["former"]
    assert former["path"] == "raw/01_a/one.txt"
    assert former["output"] == "raw/01_a"
    assert former["commit"] == first
    said = trace(text_registry, outside).stdout
    assert f"raw/01_a/one.txt as of commit {first[:10]}, not in the current version" in said


def test_a_version_on_another_branch_or_in_the_cache_only_is_found(text_registry: Path) -> None:
    run(text_registry, "git", "checkout", "--quiet", "-b", "other")
    keep_dvc(text_registry, "raw/01_a")
    run(text_registry, "git", "add", "raw/01_a.dvc", "raw/.gitignore")
    run(text_registry, "git", "commit", "--quiet", "--message", "Add 01_a elsewhere")
    commit = run(text_registry, "git", "rev-parse", "HEAD").strip()
    run(text_registry, "git", "checkout", "--quiet", "main")
    (former,) = traced(text_registry, "raw/01_a/one.txt")["former"]
    assert (former["path"], former["commit"]) == ("raw/01_a/one.txt", commit)

    keep_dvc(text_registry, "raw/02_b")
    (text_registry / "raw/02_b.dvc").unlink()
    (former,) = traced(text_registry, "raw/02_b/three.txt")["former"]
    assert (former["path"], former["output"], former["commit"]) == ("three.txt", None, None)


def test_the_commit_is_the_one_that_recorded_this_version(text_registry: Path) -> None:
    keep_dvc(text_registry, "raw/01_a")
    first = commit_all(text_registry, "Add 01_a")

    def commit() -> str | None:
        (step,) = traced(text_registry, "raw/01_a/two.txt")["chains"][0]["steps"]
        found: str | None = step["commit"]
        return found

    commit_all(text_registry, "Something else")
    assert commit() == first
    write_tree(text_registry, {"raw/01_a/more.txt": "more\n"})
    keep_dvc(text_registry, "raw/01_a")
    assert commit() is None
    second = commit_all(text_registry, "Add a file")
    assert commit() == second
    (text_registry / "raw/01_a/more.txt").unlink()
    keep_dvc(text_registry, "raw/01_a")
    third = commit_all(text_registry, "Back to the first version")
    assert commit() == third
    # Back once more, not committed: the version is an old one, but its return is not recorded.
    run(text_registry, "git", "checkout", "--quiet", second, "--", "raw/01_a.dvc")
    assert commit() is None


# --- any DVC repository --------------------------------------------------------------------------

FOREIGN = """\
stages:
  split:
    cmd: mkdir parts && head -1 data.csv > parts/train.csv && tail -1 data.csv > parts/test.csv
    deps: [data.csv]
    outs: [parts]
  rename:
    cmd: mkdir renamed && cp pictures/b.png renamed/z.png && cp pictures/a.png renamed/a.png
    deps: [pictures]
    outs: [renamed]
  convert:
    cmd: mkdir small && for f in a z; do (cat renamed/$f.png; echo $f) > small/$f.webp; done
    deps: [renamed]
    outs: [small]
  gather:
    cmd: >-
      mkdir -p all/pictures all/renamed && cp pictures/* all/pictures
      && for f in a z; do (cat renamed/$f.png; echo more) > all/renamed/$f.png; done
    deps: [pictures, renamed]
    outs: [all]
"""


@pytest.fixture(scope="module")
def _foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("foreign") / "repository"
    root.mkdir()
    run(root, "git", "init", "--quiet")
    run(root, "dvc", "init", "--quiet")
    write_tree(
        root,
        {
            "data.csv": "1\n2\n",
            "pictures/a.png": "A",
            "pictures/b.png": "B",
            "dvc.yaml": FOREIGN,
        },
    )
    keep_dvc(root, "data.csv", "pictures")
    run(root, "dvc", "repro", "--quiet")
    commit_all(root)
    return root


@pytest.fixture
def foreign(_foreign: Path, tmp_path: Path) -> Path:
    """A DVC repository that never heard of collections, with files and folders as outputs."""
    root = tmp_path / "foreign"
    shutil.copytree(_foreign, root, symlinks=True)
    return root


@pytest.mark.parametrize(
    ("file", "way"),
    [
        ("parts/train.csv", [("parts/train.csv", "only file"), ("data.csv", None)]),
        ("data.csv", [("data.csv", None)]),
        ("renamed/z.png", [("renamed/z.png", "same content"), ("pictures/b.png", None)]),
        (
            "small/z.webp",
            [
                ("small/z.webp", "other suffix"),
                ("renamed/z.png", "same content"),
                ("pictures/b.png", None),
            ],
        ),
        (
            "all/renamed/a.png",
            [
                ("all/renamed/a.png", "same path"),
                ("renamed/a.png", "same content"),
                ("pictures/a.png", None),
            ],
        ),
    ],
)
def test_any_repository_can_be_traced(
    foreign: Path, file: str, way: list[tuple[str, str | None]]
) -> None:
    found = traced(foreign, file)
    assert ways(found) == [way]
    assert found["chains"][0]["collection"] is None
    assert found["md5"] == hashlib.md5((foreign / file).read_bytes()).hexdigest()
    for step, other in zip(found["chains"][0]["steps"][1:], way[1:], strict=True):
        assert step["commit"] == run(foreign, "git", "rev-parse", "HEAD").strip(), other


def test_forward_names_everything_made_of_a_file(foreign: Path) -> None:
    assert sorted(paths(traced(foreign, "pictures/b.png", "--forward"))) == [
        "all/pictures/b.png",
        "all/renamed/z.png",
        "pictures/b.png",
        "renamed/z.png",
        "small/z.webp",
    ]
    assert paths(traced(foreign, "data.csv", "--forward")) == [
        *("data.csv", "parts/test.csv", "parts/train.csv"),
    ]


def test_a_file_from_outside_is_found_by_content_alone(foreign: Path, tmp_path: Path) -> None:
    outside = tmp_path / "holiday.dat"
    outside.write_text("B")
    found = traced(foreign, outside, "--forward")
    assert "small/z.webp" in paths(found)
    assert [way[0][0] for way in ways(found)] == ["all/pictures/b.png", "renamed/z.png"]
    assert all(way[-1] == ("pictures/b.png", None) for way in ways(found))


def test_a_recorded_file_need_not_be_in_the_workspace(foreign: Path) -> None:
    shutil.rmtree(foreign / "small")
    (foreign / "data.csv").unlink()
    assert ways(traced(foreign, "small/z.webp"))[0][-1] == ("pictures/b.png", None)
    assert ways(traced(foreign, "data.csv")) == [[("data.csv", None)]]


def test_the_ui_shows_origins_of_any_repository(foreign: Path) -> None:
    run(foreign, "registry", "materialize", "--force")
    shown = tables(foreign)
    assert [(row["file"], row["how"], row["raw file"]) for row in shown["small", None]] == [
        ("a.webp", "other suffix (by name)", "pictures/a.png"),
        ("z.webp", "other suffix (by name)", "pictures/b.png"),
    ]
    assert [row["raw file"] for row in shown["all", None]] == [
        *("pictures/a.png", "pictures/b.png", "pictures/a.png", "pictures/b.png"),
    ]
    assert shown["parts", None] == shown["pictures", None] == []


GATHERING = """\
stages:
  gather:
    cmd: mkdir all && for n in raw/*/; do cp -r $n all/; done
    deps: [raw]
    outs: [all]
"""


def test_origins_of_what_reads_all_collections_include_the_newest(text_registry: Path) -> None:
    shutil.rmtree(text_registry / "processed")
    for name in ("01_a", "02_b", "03_c"):
        shutil.rmtree(text_registry / "raw" / name, ignore_errors=True)
    write_tree(text_registry, {"dvc.yaml": GATHERING, "raw/01_a/x.png": "1", "raw/02_b/x.png": "2"})
    for name in ("01_a", "02_b"):
        run(text_registry, "registry", "add", name)
    definitions = build_definitions(text_registry)
    # Added after the definitions were loaded, as the sensor and other people do.
    write_tree(text_registry, {"raw/03_c/y.png": "3"})
    keep_dvc(text_registry, "raw/03_c")
    with open_history(text_registry) as instance:
        lineage = lineage_of(text_registry)
        (planned,) = plan_runs(lineage, select_keys(lineage, 'key:"all"'), ())
        done = execute(definitions, instance, planned, force=False, tags={})
    assert done.failures == ()
    rows = tables(text_registry)["all", None]
    assert [(row["file"], row["collection"], row["raw file"]) for row in rows] == [
        ("01_a/x.png", "01_a", "raw/01_a/x.png"),
        ("02_b/x.png", "02_b", "raw/02_b/x.png"),
        ("03_c/y.png", "03_c", "raw/03_c/y.png"),
    ]


def test_links_into_the_cache_are_files_of_the_workspace(foreign: Path) -> None:
    run(foreign, "dvc", "config", "cache.type", "symlink")
    run(foreign, "dvc", "checkout", "--relink", "--quiet")
    assert (foreign / "renamed/z.png").is_symlink()
    assert ways(traced(foreign, foreign / "renamed/z.png"))[0][0][0] == "renamed/z.png"


def test_without_git_there_are_no_commits(foreign: Path) -> None:
    shutil.rmtree(foreign / ".git")
    run(foreign, "dvc", "config", "core.no_scm", "true")
    found = traced(foreign, "small/z.webp")
    assert {step["commit"] for step in found["chains"][0]["steps"]} == {None}


def test_an_import_from_elsewhere_is_the_end_of_the_way(foreign: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    run(here, "git", "init", "--quiet")
    run(here, "dvc", "init", "--quiet")
    run(here, "dvc", "import", "--quiet", str(foreign), "pictures", "-o", "taken")
    revision = run(foreign, "git", "rev-parse", "HEAD").strip()
    said = trace(here, "taken/a.png", "--no-runs").stdout
    assert f"= taken/a.png, imported from {foreign} at {revision}" in said
    (step,) = traced(here, "taken/a.png")["chains"][0]["steps"]
    assert step["made_of"] == [f"{foreign}/pictures"]


# --- what cannot be traced -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("nothing.png", "no metafile records one"),
        ("pictures", "is a folder"),
        ("pictures/nothing.png", "no metafile records one"),
        ("dvc.yaml", "no recorded version contains"),
        ("pipe", "neither a file"),
    ],
)
def test_what_cannot_be_traced_is_one_clear_line(foreign: Path, file: str, words: str) -> None:
    os.mkfifo(foreign / "pipe")
    done = trace(foreign, file, "--no-runs")
    assert done.exit_code == 1
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_a_folder_that_is_not_in_the_workspace_is_a_folder(foreign: Path) -> None:
    shutil.rmtree(foreign / "all")
    for folder in ("all", "all/pictures"):
        assert "is a folder: name one file in it" in trace(foreign, folder).stderr


def test_an_edited_file_is_said_to_be_edited(foreign: Path) -> None:
    (foreign / "pictures/a.png").unlink()
    (foreign / "pictures/a.png").write_text("edited")
    done = trace(foreign, "pictures/a.png")
    assert done.exit_code == 1
    assert "was edited" in done.stderr
    assert "registry status" in done.stderr


def test_no_file_is_wrong_usage(foreign: Path) -> None:
    assert CliRunner().invoke(main, ["--root", str(foreign), "trace"]).exit_code == 2
