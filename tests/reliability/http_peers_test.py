"""Peers of the HTTP door that are slow, many or greedy, beside peers that are not."""

import contextlib
import functools
import http.client
import json
import socket
import threading
import time

import pytest

from serving.http_door.limits import HttpLimits
from serving.protocol.json_document import MAX_VALUES
from tests.reliability.tally import scaled

pytestmark = pytest.mark.reliability

IMPORT_LIMITS = "from serving.http_door.limits import HttpLimits"
QUICK = HttpLimits(
    header_timeout_s=1.0, body_timeout_s=1.0, idle_timeout_s=1.0, write_timeout_s=1.0
)

FEW_DESCRIPTORS = """
import logging, resource
logging.basicConfig(level=logging.WARNING)
resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
"""

HALVES = [
    b"",
    b"POST /recall HTTP/1.1\r\nHost: localhost\r\nX-",
    b"POST /recall HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{",
    b"POST /recall HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{",
    b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
]


def _connect(server) -> socket.socket:
    host, port = server.http_address.split(":")
    return socket.create_connection((host, int(port)), timeout=30)


def _is_closed(connection: socket.socket) -> bool:
    """Whether the other side ends the connection within ten seconds."""
    connection.settimeout(10)
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def _ask(server, method: str, path: str, body: bytes | None = None) -> int:
    connection = http.client.HTTPConnection(server.http_address, timeout=60)
    with contextlib.closing(connection):
        connection.request(method, path, body)
        response = connection.getresponse()
        response.read()
        return response.status


def test_slow_peers_are_dropped(release_folder, start_server, tally):
    """Nothing, half a header, half a body, no further request: all end; others are served."""
    count = scaled(100, at_least=5)
    tally.start(30, "slow HTTP peers dropped, others answered", 2 * count * len(HALVES))
    options = {"poll_s": 0, "http": QUICK}
    server = start_server(release_folder.path, setup=IMPORT_LIMITS, options=options)
    with contextlib.ExitStack() as held:
        slow = []
        for half in HALVES * count:
            slow.append(held.enter_context(_connect(server)))
            slow[-1].sendall(half)
            tally.count(server.post("/recall", {"history": ["i3"]})[0] == 200, "a good request")
        for connection in slow:
            tally.count(_is_closed(connection), "still open")
    assert "recall_http_dropped_connections_total" in server.get("/monitoring/prometheus/metrics")


def test_out_of_descriptors_the_log_stays_short(release_folder, start_server, tally):
    """More peers than descriptors: little is logged, and afterwards all is as before."""
    tally.start(30, "out of file descriptors: a short log, then as before", 2)
    server = start_server(
        release_folder.path, setup=FEW_DESCRIPTORS, options={"poll_s": 0, "max_in_flight": 8}
    )
    before = server.log.stat().st_size
    with contextlib.ExitStack() as held:
        for _ in range(260):
            held.enter_context(_connect(server))
        time.sleep(8)
    written = server.log.stat().st_size - before
    tally.count(written < 20_000, f"{written} bytes of log")
    time.sleep(2)  # Accepting is tried again after a second.
    tally.count(server.post("/recall", {"history": ["i3"]})[0] == 200, "afterwards")
    tally.note(f"{written:,} bytes of log in 8 s")


def test_bodies_of_many_peers_hold_bounded_memory(release_folder, start_server, tally):
    """100 peers send bodies of 15 MiB and never end them."""
    tally.start(31, "100 unfinished bodies of 15 MiB: bounded memory, refusals, others answered", 4)
    server = start_server(release_folder.path, options={"poll_s": 0})
    server.post("/recall", {"history": ["i3"]})
    before, peak = server.resident_mb(), 0.0
    body = b" " * (15 << 20)
    head = b"POST /recall HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
    head %= len(body) + 1

    def send(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection.sendall(head + body)

    connections = [_connect(server) for _ in range(100)]
    threads = [threading.Thread(target=send, args=(one,), daemon=True) for one in connections]
    for thread in threads:
        thread.start()
    end_s = time.monotonic() + 10
    while time.monotonic() < end_s:
        peak = max(peak, server.resident_mb() - before)
        time.sleep(0.1)
    tally.count(peak < 450, f"{peak:.0f} MiB more")  # The budget, and copies on the way.
    tally.count(_ask(server, "GET", "/healthz") == 200, "health")
    page = server.get("/monitoring/prometheus/metrics")
    tally.count('recall_shed_requests_total{entrypoint="REST"}' in page, "nothing was refused")
    for connection in connections:
        connection.close()
    for thread in threads:
        thread.join()
    time.sleep(1)
    tally.count(server.post("/recall", {"history": ["i3"]})[0] == 200, "afterwards")
    tally.note(f"{peak:.0f} MiB more than before")


def _lists(unit: bytes, count: int, start: bytes, end: bytes) -> bytes:
    return start + b",".join([unit] * count) + end


BODIES = {
    "16 MiB of numbers": functools.partial(_lists, b"1", 8_000_000, b'{"user_vectors": [[', b"]]}"),
    "16 MiB of texts": functools.partial(_lists, b'"a"', 4_000_000, b'{"history": [', b"]}"),
    "16 MiB of empty lists": functools.partial(_lists, b"[]", 5_000_000, b'{"history": [', b"]}"),
    "as many numbers as allowed": functools.partial(
        _lists, b"0.1234567", MAX_VALUES, b'{"user_vectors": [[', b"]]}"
    ),
    "as many texts as allowed": functools.partial(
        _lists, b'"item-12345"', MAX_VALUES, b'{"history": [', b"]}"
    ),
}


def test_health_is_answered_beside_large_bodies(release_folder, start_server, tally):
    """Bodies that cost most, four at a time; `/healthz` asked all the while."""
    tally.start(32, "JSON bodies that cost much: refused, /healthz within 100 ms", 0)
    server = start_server(release_folder.path, options={"poll_s": 0})
    for name, make in BODIES.items():
        body = make()
        # The best of three: what other jobs of the machine add is in no two of them alike.
        tries = [_ask_beside(server, body) for _ in range(3)]
        slowest_s, cpu_s = min(slowest for slowest, _, _ in tries), tries[0][2]
        tally.wanted += 13
        for _, statuses, _ in tries:
            for status in statuses:
                tally.count(status == 400, (name, status))
        tally.count(slowest_s < 0.1, f"{name}: /healthz took {slowest_s * 1e3:.0f} ms")
        tally.note(f"{name}: {cpu_s / 4:.2f} CPU-s each, /healthz {slowest_s * 1e3:.0f} ms")


def _ask_beside(server, body: bytes) -> tuple[float, list[int], float]:
    """Slowest health check, answers to the bodies, processor time of the server."""
    statuses: list[int] = []
    posts = [
        threading.Thread(target=lambda: statuses.append(_ask(server, "POST", "/recall", body)))
        for _ in range(4)
    ]
    before_s, slowest_s = server.cpu_seconds(), 0.0
    connection = http.client.HTTPConnection(server.http_address, timeout=60)
    with contextlib.closing(connection):
        for post in posts:
            post.start()
        while any(post.is_alive() for post in posts):
            start_s = time.perf_counter()
            connection.request("GET", "/healthz")
            alive = json.loads(connection.getresponse().read())["alive"]
            assert alive
            slowest_s = max(slowest_s, time.perf_counter() - start_s)
            time.sleep(0.005)
    for post in posts:
        post.join()
    return slowest_s, statuses, server.cpu_seconds() - before_s
