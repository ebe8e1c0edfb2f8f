"""Settings of the losses. Imports no TensorFlow."""

import dataclasses
import typing

from recall.plain_values import require_choice, require_setting


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """The seq2item and seq2seq losses."""

    temperature: float = 0.07
    """Divides every score inside both losses (tau of CLRec)."""
    negatives: str = "uniform"
    """`uniform` (every item alike), `full` (all items at every step, no sample), `popular` (as
    often as clicked, with log-q correction), `in_batch` (the other clicks of the step, without),
    `queue` (CLRec: the latest clicks of other users, so that popular items are recommended
    less) or `interest_queues` (Multi-CLRec: each interest has the latest clicks that it won or,
    with `model.extractor=routing` or `model.clusters=items`, that are routed to it)."""
    num_negatives: int | None = None
    """Negatives per step, shared by the batch; the length of a queue; `full` and `in_batch` do
    not ask for it. null or `auto`: 1,024 on processor cores, and 4,096 on a GPU, which they
    cost next to nothing."""
    interest_reduction: str = "max"
    """Over interests in the denominator: `max` (as served), `sum` (paper), `argmax` (MIND)."""
    min_interest_share: float = 0.2
    """Least share of the clicks of a step that every interest learns from, as a part of
    its equal share 1 / `model.num_interests`, so that none starves (measured); 0 sets no
    limit."""
    seq2seq_weight: float = 0.02
    """Weight of the seq2seq loss in the total (measured); 0 switches it off."""
    confident_fraction: float = 0.3
    """Share of (user, interest) pairs the seq2seq loss fits (lambda of the paper)."""
    confident_of: str = "batch"
    """Whose pairs the confident ones are chosen from: `batch` (paper), or `user`, so that every
    user has some, at least one."""
    min_pair_weight: float = 0.0
    """Share of a past, and of its future, that an interest must hold for seq2seq to compare the
    two: of what nobody clicked there is nothing to learn. 0: all are compared that are not
    switched off."""
    seq2seq_temperature: float | None = None
    """Divides the scores of the seq2seq loss; null: `temperature`, as both compare the vectors
    of the towers."""
    seq2seq_anchors: int = 1
    """Slots of a sequence, each in a part of its own, at which seq2seq compares past and future;
    a short sequence has as many as it has slots."""
    seq2seq_queue: int = 0
    """Futures of earlier steps that are further negatives of seq2seq, as they were encoded then;
    fewer than an epoch has sequences, so that nobody meets her own. 0: none."""
    seq2seq_warm_up_steps: int = 0
    """Steps over which the weight of seq2seq rises from 0; 0: it has it at once."""
    seq2seq_decay_steps: int = 0
    """Steps over which the weight of seq2seq falls to 0; 0: it stays."""
    stop_future_gradient: bool = False
    """Whether futures are targets that do not learn from the seq2seq loss themselves."""
    reverse_future: bool = True
    """Whether a future is read backwards (paper), so that its nearest click counts most."""
    balance_weight: float | None = None
    """Weight of the loss against prototypes that hardly any click is routed to, with
    `model.extractor=routing`. null: 1 there, as in the article's code."""
    sharpness_weight: float | None = None
    """Weight of the loss against items that belong to several prototypes, with `routing`.
    null: 1 there."""
    semantic_weight: float | None = None
    """Weight of the loss against clicks that are near to another interest than the one they are
    routed to, with `routing` or `model.clusters=items`. null: 1 with `routing`, 0 else."""
    overlap_weight: float = 0.0
    """Weight of the mean squared cosine between the interests of a user; 0 leaves it out."""
    attribute_weight: float | None = None
    """Weight of the loss that predicts categorical features of the next item from the interest
    that wins it. null: .1 where items have such features (measured), 0 else."""
    item_attribute_weight: float | None = None
    """Weight of the loss that predicts categorical features of items from their own vectors.
    null: .1 where items have such features (measured), 0 else."""

    event_weights: dict[str, float] = dataclasses.field(default_factory=dict)
    """How much a click counts as a target by its kind, for example `{"view": 0.1,
    "purchase": 1}`; kinds that are not named count 1. Logs without kinds have no use for it."""
    target_kinds: tuple[str, ...] = ()
    """Kinds of events that are learnt as targets; the others are history alone. `[]`: all."""

    NUM_NEGATIVES: typing.ClassVar = 1024
    NEGATIVES: typing.ClassVar = (
        "uniform",
        "full",
        "popular",
        "in_batch",
        "queue",
        "interest_queues",
    )
    REDUCTIONS: typing.ClassVar = ("max", "sum", "argmax")
    CONFIDENT_OF: typing.ClassVar = ("batch", "user")
    ROUTING_WEIGHTS: typing.ClassVar = ("balance_weight", "sharpness_weight", "semantic_weight")
    ATTRIBUTE_WEIGHTS: typing.ClassVar = ("attribute_weight", "item_attribute_weight")
    ATTRIBUTE_WEIGHT: typing.ClassVar = 0.1

    @property
    def num_drawn(self) -> int:
        """`num_negatives`, or the default of processor cores where it is left open."""
        return self.num_negatives or self.NUM_NEGATIVES

    def __post_init__(self):
        require_choice("loss.negatives", self.negatives, self.NEGATIVES)
        require_setting(self.temperature > 0, "loss.temperature", self.temperature, "> 0")
        require_setting(
            self.num_negatives is None or self.num_negatives >= 1,
            "loss.num_negatives",
            self.num_negatives,
            ">= 1, or null",
        )
        require_choice("loss.interest_reduction", self.interest_reduction, self.REDUCTIONS)
        require_setting(
            self.negatives != "interest_queues" or self.interest_reduction == "max",
            "loss.interest_reduction",
            self.interest_reduction,
            "max with loss.negatives=interest_queues",
        )
        require_setting(
            self.negatives != "full" or self.interest_reduction != "sum",
            "loss.interest_reduction",
            self.interest_reduction,
            "max or argmax with loss.negatives=full",
        )
        require_setting(
            0 <= self.min_interest_share <= 1,
            "loss.min_interest_share",
            self.min_interest_share,
            "in [0, 1]",
        )
        for name in ("seq2seq_weight", "overlap_weight"):
            value = getattr(self, name)
            require_setting(value >= 0, f"loss.{name}", value, ">= 0")
        for name in (*self.ROUTING_WEIGHTS, *self.ATTRIBUTE_WEIGHTS):
            value = getattr(self, name)
            require_setting(value is None or value >= 0, f"loss.{name}", value, ">= 0, or null")
        require_setting(
            0 < self.confident_fraction <= 1,
            "loss.confident_fraction",
            self.confident_fraction,
            "in (0, 1]",
        )
        self._check_seq2seq()
        for kind, weight in self.event_weights.items():
            require_setting(weight >= 0, f"loss.event_weights.{kind}", weight, ">= 0")

    def _check_seq2seq(self) -> None:
        """How futures are compared with pasts."""
        require_choice("loss.confident_of", self.confident_of, self.CONFIDENT_OF)
        temperature = self.seq2seq_temperature
        require_setting(
            temperature is None or temperature > 0,
            "loss.seq2seq_temperature",
            temperature,
            "> 0, or null",
        )
        require_setting(
            0 <= self.min_pair_weight < 1, "loss.min_pair_weight", self.min_pair_weight, "in [0, 1)"
        )
        for name in ("seq2seq_warm_up_steps", "seq2seq_decay_steps", "seq2seq_queue"):
            require_setting(getattr(self, name) >= 0, f"loss.{name}", getattr(self, name), ">= 0")
        anchors = self.seq2seq_anchors
        require_setting(anchors >= 1, "loss.seq2seq_anchors", anchors, ">= 1")
        require_setting(
            anchors == 1 or self.reverse_future,
            "loss.seq2seq_anchors",
            anchors,
            "1 with loss.reverse_future=false: only of a reversed sequence is every future a part",
        )

    def weight_of(self, kind: str) -> float:
        """How much a click of a kind counts as a target."""
        if self.target_kinds and kind not in self.target_kinds:
            return 0.0
        return self.event_weights.get(kind, 1.0)
