"""Versions change under load: nothing fails, nothing is mixed, memory stays."""

import os
import shutil
import threading
import time

import grpc
import numpy as np
import pytest
from google.protobuf import text_format
from tensorflow_serving.apis import model_management_pb2

from recall.config import RecallConfig
from serving.api import recall_tensors
from serving.api.recall_request import RecallRequest
from serving.models.servable import State
from serving.release.release import PARTS
from tests.benchmarks.serving_release import write_release
from tests.reliability.tally import scaled
from tests.serving.server_process import Client, build_message

pytestmark = pytest.mark.reliability

RATE = 100.0
"""Requests a second beside the swaps."""

_ASKERS = 8
"""Threads that ask: one request may take 80 ms and the rate is still held."""

KEEP = 3
"""Newest versions that stay in the folder."""

HISTORIES = [("i3", "i7"), ("i1",), ("i39", "nothing", "i2"), ("i5", "i6", "i7", "i8", "i9", "i10")]


class Traffic:
    """Asks at a fixed rate from a thread and checks every answer."""

    def __init__(self, client: Client, check):
        self.failures: list[str] = []
        self.num_errors = 0
        self.answers: list = []
        self._client, self._check = client, check
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(n,), daemon=True) for n in range(_ASKERS)
        ]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for_version(self, version: int) -> None:
        """Returns once a client has had an answer of it, or after five seconds."""
        end_s = time.monotonic() + 5.0
        while version not in self.answers[-_ASKERS:] and time.monotonic() < end_s:
            time.sleep(0.01)

    def _ask(self, number: int) -> None:
        next_s, turn = time.monotonic() + number / RATE, number
        while not self._stop.is_set():
            history = HISTORIES[turn % len(HISTORIES)]
            turn += 1
            timeout_s = 30.0 if number % 2 else None  # Half of them have no deadline.
            try:
                answer = self._client.recall(RecallRequest(history, k=10), timeout_s=timeout_s)
                self.answers.append(answer.index_version)
                if not self._check(history, answer):
                    self.failures.append(f"wrong answer of version {answer.index_version}")
            except grpc.RpcError as error:
                self.num_errors += 1
                self.failures.append(f"{error.code().name}: {error.details()}")
            # A late answer is made up for, unless the machine stood still for long.
            next_s = max(next_s + _ASKERS / RATE, time.monotonic() - 5.0)
            self._stop.wait(max(0.0, next_s - time.monotonic()))


def test_swaps_under_load(release_folder, start_server, tally):
    """Every answer is compared with numpy, for the version it says it is from."""
    swaps = scaled(200, at_least=5)

    def is_right(history, answer) -> bool:
        catalogue = release_folder.catalogues[answer.index_version]
        expected = catalogue.expected(history, 10, removed=history)
        items = [(item.item_id, item.interest) for item in answer.items]
        return items == expected and answer.model_version == answer.index_version

    server = start_server(release_folder.path, options={"poll_s": 0.05})
    with server.open_client() as client, Traffic(client, is_right) as traffic:
        started_s = time.monotonic()
        for version in range(4, 4 + swaps):
            release_folder.publish(version, version % 2)
            client.wait_for_state(version, State.AVAILABLE)
            if version - KEEP >= 3:
                release_folder.withdraw(version - KEEP)
        seconds = time.monotonic() - started_s
        traffic.wait_for_version(version)
    rate = len(traffic.answers) / seconds
    num_asked = len(traffic.answers) + traffic.num_errors
    tally.start(5, "answers during swaps at 100/s: no failure, no mixed version", num_asked + 1)
    tally.held = num_asked - len(traffic.failures)
    tally.count(rate >= 0.95 * RATE, f"{rate:.0f} requests/s of {RATE:.0f}")
    for text in traffic.failures[:5]:
        tally.note(text)
    tally.note(f"{swaps} swaps in {seconds:.0f} s, {rate:.0f} requests/s")
    assert {3, 3 + swaps} <= set(traffic.answers)
    assert len(set(traffic.answers)) > swaps / 2
    assert "Traceback" not in server.log.read_text()


MEMORY_CONFIG = RecallConfig().override(
    [
        *("model.dim=32", "model.num_blocks=1", "model.use_categories=true"),
        *("index.kind=scann", "index.reorder=200"),
    ]
)
_NUM_ITEMS = 2000
_NUM_CATEGORIES = 40


def test_memory_is_level(tmp_path, start_server, tally):
    """Releases with categories and a ScaNN index; each one is asked before the next one comes."""
    swaps = scaled(200, at_least=40)
    categories = [(f"c{row % _NUM_CATEGORIES}",) for row in range(_NUM_ITEMS)]
    serving, staged = tmp_path / "serving", tmp_path / "staged"
    write_release(serving, 1, _NUM_ITEMS, MEMORY_CONFIG, categories)
    write_release(staged, 2, _NUM_ITEMS, MEMORY_CONFIG, categories)
    server = start_server(serving, options={"poll_s": 0.05})
    requests = [RecallRequest(("i3", "i7"), k=100), RecallRequest(("i3",), k=9, categories=("c1",))]
    memory_mb = []
    with server.open_client() as client:
        for swap in range(1, swaps + 1):
            _publish_copy(staged, serving, 1 + swap)
            client.wait_for_state(1 + swap, State.AVAILABLE)
            for request in requests * 10:
                assert client.recall(request).index_version == 1 + swap
            client.wait_for_state(swap, State.END)
            memory_mb.append(server.resident_mb())
            for part in PARTS:  # As many folders as one keeps; each look reads them all.
                shutil.rmtree(serving / part / str(swap))
    early, late = np.mean(memory_mb[9:20]), np.mean(memory_mb[-11:])
    title = "mean memory of the last 11 swaps at most 1.02 x that of swaps 10 - 20"
    tally.start(7, title, 1)
    tally.count(late <= 1.02 * early, memory_mb)
    tally.note(f"{early:.0f} MiB, {late:.0f} MiB after {swaps} swaps: {late / early:.4f} x")


def _publish_copy(staged, serving, version: int) -> None:
    """The staged release under another number; files are linked, not copied."""
    for part in PARTS:
        hidden = serving / part / f".{version}"
        shutil.copytree(staged / part / "2", hidden, copy_function=os.link)
        hidden.rename(serving / part / str(version))


LABELLED = """model_config_list {{ config {{
  name: "user_tower" base_path: "/models/user_tower"
  model_version_policy {{ all {{}} }}
  version_labels {{ key: "stable" value: {version} }} }} }}"""


def test_rollback_by_label(release_folder, start_server, tally):
    """A label moves between two versions that are both served."""
    rollbacks, poll_s = scaled(40, at_least=4), 1.0
    release_folder.publish(4, 1)
    server = start_server(release_folder.path, options={"poll_s": poll_s})
    tally.start(8, "rollback by label within the poll + 1 s", rollbacks)
    slowest_s = 0.0
    with server.open_client() as client:
        for turn in range(rollbacks):
            version = 3 + turn % 2
            request = model_management_pb2.ReloadConfigRequest()
            text_format.Parse(LABELLED.format(version=version), request.config)
            started_s = time.monotonic()
            client.models.HandleReloadConfigRequest(request, timeout=60)
            while _labelled_version(client) != version:
                assert time.monotonic() - started_s < 30
            seconds = time.monotonic() - started_s
            slowest_s = max(slowest_s, seconds if turn else 0.0)
            # The first one also loads the second version.
            tally.count(seconds <= poll_s + 1.0 or turn == 0, f"{seconds:.2f} s")
    tally.note(f"slowest {slowest_s:.2f} s")


def _labelled_version(client: Client) -> int:
    """The version that answers a request for the label."""
    signature, inputs = recall_tensors.build_recall_inputs(RecallRequest(("i3",), k=3))
    message = build_message("recall", signature, inputs)
    message.model_spec.version_label = "stable"
    return client.prediction.Predict(message, timeout=30).model_spec.version.value
