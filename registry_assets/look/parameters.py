"""Writing thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.routing import BaseRoute

from registry_assets.curation.initial_decisions import PARAMETERS
from registry_assets.curation.parameters import write_thresholds
from registry_assets.look.answers import tell
from registry_assets.look.decisions import StaleJson, describe_stale
from registry_assets.look.open_registry import OpenRegistry
from registry_assets.look.queries import BadRequestError, text_of


class WrittenJson(StaleJson):
    """Thresholds that were written.

    Attributes:
        written: The parameters whose value changed.
    """

    written: Sequence[str]


def routes(registry: OpenRegistry) -> list[BaseRoute]:
    """The route of parameters."""
    return [tell(registry, "/api/params", write)]


def write(opened: OpenRegistry, body: Mapping[str, Any]) -> WrittenJson:
    """Answer ``POST api/params``.

    Raises:
        BadRequestError: when the body lacks something.
        RegistryError: when a value is refused.
    """
    dataset = opened.read_again().registry.dataset(text_of(body, "dataset"))
    values = body.get("values")
    if not isinstance(values, dict) or not values:
        raise BadRequestError("`values` has to name thresholds: move a slider first")
    # A bool is an int to Python.
    if not all(type(value) in (int, float) for value in values.values()):
        raise BadRequestError("`values` have to be numbers: reload the page")
    try:
        numbers = {name: float(value) for name, value in values.items()}
    except OverflowError:
        raise BadRequestError("`values` have to be numbers of usual size: choose others") from None
    written = write_thresholds(opened.root, dataset, numbers)
    name = f"{dataset.path}/{PARAMETERS}" if dataset.path else PARAMETERS
    return {"written": written, **describe_stale(opened, [name] if written else [])}
