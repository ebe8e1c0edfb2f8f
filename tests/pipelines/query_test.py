"""The text of an answer for people. The client is tested in tests/serving/client_test.py."""

import numpy as np

from pipelines import query
from serving.recall_types import RecallResponse


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


def test_text_of_a_fallback():
    answer = _response([(b"12", 0.0, -1)], True, 0, 1, 7, 8)
    text = query.format_answer(answer)
    assert "popular" in text.splitlines()[1]
    assert "popular items" in text.splitlines()[-1]
