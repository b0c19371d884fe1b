"""The command line: each command a few lines over the library.

Dagster is imported by the commands that need it only: it costs longer than most of the others
take.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from registry_assets.errors import CollectionNotFoundError, RegistryError

if TYPE_CHECKING:
    from registry_assets.lineage import Lineage
    from registry_assets.materializing import RunResult

FINDING = 1


class _Commands(click.Group):
    """Turns our errors into one line and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except RegistryError as error:
            click.echo(f"registry: {error}", err=True)
            ctx.exit(FINDING)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    default=Path(),
    help="Any folder of the registry; the current one by default.",
)
@click.version_option(package_name="registry-assets")
@click.pass_context
def main(ctx: click.Context, root: Path) -> None:
    """See and run an image data registry that is kept under Git and DVC."""
    ctx.obj = root


def _lineage(root: Path) -> Lineage:
    from registry_assets.lineage_building import build_lineage
    from registry_assets.registry import read_registry

    lineage = build_lineage(read_registry(root))
    for problem in lineage.registry.problems:
        click.echo(f"registry: left out, because it cannot be read: {problem}", err=True)
    return lineage


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
@click.pass_obj
def status(root: Path, as_json: bool) -> None:
    """Say what is up to date and what is not; exit 1 when something is not."""
    from registry_assets.status import read_status

    found = read_status(_lineage(root))
    if as_json:
        click.echo(json.dumps(found.as_json(), indent=2))
    else:
        for item in found.raw:
            if item.state != "tracked":
                click.echo(f"{item.state:<10} {item.path}{_because(item.reason)}")
        for output in found.outputs:
            if output.state != "up_to_date":
                click.echo(f"{output.state:<10} {output.path}{_because('; '.join(output.why))}")
        tracked = sum(item.state == "tracked" for item in found.raw)
        current = sum(output.state == "up_to_date" for output in found.outputs)
        click.echo(
            f"{tracked} of {len(found.raw)} collections tracked, "
            f"{current} of {len(found.outputs)} outputs up to date"
        )
    sys.exit(0 if found.up_to_date else FINDING)


def _because(reason: str | None) -> str:
    return f"  ({reason})" if reason else ""


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
@click.option("--check", is_flag=True, help="Compare metafiles, asset graph and event log.")
@click.pass_obj
def lineage(root: Path, as_json: bool, check: bool) -> None:
    """Show the graph of outputs, or check that Dagster tells the same story as the metafiles."""
    found = _lineage(root)
    if check:
        sys.exit(_check(found))
    if as_json:
        nodes = [
            {
                "path": node.path,
                "asset": "/".join(node.key) if node.key else None,
                "partition": node.partition,
                "kind": node.kind,
                "stage": node.address if node.kind == "stage" else None,
                **_version(node.version),
            }
            for node in sorted(found.nodes.values(), key=lambda node: node.path)
        ]
        edges = sorted(list(edge) for edge in found.edges)
        click.echo(json.dumps({"nodes": nodes, "edges": edges}, indent=2))
        return
    for group in found.groups:
        for output in group.outputs:
            click.echo(
                "/".join(output.key) + (f"  [{len(output.paths)}]" if group.partitions else "")
            )
            for upstream in group.upstream:
                click.echo(f"    <- {'/'.join(upstream.key)}")


def _version(version: Any) -> dict[str, Any]:
    return asdict(version) if version else {"md5": None, "size": None, "nfiles": None}


def _check(found: Lineage) -> int:
    from registry_assets.building import build_definitions
    from registry_assets.comparison import compare
    from registry_assets.history import open_history

    root = found.registry.root
    with open_history(root) as instance:
        comparison = compare(found, build_definitions(root), instance)
    for difference in comparison.differences:
        click.echo(str(difference))
    if comparison.differences:
        count = len(comparison.differences)
        click.echo(f"{count} difference{'s' if count > 1 else ''}", err=True)
        return FINDING
    click.echo(
        f"{comparison.outputs} outputs, {comparison.edges} edges and "
        f"{comparison.materializations} newest materializations agree"
    )
    return 0


@main.command()
@click.option(
    "--select", "selection", help="Assets, in Dagster's selection syntax; all by default."
)
@click.option(
    "--collection", "collections", multiple=True, metavar="NAME", help="Take NAME all the way."
)
@click.option("--force", is_flag=True, help="Run commands even though nothing changed.")
@click.pass_obj
def materialize(
    root: Path, selection: str | None, collections: tuple[str, ...], force: bool
) -> None:
    """Bring assets up to date, recorded where the UI shows it."""
    sys.exit(_materialize(_lineage(root), selection, collections, force))


def _materialize(
    found: Lineage, selection: str | None, collections: Iterable[str], force: bool
) -> int:
    """Plans, runs and reports; returns the exit code."""
    from registry_assets.building import define
    from registry_assets.history import open_history
    from registry_assets.materializing import execute, only_stale, plan_runs, select_keys
    from registry_assets.reporting import sync
    from registry_assets.status import read_status

    root = found.registry.root
    definitions = define(found.registry)
    selected = select_keys(definitions, selection)
    with open_history(root) as instance:
        sync(found, instance, lambda _line: None)
        plan = plan_runs(found, selected, tuple(collections))
        if not force:
            plan = only_stale(plan, found, read_status(found))
        if not plan:
            if found.registry.problems:
                click.echo("Nothing to do for what can be read.")
                return FINDING
            click.echo("Nothing to do: everything is up to date.")
            return 0
        started = time.monotonic()
        failed: list[RunResult] = []
        for number, run in enumerate(plan, 1):
            left = _time_left(started, number - 1, len(plan))
            click.echo(f"[{number}/{len(plan)}] {run.partition or 'everything'}{left}")
            result = execute(
                definitions, instance, run, force=force, tags={"registry/command": "materialize"}
            )
            _say(result)
            if result.failures:
                failed.append(result)
    for result in failed:
        for failure in result.failures:
            click.echo(f"registry: {result.run.partition or 'run'}: {failure}", err=True)
    return FINDING if failed or found.registry.problems else 0


def _time_left(started: float, done: int, total: int) -> str:
    if not done:
        return ""
    return f"  (about {(time.monotonic() - started) / done * (total - done):.0f} s left)"


def _say(result: RunResult) -> None:
    from registry_assets.demo import format_size

    for step in result.steps:
        files = f"{step.nfiles} files, " if step.nfiles is not None else ""
        click.echo(f"  {step.outcome:<9} {'/'.join(step.key)}  {files}{format_size(step.size)}")


@main.command()
@click.argument("name")
@click.pass_obj
def add(root: Path, name: str) -> None:
    """Put the collection raw/NAME under DVC, as `dvc add` does, recorded in Dagster."""
    found = _lineage(root)
    folder = found.registry.raw_folder
    if folder is None:
        raise CollectionNotFoundError(name, "raw")
    sys.exit(_run_one(found, folder, name))


@main.command(name="import")
@click.argument("name")
@click.option("--into", "dataset", required=True, help="The data set.")
@click.option("--from", "url", help="Another repository that has it: a Git URL or a path.")
@click.option("--rev", help="With --from: a branch, tag or commit to stay at.")
@click.option("--path", help="With --from: the path there; raw/NAME by default.")
@click.pass_obj
def import_(
    root: Path, name: str, dataset: str, url: str | None, rev: str | None, path: str | None
) -> None:
    """Take the collection NAME into a data set, without a copy, recorded in Dagster."""
    if url is None and (rev or path):
        raise click.UsageError("--rev and --path go with --from")
    found = _lineage(root)
    chosen = found.registry.dataset(dataset)
    inputs = chosen.inputs
    if inputs is None:
        raise RegistryError(
            f"{dataset} has no folder for inputs: add one to `families` in [tool.registry_assets]"
        )
    if url is not None:
        from registry_assets.dvc_repo import DvcRepo
        from registry_assets.model import check_collection_name

        DvcRepo(root).import_from(
            url,
            path or f"raw/{check_collection_name(name)}",
            f"{inputs}/{name}",
            revision=rev,
            collections_file=chosen.collections_file,
            report=click.echo,
        )
        found = _lineage(root)
    sys.exit(_run_one(found, inputs, name))


def _run_one(found: Lineage, folder: str, name: str) -> int:
    """Materializes one collection of one family."""
    from registry_assets.building import define
    from registry_assets.history import open_history
    from registry_assets.materializing import PlannedRun, execute
    from registry_assets.model import check_collection_name
    from registry_assets.reporting import sync

    check_collection_name(name)
    root = found.registry.root
    group = next(group for group in found.groups if group.folder == folder)
    keys = tuple(output.key for output in group.outputs)
    with open_history(root) as instance:
        sync(found, instance, lambda _line: None)
        run = PlannedRun(keys, name, group.partitions)
        result = execute(define(found.registry), instance, run, force=False, tags={})
    _say(result)
    for failure in result.failures:
        click.echo(f"registry: {failure}", err=True)
    return FINDING if result.failures else 0


@main.command()
@click.pass_obj
def sync(root: Path) -> None:
    """Report to Dagster what changed outside it, from the metafiles."""
    from registry_assets.history import open_history
    from registry_assets.reporting import sync as report_changes

    found = _lineage(root)
    with open_history(found.registry.root) as instance:
        count = report_changes(found, instance, click.echo)
    click.echo(f"reported {count} materializations")


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
def init(folder: Path) -> None:
    """Make FOLDER a registry, or fit one that is there to this machine."""
    from registry_assets.setting_up import init_registry

    for line in init_registry(folder):
        click.echo(line)
    click.echo(
        f"{folder} is ready: put photographs into {folder / 'raw' / 'NAME'}, then run "
        "`registry materialize --collection NAME`, or `registry ui` and watch"
    )


@main.command()
@click.pass_obj
def demo(root: Path) -> None:
    """Run the main job on the sample photographs and say what came of it."""
    from registry_assets.demo import summarise
    from registry_assets.dvc_repo import DvcRepo
    from registry_assets.setting_up import copy_samples, fit_to_machine

    dvc = DvcRepo(root)
    for line in fit_to_machine(dvc.root):
        click.echo(line)
    names = copy_samples(dvc.root)
    code = _materialize(_lineage(dvc.root), None, names, False)
    if code:
        sys.exit(code)
    click.echo("Pushing to the default remote")
    dvc.push(report=lambda line: click.echo(f"  {line}"))
    found = _lineage(dvc.root)
    click.echo("Lineage: ", nl=False)
    code = _check(found)
    click.echo()
    for line in summarise(found):
        click.echo(line)
    click.echo("\nWhere to look next: `make ui`, then http://127.0.0.1:3000")
    sys.exit(code)


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=3000, show_default=True, type=click.IntRange(1, 65535))
@click.pass_obj
def ui(root: Path, host: str, port: int) -> None:
    """Start Dagster's webserver and daemon with this registry's history."""
    from registry_assets.history import choose_home, open_history
    from registry_assets.reporting import sync as report_changes
    from registry_assets.sensors import CODE_LOCATION, UI_ADDRESS

    found = _lineage(root)
    _check_address(host, port)
    with open_history(found.registry.root) as instance:
        report_changes(found, instance, lambda _line: None)
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(choose_home(found.registry.root).resolve()),
        "REGISTRY_ROOT": str(found.registry.root),
        UI_ADDRESS: f"http://{host}:{port}",
    }
    command = [
        sys.executable,
        "-m",
        "dagster",
        "dev",
        "--module-name",
        CODE_LOCATION,
        "--host",
        host,
        "--port",
        str(port),
    ]
    click.echo(f"http://{host}:{port}  (Ctrl-C ends it)")
    ended = False

    def end(_number: int, _frame: object) -> None:
        nonlocal ended
        if not ended:
            ended = True
            process.send_signal(signal.SIGINT)

    # Before the start: a program that is started while SIGINT is ignored ignores it too.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    # A session of its own, so that Ctrl-C reaches it once, from here.
    process = subprocess.Popen(
        command, env=environment, cwd=found.registry.root, start_new_session=True
    )
    code = process.wait()
    sys.exit(0 if ended or code == 0 else FINDING)


def _check_address(host: str, port: int) -> None:
    """Makes sure that the webserver can listen, before a daemon starts to work beside none."""
    try:
        with socket.create_server((host, port)):
            pass
    except OSError as error:
        raise RegistryError(
            f"cannot listen on {host}:{port}: {error.strerror or error}; choose another with --port"
        ) from error
