"""The libraries of the page: recorded, licensed, and fit for a page that nothing is built for."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

VENDOR = Path(__file__).parents[2] / "registry_assets/look/page/vendor"
RECORDS = json.loads((VENDOR / "vendor.json").read_text(encoding="utf-8"))
SCRIPTS = sorted(path.relative_to(VENDOR).as_posix() for path in VENDOR.rglob("*.js"))


def test_every_file_is_recorded_with_its_hash() -> None:
    recorded = {path: digest for record in RECORDS for path, digest in record["sha256"].items()}
    there = {
        path.relative_to(VENDOR).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in VENDOR.rglob("*")
        if path.is_file() and path.name != "vendor.json"
    }
    assert there == recorded


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["name"])
def test_every_library_has_its_version_and_licence(record: dict[str, str]) -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", record["version"])
    (folder,) = {path.split("/")[0] for path in record["sha256"]}
    assert record["license"] in (VENDOR / folder / "LICENSE").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_run_in_a_browser_under_a_strict_content_policy(name: str) -> None:
    text = (VENDOR / name).read_text(encoding="utf-8")
    for what in ("eval(", "new Function", "innerHTML", "sourceMappingURL", "process.env"):
        assert what not in text
    imported = re.findall(r"^(?:import|export) [^;]* from \"(.*?)\"", text, re.MULTILINE)
    assert all((VENDOR / name).parent.joinpath(module).is_file() for module in imported)
