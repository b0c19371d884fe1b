"""Tables are read a block of rows at a time, and give what `csv` gives."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from registry_assets.images.tables import read_table, write_table

COLUMNS = ("path", "size", "note")
MANY = 60_000
"""More rows than are read at a time."""


def rows_of(*, quoted: int | None = None) -> list[tuple[str, ...]]:
    rows = [(f"{number:06}.jpg", str(number), "") for number in range(MANY)]
    if quoted is not None:
        rows[quoted] = ('a "b", c.jpg', "1", "two, of them")
    return rows


@pytest.mark.parametrize("quoted", [None, 0, MANY // 2, MANY - 1])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_table_is_read_as_csv_reads_it(tmp_path: Path, quoted: int | None, end: str) -> None:
    rows = rows_of(quoted=quoted)
    table = tmp_path / "table.csv"
    write_table(table, COLUMNS, rows)
    table.write_bytes(table.read_bytes().replace(b"\n", end.encode()))
    with table.open(newline="") as file:
        assert [tuple(row) for row in csv.reader(file)] == [COLUMNS, *rows]
    assert list(read_table(table, COLUMNS)) == rows


def test_a_last_line_without_an_end_counts(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("path,size,note\na,1,\nb,2,")
    assert list(read_table(tmp_path / "table.csv", COLUMNS)) == [("a", "1", ""), ("b", "2", "")]


def test_columns_that_came_later_are_empty(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("path,size\na,1\n")
    assert list(read_table(tmp_path / "table.csv", COLUMNS, at_least=2)) == [("a", "1", "")]
    (tmp_path / "table.csv").write_text("path\n")
    with pytest.raises(ValueError, match="does not begin with the columns"):
        list(read_table(tmp_path / "table.csv", COLUMNS, at_least=2))


@pytest.mark.parametrize("number", [1, MANY // 2, MANY - 2])
@pytest.mark.parametrize("quoted", [None, 0])
def test_a_damaged_row_is_named(tmp_path: Path, number: int, quoted: int | None) -> None:
    lines = [",".join(row) for row in rows_of()]
    if quoted is not None:
        lines[quoted] = '"a",1,'
    # One cell too many in the next one: the number of all cells is right.
    lines[number : number + 2] = ["b,2", "c,3,,"]
    table = tmp_path / "table.csv"
    table.write_text("\n".join([",".join(COLUMNS), *lines, ""]))
    with pytest.raises(ValueError, match=f"line {number + 2}: 2 columns"):
        list(read_table(table, COLUMNS))


@pytest.mark.parametrize("text", ["", "\n", "path,size,note\n\na,1,\n"])
def test_what_has_an_empty_line_is_no_table(tmp_path: Path, text: str) -> None:
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(ValueError, match=r"columns"):
        list(read_table(tmp_path / "table.csv", COLUMNS))
