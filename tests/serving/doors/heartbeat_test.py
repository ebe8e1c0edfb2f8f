"""Readiness follows answers: a queue that is stuck makes the server say no."""

import json
import threading
import time
import urllib.error
import urllib.request

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving.doors import heartbeat
from serving.doors.heartbeat import Heartbeat
from serving.protocol.status import Code, ServingError
from serving.server import RecallServer
from tests.waiting import wait_for

QUICK = {"probe_every_s": 0.02, "dead_after_s": 0.2}


@pytest.fixture
def watch():
    """Starts heartbeats; returns one with the list of what it told."""
    started = []

    def start(ask):
        one, told = Heartbeat(ask, **QUICK), []
        one.start(told.append)
        started.append(one)
        return one, told

    yield start
    for one in started:
        one.stop()


def test_answers_keep_it_alive_and_silence_does_not(watch):
    answers = True

    def ask():
        if not answers:
            raise ServingError(Code.UNAVAILABLE, "nobody")

    one, told = watch(ask)
    time.sleep(0.3)
    assert one.is_alive
    answers = False
    wait_for(lambda: told == [False])
    assert not one.is_alive
    answers = True
    wait_for(lambda: told == [False, True])
    assert one.is_alive


def test_a_probe_that_hangs_is_silence(watch):
    hangs = threading.Event()

    def ask():
        hangs.wait(10)

    _, told = watch(ask)
    wait_for(lambda: told == [False])
    hangs.set()
    wait_for(lambda: told == [False, True])


def test_a_full_queue_is_busy_while_others_are_answered(watch):
    def ask():
        raise ServingError(Code.RESOURCE_EXHAUSTED, "full")

    one, told = watch(ask)
    for _ in range(40):
        one.count_answer()
        time.sleep(0.01)
    assert told == []
    wait_for(lambda: told == [False])  # Full, and nobody is answered any more.


def test_before_the_watch_nothing_is_known():
    assert Heartbeat(lambda: None, **QUICK).is_alive


def _readyz(server) -> tuple[int, dict]:
    try:
        with urllib.request.urlopen(f"http://{server.http_address}/readyz", timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_a_stuck_queue_makes_both_doors_say_no(release_dir, monkeypatch):
    monkeypatch.setattr(heartbeat, "PROBE_EVERY_S", 0.05)
    monkeypatch.setattr(heartbeat, "DEAD_AFTER_S", 1.0)
    gate = threading.Event()
    gate.set()
    with (
        RecallServer(release_dir, grpc_port=0, http_port=0, poll_s=0) as server,
        grpc.insecure_channel(server.grpc_address) as channel,
    ):
        stub, check = health_pb2_grpc.HealthStub(channel), health_pb2.HealthCheckRequest()

        def health() -> str:
            status = stub.Check(check, timeout=10).status
            return health_pb2.HealthCheckResponse.ServingStatus.Name(status)

        batcher = server.model_server.find("user_tower").batcher
        run = batcher._function
        batcher._function = lambda inputs: gate.wait(20) and run(inputs)
        assert (_readyz(server)[0], health()) == (200, "SERVING")
        gate.clear()
        wait_for(lambda: health() == "NOT_SERVING")
        status, document = _readyz(server)
        assert (status, document["ready"]) == (503, False)
        assert "No request was answered for" in document["error"]
        gate.set()
        wait_for(lambda: health() == "SERVING")
        assert _readyz(server)[0] == 200
