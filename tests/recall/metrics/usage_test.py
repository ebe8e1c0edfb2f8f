"""How evenly prototypes are used, by hand."""

import numpy as np
import pytest

from recall.metrics.usage import compute_perplexity, count_dead


def test_perplexity_counts_equal_shares():
    assert compute_perplexity(np.full(8, 1 / 8)) == pytest.approx(8)
    assert compute_perplexity(np.array([1.0, 0.0, 0.0])) == pytest.approx(1)
    # exp(-(.9 log .9 + .1 log .1)) = 1 / (.9^.9 * .1^.1)
    assert compute_perplexity(np.array([0.9, 0.1])) == pytest.approx(1 / (0.9**0.9 * 0.1**0.1))


def test_dead_is_below_a_hundredth_of_an_equal_share():
    # Of four an equal share is .25, a hundredth of it .0025.
    assert count_dead(np.array([0.4, 0.3, 0.297, 0.003])) == 0
    assert count_dead(np.array([0.4, 0.3, 0.298, 0.002])) == 1
    assert count_dead(np.array([1.0, 0.0, 0.0, 0.0])) == 3
