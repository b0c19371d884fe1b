"""Orders for the stages of a registry, and the twin in which DVC makes them."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import dedent
from threading import Event
from typing import Any

from dvc.repo import Repo
from dvc.stage import PipelineStage
from dvc.stage.serialize import to_pipeline_file, to_single_stage_lockfile
from dvc.utils.serialize import dumps_yaml

from registry_assets.dvc_repo import cut_entry
from registry_assets.dvc_repo.overlaps import overlap
from registry_assets.dvc_repo.resolved import DataVersion, ResolvedStage
from registry_assets.dvc_repo.versions import path_in_repo
from registry_assets.git_repo import GitRepo, Snapshot, take_snapshot
from registry_assets.workers.orders import Answer, Order
from registry_assets.workers.worker import carry_out
from tests.commands import program
from tests.conftest import run

DATA = ("raw/", "processed/texts/data/inputs/")


@dataclass(frozen=True)
class Asked:
    """An order, and the pack that goes with it."""

    order: Order
    pack: bytes


def ask(root: Path, address: str, **changes: Any) -> Asked:
    """Puts together the order for a stage of a registry, whose inputs are in its workspace."""
    with Repo(str(root)) as repo:
        path, _, name = address.partition(":")
        stage = repo.stage.load_one(str(root / path), name)
        stage.save_deps()
        resolved, declared = _resolve(repo, address, stage)
    snapshot = take_snapshot(
        GitRepo(root), declared=declared, is_data=lambda path: path.startswith(DATA)
    )
    return Asked(_order(snapshot, replace(resolved, **changes)), snapshot.pack)


def _order(snapshot: Snapshot, resolved: ResolvedStage) -> Order:
    return Order(resolved, snapshot.commit, snapshot.prefix)


def _resolve(repo: Repo, address: str, stage: PipelineStage) -> tuple[ResolvedStage, Sequence[str]]:
    deps = [dep.fs_path for dep in stage.deps]
    outs = [
        out
        for out in repo.index.outs
        if out.use_cache and any(overlap(out.fs_path, dep) for dep in deps)
    ]
    files = [dep for dep in deps if not any(overlap(dep, out.fs_path) for out in outs)]
    entry = to_single_stage_lockfile(stage)
    entry.pop("outs", None)
    kept = [out for out in stage.outs if out.persist and out.hash_info]
    resolved = ResolvedStage(
        address,
        to_pipeline_file(stage)[stage.name],
        entry,
        tuple(_version(repo, out) for out in outs),
        tuple(_version(repo, out) for out in kept),
    )
    return resolved, [os.path.relpath(file, repo.root_dir) for file in files]


def _version(repo: Repo, out: Any) -> DataVersion:
    meta = out.meta
    return DataVersion(
        path_in_repo(repo, out),
        out.hash_info.value,
        out.hash_name,
        meta.size,
        meta.nfiles,
        out.remote,
    )


def make(asked: Asked, folder: Path, **changes: Any) -> Answer:
    """Carries out an order in this process."""
    order = replace(asked.order, **changes)
    return carry_out(order, asked.pack, lambda _line: None, Event(), folder=folder)


def entry_of(answer: Answer) -> str:
    """The entry that was made, as the text that goes into ``dvc.lock``."""
    assert answer.problem is None, answer
    assert answer.made is not None
    return str(dumps_yaml(json.loads(json.dumps(answer.made.entry))))


def recorded(root: Path, address: str) -> str:
    """What `dvc repro` of a stage writes into ``dvc.lock`` in a twin of a registry."""
    twin = root.parent / "twin"
    shutil.copytree(root, twin, symlinks=True)
    path, _, name = address.partition(":")
    run(twin / Path(path).parent, "dvc", "repro", "--single-item", "--quiet", name)
    text = (twin / path).with_name("dvc.lock").read_text()
    shutil.rmtree(twin)
    entry = cut_entry(text, name)
    assert entry is not None
    return dedent(entry.partition("\n")[2])


def work(
    asked: Asked, environment: Mapping[str, str], *options: str, is_forked: bool = True
) -> subprocess.Popen[str]:
    """Starts `registry work` with an order on its standard input, which stays open.

    Args:
        asked: The order.
        environment: What is different for it.
        options: Of the command.
        is_forked: Whether it may be a fork of a process of the tests.
    """
    process = subprocess.Popen(
        ["registry" if is_forked else program("registry"), "work", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    assert process.stdin is not None
    process.stdin.write(line_of(asked))
    process.stdin.flush()
    return process


def answer_of(process: subprocess.Popen[str]) -> Answer:
    """The answer of a worker, once it has ended."""
    assert process.stdout is not None
    assert process.stderr is not None
    text, said = process.stdout.read(), process.stderr.read()
    code = process.wait(20)
    assert text, said
    answer = Answer.from_json(json.loads(text))
    assert code == (0 if answer.problem is None else 1)
    return answer


def line_of(asked: Asked) -> str:
    """An order as `registry work` takes it."""
    pack = base64.b64encode(asked.pack).decode()
    return f"{json.dumps({'order': asked.order.to_json(), 'pack': pack})}\n"
