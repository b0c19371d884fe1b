"""The whole way, from raw photographs to a model in Production and back: ``python -m demo``.

python -m demo                                       in .demo/, with a registry made for it
python -m demo start FOLDER --registry URL --rev REV  a repository of your own
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import click

from awesome_ml_model.server import FOLDER as SERVER_FOLDER
from awesome_ml_model.server import PORT
from demo.starting import (
    HERE,
    OUTPUTS,
    StepFailedError,
    commit,
    make_registry,
    make_repository,
    run,
    serving,
)

FOLDER = HERE / ".demo"
RAW = "raw/02_data_collection_20_oct_2021/city.mp4"


def _shown(folder: Path, *command: str) -> str:
    """Runs a command, having said which."""
    where = folder.relative_to(FOLDER) if folder.is_relative_to(FOLDER) else folder
    click.secho(f"{where}$ {' '.join(command)}", bold=True)
    return run(folder, *command)


def _said(folder: Path, *command: str) -> None:
    """Runs a command, having said which, and says what it printed."""
    click.echo(_shown(folder, *command).rstrip())


@click.group(invoke_without_command=True)
@click.pass_context
def main(ctx: click.Context) -> None:
    """Take the example all the way, in .demo/."""
    if ctx.invoked_subcommand is None:
        whole_way()


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--registry", required=True, help="The address of the registry.")
@click.option("--rev", required=True, help="The tag, branch or commit to take the data at.")
def start(folder: Path, registry: str, rev: str) -> None:
    """Make FOLDER a repository of this example that imports from a registry."""
    # A relative path would lead elsewhere from there.
    address = str(Path(registry).resolve()) if Path(registry).is_dir() else registry
    if folder.exists():
        raise click.UsageError(f"{folder} is there already: name a folder to be made")
    make_repository(folder.resolve(), address, rev, _shown)


def whole_way() -> None:
    """Runs every step and says so."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    # Each of the two repositories has a history of its own.
    os.environ.pop("DAGSTER_HOME", None)
    registry, repository = FOLDER / "registry", FOLDER / "awesome-ml-model"
    make_registry(registry, _shown)
    make_repository(repository, str(registry), "v1", _shown)
    _shown(repository, "dvc", "repro")
    _said(repository, "dvc", "metrics", "show")
    commit(repository, "Train on v1", _shown)
    click.echo("starting the MLflow server")
    with serving(repository / SERVER_FOLDER, PORT) as server:
        server.wait()
        os.environ["MLFLOW_TRACKING_URI"] = server.address
        own = ("python", "-m", "awesome_ml_model")
        for arguments in (
            ("log",),
            ("register",),
            ("move", "1", "Staging"),
            ("move", "1", "Production"),
            ("list",),
        ):
            _said(repository, *own, *arguments)
        _said(registry, "registry", "trace", "models:/day_night@production")
        _said(registry, "registry", "trace", "--no-runs", "--forward", RAW)
    click.echo(
        f"\nConfusion matrix: {repository / 'outputs' / 'confusion_matrix.png'}\n"
        "Where to look next: `make server`, then http://127.0.0.1:5000; and `make ui`, then\n"
        f"http://127.0.0.1:3000. The data came from {OUTPUTS} of .demo/registry."
    )


if __name__ == "__main__":
    try:
        main(standalone_mode=False)
    except (StepFailedError, click.ClickException) as error:
        sys.exit(f"demo: {error}")
