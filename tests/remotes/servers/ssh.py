"""OpenSSH's sshd, from Debian's package `openssh-server`.

It runs as whoever runs the tests, on a high port, with keys made for it: it lets in one key and
nobody's passwords.
"""

from __future__ import annotations

import getpass
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.remotes.servers.gates import ConnectionGate
from tests.remotes.servers.processes import (
    HOST,
    find_free_port,
    find_program,
    serving,
)
from tests.remotes.servers.storage import Storage

PACKAGE = "openssh-server"
_SBIN = ("usr/local/sbin", "usr/sbin", "sbin")
_CONFIG = """\
ListenAddress {host}
Port {port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 100
MaxSessions 100
Subsystem sftp internal-sftp
"""
_PASSPHRASE = "of-a-stranger-7c1f"


@contextmanager
def serve(folder: Path) -> Iterator[Storage]:
    """Starts sshd, which lets in one key."""
    sshd = find_sshd()
    for name, passphrase in (("host", ""), ("user", ""), ("stranger", _PASSPHRASE)):
        _make_key(folder / name, passphrase)
    port = find_free_port()
    config = folder / "sshd_config"
    config.write_text(_CONFIG.format(host=HOST, port=port, folder=folder), encoding="utf-8")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd insists on it, for root only
    with serving([sshd, "-D", "-e", "-f", config], port, folder / "log"):
        gate = ConnectionGate(port)
        yield Storage(
            f"ssh://{HOST}:{gate.port}{folder}/files",
            gate,
            settings={"user": getpass.getuser()},
            credentials={"keyfile": str(folder / "user")},
            wrong_credentials={"keyfile": str(folder / "stranger"), "passphrase": _PASSPHRASE},
            secrets=(_PASSPHRASE,),
        )
        gate.shut()


def find_sshd() -> str:
    """The path of sshd."""
    return find_program("sshd", PACKAGE, *_SBIN)


def _make_key(path: Path, passphrase: str) -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "", "-f", path], check=True
    )
