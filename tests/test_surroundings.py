"""One machine with all that is odd at once; `make faults` tries each thing alone."""

from __future__ import annotations

from pathlib import Path

from faults.surroundings import Surroundings, outcome, surroundings
from faults.wholeness import differences


def test_an_odd_machine_makes_the_same_metafiles_objects_and_commits(tmp_path: Path) -> None:
    named = surroundings(tmp_path)
    together = Surroundings(
        {name: value for odd in named.values() for name, value in odd.variables.items()}
        | {"HOME": "/nowhere", "PYTHONOPTIMIZE": "2", "LC_ALL": "C"},
        dates=-300_000_000,
        umask=0o077,
        has_input=False,
    )
    plain = outcome(tmp_path / "plain", Surroundings())
    assert plain["published"]
    assert [name for name in plain if name.endswith(" fails")] == []
    assert list(differences(plain, outcome(tmp_path / "odd", together))) == []
