"""Connections over HTTP that threads share and keep. Imports httpcore; no TensorFlow.

httpcore asks, before every call of a thread, of all idle connections whether one can be read:
as nobody has asked there anything, only the server's hanging up can be it, and it is closed.
But between its two looks, is it idle and can it be read, another thread may have taken the
connection and have its answer coming: on busy cores the wait for that answer then ended with
"Bad file descriptor" (httpcore 1.0.9, findings/httpcore_a_thread_hangs_up_on_another.sh). So
it is asked here whether the server has hung up, which an answer is not.
"""

import select
import socket
import ssl
from collections.abc import Iterable
from typing import Any

import httpcore

_HUNG_UP = getattr(select, "POLLRDHUP", None)
"""Of Linux; None elsewhere."""


def has_hung_up(connection: socket.socket) -> bool:
    """Whether the other side will send no more, or the connection is closed here.

    What it sent before may still be there to be read.
    """
    if connection.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), _HUNG_UP)  # Errors and POLLHUP are told without asking.
    return bool(poll.poll(0))


class _Stream(httpcore.NetworkStream):
    """One of httpcore's, but for what "is_readable" is taken for."""

    def __init__(self, stream: httpcore.NetworkStream):
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable" and _HUNG_UP is not None:
            return has_hung_up(self._stream.get_extra_info("socket"))
        return self._stream.get_extra_info(info)


class KeptConnections(httpcore.SyncBackend):
    """The `network_backend` of a pool whose connections are closed when the server hangs up."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Opens one; arguments and errors are those of httpcore."""
        stream = super().connect_tcp(host, port, timeout, local_address, socket_options)
        return _Stream(stream)
