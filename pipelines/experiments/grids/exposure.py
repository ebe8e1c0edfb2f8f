"""Exposure bias: negatives that correct for it, on what users truly prefer and on real logs."""

from pipelines.experiments.grids.grid import Arm, Experiment, Options, seeds_of, shared_settings
from pipelines.experiments.grids.logs import EXPOSED, NEXT_FIVE
from pipelines.experiments.grids.seq2seq import cases_of

NEGATIVES = {
    "uniform": ("loss.negatives=uniform",),
    "log-q": ("loss.negatives=popular",),
    "in-batch": ("loss.negatives=in_batch",),
    "CLRec": ("loss.negatives=queue",),
    "Multi-CLRec": ("loss.negatives=interest_queues", "model.extractor=routing"),
}

_KEPT = "train.stopping_metric=debiased_hit_rate@50"
"""Of all recipes: skewed clicks would choose the epoch that is skewed most."""

_LOGS = (EXPOSED, "ml-100k", "beauty")
_SEEDS = 3
_METRICS = (
    "recall@20",
    "recall@50",
    "hit_rate@50",
    "debiased_hit_rate@50",
    "coverage@10",
    "gini@10",
    "popularity@10",
    "interest_perplexity",
    "prototype_perplexity",
)


def build(options: Options) -> Experiment:
    """Five kinds of negatives, each without seq2seq and with it."""
    arms = [
        Arm(f"{name}{suffix}", (*settings, *seq2seq))
        for suffix, seq2seq in (("", ("loss.seq2seq_weight=0",)), (" + seq2seq", ()))
        for name, settings in NEGATIVES.items()
    ]
    return Experiment(
        "exposure",
        "Which negatives find what users prefer, where clicks also say what they were shown?",
        cases_of(options, _LOGS, (*NEXT_FIVE, _KEPT)),
        tuple(arms),
        seeds_of(options, _SEEDS),
        shared_settings(options),
        _METRICS,
    )
