"""Live items through the doors of a real server, with real towers that know categories."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.protocol import tensors
from serving.server import RecallServer
from tests.serving.category_release import NUM_ITEMS, write_release
from tests.serving.http_calls import get, post
from tests.waiting import wait_for

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def release_and_colours(tmp_path_factory):
    """A release of version 1, not to be changed, and the directions of its categories."""
    folder = tmp_path_factory.mktemp("release")
    return folder, write_release(folder, 1)


@pytest.fixture
def serving_dir(release_and_colours, tmp_path):
    return shutil.copytree(release_and_colours[0], tmp_path / "serving")


@pytest.fixture
def server(serving_dir):
    with RecallServer(serving_dir, grpc_port=0, http_port=0) as server:
        yield server


@pytest.fixture(scope="module")
def idle_server(release_and_colours):
    """For requests that change nothing."""
    with RecallServer(release_and_colours[0], grpc_port=0, http_port=0) as server:
        yield server


def predict(address, model, signature, **inputs):
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = model, signature
    for name, value in inputs.items():
        tensors.fill_proto(request.inputs[name], value)
    with grpc.insecure_channel(address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        answer = stub.Predict(request, timeout=30)
    return {name: tensors.to_numpy(proto, name) for name, proto in answer.outputs.items()}


def strings(*values):
    return np.array([value.encode() for value in values], dtype=object)


def recalled(server, **request):
    answer = post(server, "/recall", {"history": ["i0", "i1"], "k": 500, **request})
    return {item["item_id"]: item["score"] for item in answer["items"]}


def test_over_http(server):
    assert post(server, "/items:delete", {"ids": ["i5", "i7"]}) == {
        "sequence": 1,
        "num_items": 58,
        "num_changed": 2,
    }
    item = {"id": "new", "categories": ["red"], "title": "Red shoe"}
    assert post(server, "/items:upsert", {"items": [item]}) == {
        "sequence": 2,
        "num_items": 59,
        "num_changed": 1,
    }
    found = recalled(server)
    assert not {"i5", "i7"} & set(found)
    assert "new" in found
    assert "new" in recalled(server, categories=["red"])
    assert "new" not in recalled(server, categories=["green"])
    status = get(server, "/items")
    assert (status["num_upserted"], status["num_deleted"]) == (1, 2)
    assert status["versions"][0]["num_items"] == 59


def test_titles_and_categories(server):
    """Of the release, of upserts that say all or a part, and of popular items; no deleted ones."""
    new = {"id": "new", "categories": ["red", "a|b"], "title": 'Hüt "1"'}
    post(server, "/items:upsert", {"items": [new, {"id": "i4", "title": "Renamed"}]})
    post(server, "/items:upsert", {"items": [{"id": "i6", "categories": ["red", "green"]}]})
    post(server, "/items:delete", {"ids": ["i8"]})
    expected = {f"i{n}": (f"Item {n}", [("blue", "green", "red")[n % 3]]) for n in range(60)}
    expected |= {"new": ('Hüt "1"', ["red", "a|b"]), "i0": ("", ["blue"])}
    expected |= {"i4": ("Renamed", ["green"]), "i6": ("Item 6", ["red", "green"])}
    del expected["i8"]
    seen = {"k": 500, "include_seen": True, "with_metadata": True}
    for fields in ({}, {"exact": True}, {"max_per_category": 90}):
        answer = post(server, "/recall", {"history": ["i0", "i1"], **seen, **fields})
        found = {i["item_id"]: (i["title"], i["categories"]) for i in answer["items"]}
        assert found == expected
    popular = post(server, "/recall", {"history": [], "k": 7, "with_metadata": True})
    assert [(i["item_id"], i["title"], i["categories"]) for i in popular["items"][3:7]] == [
        ("i3", "Item 3", ["blue"]),
        ("i4", "Renamed", ["green"]),
        ("i5", "Item 5", ["red"]),
        ("i6", "Item 6", ["red", "green"]),
    ]
    outputs = predict(
        server.grpc_address,
        "recall",
        "similar_items",
        similar_to_item_ids=strings("new").reshape(1, 1),
        k=np.array(500, np.int32),
        with_metadata=np.array([[True]]),
    )
    columns = (outputs[name][0].tolist() for name in ("item_ids", "titles", "categories"))
    found = {
        item_id.decode(): (title.decode(), [name.decode() for name in names if name])
        for item_id, title, names in zip(*columns, strict=True)
        if item_id
    }
    del expected["new"]
    assert found == expected
    plain = post(server, "/recall", {"history": ["i0"], "k": 1})
    assert plain["items"][0].keys() == {"item_id", "score", "interest"}


def test_over_grpc(server):
    answer = predict(
        server.grpc_address,
        "items",
        "upsert",
        item_ids=strings("n1", "n2"),
        categories=tensors.pad_strings([["red", "blue"], ["green"]]),
        titles=strings("One", "Two"),
    )
    assert {name: int(value) for name, value in answer.items()} == {
        "sequence": 1,
        "num_items": 62,
        "num_changed": 2,
    }
    vectors = np.eye(8, dtype=np.float32)[:1]
    predict(server.grpc_address, "items", "upsert", item_ids=strings("n3"), vectors=vectors)
    predict(server.grpc_address, "items", "delete", item_ids=strings("i0", "n2"))
    status = predict(server.grpc_address, "items", "status")
    expected = {"sequence": 3, "num_upserted": 2, "num_deleted": 2}
    assert {name: int(value) for name, value in status.items()} == expected
    answer = predict(
        server.grpc_address,
        "recall",
        "user_vectors",
        user_vectors=vectors[np.newaxis],
        k=np.int32(1),
    )
    assert answer["item_ids"].tolist() == [[b"n3"]]
    assert answer["scores"][0, 0] == pytest.approx(1)


def test_over_the_rest_api_of_tf_serving(server):
    def ask(signature, **body):
        document = {"signature_name": signature, **body}
        return post(server, "/v1/models/items:predict", document)["outputs"]

    item = {"item_ids": ["new"], "categories": [["red"]]}
    assert ask("upsert", inputs=item) == {"sequence": 1, "num_items": 61, "num_changed": 1}
    assert ask("delete", inputs=["i0", "i1"]) == {
        "sequence": 2,
        "num_items": 59,
        "num_changed": 2,
    }
    expected = {"sequence": 2, "num_upserted": 1, "num_deleted": 2}
    assert ask("status", inputs={}) == expected


@pytest.mark.parametrize(
    ("signature", "instances", "output"),
    [
        ("upsert", [{"item_ids": "new", "categories": ["red"]}], "num_changed"),
        ("delete", ["i5"], "num_changed"),
        ("status", [{}], "num_deleted"),
    ],
)
def test_row_form_is_refused_before_anything_changes(idle_server, signature, instances, output):
    """The answers are single values, of which no rows can be made."""
    document = {"signature_name": signature, "instances": instances}
    with pytest.raises(urllib.error.HTTPError) as caught:
        post(idle_server, "/v1/models/items:predict", document)
    assert caught.value.code == 400
    error = json.load(caught.value)["error"]
    assert error.startswith(f"Tensor name: {output} has no shape information")
    assert get(idle_server, "/items")["sequence"] == 0


def test_a_signature_that_cannot_be_run_is_refused(idle_server):
    document = {"signature_name": "__saved_model_init_op", "inputs": {}}
    with pytest.raises(urllib.error.HTTPError) as caught:
        post(idle_server, "/v1/models/item_tower:predict", document)
    assert caught.value.code == 400
    assert "not found" in json.load(caught.value)["error"]


def test_a_new_item_scores_by_its_categories(server, release_and_colours):
    red = release_and_colours[1]["red"].reshape(1, 1, 8)
    post(server, "/items:upsert", {"items": [{"id": "new", "categories": ["red"]}]})
    answer = predict(server.grpc_address, "recall", "user_vectors", user_vectors=red, k=np.int32(1))
    # Its vector is the direction of the category itself: nothing is nearer.
    assert answer["item_ids"].tolist() == [[b"new"]]
    assert answer["scores"][0, 0] == pytest.approx(1, abs=1e-5)


def test_changes_survive_a_new_release(serving_dir):
    with RecallServer(serving_dir, grpc_port=0, http_port=0) as server:
        post(server, "/items:delete", {"ids": ["i3"]})
        post(server, "/items:upsert", {"items": [{"id": "new", "categories": ["red"]}]})
        before = recalled(server)
    colours = write_release(serving_dir, 2)
    with RecallServer(serving_dir, grpc_port=0, http_port=0) as server:
        after = recalled(server)
        assert set(after) == set(before)
        answer = predict(
            server.grpc_address,
            "recall",
            "user_vectors",
            user_vectors=colours["red"].reshape(1, 1, 8),
            k=np.int32(1),
        )
        assert answer["item_ids"].tolist() == [[b"new"]]


def test_towers_of_another_server(idle_server, serving_dir):
    """Neither tower is loaded here; new items are placed by the other server's."""
    address = idle_server.grpc_address
    with RecallServer(serving_dir, grpc_port=0, http_port=0, tf_serving_address=address) as server:
        assert set(server.model_server.states()) == {"recall", "items"}
        post(server, "/items:upsert", {"items": [{"id": "new", "categories": ["red"]}]})
        assert "new" in recalled(server)
        with pytest.raises(urllib.error.HTTPError) as caught:
            post(server, "/items:upsert", {"items": [{"id": "other", "categories": ["mauve"]}]})
        assert (
            "knows none of its values. It declares the features categories."
            in json.load(caught.value)["error"]
        )


@pytest.mark.parametrize(
    ("path", "document", "message"),
    [
        ("/items:delete", {}, "`ids` must be a list and the only key"),
        ("/items:delete", {"ids": [7]}, 'must be a string such as "12"'),
        ("/items:upsert", {"items": [7]}, "must be an object"),
        ("/items:upsert", {"items": [{"id": "a", "price": 3}]}, "Unknown key `price`"),
        ("/items:upsert", {"items": [{"categories": []}]}, r"items[0].id"),
        ("/items:upsert", {"items": [{"id": "a", "categories": "red"}]}, "must be a list"),
        ("/items:upsert", {"items": [{"id": "a", "vector": ["x"]}]}, "vector[0]` must be a number"),
        ("/items:upsert", {"items": [{"id": "a", "vector": [10**400]}]}, "[0]` is too large"),
        ("/items:upsert", {"items": [{"id": "a", "vector": [1]}]}, "the model's have [8]"),
        ("/items:upsert", {"items": [{"id": "a", "categories": ["x"]}]}, "No vector for the new"),
    ],
)
def test_refused_over_http(idle_server, path, document, message):
    with pytest.raises(urllib.error.HTTPError) as caught:
        post(idle_server, path, document)
    assert caught.value.code == 400
    assert message in json.load(caught.value)["error"]
    assert get(idle_server, "/items")["sequence"] == 0


def test_refused_over_grpc(idle_server):
    with pytest.raises(grpc.RpcError) as caught:
        predict(
            idle_server.grpc_address,
            "items",
            "upsert",
            item_ids=strings("a", "b"),
            titles=strings("x"),
        )
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "titles has 1 rows, item_ids 2" in caught.value.details()
    bad = np.array([b"\xff"], dtype=object)
    with pytest.raises(grpc.RpcError, match="not valid UTF-8"):
        predict(idle_server.grpc_address, "items", "delete", item_ids=bad)


def test_never_a_deleted_item_and_never_a_wrong_pair(server, monkeypatch):
    """Readers beside a writer and rebuilds: scores are recomputed, deletions are final."""
    monkeypatch.setattr("serving.live.catalogue.MIN_REBUILD_CHANGES", 25)
    monkeypatch.setattr("serving.live.catalogue.REBUILD_SHARE", 0.0)
    vector_of = {}  # The vector of every item that ever was; ids are not used twice.
    deleted: set[str] = set()
    stop, errors, answers = threading.Event(), [], [0]
    query = np.random.default_rng(0).standard_normal((1, 1, 8)).astype(np.float32)

    def read():
        while not stop.is_set():
            gone = set(deleted)  # Acknowledged before the request is sent.
            answer = predict(
                server.grpc_address, "recall", "user_vectors", user_vectors=query, k=np.int32(40)
            )
            pairs = zip(answer["item_ids"][0].tolist(), answer["scores"][0].tolist(), strict=True)
            for item_id, score in ((i.decode(), s) for i, s in pairs if i):
                if item_id in gone:
                    errors.append(f"{item_id} came back")
                if item_id in vector_of and abs(vector_of[item_id] @ query[0, 0] - score) > 1e-5:
                    errors.append(f"{item_id} has the score {score}")
            answers[0] += 1

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    generator = np.random.default_rng(1)
    for step in range(120):
        vector = generator.standard_normal(8)
        vector_of[f"n{step}"] = (vector / np.linalg.norm(vector)).astype(np.float32)
        item = {"id": f"n{step}", "vector": vector.tolist()}
        post(server, "/items:upsert", {"items": [item]})
        if step % 2:
            post(server, "/items:delete", {"ids": [f"n{step - 1}"]})
            deleted.add(f"n{step - 1}")
    stop.set()
    for reader in readers:
        reader.join()
    assert errors == []
    assert answers[0] > 20
    version = get(server, "/items")["versions"][0]
    assert version["num_items"] == NUM_ITEMS + 60
    assert version["num_base"] > NUM_ITEMS  # At least one rebuild took place.


SERVE = "import sys; from serving.server import serve; serve(sys.argv[1], grpc_port=0, http_port=0)"


def start_server(serving_dir):
    """A server process and the address of its gRPC door."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(serving_dir)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    return process, process.stdout.readline().split("grpc=")[1].split()[0]


@pytest.mark.slow
def test_a_killed_server_loses_nothing_it_acknowledged(serving_dir):
    """Three rounds of kill -9 amid upserts and deletes from four threads."""
    present, absent = set(), set()
    for round_number in range(3):
        process, address = start_server(serving_dir)

        def write(worker, round_number=round_number, address=address):
            for step in range(10_000):
                item_id = f"{round_number}-{worker}-{step}"
                try:
                    predict(
                        address,
                        "items",
                        "upsert",
                        item_ids=strings(item_id),
                        categories=tensors.pad_strings([["red"]]),
                    )
                    present.add(item_id)
                    if step % 3 == 0:
                        predict(address, "items", "delete", item_ids=strings(item_id))
                        absent.add(item_id)
                        present.discard(item_id)
                except grpc.RpcError:
                    absent.discard(item_id)  # Not acknowledged: either is right.
                    present.discard(item_id)
                    return

        writers = [threading.Thread(target=write, args=(n,)) for n in range(4)]
        for writer in writers:
            writer.start()
        wait_for(lambda wanted=40 * (round_number + 1): len(present) >= wanted)
        os.kill(process.pid, signal.SIGKILL)
        for writer in writers:
            writer.join()
        process.communicate()
    with RecallServer(serving_dir, grpc_port=0, http_port=0) as server:
        found = set()
        for start in range(0, 10):
            allow = [i for n, i in enumerate(sorted(present | absent)) if n % 10 == start]
            found |= set(recalled(server, allow=allow))
    assert present <= found
    assert not absent & found
