"""gcp-storage-emulator, from PyPI: the JSON interface of Google Cloud Storage.

It lets everybody in, so the gate before it asks for credentials: service accounts sign in as with
Google, and one of them may read and write.
"""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs

from tests.remotes.servers.forwarding import Answer, Request
from tests.remotes.servers.gates import RequestGate
from tests.remotes.servers.processes import HOST, find_free_port, serving
from tests.remotes.servers.storage import Storage

_BUCKET = "registry"
_ACCOUNT = "registry@project.example"
_STRANGER = "stranger@project.example"


@contextmanager
def serve(folder: Path) -> Iterator[Storage]:
    """Starts the emulator, with a bucket and two service accounts."""
    port = find_free_port()
    command = [sys.executable, "-m", "gcp_storage_emulator", "start", "--in-memory"]
    command += ["--host", HOST, "--port", str(port), "--default-bucket", _BUCKET]
    with serving(command, port, folder / "log"):
        tokens = {account: secrets.token_hex(16) for account in (_ACCOUNT, _STRANGER)}
        gate = RequestGate(port, _doorman(tokens))
        for account in tokens:
            _write_key(folder / account, account, f"http://{HOST}:{gate.port}/token")
        private_key = json.loads((folder / _STRANGER).read_text())["private_key"]
        yield Storage(
            f"gs://{_BUCKET}",
            gate,
            settings={"endpointurl": f"http://{HOST}:{gate.port}"},
            credentials={"credentialpath": str(folder / _ACCOUNT)},
            wrong_credentials={"credentialpath": str(folder / _STRANGER)},
            secrets=(tokens[_STRANGER], private_key.splitlines()[1]),
        )
        gate.shut()


def _doorman(tokens: Mapping[str, str]) -> Callable[[Request], Answer | None]:
    """Gives out tokens, and lets in who has the right one."""

    def answer(request: Request) -> Answer | None:
        from google.auth.jwt import decode

        if request.path == "/token":
            (assertion,) = parse_qs(request.body.decode())["assertion"]
            account = decode(assertion, verify=False)["iss"]
            token = {"access_token": tokens[account], "expires_in": 3600, "token_type": "Bearer"}
            return _answer(200, token)
        headers = {name.lower(): value for name, value in request.headers.items()}
        if headers.get("authorization") == f"Bearer {tokens[_ACCOUNT]}":
            return None
        said = f"{_STRANGER} does not have storage.objects access to the bucket."
        return _answer(403, {"error": {"code": 403, "message": said}})

    return answer


def _answer(status: int, content: Mapping[str, object]) -> Answer:
    return Answer(status, json.dumps(content).encode(), {"Content-Type": "application/json"})


def _write_key(path: Path, account: str, token_uri: str) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    content = {
        "type": "service_account",
        "project_id": "project",
        "private_key_id": "1",
        "private_key": key.decode(),
        "client_email": account,
        "client_id": "1",
        "token_uri": token_uri,
    }
    path.write_text(json.dumps(content), encoding="utf-8")
