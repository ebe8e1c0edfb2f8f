"""What is measured after an epoch; which epoch is kept by it is in `trainer_test`."""

import numpy as np
import pytest

from pipelines.training.epochs import validation
from recall.ragged import Ragged


def test_a_debiased_metric_weighs_clicks_by_how_seldom_their_items_are():
    """Two users: a click on an item of 10 clicks is found, one on an item of 40 is not."""
    top_rows = np.tile(np.array([0, *range(2, 51)]), (2, 1))
    counts = np.array([10, 40, *[5] * 49])

    metrics = validation.measure_debiased(top_rows, Ragged.from_rows([[0], [1]]), counts)

    assert metrics["debiased_hit_rate@50"] == pytest.approx((1 / 10) / (1 / 10 + 1 / 40))


def test_where_no_click_can_be_found_an_epoch_has_a_value_all_the_same():
    """No number is not more than the value of no epoch: no epoch would ever be kept."""
    lists = np.arange(100).reshape(2, 50)

    metrics = validation.measure_debiased(lists, Ragged.from_rows([[-1], [-1]]), np.ones(100))

    assert metrics == {"debiased_hit_rate@10": 0.0, "debiased_hit_rate@50": 0.0}
