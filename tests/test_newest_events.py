"""What was read of events is what reading them again would give, whatever happens to the log."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from dagster import AssetMaterialization, DagsterInstance

from registry_assets.orchestration.history.event_log import (
    AssetPartition,
    Seen,
    asset_key,
    read_seen,
)
from registry_assets.orchestration.internals import DATA_VERSION_TAG
from registry_assets.registry.kept_answers import KEPT_FOLDER
from tests.conftest import history_in, lineage_of

RAW = AssetPartition(("raw",), "01_a")


def seen_by(root: Path, instance: DagsterInstance) -> dict[AssetPartition, Seen]:
    return read_seen(lineage_of(root), instance)


def seen_anew(root: Path, instance: DagsterInstance) -> dict[AssetPartition, Seen]:
    (root / KEPT_FOLDER / "newest_events.json").unlink(missing_ok=True)
    return seen_by(root, instance)


def report(instance: DagsterInstance, version: str) -> None:
    instance.report_runless_asset_event(
        AssetMaterialization(
            asset_key(RAW.key), partition=RAW.partition, tags={DATA_VERSION_TAG: version}
        )
    )


def test_events_are_read_once(
    materialized_registry: Path, its_history: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = seen_anew(materialized_registry, its_history)
    assert {asset.partition for asset in first} >= {"01_a"}
    read: list[int] = []
    fetch = its_history.fetch_materializations

    def count(*args: object, **options: object) -> object:
        found = fetch(*args, **options)  # type: ignore[arg-type]
        read.extend(record.storage_id for record in found.records)
        return found

    monkeypatch.setattr(its_history, "fetch_materializations", count)
    assert seen_by(materialized_registry, its_history) == first
    assert len(read) == 1, "only the newest, which tells that the log is the same"
    report(its_history, "new")
    again = seen_by(materialized_registry, its_history)
    assert again[RAW].version == "new"
    assert {asset: seen for asset, seen in again.items() if asset != RAW} == {
        asset: seen for asset, seen in first.items() if asset != RAW
    }
    assert len(read) == 3


def test_a_log_that_was_put_back_and_went_on_is_read_anew(
    materialized_registry: Path, its_history: DagsterInstance, tmp_path: Path
) -> None:
    earlier = Path(shutil.copytree(tmp_path / "history", tmp_path / "earlier"))
    report(its_history, "one")
    report(its_history, "two")
    assert seen_by(materialized_registry, its_history)[RAW].version == "two"
    with history_in(earlier) as other:
        before = seen_by(materialized_registry, other)
        assert before[RAW].version not in ("one", "two")
        for version in ("three", "four", "five"):
            report(other, version)
        assert seen_by(materialized_registry, other)[RAW].version == "five"
        assert seen_by(materialized_registry, other) == seen_anew(materialized_registry, other)
    assert seen_by(materialized_registry, its_history)[RAW].version == "two"


@pytest.mark.parametrize("text", ["", "[]", '{"mark": null, "events": []}', '{"mark": {}}'])
def test_a_damaged_cache_is_no_obstacle(
    text: str, materialized_registry: Path, its_history: DagsterInstance
) -> None:
    first = seen_anew(materialized_registry, its_history)
    (materialized_registry / KEPT_FOLDER / "newest_events.json").write_text(text)
    assert seen_by(materialized_registry, its_history) == first
