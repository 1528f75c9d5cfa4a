"""A proxy that stands before a real server and does to requests what networks and busy servers do, by a schedule.

The Host that the client signed is kept, so signatures stay valid. Given up: several requests on one upstream connection, and
what no S3 client sends (upgrades, trailers).
"""

import contextlib
import http.client
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FAULTS = ("500 InternalError", "503 SlowDown", "stall", "hang", "cut", "reset", "lost")
"""An error of the server (any status and S3 code); no answer; half an answer, then nothing or the end; a reset before the
request reaches the server, or after the server has done what was asked."""

Faults = Callable[[str, str], str | None]
"""What befalls a request, by its method and path."""

_HOP = {"connection", "keep-alive", "transfer-encoding", "expect"}


def schedule(seed: int, *, rate: float, faults: tuple[str, ...] = FAULTS) -> Faults:
    """To each request in turn: at `rate` one of `faults`, else nothing."""
    rng = random.Random(seed)
    return lambda method, path: rng.choice(faults) if rng.random() < rate else None


def in_turn(*faults: str | None) -> Faults:
    """The first faults to the first requests, and nothing after."""
    left = iter(faults)
    return lambda method, path: next(left, None)


class Proxy(ThreadingHTTPServer):
    """Passes requests on to `endpoint`, except for what `faults` says; `done` counts what it did."""

    daemon_threads = True
    block_on_close = False  # who stalls would be waited for

    def __init__(self, endpoint: str, faults: Faults) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = endpoint.removeprefix("http://")
        self.done: Counter[str] = Counter()
        self.ended = threading.Event()
        self._faults, self._lock = faults, threading.Lock()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def fault(self, method: str, path: str) -> str | None:
        with self._lock:
            return self._faults(method, path)

    def count(self, what: str) -> None:
        with self._lock:
            self.done[what] += 1

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # clients leave when they are stalled


@contextlib.contextmanager
def proxied(endpoint: str, faults: Faults) -> Iterator[Proxy]:
    """A running proxy before `endpoint`."""
    proxy = Proxy(endpoint, faults)
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.ended.set()
        proxy.shutdown()
        proxy.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def log_message(self, *_: object) -> None:
        pass

    def _pass_on(self) -> None:
        body = self._body()
        fault = self.server.fault(self.command, self.path)
        if fault and fault[0].isdigit():
            self._refuse(fault)
        elif fault == "stall":
            self._wait("stall")
        elif fault == "reset":
            self._reset("reset")
        else:
            self._forward(body, fault)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass_on  # noqa: N815

    def _forward(self, body: bytes, fault: str | None) -> None:
        upstream = http.client.HTTPConnection(self.server.upstream, timeout=60)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _HOP | {"content-length"}:
                    upstream.putheader(name, value)
            upstream.putheader("Content-Length", str(len(body)))
            upstream.endheaders(body)
            answer = upstream.getresponse()
            if fault == "lost":
                answer.read()
                return self._reset("lost")
            return self._answer(answer, fault)
        finally:
            upstream.close()

    def _answer(self, answer: http.client.HTTPResponse, fault: str | None) -> None:
        empty = self.command == "HEAD" or answer.status in (204, 304)
        content = None if empty or answer.length is not None else answer.read()
        length = answer.getheader("Content-Length") if content is None else str(len(content))
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in _HOP | {"content-length"}:
                self.send_header(name, value)
        if length is not None:
            self.send_header("Content-Length", length)
        self.end_headers()
        left = 0 if empty else int(length or 0)
        if fault and not left:
            return self._reset("reset")  # after the head, nothing else can be cut
        stop = left // 2 if fault else 0
        while left > stop:
            piece = content if content is not None else answer.read(min(left - stop, 2**16))
            piece = piece[: left - stop]
            self.wfile.write(piece)
            left -= len(piece)
        if fault == "hang":
            return self._wait("hang")
        if fault == "cut":
            self.close_connection = True
        return self.server.count(fault or "passed")

    def _refuse(self, answer: str) -> None:
        status, code = answer.split()
        text = f"<Error><Code>{code}</Code><Message>as the test wants it</Message></Error>".encode()
        self.send_response_only(int(status))
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)
        self.server.count(answer)

    def _wait(self, what: str) -> None:
        """Say nothing until the client leaves or the proxy ends."""
        self.server.count(what)
        self.connection.settimeout(0.05)
        while not self.server.ended.is_set():
            with contextlib.suppress(TimeoutError):
                if not self.connection.recv(1):
                    break
        self.close_connection = True

    def _reset(self, what: str) -> None:
        self.server.count(what)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body
