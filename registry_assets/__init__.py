"""Image data under Git and DVC, seen and run as Dagster assets.

The public names are loaded when they are first used: reading a registry must not cost the import
of Dagster.
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
