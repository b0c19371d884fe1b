"""What was measured is not decoded again, and a memo never changes a table."""

import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from registry_assets.images import Measurement, Memo, measure_collection

from .drawing import encode, noise, save


def memo_in(folder: Path) -> Memo:
    memo = Memo.in_folder(folder)
    assert memo is not None
    return memo


def measure(folder: Path, memo: Memo | None = None) -> list[Measurement]:
    return list(measure_collection(folder, memo=memo))


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "photographs"
    for number in range(6):
        save(folder / f"{number}.png", noise(seed=number))
    (folder / "cut.jpg").write_bytes(encode(noise(64, 64), "JPEG")[:3000])
    (folder / "notes.txt").write_text("x")
    return folder


def test_measures_are_those_of_before_wherever_the_same_content_lies(
    tmp_path: Path, photographs: Path
) -> None:
    memo = memo_in(tmp_path / "memo")
    first = measure(photographs, memo)
    assert first == measure(photographs)
    # What the memo holds is told from what is measured by a value that no image has.
    with sqlite3.connect(memo.path) as connection:
        connection.execute("UPDATE measures SET cells = replace(cells, '\"PNG\"', '\"KEPT\"')")
    other = tmp_path / "other"
    save(other / "new.png", noise(seed=99))
    os.link(photographs / "1.png", other / "renamed.png")
    (other / "2.png").write_bytes((photographs / "2.png").read_bytes())
    (other / "notes.jpg").write_text("x")
    by_path = {m.path: m for m in measure(other, memo)}
    formats = {path: m.format for path, m in by_path.items()}
    assert formats == {"2.png": "KEPT", "new.png": "PNG", "renamed.png": "KEPT", "notes.jpg": ""}
    # Whether what cannot be read is an image, its name decides: only what can be is kept.
    assert by_path["notes.jpg"].reason == "corrupt: no decoder recognises it"


def test_changed_content_is_measured_also_under_the_same_name_size_and_time(
    tmp_path: Path, photographs: Path
) -> None:
    memo = memo_in(tmp_path / "memo")
    measure(photographs, memo)
    path = photographs / "3.png"
    before = path.stat()
    other = encode(noise(seed=77), "BMP")
    path.write_bytes(other)
    measure(photographs, memo)
    path.write_bytes(bytes(255 - byte if n > 60 else byte for n, byte in enumerate(other)))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert measure(photographs, memo) == measure(photographs)


@pytest.mark.parametrize("damage", ["overwritten", "cut", "emptied", "senseless"])
def test_a_damaged_memo_is_made_anew(tmp_path: Path, photographs: Path, damage: str) -> None:
    memo = memo_in(tmp_path / "memo")
    expected = measure(photographs, memo)
    path = Path(memo.path)
    if damage == "overwritten":
        path.write_bytes(b"nothing that SQLite knows" * 500)
    elif damage == "cut":
        os.truncate(path, path.stat().st_size // 2)
    elif damage == "emptied":
        os.truncate(path, 0)
    else:
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE measures SET cells = '[]'")
    for _ in range(2):
        assert measure(photographs, Memo.in_folder(tmp_path / "memo")) == expected
    if damage != "senseless":
        with sqlite3.connect(memo_in(tmp_path / "memo").path) as connection:
            assert connection.execute("SELECT count(*) FROM measures").fetchone() == (6,)


def test_another_version_of_what_measures_meets_nothing_of_before(
    tmp_path: Path, photographs: Path
) -> None:
    path = Path(memo_in(tmp_path).path)
    older = path.rename(path.with_name("measures-0123456789abcdef.sqlite"))
    assert memo_in(tmp_path).path == str(path)
    assert not older.exists()


def test_a_memo_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert Memo.in_folder(tmp_path / "file" / "memo") is None


def test_several_runs_at_once_share_a_memo(tmp_path: Path) -> None:
    folder = tmp_path / "photographs"
    for number in range(40):
        save(folder / f"{number}.png", noise(seed=number))
    memo = memo_in(tmp_path / "memo")
    with ThreadPoolExecutor(3) as executor:
        tables = list(executor.map(measure, [folder] * 3, [memo] * 3))
    assert tables[0] == tables[1] == tables[2] == measure(folder)
    with sqlite3.connect(memo.path) as connection:
        assert connection.execute("SELECT count(*) FROM measures").fetchone() == (40,)
