"""Installs the servers, and the browser, that tests start and this machine lacks: `make servers`.

Tests only start what is there. What is a Python package is in `requirements-servers.lock`.
"""

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
        (chromium.PACKAGE, chromium.find_chromium),
    ):
        try:
            find()
        except MissingServerError:
            lacking.append(package)
    if lacking:
        install_packages(*lacking)


if __name__ == "__main__":
    try:
        _install_packages()
        install_azurite()
    except RuntimeError as error:
        sys.exit(str(error))
