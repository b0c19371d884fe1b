"""Three texts of a metafile merged by entry."""

from __future__ import annotations

import pytest
from dvc.utils.serialize import dumps_yaml, parse_yaml

from registry_assets.images.decision_text import with_decisions
from registry_assets.images.decisions import EMPTY, Decision
from registry_assets.revisions.changes.merging import WHOLE_FILE, merge


def lock(**stages: str) -> str:
    """A ``dvc.lock`` as DVC prints it; what a stage made, by the name of the stage."""
    entries = {
        f"upper@{name}": {
            "cmd": f"upper {name}",
            "outs": [{"path": f"out/{name}", "hash": "md5", "md5": made, "size": 4}],
        }
        for name, made in stages.items()
    }
    return str(dumps_yaml({"schema": "2.0", "stages": entries}))


def names(text: str | None) -> list[str]:
    return [name.removeprefix("upper@") for name in parse_yaml(text, "dvc.lock")["stages"]]


def test_stages_of_both_sides_stand_in_a_lock_as_dvc_would_write_it() -> None:
    base = lock(a="1", b="1", c="1")
    merged = merge("x/dvc.lock", base, lock(a="2", b="1", d="1"), lock(a="1", b="2", c="1", e="1"))
    # One changed a and dropped c, the other changed b; each has added one.
    assert merged.text == lock(a="2", b="2", d="1", e="1")
    assert merged.conflicts == ()
    assert merge("dvc.lock", None, lock(a="1"), lock(b="1")).text == lock(a="1", b="1")


@pytest.mark.parametrize(
    ("base", "ours", "theirs"),
    [
        (lock(a="1", b="1"), lock(a="2", b="1"), lock(a="3", b="2")),
        (lock(b="1"), lock(a="2", b="1"), lock(a="3", b="2")),
        (lock(a="1", b="1"), lock(a="2", b="1"), lock(b="2")),
    ],
    ids=["both changed it", "both added it", "theirs dropped it"],
)
def test_an_entry_that_both_sides_changed_is_ours_and_is_named(
    base: str, ours: str, theirs: str
) -> None:
    merged = merge("dvc.lock", base, ours, theirs)
    assert merged.text == lock(a="2", b="2")
    assert merged.conflicts == ("upper@a",)


def test_a_lock_that_was_formatted_by_something_else_is_merged_into_dvcs_form() -> None:
    ours = "# by hand\nschema: '2.0'\nstages: {upper@a: {cmd: upper a}}\n"
    merged = merge("dvc.lock", "", ours, lock(b="1"))
    assert names(merged.text) == ["a", "b"]
    assert merged.text == dumps_yaml(parse_yaml(merged.text, "dvc.lock"))


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "expected"),
    [
        ([], ["a"], ["b"], ["a", "b"]),
        (["a"], ["a", "c"], ["a", "b"], ["a", "c", "b"]),
        (["a", "b"], ["b"], ["a", "b", "c"], ["b", "c"]),
        (["a", "b"], ["a"], ["b"], []),
        ([], ["a"], ["a", "b"], ["a", "b"]),
    ],
)
def test_collections_of_both_sides_stand_in_the_list(
    base: list[str], ours: list[str], theirs: list[str], expected: list[str]
) -> None:
    def text(listed: list[str], remark: str = "# Taken in\n") -> str:
        items = "".join(f'\n  - "{name}"' for name in listed) or " []"
        return f"{remark}collections:{items}\nothers: 1\n"

    path = "processed/ds/collections.yaml"
    assert merge(path, text(base), text(ours), text(theirs)).text == text(expected)
    # A remark that one side wrote stays, whichever side it is; of two, ours does, and it is named.
    mine = "# Mine\n"
    assert merge(path, text(base), text(ours, mine), text(theirs)).text == text(expected, mine)
    merged = merge(path, text(base), text(ours), text(theirs, mine)).text
    assert merged is not None
    assert merged.startswith(mine)
    assert sorted(merged.splitlines()) == sorted(text(expected, mine).splitlines())
    both = merge(path, text(base), text(ours, mine), text(theirs, "# Theirs\n"))
    assert (both.text, both.conflicts) == (text(ours, mine), (WHOLE_FILE,))


def test_lines_of_both_sides_stand_in_a_gitignore_unless_their_order_counts() -> None:
    merged = merge("raw/.gitignore", "/a\n/b\n", "/b\n/c\n", "/a\n/b\n/d\n")
    assert (merged.text, merged.conflicts) == ("/b\n/c\n/d\n", ())
    unsure = merge(".gitignore", "*.tmp\n", "*.tmp\n/c\n", "*.tmp\n!kept.tmp\n")
    assert (unsure.text, unsure.conflicts) == ("*.tmp\n/c\n", (WHOLE_FILE,))


def test_a_dvc_file_is_one_entry() -> None:
    assert merge("raw/a.dvc", "1", "1", "2").text == "2"
    both = merge("raw/a.dvc", "1", "2", "3")
    assert (both.text, both.conflicts) == ("2", (WHOLE_FILE,))


def decisions(**why: str) -> str:
    """A file of decisions: why somebody denied which content."""
    made = [Decision(md5 * 32, "deny", "Ada", reason) for md5, reason in why.items()]
    return with_decisions("", made, "x.yaml")


def test_decisions_of_both_sides_stand_in_the_file() -> None:
    path = "processed/ds/decisions/01_a.yaml"
    base = decisions(a="1", b="1")
    merged = merge(path, base, decisions(a="2", b="1", c="1"), decisions(b="1", d="1"))
    assert merged.conflicts == ("a" * 32,)
    assert merged.text == decisions(a="2", b="1", c="1", d="1")
    merged = merge(path, base, "# ours\n" + base, decisions(a="1"))
    assert (merged.text, merged.conflicts) == ("# ours\n" + decisions(a="1"), ())
    assert merge(path, None, decisions(a="1"), EMPTY).text == decisions(a="1")
    assert merge(path, base, decisions(a="1"), decisions(b="1")).text == EMPTY
    other = base.replace("  - ", "- ").replace("    ", "  ")
    for theirs in (other + "x: 1\n", "decisions: {}\n"):
        merged = merge(path, base, decisions(a="2"), theirs)
        assert (merged.text, merged.conflicts) == (decisions(a="2"), (WHOLE_FILE,))
