"""Commands that serve pages to a browser until they are interrupted: look, ui."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Thread

import click

from registry_assets.cli.reading import open_history, read_lineage, say_left_out
from registry_assets.errors import RegistryError


@click.command()
@click.argument("dataset", required=False)
@click.argument("before", required=False, metavar="[A")
@click.argument("after", required=False, metavar="[B]]")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help="The port (default: 3100, or a free one if that is taken).",
)
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@click.pass_obj
def look(
    root: Path,
    dataset: str | None,
    before: str | None,
    after: str | None,
    host: str,
    port: int | None,
    no_browser: bool,
) -> None:
    """Look at pictures in the browser, at why they were left out, and decide.

    Opens at DATASET: a data set, a collection in raw/, or the path of a folder. A and B (default:
    the work tree) are versions to compare, as for `registry diff`. Ctrl-C ends it.
    """
    # Before anything that takes time: also what a shell started in the background, with SIGINT
    # ignored, is to be ended by it.
    _raise_when_interrupted()
    with suppress(KeyboardInterrupt):
        _serve_page(root, (dataset, before, after), host, port, opens=not no_browser)


def _serve_page(
    root: Path,
    wanted: tuple[str | None, str | None, str | None],
    host: str,
    port: int | None,
    *,
    opens: bool,
) -> None:
    from registry_assets.look.app import build_look_app
    from registry_assets.look.guard import Hosts, new_token
    from registry_assets.look.open_registry import OpenRegistry
    from registry_assets.look.places import find_place, place_in_page
    from registry_assets.look.serving import DEFAULT_PORT, is_loopback, listen, serve
    from registry_assets.registry.kept_answers import KEPT_FOLDER

    opened = OpenRegistry(root)
    lineage = opened.read().lineage
    say_left_out(lineage.registry.problems)
    place = find_place(lineage, *wanted)
    say = partial(click.echo, err=True)
    for problem in opened.fetch_what_is_listed(say):
        say(f"registry: not all pictures are listed: {problem}")
    opened.read_ahead(place.get("source"))
    listener = listen(host, port)
    chosen = listener.getsockname()[1]
    if port is None and chosen != DEFAULT_PORT:
        click.echo(f"registry: port {DEFAULT_PORT} is taken, so this is on {chosen}", err=True)
    if not is_loopback(host):
        click.echo(
            f"registry: {host} is reached from other machines: whoever has the address below can "
            "see all pictures and decide about them",
            err=True,
        )
    token = new_token()
    hosts = Hosts.of_listener(host, chosen)

    leading = opened.root / KEPT_FOLDER / f"open-{os.getpid()}.html"

    def say_address() -> None:
        address = f"{hosts.address}/?token={token}{place_in_page(place)}"
        click.echo(address)
        if opens:
            _open_browser(address, leading)

    try:
        serve(build_look_app(opened, token=token, hosts=hosts), listener, say_address)
    finally:
        leading.unlink(missing_ok=True)


def _open_browser(address: str, leading: Path) -> None:
    """Open an address in the browser of this machine, without waiting for it.

    By way of a file that leads there and that only this user can read, as Jupyter does: whoever
    uses the machine sees the arguments of commands, and the address holds the token.

    Args:
        address: The address.
        leading: Where to write that file.
    """
    import webbrowser
    from html import escape

    leading.parent.mkdir(parents=True, exist_ok=True)
    leading.unlink(missing_ok=True)
    descriptor = os.open(leading, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(
            "<!doctype html><meta charset=utf-8><title>One moment</title>"
            f'<meta http-equiv="refresh" content="0;url={escape(address)}">'
        )
    Thread(target=webbrowser.open, args=(leading.as_uri(),), daemon=True).start()


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=3000, show_default=True, type=click.IntRange(1, 65535))
@click.pass_obj
def ui(root: Path, host: str, port: int) -> None:
    """Start Dagster's webserver and daemon for this registry."""
    from registry_assets.orchestration.services import starting_services
    from registry_assets.registry.home import choose_home, read_env_home, write_env

    found = read_lineage(root)
    _check_address(host, port)
    home = choose_home(found.registry.root).resolve()
    done = write_env(found.registry.root)
    if done is not None:
        click.echo(f"registry: {done}", err=True)
    theirs = read_env_home(found.registry.root)
    if theirs is not None and theirs.resolve() != home:
        raise RegistryError(
            f".env sets DAGSTER_HOME to {theirs}, but `registry` uses {home}: remove DAGSTER_HOME "
            "from .env, and export it where you want to use it"
        )
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "REGISTRY_ROOT": str(found.registry.root),
    }
    # Before the start: child processes inherit an ignored SIGINT.
    _raise_when_interrupted()
    with starting_services(found.registry.root, host, port, environment) as services:
        from registry_assets.orchestration.checks import report_checks
        from registry_assets.orchestration.history.claims import claim_names
        from registry_assets.orchestration.history.postgres import shown_database
        from registry_assets.orchestration.history.reporting import sync as report_changes

        with suppress(KeyboardInterrupt):
            with open_history(found.registry.root, launches_runs=True) as instance:
                # Refused before there is more to end than a webserver that serves nothing yet.
                claim_names(found, instance)
                click.echo("Starting Dagster; Ctrl-C stops it")
                services.start_code_server()
                database = shown_database(instance)
                if database is not None:
                    click.echo(f"registry: the history is in {database}", err=True)
                report_changes(found, instance, lambda _line: None)
                report_checks(found, instance)
            services.wait_until_it_answers()
            click.echo(services.address)
            services.wait_until_one_ends()
    if services.is_left():
        click.echo("A run is still in progress: it continues in the background and is recorded")


def _raise_when_interrupted() -> None:
    """Make the first SIGINT, SIGTERM or SIGHUP raise KeyboardInterrupt; later ones are ignored."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def end(_number: int, _frame: object) -> None:
        for number in numbers:
            signal.signal(number, lambda *_: None)
        raise KeyboardInterrupt

    for number in numbers:
        # `nohup` makes a process ignore SIGHUP.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, end)


def _check_address(host: str, port: int) -> None:
    """Make sure that the webserver can listen, before a daemon starts without one."""
    from registry_assets.look.serving import cannot_listen

    try:
        with socket.create_server((host, port)):
            pass
    except OSError as error:
        raise cannot_listen("ui", host, port, error) from error
