"""The Dagster home of a registry, and how Dagster's own commands find it.

The home is ``.dagster/`` under the root, ignored by Git. It holds only the history: deleting it
loses past runs and events, no data. Dagster reads ``dagster.yaml`` from its home, so that is a link
to the ``dagster.yaml`` at the root, where people look for it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from unicodedata import category

from registry_assets.bounded import check_yaml, read_text
from registry_assets.errors import MetafileError, RegistryError
from registry_assets.git_repo import check_own
from registry_assets.units import is_text, printable
from registry_assets.writing import write_whole

HOME = ".dagster"
ENV_FILE = ".env"
"""At the root, where Dagster's own commands read it."""
_TAKEN_FOR_PATTERNS = "?*[{}"
"""Characters that are not quoted: Dagster uses the path in a glob pattern and in database URLs, and
DVC in a format string for its progress."""
_LONGEST_PATH = 400

_OUR_ENV_LINE = re.compile(rf"DAGSTER_HOME=(?P<quote>'?)(?P<home>/.*/{re.escape(HOME)})(?P=quote)$")
"""The line that `write_env` writes, also for a former path of the registry."""
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
    """Make sure that Dagster and DVC can work at a path.

    Raises:
        RegistryError: with the reason, when they cannot.
    """
    path = str(root)
    bad = next(
        (sign for sign in path if sign in _TAKEN_FOR_PATTERNS or category(sign) == "Cc"), None
    )
    if not is_text(path):
        reason = "the path is not valid UTF-8, which metafiles need"
    elif bad is not None and bad in _TAKEN_FOR_PATTERNS:
        reason = f"the path contains `{bad}`, which Dagster or DVC takes for part of a pattern"
    elif bad is not None:
        reason = f"the path contains the control character {bad!r}"
    elif len(os.fsencode(path)) > _LONGEST_PATH:
        reason = f"the path is longer than {_LONGEST_PATH} bytes, and SQLite allows 512 for a file"
    else:
        return
    raise RegistryError(
        f"no registry can be at {printable(path)!r}: {reason}; choose another name or place"
    )


def prepare_home(root: Path) -> Path:
    """Make the Dagster home of a registry, unless it exists.

    Raises:
        RefusedError: when Git tracks it.
    """
    check_own(root)
    home = root / HOME
    home.mkdir(exist_ok=True)
    if _find_former_home(root) is not None:
        write_env(root)
    ignore = home / ".gitignore"
    if not ignore.exists():
        write_whole(ignore, "*\n")
    settings = home / "dagster.yaml"
    theirs = root / "dagster.yaml"
    # Since the last time, `dagster.yaml` at the root may have been removed or added.
    if not settings.exists() or (theirs.exists() and _is_default(settings)):
        settings.unlink(missing_ok=True)
        if theirs.exists():
            settings.symlink_to(Path("..") / "dagster.yaml")
        else:
            write_whole(settings, _DEFAULT_SETTINGS)
    return home


def _is_default(settings: Path) -> bool:
    return not settings.is_symlink() and settings.read_bytes() == _DEFAULT_SETTINGS.encode()


def choose_home(root: Path) -> Path:
    """The home to use: an exported DAGSTER_HOME, else the registry's own.

    Raises:
        RegistryError: when DAGSTER_HOME is not a folder.
    """
    own = prepare_home(root)
    elsewhere = find_exported_home(root)
    if elsewhere is None:
        return own
    if not elsewhere.is_dir():
        raise RegistryError(
            f"DAGSTER_HOME is {elsewhere}, which is not a folder: make it, or run `unset "
            f"DAGSTER_HOME` to use the history in {own}"
        )
    return elsewhere


def find_exported_home(root: Path) -> Path | None:
    """The exported DAGSTER_HOME; None if there is none, or it is the registry's own home."""
    exported = os.environ.get("DAGSTER_HOME")
    if not exported or Path(exported).resolve() == (root / HOME).resolve():
        return None
    return Path(exported)


def write_env(root: Path, *, is_read: bool = False) -> str | None:
    """Set DAGSTER_HOME in ``.env``, which Dagster's own commands read at the root.

    The path is absolute: with ``${PWD}`` it would depend on the shell. So the first command after a
    move of the registry rewrites it, and `check_home` stops Dagster if it starts before that.

    ``.env`` takes precedence over exported variables (dagster#14396). So the line is removed while
    another DAGSTER_HOME is exported. Other lines in the file stay.

    Args:
        root: The registry.
        is_read: Whether this process has DAGSTER_HOME from ``.env``, as Dagster's own commands do,
            and not from the user's environment.

    Returns:
        What was done; None if nothing had to change.
    """
    path = root / ENV_FILE
    lines = _env_lines(root)
    others = [line for line in lines if not _OUR_ENV_LINE.match(line)]
    if not is_read and find_exported_home(root) is not None:
        if others == lines:
            return None
        _write_lines(path, others)
        return "removed DAGSTER_HOME from .env: it would override the exported one"
    line = _env_line(root)
    is_written = line in lines and len(others) == len(lines) - 1
    if is_written or any(line.startswith("DAGSTER_HOME=") for line in others):
        return None
    _write_lines(path, [*others, line])
    return "wrote .env, so that `dagster` finds this registry's history"


def _env_line(root: Path) -> str:
    home = str(root / HOME)
    # In single quotes, python-dotenv expands nothing and unescapes only these two.
    quoted = home.replace("\\", "\\\\").replace("'", "\\'")
    return f"DAGSTER_HOME={home}" if _PLAIN_PATH.fullmatch(home) else f"DAGSTER_HOME='{quoted}'"


def _find_former_home(root: Path) -> Path | None:
    """The home at a former path of the registry that our line in ``.env`` still names."""
    for line in _env_lines(root):
        found = _OUR_ENV_LINE.match(line)
        if found is not None and line != _env_line(root):
            return Path(found["home"])
    return None


def check_home(root: Path) -> None:
    """Make sure that ``.env`` has not set DAGSTER_HOME to a former path of the registry.

    Raises:
        RegistryError: when it has. The file is corrected, so Dagster can be started again.
    """
    former = _find_former_home(root)
    if former is None:
        return
    is_led = os.environ.get("DAGSTER_HOME") == str(former)
    write_env(root, is_read=is_led)
    prepare_home(root)
    if is_led:
        raise RegistryError(
            f"this registry was moved or copied, and .env still set DAGSTER_HOME to {former}: .env "
            "is corrected now, start Dagster again"
        )


def _env_lines(root: Path) -> list[str]:
    path = root / ENV_FILE
    if not path.exists():
        return []
    # Lines that we did not write may be in any encoding.
    return read_text(path, ENV_FILE, errors="surrogateescape").splitlines()


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    if lines:
        write_whole(path, "".join(f"{line}\n" for line in lines), "surrogateescape")
    else:
        path.unlink()


def read_env(root: Path) -> dict[str, str]:
    """The variables that ``.env`` sets, without DAGSTER_HOME.

    ``dagster.yaml`` may refer to them, for example for passwords.
    """
    lines = [line for line in _env_lines(root) if not _OUR_ENV_LINE.match(line)]
    if not any(map(str.strip, lines)):
        return {}
    from dotenv import dotenv_values

    found = dotenv_values(stream=StringIO("\n".join(lines)))
    return {name: value for name, value in found.items() if value and name != "DAGSTER_HOME"}


def read_env_home(root: Path) -> Path | None:
    """The DAGSTER_HOME that ``.env`` sets for Dagster's own commands."""
    from dotenv import dotenv_values

    found = dotenv_values(stream=StringIO("\n".join(_env_lines(root)))).get("DAGSTER_HOME")
    return Path(found) if found else None


def has_history(root: Path) -> bool:
    """Whether Dagster may have a history of a registry.

    A history on a server may exist although this clone has not opened it yet.
    """
    if "DAGSTER_HOME" in os.environ or (root / HOME).is_dir():
        return True
    return event_log_file(root) is None


def event_log_file(home: Path) -> Path | None:
    """The SQLite file with the newest events of the instance in a Dagster home.

    Args:
        home: The folder with ``dagster.yaml``.

    Returns:
        None if the settings name another storage.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        text = read_text(home / "dagster.yaml")
        check_yaml(text, "dagster.yaml")
        settings = YAML(typ="safe").load(text) or {}
    except FileNotFoundError:
        settings = {}
    except (OSError, YAMLError, MetafileError):
        return None
    if not isinstance(settings, dict) or not _STORAGE_SETTINGS.isdisjoint(settings):
        return None
    return home / "history" / "runs" / "index.db"
