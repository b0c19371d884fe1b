"""Image data under Git and DVC, seen and run as Dagster assets.

The public names are loaded when they are first used: reading a registry must not cost the import
of Dagster.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from registry_assets.assets import build_registry_assets
    from registry_assets.building import build_definitions
    from registry_assets.component import DvcRegistryComponent
    from registry_assets.errors import RegistryError
    from registry_assets.io_manager import DvcIOManager
    from registry_assets.lineage.building import build_lineage
    from registry_assets.lineage.graph import Lineage
    from registry_assets.model import Registry
    from registry_assets.registry import read_registry
    from registry_assets.translator import RegistryTranslator

_PLACES = {
    "DvcIOManager": "io_manager",
    "DvcRegistryComponent": "component",
    "Lineage": "lineage.graph",
    "Registry": "model",
    "RegistryError": "errors",
    "RegistryTranslator": "translator",
    "build_definitions": "building",
    "build_lineage": "lineage.building",
    "build_registry_assets": "assets",
    "read_registry": "registry",
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
