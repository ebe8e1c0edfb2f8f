"""The extractors under one recipe, and forms of interests that differ more."""

from pipelines.experiments.grids.grid import Arm, Experiment, Options, seeds_of, shared_settings
from pipelines.experiments.grids.logs import NEXT_FIVE
from pipelines.experiments.grids.seq2seq import cases_of
from recall.settings.model import ModelConfig

FOLLOWING = ("model.clusters=items", "loss.semantic_weight=0.1")
"""Prototypes follow the items, and clicks stay near the interest of theirs."""

FORMS = {
    "sum": (),
    "gate": ("model.residual_form=gate",),
    "first": ("model.residual_form=first",),
    "overlap .1": ("loss.overlap_weight=0.1",),
    "overlap 1": ("loss.overlap_weight=1",),
    "gate, overlap .1": ("model.residual_form=gate", "loss.overlap_weight=0.1"),
    "items": ("model.pools=items",),
    "items, gate": ("model.pools=items", "model.residual_form=gate"),
    "items, first": ("model.pools=items", "model.residual_form=first"),
    "clusters": FOLLOWING,
    "items, clusters": ("model.pools=items", *FOLLOWING),
    "both, clusters": ("model.pools=both", *FOLLOWING),
    "K by user": ("model.min_interest_weight=0.15",),
    "routing": ("model.extractor=routing",),
}
"""Name -> settings; the first is the default."""

_LOGS = ("ml-100k", "beauty", "ml-1m")
_SEEDS = 3
_METRICS = (
    "recall@10",
    "recall@50",
    "hit_rate@50",
    "ndcg@10",
    "diversity@10",
    "coverage@10",
    "interest_perplexity",
    "interests_per_user",
    "prototype_perplexity",
)


def build(options: Options) -> Experiment:
    """Five extractors, equal in everything else."""
    return Experiment(
        "extractors",
        "What do the extractors find under one recipe?",
        cases_of(options, _LOGS, NEXT_FIVE),
        tuple(Arm(name, (f"model.extractor={name}",)) for name in ModelConfig.EXTRACTORS),
        seeds_of(options, _SEEDS),
        shared_settings(options),
        _METRICS,
    )


def build_forms(options: Options) -> Experiment:
    """How the last state enters an interest, and what keeps interests apart."""
    return Experiment(
        "interests",
        "Which form of the interests makes lists more diverse and loses no recall?",
        cases_of(options, _LOGS[:2], NEXT_FIVE),
        tuple(Arm(name, settings) for name, settings in FORMS.items()),
        seeds_of(options, _SEEDS),
        shared_settings(options),
        _METRICS,
    )
