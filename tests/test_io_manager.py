"""What a user's own assets leave behind when the IO manager persists them, and what they load."""

import io
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from dagster import (
    AllPartitionMapping,
    AssetIn,
    AssetKey,
    AssetMaterialization,
    AssetsDefinition,
    DagsterInstance,
    DynamicPartitionsDefinition,
    ExecuteInProcessResult,
    IdentityPartitionMapping,
    LastPartitionMapping,
    PartitionMapping,
    SpecificPartitionsPartitionMapping,
    StaticPartitionsDefinition,
    asset,
    materialize,
)
from PIL import Image

from registry_assets import DvcIOManager, build_definitions
from registry_assets.errors import RegistryError
from registry_assets.orchestration.history.reporting import sync
from registry_assets.orchestration.webserver import build_sheet_app
from tests.browser import get, image_address
from tests.conftest import lineage_of, run, write_tree
from tests.persisting.helpers import contents, leftovers
from tests.runs import own

MANAGER = "dvc_io_manager"


@pytest.fixture
def root(text_registry: Path) -> Path:
    return text_registry


def produce(
    root: Path,
    instance: DagsterInstance,
    *assets: AssetsDefinition,
    partition: str | None = None,
    raise_on_error: bool = True,
) -> ExecuteInProcessResult:
    return materialize(
        assets,
        instance=instance,
        resources={MANAGER: DvcIOManager(root=str(root))},
        partition_key=partition,
        raise_on_error=raise_on_error,
    )


def event(result: ExecuteInProcessResult, node: str) -> AssetMaterialization:
    (found,) = result.asset_materializations_for_node(node)
    return found


def metadata(result: ExecuteInProcessResult, node: str) -> dict[str, Any]:
    return {name: value.value for name, value in event(result, node).metadata.items()}


def check_as_dvc_add_leaves_it(root: Path, path: str, *, is_first: bool = True) -> None:
    """Asserts that metafile, ignore file and cache are what `dvc add` writes of the same data."""
    ours = (root / f"{path}.dvc").read_bytes()
    ignored = (root / path).parent / ".gitignore"
    text = ignored.read_bytes()
    cache = root / ".dvc" / "cache"
    objects = {p.relative_to(cache) for p in cache.rglob("*") if p.is_file()}
    assert objects
    assert run(root, "dvc", "status").strip() == "Data and pipelines are up to date."
    (root / f"{path}.dvc").unlink()
    ignored.unlink()
    shutil.rmtree(cache)
    run(root, "dvc", "add", "--quiet", path)
    assert (root / f"{path}.dvc").read_bytes() == ours
    assert ignored.read_bytes() == text
    added = {p.relative_to(cache) for p in cache.rglob("*") if p.is_file()}
    assert added == objects if is_first else added < objects


def draw(colour: str = "red") -> Image.Image:
    return Image.new("RGB", (80, 60), colour)


def test_a_file_is_copied_and_tracked(
    root: Path, instance: DagsterInstance, tmp_path: Path
) -> None:
    original = tmp_path / "original.txt"
    original.write_text("hello\n")

    @asset(key=["made", "copy.txt"], io_manager_key=MANAGER)
    def copied() -> Path:
        return original

    result = produce(root, instance, copied)
    assert (root / "made/copy.txt").read_text() == original.read_text() == "hello\n"
    found = metadata(result, "made__copy_txt")
    assert found["dvc/path"] == "made/copy.txt"
    assert found["dvc/size"] == 6
    assert found["dvc/outcome"] == "recorded"
    assert (event(result, "made__copy_txt").tags or {})["dagster/data_version"] == found["dvc/md5"]
    assert f"md5: {found['dvc/md5']}\n" in (root / "made/copy.txt.dvc").read_text()
    check_as_dvc_add_leaves_it(root, "made/copy.txt")


def test_a_folder_is_copied_and_tracked_and_says_what_changed(
    root: Path, instance: DagsterInstance, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    write_tree(folder, {"one.txt": "1", "deep/two.txt": "2", "three.txt": "3"})

    @asset(key=["made", "folder"], io_manager_key=MANAGER)
    def copied() -> Path:
        return folder

    found = metadata(produce(root, instance, copied), "made__folder")
    assert (found["dvc/nfiles"], found["dvc/size"], found["files/added"]) == (3, 3, 3)
    assert "files/examples" not in found
    write_tree(folder, {"one.txt": "changed", "four.txt": "4"})
    (folder / "deep/two.txt").unlink()
    found = metadata(produce(root, instance, copied), "made__folder")
    assert [found[f"files/{name}"] for name in ("added", "removed", "changed")] == [1, 1, 1]
    assert {(r.data["file"], r.data["change"]) for r in found["files/examples"].records} == {
        ("four.txt", "added"),
        ("deep/two.txt", "removed"),
        ("one.txt", "changed"),
    }
    assert (folder / "one.txt").read_text() == "changed"
    check_as_dvc_add_leaves_it(root, "made/folder", is_first=False)


def test_a_file_that_stands_in_its_place_already_is_tracked_there(
    root: Path, instance: DagsterInstance
) -> None:
    @asset(key=["made", "here.txt"], io_manager_key=MANAGER)
    def written() -> Path:
        place = root / "made/here.txt"
        place.parent.mkdir()
        place.write_text("here\n")
        return place

    produce(root, instance, written)
    assert (root / "made/here.txt").read_text() == "here\n"
    check_as_dvc_add_leaves_it(root, "made/here.txt")


def test_bytes_are_written_and_replaced(root: Path, instance: DagsterInstance) -> None:
    contents = [b"\x00one", b"\x00two"]

    @asset(key=["model.bin"], io_manager_key=MANAGER)
    def model() -> bytes:
        return contents[0]

    first = metadata(produce(root, instance, model), "model_bin")
    assert (root / "model.bin").read_bytes() == b"\x00one"
    again = metadata(produce(root, instance, model), "model_bin")
    assert (again["dvc/outcome"], again["dvc/md5"]) == ("unchanged", first["dvc/md5"])
    contents.pop(0)
    second = metadata(produce(root, instance, model), "model_bin")
    assert (root / "model.bin").read_bytes() == b"\x00two"
    assert second["dvc/md5"] != first["dvc/md5"]
    # The version before is still to be had.
    cached = root / ".dvc/cache/files/md5" / first["dvc/md5"][:2] / first["dvc/md5"][2:]
    assert cached.read_bytes() == b"\x00one"
    ours = (root / "model.bin.dvc").read_bytes()
    run(root, "dvc", "add", "--quiet", "model.bin")
    assert (root / "model.bin.dvc").read_bytes() == ours


@pytest.mark.parametrize(("name", "kind"), [("picture.jpg", "JPEG"), ("picture", "PNG")])
def test_a_picture_is_written_in_the_format_that_its_name_says(
    root: Path, instance: DagsterInstance, name: str, kind: str
) -> None:
    @asset(key=["made", name], io_manager_key=MANAGER)
    def picture() -> Image.Image:
        return draw()

    produce(root, instance, picture)
    with Image.open(root / "made" / name) as image:
        assert (image.format, image.size) == (kind, (80, 60))
    check_as_dvc_add_leaves_it(root, f"made/{name}")


def test_a_mapping_becomes_a_folder_with_a_contact_sheet(
    root: Path, instance: DagsterInstance, tmp_path: Path
) -> None:
    (tmp_path / "note.txt").write_text("note\n")

    @asset(key=["made", "album"], io_manager_key=MANAGER)
    def album() -> dict[str, Any]:
        return {
            "red.png": draw("red"),
            "sub/blue.png": draw("blue"),
            "note.txt": tmp_path / "note.txt",
            "raw.bin": b"123",
        }

    found = metadata(produce(root, instance, album), "made__album")
    made = root / "made/album"
    assert {p.relative_to(made).as_posix() for p in made.rglob("*") if p.is_file()} == {
        "red.png",
        "sub/blue.png",
        "note.txt",
        "raw.bin",
    }
    answer = get(build_sheet_app(root), image_address(found["contact_sheet"]))
    assert answer.status == 200
    with Image.open(io.BytesIO(answer.body)) as sheet:
        sheet.load()
        assert sheet.format == "WEBP"
        colours = [c for _, c in sheet.convert("RGB").quantize(16).convert("RGB").getcolors() or ()]
    assert any(r > 200 and g < 60 and b < 60 for r, g, b in colours)
    assert any(b > 200 and r < 60 and g < 60 for r, g, b in colours)
    check_as_dvc_add_leaves_it(root, "made/album")


@pytest.mark.parametrize("name", ["../outside.txt", "/tmp/outside.txt", "a/../../outside.txt"])
def test_a_mapping_cannot_write_outside_its_folder(
    root: Path, instance: DagsterInstance, name: str
) -> None:
    @asset(key=["made", "album"], io_manager_key=MANAGER)
    def album() -> dict[str, Any]:
        return {name: b"123"}

    result = produce(root, instance, album, raise_on_error=False)
    assert not result.success
    assert not (root / "made/album").exists()
    assert not (root / "made/outside.txt").exists()
    assert list((root / "made").iterdir()) == []


def test_each_partition_has_a_place_of_its_own(root: Path, instance: DagsterInstance) -> None:
    @asset(
        key=["made", "by_day"],
        io_manager_key=MANAGER,
        partitions_def=StaticPartitionsDefinition(["mon", "tue"]),
    )
    def by_day() -> bytes:
        return b"same"

    for day in ("mon", "tue"):
        found = metadata(produce(root, instance, by_day, partition=day), "made__by_day")
        assert found["dvc/path"] == f"made/by_day/{day}"
        assert (root / f"made/by_day/{day}").read_bytes() == b"same"
    assert (root / "made/by_day/tue.dvc").exists()
    assert run(root, "dvc", "status").strip() == "Data and pipelines are up to date."
    metafiles = {name: (root / f"made/by_day/{name}.dvc").read_text() for name in ("mon", "tue")}
    for name, text in metafiles.items():
        (root / f"made/by_day/{name}.dvc").unlink()
        run(root, "dvc", "add", "--quiet", f"made/by_day/{name}")
        assert (root / f"made/by_day/{name}.dvc").read_text() == text


def test_an_input_is_a_path_and_comes_back_from_the_cache(
    root: Path, instance: DagsterInstance
) -> None:
    seen: list[Path] = []

    @asset(key=["made", "one.txt"], io_manager_key=MANAGER)
    def one() -> bytes:
        return b"one\n"

    @asset(
        key=["made", "two.txt"], io_manager_key=MANAGER, ins={"one": AssetIn(["made", "one.txt"])}
    )
    def two(one: Path) -> bytes:
        seen.append(one)
        return one.read_bytes().upper()

    produce(root, instance, one, two)
    assert seen == [root / "made/one.txt"]
    (root / "made/one.txt").unlink()
    result = materialize(
        [one, two],
        instance=instance,
        selection=[two],
        resources={MANAGER: DvcIOManager(root=str(root))},
    )
    assert result.success
    assert (root / "made/one.txt").read_text() == "one\n"
    assert (root / "made/two.txt").read_text() == "ONE\n"


def test_an_input_from_a_generated_asset_is_the_path_of_its_partition(
    root: Path, instance: DagsterInstance
) -> None:
    run(root, "dvc", "add", "--quiet", "raw/01_a", "raw/02_b")
    generated = build_definitions(root)
    raw = generated.resolve_assets_def(AssetKey(["raw"]))
    # Also one that was never taken in here.
    instance.add_dynamic_partitions(own(root, "collections"), ["01_a", "02_b", "03_c"])
    seen: list[Any] = []

    @asset(
        key=["made", "report"],
        io_manager_key=MANAGER,
        partitions_def=raw.partitions_def,
        ins={"raw": AssetIn(["raw"])},
    )
    def report(raw: Path) -> bytes:
        seen.append(raw)
        return b"report"

    @asset(key=["made", "all"], io_manager_key=MANAGER, ins={"raw": AssetIn(["raw"])})
    def everything(raw: dict[str, Path]) -> bytes:
        seen.append(raw)
        return b"all"

    shutil.rmtree(root / "raw/01_a")
    definitions = build_definitions(root, assets=[report, everything])
    for key, partition in ((["made", "report"], "01_a"), (["made", "all"], None)):
        job = definitions.resolve_implicit_job_def_def_for_assets([AssetKey(key)])
        assert job is not None
        assert job.execute_in_process(
            instance=instance, asset_selection=[AssetKey(key)], partition_key=partition
        ).success
    assert seen == [
        root / "raw/01_a",
        {"01_a": root / "raw/01_a", "02_b": root / "raw/02_b"},
    ]
    assert (root / "raw/01_a/one.txt").read_text() == "one\n"


@pytest.mark.parametrize(
    ("mapping", "is_partitioned", "is_several"),
    [
        (None, True, False),
        (IdentityPartitionMapping(), True, False),
        (LastPartitionMapping(), True, False),
        (None, False, True),
        (AllPartitionMapping(), True, True),
        (SpecificPartitionsPartitionMapping(["mon"]), True, True),
    ],
)
def test_the_partition_mapping_of_an_input_says_whether_paths_come_by_partition(
    root: Path,
    instance: DagsterInstance,
    mapping: PartitionMapping | None,
    is_partitioned: bool,
    is_several: bool,
) -> None:
    # There is one partition only, whatever the mapping.
    days = StaticPartitionsDefinition(["mon"])
    seen: list[Any] = []

    @asset(key=["made", "by_day"], io_manager_key=MANAGER, partitions_def=days)
    def by_day() -> bytes:
        return b"day"

    @asset(
        key=["made", "report"],
        io_manager_key=MANAGER,
        partitions_def=days if is_partitioned else None,
        ins={"by_day": AssetIn(["made", "by_day"], partition_mapping=mapping)},
    )
    def report(by_day: Any) -> bytes:
        seen.append(by_day)
        return b"report"

    produce(root, instance, by_day, partition="mon")
    result = materialize(
        [by_day, report],
        instance=instance,
        selection=[report],
        resources={MANAGER: DvcIOManager(root=str(root))},
        partition_key="mon" if is_partitioned else None,
    )
    assert result.success
    place = root / "made/by_day/mon"
    assert seen == [{"mon": place} if is_several else place]


def test_a_partition_loaded_outside_a_run_is_a_path(root: Path, instance: DagsterInstance) -> None:
    days = StaticPartitionsDefinition(["mon", "tue"])

    @asset(key=["made", "by_day"], io_manager_key=MANAGER, partitions_def=days)
    def by_day() -> bytes:
        return b"day"

    produce(root, instance, by_day, partition="tue")
    definitions = build_definitions(root, assets=[by_day])
    loaded = definitions.load_asset_value(
        AssetKey(["made", "by_day"]), instance=instance, partition_key="tue"
    )
    assert loaded == root / "made/by_day/tue"


GRID = """\
stages:
  grid:
    matrix:
      size: [1, 2]
      kind: [a, b]
    cmd: mkdir -p grid && echo ${item.size}${item.kind} > grid/${item.size}-${item.kind}
    outs:
      - grid/${item.size}-${item.kind}
"""


def build_grid_reader(
    root: Path, instance: DagsterInstance
) -> Callable[..., ExecuteInProcessResult]:
    """Runs the grid; what it returns executes an asset that reads one partition of it."""
    write_tree(root, {"dvc.yaml": GRID})
    run(root, "dvc", "repro", "--quiet", "dvc.yaml")
    partitions = build_definitions(root).resolve_assets_def(AssetKey(["grid"])).partitions_def
    instance.add_dynamic_partitions(own(root, "grid"), ["1-a", "1-b", "2-a", "2-b"])

    @asset(
        key=["made", "from_grid"],
        io_manager_key=MANAGER,
        partitions_def=partitions,
        ins={"grid": AssetIn(["grid"])},
    )
    def from_grid(grid: Path) -> bytes:
        return grid.read_bytes()

    key = AssetKey(["made", "from_grid"])
    definitions = build_definitions(root, assets=[from_grid])
    job = definitions.resolve_implicit_job_def_def_for_assets([key])
    assert job is not None
    return partial(job.execute_in_process, instance=instance, asset_selection=[key])


def test_an_input_from_a_grid_is_found_by_its_partition(
    root: Path, instance: DagsterInstance
) -> None:
    build_grid_reader(root, instance)(partition_key="2-a")
    assert (root / "made/from_grid/2-a").read_text() == "2a\n"


def test_an_input_from_a_grid_that_moved_meanwhile_names_what_is_missing(
    root: Path, instance: DagsterInstance
) -> None:
    execute = build_grid_reader(root, instance)
    write_tree(root, {"dvc.yaml": GRID.replace("grid/", "moved/")})
    result = execute(partition_key="2-a", raise_on_error=False)
    (failure,) = (event for event in result.all_events if event.is_step_failure)
    assert "no metafile declares grid/" in str(failure.step_failure_data.error)


@pytest.mark.parametrize("value", [3, None, "text", ["x"], {"x": 3}])
def test_anything_else_is_an_error_that_says_what_to_return(
    root: Path, instance: DagsterInstance, value: Any
) -> None:
    @asset(key=["made", "x"], io_manager_key=MANAGER)
    def wrong() -> Any:
        return value

    result = produce(root, instance, wrong, raise_on_error=False)
    assert not result.success
    error = result.failure_data_for_node("made__x").error
    assert error is not None
    assert error.cause is not None or "cannot be persisted" in error.message
    words = error.to_string()
    assert "cannot be persisted through DVC: return a pathlib.Path, bytes" in words
    assert not (root / "made/x").exists()
    assert not (root / "made/x.dvc").exists()
    assert list((root / "made").glob(".*")) == []


@pytest.mark.parametrize(
    "content",
    [
        {"two.txt": b"2", "bad.txt": Path("nowhere")},
        # DVC takes no folder with such a file.
        {"two.txt": b"2", ".dvcignore": b"*.bak"},
    ],
)
def test_what_cannot_be_written_or_recorded_leaves_the_version_before(
    root: Path, instance: DagsterInstance, content: dict[str, Any]
) -> None:
    returned: dict[str, Any] = {"one.txt": b"1"}

    @asset(key=["made", "folder"], io_manager_key=MANAGER)
    def folder() -> dict[str, Any]:
        return returned

    produce(root, instance, folder)
    returned = content
    assert not produce(root, instance, folder, raise_on_error=False).success
    assert contents(root / "made/folder") == {"one.txt": "1"}
    assert sorted(place.name for place in (root / "made").iterdir()) == [
        ".gitignore",
        "folder",
        "folder.dvc",
    ]
    assert run(root, "dvc", "status").strip() == "Data and pipelines are up to date."
    assert leftovers(root) == []


def test_what_a_stage_makes_is_not_touched(
    materialized_registry: Path, instance: DagsterInstance
) -> None:
    root, lines = materialized_registry, "processed/texts/data/outputs/lines/01_a"
    before = contents(root / lines)

    @asset(key=lines.split("/"), io_manager_key=MANAGER)
    def mine() -> bytes:
        return b"mine"

    result = produce(root, instance, mine, raise_on_error=False)
    (failure,) = (event for event in result.all_events if event.is_step_failure)
    assert "take that output out of its metafile" in str(failure.step_failure_data.error)
    assert contents(root / lines) == before
    assert run(root, "dvc", "status").strip() == "Data and pipelines are up to date."


def test_a_partitioned_asset_is_one_asset_once_its_folder_is_a_family(
    root: Path, instance: DagsterInstance
) -> None:
    instance.add_dynamic_partitions(own(root, "collections"), ["01_a"])

    @asset(
        key=["made", "small"],
        io_manager_key=MANAGER,
        partitions_def=DynamicPartitionsDefinition(name=own(root, "collections")),
    )
    def small() -> bytes:
        return b"small"

    def keys() -> set[str]:
        graph = build_definitions(root, assets=[small]).resolve_asset_graph()
        found = {key.to_user_string() for key in graph.get_all_asset_keys()}
        return {key for key in found if key.startswith("made")}

    def warnings(result: ExecuteInProcessResult) -> list[str]:
        said = (entry.user_message for entry in instance.all_logs(result.run_id))
        return [line for line in said if "`families` in pyproject.toml names made/small/*" in line]

    assert warnings(produce(root, instance, small, partition="01_a"))
    assert keys() == {"made/small", "made/small/01_a"}
    settings = '[tool.registry_assets]\nfamilies = ["raw/*", "made/small/*"]\n'
    (root / "pyproject.toml").write_text(settings)
    assert keys() == {"made/small"}
    assert not warnings(produce(root, instance, small, partition="01_a"))
    assert sync(lineage_of(root), instance, print).reported == 0


def test_assets_that_own_a_part_of_a_stage_are_refused(root: Path) -> None:
    pipeline = "stages:\n  two:\n    cmd: touch a b\n    outs: [a, b]\n"
    write_tree(root, {"two/dvc.yaml": pipeline})

    @asset(key=["two", "a"])
    def mine() -> None: ...

    with pytest.raises(RegistryError, match=r"two/a is made together with two/b"):
        build_definitions(root, assets=[mine])


METRICS = """\
stages:
  score:
    cmd: >-
      echo '{"accuracy": 0.5, "count": {"day": 3}, "name": "x", "ok": true}' > score.json
      && echo 'loss: 1.5' > loss.yaml && echo 'not: [json' > broken.json
    metrics:
      - score.json:
          cache: false
      - loss.yaml
    outs:
      - broken.json
"""


def test_the_numbers_of_metrics_become_numbers(root: Path, instance: DagsterInstance) -> None:
    write_tree(root, {"dvc.yaml": METRICS})
    definitions = build_definitions(root)
    keys = [AssetKey([name]) for name in ("score.json", "loss.yaml", "broken.json")]
    job = definitions.resolve_implicit_job_def_def_for_assets(keys)
    assert job is not None
    result = job.execute_in_process(instance=instance, asset_selection=keys)
    assert result.success
    found = {
        m.asset_key.path[-1]: {
            name: value.value for name, value in m.metadata.items() if name.startswith("metrics/")
        }
        for m in result.asset_materializations_for_node(own(root, "score"))
    }
    assert found == {
        "score.json": {"metrics/accuracy": 0.5, "metrics/count/day": 3},
        "loss.yaml": {"metrics/loss": 1.5},
        "broken.json": {},
    }
