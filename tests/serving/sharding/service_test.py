"""A front over three shard servers answers like one server over all items."""

import copy
import dataclasses
import functools
import re
import shutil
import socket
import time

import numpy as np
import pytest

from recall.errors import InputError
from serving.api import client, recall_tensors
from serving.api.items_tensors import (
    build_delete_inputs,
    build_search,
    parse_found,
    parse_items,
)
from serving.api.recall_request import RecallRequest
from serving.index.shards import Shard, home_of
from serving.protocol.status import Code, ServingError
from serving.servables.remote_model import RemoteModel
from serving.servables.towers import RemoteItemTower, item_vectors
from serving.server import RecallServer
from serving.sharding import service
from serving.sharding.clients import ShardClients
from serving.sharding.vectors import ShardedVectors
from tests.serving.category_release import NUM_ITEMS, write_release
from tests.waiting import wait_for

COUNT = 3


def start(folder, **arguments):
    server = RecallServer(folder, grpc_port=0, http_port=0, **arguments)
    server.start()
    return server


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The release whole, and one folder per shard."""
    folder = tmp_path_factory.mktemp("releases")
    write_release(folder / "whole", 1)
    for number in range(COUNT):
        write_release(folder / str(number), 1, Shard(number, COUNT))
    return folder


@pytest.fixture(scope="module")
def whole(folders):
    server = start(folders / "whole")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def shard_servers(folders):
    servers = [start(folders / str(number)) for number in range(COUNT)]
    yield servers
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def front(folders, shard_servers):
    server = start(folders / "0", shards=[s.grpc_address for s in shard_servers])
    yield server
    server.stop()


def ask(server, request, **arguments):
    return client.query(server.grpc_address, request, **arguments)


VECTORS = np.random.default_rng(1).standard_normal((2, 8)).astype(np.float32)
REQUESTS = {
    "history": RecallRequest(("i0", "i7", "unheard of", "i13"), 10),
    "all items": RecallRequest(("i3",), 500),
    "seen": RecallRequest(("i3", "i4"), 500, include_seen=True),
    "excluded": RecallRequest(("i3",), 12, exclude=("i1", "i2"), deny=("i5",)),
    "allowed": RecallRequest(("i3",), 12, allow=tuple(f"i{n}" for n in range(0, 60, 4))),
    "categories": RecallRequest(("i3",), 9, categories=("red", "blue")),
    "without categories": RecallRequest(("i3",), 500, exclude_categories=("red",)),
    "vectors": RecallRequest(user_vectors=VECTORS, k=7),
    "weights": RecallRequest(user_vectors=VECTORS, k=30, interest_weights=(0.2, 3.0)),
    "one interest": RecallRequest(("i9", "i8"), 20, interest_weights=(0.0, 1.0)),
    "similar": RecallRequest(similar_to=("i5", "nowhere", "i6"), k=11),
    "similar, weighted": RecallRequest(similar_to=("i5", "i6"), k=11, interest_weights=(1.0, 0.5)),
    "new visitor": RecallRequest(k=15),
    "new visitor who excludes": RecallRequest(("unheard of",), 15, exclude=("i0", "i4")),
    "new visitor of a category": RecallRequest(k=15, categories=("green",)),
    "similar to nothing": RecallRequest(similar_to=("nowhere",), k=5),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_equal_to_one_server(whole, front, name):
    request = dataclasses.replace(REQUESTS[name], exact=True)
    expected, found = ask(whole, request), ask(front, request)
    assert found.item_ids == expected.item_ids
    # The last bit of an inner product may depend on the shape of the table, that of its parts too.
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(found.interests, expected.interests)
    assert found.facts() == expected.facts()


@pytest.mark.parametrize("name", ["history", "all items", "similar", "new visitor"])
def test_titles_and_categories_come_from_the_shards(front, name):
    request = dataclasses.replace(REQUESTS[name], with_metadata=True)
    answer, plain = ask(front, request), ask(front, REQUESTS[name])
    assert answer.item_ids == plain.item_ids
    assert plain.metadata is None
    numbers = [int(item_id[1:]) for item_id in answer.item_ids]
    assert len(numbers) > 9
    titles = tuple(f"Item {number}" if number else "" for number in numbers)
    colours = tuple((("blue", "green", "red")[number % 3],) for number in numbers)
    assert answer.metadata == (titles, colours)


@pytest.mark.parametrize("name", ["history", "similar", "new visitor"])
def test_weights_of_the_interests_are_those_of_one_server(whole, front, name):
    request = dataclasses.replace(REQUESTS[name], with_interests=True)
    expected, found = ask(whole, request), ask(front, request)
    assert found.interest_weights == expected.interest_weights
    assert bool(found.interest_weights) == (name == "history")


@pytest.mark.parametrize(
    ("query", "k", "number"),
    # The first item has no title.
    [
        ("item 1", 5, 5),
        ("ITEM", 60, 59),
        ("i7", 3, 1),
        ("i1", 3, 3),
        ("tem", 4, 4),
        ("zebra", 3, 0),
    ],
)
def test_searches_find_what_one_server_finds(whole, front, query, k, number):
    inputs = build_search(query, k)
    expected, found = (
        parse_found(client.predict(server.grpc_address, "items", "search", inputs))
        for server in (whole, front)
    )
    assert found == expected
    assert len(found.items) == number


def test_details_come_from_the_shard_of_the_item(whole, front):
    item_ids = [f"i{number}" for number in (5, 0, 33, 5)] + ["unheard"]
    inputs = build_delete_inputs(item_ids)
    expected, found = (
        parse_items(client.predict(server.grpc_address, "items", "lookup", inputs))
        for server in (whole, front)
    )
    assert found == expected
    assert [(item.item_id, item.is_served) for item in found] == [
        (item_id, item_id != "unheard") for item_id in item_ids
    ]


@pytest.mark.parametrize(
    "fields", [{"merge": "quota"}, {"merge": "diversity"}, {"max_per_category": 2}]
)
def test_what_needs_all_items_in_one_place_is_refused(front, fields):
    with pytest.raises(InputError, match=r"refused the request: Over shards"):
        ask(front, RecallRequest(("i3",), **fields))


@pytest.fixture
def old_shard(shard_servers, monkeypatch):
    """The second shard, with the signatures of a version before titles and categories."""
    servable = shard_servers[1].model_server.find("recall")
    old_signatures = copy.deepcopy(servable.signature_defs)
    for signature in old_signatures.values():
        for fields in (signature.inputs, signature.defaults, signature.outputs):
            for name in ("with_metadata", "titles", "categories"):
                fields.pop(name, None)
    monkeypatch.setattr(servable, "signature_defs", old_signatures)
    return shard_servers[1]


@pytest.mark.parametrize("name", ["history", "vectors", "similar", "new visitor"])
def test_a_shard_that_knows_no_titles_is_named_where_they_are_wanted(front, old_shard, name):
    plain = ask(front, REQUESTS[name])
    assert len(plain.item_ids) == REQUESTS[name].k
    assert not plain.degraded
    said = (
        rf"Shard 1/3 at {re.escape(old_shard.grpc_address)} runs an older version, which does "
        r"not know `with_metadata`\. Update the shards before the front, or ask without\."
    )
    with pytest.raises(InputError, match=said):
        ask(front, dataclasses.replace(REQUESTS[name], with_metadata=True))


def test_a_wrong_request_is_refused_not_degraded(front):
    with pytest.raises(InputError, match="`interest_weights` must be one number for each of 2"):
        ask(front, RecallRequest(("i3",), interest_weights=(1.0,)))
    with pytest.raises(InputError, match=r"`k` must be in \[1, 1000\]"):
        ask(front, RecallRequest(("i3",), k=1001))


def test_changes_go_to_the_shard_of_the_item(folders, tmp_path):
    servers = []
    try:
        for number in range(COUNT):
            shutil.copytree(folders / str(number), tmp_path / str(number))
            servers.append(start(tmp_path / str(number)))
        front = start(tmp_path / "0", shards=[s.grpc_address for s in servers])
        servers.append(front)
        ids = [f"n{number}" for number in range(12)]
        inputs = {
            "item_ids": np.array([i.encode() for i in ids], object),
            "categories": np.array([[b"red"]] * 12, object),
        }
        client.predict(front.grpc_address, "items", "upsert", inputs)
        deleted = {"item_ids": np.array([b"i0", b"i1", b"n3"], object)}
        client.predict(front.grpc_address, "items", "delete", deleted)
        answer = ask(front, RecallRequest(("i5",), 500, include_seen=True))
        found = set(answer.item_ids)
        expected = {f"i{n}" for n in range(2, NUM_ITEMS)} | set(ids) - {"n3"}
        assert found == expected
        assert len(answer.item_ids) == len(expected)
        homes = {item_id: home_of(item_id.encode(), COUNT) for item_id in ids}
        assert set(homes.values()) == {0, 1, 2}
        for number in range(COUNT):
            own = ask(servers[number], RecallRequest(("i5",), 500))
            names = set(own.item_ids)
            assert {i for i in names if i[0] == "n"} == {
                i for i in ids if homes[i] == number and i != "n3"
            }
        wrong = (homes["n0"] + 1) % COUNT
        one = {"item_ids": np.array([b"n0"], object)}
        with pytest.raises(InputError, match=r"Item 'n0' belongs to shard \d/3, this server holds"):
            client.predict(servers[wrong].grpc_address, "items", "delete", one)
    finally:
        for server in reversed(servers):
            server.stop()


UNIT = np.eye(8, dtype=np.float32)
NEW_VECTORS = {"new": UNIT[0], "near": 0.8 * UNIT[0] + 0.6 * UNIT[1], "far": UNIT[1]}
"""Upserted items; the scores of the others with "new" are their first numbers: .8 and 0."""


@pytest.fixture(scope="module")
def changed_front(folders, tmp_path_factory):
    """A front over shards in which i5 was deleted and three items are new."""
    folder = tmp_path_factory.mktemp("changed")
    servers = []
    for number in range(COUNT):
        shutil.copytree(folders / str(number), folder / str(number))
        servers.append(start(folder / str(number)))
    front = start(folder / "0", shards=[s.grpc_address for s in servers])
    upserts = {
        "item_ids": np.array([name.encode() for name in NEW_VECTORS], object),
        "vectors": np.array(list(NEW_VECTORS.values())),
    }
    client.predict(front.grpc_address, "items", "upsert", upserts)
    client.predict(front.grpc_address, "items", "delete", {"item_ids": np.array([b"i5"], object)})
    yield front
    for server in (front, *servers):
        server.stop()


def test_items_like_a_new_one(changed_front):
    answer = ask(changed_front, RecallRequest(similar_to=("new",), allow=tuple(NEW_VECTORS)))
    assert answer.item_ids == ["near", "far"]
    np.testing.assert_allclose(answer.scores, [0.8, 0.0], atol=1e-6)
    assert (answer.num_known, answer.num_unknown) == (1, 0)
    assert not answer.is_fallback


def test_items_like_a_deleted_one(changed_front):
    answer = ask(changed_front, RecallRequest(similar_to=("i5",), k=3))
    assert (answer.num_known, answer.num_unknown) == (0, 1)
    assert answer.is_fallback


def test_weights_go_with_their_items(changed_front):
    """The score of "near" is .8 with "new", and .6 with "far" times 2."""
    request = RecallRequest(
        similar_to=("new", "i5", "far"), allow=("near",), interest_weights=(1.0, 1.0, 2.0)
    )
    answer = ask(changed_front, request)
    np.testing.assert_allclose(answer.scores, [1.2], atol=1e-6)
    assert answer.interests == [2]
    assert (answer.num_known, answer.num_unknown) == (2, 1)


def test_a_category_that_one_shard_knows_is_known(changed_front):
    inputs = {"item_ids": np.array([b"i7"], object), "categories": np.array([[b"odd"]], object)}
    client.predict(changed_front.grpc_address, "items", "upsert", inputs)
    request = RecallRequest(
        ("i3",), categories=("nowhere", "odd"), exclude_categories=("red", "never")
    )
    answer = ask(changed_front, request)
    assert answer.unknown_categories == ("nowhere", "never")
    assert answer.item_ids == ["i7"]


def test_a_shard_that_is_lost_may_know_a_category():
    """So nothing is said to be unknown without its answer."""
    names = np.array([[b"odd", b"red"]], object)
    answers = [{"unknown_categories": names}, {"unknown_categories": names[:, :1]}]
    unknown_to_all = functools.partial(service._unknown_to_all, read=recall_tensors.parse_unknown)
    assert unknown_to_all(answers) == ("odd",)
    assert unknown_to_all([*answers, {}]) == ()
    assert unknown_to_all([*answers, ServingError(Code.UNAVAILABLE, "gone")]) == ()


def test_a_name_that_one_shard_knows_is_known():
    pairs = np.array([[[b"shop", b"nroth"], [b"shop", b"east"]]], object)
    answers = [{"unknown_values": pairs}, {"unknown_values": pairs[:, :1]}]
    read = recall_tensors.parse_unknown_values
    assert service._unknown_to_all(answers, read) == (("shop", "nroth"),)


def test_the_front_gives_the_vectors_of_the_shards(changed_front):
    ids = {"item_ids": np.array([b"far", b"i5", b"new"], object)}
    outputs = client.predict(changed_front.grpc_address, "recall", "item_vectors", ids)
    assert outputs["is_known"] == [True, False, True]
    np.testing.assert_allclose(outputs["item_vectors"], [UNIT[1], 0 * UNIT[0], UNIT[0]])


def test_the_tower_is_asked_once_for_what_no_shard_says(shard_servers):
    addresses = [s.grpc_address for s in shard_servers]
    item_ids = [f"i{number}" for number in range(NUM_ITEMS)]
    one = {"item_ids": np.array([b"i0"], object)}
    answer = client.predict(addresses[0], "recall", "item_vectors", one)
    fingerprint, asked = answer["fingerprint"][0].decode(), []

    def tower(ids, timeout_s):
        asked.append((ids, timeout_s))
        return np.tile(UNIT[2], (len(ids), 1)), np.array([item_id != "i1" for item_id in ids])

    def find(addresses, fingerprint):
        asked.clear()
        clients = ShardClients(addresses)
        vectors = ShardedVectors(clients, tower, fingerprint, ids_per_call=4, call_timeout_s=5.0)
        found = vectors.find([*item_ids, "i0", "nowhere"], time.monotonic() + 20.0)
        clients.close()
        return found

    assert find(addresses, fingerprint).keys() == set(item_ids)
    assert asked == []
    lost = [i for i in item_ids if home_of(i.encode(), COUNT) == 1]
    found = find([addresses[0], "127.0.0.1:9", addresses[2]], fingerprint)
    assert found.keys() >= set(lost) - {"i1"}
    ((ids, timeout_s),) = asked
    assert [i for i in ids if i != "nowhere"] == lost
    assert 0 < timeout_s <= 20.0
    # Shards of another release: their vectors lie elsewhere.
    assert find(addresses, "other").keys() == {*item_ids, "nowhere"} - {"i1"}
    assert len(asked) == 1


def test_a_remote_tower_has_the_time_that_is_left(folders):
    """Whoever listens here says nothing; without a time the wait is 5 s."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        model = RemoteModel(f"127.0.0.1:{silent.getsockname()[1]}", "item_tower")
        tower = RemoteItemTower(model, folders / "whole" / "item_tower" / "1")
        started_s = time.monotonic()
        with pytest.raises(ServingError):
            item_vectors(tower, "any")(["i3"], 0.3)
        assert time.monotonic() - started_s < 3.0
        model.close()


def slow_down(monkeypatch, server, seconds):
    """Makes every answer of a shard take longer; threads wait beside each other."""
    servable = server.model_server.find("recall")
    recall = servable.service.recall

    def slow(*arguments, **options):
        time.sleep(seconds)
        return recall(*arguments, **options)

    monkeypatch.setattr(servable.service, "recall", slow)


class TestBatches:
    @pytest.mark.slow
    def test_the_largest_one(self, front, shard_servers, monkeypatch):
        """512 requests, eight times what a shard admits; 16 waves of .25 s last 4 s.

        That is longer than one call may take, which is longer here than in production,
        as a call of a quarter of a second can take a whole one on a busy machine.
        """
        monkeypatch.setattr(service, "SHARD_TIMEOUT_S", 3.0)
        for server in shard_servers:
            slow_down(monkeypatch, server, 0.25)
        histories = np.array([[f"i{row % NUM_ITEMS}".encode()] for row in range(512)], object)
        started_s = time.monotonic()
        outputs = client.predict(
            front.grpc_address, "recall", "", {"history_item_ids": histories}, timeout_s=60.0
        )
        assert time.monotonic() - started_s > 4.0
        assert outputs["coverage"] == [1.0] * 512
        item_ids = np.array(outputs["item_ids"])
        assert not (item_ids == histories.astype(bytes)).any()
        assert (item_ids != b"").all()
        np.testing.assert_array_equal(item_ids[:452], item_ids[60:])

    def test_what_was_found_in_time_is_not_thrown_away(self, front, shard_servers, monkeypatch):
        """A wave of 32 takes .5 s, so that 7 s do not suffice for 16 waves."""
        monkeypatch.setattr(service, "SHARD_TIMEOUT_S", 6.0)
        for server in shard_servers:
            slow_down(monkeypatch, server, 0.5)
        histories = np.array([[b"i3"]] * 512, object)
        outputs = client.predict(
            front.grpc_address, "recall", "", {"history_item_ids": histories}, timeout_s=7.0
        )
        coverage, found = np.array(outputs["coverage"]), np.array(outputs["item_ids"]) != b""
        assert coverage[0] == 1.0
        assert coverage[-1] == 0.0
        np.testing.assert_array_equal(found.any(axis=1), coverage > 0)
        np.testing.assert_array_equal(outputs["degraded"], coverage < 1)
        assert outputs["num_known"] == [1] * 512


def many(prefix, count):
    return tuple(f"{prefix}{number}" for number in range(count))


LARGE = {
    "history": RecallRequest((*many("h", 9_999), "i3"), deny=many("d", 10_000)),
    "history and all lists": RecallRequest(
        (*many("h", 9_999), "i3"),
        deny=many("d", 10_000),
        exclude=many("e", 10_000),
        allow=(*many("a", 9_998), "i3", "i4"),
    ),
    "nobody known": RecallRequest(many("h", 10_000), deny=many("d", 10_000)),
    "similar": RecallRequest(similar_to=("i3", *many("s", 63)), deny=many("d", 10_000)),
    "vectors": RecallRequest(user_vectors=VECTORS, deny=many("d", 20_000)),
}


@pytest.mark.parametrize("name", LARGE)
def test_sizes_one_server_accepts(whole, front, name):
    expected, found = (ask(server, LARGE[name], timeout_s=60.0) for server in (whole, front))
    assert len(found.item_ids)
    assert found.item_ids == expected.item_ids
    assert found.facts() == expected.facts()


class TestLostShards:
    @pytest.fixture
    def front_of(self, folders):
        """A front over addresses of which some lead nowhere."""
        started = []

        def front_of(addresses):
            started.append(start(folders / "0", shards=addresses))
            return started[-1]

        yield front_of
        for server in started:
            server.stop()

    def test_the_others_answer(self, front_of, shard_servers, whole):
        addresses = [s.grpc_address for s in shard_servers]
        front = front_of([addresses[0], "127.0.0.1:9", addresses[2]])
        request = RecallRequest(("i3",), 500, exact=True)
        answer, expected = ask(front, request), ask(whole, request)
        assert answer.degraded
        assert answer.coverage == pytest.approx(2 / 3)
        kept = [i for i in expected.item_ids if home_of(i.encode(), COUNT) != 1]
        assert answer.item_ids == kept
        assert not answer.is_fallback

    def test_the_item_tower_stands_in_for_it(self, front_of, shard_servers):
        """Whatever is similar to i3 is searched for in the shards that are left."""
        home = home_of(b"i3", COUNT)
        addresses = [s.grpc_address for s in shard_servers]
        addresses[home] = "127.0.0.1:9"
        answer = ask(front_of(addresses), RecallRequest(similar_to=("i3", "nowhere"), k=100))
        assert (answer.num_known, answer.num_unknown) == (1, 1)
        assert {home_of(item_id.encode(), COUNT) for item_id in answer.item_ids} == {
            number for number in range(COUNT) if number != home
        }

    def test_a_slow_one_is_not_waited_for(self, front_of, shard_servers, monkeypatch):
        slow_down(monkeypatch, shard_servers[1], 1.5)
        front = front_of([s.grpc_address for s in shard_servers])
        started_s = time.monotonic()
        answer = ask(front, RecallRequest(("i3",), 10), timeout_s=0.8)
        assert time.monotonic() - started_s < 0.8
        assert answer.coverage == pytest.approx(2 / 3)

    def test_without_any_there_is_no_front(self, front_of):
        with pytest.raises(InputError, match=r"No shard answers: Shard 0/2 at 127\.0\.0\.1:9"):
            front_of(["127.0.0.1:9", "127.0.0.1:10"])

    def test_when_all_are_lost_there_is_no_answer(self, front_of, folders):
        lost = start(folders / "0")
        front = front_of([lost.grpc_address])
        lost.stop()
        with pytest.raises(InputError, match="UNAVAILABLE"):
            ask(front, RecallRequest(("i3",)))

    def test_a_shard_that_comes_back_is_used_again(self, front_of, shard_servers, folders):
        lost = start(folders / "1")
        addresses = [s.grpc_address for s in shard_servers]
        front = front_of([addresses[0], lost.grpc_address, addresses[2]])
        port = lost.grpc_port
        assert not ask(front, RecallRequest(("i3",))).degraded
        lost.stop()
        assert ask(front, RecallRequest(("i3",))).degraded
        back = RecallServer(folders / "1", grpc_port=port, http_port=0)
        with back:
            wait_for(lambda: not ask(front, RecallRequest(("i3",))).degraded)


def test_addresses_must_be_distinct(folders):
    with pytest.raises(InputError, match="Name each shard's server once"):
        RecallServer(folders / "0", grpc_port=0, http_port=0, shards=("a:1", "a:1"))


def test_shards_share_no_item_and_lose_none():
    shards = [Shard.parse(f"{number}/{COUNT}") for number in range(COUNT)]
    for number in range(500):
        assert [shard.holds(f"item {number}".encode()) for shard in shards].count(True) == 1


@pytest.mark.parametrize("text", ["", "3/3", "1", "-1/3", "a/b", "0/0"])
def test_what_is_no_shard(text):
    with pytest.raises(InputError, match="A shard is number/count"):
        Shard.parse(text)
