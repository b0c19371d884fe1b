"""What one more costs when there are many already: collections, data sets, folders."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

from cells import Cells, Time
from dagster import build_sensor_context
from registries import DATASET, build_registry, copy_registry, shoot

from registry_assets import build_definitions, read_registry
from registry_assets.intake.initialising import init_registry
from registry_assets.orchestration.history.opening import open_history
from registry_assets.orchestration.names import ARRIVAL_SENSOR_NAME, own_name

_ARRIVE = [sys.executable, str(Path(__file__).with_name("arrive.py"))]
_DEFINE = [
    sys.executable,
    "-c",
    "from registry_assets import definitions; definitions.defs.get_repository_def()",
]
_NEW = "new"
_FILES = 20
_SMALL = 10
_MOST_GROWTH = 1.5
_TICKS = 5
_SETTLED_SECONDS = 3


def measure_arrival(large: Path, collections: int, time: Time) -> Iterator[Cells]:
    """One new collection through the sensor's run, beside `dvc repro`, and in a small registry.

    Both have to leave the same ``dvc.lock``. DVC's time is that of `dvc repro` alone: what people
    do by hand before is not counted.

    Args:
        large: A registry whose stages have run; it grows.
        collections: How many it has.
        time: Returns how long a command takes in a folder.
    """
    small = large.with_name(f"{large.name}-small")
    build_registry(small, _SMALL)
    time(["registry", "materialize"], small)
    other = copy_registry(large, f"{large.name}-other")
    for root in (small, large, other):
        _settle_at_once(root)
    # As where the UI is open: somebody has read the registry since it last changed.
    sleep(_SETTLED_SECONDS)
    for root in (small, large):
        time(["registry", "status"], root)
    for root in (small, large, other):
        shoot(root, _NEW, _FILES)
    in_small = time(_ARRIVE, small)
    ours = time(_ARRIVE, large)
    time(["dvc", "add", "--quiet", f"raw/{_NEW}"], other)
    time(["dvc", "import-url", "--quiet", f"raw/{_NEW}", f"{DATASET}/data/inputs/{_NEW}"], other)
    with (other / DATASET / "collections.yaml").open("a", encoding="utf-8") as stream:
        stream.write(f'  - "{_NEW}"\n')
    theirs = time(["dvc", "repro", "--quiet", f"{DATASET}/dvc.yaml"], other)
    for path in (f"{DATASET}/dvc.lock", f"{DATASET}/collections.yaml"):
        if (large / path).read_bytes() != (other / path).read_bytes():
            raise SystemExit(f"{path} differs from what dvc wrote")
    by_hand = {root: _take_in(root, time) for root in (small, large)}
    work = f"a new collection of {_FILES} files, in a registry of {collections}"
    yield Cells(work, "dvc repro", [ours], [theirs], 5)
    yield Cells(work, f"itself, in one of {_SMALL}", [ours], [in_small], 1 / _MOST_GROWTH)
    yield Cells(
        f"`registry add` and `import` of {_FILES} files, in a registry of {collections}",
        f"itself, in one of {_SMALL}",
        [by_hand[large]],
        [by_hand[small]],
        1 / _MOST_GROWTH,
    )
    shutil.rmtree(small)
    shutil.rmtree(other)


def _take_in(root: Path, time: Time) -> float:
    """The seconds of two commands for a new collection; what they keep is there from another."""
    seconds = 0.0
    for name in ("first", "second"):
        shoot(root, name, _FILES)
        seconds = time(["registry", "add", name], root)
        seconds += time(["registry", "import", name, "--into", Path(DATASET).name], root)
    return seconds


def _settle_at_once(root: Path) -> None:
    settings = root / "pyproject.toml"
    text = settings.read_text(encoding="utf-8")
    settings.write_text(text.replace("settle_seconds = 30", "settle_seconds = 0"))


def measure_definitions(
    scratch: Path, datasets: int, collections: int, runs: int, time: Time
) -> Iterator[Cells]:
    """A code location of many data sets and collections, loaded in a new process.

    Args:
        scratch: A folder for a registry, of metafiles alone: loading reads no data.
        datasets: How many data sets, each of which has a tenth as many of the collections.
        collections: How many collections.
        runs: How often; the first reads everything, the others what the first one kept.
        time: Returns how long a command takes in a folder.
    """
    root = scratch / "wide"
    _build_wide(root, datasets, collections)
    work = f"definitions of {datasets} data sets and {collections:,} collections"
    sleep(_SETTLED_SECONDS)
    yield Cells(f"{work}, at first", "5 s", [time(_DEFINE, root)], [5], 1)
    again = [time(_DEFINE, root) for _ in range(runs)]
    yield Cells(f"{work}, again", "5 s", again, [5], 1)
    shutil.rmtree(root)


def _build_wide(root: Path, datasets: int, collections: int) -> None:
    list(init_registry(root))
    shutil.rmtree(root / "processed")
    names = [f"c{number:05}" for number in range(collections)]
    for number, name in enumerate(names):
        (root / "raw" / f"{name}.dvc").write_text(_metafile(number, name), encoding="utf-8")
    (root / "raw/.gitignore").write_text("".join(f"/{n}\n" for n in names), encoding="utf-8")
    share = max(collections // datasets, 1)
    for number in range(datasets):
        dataset = root / f"processed/d{number:03}"
        mine = [names[(number * share + n) % collections] for n in range(share)]
        inputs = dataset / "data/inputs"
        inputs.mkdir(parents=True)
        for name in mine:
            source = f"../../../../raw/{name}"
            at = names.index(name)
            text = f"frozen: true\ndeps:\n{_item(at, source)}outs:\n{_item(at, name)}"
            (inputs / f"{name}.dvc").write_text(text, encoding="utf-8")
        (inputs / ".gitignore").write_text("".join(f"/{n}\n" for n in mine), encoding="utf-8")
        (dataset / "collections.yaml").write_text(
            "collections:\n" + "".join(f"  - {json.dumps(name)}\n" for name in mine),
            encoding="utf-8",
        )
        (dataset / "dvc.yaml").write_text(
            "vars:\n  - collections.yaml\nstages:\n  work:\n    foreach: ${collections}\n    do:\n"
            "      cmd: mkdir -p data/outputs/${item}\n      deps:\n"
            "        - data/inputs/${item}\n      outs:\n        - data/outputs/${item}\n",
            encoding="utf-8",
        )


def _metafile(number: int, path: str) -> str:
    return f"outs:\n{_item(number, path)}"


def _item(number: int, path: str) -> str:
    return f"- md5: {number:032x}.dir\n  size: 1\n  nfiles: 1\n  hash: md5\n  path: {path}\n"


def measure_tick(scratch: Path, folders: int) -> Iterator[Cells]:
    """A tick of the sensor for new folders, in a process that has loaded the definitions.

    Args:
        scratch: A folder for a registry.
        folders: How many are in the raw folder, registered, by their metafiles.
    """
    root = scratch / "ticks"
    list(init_registry(root))
    for number in range(folders):
        name = f"c{number:05}"
        (root / "raw" / name).mkdir()
        (root / "raw" / name / "1.jpg").write_bytes(b"one")
        (root / "raw" / f"{name}.dvc").write_text(_metafile(number, name), encoding="utf-8")
    ignored = "".join(f"/c{number:05}\n" for number in range(folders))
    (root / "raw/.gitignore").write_text(ignored, encoding="utf-8")
    subprocess.run(["git", "add", "raw"], cwd=root, check=True, capture_output=True)
    yield Cells(f"a tick of the sensor, {folders:,} folders", "0.5 s", time_ticks(root), [0.5], 1)
    shutil.rmtree(root)


def time_ticks(root: Path) -> list[float]:
    """The seconds of some ticks of the sensor for new folders, in this process."""
    definitions = build_definitions(root)
    name = own_name(read_registry(root), ARRIVAL_SENSOR_NAME)
    sensor = definitions.resolve_sensor_def(name)
    seconds = []
    with open_history(root) as instance:
        for _ in range(_TICKS):
            context = build_sensor_context(
                instance=instance,
                definitions=definitions,
                sensor_name=name,
            )
            started = monotonic()
            sensor(context)
            seconds.append(monotonic() - started)
    return seconds
