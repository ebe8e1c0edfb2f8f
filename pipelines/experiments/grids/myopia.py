"""Histories that one category dominates: what lists hold beyond it."""

from pipelines.experiments.grids.grid import Experiment, Options, seeds_of, shared_settings
from pipelines.experiments.grids.logs import NEXT_FIVE
from pipelines.experiments.grids.seq2seq import SEQ2ITEM, WITH_SEQ2SEQ, cases_of

_UNEVEN = (
    "synthetic:users=3000,items=1000,interests=8,interests_per_user=3,events_per_user=40,"
    "dominance=0.7"
)
_LOGS = (_UNEVEN, "ml-100k", "ml-1m", "beauty")
_SEEDS = 5
_METRICS = (
    "outside_hit_rate@50",
    "outside@10",
    "hit_rate@50",
    "recall@10",
    "ndcg@10",
    "diversity@10",
)


def build(options: Options) -> Experiment:
    """Both losses; users whose history one category dominates (`measures.DOMINATED`)."""
    return Experiment(
        "myopia",
        "Do lists with seq2seq hold more of what lies outside the category of most clicks?",
        cases_of(options, _LOGS, NEXT_FIVE),
        (SEQ2ITEM, WITH_SEQ2SEQ),
        seeds_of(options, _SEEDS),
        shared_settings(options),
        _METRICS,
    )
