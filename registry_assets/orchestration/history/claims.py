"""Which registry has which name and which asset keys in a Dagster instance that several share.

Each registry tells Dagster what is gone from its own commit, and removes partitions that it lacks.
With the name or the keys of another it would remove that one's. So the first `sync` of a registry
writes down what it is called in the instance, and every later one compares.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

from dagster import DagsterInstance

from registry_assets.errors import RefusedError
from registry_assets.git_repo import GitRepo
from registry_assets.orchestration.history.event_log import asset_key
from registry_assets.orchestration.internals import copy_sensor_states
from registry_assets.orchestration.names import own_name
from registry_assets.registry.lineage.graph import Lineage
from registry_assets.registry.translator import Key

_CURSOR = "registry_assets/registries"
_MOST_EVENTS = 3

FORMER_NAMES = (
    *("new_raw_collections", "modified_raw_collections", "outside_changes", "import_sources"),
    *("follow_changes", "check_cache_every_night"),
)
"""What sensors and schedules were called while there was one registry in an instance."""


@dataclass(frozen=True)
class Claim:
    """What a registry is called in an instance.

    Attributes:
        root: Where it is.
        origin: The first commit of its Git repository and its place in that, the same in every
            clone; None where that is not known.
        key_prefix: What its keys begin with.
        keys: The keys of its assets, as text.
    """

    root: str
    origin: str | None
    key_prefix: str
    keys: tuple[str, ...]

    def is_of(self, other: "Claim") -> bool:
        """Whether both may be of one registry: the same folder, or clones of one repository."""
        if self.root == other.root:
            return True
        return self.origin is not None and self.origin == other.origin


def claim_names(lineage: Lineage, instance: DagsterInstance) -> None:
    """Makes sure that the name and the asset keys of a registry are its own in an instance.

    Raises:
        RefusedError: when another registry has them, or the history was begun with another prefix.
    """
    registry = lineage.registry
    claims = _read_claims(instance)
    former = claims.get(registry.name)
    claim = _claim(lineage, former)
    if former is None:
        _check_no_history_without_prefix(lineage, instance, claims)
    elif not claim.is_of(former):
        raise RefusedError(
            f"this Dagster has another registry named {registry.name}, the one in {former.root}: "
            'give this one a name of its own, `name = "…"` under [tool.registry_assets] in '
            "pyproject.toml"
        )
    elif claim.key_prefix != former.key_prefix and any(
        instance.has_asset_key(asset_key(tuple(key.split("/")))) for key in former.keys
    ):
        was = f'key_prefix = "{former.key_prefix}"' if former.key_prefix else "no key_prefix"
        raise RefusedError(_chosen_before(f"with {was}"))
    for name, other in claims.items():
        shared = set(claim.keys).intersection(other.keys)
        if name != registry.name and shared and not claim.is_of(other):
            raise RefusedError(
                f"this Dagster has another registry, {name} in {other.root}, with the asset key "
                f'{min(shared)}, too: give this one a prefix, `key_prefix = "{registry.name}"` '
                "under [tool.registry_assets] in pyproject.toml"
            )
    if claim != former:
        claims[registry.name] = claim
        _write_claims(instance, claims)
    if former is None:
        _take_over(lineage, instance)


def _take_over(lineage: Lineage, instance: DagsterInstance) -> None:
    """Copies what the instance keeps under the names of version 0.1.0, which stays there.

    Another process may still run that version, and the partitions may be those of another
    registry: what is not this one's goes again with the first `remove_partitions`.
    """
    registry = lineage.registry
    for name in {group.partitions for group in lineage.groups if group.partitions}:
        keys = instance.get_dynamic_partitions(name)
        if keys:
            instance.add_dynamic_partitions(own_name(registry, name), keys)
    copy_sensor_states(instance, {name: own_name(registry, name) for name in FORMER_NAMES})


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
    """Makes sure that a prefix is not added to a history of this registry that has none."""
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
    """The commits that were checked out when an asset was told last."""
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
