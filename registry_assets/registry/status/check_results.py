"""The results of the asset checks, as plain values."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass

from registry_assets.dvc_repo import CacheState
from registry_assets.model import Version
from registry_assets.registry.lineage.graph import Lineage
from registry_assets.registry.status.edits import why_not_there
from registry_assets.registry.status.reading import (
    read_cache_states,
    read_recorded_status,
    read_status,
)
from registry_assets.registry.status.values import OutputStatus
from registry_assets.registry.translator import Key

COMPARED = "compared"
WITH_WORKSPACE = "metafiles and workspace"
FINGERPRINT = "fingerprint"
"""The count that holds a hash of versions and findings, to tell whether a result is new."""

_CURRENT = "up_to_date"


@dataclass(frozen=True)
class Finding:
    """A problem with one output, or with one object of it."""

    path: str
    state: str
    why: str


@dataclass(frozen=True)
class CheckResult:
    """The result of a check of one asset.

    Attributes:
        description: One sentence, with the command that fixes the findings.
        counts: Counts for the metadata.
        findings: The problems; the check passes if there are none.
        is_error: Whether something is damaged, not just out of date.
    """

    description: str
    counts: Mapping[str, int | str]
    findings: tuple[Finding, ...]
    is_error: bool = False

    @property
    def passed(self) -> bool:
        """Whether there are no findings."""
        return not self.findings


def check_status(lineage: Lineage, keys: Iterable[Key]) -> dict[Key, CheckResult]:
    """Check whether outputs are up to date, comparing the workspace too."""
    status = read_status(lineage)
    found = _findings(status.outputs)
    for item in status.raw:
        state = "up_to_date" if item.state == "tracked" else item.state
        found[item.path] = Finding(item.path, state, item.reason or "")
    return _check(lineage, keys, found, WITH_WORKSPACE)


def check_recorded_status(lineage: Lineage, keys: Iterable[Key]) -> dict[Key, CheckResult]:
    """Check by the metafiles alone whether outputs are up to date, and that collections exist."""
    found = _findings(read_recorded_status(lineage))
    root = lineage.registry.root
    for item in lineage.registry.raw:
        reason = why_not_there(root, item)
        if reason is not None and item.output.path in found:
            found[item.output.path] = Finding(item.output.path, "missing", reason)
    return _check(lineage, keys, found, "metafiles")


def _findings(outputs: Iterable[OutputStatus]) -> dict[str, Finding]:
    return {o.path: Finding(o.path, o.state, "; ".join(o.why)) for o in outputs}


def _check(
    lineage: Lineage, keys: Iterable[Key], found: Mapping[str, Finding], compared: str
) -> dict[Key, CheckResult]:
    results = {}
    for key in keys:
        if key not in lineage.output_of:
            continue
        paths = [path for path in sorted(lineage.output_of[key].paths.values()) if path in found]
        findings = tuple(found[path] for path in paths if found[path].state != _CURRENT)
        current = len(paths) - len(findings)
        states = sorted(Counter(finding.state for finding in findings).items())
        said = f"{current} of {len(paths)} up to date"
        if findings:
            counted = ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in states)
            said += (
                f"; {counted}: `registry status -v` says why, `registry materialize` updates them"
            )
        versions = [lineage.nodes[path].version for path in paths]
        results[key] = CheckResult(
            f"{said}.",
            {
                "outputs": len(paths),
                **dict(states),
                COMPARED: compared,
                FINGERPRINT: _fingerprint(versions, findings),
            },
            findings,
        )
    return results


def _fingerprint(versions: Iterable[Version | None], findings: Iterable[Finding]) -> str:
    facts = ([v and v.md5 for v in versions], [astuple(finding) for finding in findings])
    return hashlib.md5(json.dumps(facts).encode(), usedforsecurity=False).hexdigest()[:8]


def check_cache(
    lineage: Lineage, keys: Iterable[Key], most_hashed: int | None
) -> dict[Key, CheckResult]:
    """Check whether the cache has the objects of the recorded versions.

    Args:
        lineage: The graph.
        keys: The assets.
        most_hashed: The number of randomly chosen objects of each asset to hash; None for all.
    """
    results = {}
    for key in keys:
        if key not in lineage.output_of:
            continue
        nodes = [lineage.nodes[path] for path in lineage.output_of[key].paths.values()]
        results[key] = _check_objects(read_cache_states(lineage, nodes, most_hashed))
    return results


def _check_objects(states: Mapping[str, CacheState]) -> CheckResult:
    missing = [
        Finding(f"{path}/{item.name}".rstrip("/"), "missing", f"run `dvc pull {path}`")
        for path, state in states.items()
        for item in state.missing
    ]
    damaged = [
        Finding(
            f"{path}/{item.name}".rstrip("/"),
            "damaged",
            f"run `rm {item.place} && dvc pull {path}`",
        )
        for path, state in states.items()
        for item in state.damaged
    ]
    objects = sum(state.objects for state in states.values())
    hashed = sum(state.hashed for state in states.values())
    said = f"{objects - len(missing)} of {objects} objects are in the cache"
    said += f"; of {hashed} hashed, {len(damaged)} are damaged." if hashed else "."
    return CheckResult(
        said,
        {
            "versions": len(states),
            "objects": objects,
            "missing": len(missing),
            "hashed": hashed,
            "damaged": len(damaged),
        },
        (*damaged, *missing),
        is_error=bool(damaged),
    )
