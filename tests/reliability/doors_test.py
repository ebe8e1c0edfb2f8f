"""Limits, locks, draining, counters and logs of a server process."""

import http.client
import json
import random
import re
import threading
import time
from collections import Counter
from pathlib import Path

import grpc
import numpy as np
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import model_management_pb2

from recall.config import RecallConfig
from serving.api import recall_tensors
from serving.api.recall_limits import RecallLimits
from serving.api.recall_request import RecallRequest
from serving.http_door.limits import MAX_BODY_BYTES
from serving.models.servable import State
from serving.network.tls import TlsFiles
from serving.protocol import tensors
from serving.server import RecallServer
from tests.benchmarks.serving_release import write_release
from tests.reliability.tally import scaled
from tests.serving.conftest import DIM
from tests.serving.server_process import Client, build_message

pytestmark = pytest.mark.reliability

METRICS = "/monitoring/prometheus/metrics"
TOKEN = "0123456789abcdef"
OTHER_TOKEN = "f" * 16


def _ids(count: int) -> tuple[str, ...]:
    return tuple(f"n{row}" for row in range(count))


def _vectors(count: int) -> np.ndarray:
    return np.ones((count, DIM), np.float32)


_LIMITS = RecallLimits()
_VECTOR = {"user_vectors": _vectors(1)}
AT_LIMITS = [
    (lambda n: {"history": ("i3",), "k": n}, _LIMITS.max_k),
    (lambda n: {"history": _ids(n)}, _LIMITS.max_history_length),
    (lambda n: {"exclude": _ids(n)}, _LIMITS.max_exclude),
    (lambda n: {"history": ("i3",), "deny": _ids(n)}, _LIMITS.max_deny),
    (lambda n: {"deny": _ids(n)}, _LIMITS.max_deny + _LIMITS.max_history_length),
    (lambda n: {"allow": _ids(n)}, _LIMITS.max_allow),
    (lambda n: {"similar_to": _ids(n)}, _LIMITS.max_similar_to),
    (lambda n: {"categories": _ids(n)}, _LIMITS.max_categories),
    (lambda n: {"exclude_categories": _ids(n)}, _LIMITS.max_categories),
    (lambda n: {"user_vectors": _vectors(n)}, _LIMITS.max_interests),
    (lambda n: {"history": ("x" * n,)}, _LIMITS.max_text_length),
    (lambda n: {"categories": ("x" * n,)}, _LIMITS.max_text_length),
    (lambda n: {**_VECTOR, "leaves_to_search": n}, _LIMITS.max_leaves_to_search),
    (lambda n: {**_VECTOR, "reorder": n}, _LIMITS.max_reorder),
    (lambda n: {**_VECTOR, "max_per_category": n}, _LIMITS.max_k),
]


def _code_of(client: Client, message) -> grpc.StatusCode:
    error = client.prediction.Predict.future(message, timeout=60).exception()
    return grpc.StatusCode.OK if error is None else error.code()


def _recall_message(**fields):
    return build_message("recall", *recall_tensors.build_recall_inputs(RecallRequest(**fields)))


def test_limits(release_folder, start_server, tally):
    """At a limit a request is answered, one beyond it is refused."""
    tally.start(13, "limits of a request: at the limit OK, one beyond refused", 0)
    server = start_server(release_folder.path, options={"poll_s": 0})
    refused = grpc.StatusCode.INVALID_ARGUMENT
    with server.open_client() as client:
        cases = [(_recall_message(**f(n)), _recall_message(**f(n + 1))) for f, n in AT_LIMITS]
        users = [np.full((n, 1), b"i3", object) for n in (_LIMITS.max_batch_size, 513)]
        batches = [build_message("recall", "", {"history_item_ids": rows}) for rows in users]
        for good, bad in (*cases, batches):
            tally.wanted += 2
            tally.count(_code_of(client, good) == grpc.StatusCode.OK, good.inputs.keys())
            tally.count(_code_of(client, bad) == refused, bad.inputs.keys())
        bodies = {
            "as deep as allowed": (b'{"x": ' + b"[" * 63 + b"]" * 63 + b"}", "x"),
            "one level deeper": (b'{"x": ' + b"[" * 64 + b"]" * 64 + b"}", "nested deeper"),
        }
        for name, (body, text) in bodies.items():
            tally.wanted += 1
            tally.count(text in server.post("/recall", body)[1]["error"], name)
        tally.wanted += 2
        tally.count(server.post("/recall", b" " * MAX_BODY_BYTES)[0] == 400, "the largest body")
        tally.count(_announce_body(server, MAX_BODY_BYTES + 1) == 413, "a byte more")
    assert tally.wanted > 30
    assert server.is_running


def _announce_body(server, size: int) -> int:
    """Status of a request whose body is refused for its size, before it is sent."""
    connection = http.client.HTTPConnection(server.http_address, timeout=30)
    try:
        connection.putrequest("POST", "/recall")
        connection.putheader("Content-Length", str(size))
        connection.endheaders()
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Path:
    """PEM files of an authority, a server, a client, and a client of another authority."""
    folder = tmp_path_factory.mktemp("certificates")
    for authority_name, names in (("ca", ("server", "client")), ("other_ca", ("stranger",))):
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / f"{authority_name}.pem")
        for name in names:
            issued = authority.issue_cert("127.0.0.1", "localhost")
            issued.private_key_pem.write_to_path(folder / f"{name}.key")
            issued.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
    return folder


def test_tls(release_folder, certificates, tally):
    """Who gets an answer with which certificate, with TLS and with mutual TLS."""
    ca, other_ca = ((certificates / f"{n}.pem").read_bytes() for n in ("ca", "other_ca"))

    def pair(name):
        return [(certificates / f"{name}.{end}").read_bytes() for end in ("key", "pem")]

    credentials = {
        "none": None,
        "authority": grpc.ssl_channel_credentials(ca),
        "wrong authority": grpc.ssl_channel_credentials(other_ca),
        "client": grpc.ssl_channel_credentials(ca, *pair("client")),
        "stranger": grpc.ssl_channel_credentials(ca, *pair("stranger")),
    }
    welcome = {False: {"authority", "client", "stranger"}, True: {"client"}}
    tally.start(15, "TLS and mutual TLS: who is let in", 2 * len(credentials))
    for mutual, names in welcome.items():
        files = [certificates / name for name in ("server.pem", "server.key")]
        tls = TlsFiles(*files, *([certificates / "ca.pem"] if mutual else []))
        with RecallServer(release_folder.path, grpc_port=0, http_port=0, tls=tls) as server:
            for name, credential in credentials.items():
                channel = (
                    grpc.insecure_channel(server.grpc_address)
                    if credential is None
                    else grpc.secure_channel(server.grpc_address, credential)
                )
                with channel:
                    health = health_pb2_grpc.HealthStub(channel)
                    call = health.Check.future(health_pb2.HealthCheckRequest(), timeout=10)
                    tally.count((call.exception() is None) == (name in names), (mutual, name))


def test_admin_token_and_names(release_folder, tally):
    """Calls that change something need the token; names of models are no paths."""
    good, wrong = f"Bearer {TOKEN}", f"Bearer {OTHER_TOKEN}"
    item = {"item_ids": np.array([b"i3"], object)}
    calls = {
        "delete": lambda c, m: c.prediction.Predict.future(
            build_message("items", "delete", item), timeout=30, metadata=m
        ),
        "reload": lambda c, m: c.models.HandleReloadConfigRequest.future(
            model_management_pb2.ReloadConfigRequest(), timeout=30, metadata=m
        ),
    }
    names = ["../../etc/passwd", "..", "/etc", "user_tower/../item_tower", "%2e%2e", "a\0b", "\\"]
    denied = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}
    tally.start(15, "admin token; names of models that are paths", 0)
    with (
        RecallServer(release_folder.path, grpc_port=0, http_port=0, admin_token=TOKEN) as server,
        Client(server.grpc_address) as client,
    ):
        for call in calls.values():
            for authorization in (None, wrong, TOKEN, "Basic x", good):
                metadata = () if authorization is None else (("authorization", authorization),)
                error = call(client, metadata).exception()
                is_denied = error is not None and error.code() in denied
                tally.wanted += 1
                tally.count(is_denied == (authorization != good), authorization)
        for name in names:
            message = build_message(name, "", {"history_item_ids": tensors.pad_strings([["i3"]])})
            tally.wanted += 1
            tally.count(_code_of(client, message) == grpc.StatusCode.NOT_FOUND, name)


def test_sigterm_drains(release_folder, start_server, tally):
    """No request that was sent before health said NOT_SERVING fails."""
    rounds = scaled(10, at_least=2)
    tally.start(17, "SIGTERM: in flight answered, health first, exit code 0", 3 * rounds)
    answered = 0
    for _ in range(rounds):
        server = start_server(release_folder.path, options={"poll_s": 0, "drain_s": 0.5})
        failures, count, health_said_s = _ask_while_draining(server)
        tally.count(not failures, failures[:3])
        tally.count(health_said_s, "health never said NOT_SERVING")
        tally.count(server.wait() == 0, "exit code")
        answered += count
    tally.note(f"{answered:,} requests answered")


def _ask_while_draining(server) -> tuple[list[str], int, bool]:
    """Failures and number of the requests sent until health says that the end is near."""
    failures, answered, leave = [], [0, 0, 0, 0], threading.Event()

    def ask(number: int) -> None:
        message = _recall_message(history=("i3", "i7"), k=10)
        with server.open_client() as client:
            while not leave.is_set():
                code = _code_of(client, message)
                answered[number] += code == grpc.StatusCode.OK
                if code != grpc.StatusCode.OK:
                    failures.append(code.name)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(len(answered))]
    with grpc.insecure_channel(server.grpc_address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        server.terminate()
        deadline_s, said = time.monotonic() + 20, False
        while not said and time.monotonic() < deadline_s:
            status = health.Check(health_pb2.HealthCheckRequest(), timeout=10).status
            said = status == health_pb2.HealthCheckResponse.NOT_SERVING
        leave.set()  # As a load balancer does that has heard it.
        for thread in threads:
            thread.join()
    return failures, sum(answered), said


REQUESTS = {
    "good recall": lambda: _recall_message(history=("i3",), k=5),
    "popular items": lambda: _recall_message(k=5),
    "bad k": lambda: _recall_message(history=("i3",), k=100_000),
    "good tower": lambda: build_message(
        "user_tower", "", {"history_item_ids": tensors.pad_strings([["i3"]])}
    ),
    "bad tower": lambda: build_message("user_tower", "", {}),
    "nobody": lambda: build_message("nobody", "", {}),
}


def test_metrics_are_what_clients_count(release_folder, start_server, tally):
    """A random mix over both doors, counted by model and status on both sides."""
    server = start_server(release_folder.path, options={"poll_s": 0})
    choose, counted = random.Random(0), Counter()
    before = _request_counts(server)
    with server.open_client() as client:
        for _ in range(scaled(2000)):
            if choose.random() < 0.3:
                k = choose.choice([3, -1])
                status, _ = server.post("/recall", {"history": ["i3"], "k": k})
                counted["recall", {200: "OK", 400: "INVALID_ARGUMENT"}[status]] += 1
                continue
            message = REQUESTS[choose.choice(list(REQUESTS))]()
            name = message.model_spec.name.replace("nobody", "unknown")
            counted[name, _code_of(client, message).name] += 1
    found = _request_counts(server) - before
    keys = set(found) | set(counted)
    tally.start(20, "metrics equal client-side counts", len(keys))
    for key in keys:
        tally.count(found[key] == counted[key], (key, found[key], counted[key]))
    tally.note(f"{sum(counted.values()):,} requests")
    assert len(keys) >= 5


def _request_counts(server) -> Counter:
    pattern = r'request_count\{model_name="(\w+)",status="(\w+)"\} ([\d.]+)'
    found = re.findall(pattern, server.get(METRICS))
    return Counter({(name, status): int(float(count)) for name, status, count in found})


LOG_EVERYTHING = """
import logging
logging.basicConfig(level=logging.INFO)
"""


def test_no_history_in_the_log(release_folder, start_server, tally):
    """Good and bad requests whose ids are secrets, at INFO, in every part of a request."""
    server = start_server(release_folder.path, setup=LOG_EVERYTHING)
    count = scaled(1000)
    secrets = [f"secret-{number}" for number in range(count)]
    parts = ["history", "exclude", "allow", "deny", "similar_to", "categories", "merge"]
    with server.open_client() as client:
        for number, secret in enumerate(secrets):
            part = parts[number % len(parts)]
            document = {part: secret if part == "merge" else [secret, "i3"], "k": number % 7}
            server.post("/recall", document)
            server.post("/recall", json.dumps(document).encode()[:-1])
            history = tensors.pad_strings([[secret]])
            for name in ("recall", "user_tower", "nobody"):
                _code_of(client, build_message(name, "", {"history_item_ids": history}))
    log = server.log.read_text()
    assert "INFO" in log, "the log must be there for the test to mean something"
    tally.start(22, "no history in the log at INFO", count)
    for secret in secrets:
        tally.count(secret not in log, secret)


WATCH_PICKLE = """
import sys, traceback
def hear(event, arguments):
    if event == "pickle.find_class":
        print("UNPICKLED", arguments, *traceback.format_stack(), file=sys.stderr, flush=True)
sys.addaudithook(hear)
"""


def test_nothing_is_unpickled(tmp_path, start_server, tally):
    """A server with a ScaNN index loads, answers and swaps; Python tells of every pickle."""
    config = RecallConfig().override(["model.dim=32", "model.num_blocks=1", "index.kind=scann"])
    write_release(tmp_path / "serving", 1, 2000, config)
    server = start_server(tmp_path / "serving", setup=WATCH_PICKLE, options={"poll_s": 0.1})
    with server.open_client() as client:
        client.recall(RecallRequest(("i3",), k=5))
        write_release(tmp_path / "serving", 2, 2000, config)
        client.wait_for_state(2, State.AVAILABLE)
        answer = client.recall(RecallRequest(("i3",), k=5))
    tally.start(19, "two releases loaded and asked: nothing is unpickled", 2)
    tally.count("UNPICKLED" not in server.log.read_text(), server.log.read_text()[-2000:])
    tally.count(answer.index_version == 2)
