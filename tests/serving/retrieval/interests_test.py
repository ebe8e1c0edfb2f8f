"""The vectors of a request: which interests of the user tower are searched with."""

from types import SimpleNamespace

import numpy as np
import pytest

from serving.api.recall_request import RecallRequest
from serving.retrieval.interests import compute_interests
from serving.retrieval.user_vectors import UserVectors

FIRST, SECOND = [1.0, 0.0], [0.0, 1.0]


def ask(vectors, weights, **fields):
    """The interests of one history, as the tower has answered."""
    answer = UserVectors(
        np.array([vectors], np.float32),
        np.array([weights], np.float32),
        np.array([2]),
        np.array([0]),
        "space",
        1,
    )
    source = SimpleNamespace(compute=lambda *_, **__: answer)
    view = SimpleNamespace(fingerprint="space", version=1, dim=2)
    (found,) = compute_interests(view, source, [RecallRequest(("a",), **fields)], None)
    return found


@pytest.mark.parametrize("merge", ["max_score", "quota"])
def test_an_interest_that_is_switched_off_is_not_searched_with(merge):
    found = ask([FIRST, FIRST, SECOND], [0.7, 0.0, 0.3], merge=merge, with_interests=True)

    assert found.numbers.tolist() == [0, 2]
    np.testing.assert_array_equal(found.vectors, [FIRST, SECOND])
    assert found.weights == pytest.approx((0.7, 0.0, 0.3))


def test_weights_of_a_request_do_not_switch_it_on_again():
    found = ask([FIRST, FIRST, SECOND], [0.7, 0.0, 0.3], interest_weights=(1.0, 1.0, 0.5))

    assert found.numbers.tolist() == [0, 2]
    np.testing.assert_array_equal(found.vectors, [FIRST, [0.0, 0.5]])


def test_an_interest_of_its_own_is_searched_with_whatever_it_weighs():
    """A weight may be 0 by rounding."""
    assert ask([FIRST, SECOND], [1.0, 0.0]).numbers.tolist() == [0, 1]
    assert ask([FIRST, FIRST], [0.6, 0.4]).numbers.tolist() == [0, 1]
    assert ask([FIRST, FIRST], [0.0, 0.0]).numbers.tolist() == [0, 1]
