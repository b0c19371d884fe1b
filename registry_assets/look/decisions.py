"""Deciding about pictures, as `registry allow`, `deny` and `decisions --withdraw` do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict, cast

from starlette.routing import BaseRoute

from registry_assets.curation.deciding import Decider, find_stale, materialize_command
from registry_assets.images.decisions import Verdict
from registry_assets.look.answers import tell
from registry_assets.look.open_registry import OpenRegistry
from registry_assets.look.queries import BadRequestError, optional_text, read_md5s, text_of


class StaleJson(TypedDict):
    """What has to be made again after something was written.

    Attributes:
        stale: The assets, with their partition in brackets; all that is downstream comes with them.
        next: The command that makes them; empty if nothing is stale.
    """

    stale: Sequence[str]
    next: str


class DecidedJson(StaleJson):
    """Decisions that were made or withdrawn.

    Attributes:
        done: The pictures, as ``COLLECTION/PATH``.
    """

    done: Sequence[str]


def routes(registry: OpenRegistry) -> list[BaseRoute]:
    """The routes of decisions."""
    return [
        tell(registry, "/api/decisions", decide),
        tell(registry, "/api/decisions/withdraw", withdraw),
    ]


def decide(opened: OpenRegistry, body: Mapping[str, Any]) -> DecidedJson:
    """Answer ``POST api/decisions``.

    Raises:
        BadRequestError: when the body lacks something.
        RegistryError: when a decision is refused.
    """
    verdict = text_of(body, "verdict")
    if verdict not in ("allow", "deny"):
        raise BadRequestError("`verdict` has to be `allow` or `deny`: reload the page")
    why = text_of(body, "why")
    if not why.strip():
        raise BadRequestError("a decision needs a reason in words: say why")
    made = Decider(opened.read_again().lineage).decide_about(
        read_md5s(body),
        cast(Verdict, verdict),
        why=why.strip(),
        dataset=text_of(body, "dataset"),
        collection=optional_text(body, "collection"),
        duplicate_of=optional_text(body, "duplicate_of") or "",
    )
    done = [item.image for item in made.done]
    return {"done": done, **describe_stale(opened, made.written)}


def withdraw(opened: OpenRegistry, body: Mapping[str, Any]) -> DecidedJson:
    """Answer ``POST api/decisions/withdraw``.

    Raises:
        BadRequestError: when the body lacks something.
        RegistryError: when there is no such decision.
    """
    taken = Decider(opened.read_again().lineage).withdraw(
        read_md5s(body),
        dataset=text_of(body, "dataset"),
        collection=optional_text(body, "collection"),
    )
    done = [item.image for item in taken]
    return {"done": done, **describe_stale(opened, {item.file for item in taken})}


def describe_stale(opened: OpenRegistry, files: Iterable[str]) -> StaleJson:
    """What has to be made again because some files were written, and the command for it."""
    stale = list(find_stale(opened.read_again().lineage, set(files)))
    return {
        "stale": [f"{asset} [{name}]" if name else asset for asset, name in stale],
        "next": materialize_command(name for _, name in stale) if stale else "",
    }
