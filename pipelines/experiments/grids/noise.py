"""How much random clicks in the training data cost, with seq2seq and without."""

from pipelines.experiments.grids.grid import Case, Experiment, Options, seeds_of, shared_settings
from pipelines.experiments.grids.logs import NEXT_FIVE, PLANTED, log_name, log_settings
from pipelines.experiments.grids.seq2seq import SEQ2ITEM, WITH_SEQ2SEQ

SHARES = (0.0, 0.1, 0.2, 0.3, 0.5)
_LOGS = (PLANTED, "ml-100k", "ml-1m", "beauty")
_SEEDS = 5
_METRICS = ("ndcg@10", "hit_rate@50", "recall@10", "recall@50", "diversity@10", "popularity@10")


def build(options: Options) -> Experiment:
    """Both losses on logs in which random items take the place of training events."""
    cases = tuple(
        Case(
            f"{log_name(log)} noise={share:g}",
            log,
            (*log_settings(log), *NEXT_FIVE),
            share,
            log_name(log),
            share,
        )
        for log in options.logs or _LOGS
        for share in SHARES
    )
    return Experiment(
        "noise",
        "Does seq2seq keep more of the quality as training events become random?",
        cases,
        (SEQ2ITEM, WITH_SEQ2SEQ),
        seeds_of(options, _SEEDS),
        shared_settings(options),
        _METRICS,
        x="share of random training events",
    )
