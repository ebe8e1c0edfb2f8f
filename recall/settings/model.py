"""Settings of the two towers. Imports no TensorFlow."""

import dataclasses
import typing

from recall.plain_values import require_choice, require_setting


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The two towers."""

    extractor: str = "dssrec"
    """`dssrec`, `last_state` (SASRec), `self_attentive` (ComiRec-SA), `capsule` (MIND,
    ComiRec-DR) or `routing` (Multi-CLRec)."""
    num_interests: int = 4
    """Interest vectors per user, 4 by validation (measured); `last_state` has one."""
    dim: int = 128
    """Width of embeddings, states and interest vectors; 64 needed four times the epochs
    for the same quality (measured)."""
    max_history_length: int = 50
    """Most recent clicks a user tower looks at (public protocols: 50, ML-1M 200)."""
    num_blocks: int = 2
    """Self-attention blocks (SASRec)."""
    num_heads: int = 1
    """Heads per block; divides `dim`."""
    block: str = "plain"
    """`plain` (SASRec) or `gated` (LiGR, as in eSASRec: every sub-layer times a gate)."""
    filter_share: float = 0.5
    """Share of a low-pass and high-pass filter in every block, the rest is attention's
    (alpha of BSARec); .7 is as good (measured), 0 leaves the filter out."""
    feed_forward_dim: int = 256
    """Inner width of the blocks' feed-forward layer."""
    dropout_rate: float | None = None
    """Dropout of embeddings and sub-layers during training; null: by the clicks per item
    of the log, .4 where they are few and .2 where they are many (measured)."""
    similarity: str = "cosine"
    """`cosine` (unit vectors) or `inner_product`; the same from loss to index."""
    interest_residual: bool = True
    """Adds the last state to the interests of `dssrec` and `routing`; without it K > 1 hardly
    learns under `dssrec`."""
    residual_form: str = "sum"
    """How it is added: `sum`, `gate` (an interest says itself how much of it) or `first` (the
    first interest alone has it)."""
    pools: str = "states"
    """What an interest of `dssrec` is pooled from: `states` (paper), each of which knows the
    clicks before it, `items`, the clicked items alone, or `both`, their sum."""
    clusters: str = "states"
    """What the clicks are clustered by in `dssrec`: `states` (paper), by prototypes that learn
    from what interests are used for, or `items`, by prototypes that follow the item vectors, so
    that an item is of the same interest whoever clicks it."""
    clustering: bool = True
    """Whether a click belongs to the interests of `dssrec` by prototypes; false: to all alike."""
    weighting: bool = True
    """Whether the clicks of a past count by attention in `dssrec`; false: all alike."""
    future_bias: bool = True
    """Whether the interests of futures have biases of their own in `dssrec` (two sets of beta)."""
    num_prototypes: int | None = None
    """Prototypes that `routing` routes items to, a multiple of `num_interests`; null: four for
    each interest."""
    min_interest_weight: float = 0.0
    """Share of a history (attention of `dssrec` and `routing`, routing of `capsule`) below which
    an interest is switched off for this user, in training and when served; 0: all are used. Above
    1 / `num_interests` none but the strongest would be left for many."""
    time_bias: bool = False
    """Adds to attention how long before the next click, or the request, each click was, and to
    each click the gap after it. Needs a log with times (measured)."""
    use_categories: bool = False
    """Short for a declared feature: the categories of the items file, up to eight of an item, as
    `{"name": "categories", "owner": "item", "kind": "categorical", "max_values": 8}` among
    `features.columns`."""

    EXTRACTORS: typing.ClassVar = ("dssrec", "last_state", "self_attentive", "capsule", "routing")
    POOLS: typing.ClassVar = ("states", "items", "both")
    CLUSTERS: typing.ClassVar = ("states", "items")
    RESIDUAL_FORMS: typing.ClassVar = ("sum", "gate", "first")
    PROTOTYPES_PER_INTEREST: typing.ClassVar = 4
    BLOCKS: typing.ClassVar = ("plain", "gated")
    SIMILARITIES: typing.ClassVar = ("cosine", "inner_product")

    def __post_init__(self):
        require_choice("model.extractor", self.extractor, self.EXTRACTORS)
        require_choice("model.block", self.block, self.BLOCKS)
        require_choice("model.similarity", self.similarity, self.SIMILARITIES)
        require_choice("model.residual_form", self.residual_form, self.RESIDUAL_FORMS)
        require_choice("model.pools", self.pools, self.POOLS)
        require_choice("model.clusters", self.clusters, self.CLUSTERS)
        for name in ("num_interests", "dim", "max_history_length", "num_blocks", "num_heads"):
            require_setting(getattr(self, name) >= 1, f"model.{name}", getattr(self, name), ">= 1")
        require_setting(
            self.feed_forward_dim >= 1, "model.feed_forward_dim", self.feed_forward_dim, ">= 1"
        )
        require_setting(
            self.dim % self.num_heads == 0,
            "model.num_heads",
            self.num_heads,
            f"a divisor of model.dim = {self.dim}",
        )
        require_setting(
            self.dropout_rate is None or 0 <= self.dropout_rate < 1,
            "model.dropout_rate",
            self.dropout_rate,
            "in [0, 1), or null",
        )
        require_setting(
            0 <= self.filter_share <= 1, "model.filter_share", self.filter_share, "in [0, 1]"
        )
        self._check_extractor()

    def _check_extractor(self) -> None:
        """The settings that only some extractors have."""
        may_have_residual = self.extractor in ("dssrec", "routing")
        require_setting(
            self.interest_residual or may_have_residual,
            "model.interest_residual",
            self.interest_residual,
            "true unless model.extractor=dssrec or routing",
        )
        has_residual = self.interest_residual and may_have_residual
        require_setting(
            has_residual or self.residual_form == "sum",
            "model.residual_form",
            self.residual_form,
            "sum unless model.interest_residual=true, with extractor dssrec or routing",
        )
        require_setting(
            self.pools == "states" or self.extractor == "dssrec",
            "model.pools",
            self.pools,
            "states unless model.extractor=dssrec",
        )
        for name in ("clustering", "weighting", "future_bias"):
            require_setting(
                getattr(self, name) or self.extractor == "dssrec",
                f"model.{name}",
                getattr(self, name),
                "true unless model.extractor=dssrec",
            )
        most = 1 / self.num_interests if self.weighs_interests else 0
        require_setting(
            0 <= self.min_interest_weight <= most,
            "model.min_interest_weight",
            self.min_interest_weight,
            f"in [0, 1 / model.num_interests = {most:g}]"
            if self.weighs_interests
            else f"0 with {self.why_all_alike}: interests weigh the same",
        )
        self._check_prototypes()
        self._check_states()

    def _check_states(self) -> None:
        """Something of an interest has to come from what the encoder makes of the clicks."""
        has_clusters = self.clustering and self.clusters == "states" and self.has_several
        asks_encoder = self.pools != "items" or self.interest_residual or has_clusters
        require_setting(
            self.weighting or asks_encoder,
            "model.weighting",
            self.weighting,
            "true with model.pools=items and model.interest_residual=false where states are not "
            "clustered: nothing would come from the encoder",
        )

    def _check_prototypes(self) -> None:
        """What clicks are clustered by."""
        require_setting(
            self.clusters == "states" or (self.extractor == "dssrec" and self.clustering),
            "model.clusters",
            self.clusters,
            "states unless model.extractor=dssrec and model.clustering=true",
        )
        require_setting(
            self.clusters == "states" or self.has_several,
            "model.clusters",
            self.clusters,
            "states with model.num_interests=1: one prototype has all items",
        )
        require_setting(
            self.num_prototypes is None or self.extractor == "routing",
            "model.num_prototypes",
            self.num_prototypes,
            "null unless model.extractor=routing",
        )
        require_setting(
            self.num_prototypes is None
            or (self.num_prototypes >= 1 and self.num_prototypes % self.num_interests == 0),
            "model.num_prototypes",
            self.num_prototypes,
            f"a multiple of model.num_interests = {self.num_interests}, or null",
        )

    @property
    def has_several(self) -> bool:
        """Whether a user has several interests."""
        return self.extractor != "last_state" and self.num_interests > 1

    @property
    def why_all_alike(self) -> str:
        """The setting by which every interest holds as much of a history; "" where they differ."""
        if self.extractor in ("last_state", "self_attentive"):
            return f"model.extractor={self.extractor}"
        if self.num_interests == 1:
            return "model.num_interests=1"
        if self.extractor == "dssrec" and not self.clustering:
            return "model.clustering=false"
        return ""

    @property
    def weighs_interests(self) -> bool:
        """Whether histories belong to their interests in different shares."""
        return not self.why_all_alike

    @property
    def clusters_items(self) -> bool:
        """Whether prototypes follow the items."""
        return self.extractor == "dssrec" and self.clusters == "items"

    @property
    def total_prototypes(self) -> int:
        """`num_prototypes`, or what null stands for."""
        return self.num_prototypes or self.PROTOTYPES_PER_INTEREST * self.num_interests
