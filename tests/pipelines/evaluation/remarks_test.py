"""What is said in words below the table; numbers are those of the reports here."""

import pytest

from pipelines.evaluation.remarks import remarks
from pipelines.publishing import summary


def make_report(model=0.06, popularity=0.0054, bigram=0.0467, **more):
    """A report with ndcg@10 of model and baselines, many users and nothing to remark."""
    test = {"ndcg@10": model, "num_positives": 2000, "standard_errors": {"ndcg@10": 0.0013}}
    return {
        "protocol": {"exclude_seen": True},
        "num_users": {"validation": 5000, "test": 5000},
        "validation": test | {"num_positives": 5000},
        "test": test | more,
        "baselines": {"popularity": {"ndcg@10": popularity}, "bigram": {"ndcg@10": bigram}},
    }


def test_nothing_is_said_of_a_good_report():
    assert remarks(make_report(num_seen_positives=19, num_unknown_positives=0)) == []
    assert remarks({}) == []


def test_a_model_below_a_baseline():
    assert remarks(make_report(model=0.0462)) == [
        "The model is below the bigram baseline (ndcg@10 0.0462 against 0.0467): counting which "
        "item follows which is as good or better."
    ]
    both = remarks(make_report(model=0.001))
    assert [line.split(" baseline")[0] for line in both] == [
        "The model is below the popularity",
        "The model is below the bigram",
    ]
    (line,) = remarks(make_report(model=0.0467))
    assert line.startswith("The model is equal to the bigram baseline (ndcg@10 0.0467 against")


def test_the_cut_off_is_the_one_nearest_to_10():
    report = make_report()
    report["test"] = {"ndcg@5": 0.1, "ndcg@50": 0.2, "recall@10": 0.3}
    report["baselines"] = {"bigram": {"ndcg@5": 0.2, "ndcg@50": 0.1, "recall@10": 0.9}}
    (line,) = remarks(report)
    assert "(ndcg@5 0.1000 against 0.2000)" in line


def test_targets_that_cannot_be_hit():
    # Four of eight: half; one of eight: 12.5 %.
    report = make_report(num_positives=8, num_seen_positives=4, num_unknown_positives=1)
    assert remarks(report) == [
        "4 of 8 test targets (50 %) repeat an item of the history and cannot be hit while "
        "evaluation.exclude_seen is true.",
        "1 of 8 test targets (12 %) are items that the training part of the log does not have "
        "and cannot be hit.",
    ]
    report["protocol"]["exclude_seen"] = False
    (line,) = remarks(report)
    assert line.startswith("1 of 8")


@pytest.mark.parametrize(("number", "said"), [(19, False), (20, True)])
def test_a_hundredth_of_the_targets_is_worth_a_line(number, said):
    assert bool(remarks(make_report(num_seen_positives=number))) is said


def test_few_users():
    report = make_report()
    report["num_users"] = {"validation": 999, "test": 1000}
    assert remarks(report) == [
        "Few users: 999 validation users (ndcg@10 0.0600, standard error 0.0013). Early stopping "
        "and evaluation.thresholds rest on them; a difference of less than two standard errors "
        "may be chance."
    ]
    report["num_users"] = {"validation": 1000, "test": 1000}
    assert remarks(report) == []


def test_few_users_of_a_kind_that_a_condition_names():
    report = make_report()
    report["num_users"] = {"validation": 1000, "test": 1000}
    of_buyers = {"num_users": 12, "ndcg@10": 0.25, "standard_errors": {"ndcg@10": 0.11}}
    report["kinds"] = {"model": {"buy": of_buyers, "view": of_buyers | {"num_users": 1000}}}
    assert remarks(report) == []
    texts = ["test.ndcg@10[buy] > 0.2", "test.ndcg@10[view] > 0.1", "test.recall@5[cart] > 0"]
    report["blessing"] = {"thresholds": [{"threshold": text} for text in texts]}
    assert remarks(report) == [
        "Few users: 12 test users with events of the kind buy (ndcg@10 0.2500, standard error "
        "0.1100). Early stopping and evaluation.thresholds rest on them; a difference of less "
        "than two standard errors may be chance."
    ]


def test_categories_that_say_nothing():
    report = make_report()
    report["protocol"]["categories_left_out"] = ["2"]
    (line,) = remarks(report)
    assert line.startswith("Nearly all items have the category '2'")
    assert "max_per_category" in line


def test_remarks_follow_the_table():
    text = summary.results(make_report(model=0.0462) | {"index": None}).splitlines()
    assert text[0].split() == ["test", "users", "model", "popularity", "bigram"]
    assert text[1].split() == ["ndcg@10", "0.0462", "0.0054", "0.0467"]
    assert text[2].startswith("The model is below the bigram baseline")
