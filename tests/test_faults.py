"""`make faults` in short: each part disturbs a few commands, the same ones every time."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from faults import crowd, disks, kills, power
from faults.kills import Undisturbed
from faults.programs import Kill
from faults.registries import SCENARIOS, build_site
from faults.trials import Order

CHOSEN = tuple(scenario for scenario in SCENARIOS if scenario.name in ("add", "import", "new"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Undisturbed]:
    scratch = tmp_path_factory.mktemp("faults") / "undisturbed"
    return {one.scenario.name: one for one in kills.measure(scratch, 2, CHOSEN)}


@pytest.mark.parametrize(("name", "share"), [("add", 0.5), ("import", 0.7)])
def test_a_killed_command_run_again_leads_to_the_same(
    undisturbed: dict[str, Undisturbed], tmp_path: Path, name: str, share: float
) -> None:
    one = undisturbed[name]
    kill = Kill(at=int(share * one.changes))
    assert list(kills.disturb(one.site.copy(tmp_path / "site"), one, kill)) == []


@pytest.mark.parametrize(
    ("name", "kinds"),
    [("import", {"write", "rename", "sync"}), ("new", {"write", "rename", "sync all"})],
)
def test_what_is_renamed_into_place_was_synced_before(
    undisturbed: dict[str, Undisturbed], tmp_path: Path, name: str, kinds: set[str]
) -> None:
    assert shutil.which("strace"), "strace is missing: run `apt-get install strace`"
    one = undisturbed[name]
    calls = power.trace(one.site.copy(tmp_path / "site"), one.scenario.command)
    assert {call.kind for call in calls} >= kinds
    assert list(power.find_faults(calls, one.site.place)) == []


def test_what_was_not_synced_may_be_lost_in_a_power_cut(
    undisturbed: dict[str, Undisturbed], tmp_path: Path
) -> None:
    one = undisturbed["add"]
    calls = power.trace(one.site.copy(tmp_path / "traced"), one.scenario.command)
    written = next(call.time for call in calls if call.target == "registry/raw/03_c.dvc")
    kill = Kill(after=written)
    assert list(power.cut(one.site.copy(tmp_path / "site"), one, kill)) == []


@pytest.mark.skipif("os.geteuid() != 0", reason="mounting takes root")
@pytest.mark.parametrize(
    ("place", "trouble"), [("cache", "gone"), ("workspace", "full"), ("history", "read-only")]
)
def test_a_disk_in_trouble_loses_nothing(
    undisturbed: dict[str, Undisturbed], tmp_path: Path, place: str, trouble: str
) -> None:
    one = undisturbed["add"]
    site = one.site.copy(tmp_path / "site")
    assert disks.disturb_apart(site, one, place, trouble, 20_000) == ()


@pytest.mark.parametrize("since", [None, 25])
def test_a_slow_disk_is_no_error_and_a_quota_loses_nothing(
    undisturbed: dict[str, Undisturbed], tmp_path: Path, since: int | None
) -> None:
    one = undisturbed["add"]
    assert list(disks.disturb_calls(one.site.copy(tmp_path / "site"), one, since)) == []


def test_a_crowd_on_one_registry_loses_nothing(tmp_path: Path) -> None:
    order = Order(5, time.monotonic() + 600, tmp_path, tmp_path, 3)
    trials = list(crowd.crowd(build_site(tmp_path / "site"), order, 0, 3, 4))
    assert len(trials) == 3 * 4 + 1
    assert [fault for trial in trials for fault in trial.faults] == []
