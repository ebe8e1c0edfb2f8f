"""`POST /items:search` and `/items:lookup` over HTTP; `live/finder_test.py` has what is found."""

import http.client
import json

import pytest

# The tiny release has ids i0 ... i39, no titles, i6 in "by2"; i0 has 40 clicks, i1 39 ...


@pytest.fixture(scope="module")
def ask(recall_server):
    connection = http.client.HTTPConnection(recall_server.http_address, timeout=30)

    def ask(path, document):
        connection.request("POST", path, json.dumps(document))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    yield ask
    connection.close()


def item(row):
    return {
        "item_id": f"i{row}",
        "title": "",
        "categories": [f"by{row % 4}"],
        "num_clicks": 40 - row,
        "in_release": True,
        "is_served": True,
    }


def test_search(ask):
    expected = {"items": [item(3), item(30), item(31)], "is_complete": True}
    assert ask("/items:search", {"query": "I3", "k": 3}) == (200, expected)
    status, answer = ask("/items:search", {"query": "i"})
    assert (status, [found["item_id"] for found in answer["items"]]) == (
        200,
        [f"i{row}" for row in range(10)],
    )
    nothing = {"items": [], "is_complete": True}
    assert ask("/items:search", {"query": "zebra"}) == (200, nothing)
    assert ask("/items:search", {"query": ""}) == (200, nothing)


def test_lookup(ask):
    unknown = {**item(0), "item_id": "zebra", "categories": [], "num_clicks": 0}
    unknown |= {"in_release": False, "is_served": False}
    expected = {"items": [item(6), unknown]}
    assert ask("/items:lookup", {"ids": ["i6", "zebra"]}) == (200, expected)
    assert ask("/items:lookup", {"ids": []}) == (200, {"items": []})


@pytest.mark.parametrize(
    ("path", "document", "text"),
    [
        ("/items:search", {}, "`query` is missing: a part of a title, or an id."),
        ("/items:search", {"query": 7}, "`query` must be a string, received 7."),
        ("/items:search", {"query": "x", "k": 0}, "`k` must be in [1, 100], received 0."),
        ("/items:search", {"query": "x", "q": 1}, "Unknown key `q`."),
        ("/items:search", {"query": "x" * 257}, "must be at most 256, received 257"),
        ("/items:lookup", {"ids": "i6"}, "`ids` must be a list and the only key"),
        ("/items:lookup", {"ids": [6]}, '`ids[0]` must be a string such as "12", received 6'),
        ("/items:lookup", {"ids": ["x"] * 1001}, "One call takes 1 to 1000 items, received 1001"),
    ],
)
def test_what_is_refused(ask, path, document, text):
    status, answer = ask(path, document)
    assert status == 400
    assert text in answer["error"]
