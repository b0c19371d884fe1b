"""The command line: each command a few lines over the library.

looking.py    status, lineage, trace, duplicates: what there is, nothing is changed
running.py    materialize, sync: data brought up to date, and Dagster told
taking_in.py  add, import, update, take-out: data taken in, moved on, and taken out again
deciding.py   allow, deny, decisions: single images
forgetting.py forget, gc: data let go
pushing.py    push: data sent to the remote
publishing.py publish, resolve: the work of several people
versions.py   diff, checkout, tag, versions: what was, compared, brought back and named
starting.py   init, demo, ui
models.py     what trace says of models
reading.py    what they all start with

Dagster is imported by the commands that need it only: it costs longer than most of the others
take.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import click

from registry_assets.cli import (
    deciding,
    forgetting,
    looking,
    publishing,
    pushing,
    running,
    starting,
    taking_in,
    versions,
)
from registry_assets.cli.reading import FINDING
from registry_assets.errors import RegistryError
from registry_assets.garbage_collector import look_for_cycles_less_often
from registry_assets.units import printable

_LOOK = "look whether you may read and write there, and whether the disk is full"


class _Commands(click.Group):
    """Turns our errors, and those of the disk, into one line and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except RegistryError as error:
            said = str(error)
        except OSError as error:
            if error.errno == errno.EPIPE:
                # Whoever reads what is said has gone, which click knows about.
                raise
            said = f"{_place_of(error)}{error.strerror or error}: {_LOOK}"
        except Exception as error:
            # By name, as importing SQLAlchemy takes longer than most commands.
            if not type(error).__module__.startswith("sqlalchemy."):
                raise
            cause = getattr(error, "orig", None) or error
            said = f"the history of Dagster, in DAGSTER_HOME or .dagster: {cause}: {_LOOK}"
        click.echo(f"registry: {said}", err=True)
        ctx.exit(FINDING)


def _place_of(error: OSError) -> str:
    return "" if error.filename is None else f"{printable(os.fsdecode(error.filename))}: "


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
    look_for_cycles_less_often()
    ctx.obj = root


for _command in (
    looking.status,
    looking.lineage,
    looking.trace,
    looking.duplicates,
    running.materialize,
    taking_in.add,
    taking_in.import_,
    taking_in.update,
    taking_in.take_out,
    deciding.allow,
    deciding.deny,
    deciding.decisions,
    forgetting.forget,
    forgetting.gc,
    running.sync,
    pushing.push,
    publishing.publish,
    publishing.resolve,
    versions.diff,
    versions.checkout,
    versions.tag,
    versions.list_versions,
    starting.init,
    starting.demo,
    starting.ui,
):
    main.add_command(_command)
