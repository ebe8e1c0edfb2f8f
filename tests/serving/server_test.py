import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from concurrent import futures

import numpy as np
import pytest

from recall.errors import InputError
from serving.api import client
from serving.api.recall_request import RecallRequest
from serving.models.model_server import State
from serving.server import RecallServer
from tests.waiting import wait_for


def _free_server(release_dir, **arguments):
    return RecallServer(release_dir, grpc_port=0, http_port=0, **arguments)


def test_all_models_are_available(recall_server):
    assert recall_server.model_server.states() == {
        "user_tower": {3: State.AVAILABLE},
        "item_tower": {3: State.AVAILABLE},
        "recall": {3: State.AVAILABLE},
        "items": {3: State.AVAILABLE},
    }
    assert recall_server.model_server.is_ready()


def test_predict_equals_exact_search_in_numpy(recall_server, catalogue):
    servable = recall_server.model_server.find("recall")
    outputs = servable.predict(
        "", {"history_item_ids": np.array([[b"i3", b"i7", b"zebra"]], dtype=object)}
    )
    expected = catalogue.expected(["i3", "i7"], 20, removed=("i3", "i7"))
    assert [i.decode() for i in outputs["item_ids"][0]] == [item for item, _ in expected]
    assert outputs["interests"][0].tolist() == [interest for _, interest in expected]


@pytest.mark.parametrize("flag", ["grpc_port", "http_port"])
def test_port_in_use_names_the_port_and_the_flag(release_dir, flag):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"127.0.0.1:{port} .*--{flag}"):
            RecallServer(release_dir, **{"grpc_port": 0, "http_port": 0, flag: port})


def test_a_second_server_does_not_share_the_grpc_port(release_dir, recall_server):
    with pytest.raises(InputError, match="--grpc_port"):
        RecallServer(release_dir, grpc_port=recall_server.grpc_port, http_port=0)


@pytest.mark.parametrize("port", [70000, -1])
def test_port_out_of_range(release_dir, port):
    with pytest.raises(InputError, match="--grpc_port"):
        RecallServer(release_dir, grpc_port=port, http_port=0)


def test_missing_release(tmp_path):
    with pytest.raises(InputError, match="holds no release"):
        _free_server(tmp_path)


def test_damaged_release_is_refused_and_the_ports_are_freed(tmp_path, release_dir):
    copy = shutil.copytree(release_dir, tmp_path / "serving")
    vectors = copy / "index" / "3" / "item_vectors.npy"
    damaged = bytearray(vectors.read_bytes())
    damaged[-1] ^= 1
    vectors.write_bytes(damaged)
    server = _free_server(copy)
    with pytest.raises(InputError, match=r"item_vectors\.npy is damaged"):
        server.start()
    with socket.socket() as again:
        again.bind(("127.0.0.1", server.http_port))


def test_unreachable_tf_serving(release_dir):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(InputError, match=f"--tf_serving_address={address}"):
            _free_server(release_dir, tf_serving_address=address).start()


def test_user_vectors_from_another_server(release_dir, recall_server, catalogue):
    with _free_server(release_dir, tf_serving_address=recall_server.grpc_address) as server:
        assert set(server.model_server.states()) == {"recall", "items"}
        servable = server.model_server.find("recall")
        outputs = servable.predict("", {"history_item_ids": np.array([[b"i3"]], dtype=object)})
    expected = catalogue.expected(["i3"], 20, removed=("i3",))
    assert [i.decode() for i in outputs["item_ids"][0]] == [item for item, _ in expected]
    assert outputs["model_version"].tolist() == [3]


def test_stopped_server_is_not_ready(release_dir):
    server = _free_server(release_dir)
    with server:
        assert server.model_server.is_ready()
    assert not server.model_server.is_ready()
    assert server.model_server.states()["recall"] == {3: State.END}


def test_requests_under_way_are_answered_while_the_server_stops(release_dir):
    entered, released = threading.Semaphore(0), threading.Event()
    server = _free_server(release_dir)
    server.start()
    service = server.model_server.find("recall").service
    recall = service.recall

    def slow_recall(requests, **arguments):
        entered.release()
        released.wait(10)
        return recall(requests, **arguments)

    service.recall = slow_recall
    stopper = threading.Thread(target=server.stop)
    with futures.ThreadPoolExecutor(2) as clients:
        over_grpc = clients.submit(client.query, server.grpc_address, RecallRequest(("i3",), k=3))
        over_http = clients.submit(
            urllib.request.urlopen,
            f"http://{server.http_address}/recall",
            b'{"history": ["i3"], "k": 3}',
            timeout=20,
        )
        assert entered.acquire(timeout=10)
        assert entered.acquire(timeout=10)
        stopper.start()
        wait_for(lambda: not server.model_server.is_ready())
        with pytest.raises(urllib.error.HTTPError, match="503"):
            urllib.request.urlopen(f"http://{server.http_address}/readyz", timeout=10)
        released.set()
        assert len(over_grpc.result().items) == 3
        with over_http.result() as answer:
            assert len(json.load(answer)["items"]) == 3
    stopper.join()


def test_process_prints_its_ports_and_stops_on_sigterm(release_dir):
    code = (
        "import sys; from serving.server import serve; serve(sys.argv[1], grpc_port=0, http_port=0)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(release_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        line = process.stdout.readline()
        ports = re.fullmatch(r"serving grpc=127\.0\.0\.1:(\d+) http=127\.0\.0\.1:(\d+)\n", line)
        assert ports, process.stderr.read()
        with urllib.request.urlopen(f"http://127.0.0.1:{ports[2]}/readyz", timeout=10) as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
        assert "Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.communicate()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://127.0.0.1:{ports[2]}/readyz", timeout=10)


@pytest.mark.parametrize(
    ("host", "shown", "also"),
    [
        ("::1", "[::1]", ()),
        ("[::1]", "[::1]", ()),
        ("::", "[::1]", ("127.0.0.1",)),
        ("localhost", "localhost", ("127.0.0.1", "[::1]")),
        ("0.0.0.0", "127.0.0.1", ()),
    ],
)
def test_both_families(release_dir, catalogue, host, shown, also):
    expected = catalogue.expected(["i3", "i7"], 4, removed=("i3", "i7"))
    with _free_server(release_dir, host=host) as server:
        assert server.grpc_address == f"{shown}:{server.grpc_port}"
        assert server.http_address == f"{shown}:{server.http_port}"
        for name in (shown, *also):
            for door in (f"{name}:{server.grpc_port}", f"http://{name}:{server.http_port}"):
                answer = client.query(door, RecallRequest(("i3", "i7"), k=4))
                assert [item.item_id for item in answer.items] == [item for item, _ in expected]


def test_shards_and_towers_at_addresses_of_ipv6(release_dir, catalogue):
    expected = catalogue.expected(["i3"], 5, removed=("i3",))
    with _free_server(release_dir, host="::1") as towers:
        options = {"tf_serving_address": towers.grpc_address, "shards": (towers.grpc_address,)}
        with _free_server(release_dir, **options) as front:
            answer = client.query(front.grpc_address, RecallRequest(("i3",), k=5))
    assert [item.item_id for item in answer.items] == [item for item, _ in expected]


@pytest.mark.parametrize("flag", ["tf_serving_address", "shards"])
def test_an_address_of_ipv6_without_brackets(release_dir, flag):
    value = "::1:8500" if flag == "tf_serving_address" else ("::1:8500",)
    with pytest.raises(InputError, match=r"an IPv6 address needs brackets, as in \[::1\]:8500"):
        _free_server(release_dir, **{flag: value}).start()
