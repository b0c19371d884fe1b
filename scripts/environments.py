"""Installs with uv: in seconds, not minutes, and from where pip gets packages on this machine.

As a program, for make, `python -m scripts.environments ARGUMENTS_OF_UV`.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from uv import find_uv_bin

# Where packages come from is said to pip, as it installs this checkout. uv does not read that.
_SAME_SETTINGS = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "cert": "SSL_CERT_FILE",
    "trusted-host": "UV_INSECURE_HOST",
    "proxy": "ALL_PROXY",
}


def read_pip_settings(env: Mapping[str, str]) -> dict[str, str]:
    """Where pip gets packages from on this machine, as variables that uv reads.

    Args:
        env: The environment of somebody at this machine, for whom pip looks.
    """
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    found = {}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        variable = _SAME_SETTINGS.get(name.rpartition(".")[2])
        if variable is not None:
            # pip separates several by any white space, uv links to files by commas.
            separator = "," if variable == "UV_FIND_LINKS" else " "
            found[variable] = separator.join(ast.literal_eval(value).split())
    if "UV_INDEX" in found:
        # As pip: the newest of what any of them has.
        found["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return found


def run_uv(*arguments: str | Path, env: Mapping[str, str] | None = None) -> str:
    """Runs uv with the settings of pip on this machine; returns what it printed.

    Args:
        arguments: Those of uv.
        env: The environment of somebody at this machine; this process's by default.

    Raises:
        RuntimeError: with what it said.
    """
    env = os.environ if env is None else env
    command = [find_uv_bin(), "--no-progress", *map(str, arguments)]
    own = {name: value for name, value in env.items() if name.startswith(("UV_", "SSL_"))}
    done = subprocess.run(
        command,
        env={**env, **read_pip_settings(env), **own},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"uv {' '.join(command[1:])} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    try:
        run_uv(*sys.argv[1:])
    except RuntimeError as error:
        sys.exit(str(error))
