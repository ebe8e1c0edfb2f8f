#!/usr/bin/env bash
# Threads that share a pool of httpcore close each other's connections while an answer is coming.
#
# httpcore 1.0.9, which is under httpx. `ConnectionPool` is made to be shared by threads. Before every call
# it looks at all connections: one that is idle and can be read is one that the server has closed, so it is
# closed here. These are two looks. Between them another thread, to which the connection was given already,
# may have sent its request; what can be read is its answer. The connection is closed all the same, and the
# other thread gets `ReadError: [Errno 9] Bad file descriptor`, although the server did nothing wrong. With 8
# threads on 4 connections and two cores 65 and 128 calls of 2,000 ended so, in two runs that opened 72 and
# 133 connections; where the thread gives way between its looks, as on busy cores, 180 and 192. A backend that
# asks instead whether the server has hung up (POLLRDHUP, of Linux) loses no call and keeps to 4 connections.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check httpcore==1.0.9 h11==0.16.0
cd "$folder"
cat > program.py <<'PROGRAM'
import collections
import http.server
import select
import threading
import time
from concurrent import futures

import httpcore

CALLS, THREADS, CONNECTIONS = 2000, 8, 4


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"answer")

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    opened = 0

    def process_request(self, request, address):
        self.opened += 1
        super().process_request(request, address)

    def handle_error(self, *_):
        """The client has closed a connection: counted there."""


def answer_as_it_is(stream, info):
    return stream(info)


def give_way(stream, info):
    if info == "is_readable":
        time.sleep(0)
    return stream(info)


def ask_who_hung_up(stream, info):
    if info != "is_readable":
        return give_way(stream, info)
    time.sleep(0)
    connection = stream("socket")
    if connection.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLRDHUP)
    return bool(poll.poll(0))


class Backend(httpcore.SyncBackend):
    def __init__(self, look):
        self.look = look

    def connect_tcp(self, *args, **named):
        stream = super().connect_tcp(*args, **named)
        before = stream.get_extra_info
        stream.get_extra_info = lambda info: self.look(before, info)
        return stream


def errors_of(look):
    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url, errors = f"http://127.0.0.1:{server.server_port}/", collections.Counter()

    def call(_):
        try:
            assert pool.request("GET", url).content == b"answer"
        except httpcore.ReadError as error:
            errors[str(error)] += 1

    with httpcore.ConnectionPool(
        max_connections=CONNECTIONS, network_backend=Backend(look)
    ) as pool, futures.ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(call, range(CALLS)))
    server.shutdown()
    print(f"{look.__name__:16} {CALLS} calls, {server.opened} connections, errors {dict(errors)}")
    return errors, server.opened


print("httpcore", httpcore.__version__)
errors_of(answer_as_it_is)
errors, opened = errors_of(give_way)
assert set(errors) == {"[Errno 9] Bad file descriptor"}, "no thread hangs up on another now"
errors, opened = errors_of(ask_who_hung_up)
assert not errors, "POLLRDHUP does not help now"
assert opened <= CONNECTIONS, opened
PROGRAM
"$folder/env/bin/python" program.py
