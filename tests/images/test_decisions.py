"""Files of decisions: what they say, what is refused, and edits that leave the rest alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry_assets.errors import MetafileError
from registry_assets.images import Decision, read_decisions
from registry_assets.images.decision_text import split_decisions, with_decisions, without_decisions
from registry_assets.images.decisions import EMPTY, parse_decisions

A, B, C = "a" * 32, "b" * 32, "c" * 32
ODD = 'ein "Daumen"\nvor der Linse: # 50%\x07\u2028é'


def decision(md5: str, **facts: str | bool) -> Decision:
    return Decision(md5, "deny", "Ada", **{"why": "blurred", "date": "2026-11-26", **facts})  # type: ignore[arg-type]


def test_a_collection_without_a_file_or_with_an_empty_one_has_no_decisions(tmp_path: Path) -> None:
    assert read_decisions(tmp_path / "a.yaml") == {}
    (tmp_path / "a.yaml").write_text(EMPTY)
    (tmp_path / "b.yaml").write_text("# nothing but a comment\n")
    assert read_decisions(tmp_path / "a.yaml") == read_decisions(tmp_path / "b.yaml") == {}


def test_what_is_written_is_read_again_whatever_characters_it_holds() -> None:
    made = [
        decision(A, path="deep/\udcff.jpg", why=ODD),
        decision(B, only_here=True, duplicate_of="01_x/a\\b.jpg"),
    ]
    text = with_decisions("", made, "x.yaml")
    text.encode()
    assert list(parse_decisions(text, "x.yaml").values()) == made


def test_comments_and_other_entries_stay_as_they_are_written_by_hand() -> None:
    text = (
        "# ours\n"
        "decisions: # all of them\n"
        "- why: hand-made\n"
        f"  md5: '{A}'\n"
        "  decision: allow\n"
        "  by: Eve\n"
        "\n"
        "# about b\n"
        f'- md5: "{B}"\n'
        "  decision: deny\n"
        "  by: Eve\n"
        "  date: 2026-11-01\n"
        "  why: |\n"
        "    two\n"
        "    lines\n"
        "# the end\n"
    )
    assert parse_decisions(text, "x")[B].date == "2026-11-01"
    assert without_decisions(with_decisions(text, [decision(C)], "x"), [C], "x") == text
    gone = without_decisions(text, [A], "x")
    assert gone.startswith("# ours\ndecisions: # all of them\n\n# about b\n")
    assert without_decisions(gone, [B], "x") == "# ours\ndecisions: [] # all of them\n# the end\n"


def test_a_later_decision_takes_the_place_of_the_earlier_one() -> None:
    text = with_decisions("", [decision(A), decision(B)], "x")
    text = with_decisions(text, [decision(A, why="better after all")], "x")
    assert [(d.md5, d.why) for d in parse_decisions(text, "x").values()] == [
        (A, "better after all"),
        (B, "blurred"),
    ]


ENTRY = f'  - md5: "{A}"\n    decision: deny\n    by: Eve\n    why: old\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("decisions: [\n", "x.yaml:2: "),
        ("decisions: deny\n", "x.yaml: `decisions` must be a list"),
        ("decisions:\n  - deny\n", "x.yaml:2: an entry must have the keys md5"),
        (f"decisions:\n{ENTRY}  - md5: 12\n", "x.yaml:6: an entry lacks decision, by, why"),
        (f"decisions:\n{ENTRY.replace(A, '12')}", "x.yaml:2: write the md5"),
        (f"decisions:\n{ENTRY.replace('deny', 'drop')}", "x.yaml:2: decision must be allow or"),
        (f"decisions:\n{ENTRY}    becuase: x\n", "x.yaml:2: an entry has no key becuase"),
        (f"decisions:\n{ENTRY}    only_here: maybe\n", "x.yaml:2: only_here must be true"),
        (f"decisions:\n{ENTRY}{ENTRY}", f"x.yaml:6: two decisions about {A}"),
    ],
)
def test_what_is_wrong_is_one_line_that_says_where(text: str, said: str) -> None:
    with pytest.raises(MetafileError) as raised:
        parse_decisions(text, "x.yaml")
    assert str(raised.value).startswith(said)
    assert "\n" not in str(raised.value)


def test_entries_on_one_line_are_read_but_not_edited() -> None:
    text = f'decisions: [{{md5: "{A}", decision: deny, by: Eve, why: old}}]\n'
    assert parse_decisions(text, "x")[A].by == "Eve"
    assert split_decisions(text) is None
    with pytest.raises(MetafileError, match="begin each entry on a line of its own"):
        with_decisions(text, [decision(B)], "x")
