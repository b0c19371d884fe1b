"""Many arrive at once, in disorder: each is registered once or reported, and nothing half done."""

from __future__ import annotations

import shutil
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from dagster import AssetKey, DagsterInstance, Definitions, RunRequest
from dagster._core.storage.tags import RUN_KEY_TAG

from registry_assets import build_definitions
from registry_assets.curation.duplicates import find_duplicates
from registry_assets.dvc_repo import DvcRepo
from registry_assets.orchestration.history.reporting import sync
from registry_assets.orchestration.sensors.folders import TAKE_IN_JOB
from registry_assets.registry.status.reading import read_status
from tests.conftest import lineage_of, run, write_tree
from tests.intake.test_edits import configure
from tests.runs import own
from tests.test_sensor import set_settle_seconds, tick


@dataclass
class Daemon:
    """What Dagster's daemon does for the sensor: it starts one run for each key, ever."""

    root: Path
    instance: DagsterInstance
    definitions: Definitions
    cursor: str | None = None
    queue: list[RunRequest] = field(default_factory=list)
    started: set[str | None] = field(default_factory=set)
    said: str = ""

    def tick(self) -> list[str | None]:
        result = tick(self.root, self.instance, self.cursor, self.definitions)
        self.cursor = result.cursor
        for added in result.dynamic_partitions_requests or ():
            self.instance.add_dynamic_partitions(
                own(self.root, "collections"), list(added.partition_keys)
            )
        self.said = str(result.skip_reason.skip_message) if result.skip_reason else ""
        new = [r for r in result.run_requests or () if r.run_key not in self.started]
        self.started |= {request.run_key for request in new}
        self.queue += new
        return [request.partition_key for request in new]

    def work(self, most: int) -> dict[str | None, bool]:
        """Executes runs of the queue; returns which of them succeeded."""
        job = self.definitions.resolve_job_def(own(self.root, TAKE_IN_JOB))
        done = {}
        for request in self.queue[:most]:
            assert request.asset_selection is not None
            assert request.asset_check_keys == []
            result = job.get_subset(
                asset_selection=set(request.asset_selection), asset_check_selection=set()
            ).execute_in_process(
                instance=self.instance,
                partition_key=request.partition_key,
                tags={RUN_KEY_TAG: str(request.run_key)},
                raise_on_error=False,
            )
            done[request.partition_key] = result.success
        del self.queue[:most]
        return done


def test_ten_at_once_are_each_registered_once_or_reported(
    text_registry: Path, instance: DagsterInstance
) -> None:
    root, raw = text_registry, text_registry / "raw"
    set_settle_seconds(root, 2)
    configure(root, 'take_in = { texts = "manual" }')
    write_tree(raw, {f"0{n}_x/{n}.txt": f"{n}\n" for n in range(3, 8)})
    shutil.copytree(raw / "03_x", raw / "08_same")
    write_tree(raw, {"09_gone/1.txt": "1\n", "09_gone/2.txt": "2\n"})
    with zipfile.ZipFile(raw / "10_zip.zip", "w") as archive:
        archive.writestr("10_zip/1.txt", "zipped\n")
    (raw / "11_bad.zip").write_bytes((raw / "10_zip.zip").read_bytes()[:40])
    write_tree(raw, {"12 bad name/1.txt": "1\n", "13_slow/1.txt": "1\n"})
    good = {f"0{n}_x" for n in range(3, 8)} | {"01_a", "02_b", "08_same", "10_zip"}
    time.sleep(2.1)
    write_tree(raw, {"13_slow/2.txt": "2\n"})

    definitions = build_definitions(root)
    daemon = Daemon(root, instance, definitions)
    assert set(daemon.tick()) == {*good, "09_gone", "11_bad"}
    (raw / "09_gone/1.txt").unlink()
    changed = time.monotonic()
    first = daemon.work(4)
    # The daemon starts anew, without what it had in mind; what it had asked for waits.
    daemon = Daemon(root, instance, definitions, queue=daemon.queue, started=daemon.started)
    time.sleep(max(0, changed + 2.1 - time.monotonic()))
    write_tree(raw, {"13_slow/3.txt": "late\n"})
    assert daemon.tick() == ["09_gone"]  # in another state, before it is gone
    shutil.rmtree(raw / "09_gone")
    done = {**first, **daemon.work(20)}
    time.sleep(2.1)
    assert daemon.tick() == ["13_slow"]
    done |= daemon.work(20)
    assert {name for name, succeeded in done.items() if succeeded} == {*good, "13_slow", "09_gone"}

    assert daemon.tick() == []
    assert "11_bad.zip is left alone: it is damaged" in daemon.said
    assert "12 bad name is left alone" in daemon.said
    status = {item.collection: item.state for item in read_status(lineage_of(root)).raw}
    assert status == {
        **dict.fromkeys([*good, "13_slow"], "tracked"),
        **dict.fromkeys(["11_bad", "12 bad name"], "rejected"),
    }
    counts = instance.get_materialized_partitions(AssetKey("raw"))
    assert counts == {*good, "13_slow"}
    events = instance.fetch_materializations(AssetKey("raw"), limit=100).records
    assert len(events) == len(good) + 1
    sync(lineage_of(root), instance, lambda _line: None)
    assert "09_gone" not in instance.get_dynamic_partitions(own(root, "collections"))
    assert not [p for p in (raw / ".arriving").rglob("*") if p.name == "content"]
    assert "09_gone" not in (raw / ".gitignore").read_text()
    assert run(root, "dvc", "status", "raw/13_slow.dvc").strip().endswith("up to date.")
    found = find_duplicates(lineage_of(root), DvcRepo(root).listings())
    assert found.counts() == {("08_same", "03_x"): (1, 0)}
