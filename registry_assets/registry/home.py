"""Where Dagster keeps the history of a registry, and how its own commands are led there.

The history lives in ``.dagster/`` under the root, out of Git; deleting it loses nothing but the
past. Dagster looks for ``dagster.yaml`` in its home folder, so a link there leads to the one at
the top of the repository, where people look for it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from unicodedata import category

from registry_assets.errors import RegistryError
from registry_assets.units import is_text, printable

HOME = ".dagster"
ENV_FILE = ".env"
"""At the root, where Dagster's own commands read it."""
_TAKEN_FOR_PATTERNS = "?*[{}"
"""Dagster looks for its settings by a pattern and names its databases by addresses, without
quoting; DVC's progress formats a path."""
_LONGEST_PATH = 400

_OUR_ENV_LINE = re.compile(rf"DAGSTER_HOME=(?P<quote>'?)(?P<home>/.*/{re.escape(HOME)})(?P=quote)$")
"""What `write_env` writes, here or where the registry was before."""
_PLAIN_PATH = re.compile(r"[\w/.,@%+=:-]+")
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


def check_place(root: Path) -> None:
    """Makes sure that Dagster and DVC can work at a path, before anything is made there.

    Raises:
        RegistryError: with the reason.
    """
    path = str(root)
    bad = next(
        (sign for sign in path if sign in _TAKEN_FOR_PATTERNS or category(sign) == "Cc"), None
    )
    if not is_text(path):
        reason = "its name is not UTF-8, as metafiles are"
    elif bad is not None and bad in _TAKEN_FOR_PATTERNS:
        reason = f"it has a `{bad}` in it, which Dagster or DVC takes for part of a pattern"
    elif bad is not None:
        reason = f"it has the control character {bad!r} in it"
    elif len(os.fsencode(path)) > _LONGEST_PATH:
        reason = f"its path is longer than {_LONGEST_PATH} bytes, and SQLite takes 512 in all"
    else:
        return
    raise RegistryError(
        f"no registry can be at {printable(path)!r}: {reason}; choose another name or place"
    )


def prepare_home(root: Path) -> Path:
    """Makes the home folder of a registry's Dagster instance, where there is none yet."""
    home = root / HOME
    home.mkdir(exist_ok=True)
    if _find_former_home(root) is not None:
        write_env(root)
    ignore = home / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n", encoding="utf-8")
    settings = home / "dagster.yaml"
    theirs = root / "dagster.yaml"
    # What the link leads to may have been removed, or settings have been written since.
    if not settings.exists() or (theirs.exists() and _is_default(settings)):
        settings.unlink(missing_ok=True)
        if theirs.exists():
            settings.symlink_to(Path("..") / "dagster.yaml")
        else:
            settings.write_text(_DEFAULT_SETTINGS, encoding="utf-8")
    return home


def _is_default(settings: Path) -> bool:
    return not settings.is_symlink() and settings.read_bytes() == _DEFAULT_SETTINGS.encode()


def choose_home(root: Path) -> Path:
    """The home to use: what DAGSTER_HOME names, as with every tool of Dagster, else the own one.

    Raises:
        RegistryError: when it names no folder.
    """
    own = prepare_home(root)
    elsewhere = find_exported_home(root)
    if elsewhere is None:
        return own
    if not elsewhere.is_dir():
        raise RegistryError(
            f"DAGSTER_HOME leads to {elsewhere}, where there is no folder: make it, or run `unset "
            f"DAGSTER_HOME` for the history in {own}"
        )
    return elsewhere


def find_exported_home(root: Path) -> Path | None:
    """The home that somebody exported as DAGSTER_HOME, where that is not the registry's own."""
    exported = os.environ.get("DAGSTER_HOME")
    if not exported or Path(exported).resolve() == (root / HOME).resolve():
        return None
    return Path(exported)


def write_env(root: Path, *, is_read: bool = False) -> str | None:
    """Has Dagster's own commands find the history: at the root they read ``.env``.

    It names the place, as a path from elsewhere would depend on who reads it: ``${PWD}`` is what
    the last shell was in. So it is written anew by the first command after a move, and
    `check_home` stops whoever comes before that.

    What it says goes before what is exported (dagster#14396), so that it says nothing where a home
    elsewhere is exported. Lines of others stay.

    Args:
        root: The registry.
        is_read: Whether DAGSTER_HOME of this process comes from the file itself, as Dagster's own
            commands read it, so that it tells nothing about what somebody exported.

    Returns:
        What was done; None when it was so already.
    """
    path = root / ENV_FILE
    lines = _env_lines(root)
    others = [line for line in lines if not _OUR_ENV_LINE.match(line)]
    if not is_read and find_exported_home(root) is not None:
        if others == lines:
            return None
        _write_lines(path, others)
        return "took DAGSTER_HOME out of .env: it would go before the one that is exported"
    line = _env_line(root)
    is_written = line in lines and len(others) == len(lines) - 1
    if is_written or any(line.startswith("DAGSTER_HOME=") for line in others):
        return None
    _write_lines(path, [*others, line])
    return "wrote .env, so that `dagster` finds this registry's history"


def _env_line(root: Path) -> str:
    home = str(root / HOME)
    # python-dotenv expands and unescapes nothing between single quotes but these two.
    quoted = home.replace("\\", "\\\\").replace("'", "\\'")
    return f"DAGSTER_HOME={home}" if _PLAIN_PATH.fullmatch(home) else f"DAGSTER_HOME='{quoted}'"


def _find_former_home(root: Path) -> Path | None:
    """The home that a line of ours in ``.env`` still leads to, where the registry was before."""
    for line in _env_lines(root):
        found = _OUR_ENV_LINE.match(line)
        if found is not None and line != _env_line(root):
            return Path(found["home"])
    return None


def check_home(root: Path) -> None:
    """Makes sure that Dagster was not led to the history of the registry this one was copied from.

    Raises:
        RegistryError: when it was; the next start goes right.
    """
    former = _find_former_home(root)
    if former is None:
        return
    is_led = os.environ.get("DAGSTER_HOME") == str(former)
    write_env(root, is_read=is_led)
    prepare_home(root)
    if is_led:
        raise RegistryError(
            f"this registry was moved or copied, and .env led Dagster to the history in {former}: "
            "that is corrected now, start Dagster again"
        )


def _env_lines(root: Path) -> list[str]:
    path = root / ENV_FILE
    # Lines of others may be in any encoding.
    return path.read_text("utf-8", "surrogateescape").splitlines() if path.exists() else []


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    if lines:
        path.write_text("".join(f"{line}\n" for line in lines), "utf-8", "surrogateescape")
    else:
        path.unlink()


def read_env(root: Path) -> dict[str, str]:
    """The variables that ``.env`` sets for Dagster's own commands at the root, but DAGSTER_HOME.

    ``dagster.yaml`` may name some, for what does not go into Git.
    """
    lines = [line for line in _env_lines(root) if not _OUR_ENV_LINE.match(line)]
    if not any(map(str.strip, lines)):
        return {}
    from dotenv import dotenv_values

    found = dotenv_values(stream=StringIO("\n".join(lines)))
    return {name: value for name, value in found.items() if value and name != "DAGSTER_HOME"}


def read_env_home(root: Path) -> Path | None:
    """The home that ``.env`` leads Dagster's own commands to, when they run at the root."""
    from dotenv import dotenv_values

    found = dotenv_values(root / ENV_FILE).get("DAGSTER_HOME")
    return Path(found) if found else None


def has_history(root: Path) -> bool:
    """Whether Dagster may have a history of a registry, so that there is something to open.

    One that is kept on a server is there also where this clone has not opened it yet.
    """
    if "DAGSTER_HOME" in os.environ or (root / HOME).is_dir():
        return True
    return event_log_file(root) is None


def event_log_file(home: Path) -> Path | None:
    """Where the instance of a home folder keeps its newest events; None when that is elsewhere.

    Args:
        home: The folder with its ``dagster.yaml``.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        settings = YAML(typ="safe").load((home / "dagster.yaml").read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        settings = {}
    except (OSError, UnicodeDecodeError, YAMLError):
        return None
    if not isinstance(settings, dict) or not _STORAGE_SETTINGS.isdisjoint(settings):
        return None
    return home / "history" / "runs" / "index.db"
