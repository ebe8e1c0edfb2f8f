"""Which metrics the table has: those of the lines after a run among them."""

from pipelines.publishing import summary
from pipelines.reporting.sections import quality

KS = (5, 10, 50)
METRICS = ("recall", "ndcg", "mrr", "hit_rate", "debiased_hit_rate", "coverage")
REPORT = {
    "protocol": {"ks": list(KS)},
    "test": {f"{name}@{k}": 0.25 for name in METRICS for k in KS},
    "baselines": {},
}


def test_long_lists_have_their_hit_rates():
    assert quality.metric_names(REPORT) == [
        "recall@10",
        "ndcg@10",
        "mrr@10",
        "hit_rate@10",
        "hit_rate@50",
        "debiased_hit_rate@10",
        "debiased_hit_rate@50",
        "coverage@10",
    ]


def test_what_the_lines_after_a_run_show_is_in_the_table():
    shown = [line.split()[0] for line in summary.metrics_table(REPORT).splitlines()[1:]]
    assert len(shown) == 6
    assert set(shown) <= set(quality.metric_names(REPORT))


def test_one_cut_off():
    test = {name: value for name, value in REPORT["test"].items() if name.endswith("@5")}
    names = quality.metric_names({**REPORT, "protocol": {"ks": [5]}, "test": test})
    assert names == [f"{name}@5" for name in METRICS]
