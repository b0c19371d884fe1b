"""Changed parameters, code and commands of stages.

Decisions about single images are not included; they are reported by image.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from registry_assets.revisions.changes.committing import MetafileChanges
from registry_assets.revisions.changes.families import Families, FamilyPlace
from registry_assets.revisions.changes.merging import is_decisions_file

ReasonKind = Literal["parameter", "code", "command"]


@dataclass(frozen=True)
class Reason:
    """A changed parameter, code file or command of stages.

    Attributes:
        kind: What changed; ``command`` only if no parameter changed.
        what: The parameter with its file, the path of the code, or the stage.
        before: The old value of the parameter, md5 of the code, or command, from ``dvc.lock``.
        after: The new one.
        stages: The affected stages.
        runs: Number of affected runs; most stages run once per collection.
    """

    kind: ReasonKind
    what: str
    before: object
    after: object
    stages: tuple[str, ...]
    runs: int


def find_reasons(
    changes: MetafileChanges, places: Mapping[str, FamilyPlace], families: Families
) -> Mapping[str | None, Sequence[Reason]]:
    """Find changed parameters, code and commands, by data set."""
    found: defaultdict[str | None, dict[tuple[str, str, str, str], Reason]] = defaultdict(dict)
    for address, place in places.items():
        known = found[place.dataset]
        for reason in _reasons_of(changes, address, families):
            key = (reason.kind, reason.what, str(reason.before), str(reason.after))
            before = known.get(key, replace(reason, stages=(), runs=0))
            stages = tuple(dict.fromkeys((*before.stages, *reason.stages)))
            known[key] = replace(before, stages=stages, runs=before.runs + 1)
    order = ("parameter", "code", "command")
    return {
        dataset: sorted(known.values(), key=lambda reason: (order.index(reason.kind), reason.what))
        for dataset, known in found.items()
        if known
    }


def place_entries(changes: MetafileChanges, families: Families) -> Mapping[str, FamilyPlace]:
    """The place of each changed stage and ``.dvc`` file: that of its first output."""
    found = {}
    for address, pair in changes.entries.items():
        paths = (path for entry in pair if entry for path in entry.read_outputs())
        path = next(paths, None)
        if path is not None:
            found[address] = families.place(path)
    return found


def _reasons_of(changes: MetafileChanges, address: str, families: Families) -> Iterator[Reason]:
    old, new = changes.entries[address]
    if old is None or new is None or not old.is_stage:
        return
    stage = address.partition(":")[2].partition("@")[0]
    before, after = old.read_run(), new.read_run()
    read, reads = old.read_dependencies(), new.read_dependencies()
    are_other = False
    for file, key in dict.fromkeys((*before.parameters, *after.parameters)):
        values = before.parameters.get((file, key)), after.parameters.get((file, key))
        if values[0] != values[1]:
            are_other = True
            yield Reason("parameter", f"{file}: {key}", *values, (stage,), 1)
    for path in dict.fromkeys((*read, *reads)):
        before_it, after_it = read.get(path), reads.get(path)
        md5s = before_it and before_it.md5, after_it and after_it.md5
        if md5s[0] == md5s[1] or is_decisions_file(path):
            continue
        if not families.holds_data(path):
            yield Reason("code", path, *md5s, (stage,), 1)
    # Parameters are usually part of the command.
    if before.command != after.command and not are_other:
        yield Reason("command", stage, before.command, after.command, (stage,), 1)
