"""Tables about few clicks have the cut-offs that the lines after a run have."""

from pipelines.publishing import summary
from pipelines.reporting.sections import slices

COLD = {
    "num_items": 4,
    "num_clicks": 9,
    "among_all": {"model": {"recall@10": 0.01, "recall@50": 0.05}},
    "alone": {"model": {"recall@10": 0.2, "recall@50": 1.0}},
}
NEW = {
    "num_users": 4,
    "num_clicks": 9,
    "rankers": {
        "features": {"recall@10": 0.125, "recall@50": 0.5, "ndcg@10": 0.25, "hit_rate@10": 0.375}
    },
}


def test_items_without_a_training_click():
    table = slices._cold(COLD, (10, 50))
    assert table.columns == (
        "ranker",
        "recall@10 among all items",
        "recall@50 among all items",
        "recall@10 among these alone",
        "recall@50 among these alone",
    )
    assert table.rows == [("model", "0.0100", "0.0500", "0.2000", "1.0000")]
    report = {"cold_items": COLD, "new_users": NEW, "protocol": {"ks": [5, 10, 20, 50]}}
    cold, new = summary.metrics_table(report).splitlines()[1:]
    assert "recall@10 / @50 among all items: model 0.0100 / 0.0500; " in cold
    assert new.endswith("recall@10 / @50 of their test clicks from: features 0.1250 / 0.5000")


def test_users_without_clicks():
    (table,) = slices._new_users(NEW, 10, 50)
    assert tuple(table.columns)[1:] == ("recall@10", "ndcg@10", "hit_rate@10", "recall@50")
    assert table.rows == [("features", "0.1250", "0.2500", "0.3750", "0.5000")]
    (table,) = slices._new_users(NEW, 10, 10)
    assert tuple(table.columns)[1:] == ("recall@10", "ndcg@10", "hit_rate@10")
