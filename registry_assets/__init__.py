"""Image data under Git and DVC, seen and run as Dagster assets.

The public names are loaded when they are first used: reading a registry must not cost the import
of Dagster.

The rooms, from the top; each imports only what stands below it:

cli/            the command `registry`
definitions.py  the code location that Dagster loads
orchestration/  assets, IO manager, checks, jobs and sensors; the only room that imports Dagster
look/           the page for looking at pictures: HTTP, HTML, CSS and JavaScript
making/         outputs brought up to date, one or many at once
retention/      forgetting pictures, freeing the cache
curation/       decisions about single images, duplicates
intake/         what comes in: registries set up, folders and archives
provenance/     where a file came from and went, on to models
revisions/      the registry at several commits: compared, merged, published
registry/       what a registry is, and what is current in it
workers/        stages made on other machines
dvc_repo/       the only room that imports DVC
git_repo/       the only room that runs Git
images/         decoding, measuring and judging images

The values and small helpers that every room may use:

model.py        the registry as frozen dataclasses; no I/O
errors.py       what callers can catch
settings.py     the settings in `pyproject.toml`
forgotten.py    the record of forgotten pictures
addresses.py    addresses of repositories: compared, and shown without secrets
bounded.py      reading what anybody may have written or named
fingerprint.py  telling that files changed without reading them
leftovers.py    what file managers leave in folders
units.py        numbers and names as people read them
writing.py      files that are whole after a kill or a power cut

Names that stand in repositories and configurations of users, and therefore stay:

merge_driver.py  the program with which Git merges metafiles
models/          what training code of version 0.1.0 imports
deciding/        what stage programs of version 0.1.0 import
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from registry_assets.errors import RegistryError
    from registry_assets.model import Registry
    from registry_assets.orchestration.assets import build_registry_assets
    from registry_assets.orchestration.building import build_definitions
    from registry_assets.orchestration.component import DvcRegistryComponent
    from registry_assets.orchestration.io_manager import DvcIOManager
    from registry_assets.registry.lineage.building import build_lineage
    from registry_assets.registry.lineage.graph import Lineage
    from registry_assets.registry.reading import read_registry
    from registry_assets.registry.translator import RegistryTranslator

_PLACES = {
    "DvcIOManager": "orchestration.io_manager",
    "DvcRegistryComponent": "orchestration.component",
    "Lineage": "registry.lineage.graph",
    "Registry": "model",
    "RegistryError": "errors",
    "RegistryTranslator": "registry.translator",
    "build_definitions": "orchestration.building",
    "build_lineage": "registry.lineage.building",
    "build_registry_assets": "orchestration.assets",
    "read_registry": "registry.reading",
}

__all__ = [
    "DvcIOManager",
    "DvcRegistryComponent",
    "Lineage",
    "Registry",
    "RegistryError",
    "RegistryTranslator",
    "build_definitions",
    "build_lineage",
    "build_registry_assets",
    "read_registry",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
