"""The clients of the soak: threads that ask, or change items, until they are told to stop."""

import http.client
import itertools
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable

import grpc
import numpy as np

from serving.api.recall_request import RecallRequest
from tests.reliability.soak_world import Answer, Fact, World
from tests.serving.server_process import Client, ServerProcess, build_message

PACE_S = 0.04
"""Least time from one request of a client to its next: eight clients ask for 200 a second,
and leave time to load versions, to check answers, and to whoever shares the machine."""

DEADLINE_S = 30.0
"""Of the clients that have one: far more than any answer takes, as none may fail."""

K = 20

HISTORIES = [("i3", "i7"), ("i1",), ("i39", "nothing", "i2"), ("i5", "i6", "i7", "i8", "i9", "i10")]

_NUM_NEW = 150
"""New items of the writer, used again and again, so that what is stored stays level."""

_CALLS_PER_CONNECTION = 250
"""After so many requests some clients connect anew, as clients in production do."""


class SoakClient:
    """One thread, what it did, and what went wrong.

    Attributes:
        name: For the table.
        num_done: Requests that were answered rightly.
        faults: What went wrong, by its text.
        found: Shares of the right items that the approximate answers had.
        slowest_s: Of all requests.
    """

    def __init__(
        self,
        name: str,
        connection: "_Http | _Grpc",
        step: Callable[["SoakClient"], None],
    ):
        """Does `step` again and again, which counts its own faults by `fault`.

        Args:
            name: For the table.
            connection: What `step` asks over; closed in the end.
            step: One request and the checks of its answer.
        """
        self.name = name
        self.num_done = 0
        self.faults: Counter[str] = Counter()
        self.found: list[float] = []
        self.slowest_s = 0.0
        self._connection, self._step = connection, step
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._stop = threading.Event()

    def start(self) -> None:
        """Begins to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Asks it to end after its present request."""
        self._stop.set()

    def join(self, timeout_s: float) -> None:
        """Waits for its end; a request that is never answered is a fault."""
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self.fault("a request that is never answered")

    def fault(self, text: str) -> None:
        """Counts something that went wrong."""
        self.faults[text] += 1

    def _run(self) -> None:
        while not self._stop.is_set():
            started_s = time.monotonic()
            before = self.faults.total()
            try:
                self._step(self)
            except grpc.RpcError as error:
                self.fault(f"{error.code().name}: {error.details()}"[:200])
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.fault(f"{type(error).__name__}: {error}"[:200])
            seconds = time.monotonic() - started_s
            self.slowest_s = max(self.slowest_s, seconds)
            self.num_done += self.faults.total() == before
            self._stop.wait(max(0.0, PACE_S - seconds))
        self._connection.close()


class _Http:
    """JSON over one kept connection, or a new one for every request."""

    def __init__(self, address: str, *, is_kept: bool):
        self._connection = http.client.HTTPConnection(address, timeout=2 * DEADLINE_S)
        self._is_kept = is_kept

    def post(self, path: str, document: dict) -> dict:
        """The document of a good answer.

        Raises:
            ValueError: The answer has another status.
        """
        headers = {"Content-Type": "application/json"}
        if not self._is_kept:
            headers["Connection"] = "close"
        try:
            self._connection.request("POST", path, json.dumps(document), headers)
            answer = self._connection.getresponse()
            body = answer.read()
        except BaseException:
            self._connection.close()
            raise
        if not self._is_kept:
            self._connection.close()
        if answer.status != 200:
            raise ValueError(f"{answer.status}: {body[:150]!r}")
        return json.loads(body)

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()


class _Grpc:
    """A channel that is opened anew from time to time."""

    def __init__(self, address: str, *, is_kept: bool):
        self._address, self._is_kept = address, is_kept
        self._client, self._num_calls = Client(address), 0

    def client(self) -> Client:
        """The channel for the next call."""
        self._num_calls += 1
        if not self._is_kept and self._num_calls % _CALLS_PER_CONNECTION == 0:
            self.close()
            self._client = Client(self._address)
        return self._client

    def close(self) -> None:
        """Ends the channel."""
        self._client.__exit__()


def build_clients(server: ServerProcess, world: World) -> list[SoakClient]:
    """Eight: six that ask over both doors, with and without deadlines, two that change items."""
    clients = []
    for name, timeout_s, is_kept in (
        ("gRPC, deadline", DEADLINE_S, True),
        ("gRPC, no deadline", None, True),
        ("gRPC, deadline, new channels", DEADLINE_S, False),
        ("gRPC, no deadline, new channels", None, False),
    ):
        channel = _Grpc(server.grpc_address, is_kept=is_kept)
        clients.append(SoakClient(name, channel, _grpc_reader(channel, world, timeout_s)))
    for name, timeout_s, is_kept in (
        ("HTTP, kept connection", None, True),
        ("HTTP, deadline, new connections", DEADLINE_S, False),
    ):
        connection = _Http(server.http_address, is_kept=is_kept)
        clients.append(SoakClient(name, connection, _http_reader(connection, world, timeout_s)))
    channel = _Grpc(server.grpc_address, is_kept=True)
    clients.append(SoakClient("gRPC, changes, no deadline", channel, _grpc_writer(channel, world)))
    connection = _Http(server.http_address, is_kept=True)
    clients.append(SoakClient("HTTP, changes", connection, _http_writer(connection, world)))
    return clients


def _check(client: SoakClient, world: World, answer: Answer, **request) -> None:
    faults, found = world.faults(answer, k=K, **request)
    for text in faults:
        client.fault(text)
    if not request["is_exact"]:
        client.found.append(found)


def _grpc_reader(connection: _Grpc, world: World, timeout_s: float | None):
    """Recall requests over gRPC, every fourth by exact search."""
    turns = itertools.count()

    def step(client: SoakClient) -> None:
        turn = next(turns)
        history, is_exact = HISTORIES[turn % len(HISTORIES)], turn // len(HISTORIES) % 4 == 0
        from_s = time.monotonic()
        request = RecallRequest(history, k=K, exact=is_exact)
        response = connection.client().recall(request, timeout_s=timeout_s)
        answer = Answer(
            response.item_ids,
            np.array(response.scores, np.float32),
            response.index_version,
            not response.degraded and not response.is_fallback,
        )
        _check(client, world, answer, history=history, from_s=from_s, is_exact=is_exact)

    return step


def _http_reader(connection: _Http, world: World, timeout_s: float | None):
    """The same over HTTP."""
    turns = itertools.count()

    def step(client: SoakClient) -> None:
        turn = next(turns)
        history, is_exact = HISTORIES[turn % len(HISTORIES)], turn // len(HISTORIES) % 4 == 0
        document = {"history": list(history), "k": K, "exact": is_exact}
        if timeout_s is not None:
            document["timeout_ms"] = int(1000 * timeout_s)
        from_s = time.monotonic()
        response = connection.post("/recall", document)
        answer = Answer(
            [item["item_id"] for item in response["items"]],
            np.array([item["score"] for item in response["items"]]),
            response["index_version"],
            not response["degraded"] and not response["is_fallback"],
        )
        _check(client, world, answer, history=history, from_s=from_s, is_exact=is_exact)

    return step


def _grpc_writer(connection: _Grpc, world: World):
    """New items, other vectors of trained ones, and deletions."""
    generator, choose = np.random.default_rng(0), random.Random(0)
    item_ids = world.items_of_writer(0) + [f"n{number}" for number in range(_NUM_NEW)]
    dim = world.catalogue_of(0).item_vectors.shape[1]

    def step(client: SoakClient) -> None:
        item_id = choose.choice(item_ids)
        inputs = {"item_ids": np.array([item_id.encode()], object)}
        vector = None
        if choose.random() < 0.7:
            vector = generator.standard_normal(dim).astype(np.float32)
            vector /= np.linalg.norm(vector)
            inputs["vectors"] = vector[None]
        world.begin(item_id, Fact(vector is not None, vector))
        signature = "delete" if vector is None else "upsert"
        message = build_message("items", signature, inputs)
        answer = connection.client().prediction.Predict(message)
        world.end(item_id, answer.model_spec.version.value)

    return step


def _http_writer(connection: _Http, world: World):
    """Deletions of trained items, which come back as they were."""
    choose, item_ids = random.Random(1), world.items_of_writer(1)

    def step(client: SoakClient) -> None:
        item_id, comes_back = choose.choice(item_ids), choose.random() < 0.5
        world.begin(item_id, Fact(comes_back))
        if comes_back:
            connection.post("/items:upsert", {"items": [{"id": item_id}]})
        else:
            connection.post("/items:delete", {"ids": [item_id]})
        world.end(item_id)

    return step
