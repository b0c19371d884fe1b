"""What a test needs to know of a place that data can be pushed to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.remotes.servers.gates import Gate
from tests.remotes.servers.processes import HOST


@dataclass(frozen=True)
class Storage:
    """A place for remotes, on loopback.

    Attributes:
        url: Under which each test makes a remote of its own.
        settings: Of DVC's remote, for everybody to see.
        credentials: Of DVC's remote, for nobody to see.
        wrong_credentials: Others, which the server refuses.
        secrets: What of the wrong credentials must not be told.
        gate: The way to it.
    """

    url: str
    gate: Gate
    settings: Mapping[str, str] = field(default_factory=dict)
    credentials: Mapping[str, str] = field(default_factory=dict)
    wrong_credentials: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()

    def place_for(self, name: str) -> str:
        """The address of a remote of that name."""
        if "://" not in self.url:
            Path(self.url, name).mkdir(parents=True)
        return f"{self.url}/{name}"

    def by_port(self, port: int) -> Storage:
        """The same place, where clients find it by another port than that of its gate."""

        def lead(configured: Mapping[str, str]) -> Mapping[str, str]:
            gate = f"{HOST}:{self.gate.port}"
            return {k: v.replace(gate, f"{HOST}:{port}") for k, v in configured.items()}

        return replace(self, settings=lead(self.settings), credentials=lead(self.credentials))
