"""Installs the servers, and the browser, that tests start and this machine lacks: `make servers`.

Tests only start what is there. What is a Python package is in `requirements-servers.lock`.
"""

import shutil
import sys

from tests import chromium, postgres_server
from tests.remotes.servers import ssh
from tests.remotes.servers.azure import install_azurite
from tests.remotes.servers.processes import MissingServerError, install_packages


def _install_packages() -> None:
    lacking = []
    for package, find in (
        (ssh.PACKAGE, ssh.find_sshd),
        (postgres_server.PACKAGE, postgres_server.find_programs),
        (chromium.PACKAGE, chromium.find_headless_shell),
    ):
        try:
            find()
        except MissingServerError:
            lacking.append(package)
    if lacking:
        try:
            install_packages(*lacking)
        except RuntimeError:
            if lacking != [chromium.PACKAGE] or not shutil.which("chromium"):
                raise
            # Tests use that, and take longer.


if __name__ == "__main__":
    try:
        _install_packages()
        install_azurite()
    except RuntimeError as error:
        sys.exit(str(error))
