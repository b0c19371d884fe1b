"""A registry whose pictures are decided about, explained, counted and exported."""

from pathlib import Path

import pytest

from tests.conftest import run


@pytest.fixture
def root(demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registry after its demo, to be changed."""
    monkeypatch.chdir(tmp_path)
    made = tmp_path / "registry"
    run(tmp_path, "cp", "-a", str(demo), str(made))
    run(made, "git", "config", "user.name", "Ada")
    run(made, "git", "config", "user.email", "ada@example.org")
    return made
