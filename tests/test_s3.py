"""The S3 server of the tests is one: every client finds it by the environment, wrong keys and races are refused."""

import json
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import botocore.session
import fsspec
import pytest
from botocore.exceptions import ClientError

from tests.s3 import Bucket, Server, remove_sockets

KILLED = """
    import json, os, signal
    from pathlib import Path
    from tests.s3 import running
    with running(Path({folder!r})) as server:
        print(json.dumps(server.ports), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_all_clients_find_it_by_the_environment(s3: Bucket) -> None:
    from dvc_s3 import S3FileSystem

    with fsspec.open(f"{s3.url}/x", "wb") as file:
        file.write(b"by s3fs")
    client = botocore.session.get_session().create_client("s3")
    assert client.get_object(Bucket=s3.name, Key="x")["Body"].read() == b"by s3fs"
    assert S3FileSystem().cat_file(f"{s3.name}/x") == b"by s3fs"


def test_it_refuses_what_s3_refuses(s3: Bucket) -> None:
    client = s3.server.client()
    client.put_object(Bucket=s3.name, Key="x", Body=b"1", IfNoneMatch="*")
    refusals = {
        "PreconditionFailed": lambda: client.put_object(Bucket=s3.name, Key="x", Body=b"2", IfNoneMatch="*"),
        "SignatureDoesNotMatch": lambda: s3.server.client(aws_secret_access_key="no").list_buckets(),
        "InvalidAccessKeyId": lambda: s3.server.client(aws_access_key_id="no").list_buckets(),
        "NoSuchBucket": lambda: client.put_object(Bucket="not-there", Key="x", Body=b""),
    }
    for code, refused in refusals.items():
        with pytest.raises(ClientError) as caught:
            refused()
        assert caught.value.response["Error"]["Code"] == code


def test_it_dies_with_its_test_process(tmp_path: Path) -> None:
    script = textwrap.dedent(KILLED.format(folder=str(tmp_path)))
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    server = Server("", "", "", json.loads(ended.stdout))
    try:
        until = time.monotonic() + 10
        while any(_listens(port) for port in server.ports) and time.monotonic() < until:
            time.sleep(0.02)
        assert not any(_listens(port) for port in server.ports)
    finally:
        remove_sockets(server)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
