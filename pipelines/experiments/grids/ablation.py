"""One change of the recipe at a time, and a few together."""

from pipelines.experiments.grids.grid import Arm, Experiment, Options, seeds_of, shared_settings
from pipelines.experiments.grids.logs import NEXT_FIVE, PLANTED
from pipelines.experiments.grids.seq2seq import SEQ2ITEM, cases_of

ARMS = (
    Arm("default"),
    SEQ2ITEM,
    Arm("weight .1", ("loss.seq2seq_weight=0.1",)),
    Arm("weight .5", ("loss.seq2seq_weight=0.5",)),
    Arm("temperature 1", ("loss.seq2seq_temperature=1",)),
    Arm("temperature .3, weight .1", ("loss.seq2seq_temperature=0.3", "loss.seq2seq_weight=0.1")),
    Arm("warm-up 1000", ("loss.seq2seq_warm_up_steps=1000", "loss.seq2seq_weight=0.1")),
    Arm("decay 2000", ("loss.seq2seq_decay_steps=2000", "loss.seq2seq_weight=0.1")),
    Arm("all pairs", ("loss.confident_fraction=1",)),
    Arm("pairs of a user", ("loss.confident_of=user",)),
    Arm("stopped future", ("loss.stop_future_gradient=true",)),
    Arm("no reversal", ("loss.reverse_future=false",)),
    Arm("4 anchors", ("loss.seq2seq_anchors=4",)),
    Arm("queue of futures", ("loss.seq2seq_queue=1024",)),
    Arm("one beta", ("model.future_bias=false",)),
    Arm("no clustering", ("model.clustering=false",)),
    Arm("no weighting", ("model.weighting=false",)),
    Arm("sum", ("loss.interest_reduction=sum",)),
    Arm("no residual", ("model.interest_residual=false",)),
    Arm("1536 slots", ("train.batch_slots=1536",)),
)
"""Each but the first differs from it by what its name says. On processor cores 1536 slots are
four times as many sequences in the denominator of seq2seq, and a quarter of the steps of an
epoch (on a GPU 1.5 times). A queue adds 1024 futures of earlier steps to it, and changes nothing
else."""

_SEEDS = 3
_METRICS = ("hit_rate@50", "recall@10", "ndcg@10", "diversity@10")


def build(options: Options) -> Experiment:
    """What each part of the recipe is worth, on the next five clicks."""
    return Experiment(
        "ablation",
        "What is each part of the recipe worth?",
        cases_of(options, (PLANTED, "ml-100k"), NEXT_FIVE),
        ARMS,
        seeds_of(options, _SEEDS),
        shared_settings(options),
        _METRICS,
    )
