"""Keeps registries that share a Dagster instance from using the same name or asset keys.

`sync` reports outputs as absent that the current commit lacks, and removes their partitions. With
the name or keys of another registry, it would remove those of the other registry. So the first
`sync` of a registry stores its name and keys in the instance, and later ones compare with them.
"""

import json
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from dagster import DagsterInstance

from registry_assets.errors import RefusedError
from registry_assets.git_repo import GitRepo
from registry_assets.model import DVC_FOLDER, Registry
from registry_assets.orchestration.history.event_log import asset_key
from registry_assets.orchestration.internals import copy_sensor_states
from registry_assets.orchestration.names import SCHEDULED, own_name
from registry_assets.registry.home import HOME, event_log_file
from registry_assets.registry.lineage.graph import Lineage
from registry_assets.registry.translator import Key

_CURSOR = "registry_assets/registries"
_MOST_EVENTS = 3
_NAMED_BY_IT = "asset keys follow from it"


@dataclass(frozen=True)
class Claim:
    """The names that a registry uses in an instance.

    Attributes:
        root: The folder of the registry.
        origin: The first commit of the Git repository and the registry's folder in it, the same in
            every clone; None without commits, or in a shallow clone.
        key_prefix: The prefix of its asset keys.
        keys: Its asset keys, as text.
        box_names: The setting that they follow.
        host: The name of its machine.
        inode: The inode of its ``.dvc``, which stays when it is moved.
    """

    root: str
    origin: str | None
    key_prefix: str
    keys: tuple[str, ...]
    host: str = ""
    inode: int = 0
    box_names: str = "last"

    def is_of(self, other: "Claim") -> bool:
        """Whether both belong to one registry: clones of it, or the same folder, even if moved."""
        if self.origin is not None and self.origin == other.origin:
            return True
        is_here = self.root == other.root or self.inode == other.inode
        return is_here and self.host == other.host


def claim_names(lineage: Lineage, instance: DagsterInstance) -> None:
    """Make sure that no other registry in an instance uses the name or asset keys of this one.

    Raises:
        RefusedError: when another registry uses them, or the history has another key prefix or
            other names of boxes.
    """
    registry = lineage.registry
    claims = _read_claims(instance)
    former = claims.get(registry.name)
    claim = _claim(lineage, former)
    others = {name: other for name, other in claims.items() if not claim.is_of(other)}
    if others and _is_alone(registry, instance):
        # Claims of other paths come from before the registry was moved or copied.
        others = {}
    if registry.name in others:
        raise RefusedError(
            f"another registry in this Dagster instance is named {registry.name}, in "
            f'{others[registry.name].root}: set another `name = "…"` under [tool.registry_assets] '
            "in pyproject.toml"
        )
    if former is None:
        _check_no_history_of_other_keys(lineage, instance, claims)
    elif claim.key_prefix != former.key_prefix and _has_history(former.keys, instance):
        was = f'key_prefix = "{former.key_prefix}"' if former.key_prefix else "no key_prefix"
        raise RefusedError(_chosen_before(f"with {was}"))
    elif claim.box_names != former.box_names and _has_history(
        {*former.keys} - {*claim.keys}, instance
    ):
        raise RefusedError(_chosen_before(f'with box_names = "{former.box_names}"', _NAMED_BY_IT))
    for name, other in others.items():
        shared = set(claim.keys).intersection(other.keys)
        if shared:
            raise RefusedError(
                f"another registry in this Dagster instance, {name} in {other.root}, also has the "
                f'asset key {min(shared)}: set `key_prefix = "{registry.name}"` under '
                "[tool.registry_assets] in pyproject.toml"
            )
    if former is None:
        # The folder was renamed, or the setting changed.
        here = (claim.host, claim.root)
        renamed = [name for name, other in claims.items() if (other.host, other.root) == here]
        _take_over(lineage, instance, ["", *(f"{name}__" for name in renamed)])
        for name in renamed:
            del claims[name]
    if claim != former:
        _write_claims(instance, {**claims, registry.name: claim})


def _has_history(keys: Iterable[str], instance: DagsterInstance) -> bool:
    return any(instance.has_asset_key(asset_key(tuple(key.split("/")))) for key in keys)


def _is_alone(registry: Registry, instance: DagsterInstance) -> bool:
    """Whether an instance stores its history in the registry's own folder."""
    home = registry.root / HOME
    is_home = Path(instance.root_directory).resolve() == home.resolve()
    return is_home and event_log_file(home) is not None


def _take_over(lineage: Lineage, instance: DagsterInstance, prefixes: Sequence[str]) -> None:
    """Copy partition keys and sensor states from former names, and keep the originals.

    Another process may still run version 0.1.0, whose names have no prefix. Partition keys that
    belong to another registry are removed by the next `remove_partitions`.
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
    host, inode = platform.node(), (registry.root / DVC_FOLDER).stat().st_ino
    is_here = former is not None and (former.host, former.root) == (host, root)
    if is_here and former is not None and former.origin is not None:
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
        host,
        inode,
        registry.settings.box_names,
    )


def _check_no_history_of_other_keys(
    lineage: Lineage, instance: DagsterInstance, claims: Mapping[str, Claim]
) -> None:
    """Make sure that this registry's history, if it has one, does not lack its prefix and names."""
    settings = lineage.registry.settings
    git = GitRepo(lineage.registry.root)
    others = {key for claim in claims.values() for key in claim.keys}

    def has_history(key: Key) -> bool:
        return "/".join(key) not in others and any(map(git.is_known, _commits_of(key, instance)))

    for key, output in lineage.output_of.items():
        if settings.key_prefix and has_history(key[len(settings.key_prefix) :]):
            raise RefusedError(_chosen_before("without one"))
        plain = (*settings.key_prefix, *lineage.translator.asset_key(output.path))
        if settings.box_names == "distinct" and plain != key and has_history(plain):
            raise RefusedError(_chosen_before('with box_names = "last"', _NAMED_BY_IT))


def _chosen_before(how: str, why: str = "the prefix is part of every asset key") -> str:
    return (
        f"Dagster's history of this registry was started {how}, and {why}: restore the setting "
        "under [tool.registry_assets] in pyproject.toml, or start a new history by setting "
        "DAGSTER_HOME to another folder"
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
    names = {field.name for field in fields(Claim)}
    claims = {}
    for name, told in (json.loads(text) if text else {}).items():
        # Another version may have stored more or less.
        known = {key: value for key, value in told.items() if key in names}
        claims[name] = Claim(**{**known, "keys": tuple(told["keys"])})
    return claims


def _write_claims(instance: DagsterInstance, claims: Mapping[str, Claim]) -> None:
    told = {name: asdict(claim) for name, claim in claims.items()}
    instance.daemon_cursor_storage.set_cursor_values({_CURSOR: json.dumps(told)})
