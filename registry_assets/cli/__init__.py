"""The command line `registry`: each command is a few lines over the library.

looking.py     status, lineage, trace, duplicates: read-only
reasons.py     why, report: why pictures are kept or left out
running.py     materialize, sync: bring data up to date, report to Dagster
working.py     work: one stage made for another machine
taking_in.py   add, import, update, take-out: collections in and out of the registry and data sets
exporting.py   export: a data set for other programs
deciding.py    allow, deny, decisions: single images
forgetting.py  forget, gc: remove pictures, free the cache
publishing.py  push, publish, resolve: share work and merge it
versions.py    diff, checkout, tag, versions: compare, restore and name versions
starting.py    init, clone, new, demo
serving.py     look, ui: pages for a browser
demo.py        the summary that `registry demo` prints
models.py      what trace prints about models
reading.py     shared by the commands: read the graph, open the history, print JSON
terminal.py    text for a terminal, without control characters
own_process.py settings of our own processes: garbage collector, loggers, umask, temporary files

Commands import Dagster only when they need it: the import takes longer than most commands do.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import click

from registry_assets.cli import (
    deciding,
    exporting,
    forgetting,
    looking,
    publishing,
    reasons,
    running,
    serving,
    starting,
    taking_in,
    versions,
    working,
)
from registry_assets.cli.own_process import own_temporary_folder, set_up_process
from registry_assets.cli.reading import FINDING
from registry_assets.cli.terminal import show_control_characters
from registry_assets.errors import DISK_STEPS, RegistryError
from registry_assets.registry.sharing import owner_of
from registry_assets.units import nothing_left_out, printable

_NEXT_STEPS = {
    **DISK_STEPS,
    errno.ENAMETOOLONG: "make the name shorter, or work in a folder with a shorter path",
    errno.ENOLCK: "this file system cannot lock files: keep the registry on another one",
    errno.EMFILE: "raise the limit of open files: `ulimit -n 4096`",
}
"""The next step by error number of the operating system."""


class _Commands(click.Group):
    """A group whose commands report any error in one line, with exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception as error:
            if isinstance(error, BrokenPipeError):
                # The reader of the output has exited; click handles that.
                raise
            if ctx.params.get("debug"):
                traceback.print_exc()
            click.echo(f"registry: {_describe(error)}", err=True)
        ctx.exit(FINDING)


def _describe(error: Exception) -> str:
    """The message for an error: the cause, and the next step."""
    if isinstance(error, RegistryError):
        return str(error)
    if isinstance(error, OSError):
        place = "" if error.filename is None else f"{printable(os.fsdecode(error.filename))}: "
        step = "check that you may read and write there, and that the disk is not full"
        if error.errno in (errno.EACCES, errno.EPERM) and error.filename is not None:
            step = _ask_owner(Path(os.fsdecode(error.filename)))
        next_step = _NEXT_STEPS.get(error.errno or 0, step)
        return f"{place}{error.strerror or error}: {next_step}"
    said = " ".join(f"{type(error).__name__}: {error}".split())
    return f"{said}: this should not happen; run it again as `registry --debug …`, and report it"


def _ask_owner(place: Path) -> str:
    """The next step if permission is denied."""
    try:
        there = next(path for path in (place, *place.absolute().parents) if os.path.lexists(path))
        owner = owner_of(there)
    except OSError:
        return "ask the owner for permission to read and write there"
    return (
        f"{printable(str(there))} belongs to {owner}, who can share the registry with `git config "
        "core.sharedRepository group`; if it was made with `sudo`, return it with `chown -R`"
    )


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    default=Path(),
    help="Any folder of the registry (default: the current one).",
)
@click.option("--debug", is_flag=True, help="Show the traceback when a command fails.")
@click.version_option(package_name="registry-assets")
@click.pass_context
def main(ctx: click.Context, root: Path, debug: bool) -> None:
    """See and run an image data registry that is kept under Git and DVC."""
    try:
        Path.home()
    except RuntimeError as error:
        raise RegistryError(
            "you have no home folder on this machine: set HOME to a folder that you may write to"
        ) from error
    set_up_process(root)
    ctx.with_resource(own_temporary_folder())
    show_control_characters()
    if not (sys.stdout.isatty() and sys.stderr.isatty()):
        ctx.with_resource(nothing_left_out())
    ctx.obj = root


for _command in (
    looking.status,
    looking.lineage,
    looking.trace,
    looking.duplicates,
    reasons.why,
    reasons.report,
    exporting.export,
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
    working.work,
    publishing.push,
    publishing.publish,
    publishing.resolve,
    versions.diff,
    versions.checkout,
    versions.tag,
    versions.list_versions,
    starting.init,
    starting.clone,
    starting.new,
    starting.demo,
    serving.look,
    serving.ui,
):
    main.add_command(_command)
