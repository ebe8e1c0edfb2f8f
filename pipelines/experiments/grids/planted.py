"""Planted interests: are they found, and are the confident pairs those to be foreseen?"""

from pipelines.experiments.grids import extractors
from pipelines.experiments.grids.grid import (
    Arm,
    Case,
    Experiment,
    Options,
    seeds_of,
    shared_settings,
)
from pipelines.experiments.grids.logs import NEXT_FIVE, log_settings
from recall.errors import InputError

_INTERESTS = 8
CLUSTERS = (*extractors.FOLLOWING, "loss.min_pair_weight=0.05")
"""Clusters of items, clicks near the interest of theirs, and only interests compared that past
and future hold."""
_WORLD = f"synthetic:users=3000,items=1000,interests={_INTERESTS},interests_per_user=3"
_SHORT, _LONG = f"{_WORLD},events_per_user=40", f"{_WORLD},events_per_user=120"
WORLDS = {
    "unrelated=0": f"{_SHORT},unrelated_future=0,noise=0",
    "unrelated=.1": f"{_SHORT},unrelated_future=0.1",
    "unrelated=.5": f"{_SHORT},unrelated_future=0.5",
    "uneven": f"{_SHORT},dominance=0.7",
    "drift": f"{_SHORT},drift=0.5",
    "long": f"{_LONG},unrelated_future=0.1",
}
"""Name -> log. Uneven: one interest has four fifths of the clicks. Drift: half of the users
have other interests from the middle on."""

_SEEDS = 3
_METRICS = (
    "prototype_nmi",
    "interest_nmi",
    "confident_lift",
    "confident_precision",
    "pair_base_rate",
    "confident_recall",
    "hit_rate@50",
)


def build(options: Options) -> Experiment:
    """K as planted, half, double; confident fraction; clusters; and worlds that are harder.

    Raises:
        InputError: A log is not a synthetic one.
    """
    worlds = {name: log for name, log in WORLDS.items() if not options.logs}
    for log in options.logs:
        if log in WORLDS:
            worlds[log] = WORLDS[log]
        elif log.startswith("synthetic:"):
            worlds[log] = log
        else:
            raise InputError(
                f"--logs={log}: planted interests are those of synthetic logs. Give "
                f"synthetic:key=value,... or {', '.join(WORLDS)}."
            )
    interests = ("model.num_interests=8",)
    return Experiment(
        "planted",
        "Do prototypes find the planted interests, and confident pairs the futures that follow?",
        tuple(Case(name, log, (*log_settings(log), *NEXT_FIVE)) for name, log in worlds.items()),
        (
            Arm("K=8", interests),
            Arm("K=4", ("model.num_interests=4",)),
            Arm("K=16", ("model.num_interests=16",)),
            Arm("fraction=.1", (*interests, "loss.confident_fraction=0.1")),
            Arm("fraction=.6", (*interests, "loss.confident_fraction=0.6")),
            Arm("weight=.1", (*interests, "loss.seq2seq_weight=0.1")),
            Arm("seq2item", (*interests, "loss.seq2seq_weight=0")),
            Arm("clusters", (*interests, *CLUSTERS)),
            Arm("clusters, seq2item", (*interests, *CLUSTERS, "loss.seq2seq_weight=0")),
            Arm("items", (*interests, "model.pools=items", *CLUSTERS)),
            Arm("both", (*interests, "model.pools=both", *CLUSTERS)),
        ),
        seeds_of(options, _SEEDS),
        shared_settings(options),
        _METRICS,
        looks_into_model=True,
    )
