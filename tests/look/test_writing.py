"""Decisions and thresholds that the page writes: the same files and checks as the commands."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from registry_assets.curation.parameters import write_thresholds
from registry_assets.errors import MetafileError, RefusedError
from registry_assets.images.decisions import read_decisions, today
from registry_assets.look.open_registry import OpenRegistry, Reading
from registry_assets.model import Dataset
from tests.conftest import commit_all, run
from tests.look.served import Served, serving

DATASET = "processed/01_image_dataset"
ONE, OTHER = "01_data_collection_16_oct_2021", "02_data_collection_20_oct_2021"


@pytest.fixture
def registry(demo: Path, tmp_path: Path) -> Path:
    """A copy of the demo, to be changed."""
    root = tmp_path / "registry"
    run(tmp_path, "cp", "-a", str(demo), str(root))
    return root


@pytest.fixture
def served(registry: Path) -> Iterator[Served]:
    with serving(registry) as served:
        yield served.open()


def rows(served: Served) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = served.get("api/pictures", source=DATASET).json["rows"]
    return found


def kept_one(served: Served, collection: str = ONE) -> dict[str, Any]:
    return next(
        row
        for row in rows(served)
        if row["outcome"] == "kept" and row["collection"] == collection and not row["decision"]
    )


def decisions_of(registry: Path, collection: str = ONE) -> Any:
    return read_decisions(registry / DATASET / "decisions" / f"{collection}.yaml")


def decide(served: Served, *md5s: str, **more: object) -> Any:
    body = {"dataset": DATASET, "verdict": "deny", "md5s": md5s, "why": "a thumb", **more}
    return served.post("api/decisions", body)


def test_a_denied_picture_is_an_entry_as_the_command_writes_it(
    registry: Path, served: Served
) -> None:
    row = kept_one(served)
    state = served.settled_state()
    found = decide(served, row["md5"], why="  a thumb <b>before</b> the lens\n")
    assert found.status == 200
    assert found.json["done"] == [f"{ONE}/{row['path']}"]
    (stale,) = found.json["stale"]
    assert stale.endswith(f"remove_dark_and_bright_images [{ONE}]")
    assert found.json["next"] == f"registry materialize --collection {ONE}"
    made = decisions_of(registry)[row["md5"]]
    assert (made.verdict, made.path, made.date) == ("deny", row["path"], today())
    assert made.by == "Test <test@example.org>"
    assert made.why == "a thumb <b>before</b> the lens"
    assert not made.only_here
    written = (registry / DATASET / "decisions" / f"{ONE}.yaml").read_bytes()
    assert served.settled_state() != state
    (again,) = [found for found in rows(served) if found["md5"] == row["md5"]]
    assert (again["outcome"], again["pending"]) == ("denied", True)
    assert again["decision"]["why"] == made.why
    taken = served.post("api/decisions/withdraw", {"dataset": DATASET, "md5s": [row["md5"]]})
    assert taken.json["done"] == [f"{ONE}/{row['path']}"]
    assert (taken.json["stale"], taken.json["next"]) == ([], "")
    assert decisions_of(registry) == {}
    run(registry, "registry", "deny", row["md5"], "--why", made.why)
    assert (registry / DATASET / "decisions" / f"{ONE}.yaml").read_bytes() == written


@pytest.mark.parametrize("broken", ["<<<<<<< HEAD\n", None], ids=["a conflict", "no file"])
def test_parameters_are_read_again_when_they_are_mended(registry: Path, broken: str | None) -> None:
    opened = OpenRegistry(registry)
    place = registry / DATASET / "params.yaml"
    text = place.read_text()
    assert not settled(opened).registry.problems

    if broken is None:
        place.unlink()
    else:
        place.write_text(broken + text)
    assert settled(opened).registry.problems

    place.write_text(text)
    assert not settled(opened).registry.problems


def settled(opened: OpenRegistry) -> Reading:
    """The registry as it was read once it had been left alone."""
    while (reading := opened.read_again()).state == "unknown":
        time.sleep(0.05)
    return reading


def test_in_one_collection_it_holds_there_only(registry: Path, served: Served) -> None:
    row = kept_one(served)
    assert decide(served, row["md5"], collection=ONE).status == 200
    assert decisions_of(registry)[row["md5"]].only_here
    found = decide(served, row["md5"], collection=OTHER)
    assert found.status == 409
    assert f"does not have it in {OTHER}" in found.json["error"]


@pytest.mark.parametrize("why", ["", " ", "\n\t", None, 1, ["x"]])
def test_without_a_reason_nothing_is_written(registry: Path, served: Served, why: object) -> None:
    found = decide(served, kept_one(served)["md5"], why=why)
    assert found.status == 400
    assert decisions_of(registry) == {}


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"verdict": "duplicate"}, 400),
        ({"verdict": None}, 400),
        ({"dataset": "02_none"}, 404),
        ({"dataset": None}, 400),
        ({"md5s": []}, 400),
        ({"md5s": ["0" * 32]}, 409),
        ({"md5s": ["../../raw"]}, 400),
        ({"collection": 3}, 400),
        ({"duplicate_of": f"{ONE}/nothing.jpg"}, 409),
    ],
    ids=str,
)
def test_what_is_refused_writes_nothing_for_the_others_either(
    registry: Path, served: Served, change: dict[str, Any], status: int
) -> None:
    md5s = [kept_one(served)["md5"], *change.get("md5s", [])] if change.get("md5s") else None
    found = decide(
        served, kept_one(served)["md5"], **{**change, **({"md5s": md5s} if md5s else {})}
    )
    assert found.status == status
    assert found.json["error"]
    assert decisions_of(registry) == {}


def test_an_unreadable_picture_cannot_be_allowed(registry: Path, served: Served) -> None:
    row = next(row for row in rows(served) if row["outcome"] == "corrupt")
    found = decide(served, row["md5"], verdict="allow")
    assert found.status == 409
    name = f"{row['collection']}/{row['path']}"
    assert f"{name} cannot be allowed, because it is not a readable image" in found.json["error"]


def test_a_duplicate_names_the_copy_that_stays(registry: Path, served: Served) -> None:
    stays, goes = kept_one(served), kept_one(served, OTHER)
    place = f"{ONE}/{stays['path']}"
    found = decide(served, goes["md5"], collection=OTHER, duplicate_of=place)
    assert found.status == 200
    made = decisions_of(registry, OTHER)[goes["md5"]]
    assert made.duplicate_of == place
    (row,) = [row for row in rows(served) if row["md5"] == goes["md5"]]
    assert row["outcome"] == "duplicate"


def test_what_is_denied_itself_does_not_stay_instead(registry: Path, served: Served) -> None:
    stays, goes = kept_one(served), kept_one(served, OTHER)
    assert decide(served, stays["md5"], collection=ONE).status == 200
    before = decisions_of(registry)
    place = f"{ONE}/{stays['path']}"
    found = decide(served, goes["md5"], collection=OTHER, duplicate_of=place)
    assert found.status == 409
    assert "a thumb: take that back first" in found.json["error"]
    assert decisions_of(registry) == before
    assert decisions_of(registry, OTHER) == {}


def test_nobody_decides_where_git_has_no_author(demo: Path, tmp_path: Path) -> None:
    root = tmp_path / "registry"
    run(tmp_path, "cp", "-a", str(demo), str(root))
    run(root, "git", "config", "user.name", "")
    with serving(root) as served:
        served.open()
        assert served.get("api/registry").json["author"] is None
        found = decide(served, kept_one(served)["md5"])
        assert found.status == 409
        assert "git config" in found.json["error"]
        assert decisions_of(root) == {}


def test_those_who_decide_at_once_all_do(registry: Path) -> None:
    with serving(registry) as one, serving(registry) as other:
        one.open()
        other.open()
        chosen = [row for row in rows(one) if row["outcome"] == "kept" and row["collection"] == ONE]
        answers: list[int] = []

        def ask(served: Served, md5: str) -> None:
            answers.append(decide(served, md5).status)

        asking = [
            threading.Thread(target=ask, args=((one, other)[number % 2], row["md5"]))
            for number, row in enumerate(chosen)
        ]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()
    assert answers == [200] * len(chosen)
    assert set(decisions_of(registry)) == {row["md5"] for row in chosen}


# --- thresholds -----------------------------------------------------------------------------------


def test_a_threshold_is_written_where_it_stands(registry: Path, served: Served) -> None:
    commit_all(registry)
    place = registry / DATASET / "params.yaml"
    before = place.read_text()
    body = {
        "dataset": DATASET,
        "values": {"dark_image_threshold": 70, "fog_image_threshold": 450.5},
    }
    found = served.post("api/params", body)
    assert found.status == 200
    assert found.json["written"] == ["dark_image_threshold", "fog_image_threshold"]
    after = before.replace("dark_image_threshold: 20", "dark_image_threshold: 70")
    assert place.read_text() == after.replace(
        "fog_image_threshold: 500", "fog_image_threshold: 450.5"
    )
    assert any("remove_dark_and_bright_images [" in item for item in found.json["stale"])
    assert found.json["next"] == f"registry materialize --collection {ONE} --collection {OTHER}"
    assert served.get("api/thresholds", source=DATASET).json["parameters"][0]["value"] == 70
    again = served.post("api/params", body)
    assert (again.json["written"], again.json["stale"]) == ([], [])


@pytest.mark.parametrize(
    ("values", "status", "said"),
    [
        ({"dark_image_threshold": 200}, 409, "has to be less than"),
        ({"dark_image_threshold": 250, "bright_image_threshold": 240}, 409, "has to be less than"),
        ({"max_megapixels": 1}, 409, "is no threshold"),
        ({"algorithms": 1}, 409, "is no threshold"),
        ({"dark_image_threshold": "30"}, 400, "numbers"),
        ({"dark_image_threshold": True}, 400, "numbers"),
        ({"dark_image_threshold": None}, 400, "numbers"),
        ({"dark_image_threshold": float("nan")}, 409, "has to be a number"),
        ({"fog_image_threshold": float("inf")}, 409, "has to be a number"),
        ({"fog_image_threshold": 10**400}, 400, "numbers"),
        ({}, 400, "`values`"),
        (None, 400, "`values`"),
        ([1], 400, "`values`"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_value_that_makes_no_sense_is_refused(
    demo_served: Served, values: object, status: int, said: str
) -> None:
    found = demo_served.post("api/params", {"dataset": DATASET, "values": values})
    assert (found.status, said in found.json["error"]) == (status, True), found.json


@pytest.fixture(scope="module")
def demo_served(demo: Path) -> Iterator[Served]:
    before = (demo / DATASET / "params.yaml").read_bytes()
    with serving(demo) as served:
        yield served.open()
    assert (demo / DATASET / "params.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("dark_image_threshold: 20\n", "dark_image_threshold: 7.5\n"),
        ("# above\ndark_image_threshold:   20   # beside\n\n# below\n", None),
        ("dark_image_threshold: '20'\r\n", "dark_image_threshold: 7.5\r\n"),
        ('dark_image_threshold: "20" # x\n', "dark_image_threshold: 7.5 # x\n"),
        ("{a: 1, dark_image_threshold: 20, b: [ 2,3 ]}\n", None),
        ("z: 1\nlist:\n    - a\n    -   b\ndark_image_threshold: 20", None),
        ("dark_image_threshold:\n  20\nother: yes\n", "dark_image_threshold:\n  7.5\nother: yes\n"),
        ("é: ü\ndark_image_threshold: 2e1\n", "é: ü\ndark_image_threshold: 7.5\n"),
    ],
)
def test_all_else_stays_byte_for_byte(tmp_path: Path, before: str, after: str | None) -> None:
    place = tmp_path / "ds/params.yaml"
    place.parent.mkdir()
    place.write_bytes(before.encode())
    changed = write_thresholds(tmp_path, Dataset("ds"), {"dark_image_threshold": 7.5})
    assert changed == ["dark_image_threshold"]
    expected = before.replace("20", "7.5") if after is None else after
    assert place.read_bytes() == expected.encode()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("dark_image_threshold: &x 20\nfog: *x\n", MetafileError),
        ("base: &x 20\ndark_image_threshold: *x\n", MetafileError),
        ("- 1\n", MetafileError),
        ("dark_image_threshold: [\n", MetafileError),
        ("", MetafileError),
        ("fog_image_threshold: 1\n", RefusedError),
    ],
)
def test_what_cannot_be_edited_is_left_to_people(
    tmp_path: Path, text: str, error: type[Exception]
) -> None:
    place = tmp_path / "params.yaml"
    place.write_text(text)
    with pytest.raises(error, match=r"params\.yaml"):
        write_thresholds(tmp_path, Dataset(""), {"dark_image_threshold": 30})
    assert place.read_text() == text


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/params.yaml").write_text("fog_image_threshold: 1\n")
    (tmp_path / "params.yaml").symlink_to("shared/params.yaml")
    write_thresholds(tmp_path, Dataset(""), {"fog_image_threshold": 2})
    assert (tmp_path / "params.yaml").is_symlink()
    assert (tmp_path / "shared/params.yaml").read_text() == "fog_image_threshold: 2\n"
