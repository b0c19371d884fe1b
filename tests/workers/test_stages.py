"""Stages made by a worker, and what `dvc repro` makes of the same."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Timer

import pytest

from registry_assets.workers.orders import Answer, Order
from registry_assets.workers.place import CACHE
from registry_assets.workers.versions import read_versions
from registry_assets.workers.worker import carry_out
from tests.conftest import commit_all, run, write_tree
from tests.workers.conftest import TEXTS
from tests.workers.ordering import ask, entry_of, make, recorded


def left_in(place: Path) -> Iterator[str]:
    """What lies in the work trees besides the snapshot, and settings and memory of DVC."""
    for tree in (place / "trees").iterdir():
        listed = run(tree, "git", "status", "--porcelain", "--ignored", "-uall").splitlines()
        yield from (line for line in listed if ".dvc/" not in line)


@pytest.mark.parametrize(
    "stage",
    [
        "upper@01_a",
        "upper@02_b",
        "twice",
        "part",
        "around",
        "measured",
        "plain",
        "kept",
        "nothing",
        "raw",
    ],
)
def test_the_entry_is_the_one_that_dvc_writes(registry: Path, place: Path, stage: str) -> None:
    answer = make(ask(registry, f"{TEXTS}{stage}"), place)
    assert entry_of(answer) == recorded(registry, f"{TEXTS}{stage}")
    assert answer.made is not None
    assert (answer.made.outcome, answer.made.is_in_cache) == ("ran", False)


def test_others_find_outputs_and_run_on_the_remote(registry: Path, place: Path) -> None:
    for stage in ("upper@01_a", "twice", "measured"):
        entry_of(make(ask(registry, f"{TEXTS}{stage}"), place))
    shutil.rmtree(registry / ".dvc" / "cache" / "runs", ignore_errors=True)
    texts = registry / "processed/texts"
    commands = "upper.py", "count.py"
    run(texts, "dvc", "fetch", "--quiet", "--run-cache")
    before = {name: (texts / name).read_text() for name in commands}
    for stage in ("upper@01_a", "twice", "measured"):
        said = run(texts, "dvc", "repro", "--single-item", "--pull", stage)
        assert "is cached - skipping run" in said
    assert {name: (texts / name).read_text() for name in commands} == before
    assert (texts / "data/upper/01_a/two.txt").read_text() == "TWO\n"
    assert (texts / "numbers.json").read_text() == '{"files": 6}'


def test_the_tree_has_nothing_of_a_stage_afterwards(registry: Path, place: Path) -> None:
    for stage in ("upper@01_a", "twice", "part", "around", "measured", "kept", "fails"):
        make(ask(registry, f"{TEXTS}{stage}"), place)
        # DVC keeps outputs out of Git, and these lines are for the registry to write.
        assert list(left_in(place)) == []


def test_previous_outputs_that_persist_are_there_to_be_written_to(
    registry: Path, place: Path
) -> None:
    run(registry / "processed/texts", "dvc", "repro", "--quiet", "kept")
    run(registry, "dvc", "push", "--quiet")
    write_tree(registry, {"processed/texts/upper.py": "changed\n"})
    text = (registry / "processed/texts/dvc.yaml").read_text()
    text = text.replace("deps: [data/inputs/02_b]", "deps: [data/inputs/02_b, upper.py]")
    write_tree(registry, {"processed/texts/dvc.yaml": text})
    asked = ask(registry, f"{TEXTS}kept")
    assert len(asked.order.stage.previous) == 1
    answer = make(asked, place)
    assert entry_of(answer) == recorded(registry, f"{TEXTS}kept")
    assert "size: 12" in entry_of(answer)
    # The version before is as it was in the cache.
    objects = list((place / "cache/files/md5").glob("*/*"))
    assert "three\n" in [path.read_text() for path in objects if path.stat().st_size == 6]


def test_an_edit_that_nobody_committed_is_what_runs(registry: Path, place: Path) -> None:
    code = registry / "processed/texts/upper.py"
    code.write_text(code.read_text().replace("upper()", "title()"))
    answer = make(ask(registry, f"{TEXTS}upper@01_a"), place)
    assert entry_of(answer) == recorded(registry, f"{TEXTS}upper@01_a")


def test_edits_since_the_snapshot_travel_in_the_order(registry: Path, place: Path) -> None:
    asked = ask(registry, f"{TEXTS}upper@01_a")
    code = registry / "processed/texts/upper.py"
    code.write_text(code.read_text().replace("upper()", "title()"))
    later = ask(registry, f"{TEXTS}upper@01_a")
    edits = {
        "processed/texts/upper.py": base64.b64encode(code.read_bytes()).decode(),
        "processed/texts/count.py": None,
        "new/file.txt": base64.b64encode(b"new").decode(),
    }
    answer = make(asked, place, stage=later.order.stage, edits=edits)
    assert entry_of(answer) == recorded(registry, f"{TEXTS}upper@01_a")
    # The next one begins with the snapshot again.
    entry_of(make(asked, place))
    assert list(left_in(place)) == []
    outside = make(asked, place, edits={"../../lost": base64.b64encode(b"").decode()})
    assert outside.problem is not None
    assert "outside of the snapshot" in outside.problem.reason


@pytest.mark.parametrize("change", ["code", "parameter", "folder", "gone"])
def test_a_dependency_that_is_not_as_recorded_is_named(
    registry: Path, place: Path, change: str
) -> None:
    stage = {"code": "upper@01_a", "parameter": "upper@01_a"}.get(change, "measured")
    asked = ask(registry, f"{TEXTS}{stage}")
    path, text = {
        "code": ("processed/texts/upper.py", b"exit(1)\n"),
        "parameter": ("processed/texts/params.yaml", b"suffix: 2\n"),
        "folder": ("processed/texts/tables/weights/second.csv", b""),
        "gone": ("processed/texts/count.py", None),
    }[change]
    content = None if text is None else base64.b64encode(text).decode()
    problem = make(asked, place, edits={path: content}).problem
    assert problem is not None
    assert problem.kind == "outdated"
    assert path.startswith(problem.paths[0])


def test_what_ran_once_is_found_by_other_workers(registry: Path, place: Path) -> None:
    asked = ask(registry, f"{TEXTS}measured")
    first = make(asked, place)
    for again in (make(asked, place), make(asked, place.parent / "elsewhere")):
        assert again.made is not None
        assert again.made.outcome == "restored"
        assert entry_of(again) == entry_of(first)
    # Found on the remote: nothing was fetched but the listing of the folder.
    elsewhere = list((place.parent / "elsewhere/cache/files/md5").glob("*/*"))
    assert [path.suffix for path in elsewhere] == [".dir"]
    forced = make(ask(registry, f"{TEXTS}measured", force=True), place)
    assert forced.made is not None
    assert forced.made.outcome == "ran"


def test_outputs_that_the_remote_has_lost_are_made_or_pushed_again(
    registry: Path, place: Path
) -> None:
    asked = ask(registry, f"{TEXTS}upper@01_a")
    remote = registry.parent / "remote/files"
    before = set(remote.glob("*/*/*"))
    entry_of(make(asked, place))
    made = set(remote.glob("*/*/*")) - before
    assert len(made) == 3
    for path in made:
        path.unlink()
    assert make(asked, place.parent / "elsewhere").made.outcome == "ran"  # type: ignore[union-attr]
    for path in made:
        path.unlink()
    assert make(asked, place).made.outcome == "restored"  # type: ignore[union-attr]
    assert set(remote.glob("*/*/*")) - before == made


def test_nothing_is_pushed_where_the_cache_is_shared(
    registry: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = registry / ".dvc" / "cache"
    write_tree(cache, {"registry_assets/beacons/lit": ""})
    monkeypatch.setenv(CACHE, str(cache))
    run(registry, "dvc", "remote", "remove", "store")
    shutil.rmtree(registry.parent / "remote")
    asked = ask(registry, f"{TEXTS}measured")
    answer = make(asked, place, beacon="lit")
    assert entry_of(answer) == recorded(registry, f"{TEXTS}measured")
    assert answer.made is not None
    assert answer.made.is_in_cache
    assert not (place / "cache").exists()
    assert not (cache / "registry_clones").exists()
    # Without the beacon it is not known to be the same.
    problem = make(asked, place, beacon="out").problem
    assert problem is not None
    assert "default remote" in problem.reason
    for out in answer.made.entry["outs"]:
        md5 = out["md5"]
        assert (cache / "files/md5" / md5[:2] / md5[2:]).is_file()


def test_the_cache_that_the_registry_names_is_used_if_it_is_there(
    registry: Path, place: Path
) -> None:
    outer = registry.parent / "outer"
    shutil.move(registry / ".dvc" / "cache", outer)
    run(registry, "dvc", "cache", "dir", "--quiet", str(outer))
    commit_all(registry)
    write_tree(outer, {"registry_assets/beacons/lit": ""})
    asked = ask(registry, f"{TEXTS}twice")
    answer = make(asked, place, beacon="lit")
    assert answer.made is not None
    assert answer.made.is_in_cache
    assert not (outer / "registry_clones").exists()
    outer.rename(registry.parent / "elsewhere")
    answer = make(asked, place, beacon="lit")
    assert answer.made is not None
    assert not answer.made.is_in_cache


def test_inputs_that_are_nowhere_are_named(registry: Path, place: Path) -> None:
    asked = ask(registry, f"{TEXTS}around")
    md5 = asked.order.stage.inputs[1].md5
    (registry.parent / "remote/files/md5" / md5[:2] / md5[2:]).unlink()
    problem = make(asked, place).problem
    assert problem is not None
    assert (problem.kind, problem.paths) == ("lacking", ["processed/texts/data/inputs/02_b"])
    run(registry, "dvc", "push", "--quiet")
    entry_of(make(asked, place))


def test_why_a_command_failed_is_said_with_its_last_lines(registry: Path, place: Path) -> None:
    answer = make(ask(registry, f"{TEXTS}fails"), place)
    problem = answer.problem
    assert problem is not None
    assert (problem.kind, problem.lines) == ("failed", ["so far"])
    assert problem.reason.endswith("ended with exit code 3")
    assert answer.log[-1] == "so far"
    problem = make(ask(registry, f"{TEXTS}forgets"), place).problem
    assert problem is not None
    assert (problem.kind, problem.reason) == ("failed", "the command did not make forgotten.txt")


def test_a_command_is_stopped_on_request(
    registry: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STARTED", str(place.parent / "started"))
    asked, stop = ask(registry, f"{TEXTS}slow"), Event()
    Timer(0.7, stop.set).start()
    answer = carry_out(asked.order, asked.pack, lambda _line: None, stop, folder=place)
    assert answer.problem is not None
    assert answer.problem.kind == "stopped"


def test_other_versions_are_refused_unless_any_will_do(registry: Path, place: Path) -> None:
    asked = ask(registry, f"{TEXTS}twice")
    wanted = {**read_versions(), "dvc": "3.1", "new": "1"}
    problem = make(asked, place, versions=wanted).problem
    assert problem is not None
    assert problem.kind == "refused"
    assert "instead of 3.1" in problem.reason
    assert "new is not installed instead of 1" in problem.reason
    assert not place.exists()
    entry_of(make(asked, place, versions=read_versions()))
    answer = make(asked, place, format=99)
    assert answer.problem is not None
    assert answer.problem.kind == "refused"


def test_a_remote_beside_the_registry_is_not_for_others(registry: Path, place: Path) -> None:
    run(registry, "dvc", "remote", "add", "--quiet", "--force", "--default", "near", ".dvc/storage")
    problem = make(ask(registry, f"{TEXTS}twice"), place).problem
    assert problem is not None
    assert problem.kind == "settings"
    assert "remote near is a folder beside the registry" in problem.reason


def test_an_output_that_may_not_be_pushed_needs_a_shared_cache(
    registry: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (registry / "processed/texts/dvc.yaml").read_text()
    text = text.replace("outs: [part.txt]", "outs: [part.txt: {push: false}]")
    write_tree(registry, {"processed/texts/dvc.yaml": text})
    asked = ask(registry, f"{TEXTS}part")
    problem = make(asked, place).problem
    assert problem is not None
    assert "processed/texts/part.txt is declared `push: false`" in problem.reason
    write_tree(registry / ".dvc" / "cache", {"registry_assets/beacons/lit": ""})
    monkeypatch.setenv(CACHE, str(registry / ".dvc" / "cache"))
    answer = make(asked, place, beacon="lit")
    assert entry_of(answer) == recorded(registry, f"{TEXTS}part")


def test_a_remote_that_goes_away_is_a_problem_without_secrets(registry: Path, place: Path) -> None:
    run(
        registry,
        *("dvc", "remote", "add", "--quiet", "--force", "--default", "web"),
        "http://me:secret@127.0.0.1:9/data",
    )
    problem = make(ask(registry, f"{TEXTS}twice"), place).problem
    assert problem is not None
    assert problem.kind == "unusable"
    assert "127.0.0.1:9" in problem.reason
    assert "secret" not in problem.reason


def test_a_remote_may_be_named_for_an_output(registry: Path, place: Path) -> None:
    other = registry.parent / "other"
    run(registry, "dvc", "remote", "add", "--quiet", "other", str(other))
    dvc_yaml = registry / "processed/texts/dvc.yaml"
    dvc_yaml.write_text(
        dvc_yaml.read_text().replace(
            "outs: [twice.txt, again.txt]", "outs: [twice.txt: {remote: other}, again.txt]"
        )
    )
    answer = make(ask(registry, f"{TEXTS}twice"), place)
    assert entry_of(answer) == recorded(registry, f"{TEXTS}twice")
    (found,) = other.glob("files/md5/*/*")
    assert found.read_text() == "one\ntwo\n"


def test_an_order_travels_as_json(registry: Path) -> None:
    asked = ask(registry, f"{TEXTS}measured")
    assert Order.from_json(asked.order.to_json()) == asked.order


def test_an_answer_travels_as_json(registry: Path, place: Path) -> None:
    for stage in ("twice", "fails"):
        answer = make(ask(registry, f"{TEXTS}{stage}"), place)
        assert Answer.from_json(answer.to_json()) == answer


def test_a_registry_in_a_subfolder(registry: Path, place: Path, tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    shutil.move(registry, top / "data")
    shutil.rmtree(top / "data" / ".git")
    write_tree(top, {"lib/code.py": "print('code')\n"})
    run(top, "git", "init", "--quiet")
    root = top / "data"
    text = (root / "processed/texts/dvc.yaml").read_text()
    write_tree(
        root,
        {
            "processed/texts/dvc.yaml": text.replace(
                "  plain:\n    cmd: cp upper.py plain.txt\n    deps: [upper.py]\n",
                "  plain:\n    cmd: python ../../../lib/code.py > plain.txt\n"
                "    deps: [../../../lib/code.py]\n",
            )
        },
    )
    commit_all(top)
    asked = ask(root, f"{TEXTS}plain")
    assert asked.order.prefix == "data/"
    assert entry_of(make(asked, place)) == recorded(root, f"{TEXTS}plain")
