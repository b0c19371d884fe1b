"""The parameters in `params.yaml`, as typed values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

PARAMS_FILE = "params.yaml"
CLASSES = ("day", "night")


@dataclass(frozen=True)
class Params:
    """What `params.yaml` says.

    Attributes:
        seed: Of everything that chance decides.
        crops_per_image: How many pieces are cut out of each picture.
        smallest_crop: The least part of width and height that a piece has, up to 1.
        inverse_regularization: Of the logistic regression, its `C`.
        folds: The parts of the cross-validation.
        fewest_images: The images of each class that the data check asks for.
    """

    seed: int
    crops_per_image: int
    smallest_crop: float
    inverse_regularization: float
    folds: int
    fewest_images: int


def read_params(path: Path = Path(PARAMS_FILE)) -> Params:
    """Reads the parameters."""
    said = _load(path)
    return Params(
        seed=int(said["seed"]),
        crops_per_image=int(said["crops"]["per_image"]),
        smallest_crop=float(said["crops"]["smallest"]),
        inverse_regularization=float(said["classifier"]["inverse_regularization"]),
        folds=int(said["folds"]),
        fewest_images=int(said["fewest_images"]),
    )


def read_flat_params(path: Path = Path(PARAMS_FILE)) -> dict[str, str]:
    """Every parameter with its path in the file as its name: ``crops.per_image``."""
    return dict(_flatten(_load(path), ""))


def _load(path: Path) -> dict[str, Any]:
    return dict(YAML(typ="safe").load(path.read_text(encoding="utf-8")))


def _flatten(said: dict[str, Any], above: str) -> list[tuple[str, str]]:
    found = []
    for name, value in said.items():
        if isinstance(value, dict):
            found.extend(_flatten(value, f"{above}{name}."))
        else:
            found.append((f"{above}{name}", str(value)))
    return found
