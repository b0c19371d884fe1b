"""Takes the libraries of the page from npm's packages: `make vendor`; `--check` only compares.

The versions are pinned in `scripts/javascript/package-lock.json`, whose hashes npm verifies as it
installs them. The page loads the files as they are, without a build step, so two things are
done here that a bundler would do: `process.env.NODE_ENV`, which browsers lack, becomes a constant,
and comments that name source maps, which are not shipped, are left out. Declarations of types lie
beside the code, for `make check` only: distributions leave them out.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ROOT / "scripts/javascript/node_modules"
VENDOR = ROOT / "registry_assets/look/page/vendor"
RECORD = "vendor.json"

_SOURCE_MAP = re.compile(rb"^//# sourceMappingURL=.*\n?", re.MULTILINE)
_ENVIRONMENT = b"process.env.NODE_ENV"


@dataclass(frozen=True)
class Library:
    """A library that the page loads.

    Attributes:
        package: Its name on npm.
        folder: Its place in `vendor/`.
        files: The files taken, by their names in that folder.
    """

    package: str
    folder: str
    files: Mapping[str, str]


_VIRTUAL_MODULES = ("index", "ios-gesture", "lazy-measurements", "scroll-classifier", "utils")
LIBRARIES = (
    Library(
        "@tanstack/virtual-core",
        "virtual-core",
        {"LICENSE": "LICENSE"}
        | {
            f"{module}{suffix}": f"dist/esm/{module}{suffix}"
            for module in _VIRTUAL_MODULES
            for suffix in (".js", ".d.ts")
        },
    ),
    Library(
        "uplot",
        "uplot",
        {
            "LICENSE": "LICENSE",
            "uPlot.css": "dist/uPlot.min.css",
            "uPlot.d.ts": "dist/uPlot.d.ts",
            "uPlot.js": "dist/uPlot.esm.js",
        },
    ),
)


def read_vendored() -> dict[str, bytes]:
    """The files of `vendor/` as npm's packages have them, by path, with the record of them."""
    contents: dict[str, bytes] = {}
    record = []
    for library in LIBRARIES:
        package = PACKAGES / library.package
        described = json.loads((package / "package.json").read_text(encoding="utf-8"))
        taken = {
            f"{library.folder}/{name}": _as_loaded((package / source).read_bytes())
            for name, source in sorted(library.files.items())
        }
        contents |= taken
        record.append(
            {
                "name": library.package,
                "version": described["version"],
                "license": described["license"],
                "sha256": {path: hashlib.sha256(taken[path]).hexdigest() for path in taken},
            }
        )
    contents[RECORD] = json.dumps(record, indent=2).encode() + b"\n"
    return contents


def _as_loaded(content: bytes) -> bytes:
    return _SOURCE_MAP.sub(b"", content).replace(_ENVIRONMENT, b'"production"')


def find_differences(contents: dict[str, bytes]) -> list[str]:
    """The paths in `vendor/` that are not as given: changed, missing or not from there."""
    there = {
        path.relative_to(VENDOR).as_posix(): path.read_bytes()
        for path in VENDOR.rglob("*")
        if path.is_file()
    }
    return sorted(path for path in there | contents if there.get(path) != contents.get(path))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only compare")
    check = parser.parse_args().check
    contents = read_vendored()
    if check:
        if differing := find_differences(contents):
            sys.exit(f"Not as npm has it: {', '.join(differing)}. Run `make vendor`.")
        return
    shutil.rmtree(VENDOR, ignore_errors=True)
    for path, content in contents.items():
        (VENDOR / path).parent.mkdir(parents=True, exist_ok=True)
        (VENDOR / path).write_bytes(content)


if __name__ == "__main__":
    main()
