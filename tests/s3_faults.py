"""A store that goes wrong: a door before a real S3 server that refuses, cuts off and goes away."""

import contextlib
import http.client
import http.server
import socket
import threading
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass

_FOR_ONE_CONNECTION = ("connection", "transfer-encoding", "content-length", "expect")
_RESET = b"\1\0\0\0\0\0\0\0"
"""SO_LINGER on, for 0 seconds: closing the socket then resets the connection."""


@dataclass
class Fault:
    """What happens to some requests.

    Attributes:
        methods: Of the requests, all where it is empty.
        part: Text that the path or query of the requests has.
        status: HTTP status of the answer; 0 resets the connection.
        code: Of the error in the answer, which has no body for HEAD.
        after: Requests that are let through before.
        times: Requests that meet it then, None is all.
        cut: Bytes of the body after which a good answer ends; None is no such fault.
        delay_s: Seconds before a good answer, and no other fault; None is no such fault.
    """

    methods: tuple[str, ...] = ()
    part: str = ""
    status: int = 0
    code: str = ""
    after: int = 0
    times: int | None = None
    cut: int | None = None
    delay_s: float | None = None
    seen: int = 0

    def meets(self, method: str, path: str) -> bool:
        """Whether a request meets it; counts those that could."""
        if (self.methods and method not in self.methods) or self.part not in path:
            return False
        self.seen += 1
        at = self.seen - self.after
        return at > 0 and (self.times is None or at <= self.times)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # The client, or a fault, has closed it.
            super().handle()

    def log_message(self, *_: object) -> None:
        pass

    def answer(self) -> None:
        body = self._read_body()
        path = urllib.parse.unquote(self.path)
        with self.server.lock:
            fault = next((f for f in self.server.faults if f.meets(self.command, path)), None)
        if fault is not None and fault.delay_s is not None:
            time.sleep(fault.delay_s)
            fault = None
        if fault is None or fault.cut is not None:
            self._hand_on(body, fault)
        elif fault.status:
            text = f"<Error><Code>{fault.code}</Code><Message>no</Message></Error>".encode()
            self._send(fault.status, {"Content-Type": "application/xml"}, text, len(text))
        else:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._leave()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer

    def _read_body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _hand_on(self, body: bytes, fault: Fault | None) -> None:
        headers = {k: v for k, v in self.headers.items() if k.lower() not in _FOR_ONE_CONNECTION}
        connection = http.client.HTTPConnection(self.server.behind, timeout=60)
        connection.request(self.command, self.path, body, headers)
        response = connection.getresponse()
        content = response.read()
        size = int(response.headers.get("Content-Length") or len(content))
        if fault is not None:
            content = content[: fault.cut]
        kept = {k: v for k, v in response.getheaders() if k.lower() not in _FOR_ONE_CONNECTION}
        self._send(response.status, kept, content, size)
        if fault is not None:
            self._leave()

    def _send(self, status: int, headers: dict[str, str], content: bytes, size: int) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _leave(self) -> None:
        self.close_connection = True
        self.connection.close()


class Door(http.server.ThreadingHTTPServer):
    """The door.

    Attributes:
        faults: What goes wrong; tests change it. The first one that a request meets counts.
        url: For AWS_ENDPOINT_URL.
    """

    daemon_threads = True

    def __init__(self, url: str):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind = urllib.parse.urlsplit(url).netloc
        self.faults: list[Fault] = []
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


@contextlib.contextmanager
def opened(url: str) -> Iterator[Door]:
    """A door before the server of a URL."""
    with Door(url) as door:
        thread = threading.Thread(target=door.serve_forever, daemon=True)
        thread.start()
        yield door
        door.shutdown()
        thread.join()
