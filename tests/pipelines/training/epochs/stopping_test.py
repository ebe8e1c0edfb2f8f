"""When a job stops."""

import pytest

from pipelines.training.epochs.stopping import choose_stopping_rule
from recall.config import RecallConfig


@pytest.mark.parametrize(
    ("settings", "num_users", "patience"),
    [
        ([], 10_000, 5),
        ([], 50_000, 5),  # 10,000 of them are drawn.
        ([], 2_500, 10),
        ([], 400, 25),
        ([], 0, 500),
        (["train.validation_users=100"], 50_000, 50),
        (["train.early_stopping_patience=3"], 100, 3),
    ],
)
def test_fewer_validation_users_need_more_patience(settings, num_users, patience):
    config = RecallConfig().override(["train.max_epochs=7", *settings])
    rule = choose_stopping_rule(config.train, num_users)
    assert rule == (7, patience, "ndcg@10")


def test_the_metric_is_that_of_the_settings():
    config = RecallConfig().override(["train.stopping_metric=debiased_hit_rate@50"])
    assert choose_stopping_rule(config.train, 10).metric == "debiased_hit_rate@50"
