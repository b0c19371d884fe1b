"""What people decide about images, from the outside: on the shipped data set, with `dvc` beside."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from dagster import AssetKey, TableMetadataValue
from PIL import Image

from registry_assets.errors import MetafileError
from registry_assets.images import Decision, read_decisions
from registry_assets.images.decision_text import editing, read_text, with_decisions
from registry_assets.images.decisions import EMPTY
from registry_assets.orchestration.history.opening import open_history
from registry_assets.orchestration.sensors.metafile_stamps import read_stamps
from registry_assets.registry.reading import read_registry
from registry_assets.settings import read_settings
from registry_assets.writing import write_whole
from tests.conftest import commit_all, lineage_of, run, write_tree
from tests.curation.asked import DATASET, FIRST, SECOND, registry, said
from tests.runs import define_assets, execute, plan_run

GOOD, BRIGHT = "camera_lake/IMG_0800.jpg", "camera_lake/IMG_1330.jpg"
STAGE = f"{DATASET}/data/intermediate/remove_dark_and_bright_images"
ADA = "Ada <ada@example.org>"


def outputs(root: Path, collection: str) -> list[str]:
    """The images of a collection that reach the end."""
    folders = (root / DATASET / "data/outputs").glob(f"*/*/{collection}")
    return sorted(
        place.relative_to(folder).as_posix()
        for folder in folders
        for place in folder.rglob("*")
        if place.is_file()
    )


def decided(root: Path, collection: str) -> dict[str, tuple[str, str, str]]:
    """Verdict, who and why, by path."""
    found = read_decisions(root / DATASET / "decisions" / f"{collection}.yaml")
    return {d.path: (d.verdict, d.by, d.why) for d in found.values()}


def status(root: Path) -> list[str]:
    """What is not up to date."""
    found = json.loads(registry(root, "status", "--json").output)
    return [output["path"] for output in found["outputs"] if output["state"] != "up_to_date"]


def test_one_image_is_brought_back_and_one_left_out_and_only_that_is_made_again(
    root: Path,
) -> None:
    before = outputs(root, FIRST)
    assert GOOD in before
    assert BRIGHT not in before
    (held,) = (root / DATASET / "data/outputs").glob(f"*/*/{FIRST}/{GOOD}")
    told = said(root, "deny", str(held), "--why", "a thumb before the lens")
    assert told.splitlines() == [
        f"denied     {FIRST}/{GOOD}  ({DATASET}/decisions/{FIRST}.yaml)",
        f"stale      {STAGE} [{FIRST}], and everything downstream",
        f"run `registry materialize --collection {FIRST}`",
    ]
    said(root, "allow", f"raw/{FIRST}/{BRIGHT}", "--why", "we want snow", "--by", "Eve")
    assert decided(root, FIRST) == {
        GOOD: ("deny", ADA, "a thumb before the lens"),
        BRIGHT: ("allow", "Eve", "we want snow"),
    }
    assert status(root) == [f"{STAGE}/{FIRST}"]

    done = run(root, "dvc", "repro", f"{DATASET}/dvc.yaml")
    ran = [line for line in done.splitlines() if line.startswith("Running stage")]
    assert [line.split(":")[1].split("@")[0] for line in ran] == [
        "remove_dark_and_bright_images",
        "classify_day_night_and_foggy_images",
    ]
    assert "remove_dark_and_bright_images" in done
    assert f"{FIRST}: 1 allowed, 1 denied, " in done
    assert outputs(root, FIRST) == sorted({*before, BRIGHT} - {GOOD})
    assert status(root) == []
    assert run(root, "dvc", "status", "-q") == ""

    chosen = registry(root, "trace", f"raw/{FIRST}/{GOOD}", "--no-runs").output
    assert f"left out of {DATASET} (collection {FIRST}) by {ADA} on " in chosen
    assert ", because: a thumb before the lens\n" in chosen
    found = json.loads(said(root, "trace", f"raw/{FIRST}/{BRIGHT}", "--no-runs", "--json"))
    (decision,) = found["decisions"]
    assert decision["decision"] == "allow"
    assert decision["dataset"] == DATASET
    assert (decision["by"], decision["why"]) == ("Eve", "we want snow")

    # Taken back, the thresholds hold again, and the run cache knows the result.
    told = said(root, "decisions", "--withdraw", f"raw/{FIRST}/{BRIGHT}", f"raw/{FIRST}/{GOOD}")
    assert told.count("withdrawn") == 2
    said(root, "materialize")
    assert outputs(root, FIRST) == before
    assert said(root, "decisions") == "no decisions\n"


def test_an_image_is_named_by_any_path_or_its_md5_and_listed_with_who_and_why(root: Path) -> None:
    copy = root.parent / "from elsewhere.jpg"
    shutil.copy(root / f"raw/{FIRST}/{GOOD}", copy)
    md5 = run(root, "md5sum", f"raw/{SECOND}/dogs.webp")[:32]
    frame = f"{DATASET}/data/intermediate/extract_frames/{SECOND}/city.mp4/frame_000000.jpg"
    said(root, "deny", str(copy), md5, frame, "--why", "not ours", "--by", "Eve")
    assert set(decided(root, FIRST)) == {GOOD}
    assert set(decided(root, SECOND)) == {"dogs.webp", "city.mp4/frame_000000.jpg"}
    listed = said(root, "decisions").splitlines()
    assert len(listed) == 3
    assert listed[0].startswith(f"deny       {DATASET}: {FIRST}/{GOOD}  (denied by Eve on ")
    assert listed[0].endswith(": not ours)")
    found = json.loads(said(root, "decisions", "--json", "--collection", SECOND, md5))
    assert [(d["path"], d["md5"], d["decision"]) for d in found] == [("dogs.webp", md5, "deny")]


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (f"raw/{SECOND}/brushes.png", "not a readable image (corrupt: broken PNG file"),
        (f"raw/{FIRST}/notes.txt", "not a readable image (not an image)"),
        (f"raw/{SECOND}/city.mp4", "is a video (video: 4 frames extracted): name single frames"),
        (f"raw/{FIRST}/nowhere.jpg", "there is no file"),
        ("0" * 32, "is in no data set"),
        (f"raw/{FIRST}", "is a folder: name one file in it"),
    ],
)
def test_what_cannot_be_allowed_is_said_and_nothing_is_written(
    demo: Path, monkeypatch: pytest.MonkeyPatch, file: str, reason: str
) -> None:
    monkeypatch.chdir(demo)
    done = registry(demo, "allow", f"raw/{FIRST}/{BRIGHT}", file, "--why", "x")
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"registry: {file} ") or reason.startswith("there is no file")
    assert reason in line
    assert decided(demo, FIRST) == {}


def test_a_decision_says_who_and_why_and_about_what_is_there(root: Path) -> None:
    image = f"raw/{FIRST}/{GOOD}"
    assert registry(root, "deny", image).exit_code == 2
    assert registry(root, "deny", image, "--why", " ").exit_code == 2
    assert registry(root, "decisions", "--withdraw").exit_code == 2
    failed = registry(root, "deny", image, "--why", "x", "--collection", SECOND)
    assert f"{DATASET} does not have it in {SECOND}" in failed.stderr
    failed = registry(root, "decisions", "--withdraw", image)
    assert "there is no decision about" in failed.stderr
    failed = registry(root, "deny", image, "--why", "x", "--dataset", "nope")
    assert "there is no data set nope" in failed.stderr
    file = root / DATASET / "decisions" / f"{FIRST}.yaml"
    file.write_text("decisions:\n  - md5: 12\n")
    failed = registry(root, "deny", image, "--why", "x")
    place = f"{DATASET}/decisions/{FIRST}.yaml:2"
    assert failed.stderr == f"registry: {place}: an entry lacks decision, by, why\n"
    assert file.read_text() == "decisions:\n  - md5: 12\n"


def test_a_data_set_whose_stages_heed_no_decisions_says_so(text_registry: Path) -> None:
    said(text_registry, "materialize", "--collection", "01_a")
    failed = registry(text_registry, "deny", "raw/01_a/one.txt", "--why", "x", "--by", "Ada")
    assert failed.exit_code == 1
    assert "no stage of processed/texts depends on decisions/${item}.yaml" in failed.stderr
    failed = registry(text_registry, "duplicates", "--leave-out", "texts")
    assert "no stage of processed/texts depends on" in failed.stderr
    assert said(text_registry, "decisions") == "no decisions\n"
    with (text_registry / "pyproject.toml").open("a") as settings:
        settings.write('leave_out_duplicates = { texts = "same", nope = "same" }\n')
    problems = registry(text_registry, "status").stderr
    assert "leave_out_duplicates names nope, but there is no such data set" in problems
    assert "leave_out_duplicates names texts, but no stage of it depends on decisions/" in problems


def test_a_decision_survives_another_name_and_another_collection(root: Path) -> None:
    said(root, "deny", f"raw/{FIRST}/{GOOD}", "--why", "blurred")
    # The collection under another name, and in it the image under another name.
    run(root, "cp", "-rL", f"raw/{FIRST}", "raw/03_renamed")
    (root / "raw/03_renamed" / GOOD).rename(root / "raw/03_renamed/other name.jpg")
    said(root, "take-out", FIRST, "--from", "01_image_dataset")
    said(root, "materialize", "--collection", "03_renamed")
    assert decided(root, "03_renamed") == {"other name.jpg": ("deny", ADA, "blurred")}
    assert "other name.jpg" not in outputs(root, "03_renamed")
    assert status(root) == []


def test_what_was_decided_about_an_image_that_is_gone_can_be_taken_back(root: Path) -> None:
    said(root, "deny", f"raw/{FIRST}/{GOOD}", f"raw/{FIRST}/{BRIGHT}", "--why", "x")
    said(root, "take-out", FIRST, "--from", "01_image_dataset")
    file = root / DATASET / "decisions" / f"{FIRST}.yaml"
    assert len(read_decisions(file)) == 2
    # Taken in anew, it has its decisions at once.
    said(root, "import", FIRST, "--into", "01_image_dataset")
    said(root, "take-out", FIRST, "--from", "01_image_dataset")
    said(root, "decisions", "--withdraw", f"{FIRST}/{GOOD}", f"raw/{FIRST}/{BRIGHT}")
    assert read_decisions(file) == {}
    file.unlink()
    said(root, "import", FIRST, "--into", "01_image_dataset")
    assert file.read_text() == EMPTY


def test_of_decisions_that_are_made_at_the_same_time_none_is_lost(tmp_path: Path) -> None:
    file = tmp_path / "decisions" / "01_a.yaml"

    def decide(number: int) -> None:
        with editing(file):
            made = Decision(f"{number:032x}", "deny", "Ada", "x")
            write_whole(file, with_decisions(read_text(file), [made], "x"))

    with ThreadPoolExecutor(8) as executor:
        list(executor.map(decide, range(40)))
    assert len(read_decisions(file)) == 40
    assert [place.name for place in file.parent.iterdir()] == ["01_a.yaml"]


def test_what_is_decided_about_one_collection_does_not_hold_in_others(root: Path) -> None:
    said(root, "deny", f"raw/{FIRST}/{GOOD}", "--why", "x", "--collection", FIRST)
    write_tree(root, {"raw/03_more/empty.txt": ""})
    shutil.copy(root / f"raw/{FIRST}/{GOOD}", root / "raw/03_more/again.jpg")
    said(root, "materialize", "--collection", "03_more")
    assert decided(root, "03_more") == {}
    assert outputs(root, "03_more") == ["again.jpg"]
    # Without that, it is about the content, wherever it is.
    said(root, "deny", f"raw/{FIRST}/{GOOD}", "--why", "y")
    assert {decided(root, name).popitem()[1][2] for name in (FIRST, "03_more")} == {"y"}


@pytest.fixture
def with_duplicates(root: Path) -> Iterator[Path]:
    """The registry with a setting, and a collection that has an image of another one."""
    with (root / "pyproject.toml").open("a") as settings:
        settings.write('leave_out_duplicates = { 01_image_dataset = "same" }\n')
    (root / "raw/03_more").mkdir()
    shutil.copy(root / f"raw/{FIRST}/{GOOD}", root / "raw/03_more/again.jpg")
    shutil.copy(root / f"raw/{SECOND}/dogs.webp", root / "raw/03_more/dogs.webp")
    return root


def test_what_a_collection_before_has_is_left_out_when_a_collection_is_taken_in(
    with_duplicates: Path,
) -> None:
    root = with_duplicates
    said(root, "materialize", "--collection", "03_more")
    assert decided(root, "03_more") == {
        "again.jpg": ("deny", "registry", f"the same picture as {FIRST}/{GOOD}"),
        "dogs.webp": ("deny", "registry", f"the same picture as {SECOND}/dogs.webp"),
    }
    assert outputs(root, "03_more") == []
    assert status(root) == []
    assert run(root, "dvc", "status", "-q") == ""

    # A person's word stays, also when all is looked at again.
    image = "raw/03_more/dogs.webp"
    said(root, "allow", image, "--why", "ours", "--collection", "03_more")
    assert said(root, "duplicates", "--leave-out", "01_image_dataset") == "nothing changed\n"
    said(root, "materialize")
    assert outputs(root, "03_more") == ["dogs.webp"]

    # Of what is taken out, the copy comes back.
    told = said(root, "take-out", FIRST, "--from", "01_image_dataset")
    assert f"back       03_more/again.jpg  ({FIRST}/{GOOD} is gone)" in told
    said(root, "materialize")
    assert outputs(root, "03_more") == ["again.jpg", "dogs.webp"]


def test_denying_the_picture_that_stayed_brings_back_what_looks_like_it(root: Path) -> None:
    (root / "raw/03_more").mkdir()
    with Image.open(root / f"raw/{FIRST}/{GOOD}") as image:
        image.convert("RGB").save(root / "raw/03_more/again.png")
    said(root, "materialize", "--collection", "03_more")
    told = said(root, "duplicates", "--leave-out", "01_image_dataset", "--distance", "2")
    assert (
        f"left out   03_more/again.png  (looks like {FIRST}/{GOOD} (0 of 64 bits differ))" in told
    )
    told = said(root, "deny", f"raw/{FIRST}/{GOOD}", "--why", "a thumb")
    assert f"back       03_more/again.png  ({FIRST}/{GOOD} is gone)" in told
    assert decided(root, "03_more") == {}


def test_denying_the_picture_that_stayed_leaves_out_no_other(root: Path) -> None:
    (root / "raw/03_more").mkdir()
    shutil.copy(root / f"raw/{FIRST}/{GOOD}", root / "raw/03_more/again.jpg")
    shutil.copy(root / f"raw/{SECOND}/dogs.webp", root / "raw/03_more/dogs.webp")
    said(root, "materialize", "--collection", "03_more")
    said(root, "duplicates", "--leave-out", "01_image_dataset")
    said(root, "decisions", "--withdraw", "raw/03_more/dogs.webp")
    good = f"raw/{FIRST}/{GOOD}"
    told = said(root, "deny", good, "--collection", FIRST, "--why", "a thumb")
    assert f"back       03_more/again.jpg  ({FIRST}/{GOOD} is gone)" in told
    assert decided(root, "03_more") == {}


@pytest.mark.parametrize("said", ["[]", '{ x = "all" }', '"same"'])
def test_a_setting_that_says_nothing_of_duplicates_is_refused(tmp_path: Path, said: str) -> None:
    (tmp_path / "pyproject.toml").write_text(
        f"[tool.registry_assets]\nleave_out_duplicates = {said}\n"
    )
    with pytest.raises(MetafileError, match='must be a table of "same" or "alike" by data set'):
        read_settings(tmp_path)


def take_in_with_dvc(root: Path, name: str) -> None:
    """As the README says it for people without `registry`."""
    run(root, "dvc", "add", "-q", f"raw/{name}")
    run(root, "dvc", "import-url", "-q", f"raw/{name}", f"{DATASET}/data/inputs/{name}")
    with (root / DATASET / "collections.yaml").open("a") as listed:
        listed.write(f'  - "{name}"\n')


def test_plain_dvc_takes_decisions_as_they_stand_and_writes_none(with_duplicates: Path) -> None:
    root = with_duplicates
    take_in_with_dvc(root, "03_more")
    file = root / DATASET / "decisions/03_more.yaml"
    failed = subprocess.run(
        ["dvc", "repro", f"{DATASET}/dvc.yaml"], cwd=root, capture_output=True, text=True
    )
    assert failed.returncode != 0
    assert f"No such file or directory: '{file}'" in failed.stderr
    file.write_text("decisions: []\n")
    run(root, "dvc", "repro", f"{DATASET}/dvc.yaml")
    assert file.read_text() == "decisions: []\n"
    assert outputs(root, "03_more") == ["again.jpg", "dogs.webp"]
    assert status(root) == []
    # Deciding is one command, and dvc follows.
    said(root, "duplicates", "--leave-out", "01_image_dataset")
    run(root, "dvc", "repro", f"{DATASET}/dvc.yaml")
    assert outputs(root, "03_more") == []
    assert status(root) == []


def test_what_dvc_measured_is_decided_about_when_the_registry_makes_the_rest(
    with_duplicates: Path,
) -> None:
    root = with_duplicates
    take_in_with_dvc(root, "03_more")
    run(root, "dvc", "repro", f"{DATASET}/dvc.yaml:measure_images@03_more")
    assert not (root / DATASET / "decisions/03_more.yaml").exists()
    told = said(root, "materialize")
    assert "03_more: 2 duplicates left out" in told
    assert outputs(root, "03_more") == []
    assert run(root, "dvc", "status", "-q") == ""


def test_a_run_of_each_stage_by_itself_leaves_the_same_out(with_duplicates: Path) -> None:
    root = with_duplicates
    said(root, "add", "03_more")
    said(root, "import", "03_more", "--into", "01_image_dataset")
    file = root / DATASET / "decisions/03_more.yaml"
    assert file.read_text() == EMPTY
    stages = (
        "extract_frames",
        "measure_images",
        "remove_corrupted_images",
        "remove_dark_and_bright_images",
    )
    with open_history(root) as instance:
        for stage in stages:
            assert file.read_text() == EMPTY
            lineage = lineage_of(root)
            planned = plan_run(lineage, f"{DATASET}/data/intermediate/{stage}/03_more")
            done = execute(define_assets(lineage), instance, planned, force=False, tags={})
            assert done.failures == ()
    assert len(decided(root, "03_more")) == 2
    said(root, "materialize")
    assert outputs(root, "03_more") == []
    assert run(root, "dvc", "status", "-q") == ""


def test_measures_from_the_run_cache_are_decided_about_too(with_duplicates: Path) -> None:
    root = with_duplicates
    said(root, "materialize", "--collection", "03_more")
    said(root, "take-out", "03_more", "--from", "01_image_dataset")
    (root / DATASET / "decisions/03_more.yaml").unlink()
    said(root, "deny", f"raw/{FIRST}/{GOOD}", "--why", "blurred")
    told = said(root, "materialize", "--collection", "03_more")
    assert f"restored {DATASET}/data/intermediate/measure_images/03_more" in told
    assert {path: who for path, (_, who, _) in decided(root, "03_more").items()} == {
        "again.jpg": ADA,
        "dogs.webp": "registry",
    }
    assert outputs(root, "03_more") == []


def test_copies_within_a_collection_and_across_new_ones_leave_one_of_each(
    with_duplicates: Path,
) -> None:
    root = with_duplicates
    with Image.open(root / f"raw/{FIRST}/{GOOD}") as image:
        image.convert("RGB").save(root / "new.png")
    for place in ("03_more/b.png", "03_more/copy/a.png", "04_more/x.png", "05_more/x.png"):
        (root / "raw" / place).parent.mkdir(exist_ok=True)
        shutil.copy(root / "new.png", root / "raw" / place)
    names = ("03_more", "04_more", "05_more")
    chosen = [option for name in names for option in ("--collection", name)]
    said(root, "materialize", *chosen)
    left = [f"{name}/{path}" for name in names for path in outputs(root, name)]
    assert len(left) == 1
    assert status(root) == []
    # Looked at again, and made again, nothing changes.
    assert said(root, "duplicates", "--leave-out", "01_image_dataset") == "nothing changed\n"
    said(root, "materialize", *chosen, "--force")
    assert [f"{name}/{path}" for name in names for path in outputs(root, name)] == left
    assert run(root, "dvc", "status", "-q") == ""


def test_a_picture_comes_back_when_the_next_version_of_a_collection_lacks_the_one_that_stayed(
    with_duplicates: Path,
) -> None:
    root = with_duplicates
    said(root, "materialize", "--collection", "03_more")
    (root / f"raw/{FIRST}/{GOOD}").unlink()
    told = said(root, "materialize", "--collection", FIRST)
    assert f"03_more: 1 images are no longer duplicates, as {FIRST} changed" in told
    assert set(decided(root, "03_more")) == {"dogs.webp"}
    assert status(root) == [f"{STAGE}/03_more"]
    said(root, "materialize")
    assert outputs(root, "03_more") == ["again.jpg"]


def test_what_looks_alike_is_never_left_out_by_itself(root: Path) -> None:
    with (root / "pyproject.toml").open("a") as settings:
        settings.write('leave_out_duplicates = { 01_image_dataset = "alike" }\n')
    (root / "raw/03_more").mkdir()
    shutil.copy(root / f"raw/{SECOND}/dogs.webp", root / "raw/03_more/dogs.webp")
    with Image.open(root / f"raw/{FIRST}/{GOOD}") as image:
        image.convert("RGB").save(root / "raw/03_more/again.png")
    told = said(root, "materialize", "--collection", "03_more")
    line = '"alike" leaves out identical pictures only: `registry duplicates --distance N` lists'
    assert line in told
    assert set(decided(root, "03_more")) == {"dogs.webp"}
    done = registry(root, "duplicates", "--leave-out", "01_image_dataset")
    assert done.stdout == "nothing changed\n"
    assert done.stderr.startswith(f"registry: leave_out_duplicates: {line}")
    said(root, "duplicates", "--leave-out", "01_image_dataset", "--distance", "2")
    assert set(decided(root, "03_more")) == {"dogs.webp", "again.png"}


def test_duplicates_are_left_out_by_hand_where_no_setting_says_so(root: Path) -> None:
    (root / "raw/03_more").mkdir()
    shutil.copy(root / f"raw/{FIRST}/{GOOD}", root / "raw/03_more/again.jpg")
    said(root, "materialize", "--collection", "03_more")
    assert outputs(root, "03_more") == ["again.jpg"]
    told = said(root, "duplicates", "--leave-out", "01_image_dataset").splitlines()
    same = f"the same picture as {FIRST}/{GOOD}"
    assert told[0] == f"left out   03_more/again.jpg  ({same})"
    assert told[-1] == "run `registry materialize --collection 03_more`"
    assert registry(root, "duplicates", "03_more", "--leave-out", "x").exit_code == 2


def test_the_numbers_are_in_the_metadata_of_the_stage_that_heeds_them(root: Path) -> None:
    said(root, "deny", f"raw/{FIRST}/{GOOD}", "--why", "a thumb")
    lineage = lineage_of(root)
    expected = {"decisions/allowed": 0, "decisions/denied": 1, "decisions/duplicates": 0}
    key = AssetKey(STAGE.split("/"))
    with open_history(root) as instance:
        planned = plan_run(lineage, f"{STAGE}/{FIRST}")
        done = execute(define_assets(lineage), instance, planned, force=False, tags={})
        assert done.failures == ()
        event = instance.get_latest_materialization_event(key)
        assert event is not None
        assert event.asset_materialization is not None
        metadata = event.asset_materialization.metadata
        assert {name: metadata[name].value for name in expected} == expected
        examples = metadata["decisions/examples"]
        assert isinstance(examples, TableMetadataValue)
        assert [row.data["why"] for row in examples.records] == ["a thumb"]
    said(root, "deny", f"raw/{FIRST}/camera_lake/IMG_1200.jpg", "--why", "another")
    said(root, "materialize")
    with open_history(root) as instance:
        event = instance.get_latest_materialization_event(key)
        assert event is not None
        assert event.asset_materialization is not None
        assert event.asset_materialization.metadata["decisions/denied"].value == 2
    other = said(root, "lineage", "--check")
    assert other.endswith("newest materializations agree\n")


def test_a_decision_is_noticed_without_loading_the_definitions_anew(root: Path) -> None:
    before = read_stamps(read_registry(root))
    said(root, "deny", f"raw/{FIRST}/{GOOD}", "--why", "x")
    after = read_stamps(read_registry(root))
    assert after.definitions == before.definitions
    assert after.metafiles != before.metafiles


def test_decisions_are_published_and_committed_with_what_was_made_by_them(root: Path) -> None:
    bare = root.parent / "shared.git"
    run(root, "git", "init", "--quiet", "--bare", str(bare))
    run(root, "git", "remote", "add", "origin", str(bare))
    run(root, "git", "push", "--quiet", "origin", "HEAD:main")
    file = f"{DATASET}/decisions/{FIRST}.yaml"
    said(root, "deny", f"raw/{FIRST}/{GOOD}", "--why", "x")
    (root / DATASET / "decisions/notes.txt").write_text("mine\n")
    planned = json.loads(said(root, "publish", "--dry-run", "--json"))
    assert planned["files"] == [file]
    assert planned["title"] == "Decide about an image"
    assert f"\n- {FIRST}/{GOOD}: denied by {ADA} on " in planned["description"]

    with (root / "pyproject.toml").open("a") as settings:
        settings.write('git = "commit"\nprotected_branches = []\n')
    said(root, "materialize")
    changed = run(root, "git", "show", "--format=", "--name-only", "HEAD").split()
    assert file in changed
    assert f"{DATASET}/dvc.lock" in changed
    assert run(root, "git", "status", "--short").split("\n")[:-1] == [
        " M pyproject.toml",
        f"?? {DATASET}/decisions/notes.txt",
    ]


def test_two_peoples_decisions_about_one_collection_are_merged(root: Path) -> None:
    start = commit_all(root)
    said(root, "deny", f"raw/{FIRST}/{GOOD}", "--why", "mine")
    mine = commit_all(root)
    run(root, "git", "checkout", "--quiet", "-b", "theirs", start)
    said(root, "allow", f"raw/{FIRST}/{BRIGHT}", "--why", "theirs")
    commit_all(root)
    run(root, "git", "merge", "--quiet", mine)
    assert {why for _, _, why in decided(root, FIRST).values()} == {"mine", "theirs"}
