import json

import pytest

from recall import thresholds
from recall.config import RecallConfig
from recall.errors import InputError


def test_a_threshold_between_metrics():
    threshold = thresholds.parse_threshold(" test.ndcg@10 > baselines.popularity.ndcg@20 ")
    assert threshold.key == ("test", "ndcg@10", 10, None)
    assert threshold.bound == ("baselines.popularity", "ndcg@20", 20, None)


@pytest.mark.parametrize("kind", ["buy", "add to cart", "a]b", "[x]", "Käufe", "x > 1", "a.b@3"])
def test_a_threshold_of_one_kind_whatever_its_name(kind):
    text = f"test.ndcg@10[{kind}] >= baselines.ease.recall@7[{kind}]"
    threshold = thresholds.parse_threshold(text)
    assert threshold.key == ("test", "ndcg@10", 10, kind)
    assert threshold.operator == ">="
    assert threshold.bound == ("baselines.ease", "recall@7", 7, kind)
    assert thresholds.parse_threshold(f"test.mrr@5[{kind}]<.5").bound == 0.5


def test_kinds_and_cut_offs_of_settings():
    named = ["test.ndcg@7[buy] > test.ndcg@10", "test.ndcg@5[cart] > test.ndcg@5[buy]"]
    config = RecallConfig().override([f"evaluation.thresholds={json.dumps(named)}"])
    assert config.evaluation.kinds == ("buy", "cart")
    assert config.evaluation.all_ks == (5, 7, 10, 20, 50)
    assert RecallConfig().evaluation.kinds == ()


@pytest.mark.parametrize(
    ("sign", "below", "equal", "above"),
    [(">", 0, 0, 1), (">=", 0, 1, 1), ("<", 1, 0, 0), ("<=", 1, 1, 0)],
)
def test_operators(sign, below, equal, above):
    threshold = thresholds.parse_threshold(f"test.ndcg@10 {sign} .25")
    assert threshold.key.k == 10
    outcomes = [threshold.holds(value, threshold.bound) for value in (0.24, 0.25, 0.26)]
    assert outcomes == [below, equal, above]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "test.ndcg@10",
        "test.ndcg@10 = 0.1",
        "test.ndcg@10 => 0.1",
        "0.1 < test.ndcg@10",
        "test.ndcg@10 > nan",
        "test.ndcg@10 > inf",
        "test.ndcg@10 > 0.1 0.2",
        "test.ndgc@10 > 0.1",
        "train.ndcg@10 > 0.1",
        "test.ndcg > 0.1",
        "test.ndcg@0 > 0.1",
        "index.recall@100 > 0.9",
        "test.ndcg@10 > baselines.random.ndcg@10",
        "test.ndcg@10[] > 0.1",
        "test.ndcg[buy]@10 > 0.1",
        "test[buy].ndcg@10 > 0.1",
        "test.ndcg@10[buy > 0.1",
        "test.ndcg@10 [buy] > 0.1",
        "validation.ndcg@10[buy] > 0.1",
        "test.coverage@10[buy] > 0.1",
        "test.ndcg@10 > 0.1[buy]",
    ],
)
def test_bad_thresholds_end_with_one_line_before_training(text):
    with pytest.raises(InputError, match="thresholds") as caught:
        RecallConfig.from_dict({"evaluation": {"thresholds": [text]}})
    assert "\n" not in str(caught.value)


def test_cut_offs_of_thresholds_are_computed_too():
    config = RecallConfig().override(['evaluation.thresholds=["test.ndcg@7 > 0"]'])
    assert config.evaluation.all_ks == (5, 7, 10, 20, 50)
