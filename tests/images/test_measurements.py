"""One row per file, nothing raises, and the table gives back exactly what was measured."""

import csv
import hashlib
import os
import pickle
import subprocess
import sys
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from registry_assets.images import (
    Measurement,
    measure_collection,
    measure_file,
    read_measurements,
    write_measurements,
)
from registry_assets.images.contents import SET_ASIDE_PREFIX
from registry_assets.images.measurements import COLUMNS
from registry_assets.images.measures import mean_brightness

from .drawing import encode, exif, noise, save


def measure(folder: Path) -> dict[str, Measurement]:
    return {measurement.path: measurement for measurement in measure_collection(folder)}


def test_a_readable_image_has_all_its_measures(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.new("RGB", (32, 24), (10, 200, 30)))
    assert measure_file(path) == Measurement(
        path="a.png",
        format="PNG",
        width=32,
        height=24,
        mode="RGB",
        frames=1,
        mean_brightness=200.0,
        mean_horizontal_variance=0.0,
        perceptual_hash="0" * 16,
        thumbnail="7c" * 64,  # (299 * 10 + 587 * 200 + 114 * 30) / 1000
        md5=hashlib.md5(path.read_bytes()).hexdigest(),
        size=path.stat().st_size,
        has_gps=False,
    )


def test_measures_are_of_the_8_bit_rgb_image_whatever_is_stored(tmp_path: Path) -> None:
    image = noise(48, 64)
    plain = measure_file(save(tmp_path / "rgb.png", image))
    with_alpha = measure_file(save(tmp_path / "rgba.png", image.convert("RGBA")))
    assert with_alpha.mode == "RGBA"
    assert with_alpha.mean_brightness == plain.mean_brightness
    assert with_alpha.mean_horizontal_variance == plain.mean_horizontal_variance
    assert with_alpha.perceptual_hash == plain.perceptual_hash
    assert plain.mean_brightness == mean_brightness(*np.moveaxis(np.asarray(image), -1, 0))


def test_every_entry_of_a_collection_is_a_row_and_none_raises(tmp_path: Path) -> None:
    save(tmp_path / "good.jpg")
    save(tmp_path / "wrong.jpg", format="PNG")
    save(tmp_path / ".hidden.jpg")
    (tmp_path / "cut.jpg").write_bytes(encode(noise(64, 64), "JPEG")[:3000])
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "set aside").write_bytes(SET_ASIDE_PREFIX + b"a named pipe")
    (tmp_path / "broken.jpg").symlink_to("nothing")
    (tmp_path / "clip.mp4").write_bytes(b"not opened")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "huge.jpg").write_bytes(b"P5 100000 100000 255\n")
    found = {path: row.reason for path, row in measure(tmp_path).items()}
    assert found.pop("cut.jpg") == "corrupt: premature end of data segment"
    assert found == {
        ".hidden.jpg": "hidden file",
        "broken.jpg": "broken symbolic link",
        "clip.mp4": "video",
        "empty.jpg": "empty file",
        "good.jpg": "",
        "huge.jpg": "too large: 100000 x 100000 pixels",
        "notes.txt": "not an image",
        "pipe.jpg": "not a file: a named pipe",
        "set aside": "a named pipe",
        "wrong.jpg": "",
    }


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs users")
def test_a_file_that_may_not_be_read_is_a_row(tmp_path: Path) -> None:
    path = save(tmp_path / "secret.jpg")
    path.chmod(0)
    is_root = os.geteuid() == 0
    if is_root:  # whom permissions do not hold back
        os.seteuid(65534)
    try:
        measurement = measure_file(path)
    finally:
        if is_root:
            os.seteuid(0)
    assert measurement.reason == "unreadable: Permission denied"


def test_file_names_of_any_bytes_survive_the_table(tmp_path: Path) -> None:
    names = [
        b"caf\xe9.png",
        b"line\nbreak\r.png",
        b'comma, "quote".png',
        b"back\\slash\\xe9.png",
        "日本 ä.png".encode(),
        b" =1+1.png",
    ]
    folder = tmp_path / "collection"
    folder.mkdir()
    for name in names:
        (folder / os.fsdecode(name)).write_bytes(encode(noise(), "PNG"))
    measured = list(measure_collection(folder))
    table = tmp_path / "table.csv"
    write_measurements(table, measured, version=3)
    assert list(read_measurements(table)) == measured
    assert {os.fsencode(row.path) for row in measured} == set(names)
    assert all(row.is_readable for row in measured)
    text = table.read_text(encoding="utf-8")
    assert text.count("\n") == len(names) + 1


def test_numbers_come_back_from_the_table_exactly(tmp_path: Path) -> None:
    values = [0.1 + 0.2, 1 / 3, 199.99999999999997, 20.0, 1e-9, 16256.25]
    rows = [
        Measurement(f"{number}", mean_brightness=value, mean_horizontal_variance=value, frame=0)
        for number, value in enumerate(values)
    ]
    write_measurements(tmp_path / "table.csv", rows, version=3)
    assert list(read_measurements(tmp_path / "table.csv")) == rows


def test_the_table_has_a_header_and_a_row_per_file(tmp_path: Path) -> None:
    folder = tmp_path / "collection"
    save(folder / "b.png", Image.new("L", (9, 8), 50))
    (folder / "a.txt").write_text("x")
    write_measurements(tmp_path / "table.csv", measure_collection(folder), version=3)
    header, first, second = (tmp_path / "table.csv").read_text().splitlines()
    assert header == ",".join(COLUMNS)
    assert first.startswith("a.txt,false,not an image,,,")
    assert second.startswith(f"b.png,true,,PNG,9,8,L,1,50.0,0.0,{'0' * 16},,,")
    assert second.endswith(f",,{'32' * 64},,,,,,,,false")


@pytest.mark.parametrize("columns", [15, 16, 17])
def test_a_table_of_an_earlier_version_is_read(tmp_path: Path, columns: int) -> None:
    photograph = tmp_path / "collection" / "a,b.jpg"
    photograph.parent.mkdir()
    photograph.write_bytes(encode(noise(), "JPEG", exif=exif()))
    (tmp_path / "collection" / "notes.txt").write_text("x")
    measured = list(measure_collection(tmp_path / "collection"))
    write_measurements(tmp_path / "table.csv", measured, version=3)
    assert measured[0].camera
    with (tmp_path / "table.csv").open(newline="") as file:
        rows = [row[:columns] for row in csv.reader(file)]
    with (tmp_path / "old.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    if columns == 17:
        # What a data set gets that states that version, or a program that states none.
        write_measurements(tmp_path / "table.csv", measured)
        assert (tmp_path / "table.csv").read_bytes() == (tmp_path / "old.csv").read_bytes()
        write_measurements(tmp_path / "table.csv", measured, version=2)
        assert (tmp_path / "table.csv").read_bytes() == (tmp_path / "old.csv").read_bytes()
    empty = Measurement("")._asdict()
    # The table has a column that the tuple lacks: whether it is readable.
    later = {name: empty[name] for name in COLUMNS[columns:]}
    assert list(read_measurements(tmp_path / "old.csv")) == [
        row._replace(**later) for row in measured
    ]


def test_a_table_is_complete_or_not_there(tmp_path: Path) -> None:
    def interrupted() -> Any:
        yield Measurement("a")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_measurements(tmp_path / "table.csv", interrupted(), version=3)
    assert list(tmp_path.iterdir()) == []


def test_another_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("name,size\na,1\n")
    with pytest.raises(ValueError, match="does not begin with the columns"):
        list(read_measurements(tmp_path / "table.csv"))


def test_the_table_is_the_same_however_it_is_computed(tmp_path: Path) -> None:
    folder = tmp_path / "collection"
    for number in range(40):
        save(folder / f"{number % 3}" / f"{number}.png", noise(seed=number))
    (folder / "notes.txt").write_text("x")
    write_measurements(tmp_path / "processes.csv", measure_collection(folder), version=3)
    with ThreadPoolExecutor(3) as executor:
        write_measurements(
            tmp_path / "threads.csv", measure_collection(folder, executor=executor), version=3
        )
    assert (tmp_path / "processes.csv").read_bytes() == (tmp_path / "threads.csv").read_bytes()
    assert sum(row.is_readable for row in read_measurements(tmp_path / "threads.csv")) == 40


def test_tasks_hold_only_what_can_travel_to_another_machine(tmp_path: Path) -> None:
    class Travelling(Executor):
        def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            there = pickle.loads(pickle.dumps((function, args, kwargs)))
            future: Future[Any] = Future()
            future.set_result(pickle.loads(pickle.dumps(there[0](*there[1], **there[2]))))
            return future

    save(tmp_path / "a.jpg")
    [measurement] = measure_collection(tmp_path, executor=Travelling())
    assert measurement.is_readable


def test_importing_images_loads_neither_dagster_nor_dvc_nor_the_video_libraries() -> None:
    program = (
        "import sys\nfrom registry_assets.images import *\n"
        "print({'dagster', 'dvc', 'av', 'imageio'} & set(sys.modules))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root
    )
    assert done.stdout == "set()\n"
