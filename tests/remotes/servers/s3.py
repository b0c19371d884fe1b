"""moto's server, from PyPI: S3 and IAM, which checks signatures and rights."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

from tests.remotes.servers.gates import ConnectionGate
from tests.remotes.servers.processes import HOST, find_free_port, serving
from tests.remotes.servers.storage import Storage

_BUCKET = "registry"
_REGION = "us-east-1"
_RIGHTS = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}],
}
_WRONG_KEY = "wrong/secret+key/4d0f"


@contextmanager
def serve(folder: Path) -> Iterator[Storage]:
    """Starts moto, with a bucket and a user who may write there."""
    port = find_free_port()
    command = [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(port)]
    with serving(command, port, folder / "log"):
        key, secret = _set_up(f"http://{HOST}:{port}")
        gate = ConnectionGate(port)
        yield Storage(
            f"s3://{_BUCKET}",
            gate,
            settings={"endpointurl": f"http://{HOST}:{gate.port}", "region": _REGION},
            credentials={"access_key_id": key, "secret_access_key": secret},
            wrong_credentials={"access_key_id": key, "secret_access_key": _WRONG_KEY},
            secrets=(_WRONG_KEY,),
        )
        gate.shut()


def _set_up(address: str) -> tuple[str, str]:
    from boto3.session import Session

    session = Session("any", "any", region_name=_REGION)
    session.client("s3", endpoint_url=address).create_bucket(Bucket=_BUCKET)
    iam = session.client("iam", endpoint_url=address)
    iam.create_user(UserName="test")
    iam.put_user_policy(UserName="test", PolicyName="all", PolicyDocument=json.dumps(_RIGHTS))
    key = iam.create_access_key(UserName="test")["AccessKey"]
    # From here on, moto asks who somebody is and what they may do.
    plain = {"Content-Type": "text/plain"}
    with urlopen(Request(f"{address}/moto-api/reset-auth", b"0", plain, method="POST")):
        pass
    return key["AccessKeyId"], key["SecretAccessKey"]
