"""Idle connections that the server has closed are closed here, and no others."""

import contextlib
import http.server
import select
import socket
import ssl
import threading
import time
from concurrent import futures

import httpcore
import pytest

from serving.network.kept_connections import KeptConnections, has_hung_up
from tests.waiting import wait_for

pytestmark = pytest.mark.skipif(not hasattr(select, "POLLRDHUP"), reason="only Linux tells it")


def test_an_answer_is_no_hanging_up():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert not has_hung_up(ours)
        theirs.send(b"answer")
        assert not has_hung_up(ours)
        theirs.shutdown(socket.SHUT_WR)
        assert has_hung_up(ours)
        assert ours.recv(100) == b"answer"


def test_what_is_closed_here_has_ended():
    ours, theirs = socket.socketpair()
    with theirs:
        ours.close()
        assert has_hung_up(ours)


@contextlib.contextmanager
def running(certificates=None):
    """A server that answers the number of the connection; it hangs up after `/last`."""
    connections = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self):
            super().setup()
            connections.append(self.connection)

        def do_GET(self):
            text = str(connections.index(self.connection)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)
            self.close_connection = self.path == "/last"

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificates is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http{'s' if certificates else ''}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class GivesWay(KeptConnections):
    """A thread that has seen a connection idle lets others go on before it looks further."""

    def connect_tcp(self, *args, **named):
        stream = super().connect_tcp(*args, **named)
        look = stream.get_extra_info

        def look_later(info):
            if info == "is_readable":
                time.sleep(0)
            return look(info)

        stream.get_extra_info = look_later
        return stream


def test_no_thread_loses_the_answer_that_it_waits_for():
    """Of httpcore's own backend one call of ten fails here, on some seventy connections."""
    with (
        running() as url,
        httpcore.ConnectionPool(max_connections=4, network_backend=GivesWay()) as pool,
        futures.ThreadPoolExecutor(8) as threads,
    ):
        answers = list(threads.map(lambda _: pool.request("GET", url).content, range(300)))
    assert set(answers) <= {b"0", b"1", b"2", b"3"}


@pytest.mark.parametrize("is_encrypted", [False, True])
def test_what_the_server_has_closed_is_not_asked_again(certificates, is_encrypted):
    context = ssl.create_default_context(cafile=certificates / "ca.pem")
    with (
        running(certificates if is_encrypted else None) as url,
        httpcore.ConnectionPool(ssl_context=context, network_backend=KeptConnections()) as pool,
    ):
        assert [pool.request("GET", url).content for _ in range(3)] == [b"0", b"0", b"0"]
        assert pool.request("GET", url + "/last").content == b"0"
        wait_for(lambda: all(one.has_expired() for one in pool.connections))
        assert pool.request("GET", url).content == b"1"
