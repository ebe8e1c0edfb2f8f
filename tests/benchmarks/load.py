"""Generators of load in processes of their own: `python -m tests.benchmarks.load`.

A client in the process of the server, or of the test, would wait for Python's
lock and measure that. Messages are serialised beforehand and answers are not
parsed, so that the client takes little of the machine.
"""

import base64
import http.client
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import grpc
import numpy as np

from tests.benchmarks.measure import ROOT

_PREDICT = "/tensorflow.serving.PredictionService/Predict"
DEADLINE_S = 30.0
"""Of every call where a plan does not say otherwise."""

_WARM = "warm"
"""The line between a warm-up and what counts."""

_OPTIONS = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]


class Load(NamedTuple):
    """What one or more generators saw.

    Attributes:
        seconds: How long they asked.
        answered_ms: Latency of every answer.
        refused_ms: Latency of every RESOURCE_EXHAUSTED.
        codes: Outcomes by the name of the code.
    """

    seconds: float
    answered_ms: np.ndarray
    refused_ms: np.ndarray
    codes: dict[str, int]

    @property
    def answers_per_second(self) -> float:
        """Throughput of answers."""
        return len(self.answered_ms) / self.seconds

    def percentiles(self) -> dict[str, float]:
        """p50, p95 and p99 of the answers, in milliseconds."""
        values = np.percentile(self.answered_ms, [50, 95, 99])
        return dict(zip(("p50_ms", "p95_ms", "p99_ms"), values.tolist(), strict=True))


class Generator:
    """One process that asks a server."""

    def __init__(
        self, address: str, messages: Sequence[bytes], path: str = "", **plan: float | None
    ):
        """Starts it; it asks as soon as it is connected.

        Without a deadline a call takes another way through gRPC and the server.

        Args:
            address: `host:port` of the gRPC door, or of the HTTP door with a `path`.
            messages: Serialised Predict requests, or bodies for `path`; sent in turn.
            path: Where the HTTP door takes these, for example `/recall`.
            **plan: `seconds`, and `concurrency` (closed loop) or `rate` (requests
                a second whatever the answers, open loop); maybe `warm_up`, seconds
                of the same before, which do not count; maybe `deadline_s`, None for
                calls without one, `DEADLINE_S` by default.
        """
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.load"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        encoded = [base64.b64encode(message).decode() for message in messages]
        self._process.stdin.write(
            json.dumps({"address": address, "path": path, "messages": encoded, **plan})
        )
        self._process.stdin.close()

    def wait_until_warm(self) -> None:
        """Waits for the end of the warm-up; what comes now counts."""
        self._process.stdout.readline()

    def result(self) -> Load:
        """Waits until it has ended.

        Raises:
            RuntimeError: It failed.
        """
        lines = self._process.stdout.read().splitlines()
        self._process.stdout.close()
        if self._process.wait():
            raise RuntimeError("a generator of load failed; see its stderr")
        facts = json.loads(lines[-1])
        columns = (np.array(facts[name]) for name in ("answered_ms", "refused_ms"))
        return Load(facts["seconds"], *columns, facts["codes"])


def combine(loads: Sequence[Load]) -> Load:
    """What generators that ran beside each other saw."""
    codes = sum((Counter(load.codes) for load in loads), Counter())
    return Load(
        max(load.seconds for load in loads),
        np.concatenate([load.answered_ms for load in loads]),
        np.concatenate([load.refused_ms for load in loads]),
        dict(codes),
    )


class _Recorder:
    """Outcomes of the calls of this process."""

    def __init__(self):
        self._lock = threading.Lock()
        self._outcomes: list[tuple[str, float]] = []

    def add(self, code: str, started_s: float) -> None:
        """Remembers one outcome."""
        elapsed_ms = (time.perf_counter() - started_s) * 1e3
        with self._lock:
            self._outcomes.append((code, elapsed_ms))

    def facts(self, seconds: float) -> dict[str, Any]:
        """As JSON."""
        outcomes = list(self._outcomes)
        return {
            "seconds": seconds,
            "answered_ms": [round(ms, 3) for code, ms in outcomes if code == "OK"],
            "refused_ms": [round(ms, 3) for code, ms in outcomes if code == "RESOURCE_EXHAUSTED"],
            "codes": dict(Counter(code for code, _ in outcomes)),
        }


def _ask_closed(
    call,
    messages,
    seconds: float,
    concurrency: int,
    deadline_s: float | None,
    recorder: _Recorder,
) -> None:
    """As many threads as requests in flight; each asks again when it is answered."""
    end_s = time.perf_counter() + seconds

    def ask(turn: int) -> None:
        while (started_s := time.perf_counter()) < end_s:
            turn += 1
            try:
                call(messages[turn % len(messages)], timeout=deadline_s)
                recorder.add("OK", started_s)
            except grpc.RpcError as error:
                recorder.add(error.code().name, started_s)
            except (OSError, http.client.HTTPException, RuntimeError) as error:
                recorder.add(str(error), started_s)

    threads = [threading.Thread(target=ask, args=(7 * n,)) for n in range(concurrency)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _ask_open(
    call, messages, seconds: float, rate: float, deadline_s: float | None, recorder: _Recorder
) -> None:
    """Sends at fixed times, and does not wait for answers."""
    started_s, pending = time.perf_counter(), []
    for number in range(round(seconds * rate)):
        time.sleep(max(0.0, started_s + number / rate - time.perf_counter()))
        sent_s = time.perf_counter()
        future = call.future(messages[number % len(messages)], timeout=deadline_s)
        future.add_done_callback(lambda done, sent_s=sent_s: recorder.add(done.code().name, sent_s))
        pending.append(future)
    for future in pending:
        future.exception()


class _HttpCall:
    """Posts bodies over a kept connection per thread; for a closed loop."""

    def __init__(self, address: str, path: str):
        self._address, self._path = address, path
        self._local = threading.local()

    def __call__(self, body: bytes, timeout: float) -> None:
        """Waits for the whole answer.

        Raises:
            RuntimeError: It is not 200.
        """
        if not hasattr(self._local, "connection"):
            self._local.connection = http.client.HTTPConnection(self._address, timeout=timeout)
        headers = {"Content-Type": "application/json"}
        self._local.connection.request("POST", self._path, body, headers)
        answer = self._local.connection.getresponse()
        text = answer.read()
        if answer.status != http.client.OK:
            raise RuntimeError(f"{answer.status}: {text[:200]!r}")


def main() -> None:
    """Reads the plan from stdin, prints what was seen as JSON."""
    plan = json.load(sys.stdin)
    messages = [base64.b64decode(text) for text in plan["messages"]]
    if plan["path"]:
        _warm_up_and_ask(_HttpCall(plan["address"], plan["path"]), messages, plan)
        return
    with grpc.insecure_channel(plan["address"], options=_OPTIONS) as channel:
        grpc.channel_ready_future(channel).result(DEADLINE_S)
        _warm_up_and_ask(channel.unary_unary(_PREDICT), messages, plan)


def _warm_up_and_ask(call, messages, plan: dict[str, Any]) -> None:
    """Prints when the warm-up is over, and what was seen then."""
    if plan.get("warm_up"):
        _ask(call, messages, plan | {"seconds": plan["warm_up"]})
    print(_WARM, flush=True)
    print(json.dumps(_ask(call, messages, plan)))


def _ask(call, messages, plan: dict[str, Any]) -> dict[str, Any]:
    """Does what a plan says, and tells what was seen."""
    recorder, seconds = _Recorder(), plan["seconds"]
    deadline_s = plan.get("deadline_s", DEADLINE_S)
    started_s = time.perf_counter()
    if "rate" in plan:
        _ask_open(call, messages, seconds, plan["rate"], deadline_s, recorder)
    else:
        _ask_closed(call, messages, seconds, int(plan["concurrency"]), deadline_s, recorder)
    # Answers to the last calls belong to the time in which those were sent.
    return recorder.facts(min(time.perf_counter() - started_s, seconds))


if __name__ == "__main__":
    main()
