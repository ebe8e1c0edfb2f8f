"""Client and AsyncClient: what both ask, what is sent again, and how they end."""

import array
import asyncio
import contextlib
import http.server
import inspect
import json
import subprocess
import sys
import threading
import time
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
import pytest
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from recall.errors import InputError
from serving.api.async_client import AsyncClient
from serving.api.caller import RequestFields
from serving.api.client import Client
from serving.api.client_errors import CallError
from serving.api.item_changes import ItemUpsert
from serving.api.recall_request import REQUEST_FIELDS
from serving.network.retries import RetryPolicy
from serving.protocol.status import Code
from serving.server import RecallServer

ROOT = Path(__file__).parents[3]
ANSWER = {
    "items": [{"item_id": "a", "score": 0.5, "interest": 1}],
    "is_fallback": False,
    "num_known": 1,
    "num_unknown": 0,
    "model_version": 3,
    "index_version": 3,
    "degraded": False,
    "coverage": 1.0,
}
QUICK = RetryPolicy(first_wait_s=0.01)


@pytest.fixture(params=["grpc", "http"])
def address(request, recall_server):
    """Either door of the same server."""
    if request.param == "grpc":
        return recall_server.grpc_address
    return f"http://{recall_server.http_address}"


async def _all_calls(client):
    """Every call that changes nothing, of a client whose methods may be coroutines."""

    async def result(call):
        return await call if asyncio.iscoroutine(call) else call

    return {
        "recommend": await result(client.recommend(["i3", "zebra", "i7"], k=6, exclude=["i0"])),
        "similar": await result(client.similar_items(["i3"], k=4, with_metadata=True)),
        "vectors": await result(client.user_vectors([["i3", "i7"], ["i9"], ["zebra"]])),
        "predict": await result(client.predict("item_tower", {"item_ids": ["i3", "zebra"]})),
        "search": await result(client.search_items("i3", k=2)),
        "versions": await result(client.model_versions()),
        "metadata": await result(client.model_metadata("user_tower")),
    }


def _ask_with(kind, address):
    if kind == "threads":
        with Client(address) as client:
            return asyncio.run(_all_calls(client))

    async def ask():
        async with AsyncClient(address) as client:
            return await _all_calls(client)

    return asyncio.run(ask())


@pytest.mark.parametrize("kind", ["threads", "coroutines"])
def test_every_call_through_both_doors(kind, address, catalogue):
    found = _ask_with(kind, address)
    answer = found["recommend"]
    expected = catalogue.expected(["i3", "i7"], 6, removed=["i3", "i7", "i0"])
    assert [(item.item_id, item.interest) for item in answer.items] == expected
    assert (answer.num_known, answer.num_unknown) == (2, 1)
    # i3 is like whatever has the largest inner product with it.
    order = np.argsort(-(catalogue.item_vectors @ catalogue.item_vectors[3]))
    ids = [item.item_id for item in found["similar"].items]
    assert ids == [f"i{row}" for row in order if row != 3][:4]
    assert found["similar"].metadata.categories == tuple((f"by{int(i[1:]) % 4}",) for i in ids)
    vectors = found["vectors"]
    np.testing.assert_allclose(
        vectors.user_vectors[:2],
        [catalogue.user_vectors(["i3", "i7"]), catalogue.user_vectors(["i9"])],
        rtol=1e-6,
    )
    assert vectors.interest_weights == [[0.5, 0.5]] * 3
    assert vectors.num_known == [2, 1, 0]
    assert vectors.num_unknown == [0, 0, 1]
    outputs = found["predict"]
    assert outputs["is_known"] == [True, False]
    np.testing.assert_allclose(outputs["item_vectors"][0], catalogue.item_vectors[3], rtol=1e-6)
    assert outputs["fingerprint"] == [vectors.fingerprint.encode()] * 2
    # An id that is the query comes first, then ids that begin with it, popular ones first.
    assert [(i.item_id, i.categories, i.num_clicks, i.is_served) for i in found["search"]] == [
        ("i3", ("by3",), 37, True),
        ("i30", ("by2",), 10, True),
    ]
    assert [(v.version, v.state, v.error) for v in found["versions"]] == [(3, "AVAILABLE", "")]
    signature = found["metadata"]["serving_default"]
    assert signature["inputs"]["history_item_ids"]["dtype"] == "DT_STRING"
    shape = signature["outputs"]["user_vectors"]["tensor_shape"]
    assert [dim["size"] for dim in shape["dim"]] == ["-1", "2", "4"]


FORMS = {
    "lists": list,
    "tuples": lambda rows: tuple(map(tuple, rows)),
    "float32": lambda rows: np.array(rows, np.float32),
    "float64": np.array,
    "rows of NumPy": lambda rows: list(np.array(rows, np.float32)),
    "rows of array": lambda rows: [array.array("f", row) for row in rows],
}


@pytest.mark.parametrize("form", FORMS)
def test_vectors_are_taken_in_any_form(address, form):
    with Client(address) as client:
        vectors = client.user_vectors([["i3", "i7"]]).user_vectors[0]
        expected = client.recommend(["i3", "i7"], k=5, include_seen=True)
        answer = client.recommend(user_vectors=FORMS[form](vectors), k=5)
    assert answer.item_ids == expected.item_ids
    assert answer.scores == pytest.approx(expected.scores)


def test_both_doors_give_equal_values(recall_server):
    """float32, as Python floats with all their digits, although JSON has the shortest text."""
    answers = []
    for address in (recall_server.grpc_address, f"http://{recall_server.http_address}"):
        with Client(address) as client:
            vectors = client.user_vectors([["i3", "i7"], ["i9"]])
            found = client.recommend(["i3", "i7"], k=3)
            answers.append((vectors, found.item_ids, found.scores, found.interests))
            numbers = np.array(vectors.user_vectors)
            assert numbers.shape == (2, 2, 4)
            np.testing.assert_array_equal(numbers, numbers.astype(np.float32))
    assert answers[0] == answers[1]
    assert {type(value) for column in answers[0][1:] for value in column} == {str, float, int}


def test_predict_keeps_the_types_of_arrays_and_any_bytes(address):
    with Client(address) as client:
        for k in (array.array("i", [2]), np.array(2, np.int32)):
            outputs = client.predict("recall", {"history_item_ids": [["i3"]], "k": k})
            assert len(outputs["item_ids"][0]) == 2
        known = client.predict("item_tower", {"item_ids": [b"i3", b"\xff"]})["is_known"]
        assert known == [True, False]
        if "//" not in address:
            with pytest.raises(CallError, match="to be int32 but int64 is provided: input k"):
                client.predict("recall", {"history_item_ids": [["i3"]], "k": 2})


def test_many_coroutines_and_threads_share_connections(address, recall_server, catalogue):
    expected = {row: catalogue.expected([f"i{row}"], 5, removed=[f"i{row}"]) for row in range(40)}

    async def ask():
        async with AsyncClient(address, max_connections=4, timeout_s=60) as client:
            asked = (client.recommend([f"i{row}"], k=5) for row in range(40))
            return await asyncio.gather(*asked)

    with Client(address, max_connections=4, timeout_s=60) as client:
        pool = futures.ThreadPoolExecutor(8)
        of_threads = list(pool.map(lambda row: client.recommend([f"i{row}"], k=5), range(40)))
    for answers in (asyncio.run(ask()), of_threads):
        for row, answer in enumerate(answers):
            assert [(i.item_id, i.interest) for i in answer.items] == expected[row]


def test_changes_of_items(release_folder, tmp_path, catalogue):
    token = tmp_path / "token"
    token.write_text("a-token-of-24-characters")
    options = {"grpc_port": 0, "http_port": 0, "admin_token_file": token}
    with RecallServer(release_folder.path, **options) as server:
        for number, address in enumerate((server.grpc_address, f"http://{server.http_address}")):
            new = ItemUpsert(f"n{number}", ("by1",), "New", catalogue.item_vectors[5])
            with Client(address, token="a-token-of-24-characters") as client:
                assert client.upsert_items([new]).num_changed == 1
                (found,) = client.similar_items([f"n{number}"], k=1, with_metadata=True).items
                assert found.item_id in ("i5", "n0")
                assert client.delete_items([f"n{number}"]).num_changed == 1
            with Client(address, token="another-token-of-29-characters") as client:
                with pytest.raises(CallError, match="not the server's") as caught:
                    client.delete_items(["i1"])
                assert caught.value.code in (Code.PERMISSION_DENIED, Code.UNAUTHENTICATED)


# ---- what is sent again ------------------------------------------------------


@contextlib.contextmanager
def http_server(*answers):
    """A server that gives these answers, the last one for ever; its address and requests."""
    seen, left = [], list(answers)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append((time.monotonic(), json.loads(body)))
            status, headers, document = left.pop(0) if len(left) > 1 else left[0]
            if status is None:  # Hangs up.
                self.close_connection = True
                return
            text = json.dumps(document).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": len(text)}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def recommend(kind, address, **options):
    if kind == "threads":
        with Client(address, **options) as client:
            return client.recommend(["a"])

    async def ask():
        async with AsyncClient(address, **options) as client:
            return await client.recommend(["a"])

    return asyncio.run(ask())


FULL = (429, {"Retry-After": "0"}, {"error": "full"})
HUNG_UP = (None, {}, {})
FINE = (200, {}, ANSWER)
KINDS = pytest.mark.parametrize("kind", ["threads", "coroutines"])


@KINDS
@pytest.mark.parametrize("failures", [[FULL, FULL], [HUNG_UP], [(503, {}, {"error": "starts"})]])
def test_a_call_is_sent_again_where_the_server_is_full_starts_or_hangs_up(kind, failures):
    with http_server(*failures, FINE) as (address, seen):
        answer = recommend(kind, address, retries=QUICK)
    assert [item.item_id for item in answer.items] == ["a"]
    assert len(seen) == len(failures) + 1
    times = [document["timeout_ms"] for _, document in seen]
    assert times == sorted(times, reverse=True)  # The attempts share the call's time.
    assert times[0] <= 10_000


@KINDS
def test_what_is_wrong_is_not_sent_again(kind):
    with http_server((400, {}, {"error": "`k` is wrong"})) as (address, seen):
        with pytest.raises(CallError, match="refused the request: `k` is wrong") as caught:
            recommend(kind, address, retries=QUICK)
        assert caught.value.code is Code.INVALID_ARGUMENT
    assert len(seen) == 1


@KINDS
def test_attempts_have_an_end(kind):
    with http_server(FULL) as (address, seen):
        with pytest.raises(CallError, match="full") as caught:
            recommend(kind, address, retries=QUICK)
        assert caught.value.code is Code.RESOURCE_EXHAUSTED
    assert len(seen) == 3


def test_retry_after_is_waited_for_and_bounded():
    with http_server((429, {"Retry-After": "1"}, {"error": "full"}), FINE) as (address, seen):
        recommend("threads", address, retries=QUICK)
    assert 1.0 <= seen[1][0] - seen[0][0] < 1.5
    late = (429, {"Retry-After": "60"}, {"error": "full"})
    with http_server(late, FINE) as (address, seen), pytest.raises(CallError) as caught:
        recommend("threads", address, retries=QUICK)
    assert (caught.value.retry_after_s, len(seen)) == (60.0, 1)


def test_changes_are_sent_once():
    with http_server(FULL) as (address, seen), Client(address, retries=QUICK) as client:
        with pytest.raises(CallError):
            client.delete_items(["a"])
        assert len(seen) == 1


def test_a_budget_bounds_what_many_failing_calls_send_again():
    policy = QUICK._replace(budget=4.0)
    with http_server(FULL) as (address, seen), Client(address, retries=policy) as client:
        for _ in range(20):
            with pytest.raises(CallError):
                client.recommend(["a"])
    assert len(seen) == 24


@KINDS
def test_grpc_calls_are_sent_again_too(kind):
    codes = [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED]
    asked = []

    class Failing(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request, context):
            asked.append(request.model_spec.name)
            if len(asked) <= len(codes):
                context.abort(codes[len(asked) - 1], "not now")
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the third")

    server = grpc.server(futures.ThreadPoolExecutor(2))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Failing(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with pytest.raises(CallError, match="the third"):
            recommend(kind, f"127.0.0.1:{port}", retries=QUICK)
    finally:
        server.stop(0).wait()
    assert asked == ["recall"] * 3


@pytest.mark.parametrize("values", [None, [b"a", b"b"]], ids=["nothing", "more than its shape"])
def test_an_answer_that_is_another_model_s_is_said_so(values):
    class Other(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request, context):
            answer = predict_pb2.PredictResponse()
            if values:
                answer.outputs["item_ids"].dtype = types_pb2.DT_STRING
                answer.outputs["item_ids"].string_val.extend(values)
            return answer

    server = grpc.server(futures.ThreadPoolExecutor(1))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Other(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with pytest.raises(CallError, match="what answers is no recall server"):
            recommend("threads", f"127.0.0.1:{port}")
    finally:
        server.stop(0).wait()


# ---- time and connections ----------------------------------------------------


@KINDS
def test_no_answer_in_time(kind):
    class Slow(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            time.sleep(0.6)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with pytest.raises(CallError, match=r"did not answer within 0\.2 s") as caught:
            recommend(kind, f"http://127.0.0.1:{server.server_port}", timeout_s=0.2)
        assert caught.value.code is Code.DEADLINE_EXCEEDED
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_an_answer_that_comes_drop_by_drop_is_given_up():
    class Dripping(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            with contextlib.suppress(OSError):
                for _ in range(100):
                    self.wfile.write(b" ")
                    time.sleep(0.05)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Dripping)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        started_s = time.monotonic()
        with pytest.raises(CallError, match="did not answer within"):
            recommend("threads", f"http://127.0.0.1:{server.server_port}", timeout_s=0.3)
        assert time.monotonic() - started_s < 2
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_closed_client_connects_again(address):
    client = Client(address)
    first = client.recommend(["i3"], k=2)
    client.close()
    client.close()
    again = client.recommend(["i3"], k=2)
    client.close()
    assert first.item_ids == again.item_ids


# ---- words -------------------------------------------------------------------


def test_clients_take_every_field_of_a_request():
    named = {"history", "k", "user_vectors", "similar_to"}
    assert set(RequestFields.__annotations__) | named == {f.name for f in REQUEST_FIELDS}


def test_the_client_of_coroutines_has_the_methods_of_the_other():
    public = [{n for n in vars(kind) if not n.startswith("_")} for kind in (Client, AsyncClient)]
    assert public[0] == public[1]
    for name in public[0]:
        of_threads, of_coroutines = getattr(Client, name), getattr(AsyncClient, name)
        assert asyncio.iscoroutinefunction(of_coroutines)
        parameters = [inspect.signature(f).parameters for f in (of_threads, of_coroutines)]
        assert list(parameters[0].values()) == list(parameters[1].values())


# ---- mistakes ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Client("nowhere"), r"'nowhere' is no host:port"),
        (lambda: Client("ftp://x:1/"), "no host:port"),
        (
            lambda: Client("x:1", tls_certificate="a.pem"),
            "A client certificate needs tls_server_ca",
        ),
        (lambda: Client("http://x:1", tls_server_ca="a.pem"), "tls_server_ca encrypts nothing"),
        (
            lambda: Client("x:1", tls_server_ca="missing.pem"),
            "Cannot use tls_server_ca=missing.pem",
        ),
        (lambda: Client().recommend(["a"], colour="red"), "has no `colour`. It may have: exclude"),
        (lambda: Client().recommend("12,57"), "a list of item ids, not one text"),
        (lambda: Client().recommend(["a"], k="5"), "`k` must be a whole number, received '5'"),
        (lambda: Client().recommend(["a"], k=2.5), "`k` must be a whole number, received 2.5"),
        (
            lambda: Client().recommend(["a"], categories="Shoes"),
            "`categories` must be a list of texts",
        ),
        (lambda: Client().recommend(["a"], merge=1), "`merge` must be a text, received 1"),
        (lambda: Client().recommend(["a"], exact="no"), "`exact` must be True or False"),
        (lambda: Client().recommend(["a"], interest_weights=2), "must be a list of numbers"),
        (lambda: Client().recommend(["a"], interest_weights=["2"]), "must be a list of numbers"),
        (lambda: Client().recommend(["a"], diversity_weight="1"), "must be a number"),
        (
            lambda: Client().recommend(user_vectors=[0.5, 1.0]),
            r"must be rows of numbers, `\[num_interests, dim\]`, received \[0\.5, 1\.0\]",
        ),
        (lambda: Client().recommend(user_vectors=[["a"]]), "must be rows of numbers"),
        (lambda: Client().predict("m", {"x": {1, 2}}), "`x` must be numbers, texts or booleans"),
        (lambda: Client().upsert_items([ItemUpsert("a", vector=5)]), "`vector` must be a list of"),
        (lambda: Client().recommend(["a"], k=2**31), "`k` is too large, received 2147483648"),
        (lambda: Client().recommend(["\ud800"]), "`history` has a text that is not valid Unicode"),
        (lambda: Client(None), "`server` must be a text, received None"),
        (lambda: Client(""), "'' is no host:port"),
        (lambda: Client("host:99999"), "'host:99999' is no host:port"),
        (lambda: Client(retries=5), "`retries` must be of the type RetryPolicy, received 5"),
        (lambda: Client(retries=RetryPolicy(0)), "`max_attempts` must be at least 1, received 0"),
        (lambda: Client(retries=RetryPolicy("2")), "`max_attempts` must be a whole number"),
        (lambda: Client(retries=RetryPolicy(budget=-1)), "`budget` must be >= 0, received -1"),
        (lambda: Client(token=5), r"`token` must be of the type str \| None, received 5"),
        (lambda: Client(tls=5), "`tls` must be of the type ClientTls, received 5"),
        (lambda: Client(tls_server_ca=5), "Cannot use tls_server_ca=5"),
        (lambda: Client(max_connections=0), "`max_connections` must be at least 1, received 0"),
        (lambda: Client(max_connections="9"), "`max_connections` must be a whole number"),
        (lambda: Client().ask(None), "`request` must be a RecallRequest, received None"),
        (
            lambda: Client().recommend([None]),
            r"`history` must be a list of texts, received \[None\]",
        ),
        (lambda: Client().recommend([1.5]), "`history` must be a list of texts"),
        (lambda: Client().recommend([b"\xff"]), "`history` must be a list of texts"),
        (lambda: Client().recommend(user_vectors="x"), "`user_vectors` must be rows of numbers"),
        (lambda: Client().recommend(user_vectors=np.ones((2, 2, 2))), "must be rows of numbers"),
        (lambda: Client().recommend(user_vectors=[[1], [1, 2]]), "must be rows of numbers"),
        (lambda: Client().user_vectors(None), "Give a list of histories"),
        (lambda: Client().user_vectors([5]), "`history` must be a list of texts, received 5"),
        (lambda: Client().predict(None, {}), "`model_name` must be a text, received None"),
        (lambda: Client().predict("m", None), "`inputs` must be values by their names"),
        (lambda: Client().predict("m", {"x": {}}), "`x` must be numbers, texts or booleans in"),
        (lambda: Client().predict("m", {"x": [[1], [1, 2]]}), "The rows of `x` differ in length"),
        (lambda: Client().model_versions(None), "`model_name` must be a text"),
        (lambda: Client().model_metadata(5), "`model_name` must be a text"),
        (
            lambda: Client().upsert_items(None),
            "`items` must be a list of ItemUpsert, received None",
        ),
        (lambda: Client().upsert_items([{"id": "a"}]), "received {'id': 'a'} among them"),
        (lambda: Client().upsert_items([ItemUpsert(5)]), "`item_id` must be a text, received 5"),
        (
            lambda: Client().upsert_items([ItemUpsert("a", categories="red")]),
            "`categories` must be a list of texts, received 'red'",
        ),
        (
            lambda: Client().upsert_items([ItemUpsert("a", vector=["x"])]),
            "`vector` must be a list of numbers",
        ),
        (lambda: Client(timeout_s=-1), "`timeout_s` must be a number > 0, received -1"),
        (lambda: Client().recommend(["a"], timeout_s="1"), "`timeout_s` must be a number"),
        (lambda: Client().user_vectors([]), "Give a list of histories"),
        (lambda: Client().user_vectors(["12"]), "Give a list of histories"),
        (lambda: Client().search_items(5), "`query` must be a text, received 5"),
        (lambda: Client().delete_items("ab"), "`item_ids` must be a list of texts, received 'ab'"),
        (lambda: Client().delete_items([]), "There is no item. Give at least one"),
        (lambda: Client().upsert_items([]), "There is no item. Give at least one"),
        (lambda: Client().recommend(["a"], timeout_s=0), "`timeout_s` must be a number > 0"),
    ],
)
def test_a_mistake_is_one_line(make, text):
    with pytest.raises(InputError, match=text) as caught:
        make()
    assert "\n" not in str(caught.value)
    assert "--" not in str(caught.value)


def test_a_query_imports_nothing_heavy(address):
    program = f"""
import sys, recall
with recall.Client({address!r}) as client:
    assert client.recommend(["i3"], k=3, with_metadata=True).items
    vectors = client.user_vectors([["i3"]]).user_vectors[0]
    assert client.recommend(user_vectors=vectors, k=3, with_interests=True).items
    assert client.similar_items(["i3"], k=3).scores and client.search_items("i3")
    assert client.predict("item_tower", {{"item_ids": ["i3"]}})["is_known"] == [True]
    client.model_versions(), client.model_metadata()
heavy = ("numpy", "tensorflow", "tf_keras", "keras", "apache_beam", "scann", "pyarrow", "pandas",
         "tensorflow_serving", "uvicorn", "uvloop", "ml_dtypes", "requests")
print([name for name in heavy if name in sys.modules])
print([name for name in sys.modules if name.startswith(("pipelines", "serving.http_door"))])
"""
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.stdout.splitlines() == ["[]", "[]"], result.stderr
