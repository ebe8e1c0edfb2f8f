"""The article's claim: the interests of the whole future beside the next click."""

from pipelines.experiments.grids.grid import (
    Arm,
    Case,
    Experiment,
    Options,
    seeds_of,
    shared_settings,
)
from pipelines.experiments.grids.logs import NEXT_FIVE, PLANTED, log_name, log_settings

SEQ2ITEM = Arm("seq2item", ("loss.seq2seq_weight=0",))
WITH_SEQ2SEQ = Arm("with seq2seq")
METRICS = (
    "hit_rate@50",
    "recall@10",
    "recall@50",
    "ndcg@10",
    "diversity@10",
    "popularity@10",
    "coverage@10",
    "gini@10",
)
_LOGS = (PLANTED, "ml-100k", "ml-1m", "beauty", "sports", "diginetica")
_SEEDS = 5


def build(options: Options) -> Experiment:
    """Two arms on the next five clicks of users who have at least eleven."""
    return Experiment(
        "seq2seq",
        "Does the seq2seq loss beside seq2item lift the hit rate of the next five clicks?",
        cases_of(options, _LOGS, NEXT_FIVE),
        (SEQ2ITEM, WITH_SEQ2SEQ),
        seeds_of(options, _SEEDS),
        shared_settings(options),
        METRICS,
    )


def cases_of(
    options: Options, logs: tuple[str, ...], settings: tuple[str, ...]
) -> tuple[Case, ...]:
    """A case for each log that was asked for, else for each of `logs`."""
    return tuple(
        Case(log_name(log), log, (*log_settings(log), *settings)) for log in options.logs or logs
    )
