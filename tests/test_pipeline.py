"""The shipped data set as a pipeline of DVC: what makes its results is what its stages declare."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from registry_assets.cli import main
from registry_assets.images.algorithms import ALGORITHMS
from registry_assets.intake.initialising import init_registry
from registry_assets.registry.reading import read_registry
from tests.conftest import commit_all, run
from tests.images.drawing import noise, save, write_video

DATASET = "processed/01_image_dataset"
EARLIER = Path(__file__).parent / "earlier" / "0.1.0"

AUDIT = """\
import os, sys
arguments = sys.orig_argv[1:]
if arguments and arguments[0].startswith("src/"):
    os.environ["AUDITED"] = "python " + " ".join(arguments)
if "AUDITED" in os.environ:
    log = os.open(os.environ["AUDIT_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    names = {"open", "os.link", "os.listdir", "os.mkdir", "os.remove", "os.rename", "os.rmdir",
             "os.scandir", "os.symlink", "os.truncate", "shutil.rmtree", "sqlite3.connect"}
    def hook(event, said):
        # A name beside a descriptor is one in the folder that this was opened for.
        by_descriptor = event in ("os.mkdir", "os.remove", "os.rmdir") and said[-1] != -1
        if event in names and not by_descriptor:
            for path in said[: 2 if event in ("os.link", "os.rename", "os.symlink") else 1]:
                if isinstance(path, (str, bytes, os.PathLike)):
                    place = os.path.abspath(os.fsdecode(path).removeprefix("file://").split("?")[0])
                    line = "\\t".join((os.environ["AUDITED"], event, place))
                    os.write(log, os.fsencode(line + "\\n"))
    sys.addaudithook(hook)
"""


def registry(root: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--root", str(root), *arguments])


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registry with a collection that is not taken in yet: pictures, a copy and a video."""
    monkeypatch.chdir(tmp_path)
    made = tmp_path / "registry"
    list(init_registry(made))
    for number, name in enumerate(("a.png", "b.jpg", "copy/b.jpg")):
        save(made / "raw/01_a" / name, noise(48, 64, seed=min(number, 1)))
    write_video(made / "raw/01_a/clip.mp4", frames=12)
    (made / "raw/01_a/notes.txt").write_text("none\n")
    return made


def test_stages_touch_what_they_declare_and_a_clone_makes_the_same_on_another_day(
    root: Path,
) -> None:
    with (root / "pyproject.toml").open("a") as settings:
        settings.write('leave_out_duplicates = { 01_image_dataset = "same" }\n')
    shutil.copytree(root / "raw/01_a", root / "raw/02_b")
    (root / "raw/02_b/clip.mp4").unlink()
    save(root / "raw/02_b/own.png", noise(48, 64, seed=9))
    done = registry(root, "materialize", "--collection", "01_a", "--collection", "02_b")
    assert done.exit_code == 0, done.output
    # As on another day: what was decided stands there, and nobody looks at a calendar.
    for file in (root / DATASET / "decisions").iterdir():
        assert 'by: "registry"' in file.read_text()
        text = file.read_text()
        file.write_text(text.replace(text.split('date: "')[1][:10], "2021-10-16"))
    assert registry(root, "materialize").exit_code == 0
    commit_all(root)
    run(root, "dvc", "push", "-q", "raw/01_a.dvc", "raw/02_b.dvc")

    clone = root.parent / "elsewhere"
    run(root.parent, "git", "clone", "--quiet", str(root), str(clone))
    shutil.copytree(root / ".dvc/storage", clone / ".dvc/storage")
    run(clone, "dvc", "remote", "modify", "--local", "storage", "url", str(clone / ".dvc/storage"))
    inputs = [f"{DATASET}/data/inputs/{name}.dvc" for name in ("01_a", "02_b")]
    run(clone, "dvc", "pull", "-q", "raw/01_a.dvc", "raw/02_b.dvc", *inputs)
    (clone / "python").mkdir()
    (clone / "python/sitecustomize.py").write_text(AUDIT)
    log = clone.parent / "audit.txt"
    environment = {"PYTHONPATH": str(clone / "python"), "AUDIT_LOG": str(log)}
    said = run(clone, "dvc", "repro", f"{DATASET}/dvc.yaml", env=environment)
    # The last stage of the second collection has the outputs of the first's in the cache.
    assert said.count("Running stage") >= 9
    shutil.rmtree(clone / "python")
    assert run(clone, "git", "status", "--short") == ""
    assert run(clone, "dvc", "status", "-q") == ""

    stages = {stage.command: stage for stage in read_registry(clone).stages}
    seen, undeclared = set(), []
    for line in log.read_text(errors="surrogateescape").splitlines():
        command, event, path = line.split("\t")
        stage, place = stages[command], Path(path)
        seen.add(command)
        if not place.is_relative_to(clone) or place.is_relative_to(clone / "python"):
            continue
        # What Python compiled, and measures by content: with and without, results are the same.
        if place.is_relative_to(clone / ".dvc/tmp") or "__pycache__" in place.parts:
            continue
        outs = [clone / out.path for out in stage.outputs]
        deps = [clone / dependency.path for dependency in stage.dependencies]
        is_inside = any(place.is_relative_to(known) for known in (*outs, *deps))
        is_above = event == "os.mkdir" and any(out.is_relative_to(place) for out in outs)
        # Where Python looks for modules.
        is_import = place in (clone / DATASET, clone / DATASET / "src") and event == "os.listdir"
        if not (is_inside or is_above or is_import):
            undeclared.append(line)
    assert undeclared == []
    assert {stages[command].name.partition("@")[0] for command in seen} == {
        "extract_frames",
        "measure_images",
        "remove_corrupted_images",
        "remove_dark_and_bright_images",
        "classify_day_night_and_foggy_images",
    }


def test_a_data_set_that_states_another_algorithm_is_refused_until_it_states_ours(
    root: Path,
) -> None:
    parameters = root / DATASET / "params.yaml"
    ours = parameters.read_text()
    parameters.write_text(ours.replace("measures: ", "measures: 1"))
    done = registry(root, "materialize", "--collection", "01_a")
    assert done.exit_code == 1
    assert "Traceback" not in done.output + done.stderr
    assert f"write `measures: {ALGORITHMS['measures']}` under `algorithms`" in done.stderr
    parameters.write_text(ours)
    assert registry(root, "materialize", "--collection", "01_a").exit_code == 0
    # Another number makes stale what it governs, and what is made of that.
    parameters.write_text(ours.replace("measures: ", "measures: 1"))
    status = run(root, "dvc", "status", f"{DATASET}/dvc.yaml", "--json")
    assert [line.split("@")[0] for line in status.split('"')[1::2] if "@01_a" in line] == [
        f"{DATASET}/dvc.yaml:measure_images"
    ]


@pytest.fixture
def earlier(root: Path) -> Path:
    """The same with the data set as 0.1.0 shipped it, a threshold and a stage edited."""
    for place in (EARLIER / "src").glob("*.py"):
        shutil.copy(place, root / DATASET / "src")
    # Under its own name it would be a pipeline of this repository.
    shutil.copy(EARLIER / "pipeline.yaml", root / DATASET / "dvc.yaml")
    shutil.copy(EARLIER / "params.yaml", root / DATASET)
    parameters = root / DATASET / "params.yaml"
    text = parameters.read_text().replace("dark_image_threshold: 20", "dark_image_threshold: 7")
    parameters.write_text(text + "# of ours\nours: [1]\n")
    with (root / DATASET / "src/remove_corrupted_images.py").open("a") as program:
        program.write("# edited\n")
    return root


def test_a_data_set_of_an_earlier_version_says_what_to_do_and_is_upgraded(earlier: Path) -> None:
    root = earlier
    before = {place: place.read_bytes() for place in (root / DATASET).rglob("*") if place.is_file()}
    done = registry(root, "materialize", "--collection", "01_a")
    assert done.exit_code == 1
    assert "Traceback" not in done.output + done.stderr
    assert "run `registry init . --upgrade`" in done.stderr
    (line,) = (line for line in init_registry(root) if DATASET in line)
    assert line.startswith(f"{DATASET} was created by another version of registry-assets")
    assert {place: place.read_bytes() for place in before} == {
        **before,
        root / DATASET / "collections.yaml": (root / DATASET / "collections.yaml").read_bytes(),
    }

    said = [line for line in init_registry(root, upgrade=True) if DATASET in line]
    edited = f"{DATASET}/src/remove_corrupted_images.py"
    assert f"{edited} was edited and is not changed: merge the new version, {edited}.new" in said
    assert f"wrote {DATASET}/src/measure_images.py" in said
    assert (root / edited).read_bytes() == before[root / edited]
    text = (root / DATASET / "params.yaml").read_text()
    assert "\ndark_image_threshold: 7\n" in text
    assert "# of ours\nours: [1]\n" in text
    assert "\nmax_megapixels: 250\n" in text
    shutil.move(root / f"{edited}.new", root / edited)
    assert not [line for line in init_registry(root) if DATASET in line]
    done = registry(root, "materialize", "--collection", "01_a")
    assert done.exit_code == 0, done.stderr
    assert run(root, "dvc", "status", "-q") == ""


def test_a_stage_program_of_an_earlier_version_ends_in_one_line(earlier: Path) -> None:
    program = earlier / DATASET / "src/measure_images.py"
    command = [sys.executable, str(program), "x", "y", "z"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "run `registry init . --upgrade`" in done.stderr
