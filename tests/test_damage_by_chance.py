"""A few of the damaged files that `make faults` makes by the thousand."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from faults.hostile import open_damaged
from faults.mutations import samples
from faults.trials import Order
from tests.conftest import seeds


@pytest.mark.parametrize("seed", seeds("0"))
def test_every_damaged_file_has_a_verdict_or_a_reason(seed: int, tmp_path: Path) -> None:
    order = Order(seed, time.monotonic() + 60, tmp_path, tmp_path, 1)
    trials = [trial for kind in samples() for trial in open_damaged(order, kind, 0, 6)]
    assert [trial for trial in trials if trial.faults] == []
    assert len(trials) == 6 * len(samples()) >= 90
