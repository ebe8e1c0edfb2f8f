"""A request as tensors, and tensors as an answer: what a client sends and reads."""

import array

import numpy as np
import pytest

from recall.errors import InputError
from serving.api.recall_request import ItemMetadata, RecallRequest
from serving.api.recall_tensors import build_recall_inputs, parse_outputs
from serving.protocol.predict_messages_pb2 import DT_BOOL, DT_FLOAT, DT_INT32, DT_STRING

FACTS = {
    "is_fallback": [False],
    "num_known": [2],
    "num_unknown": [1],
    "model_version": [7],
    "index_version": [8],
    "degraded": [False],
    "coverage": [1.0],
}


def test_what_is_given_is_sent_by_the_name_and_type_of_its_input():
    request = RecallRequest(
        ("a", "\u00e4"), k=5, exclude=("b",), exact=True, interest_weights=(1, 2)
    )
    assert build_recall_inputs(request) == (
        "serving_default",
        {
            "history_item_ids": (DT_STRING, (1, 2), [b"a", "\u00e4".encode()]),
            "k": (DT_INT32, (), [5]),
            "exclude_item_ids": (DT_STRING, (1, 1), [b"b"]),
            "interest_weights": (DT_FLOAT, (1, 2), [1.0, 2.0]),
            "exact": (DT_BOOL, (), [True]),
        },
    )


def test_the_subject_is_sent_also_where_it_is_empty():
    assert build_recall_inputs(RecallRequest()) == (
        "serving_default",
        {"history_item_ids": (DT_STRING, (1, 0), [])},
    )


@pytest.mark.parametrize(
    "vectors",
    [[[1, 2], [3, 4]], np.array([[1, 2], [3, 4]], np.float32), [array.array("f", [1, 2]), (3, 4)]],
    ids=["lists", "NumPy", "rows"],
)
def test_vectors(vectors):
    name, inputs = build_recall_inputs(RecallRequest(user_vectors=vectors))
    assert name == "user_vectors"
    assert inputs == {"user_vectors": (DT_FLOAT, (1, 2, 2), [1.0, 2.0, 3.0, 4.0])}


def test_one_subject_alone():
    with pytest.raises(InputError, match="Give `history` or `similar_to`, not both"):
        build_recall_inputs(RecallRequest(("a",), similar_to=("b",)))


def test_an_answer_without_its_padding():
    outputs = {
        **FACTS,
        "item_ids": [[b"a", "\u00e4".encode(), b""]],
        "scores": [[0.5, 0.25, 0.0]],
        "interests": [[1, 0, -1]],
    }
    answer = parse_outputs(outputs)
    assert [tuple(item) for item in answer.items] == [("a", 0.5, 1), ("\u00e4", 0.25, 0)]
    assert (answer.item_ids, answer.scores) == (["a", "\u00e4"], [0.5, 0.25])
    assert tuple(answer.facts().values()) == (False, 2, 1, 7, 8, False, 1.0)
    assert (answer.metadata, answer.interest_weights) == (None, None)
    asked = {
        "titles": [[b"Hat", b"", b""]],
        "categories": [[[b"red", b"a|b"], [b"", b""], [b"", b""]]],
        "interest_weights": [[0.75, 0.25]],
    }
    answer = parse_outputs({**outputs, **asked})
    assert answer.metadata == ItemMetadata(("Hat", ""), (("red", "a|b"), ()))
    assert answer.interest_weights == (0.75, 0.25)
