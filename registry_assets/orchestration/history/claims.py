"""Which registry has which name and which asset keys in a Dagster instance that several share.

A registry reports as absent what its commit does not have, and removes partitions that it lacks.
Under the name or keys of another registry, it would remove those of the other. So the first `sync`
of a registry stores its name and keys in the instance, and every later one compares.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from dagster import DagsterInstance

from registry_assets.errors import RefusedError
from registry_assets.git_repo import GitRepo
from registry_assets.model import Registry
from registry_assets.orchestration.history.event_log import asset_key
from registry_assets.orchestration.internals import copy_sensor_states
from registry_assets.orchestration.names import own_name
from registry_assets.registry.home import HOME, event_log_file
from registry_assets.registry.lineage.graph import Lineage
from registry_assets.registry.translator import Key

_CURSOR = "registry_assets/registries"
_MOST_EVENTS = 3

SCHEDULED = (
    *("new_raw_collections", "modified_raw_collections", "outside_changes", "import_sources"),
    *("follow_changes", "check_cache_every_night"),
)
"""The sensors and schedules of a registry."""


@dataclass(frozen=True)
class Claim:
    """The names that a registry has in an instance.

    Attributes:
        root: Its folder.
        origin: The first commit of its Git repository and its folder in that, the same in every
            clone; None if there is no commit, or a shallow clone hides it.
        key_prefix: The prefix of its asset keys.
        keys: The keys of its assets, as text.
    """

    root: str
    origin: str | None
    key_prefix: str
    keys: tuple[str, ...]

    def is_of(self, other: "Claim") -> bool:
        """Whether both are of one registry: of the same folder, or of clones of one repository."""
        if self.root == other.root:
            return True
        return self.origin is not None and self.origin == other.origin


def claim_names(lineage: Lineage, instance: DagsterInstance) -> None:
    """Makes sure that no other registry of an instance has the name or asset keys of this one.

    Raises:
        RefusedError: when another registry has them, or the history was begun with another prefix.
    """
    registry = lineage.registry
    claims = _read_claims(instance)
    former = claims.get(registry.name)
    claim = _claim(lineage, former)
    others = {name: other for name, other in claims.items() if not claim.is_of(other)}
    if _is_alone(registry, instance):
        # Whatever another path claimed in it: the registry was moved or copied with its history.
        others = {}
    if registry.name in others:
        raise RefusedError(
            f"this Dagster has another registry named {registry.name}, in "
            f'{others[registry.name].root}: set another `name = "…"` under [tool.registry_assets] '
            "in pyproject.toml"
        )
    if former is None:
        _check_no_history_without_prefix(lineage, instance, claims)
    elif claim.key_prefix != former.key_prefix and any(
        instance.has_asset_key(asset_key(tuple(key.split("/")))) for key in former.keys
    ):
        was = f'key_prefix = "{former.key_prefix}"' if former.key_prefix else "no key_prefix"
        raise RefusedError(_chosen_before(f"with {was}"))
    for name, other in others.items():
        shared = set(claim.keys).intersection(other.keys)
        if shared:
            raise RefusedError(
                f"this Dagster has another registry, {name} in {other.root}, that also has the "
                f'asset key {min(shared)}: set `key_prefix = "{registry.name}"` under '
                "[tool.registry_assets] in pyproject.toml"
            )
    if former is None:
        # The folder was renamed, or the setting changed.
        renamed = [name for name, other in claims.items() if other.root == claim.root]
        _take_over(lineage, instance, ["", *(f"{name}__" for name in renamed)])
        for name in renamed:
            del claims[name]
    if claim != former:
        _write_claims(instance, {**claims, registry.name: claim})


def _is_alone(registry: Registry, instance: DagsterInstance) -> bool:
    """Whether an instance keeps its history in the folder of a registry."""
    home = registry.root / HOME
    is_home = Path(instance.root_directory).resolve() == home.resolve()
    return is_home and event_log_file(home) is not None


def _take_over(lineage: Lineage, instance: DagsterInstance, prefixes: Sequence[str]) -> None:
    """Copies partition keys and the states of sensors from former names, which stay.

    Another process may still run version 0.1.0, whose names have no prefix. Partition keys of
    another registry are removed again by the next `remove_partitions`.
    """
    registry = lineage.registry
    names = {group.partitions for group in lineage.groups if group.partitions}
    for prefix in prefixes:
        for name in names:
            keys = instance.get_dynamic_partitions(prefix + name)
            if keys:
                instance.add_dynamic_partitions(own_name(registry, name), keys)
    renamed = {prefix + name: own_name(registry, name) for prefix in prefixes for name in SCHEDULED}
    copy_sensor_states(instance, renamed)


def _claim(lineage: Lineage, former: Claim | None) -> Claim:
    registry = lineage.registry
    root = str(registry.root)
    if former is not None and former.root == root and former.origin is not None:
        origin: str | None = former.origin
    else:
        git = GitRepo(registry.root)
        first = git.first_commit()
        origin = f"{first}:{git.prefix()}" if first else None
    return Claim(
        root,
        origin,
        "/".join(registry.settings.key_prefix),
        tuple(sorted("/".join(key) for key in lineage.output_of)),
    )


def _check_no_history_without_prefix(
    lineage: Lineage, instance: DagsterInstance, claims: Mapping[str, Claim]
) -> None:
    """Checks that no prefix is added to a history of this registry that was begun without one."""
    length = len(lineage.registry.settings.key_prefix)
    if not length:
        return
    git = GitRepo(lineage.registry.root)
    others = {key for claim in claims.values() for key in claim.keys}
    for key in lineage.output_of:
        bare = key[length:]
        if "/".join(bare) not in others and any(map(git.is_known, _commits_of(bare, instance))):
            raise RefusedError(_chosen_before("without one"))


def _chosen_before(how: str) -> str:
    return (
        f"Dagster's history of this registry was begun {how}, and a prefix changes the key of "
        "every asset: set it back in [tool.registry_assets] of pyproject.toml, or begin a new "
        "history, by setting DAGSTER_HOME to another folder"
    )


def _commits_of(key: Key, instance: DagsterInstance) -> Iterator[str]:
    """The Git commits in the newest materializations of an asset."""
    for record in instance.fetch_materializations(asset_key(key), limit=_MOST_EVENTS).records:
        materialization = record.asset_materialization
        commit = materialization.metadata.get("git/commit") if materialization else None
        if commit is not None:
            yield str(commit.value)


def _read_claims(instance: DagsterInstance) -> dict[str, Claim]:
    text = instance.daemon_cursor_storage.get_cursor_values({_CURSOR}).get(_CURSOR)
    found = json.loads(text) if text else {}
    return {name: Claim(**{**told, "keys": tuple(told["keys"])}) for name, told in found.items()}


def _write_claims(instance: DagsterInstance, claims: Mapping[str, Claim]) -> None:
    told = {name: asdict(claim) for name, claim in claims.items()}
    instance.daemon_cursor_storage.set_cursor_values({_CURSOR: json.dumps(told)})
