"""The text of an answer for people. The client is tested in tests/serving/client_test.py."""

import dataclasses

import numpy as np
import pytest

from pipelines import cli, query
from recall.errors import InputError
from serving.recall_types import RecallRequest, RecallResponse


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


def test_text_of_a_degraded_answer():
    answer = _response([(b"12", 0.5, 0)], False, 1, 0, 7, 8, True, 0.25)
    assert query.format_answer(answer).endswith("the time was too short: 25% of the answer\n")


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
        ],
    )
    request = query.build_request({name: values[name].value for name in query.REQUEST_FLAGS})
    assert (request.similar_to, request.history, request.k) == (("12", "i3"), (), 7)
    assert (request.categories, request.max_per_category) == (("A", "B"), 3)
    assert (request.interest_weights, request.merge, request.exact) == ((0.5, 2.0), "quota", True)


def test_flags_left_out_are_the_defaults_of_a_request():
    values, _ = cli.parse("query", [])
    request = query.build_request({name: values[name].value for name in query.REQUEST_FLAGS})
    assert dataclasses.astuple(request) == dataclasses.astuple(RecallRequest())


def test_weights_that_are_no_numbers():
    with pytest.raises(InputError, match=r"--interest_weights=1,x must be numbers"):
        query.build_request({"interest_weights": ["1", "x"]})


def test_text_of_a_fallback():
    answer = _response([(b"12", 0.0, -1)], True, 0, 1, 7, 8)
    text = query.format_answer(answer)
    assert "popular" in text.splitlines()[1]
    assert "popular items" in text.splitlines()[-1]
