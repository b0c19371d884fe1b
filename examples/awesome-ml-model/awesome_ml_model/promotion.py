"""Moving a model through the four stages, and what stands against Production."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from awesome_ml_model.data_checks import DATA
from awesome_ml_model.tracking import MODEL, open_links
from registry_assets import RegistryError, read_registry
from registry_assets.dvc_repo import DvcRepo
from registry_assets.dvc_repo.initialising import keep_together, share_cache
from registry_assets.git_repo import GitRepo
from registry_assets.model import ImportedInput
from registry_assets.provenance.models.links import DataSource, ModelVersion, source_of
from registry_assets.provenance.models.tracing import trace_data

_MOST_SHOWN = 3


@dataclass(frozen=True)
class Move:
    """What came of a move.

    Attributes:
        model: The version, in its new stage.
        archived: The versions that had to leave the stage.
    """

    model: ModelVersion
    archived: tuple[ModelVersion, ...]


def move(root: Path, version: str, stage: str) -> Move:
    """Moves a version to a stage.

    Args:
        root: The root of this repository.
        version: The number, or ``@ALIAS``.
        stage: One of the four stages.

    Raises:
        RegistryError: when there is no such version, its run was deleted, the server does not
            answer, or something stands against Production. Nothing is changed then.
    """
    links = open_links(root)
    separator = "" if version.startswith("@") else "/"
    model = links.find(f"models:/{MODEL}{separator}{version}")
    if stage == "Production":
        objections = list(find_objections(root, model))
        if objections:
            raise RegistryError(f"{model.uri} stays out of Production: {'; '.join(objections)}")
    archived = links.move(model, stage)
    return Move(links.find(model.uri), archived)


def find_objections(root: Path, model: ModelVersion) -> Iterator[str]:
    """Finds what stands against a model in Production, a line each.

    Its commit is checked out aside, so that what is judged is what it was trained on, whatever
    stands in the workspace: the data must be what the run says, be there for everybody in the
    registry that it came from, have been up to date there, and pass every check.
    """
    if not model.data:
        yield "its run names no data of a registry"
        return
    if model.commit is None or GitRepo(root).resolve(model.commit) is None:
        yield f"commit {model.commit} of {model.repository} is not here: `git fetch`"
        return
    with tempfile.TemporaryDirectory(prefix="model-") as folder:
        checkout = Path(folder).resolve() / "checkout"
        GitRepo(checkout).check_out(str(DvcRepo(root).root), model.commit)
        keep_together(checkout)
        share_cache(checkout, root)
        imports = {
            source: imported
            for imported in read_registry(checkout).inputs
            if (source := source_of(imported)) is not None
        }
        found = list(_find_unreachable(checkout, model, imports))
        yield from found
        if not found:
            yield from _find_stale(checkout, model)
            yield from _find_failed_checks(checkout)


def _find_unreachable(
    checkout: Path, model: ModelVersion, imports: dict[DataSource, ImportedInput]
) -> Iterator[str]:
    dvc = DvcRepo(checkout)
    for source in model.data:
        # The address may have changed since the dataset was first logged, the commit may not.
        what = (source.path, source.rev_lock, source.md5)
        metafile = next(
            (i.metafile for s, i in imports.items() if (s.path, s.rev_lock, s.md5) == what), None
        )
        if metafile is None:
            yield f"its commit does not import {source.path} in the version that its run says"
            continue
        try:
            looked = dvc.look_at_source(metafile, source.rev_lock)
            missing = dvc.find_missing_at_source(metafile)
        except RegistryError as error:
            yield f"its data set is not reachable: {error}"
            continue
        if looked.md5 != source.md5:
            yield f"{source.url} has another {source.path} at commit {source.rev_lock[:10]}"
        elif not looked.has_recorded_commit:
            yield f"commit {source.rev_lock[:10]} is on no branch or tag of {source.url} any more"
        if missing:
            shown = ", ".join(missing[:_MOST_SHOWN])
            yield (
                f"its data set is not reachable: the remote of {source.url} lacks "
                f"{len(missing)} of its objects ({shown}): `registry push` there"
            )


def _find_stale(checkout: Path, model: ModelVersion) -> Iterator[str]:
    """What was not up to date in the registry at the commit that the data was taken at."""
    for trace in trace_data(checkout, model.data):
        for status in trace.stale[:_MOST_SHOWN]:
            yield (
                f"{status.path} was not up to date at commit {trace.source.rev_lock[:10]} of "
                f"{trace.source.url}: {', '.join(status.why)}"
            )


def _find_failed_checks(checkout: Path) -> Iterator[str]:
    """Runs every check of the data in a checkout; nothing of it is kept."""
    from dagster import AssetKey, AssetSelection, DagsterInstance, define_asset_job

    from awesome_ml_model.definitions import build

    try:
        metafiles = [f"{path}.dvc" for path in DATA]
        DvcRepo(checkout).ensure_in_workspace(metafiles, report=lambda _line: None)
    except RegistryError as error:
        yield f"its data set is not reachable: {error}"
        return
    checks = AssetSelection.checks_for_assets(*(AssetKey(path.split("/")) for path in DATA))
    job = define_asset_job("check_data", selection=checks).resolve(
        asset_graph=build(checkout).resolve_asset_graph()
    )
    name = read_registry(checkout).name
    with DagsterInstance.ephemeral() as instance:
        ran = job.execute_in_process(
            instance=instance,
            run_config={
                "ops": {f"{name}__in_cache": {"config": {"mode": "full"}}},
                "loggers": {"console": {"config": {"log_level": "ERROR"}}},
            },
            raise_on_error=False,
        )
    if not ran.success:
        yield "the checks of its data set could not be run"
    for evaluation in ran.get_asset_check_evaluations():
        if not evaluation.passed:
            yield (
                f"check {evaluation.check_name} of {evaluation.asset_key.to_user_string()} "
                f"failed: {evaluation.description}"
            )
