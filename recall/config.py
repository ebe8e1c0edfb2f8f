"""Every setting of a run: frozen dataclasses, read from and written to JSON.

Imports no TensorFlow. An unknown key, a value of the wrong type and a value
out of range each raise `InputError` naming the key. Each default carries its
reason; "measured" points to TRIALS.md.
"""

import dataclasses
import json
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from recall.errors import InputError
from recall.feature_columns.declaration import FeaturesConfig
from recall.plain_values import (
    build_from_values,
    parse_value,
    require_choice,
    require_setting,
    require_time,
    unknown_key,
)
from recall.settings.evaluation import EvaluationConfig
from recall.settings.index import IndexConfig
from recall.settings.loss import LossConfig
from recall.settings.model import ModelConfig
from recall.settings.train import TrainConfig
from recall.settings.validation import ValidationConfig

_MOST_SHARDS = 10_000
"""Numbers that the names of kept files leave to a shard; each is some dozen files, and costs a
hundredth of a second even when it is empty."""


@dataclasses.dataclass(frozen=True)
class IngestConfig:
    """How a log becomes training sequences and held-out targets."""

    protocol: str = "leave_one_out"
    """`leave_one_out`, `next_n`, `temporal` (one clock for all users) or `provided` (a `split`
    column in the log)."""
    num_targets: int | None = 5
    """Held-out events per user and split under `next_n` (the DSSRec paper: 5), and under
    `temporal`, where they are the first after the clock; there null takes all."""
    valid_from: str | None = None
    """When the clicks for validation begin under `temporal`: a date or time, UTC, given
    together with `test_from`. null: by `valid_share`."""
    test_from: str | None = None
    """When the clicks for the test begin under `temporal`; null: by `test_share`."""
    valid_share: float = 0.1
    """Share of the events between both times, which stand at full hours; what a tenth holds
    is usually enough for a standard error of a few per cent."""
    test_share: float = 0.1
    """Share of the events after the later time."""
    embargo_days: float = 0.0
    """Events so long before either time are history only under `temporal`: what is logged
    late, or belongs to a session that goes on, then tells nothing of the targets."""
    session_gap_minutes: float | None = None
    """Sequences are sessions: a longer gap between two events of a user begins another. Usual
    on the web are 30. null: all events of a user are one sequence."""
    min_user_events: int = 2
    """Users with fewer events are dropped: one event has nothing to predict."""
    min_item_events: int = 1
    """Items with fewer events are dropped; 1 keeps the catalogue of the log."""
    max_user_events: int | None = 5000
    """Training learns from the latest n events of a user; earlier ones are history only. The
    longest user of MovieLens 1M, Beauty, Sports and Diginetica has 2,277; a robot with
    100,000 would be most of what is learnt. null: no limit."""
    window_stride: int | None = None
    """Training windows of a user begin so many events apart; below
    `model.max_history_length` they overlap, and an event is learnt with more of its past.
    null: they lie side by side, and every event is learnt once."""
    max_impressions: int = 20
    """Items that were shown before a click and become its negatives, at most, the latest
    ones: a page or two."""
    max_age_days: float | None = None
    """Events that are older than this, counted from the latest of the log, are dropped. null:
    all are kept."""
    keep_sequences: bool = False
    """Keeps the events of every user beside the examples, about 10 bytes each (14 where times
    have fractions of seconds), which `recall ingest --append` and `recall forget` need."""
    cold_item_share: float = 0.0
    """Share of the items that are held out from training whole, chosen by their ids: how well
    items are found that nobody clicked shows in `cold_items` of the report. 0 but for
    experiments, as a model to be served should learn from all."""
    cold_items: tuple[str, ...] = ()
    """Ids of such items, in the place of or beside a share."""
    new_user_share: float = 0.0
    """Share of the users whose clicks training does not learn from, chosen by their ids: how
    well features alone answer them shows in `new_users` of the report. 0 but for experiments."""
    num_shards: int = 8
    """Files per split and length, at most 10,000; also the parallelism of the shuffle by user.
    What is in memory at a time is one of them: 64 for a log of 10^9 events."""

    PROTOCOLS: typing.ClassVar = ("leave_one_out", "next_n", "temporal", "provided")

    def __post_init__(self):
        require_choice("ingest.protocol", self.protocol, self.PROTOCOLS)
        for name in ("min_user_events", "min_item_events", "max_impressions", "num_shards"):
            require_setting(getattr(self, name) >= 1, f"ingest.{name}", getattr(self, name), ">= 1")
        require_setting(
            self.num_shards <= _MOST_SHARDS,
            "ingest.num_shards",
            self.num_shards,
            f"at most {_MOST_SHARDS:,}; 64 are enough for 10^9 events",
        )
        require_setting(
            self.protocol == "temporal" if self.num_targets is None else self.num_targets >= 1,
            "ingest.num_targets",
            self.num_targets,
            ">= 1, or null under protocol temporal",
        )
        require_setting(
            self.session_gap_minutes is None or self.session_gap_minutes > 0,
            "ingest.session_gap_minutes",
            self.session_gap_minutes,
            "> 0, or null",
        )
        self._check_clock()
        require_setting(
            self.max_user_events is None or self.max_user_events >= 2,
            "ingest.max_user_events",
            self.max_user_events,
            ">= 2, or null",
        )
        for name in ("window_stride", "max_age_days"):
            value = getattr(self, name)
            require_setting(value is None or value > 0, f"ingest.{name}", value, "> 0, or null")
        self._check_kept_out()
        require_setting(
            not self.keep_sequences
            or (self.protocol != "temporal" and self.session_gap_minutes is None),
            "ingest.keep_sequences",
            self.keep_sequences,
            "false under protocol temporal and with sessions: there a new day changes all users",
        )

    def _check_kept_out(self) -> None:
        """Users and items that training is not to see."""
        new = self.new_user_share
        require_setting(0 <= new < 1, "ingest.new_user_share", new, "in [0, 1)")
        require_setting(
            not (new and self.keep_sequences),
            "ingest.keep_sequences",
            self.keep_sequences,
            "false with ingest.new_user_share",
        )
        share = self.cold_item_share
        require_setting(0 <= share < 1, "ingest.cold_item_share", share, "in [0, 1)")
        require_setting(
            not self.keep_sequences or not (share or self.cold_items),
            "ingest.keep_sequences",
            self.keep_sequences,
            "false with ingest.cold_item_share and ingest.cold_items",
        )

    def _check_clock(self) -> None:
        """The settings of protocol `temporal`."""
        valid_from = require_time("ingest.valid_from", self.valid_from)
        test_from = require_time("ingest.test_from", self.test_from)
        require_setting(
            (valid_from is None) == (test_from is None),
            "ingest.valid_from",
            self.valid_from,
            f"given together with ingest.test_from, which is {self.test_from!r}",
        )
        if valid_from is not None and test_from is not None:
            wanted = f"before ingest.test_from = {self.test_from}"
            require_setting(valid_from < test_from, "ingest.valid_from", self.valid_from, wanted)
        for name in ("valid_share", "test_share"):
            value = getattr(self, name)
            require_setting(0 < value < 1, f"ingest.{name}", value, "in (0, 1)")
        require_setting(
            self.valid_share + self.test_share < 1,
            "ingest.valid_share",
            self.valid_share,
            f"less than 1 together with ingest.test_share = {self.test_share}",
        )
        require_setting(
            self.embargo_days >= 0, "ingest.embargo_days", self.embargo_days, "0 or more"
        )


@dataclasses.dataclass(frozen=True)
class RecallConfig:
    """All settings of a run, one section per job or part."""

    ingest: IngestConfig = dataclasses.field(default_factory=IngestConfig)
    features: FeaturesConfig = dataclasses.field(default_factory=FeaturesConfig)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    loss: LossConfig = dataclasses.field(default_factory=LossConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    validation: ValidationConfig = dataclasses.field(default_factory=ValidationConfig)
    evaluation: EvaluationConfig = dataclasses.field(default_factory=EvaluationConfig)
    index: IndexConfig = dataclasses.field(default_factory=IndexConfig)

    def __post_init__(self):
        if self.model.use_categories:
            object.__setattr__(self, "features", self.features.with_categories())
        extractor = self.model.extractor
        require_setting(
            self.loss.reverse_future or not self.model.time_bias,
            "loss.reverse_future",
            self.loss.reverse_future,
            "true with model.time_bias=true",
        )
        require_setting(
            self.loss.reverse_future or not self.features.of("event"),
            "loss.reverse_future",
            self.loss.reverse_future,
            "true with features of events",
        )
        for name in self.loss.ROUTING_WEIGHTS:
            value = getattr(self.loss, name)
            require_setting(
                extractor == "routing"
                or not value
                or (name == "semantic_weight" and self.model.clusters_items),
                f"loss.{name}",
                value,
                f"0 or null with model.extractor={extractor}: `routing` alone routes items",
            )
        require_setting(
            not self.model.min_interest_weight or self.loss.negatives != "interest_queues",
            "model.min_interest_weight",
            self.model.min_interest_weight,
            "0 with loss.negatives=interest_queues, where each click has one interest",
        )
        most, anchors = self.model.max_history_length, self.loss.seq2seq_anchors
        require_setting(
            anchors <= most,
            "loss.seq2seq_anchors",
            anchors,
            f"at most model.max_history_length = {most}: no sequence has more slots",
        )
        num_interests = 1 if extractor == "last_state" else self.model.num_interests
        require_setting(
            num_interests > 1 or not self.loss.overlap_weight,
            "loss.overlap_weight",
            self.loss.overlap_weight,
            "0 with one interest: it is about pairs of them",
        )

    @property
    def auxiliary_weights(self) -> dict[str, float]:
        """Weights by name of the losses beside seq2item and seq2seq, those that count.

        >>> config = RecallConfig().override(["model.extractor=routing", "loss.balance_weight=.5"])
        >>> config.auxiliary_weights
        {'balance': 0.5, 'sharpness': 1.0, 'semantic': 1.0}
        """
        weights = {"overlap": self.loss.overlap_weight}
        null = 1.0 if self.model.extractor == "routing" else 0.0
        for name in self.loss.ROUTING_WEIGHTS:
            value = getattr(self.loss, name)
            weights[name.removesuffix("_weight")] = null if value is None else value
        # Of these prototypes nothing else learns, nor they from anything else.
        weights["prototypes"] = float(self.model.clusters_items)
        return {name: weight for name, weight in weights.items() if weight > 0}

    @property
    def needs_times(self) -> bool:
        """Whether the model looks at times of clicks, for itself or for a feature."""
        return self.model.time_bias or self.features.need_times

    def to_dict(self, sections: Iterable[str] | None = None) -> dict[str, Any]:
        """The settings as nested plain values, all sections or the named ones."""
        values = {**dataclasses.asdict(self), "features": self.features.to_dict()}
        return values if sections is None else {name: values[name] for name in sections}

    def to_json(self) -> str:
        """The settings as indented JSON text."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "RecallConfig":
        """Builds a config; keys that are absent keep their defaults.

        Raises:
            InputError: A key is unknown, or a value has a wrong type or range.
        """
        return build_from_values(cls, values)

    @classmethod
    def from_json(cls, text: str) -> "RecallConfig":
        """Builds a config from JSON text.

        Raises:
            InputError: The text is not JSON, or `from_dict` refuses it.
        """
        try:
            values = json.loads(text)
        except (TypeError, ValueError) as error:
            raise InputError(f"The config is not valid JSON: {error}.") from error
        return cls.from_dict(values)

    def override(self, assignments: Iterable[str]) -> "RecallConfig":
        """Applies `section.key=value` texts, values in JSON (or `.5`; bare text is a string).

        >>> RecallConfig().override(["train.batch_size=64"]).train.batch_size
        64

        Raises:
            InputError: An assignment is no text with a `=`, or `from_dict` refuses it.
        """
        if isinstance(assignments, str) or not isinstance(assignments, Iterable):
            raise InputError(
                "Settings are a list of texts of the form section.key=value, received "
                f"{assignments!r:.200}."
            )
        values = self.to_dict()
        if self.model.use_categories:  # It may be taken back, and then declares nothing.
            values["features"] = self.features.without_categories().to_dict()
        for assignment in map(str, assignments):
            path, equals, text = assignment.partition("=")
            section, dot, key = path.strip().partition(".")
            if not (equals and dot):
                raise InputError(
                    f"`--set={assignment}` is not of the form section.key=value, "
                    "for example train.batch_slots=512."
                )
            if section not in values:
                raise InputError(unknown_key(section, values))
            values[section][key] = parse_value(text.strip())
        return self.from_dict(values)
