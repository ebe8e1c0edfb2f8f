"""An HTTP door, without models unless it is given some, and a peer that asks over plain sockets."""

import contextlib
import http.client
import socket

from serving.doors.backend import Backend
from serving.http_door import limits as http_limits
from serving.http_door.api import HttpApi
from serving.http_door.server import HttpServer
from serving.models.model_server import ModelServer


class Door:
    """A door on a free port of 127.0.0.1."""

    def __init__(
        self,
        limits=http_limits.DEFAULT_LIMITS,
        sites=None,
        send_buffer=None,
        tls=None,
        models=None,
        **backend,
    ):
        self.backend = Backend(models or ModelServer(), **backend)
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        if send_buffer is not None:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        bound.bind(("127.0.0.1", 0))
        self.address = bound.getsockname()
        self._server = HttpServer(
            HttpApi(self.backend), [bound], tls=tls, limits=limits, sites=sites, shutdown_s=1
        )
        self.routes = self._server.door.router.routes
        self._server.start()

    def stop(self):
        self._server.stop()

    def connect(self, source="127.0.0.1", receive_buffer=None):
        raw = socket.socket()
        if receive_buffer is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        raw.bind((source, 0))
        raw.settimeout(10)
        raw.connect(self.address)
        return raw

    def ask(self, method, path, body=None, **headers):
        """Status, headers and body."""
        connection = http.client.HTTPConnection(*self.address, timeout=10)
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        with contextlib.closing(connection):
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.headers, response.read()

    def raw(self, content):
        """Status, headers and body of the answer to these bytes."""
        with self.connect() as raw:
            raw.sendall(content)
            return read_answer(raw)

    def count(self, line):
        """A number of the metrics page."""
        page = self.backend.metrics.page().decode()
        found = [row.split()[-1] for row in page.splitlines() if row.startswith(line)]
        return float(found[0]) if found else 0.0


def read_answer(raw, method="GET"):
    """Status, headers and body of the next answer."""
    response = http.client.HTTPResponse(raw, method=method)
    response.begin()
    return response.status, response.headers, response.read()
