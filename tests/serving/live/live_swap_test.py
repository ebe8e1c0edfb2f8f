"""Live items, new releases, the admin token and the front of shards, put together."""

import functools
import json
import shutil
import threading
import time
import urllib.error
import urllib.request
from concurrent import futures

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from pipelines.clients.change_items import change_items
from recall.errors import InputError
from serving.api import client
from serving.api.recall_request import RecallRequest
from serving.index.shards import Shard
from serving.live import items as live_items
from serving.models.model_server import State
from serving.protocol.tensors import fill_proto, pad_strings
from serving.protocol.warmup import WARMUP_FILE
from serving.release.release import PARTS
from serving.servables import loaded_release
from serving.servables.recall_servable import RecallServable
from serving.server import RecallServer
from tests.serving.category_release import NUM_ITEMS, write_release
from tests.waiting import wait_for

TOKEN = "a token of the tests"
POLL_S = 0.05


@pytest.fixture(scope="module")
def releases(tmp_path_factory):
    """Releases of version 1 and 2; do not change them."""
    folders = {version: tmp_path_factory.mktemp(f"release-{version}") for version in (1, 2)}
    for version, folder in folders.items():
        write_release(folder, version)
    return folders


@pytest.fixture(scope="module")
def shard_releases(tmp_path_factory):
    """Version 1 as two shards; do not change them."""
    folder = tmp_path_factory.mktemp("shards")
    for number in range(2):
        write_release(folder / str(number), 1, Shard(number, 2))
    return folder


@pytest.fixture
def serving_dir(releases, tmp_path):
    return shutil.copytree(releases[1], tmp_path / "serving")


def publish(release_dir, serving_dir, version, change=lambda staging: None):
    """Makes a version visible, its index last, as `recall push` does."""
    staging = serving_dir / ".staging"
    shutil.copytree(release_dir, staging)
    change(staging)
    for part in PARTS:
        (staging / part / str(version)).rename(serving_dir / part / str(version))


def start(folder, **options):
    return RecallServer(folder, grpc_port=0, http_port=0, **options)


def http(server, path, document=None, token=None):
    """Status and document of an answer."""
    headers = {"Content-Type": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    body = None if document is None else json.dumps(document).encode()
    request = urllib.request.Request(f"http://{server.http_address}{path}", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def predict_error(server, signature, token=None):
    """Code of the refusal of a change over gRPC."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "items", signature
    fill_proto(request.inputs["item_ids"], pad_strings([["i1"]])[0])
    metadata = [] if token is None else [("authorization", f"Bearer {token}")]
    with grpc.insecure_channel(server.grpc_address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        with pytest.raises(grpc.RpcError) as error:
            stub.Predict(request, timeout=30, metadata=metadata)
    return error.value.code()


def recalled(server, history=("i0", "i1")):
    answer = client.query(server.grpc_address, RecallRequest(history, 500, include_seen=True))
    return answer.index_version, {item.item_id for item in answer.items}


def test_changes_outlive_a_swap_and_hold_in_the_new_version_at_once(releases, serving_dir):
    with start(serving_dir, poll_s=POLL_S) as server:
        http(server, "/items:delete", {"ids": ["i4", "i9"]})
        http(server, "/items:upsert", {"items": [{"id": "new", "categories": ["red"]}]})
        publish(releases[2], serving_dir, 2)
        seen = set()
        give_up_s = time.monotonic() + 60
        while 2 not in seen:  # Every answer on the way counts.
            assert time.monotonic() < give_up_s
            version, items = recalled(server)
            assert "new" in items
            assert not {"i4", "i9"} & items
            assert len(items) == NUM_ITEMS - 2 + 1
            seen.add(version)
        wait_for(lambda: server.model_server.states()["items"][1] == State.END)
        wait_for(lambda: len(http(server, "/items")[1]["versions"]) == 1)
        assert http(server, "/items")[1]["versions"][0]["version"] == 2
        http(server, "/items:delete", {"ids": ["new"]})
        assert "new" not in recalled(server)[1]


def test_a_version_that_fails_leaves_the_live_items_as_they_were(releases, serving_dir):
    def break_warm_up(staging):
        (staging / "user_tower" / "2" / WARMUP_FILE).write_bytes(b"no record")

    with start(serving_dir, poll_s=POLL_S) as server:
        publish(releases[2], serving_dir, 2, break_warm_up)
        wait_for(lambda: server.model_server.states()["items"].get(2) == State.END)
        assert [v["version"] for v in http(server, "/items")[1]["versions"]] == [1]
        assert http(server, "/items:delete", {"ids": ["i4"]})[0] == 200
        assert "i4" not in recalled(server)[1]


def test_a_defect_while_a_version_loads_leaves_the_live_items_as_they_were(
    releases, serving_dir, monkeypatch
):
    build = loaded_release._build_service

    def fail_late(towers, catalogue, *arguments):
        service = build(towers, catalogue, *arguments)
        if catalogue.version == 2:
            raise RuntimeError("a defect")
        return service

    monkeypatch.setattr(loaded_release, "_build_service", fail_late)
    with start(serving_dir, poll_s=POLL_S) as server:
        publish(releases[2], serving_dir, 2)
        wait_for(lambda: server.model_server.states()["items"].get(2) == State.END)
        assert [v["version"] for v in http(server, "/items")[1]["versions"]] == [1]


def test_given_vectors_are_those_of_the_version_that_serves(releases, serving_dir, monkeypatch):
    """Version 2 holds the items already, but warms up, and then fails."""
    warms_up, may_fail = threading.Event(), threading.Event()
    warm_up = RecallServable.warm_up

    def fail_late(servable):
        if servable.version == 2:
            warms_up.set()
            assert may_fail.wait(60)
            raise InputError("It cannot be served.")
        warm_up(servable)

    def waiting(server):
        versions = http(server, "/items")[1]["versions"]
        return {version["version"]: version["num_waiting"] for version in versions}

    monkeypatch.setattr(RecallServable, "warm_up", fail_late)
    vectors = np.eye(8, dtype=np.float32)
    with start(serving_dir, poll_s=POLL_S) as server:
        publish(releases[2], serving_dir, 2)
        assert warms_up.wait(60)
        items = {"items": [{"id": "by http", "vector": vectors[0].tolist()}]}
        acknowledged = {"sequence": 1, "num_items": NUM_ITEMS + 1, "num_changed": 1}
        assert http(server, "/items:upsert", items) == (200, acknowledged)
        inputs = {"item_ids": pad_strings([["by grpc"]])[0], "vectors": vectors[1:2]}
        client.predict(server.grpc_address, "items", "upsert", inputs)
        version, found = recalled(server)
        assert version == 1
        assert {"by http", "by grpc"} <= found
        assert waiting(server) == {1: 0, 2: 2}
        may_fail.set()
        wait_for(lambda: waiting(server) == {1: 0})
        assert {"by http", "by grpc"} <= recalled(server)[1]


def test_changes_of_another_server_wait_for_the_item_tower(releases, serving_dir, monkeypatch):
    """Two servers share a folder; the towers of one are elsewhere, and restart."""
    monkeypatch.setattr(live_items, "CATCH_UP_RETRY_S", 0.1)

    def num_items(server):
        return http(server, "/items")[1]["versions"][0]["num_items"]

    towers = start(releases[1])
    towers.start()
    address = towers.grpc_address
    with start(serving_dir) as writer, start(serving_dir, tf_serving_address=address) as reader:
        towers.stop()
        http(writer, "/items:upsert", {"items": [{"id": "new", "categories": ["red"]}]})
        http(writer, "/items:delete", {"ids": ["i4", "i9"]})
        wait_for(lambda: num_items(reader) == NUM_ITEMS - 2)
        with RecallServer(releases[1], grpc_port=towers.grpc_port, http_port=0):
            wait_for(lambda: num_items(reader) == NUM_ITEMS - 2 + 1)
            assert recalled(reader) == recalled(writer)


def test_changes_need_the_token_at_both_doors(serving_dir, tmp_path):
    delete = ("/items:delete", {"ids": ["i1"]})
    upsert = ("/items:upsert", {"items": [{"id": "i1"}]})
    with start(serving_dir, admin_token=TOKEN) as server:
        for path, document in (delete, upsert):
            assert http(server, path, document)[0] == 401
            assert http(server, path, document, "another token of tests")[0] == 403
            # The same model through TF Serving's REST API.
            signature = path.removeprefix("/items:")
            row = {"signature_name": signature, "inputs": {"item_ids": ["i1"]}}
            assert http(server, "/v1/models/items:predict", row)[0] == 401
            unauthenticated = grpc.StatusCode.UNAUTHENTICATED
            assert predict_error(server, signature) == unauthenticated
            denied = grpc.StatusCode.PERMISSION_DENIED
            assert predict_error(server, signature, "another token of tests") == denied
        assert http(server, "/items")[1]["sequence"] == 0  # To look is free; nothing changed.
        assert "i1" in recalled(server)[1]
        assert http(server, *delete, TOKEN) == (
            200,
            {"sequence": 1, "num_items": NUM_ITEMS - 1, "num_changed": 1},
        )
        token_file = tmp_path / "token"
        token_file.write_text(TOKEN + "\n")
        for address in (server.grpc_address, f"http://{server.http_address}"):
            with pytest.raises(InputError, match="needs the admin token"):
                change_items(address, None, ["i2"])
            change_items(address, None, ["i2"], token_file=str(token_file))
        assert not {"i1", "i2"} & recalled(server)[1]


def test_batches_over_http_are_counted_by_user(serving_dir):
    histories = [["i1"], [], ["i2", "i3"]]
    with start(serving_dir) as server:
        requests = [{"history": history} for history in histories]
        status, document = http(server, "/recall", {"requests": requests})
        assert status == 200
        assert [r["is_fallback"] for r in document["responses"]] == [False, True, False]
        with urllib.request.urlopen(
            f"http://{server.http_address}/monitoring/prometheus/metrics", timeout=30
        ) as answer:
            page = answer.read().decode()
    assert 'recall_answers_total{kind="personal"} 2.0' in page
    assert 'recall_answers_total{kind="fallback"} 1.0' in page


@pytest.fixture(scope="module")
def kept_shards(shard_releases):
    """Addresses of both, for what changes nothing."""
    with (
        start(shard_releases / "0", admin_token=TOKEN) as one,
        start(shard_releases / "1", admin_token=TOKEN) as other,
    ):
        yield (one.grpc_address, other.grpc_address)


class TestFront:
    """Two shards with a token, and a front that knows it."""

    @pytest.fixture
    def shards(self, shard_releases, tmp_path):
        """To be changed."""
        for number in range(2):
            shutil.copytree(shard_releases / str(number), tmp_path / str(number))
        with (
            start(tmp_path / "0", admin_token=TOKEN) as one,
            start(tmp_path / "1", admin_token=TOKEN) as other,
        ):
            yield (one.grpc_address, other.grpc_address)

    @pytest.fixture
    def front(self, shard_releases):
        return functools.partial(start, shard_releases / "0")

    def test_the_token_is_passed_on(self, shards, front):
        with front(shards=shards, admin_token=TOKEN) as server:
            document = {"ids": [f"i{n}" for n in range(10)]}  # Some live in each shard.
            assert http(server, "/items:delete", document)[0] == 401
            assert http(server, "/items:delete", document, TOKEN)[0] == 200
            kept = {f"i{n}" for n in range(10, NUM_ITEMS)}
            assert recalled(server, ("i11",))[1] == kept
            assert http(server, "/items")[1]["num_deleted"] == 10

    def test_items_are_counted_when_every_shard_is_asked(self, shards, front, tmp_path):
        token_file = tmp_path / "token"
        token_file.write_text(TOKEN)
        with front(shards=shards, admin_token=TOKEN) as server:
            for item_id in ("i0", "i1"):  # Each lives in one shard.
                texts = [
                    change_items(address, None, [item_id], token_file=str(token_file))
                    for address in (server.grpc_address, f"http://{server.http_address}")
                ]
                assert texts[0] == "0 items upserted, 1 deleted."
                assert texts[1].startswith("0 items upserted, 0 deleted (1 id was no item of")
            ids = [f"i{number}" for number in range(2, 10)]
            text = change_items(server.grpc_address, None, ids, token_file=str(token_file))
            expected = f"8 deleted; the server now has {NUM_ITEMS - 10} items."
            assert text == f"0 items upserted, {expected}"

    def test_an_empty_field_means_the_same_as_without_a_front(self, shards, front, serving_dir):
        green = {"history": ["i0"], "categories": ["green"], "k": 100}
        with (
            start(serving_dir, admin_token=TOKEN) as one,
            front(shards=shards, admin_token=TOKEN) as over_shards,
        ):
            for server in (one, over_shards):
                kept = {"items": [{"id": "i1", "categories": [], "title": ""}]}
                assert http(server, "/items:upsert", kept, TOKEN)[0] == 200
                found = {item["item_id"] for item in http(server, "/recall", green)[1]["items"]}
                # As released: of three colours, the second.
                assert found == {f"i{number}" for number in range(1, NUM_ITEMS, 3)}
                for vector in ([], [float("nan")] * 8):
                    refused = {"items": [{"id": "i1", "vector": vector}]}
                    status, document = http(server, "/items:upsert", refused, TOKEN)
                    assert status == 400
                    assert "has no number. Leave it out" in document["error"]

    def test_without_the_token_the_shards_refuse(self, kept_shards, front):
        with front(shards=kept_shards) as server:
            status, document = http(server, "/items:delete", {"ids": ["i1"]})
            assert status == 401
            assert "needs the admin token" in document["error"]

    def test_a_refusal_is_shown_as_the_server_says_it(self, kept_shards, front):
        request = RecallRequest(("i1",), merge="quota")
        with front(shards=kept_shards) as server:
            for address in (server.grpc_address, f"http://{server.http_address}"):
                with pytest.raises(InputError, match="refused the request: Over shards, `merge`"):
                    client.query(address, request)

    def test_another_server_is_no_recall_server(self):
        server = grpc.server(futures.ThreadPoolExecutor(1))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        with pytest.raises(InputError, match="No recall server answers at"):
            client.query(f"127.0.0.1:{port}", RecallRequest(("i1",)))
        server.stop(0).wait()

    def test_no_shard_at_the_start(self, front):
        with pytest.raises(InputError, match=r"No shard answers: .* Start their servers first"):
            front(shards=("127.0.0.1:9", "127.0.0.1:10")).start()

    def test_shards_of_another_release(self, kept_shards, releases):
        with pytest.raises(InputError, match="Start their servers first, with this release"):
            start(releases[2], shards=kept_shards).start()


def test_vectors_of_new_items_are_those_of_the_version_that_serves(releases, serving_dir, tmp_path):
    """The same new item has another vector, and other scores, in another space."""
    item = {"items": [{"id": "new", "categories": ["red"]}]}

    def score(server):
        query = {"similar_to": ["new"], "allow": ["i5"], "k": 1}
        status, document = http(server, "/recall", query)
        assert status == 200
        return document["index_version"], document["items"][0]["score"]

    with start(serving_dir, poll_s=POLL_S) as server:
        http(server, "/items:upsert", item)
        before = score(server)
        publish(releases[2], serving_dir, 2)
        wait_for(lambda: score(server)[0] == 2)
        after = score(server)
    with start(shutil.copytree(releases[2], tmp_path / "alone")) as alone:
        http(alone, "/items:upsert", item)
        np.testing.assert_allclose(score(alone)[1], after[1], rtol=1e-6)
    assert before[0] == 1
    assert abs(before[1] - after[1]) > 1e-3
