"""The command line: ``python -m awesome_ml_model COMMAND``, at the root of the repository."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import click

from awesome_ml_model.server import FOLDER, PORT, start_server
from registry_assets import RegistryError
from registry_assets.provenance.models.links import STAGES

_FAILED = 1


class _Commands(click.Group):
    """Turns errors that say what to do into one line and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except RegistryError as error:
            click.echo(f"awesome_ml_model: {error}", err=True)
            ctx.exit(_FAILED)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Log, register and promote the classifier of day and night."""
    # By default, MLflow asks a server that fails for four minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")


@main.command()
@click.option("--port", default=PORT, show_default=True, type=click.IntRange(1, 65535))
@click.option(
    "--folder",
    default=FOLDER,
    show_default=True,
    type=click.Path(path_type=Path),
    help="Where database and artifacts are kept.",
)
def server(port: int, folder: Path) -> None:
    """Start the MLflow server, on 127.0.0.1 only."""
    process = start_server(folder, port)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: process.terminate())
    sys.exit(process.wait())


@main.command()
def log() -> None:
    """Log what the pipeline made last; it has to be committed."""
    from awesome_ml_model.tracking import log_training

    run = log_training(Path.cwd())
    click.echo(f"{'logged' if run.is_new else 'already logged'}: {run.url or run.run_id}")


@main.command()
def register() -> None:
    """Register the model, as an experiment; logs it first where that was not done."""
    from awesome_ml_model.tracking import log_training, register_model

    model = register_model(Path.cwd(), log_training(Path.cwd()).run_id)
    click.echo(f"{model.uri}  {model.stage}  {model.url or ''}".rstrip())


@main.command()
@click.argument("version")
@click.argument("stage", type=click.Choice(STAGES, case_sensitive=False))
def move(version: str, stage: str) -> None:
    """Move VERSION to STAGE; Production only where its data is reachable and passes its checks."""
    from awesome_ml_model.promotion import move as move_model

    moved = move_model(Path.cwd(), version, stage)
    click.echo(f"{moved.model.uri}  {moved.model.stage}")
    for other in moved.archived:
        click.echo(f"{other.uri}  Archived")


@main.command(name="list")
def list_() -> None:
    """List the versions of the model, newest first, each with its stage."""
    from awesome_ml_model.tracking import MODEL, open_links

    for model in open_links(Path.cwd()).versions(MODEL):
        run = f"run {model.run_id}" + ("" if model.run == "active" else f" ({model.run})")
        commit = f"commit {(model.commit or 'unknown')[:10]}"
        click.echo(f"{model.uri}  {model.stage or 'no stage':<12}  {commit}  {run}")


@main.command()
@click.option("--port", default=3000, show_default=True, type=click.IntRange(1, 65535))
def ui(port: int) -> None:
    """Start the Dagster UI, with the training run and the model among the assets."""
    from registry_assets import build_lineage, read_registry
    from registry_assets.orchestration.history.opening import open_history
    from registry_assets.orchestration.history.reporting import sync
    from registry_assets.registry.home import choose_home

    lineage = build_lineage(read_registry(Path.cwd()))
    root = lineage.registry.root
    with open_history(root) as instance:
        sync(lineage, instance, click.echo)
    environment = {**os.environ, "DAGSTER_HOME": str(choose_home(root).resolve())}
    module = ("--module-name", "awesome_ml_model.definitions")
    command = (sys.executable, "-m", "dagster", "dev", *module, "--port", str(port))
    os.chdir(root)
    os.execve(sys.executable, command, environment)


if __name__ == "__main__":
    main()
