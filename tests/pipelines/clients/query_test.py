"""The text of an answer for people. The client is tested in tests/serving/api/client_test.py."""

import dataclasses

import numpy as np
import pytest

from pipelines import cli
from pipelines.clients import query
from recall.errors import InputError
from serving.api import recall_json
from serving.api.recall_limits import RecallLimits, check_requests
from serving.api.recall_request import ItemMetadata, RecallRequest, RecallResponse
from serving.protocol.status import ServingError


def _response(items, *facts):
    ids, scores, interests = zip(*items, strict=True)
    return RecallResponse(np.array(ids), np.array(scores), np.array(interests), *facts)


def test_text_of_an_answer():
    items = [(b"12", 0.5, 1), (b"i345", 0.25, 0)]
    assert query.format_answer(_response(items, False, 3, 1, 7, 8)) == (
        "rank  item   score  interest\n"
        "1       12  0.5000         1\n"
        "2     i345  0.2500         0\n"
        "index version 8, model version 7; 3 known and 1 unknown ids in the history\n"
    )


def test_text_of_an_answer_of_items_like_an_item():
    answer = _response([(b"12", 0.5, 0)], False, 1, 0, 0, 8)
    assert query.format_answer(answer).endswith("\nindex version 8; 1 known and 0 unknown ids\n")


def test_text_of_an_answer_with_metadata():
    items = [(b"12", 0.5, 1), (b"i345", 0.25, 0)]
    metadata = ItemMetadata(("Red\x1b[1m\nhat", ""), (("red", "wool"), ()))
    answer = dataclasses.replace(_response(items, False, 3, 0, 7, 8), metadata=metadata)
    assert query.format_answer(answer).splitlines()[:3] == [
        "rank  item   score  interest        title  categories",
        "1       12  0.5000         1  Red [1m hat    red|wool",
        "2     i345  0.2500         0",
    ]


def test_text_of_an_answer_with_interests():
    answer = _response([(b"12", 0.5, 1)], False, 3, 0, 7, 8)
    answer = dataclasses.replace(answer, interest_weights=(0.75, 0.25))
    assert query.format_answer(answer).endswith("; weights of the interests 0.750, 0.250\n")


def test_text_of_an_answer_for_names_of_no_category():
    answer = _response([(b"12", 0.5, 1)], False, 3, 0, 7, 8)
    answer = dataclasses.replace(answer, unknown_categories=("shoess", "a\nb"))
    assert query.format_answer(answer).endswith(
        "; no category of the server's items: shoess, a b\n"
    )


def test_text_of_a_degraded_answer():
    answer = _response([(b"12", 0.5, 0)], False, 1, 0, 7, 8, True, 0.25)
    assert query.format_answer(answer).endswith("the time was too short: 25% of the answer\n")


def given(values):
    """As the command takes them."""
    return {name: values[name].value for name in query.REQUEST_FLAGS if values[name].present}


def test_flags_become_a_request():
    values, _ = cli.parse(
        "query",
        [
            "--similar_to=12,i3",
            "--k=7",
            "--categories=A,B",
            "--interest_weights=0.5,2",
            "--merge=quota",
            "--max_per_category=3",
            "--exact",
            "--with_metadata",
        ],
    )
    request = query.build_request(given(values))
    assert (request.similar_to, request.history, request.k) == (("12", "i3"), (), 7)
    assert (request.categories, request.max_per_category) == (("A", "B"), 3)
    assert request.with_metadata
    assert (request.interest_weights, request.merge, request.exact) == ((0.5, 2.0), "quota", True)


def test_flags_left_out_are_the_defaults_of_a_request():
    values, _ = cli.parse("query", ["--history="])
    request = query.build_request(given(values))
    assert dataclasses.astuple(request) == dataclasses.astuple(RecallRequest())


def test_defaults_of_the_flags_are_those_of_a_request():
    values, _ = cli.parse("query", [])
    for name in query.REQUEST_FLAGS:
        default = getattr(RecallRequest(), name)
        if name == "boosts":  # JSON in a text, which is nothing where there is none.
            default = None
        assert values[name].value == (list(default) if isinstance(default, tuple) else default)


REFUSED = {
    "--similar_to=50 --history=1": {"similar_to": ["50"], "history": ["1"]},
    "--history=1 --allow=": {"history": ["1"], "allow": []},
    "--history=1 --categories=": {"history": ["1"], "categories": []},
    "--history=1 --k=5000": {"history": ["1"], "k": 5000},
    "--history=1 --k=99999999999": {"history": ["1"], "k": 99999999999},
    "--history=1 --merge=best": {"history": ["1"], "merge": "best"},
    "--history=1 --interest_weights=0,0": {"history": ["1"], "interest_weights": [0, 0]},
    "--history=1 --interest_weights=-1": {"history": ["1"], "interest_weights": [-1]},
    "--history=1 --diversity_weight=101": {"history": ["1"], "diversity_weight": 101},
    "--history=1 --max_per_category=2000": {"history": ["1"], "max_per_category": 2000},
    "--history=1 --merge=diversity --max_per_category=3": {
        "history": ["1"],
        "merge": "diversity",
        "max_per_category": 3,
    },
}


@pytest.mark.parametrize("words", REFUSED)
def test_flags_are_refused_as_the_keys_of_post_recall(words, capsys):
    """In the words of the door for JSON, and before any server is asked."""

    def ask(document):
        body = recall_json.parse_body(document, RecallLimits().max_batch_size)
        check_requests(body.requests, RecallLimits())

    with pytest.raises((InputError, ServingError)) as caught:
        ask(REFUSED[words])
    text = getattr(caught.value, "message", None) or str(caught.value)
    assert cli.main(["query", "--server=127.0.0.1:9", *words.split()]) == 1
    assert capsys.readouterr().err == f"recall query: error: {text}\n"


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"interest_weights": ["1", "x"]}, r"--interest_weights=1,x must be numbers"),
        ({}, "Give --history or --similar_to; --history= is a new visitor"),
        ({"exclude": ["1"]}, "Give --history or --similar_to"),
        ({"history": ["12", "", "57"]}, r"--history=12,,57 has an empty entry"),
        ({"history": ["1"], "exclude": ["\udcff"]}, r"--exclude has a text that is not valid UTF"),
    ],
)
def test_values_that_only_flags_can_have(fields, error):
    with pytest.raises(InputError, match=error):
        query.build_request(fields)


def test_text_of_an_empty_answer():
    answer = RecallResponse(
        np.empty(0, "S1"), np.empty(0, "f4"), np.empty(0, "i4"), False, 1, 0, 7, 8
    )
    assert query.format_answer(answer).endswith("; no item passes the filters\n")


@pytest.mark.parametrize("command", ["query --history=1", "items --delete=1"])
def test_a_server_that_is_no_address(command, capsys):
    assert cli.main([*command.split(), "--server=grpc://127.0.0.1:8500"]) == 1
    assert "--server: 'grpc://127.0.0.1:8500' is no host:port" in capsys.readouterr().err


def test_text_of_a_fallback():
    answer = _response([(b"12", 0.0, -1)], True, 0, 1, 7, 8)
    text = query.format_answer(answer)
    assert "popular" in text.splitlines()[1]
    assert "popular items" in text.splitlines()[-1]
