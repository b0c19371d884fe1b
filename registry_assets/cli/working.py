"""The command that makes a stage for another machine: work."""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
from contextlib import suppress
from threading import Event, Thread
from typing import IO

import click

from registry_assets.cli.reading import FINDING
from registry_assets.errors import RefusedError


@click.command()
@click.argument("file", type=click.File("rb"), default="-")
@click.option("--attached", is_flag=True, help="Stop when standard input is closed.")
def work(file: IO[bytes], attached: bool) -> None:
    """Make one stage for another machine, from an order in FILE or on standard input.

    The order is a line of JSON, with the snapshot of code and metafiles. The answer is JSON on
    standard output; the output of the command goes to standard error.
    """
    # What the order says runs, and whoever sent it waits for the answer.
    stop = Event()
    for ending in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(ending, lambda _signal, _frame: stop.set())
    line = file.readline()
    if attached:
        Thread(target=_wait_for_end, args=(stop,), daemon=True).start()
    from registry_assets.workers.orders import Order
    from registry_assets.workers.worker import carry_out

    try:
        asked = json.loads(line)
        pack = base64.b64decode(asked["pack"]) if asked.get("pack") else None
        order = Order.from_json(asked["order"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RefusedError(
            f"this is no order of a stage ({type(error).__name__}: {error}): update the "
            "registry-assets here or there"
        ) from error
    answer = carry_out(order, pack, lambda said: click.echo(said, err=True), stop)
    click.echo(json.dumps(answer.to_json()))
    sys.exit(0 if answer.problem is None else FINDING)


def _wait_for_end(stop: Event) -> None:
    # Not from the buffer, which Python could not close at its end while this waits.
    with suppress(OSError):
        while os.read(sys.stdin.fileno(), 4096):
            pass
    stop.set()
