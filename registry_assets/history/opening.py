"""Where Dagster keeps the history of a registry, and opening it.

The history lives in ``.dagster/`` under the root, out of Git; deleting it loses nothing but the
past. Dagster looks for ``dagster.yaml`` in its home folder, so a link there leads to the one at
the top of the repository, where people look for it.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagster import DagsterInstance

HOME = ".dagster"
_STORAGE_SETTINGS = {"storage", "event_log_storage", "instance_class"}

_DEFAULT_SETTINGS = """\
# Settings of the Dagster instance of this registry. All of its storage is in this folder.
telemetry:
  enabled: false
nux:
  enabled: false
concurrency:
  runs:
    max_concurrent_runs: 2
"""


def prepare_home(root: Path) -> Path:
    """Makes the home folder of a registry's Dagster instance, where there is none yet."""
    home = root / HOME
    home.mkdir(exist_ok=True)
    ignore = home / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n", encoding="utf-8")
    settings = home / "dagster.yaml"
    if not os.path.lexists(settings):
        if (root / "dagster.yaml").exists():
            settings.symlink_to(Path("..") / "dagster.yaml")
        else:
            settings.write_text(_DEFAULT_SETTINGS, encoding="utf-8")
    return home


def choose_home(root: Path) -> Path:
    """The home to use: what DAGSTER_HOME names, as with every tool of Dagster, else the own one."""
    chosen = os.environ.get("DAGSTER_HOME")
    return Path(chosen) if chosen else prepare_home(root)


def has_history(root: Path) -> bool:
    """Whether Dagster has a history of a registry, so that there is something to open."""
    return "DAGSTER_HOME" in os.environ or (root / HOME).is_dir()


def event_log_file(home: Path) -> Path | None:
    """Where the instance of a home folder keeps its newest events; None when that is elsewhere."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        settings = YAML(typ="safe").load((home / "dagster.yaml").read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        settings = {}
    except (OSError, YAMLError):
        return None
    if not isinstance(settings, dict) or not _STORAGE_SETTINGS.isdisjoint(settings):
        return None
    return home / "history" / "runs" / "index.db"


@contextmanager
def open_history(root: Path) -> Iterator[DagsterInstance]:
    """Opens the Dagster instance of a registry, the one that its UI shows."""
    from dagster import DagsterInstance
    from dagster._core.instance.ref import InstanceRef

    home = choose_home(root).resolve()
    overrides = {}
    if event_log_file(home) is not None:
        own = {"module": "registry_assets.history.event_storage", "class": "OpenSqliteStorage"}
        overrides["storage"] = {"custom": {**own, "config": {"base_dir": str(home)}}}
    before = os.environ.get("DAGSTER_HOME")
    os.environ["DAGSTER_HOME"] = str(home)
    try:
        ref = InstanceRef.from_dir(str(home), overrides=overrides)
        with _hearing_interrupts(), DagsterInstance.from_ref(ref) as instance:
            yield instance
    finally:
        if before is None:
            del os.environ["DAGSTER_HOME"]
        else:
            os.environ["DAGSTER_HOME"] = before


@contextmanager
def _hearing_interrupts() -> Iterator[None]:
    """Has this process hear SIGINT, where a shell started it in the background.

    Such a shell has it ignored, and Dagster handles SIGTERM alike (`dagster._utils.interrupts`).
    What it starts for a run would inherit that, and the run would wait for ever for it to end.
    """
    is_deaf = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if not is_deaf or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
