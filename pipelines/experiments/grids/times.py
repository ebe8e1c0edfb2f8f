"""Times of clicks: what the encoder learns from how long ago they were."""

from pipelines.experiments.grids.grid import Arm, Experiment, Options, seeds_of, shared_settings
from pipelines.experiments.grids.logs import TURNING
from pipelines.experiments.grids.seq2seq import cases_of

_LOGS = (TURNING, "ml-100k")
_SEEDS = 3
_METRICS = ("ndcg@10", "recall@10", "recall@50")


def build(options: Options) -> Experiment:
    """The next click, without times and with them; the examples of both have them."""
    return Experiment(
        "times",
        "Does it help to know when clicks were?",
        cases_of(options, _LOGS, ()),
        (Arm("without times"), Arm("with times", ("model.time_bias=true",))),
        seeds_of(options, _SEEDS),
        shared_settings(options),
        _METRICS,
    )
