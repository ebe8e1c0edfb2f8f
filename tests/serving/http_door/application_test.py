"""The HTTP door against peers that are slow, many, foreign or merely unusual."""

import contextlib
import gzip
import json
import logging
import ssl
import time
import zlib

import pytest
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from serving.doors.byte_budget import ByteBudget
from serving.http_door import limits as http_limits
from serving.http_door.connections import Connections
from serving.http_door.limits import HttpLimits, connections_allowed
from serving.http_door.sites import Sites
from serving.monitoring.access_log import JSON, RequestLog
from serving.monitoring.metrics import Metrics
from serving.network.tls import ServerTls, TlsFiles
from tests.serving.http_peer import Door, read_answer
from tests.waiting import wait_for

QUICK = HttpLimits(
    header_timeout_s=0.4, body_timeout_s=0.4, idle_timeout_s=0.4, write_timeout_s=0.4
)
METRICS = "/monitoring/prometheus/metrics"


@pytest.fixture
def open_door():
    doors = []

    def make(*arguments, **options):
        doors.append(Door(*arguments, **options))
        return doors[-1]

    yield make
    for door in doors:
        door.stop()


@pytest.fixture(scope="module")
def door():
    made = Door()
    yield made
    made.stop()


# Slow peers


def _seconds_until_closed(raw):
    start = time.monotonic()
    with contextlib.suppress(ConnectionError):
        while raw.recv(65536):
            pass
    return time.monotonic() - start


def test_a_connection_that_sends_nothing_is_closed(open_door):
    door = open_door(QUICK)
    with door.connect() as raw:
        assert 0.2 < _seconds_until_closed(raw) < 5
    assert door.count('recall_http_dropped_connections_total{waited_for="header"}') == 1
    wait_for(lambda: door.count("recall_http_connections ") == 0)


@pytest.mark.parametrize(
    ("start", "waits_for"),
    [
        (b"POST /recall HTTP/1.1\r\nHost: localhost\r\nX-", "header"),
        (b"POST /recall HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{", "body"),
        (
            b"POST /recall HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
            "body",
        ),
    ],
)
def test_half_a_request_is_given_up(open_door, start, waits_for):
    door = open_door(QUICK)
    with door.connect() as raw:
        raw.sendall(start)
        status, headers, body = read_answer(raw)
        assert (status, headers["Connection"]) == (408, "close")
        assert waits_for in json.loads(body)["error"]
        assert raw.recv(1) == b""
    assert door.count(f'recall_http_dropped_connections_total{{waited_for="{waits_for}"}}') == 1
    wait_for(lambda: door.backend.budget.used == 0)


def test_single_bytes_do_not_extend_the_time_for_headers(open_door):
    door = open_door(QUICK)
    with door.connect() as raw, contextlib.suppress(ConnectionError):
        raw.sendall(b"GET /healthz HTTP/1.1\r\nX: ")
        start = time.monotonic()
        raw.settimeout(0.1)
        while time.monotonic() - start < 8:
            raw.sendall(b"x")
            with contextlib.suppress(TimeoutError):
                assert raw.recv(100).startswith(b"HTTP/1.1 408 ")
                break
        assert time.monotonic() - start < 5


def test_an_idle_connection_is_closed_after_its_answers(open_door):
    door = open_door(QUICK)
    with door.connect() as raw:
        for _ in range(3):
            raw.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert read_answer(raw)[0] == 200
            time.sleep(0.2)
        assert _seconds_until_closed(raw) < 5
    assert door.count('recall_http_dropped_connections_total{waited_for="idle"}') == 1


def test_who_does_not_read_is_dropped_and_holds_nothing(open_door):
    door = open_door(QUICK._replace(write_timeout_s=0.8), send_buffer=4096)
    with door.connect(receive_buffer=4096) as raw:
        request = f"GET {METRICS} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        raw.sendall(request * 50)
        wait_for(lambda: door.count("recall_http_unread_bytes") > 0)
        assert door.backend.budget.used == door.count("recall_http_unread_bytes")
        wait_for(
            lambda: door.count('recall_http_dropped_connections_total{waited_for="write"}') == 1
        )
    wait_for(lambda: door.backend.budget.used == 0)
    assert door.ask("GET", "/healthz")[0] == 200


def test_the_same_over_tls(open_door, certificates):
    tls = ServerTls(TlsFiles(certificates / "server.pem", certificates / "server.key"))
    door = open_door(QUICK._replace(write_timeout_s=0.8), send_buffer=4096, tls=tls)
    with door.connect() as raw:  # Half a handshake, and less.
        raw.sendall(b"\x16\x03\x01")
        assert _seconds_until_closed(raw) < 5
    context = ssl.create_default_context(cafile=certificates / "ca.pem")
    with context.wrap_socket(door.connect(), server_hostname="127.0.0.1") as secure:
        secure.sendall(b"POST /recall HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
        assert read_answer(secure)[0] == 408
    with context.wrap_socket(
        door.connect(receive_buffer=4096), server_hostname="127.0.0.1"
    ) as secure:
        secure.sendall(f"GET {METRICS} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() * 100)
        wait_for(lambda: door.count("recall_http_unread_bytes") > 0)
        wait_for(
            lambda: door.count('recall_http_dropped_connections_total{waited_for="write"}') == 1
        )
    wait_for(lambda: door.backend.budget.used == 0)


def test_a_long_answer_is_sent_in_parts_and_counts_until_it_is_taken(open_door):
    door = open_door(QUICK._replace(write_timeout_s=2.0), send_buffer=4096)
    text = "x" * 3_000_000
    answer = Response(json.dumps({"text": text}).encode())
    path = "/long"
    door.routes.append(Route(path, lambda _: answer))
    status, headers, body = door.ask("GET", path)
    assert (status, int(headers["Content-Length"]), json.loads(body)["text"]) == (
        200,
        len(answer.body),
        text,
    )
    assert door.ask("HEAD", path)[2] == b""
    with door.connect(receive_buffer=4096) as raw:
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        wait_for(lambda: door.backend.budget.used >= len(answer.body))
        start = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while raw.recv(1000):  # Some, and again some: too slow all the same.
                time.sleep(0.05)
        assert 1 < time.monotonic() - start < 8
    wait_for(lambda: door.backend.budget.used == 0)
    assert door.count('recall_http_dropped_connections_total{waited_for="write"}') == 1


# Many peers


def test_connections_beyond_the_limit_are_refused(open_door):
    limits = HttpLimits(max_connections=3, max_connections_per_peer=2)
    door = open_door(limits)
    with contextlib.ExitStack() as held:
        for _ in range(2):
            held.enter_context(door.connect())
        wait_for(lambda: door.count("recall_http_connections ") == 2)
        status, headers, body = door.raw(b"")
        assert (status, headers["Retry-After"], headers["Connection"]) == (503, "1", "close")
        assert json.loads(body)["error"] == "Too many connections are open. Try again later."
        other = held.enter_context(door.connect("127.0.0.2"))
        other.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert read_answer(other)[0] == 200
        with door.connect("127.0.0.3") as third:
            assert read_answer(third)[0] == 503
        name = "recall_http_refused_connections_total"
        assert door.count(f'{name}{{reason="peer"}}') == 1
        assert door.count(f'{name}{{reason="all"}}') == 1
    wait_for(lambda: door.count("recall_http_connections ") == 0)
    assert door.ask("GET", "/healthz")[0] == 200


def test_as_many_connections_as_there_are_descriptors(monkeypatch):
    monkeypatch.setattr(http_limits.resource, "getrlimit", lambda _: (1024, 4096))
    assert connections_allowed(2048) == 768
    assert connections_allowed(100) == 100
    monkeypatch.setattr(http_limits.resource, "getrlimit", lambda _: (64, 64))
    assert connections_allowed(2048) == 32


def test_errors_of_accepting_are_counted_and_logged_once(caplog):
    metrics = Metrics()
    connections = Connections(HttpLimits(), ByteBudget(), metrics)
    context = {"message": "socket.accept() out of system resource", "exception": OSError(24, "x")}
    for _ in range(1000):
        connections.report_error(None, context)
    assert len(caplog.records) == 1
    assert "out of system resource" in caplog.text
    assert b"recall_http_loop_errors_total 1000.0" in metrics.page()


# Bytes


def test_a_body_that_does_not_fit_is_refused_before_it_isread_answer(open_door):
    door = open_door(budget=ByteBudget(max_total_bytes=1 << 20))
    head = f"POST /recall HTTP/1.1\r\nHost: localhost\r\nContent-Length: {2 << 20}\r\n\r\n"
    status, headers, body = door.raw(head.encode())
    assert (status, headers["Retry-After"]) == (429, "1")
    assert "hold all the memory" in json.loads(body)["error"]
    assert door.count('recall_shed_requests_total{entrypoint="REST"}') == 1
    wait_for(lambda: door.backend.budget.used == 0)


def test_bytes_count_from_their_arrival_until_the_answer(open_door):
    door = open_door(budget=ByteBudget(max_total_bytes=1 << 20))
    head = b"POST /recall HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"%x\r\n%s\r\n" % (300_000, b" " * 300_000)
    with door.connect() as first, door.connect() as second:
        first.sendall(head + chunk + chunk)
        wait_for(lambda: door.backend.budget.used == 600_000)
        second.sendall(head + chunk + chunk)
        assert read_answer(second)[0] == 429
        wait_for(lambda: door.backend.budget.used == 600_000)
        first.sendall(b"0\r\n\r\n")
        assert read_answer(first)[0] == 404  # There are no models.
    wait_for(lambda: door.backend.budget.used == 0)


def test_what_is_decoded_of_a_body_counts_too(open_door):
    # 64 bytes for each of 100,000 empty lists, and as many for the commas between them.
    body = b'{"history": [' + b",".join([b"[]"] * 100_000) + b"]}"
    tight = open_door(budget=ByteBudget(max_total_bytes=len(body) + 128 * 100_000))
    wide = open_door(budget=ByteBudget(max_total_bytes=len(body) + 128 * 100_001))
    assert tight.ask("POST", "/recall", body)[0] == 429
    assert wide.ask("POST", "/recall", body)[0] == 404
    wait_for(lambda: tight.backend.budget.used == wide.backend.budget.used == 0)


def test_an_answer_comes_in_one_piece(door):
    with door.connect() as raw:
        for _ in range(5):
            raw.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert raw.recv(65536).endswith(b'\r\n\r\n{"alive": true}')


def test_a_body_is_asked_for(door):
    head = b"POST /recall HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
    with door.connect() as raw:
        raw.sendall(head + b"Content-Length: 2\r\n\r\n")
        assert raw.recv(65536).startswith(b"HTTP/1.1 100 Continue\r\n")
        raw.sendall(b"{}")
        assert read_answer(raw)[0] == 404
    with door.connect() as raw:  # One that is too large is refused before it is sent.
        raw.sendall(head + b"Content-Length: 99999999\r\n\r\n")
        assert raw.recv(65536).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(("path", "status"), [("/nothing", 404), ("/healthz", 405)])
def test_a_body_nobody_wants_is_passed_over(open_door, path, status):
    """The answer comes before the body, which holds nothing; then the connection goes on."""
    door = open_door()
    size = 1 << 20
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n"
    with door.connect() as raw:
        raw.sendall(head.encode() + b"[")
        assert read_answer(raw)[0] == status
        raw.sendall(b"[" * (size - 1) + b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert read_answer(raw)[0] == 200
    assert door.backend.budget.used == 0


def test_a_peer_that_leaves_gives_its_bytes_back(open_door):
    door = open_door()
    with door.connect() as raw:
        raw.sendall(b"POST /recall HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
        wait_for(lambda: door.backend.budget.used == 1)
    wait_for(lambda: door.backend.budget.used == 0)


# Gzip


def _post_gzip(door, body, encoding="gzip"):
    status, headers, text = door.ask("POST", "/recall", body, Content_Encoding=encoding)
    return status, json.loads(text)["error"], headers


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip"])
def test_gzip_isread_answer(door, encoding):
    status, text, _ = _post_gzip(door, gzip.compress(b'{"history": 3}'), encoding)
    assert (status, "Could not find" in text or "not found" in text) == (404, True)
    halves = gzip.compress(b'{"his') + gzip.compress(b'tory": []}')
    assert _post_gzip(door, halves)[0] == 404
    assert _post_gzip(door, b'{"history": []}', "identity")[0] == 404


@pytest.mark.parametrize(
    "body",
    [
        gzip.compress(b"{}" * 1000)[:-5],
        gzip.compress(b"{}") + b"rest",
        b'{"history": []}',
        zlib.compress(b"{}"),
    ],
    # Names of their own: gzip writes the time into its bytes.
    ids=["cut off", "something behind it", "plain", "zlib"],
)
def test_no_gzip_at_all(door, body):
    status, text, _ = _post_gzip(door, body)
    assert (status, text.startswith("The body is no complete gzip stream")) == (400, True)


def test_a_small_body_may_not_become_a_large_one(open_door):
    door = open_door()
    bomb = gzip.compress(b" " * (http_limits.MAX_BODY_BYTES + 1))
    assert len(bomb) < 20_000
    status, text, _ = _post_gzip(door, bomb)
    assert (status, "also once decompressed" in text) == (413, True)
    fits = gzip.compress(b" " * http_limits.MAX_BODY_BYTES)
    assert _post_gzip(door, fits)[0] == 404
    small = open_door(budget=ByteBudget(max_total_bytes=1 << 20))
    assert _post_gzip(small, gzip.compress(b" " * (1 << 21)))[0] == 429
    wait_for(lambda: door.backend.budget.used == small.backend.budget.used == 0)


@pytest.mark.parametrize("encoding", ["deflate", "br", "gzip, gzip", "zstd"])
def test_other_encodings_are_refused(door, encoding):
    status, text, headers = _post_gzip(door, b"{}", encoding)
    assert (status, headers["Accept-Encoding"]) == (415, "gzip, identity")
    assert "gzip or identity" in text


# HTTP


LONG = b"x" * 9000
BAD = [
    (b"\x16\x03\x01 nonsense\r\n\r\n", 400, "no valid HTTP/1.1"),
    (b"GET / HTTP/1.1\r\n\r\n", 400, "Missing mandatory Host"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "multiple Host"),
    (
        b"POST /recall HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: h\r\n\r\n",
        400,
        "Content-Length or Transfer-Encoding, not both",
    ),
    (
        b"POST /recall HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n",
        501,
        "Only Transfer-Encoding: chunked",
    ),
    (
        b"POST /recall HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n"
        b"Content-Length: 2\r\n\r\n{",
        400,
        "conflicting Content-Length",
    ),
    (
        b"POST /recall HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nxx\r\n",
        400,
        "no valid HTTP/1.1",
    ),
    (b"GET healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "neither a path nor an http URL"),
    (b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 400, "neither a path nor an http URL"),
    (b"GET ftp://a/healthz HTTP/1.1\r\nHost: a\r\n\r\n", 400, "neither a path nor an http URL"),
    (b"GET /healthz HTTP/2.0\r\nHost: localhost\r\n\r\n", 505, "HTTP/1.1"),
    (b"GET /" + LONG + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414, "at most 8192 bytes"),
    (b"GET /" + LONG * 8, 414, "at most 8192 bytes"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + LONG * 8, 431, "at most 65536 bytes"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + LONG * 8 + b"\r\n\r\n", 431, "at most 65536 bytes"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX Y: b\r\n\r\n", 400, "HTTP/1.1: illegal header line."),
    (b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "HTTP/1.1: illegal request line."),
]


@pytest.mark.parametrize(("request_bytes", "status", "text"), BAD)
def test_what_is_no_request_is_refused_in_json(door, request_bytes, status, text):
    with door.connect() as raw:
        raw.sendall(request_bytes)
        found, headers, body = read_answer(raw)
        assert (found, headers["Content-Type"]) == (status, "application/json")
        assert headers["Connection"] == "close"
        assert text in json.loads(body)["error"]
        assert b"bytearray" not in body
        with contextlib.suppress(ConnectionError):
            assert raw.recv(100) == b""  # Nothing that followed was taken for a request.


def test_an_absolute_target_is_a_path_and_its_host(door):
    for target in (b"http://localhost/healthz", b"HTTP://127.0.0.1:8501/healthz?x=1"):
        status, _, body = door.raw(b"GET %s HTTP/1.1\r\nHost: other\r\n\r\n" % target)
        assert (status, json.loads(body)) == (200, {"alive": True})
    assert door.raw(b"GET http://other/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")[0] == 403
    assert (
        door.raw(b"GET http://localhost HTTP/1.1\r\nHost: localhost\r\n\r\n")[0] == 200
    )  # The page at /


def test_head_is_get_without_the_body(door):
    _, get, body = door.ask("GET", "/healthz")
    status, head, nothing = door.ask("HEAD", "/healthz")
    assert (status, nothing) == (200, b"")
    assert head["Content-Length"] == get["Content-Length"] == str(len(body))
    assert door.ask("HEAD", "/recall")[0] == 405
    assert door.ask("HEAD", "/v1/models/nobody")[0] == 404


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/recall", "POST, OPTIONS"),
        ("/healthz", "GET, HEAD, OPTIONS"),
        ("/v1/models/a:predict", "POST, OPTIONS"),
        ("/v1/models/a", "GET, HEAD, OPTIONS"),
        ("*", "GET, HEAD, OPTIONS, POST"),
    ],
)
def test_options(door, path, allow):
    status, headers, body = door.ask("OPTIONS", path)
    assert (status, headers["Allow"], body) == (204, allow, b"")
    assert headers["Content-Length"] is None
    assert not any(name.lower().startswith("access-control") for name in headers)


def test_files_are_a_row_of_the_routes(open_door, tmp_path):
    """A page with its files, as any route: guarded, with an id, errors in JSON."""
    (tmp_path / "files").mkdir()
    (tmp_path / "files/page.html").write_text("<p>hats</p>")
    (tmp_path / "secret.txt").write_text("secret")
    door = open_door()
    door.routes.append(Mount("/static", StaticFiles(directory=tmp_path / "files")))
    status, headers, body = door.ask("GET", "/static/page.html", X_Request_Id="r1")
    assert (status, body, headers["x-request-id"]) == (200, b"<p>hats</p>", "r1")
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    again = door.ask("GET", "/static/page.html", If_None_Match=headers["ETag"])
    assert (again[0], again[2]) == (304, b"")
    assert door.ask("HEAD", "/static/page.html")[2] == b""
    assert door.ask("OPTIONS", "/static/page.html")[1]["Allow"] == "GET, HEAD, OPTIONS"
    assert door.ask("GET", "/static/page.html", Host="evil.example")[0] == 403
    for path in ("/static/none", "/static/../secret.txt", "/static/..%2Fsecret.txt", "/static"):
        status, headers, body = door.ask("GET", path)
        assert (status, headers["Content-Type"]) == (404, "application/json")
        assert json.loads(body) == {"error": f"Not Found: {path}"}
    status, headers, body = door.ask("POST", "/static/page.html", b"{}")
    assert (status, headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
    assert json.loads(body) == {"error": "/static/page.html answers GET only."}


def test_long_paths_are_not_repeated_in_full(door):
    name = "n" * 5000
    for path in (f"/{name}", f"/v1/{name}", f"/v1/models/{name}", f"/v1/models/{name}/metadata"):
        status, _, body = door.ask("GET", path)
        assert status in (400, 404)
        assert len(body) < 1100


def test_http_1_0_without_a_host(door):
    assert door.raw(b"GET /healthz HTTP/1.0\r\n\r\n")[0] == 200


# Web pages and names


SITES = Sites(allowed_hosts=("shop.example",), allowed_origins=("https://shop.example",))


@pytest.mark.parametrize(
    ("host", "is_known"),
    [
        ("localhost", True),
        ("LOCALHOST:8501", True),
        ("localhost.:8501", True),
        ("127.0.0.1:8501", True),
        ("127.1.2.3", True),
        ("[::1]:8501", True),
        ("shop.example:80", True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("10.0.0.1", False),
        ("", False),
    ],
)
def test_names_of_a_local_server(open_door, host, is_known):
    door = open_door(sites=SITES)
    status, _, body = door.ask("GET", "/healthz", Host=host)
    assert status == (200 if is_known else 403)
    if not is_known:
        assert "--allowed_hosts=NAME" in json.loads(body)["error"]
        assert door.count('recall_http_refused_requests_total{reason="host"}') == 1


def test_names_of_a_server_for_others(open_door):
    anyone = open_door(sites=Sites(is_local=False))
    assert anyone.ask("GET", "/healthz", Host="whatever.example")[0] == 200
    named = open_door(sites=Sites(is_local=False, allowed_hosts=("a.example",)))
    assert named.ask("GET", "/healthz", Host="a.example:1")[0] == 200
    assert named.ask("GET", "/healthz", Host="b.example")[0] == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 404),
        ({"Origin": "https://shop.example"}, 404),
        ({"Origin": "http://localhost:8501", "Host": "localhost:8501"}, 404),
        ({"Origin": "http://localhost:3000", "Host": "localhost:8501"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://shop.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 404),
        ({"Sec-Fetch-Site": "none"}, 404),
        ({"Origin": "https://shop.example", "Sec-Fetch-Site": "cross-site"}, 404),
    ],
)
def test_pages_of_other_sites(open_door, headers, status):
    door = open_door(sites=SITES)
    found, _, body = door.ask("POST", "/recall", b'{"history": []}', **headers)
    assert found == status
    if status == 403:
        assert "--cors_allowed_origins=ORIGIN" in json.loads(body)["error"]
        assert door.count('recall_http_refused_requests_total{reason="origin"}') == 1


def test_a_browser_may_follow_a_link(door):
    assert door.ask("GET", "/healthz", Sec_Fetch_Site="cross-site")[0] == 200


@pytest.mark.parametrize("path", ["/items:upsert", "/items:delete"])
@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        (None, 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/json", 404),
        ("Application/JSON; charset=utf-8", 404),
    ],
)
def test_changes_are_json(door, path, content_type, status):
    headers = {} if content_type is None else {"Content-Type": content_type}
    found, answer, body = door.ask("POST", path, b'{"ids": ["1"]}', **headers)
    assert found == status
    if status == 415:
        assert answer["Accept"] == "application/json"
        assert "Content-Type: application/json" in json.loads(body)["error"]


def test_any_page_may_ask_but_change_nothing(open_door):
    door = open_door(sites=Sites(allowed_origins=("*",)))
    how = {"Origin": "https://evil.example", "Content-Type": "application/json"}
    status, headers, _ = door.ask("POST", "/recall", b'{"history": []}', **how)
    assert (status, headers["Access-Control-Allow-Origin"]) == (404, "*")
    status, _, body = door.ask("POST", "/items:delete", b'{"ids": ["1"]}', **how)
    assert status == 403
    assert "may not change items" in json.loads(body)["error"]


def test_what_a_browser_asks_before(open_door):
    door = open_door(sites=SITES)
    asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    status, headers, _ = door.ask("OPTIONS", "/recall", **asked)
    assert status == 204
    assert headers["Access-Control-Allow-Origin"] == "https://shop.example"
    assert headers["Access-Control-Allow-Methods"] == "POST, OPTIONS"
    assert "content-type" in headers["Access-Control-Allow-Headers"]
    assert headers["Vary"] == "Origin"
    status, headers, _ = door.ask(
        "OPTIONS", "/recall", **asked | {"Origin": "https://evil.example"}
    )
    assert (status, headers["Access-Control-Allow-Origin"]) == (403, None)


# Records


def test_the_answer_has_the_id_of_its_request(door):
    assert door.ask("GET", "/healthz", X_Request_Id="abc-1")[1]["x-request-id"] == "abc-1"
    first, second = (door.ask("GET", "/nothing")[1]["x-request-id"] for _ in range(2))
    assert len(first) == len(second) == 32
    assert first != second
    assert door.ask("GET", "/healthz", X_Request_Id="a b")[1]["x-request-id"] != "a b"


def test_every_request_leaves_a_line(open_door, caplog):
    caplog.set_level(logging.INFO, "serving.access")
    door = open_door(requests=RequestLog(JSON))
    body = gzip.compress(b'{"history": ["secret"]}')
    door.ask("POST", "/recall?secret=1", body, Content_Encoding="gzip", X_Request_Id="r1")
    door.ask("GET", "/v1/models/some%20model/metadata", X_Request_Id="r2")
    how = {"X-Forwarded-For": "10.1.1.1", "Host": "evil.example", "X-Request-Id": "r3"}
    door.ask("GET", "/healthz", **how)
    assert len(door.raw(b"nonsense\r\n\r\n")[1]["x-request-id"]) == 32
    wait_for(lambda: len(caplog.messages) == 4)
    refused = json.loads(caplog.messages[3])
    assert (refused["status"], refused["method"], refused["peer"]) == (400, "", "127.0.0.1")
    lines = [json.loads(message) for message in caplog.messages[:3]]
    assert [line["request_id"] for line in lines] == ["r1", "r2", "r3"]
    assert [line["status"] for line in lines] == [404, 404, 403]
    assert [line["model"] for line in lines] == ["recall", "some?model", ""]
    assert [line["bytes_in"] for line in lines] == [len(body), 0, 0]
    assert lines[0]["path"] == "/recall"
    assert all(line["peer"] == "127.0.0.1" and 0 < line["ms"] < 10_000 for line in lines)
    assert all(line["door"] == "REST" and line["bytes_out"] > 10 for line in lines)
    assert "secret" not in caplog.text


def test_metrics_of_the_process(door):
    page = door.ask("GET", METRICS)[2].decode()
    for name in ("process_resident_memory_bytes", "process_open_fds", "process_cpu_seconds_total"):
        assert float(page.split(f"\n{name} ")[1].split()[0]) > 0
    assert 'python_gc_collections_total{generation="2"}' in page
