"""Decisions that a collection starts with, from tables of measurements alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from registry_assets.images import (
    BrightnessRange,
    Decision,
    Measurement,
    leave_out_duplicates,
    open_decisions,
    read_decisions,
    read_measurements,
    removal_reason,
    write_measurements,
)
from registry_assets.images.decision_text import with_decisions
from registry_assets.images.decisions import EMPTY
from registry_assets.images.initial_decisions import LeftOut

ORDER = ("01", "02", "03")


def row(
    path: str, content: str, look: str = "", bits: int = 0, brightness: float = 90
) -> Measurement:
    """A picture of a content, that looks like another content but for some bits."""
    return Measurement(
        path,
        mean_brightness=brightness,
        perceptual_hash=f"{(look or content) * 8}{(1 << bits) - 1:08x}",
        thumbnail=f"{(look or content) * 2}00" * 32,
        md5=content * 32,
    )


class Dataset:
    """Tables and files of decisions in a folder."""

    def __init__(self, folder: Path, **images: Sequence[Measurement]) -> None:
        self.folder = folder
        self.tables: dict[str, Path] = {}
        for name, rows in images.items():
            self.measure(name.removeprefix("c"), *rows)

    def measure(self, name: str, *rows: Measurement) -> None:
        self.tables[name] = self.folder / f"{name}.csv"
        write_measurements(self.tables[name], rows)

    def file(self, name: str) -> Path:
        return self.folder / "decisions" / f"{name}.yaml"

    def decide(self, name: str, *decisions: Decision) -> None:
        self.file(name).parent.mkdir(exist_ok=True)
        self.file(name).write_text(with_decisions("", decisions, name))

    def leave_out(
        self,
        name: str,
        *,
        distance: int | None = None,
        against: Sequence[str] = ORDER,
        listed: Sequence[str] = ORDER,
        anew: bool = False,
    ) -> LeftOut:
        return leave_out_duplicates(
            self.file(name),
            self.tables,
            listed,
            against,
            distance=distance,
            brightness=BrightnessRange(20, 200),
            anew=anew,
            clock=lambda: "2026-11-26",
        )

    def left(self, name: str) -> Mapping[str, str]:
        found = read_decisions(self.file(name)).values()
        return {d.path: d.duplicate_of for d in found if d.verdict == "deny"}

    def kept(self, name: str) -> list[str]:
        decided = read_decisions(self.file(name))
        rows = read_measurements(self.tables[name])
        brightness = BrightnessRange(20, 200)
        return [r.path for r in rows if not removal_reason(r, brightness, decided.get(r.md5))]


def person(content: str, verdict: str, **facts: object) -> Decision:
    return Decision(content * 32, verdict, "Ada", "so", **facts)  # type: ignore[arg-type]


def test_of_the_same_picture_the_one_that_was_there_first_stays(tmp_path: Path) -> None:
    data = Dataset(tmp_path, c01=[row("a.jpg", "a"), row("b.jpg", "b")])
    assert data.leave_out("01") == LeftOut()
    assert not data.file("01").exists()
    data.measure("02", row("x/again.jpg", "a"), row("own.jpg", "c"))
    (added,) = data.leave_out("02").added
    assert added.only_here
    assert str(added) == "denied by registry on 2026-11-26: the same picture as 01/a.jpg"
    assert data.left("02") == {"x/again.jpg": "01/a.jpg"}
    text = data.file("02").read_bytes()
    # Neither that collection nor this one, looked at again, changes anything.
    assert data.leave_out("01") == data.leave_out("02") == LeftOut()
    assert data.file("02").read_bytes() == text
    assert data.left("01") == {}


def test_whichever_is_measured_first_one_of_each_stays(tmp_path: Path) -> None:
    data = Dataset(tmp_path, c01=[row("a.jpg", "a")], c02=[row("b.jpg", "a")])
    # The second is looked at first, while the table of the first is there already.
    data.leave_out("02")
    data.leave_out("01")
    assert (data.left("01"), data.left("02")) == ({}, {"b.jpg": "01/a.jpg"})
    data.measure("03", row("c.jpg", "a"))
    data.leave_out("03")
    assert data.left("03") == {"c.jpg": "01/a.jpg"}


def test_of_copies_in_one_collection_the_first_by_path_stays(tmp_path: Path) -> None:
    data = Dataset(
        tmp_path,
        c01=[
            *(row("a.jpg", "a"), row("b.jpg", "b"), row("c.jpg", "a"), row("d.jpg", "a")),
            *(row("dark.jpg", "d", brightness=5), row("dark2.jpg", "d", brightness=5)),
        ],
    )
    assert [d.path for d in data.leave_out("01").added] == ["c.jpg", "dark2.jpg"]
    assert data.left("01") == {"c.jpg": "01/a.jpg", "dark2.jpg": "01/dark.jpg"}
    assert data.kept("01") == ["a.jpg", "b.jpg"]
    assert data.leave_out("01") == data.leave_out("01", distance=5) == LeftOut()
    # Another collection's copy is the same picture as the one that stays.
    data.measure("02", row("a.jpg", "a"), row("b.jpg", "a"))
    data.leave_out("02")
    assert data.left("02") == {"a.jpg": "01/a.jpg"}
    assert data.kept("02") == []
    # Without the one that stayed, the next does; with one only, there is nothing to leave out.
    data.measure("01", row("c.jpg", "a"), row("d.jpg", "a"), row("dark.jpg", "d"))
    left = data.leave_out("01")
    assert [d.duplicate_of for d in left.dropped] == ["01/a.jpg", "01/dark.jpg"]
    assert data.left("01") == {"d.jpg": "01/c.jpg"}
    assert data.kept("01") == ["c.jpg", "dark.jpg"]
    assert data.leave_out("02").added[0].duplicate_of == "01/c.jpg"


def test_copies_that_a_person_decided_about_are_left_alone(tmp_path: Path) -> None:
    data = Dataset(tmp_path, c01=[row(f"{n}.jpg", content) for content in "ab" for n in (1, 2)])
    data.decide("01", person("a", "allow"), person("b", "deny"))
    assert data.leave_out("01") == LeftOut()
    assert data.kept("01") == ["1.jpg", "2.jpg"]


def test_looked_at_anew_nothing_is_left_out_that_was_not_before(tmp_path: Path) -> None:
    data = Dataset(tmp_path, c01=[row("a.jpg", "a")], c02=[row("a.jpg", "a"), row("b.jpg", "b")])
    data.leave_out("02")
    data.measure("01", row("b.jpg", "b"))
    left = data.leave_out("02", anew=True)
    assert ([d.path for d in left.dropped], left.added) == (["a.jpg"], ())
    assert data.left("02") == {}


def test_side_by_side_a_picture_may_be_left_out_in_favour_of_one_that_is_left_out_then(
    tmp_path: Path,
) -> None:
    data = Dataset(
        tmp_path, **{f"c0{n}": [row("a.jpg", "a"), row("b.jpg", "a")] for n in (1, 2, 3)}
    )
    for name in ("02", "01", "03", "02", "01", "03"):
        data.leave_out(name)
    assert data.left("02") == {"a.jpg": "01/a.jpg"}
    assert data.left("01") == {"a.jpg": "03/a.jpg"}
    assert data.left("03") == {"b.jpg": "03/a.jpg"}
    assert [data.kept(name) for name in ORDER] == [[], [], ["a.jpg"]]
    # What the last one stood for comes back once, also where it stood for it by way of another.
    data.measure("03", row("c.jpg", "c"))
    for name in ORDER:
        data.leave_out(name)
    assert [data.kept(name) for name in ORDER] == [["a.jpg"], [], ["c.jpg"]]


def test_what_looks_alike_is_left_out_where_that_is_asked_for(tmp_path: Path) -> None:
    data = Dataset(tmp_path, c01=[row("a.jpg", "a"), row("d.jpg", "d", "a", bits=3)])
    data.measure("02", row("near.jpg", "e", "a", bits=4), row("far.jpg", "f", "a", bits=20))
    assert data.leave_out("02") == LeftOut()
    (added,) = data.leave_out("02", distance=4).added
    assert added.why == "looks like 01/d.jpg (1 of 64 bits differ)"
    assert data.leave_out("02", distance=4) == LeftOut()


def test_what_is_left_out_itself_takes_nobodys_place(tmp_path: Path) -> None:
    data = Dataset(
        tmp_path,
        c01=[row("dark.jpg", "a", brightness=5), row("denied.jpg", "b"), row("gone.jpg", "d")],
        c02=[row("good.jpg", "c", "a"), row("b.jpg", "b")],
    )
    data.decide("01", person("b", "deny", only_here=True))
    assert data.leave_out("02", distance=5) == LeftOut()


def test_what_a_person_allowed_stays(tmp_path: Path) -> None:
    data = Dataset(tmp_path, c01=[row("a.jpg", "a")], c02=[row("b.jpg", "a")])
    data.decide("02", person("a", "allow"))
    assert data.leave_out("02", distance=5) == LeftOut()
    assert read_decisions(data.file("02"))["a" * 32].verdict == "allow"


def test_a_picture_comes_back_when_the_one_that_is_kept_is_gone(tmp_path: Path) -> None:
    data = Dataset(
        tmp_path, c01=[row("a.jpg", "a")], c02=[row("b.jpg", "a")], c03=[row("c.jpg", "a")]
    )
    data.leave_out("02", against=("01",))
    data.leave_out("03", against=("01",))
    # Without its table for a moment, as while it is measured again, it is not gone.
    table = data.tables.pop("01")
    assert data.leave_out("02") == LeftOut()
    data.tables["01"] = table
    del data.tables["01"]
    left = ("02", "03")
    assert [d.path for d in data.leave_out("02", listed=left, against=()).dropped] == ["b.jpg"]
    again = data.leave_out("03", listed=left, against=("02",))
    assert [d.duplicate_of for d in again.dropped] == ["01/a.jpg"]
    assert [d.duplicate_of for d in again.added] == ["02/b.jpg"]


def test_what_people_decided_about_a_content_holds_in_a_collection_that_comes_later(
    tmp_path: Path,
) -> None:
    data = Dataset(tmp_path)
    data.decide(
        "01",
        person("a", "deny", path="old/a.jpg", date="2026-01-01"),
        person("b", "deny", only_here=True),
        person("c", "allow", date="2026-01-01"),
    )
    data.decide("02", person("c", "deny", date="2026-02-02"))
    images = [row("new/a.jpg", "a"), row("b.jpg", "b"), row("c.jpg", "c"), row("d.jpg", "d")]
    broken = Measurement("e.jpg", "corrupt: x", md5="a" * 32)
    taken = open_decisions(data.file("03"), [*images, broken])
    assert [(d.path, d.verdict, d.date) for d in taken] == [
        ("new/a.jpg", "deny", "2026-01-01"),
        ("c.jpg", "deny", "2026-02-02"),
    ]
    assert list(read_decisions(data.file("03")).values()) == taken
    text = data.file("03").read_bytes()
    assert open_decisions(data.file("03"), images) == []
    assert data.file("03").read_bytes() == text
    assert open_decisions(data.file("04"), [row("x.jpg", "f")]) == []
    assert data.file("04").read_text() == EMPTY
