"""Every setting of a run: frozen dataclasses, read from and written to JSON.

Imports no TensorFlow. An unknown key, a value of the wrong type and a value
out of range each raise `InputError` naming the key. Each default carries its
reason; "measured" points to TRIALS.md.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from typing import Any

from recall.errors import InputError
from recall.feature_columns.declaration import FeaturesConfig
from recall.plain_values import (
    build_from_values,
    parse_value,
    require_setting,
    unknown_key,
)
from recall.settings.evaluation import EvaluationConfig
from recall.settings.index import IndexConfig
from recall.settings.ingest import IngestConfig
from recall.settings.loss import LossConfig
from recall.settings.model import ModelConfig
from recall.settings.train import TrainConfig
from recall.settings.validation import ValidationConfig


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
        most, anchors = self.model.max_history_length, self.loss.seq2seq_anchors
        require_setting(
            anchors <= most,
            "loss.seq2seq_anchors",
            anchors,
            f"at most model.max_history_length = {most}: no sequence has more slots",
        )
        self._check_routing()
        self._check_interests()
        for name in self.loss.ATTRIBUTE_WEIGHTS:
            require_setting(
                not getattr(self.loss, name) or self.features.names_items,
                f"loss.{name}",
                getattr(self.loss, name),
                "0 or null without a categorical feature of items: there is nothing to predict",
            )

    def _check_routing(self) -> None:
        """Losses of items that are routed to prototypes, where there are such items."""
        extractor, clusters_items = self.model.extractor, self.model.clusters_items
        why = f"model.extractor={extractor}"
        for name in self.loss.ROUTING_WEIGHTS:
            value = getattr(self.loss, name)
            may_cluster = name == "semantic_weight"
            if may_cluster and extractor == "dssrec":
                why += f" and model.clusters={self.model.clusters}"
            require_setting(
                not value or extractor == "routing" or (may_cluster and clusters_items),
                f"loss.{name}",
                value,
                f"0 or null with {why}: no item is routed to an interest",
            )

    def _check_interests(self) -> None:
        """What is about the interests of a user that differ from one another."""
        model, loss = self.model, self.loss
        require_setting(
            not model.min_interest_weight or loss.negatives != "interest_queues",
            "model.min_interest_weight",
            model.min_interest_weight,
            "0 with loss.negatives=interest_queues, where each click has one interest",
        )
        for name, about in (
            ("overlap_weight", "0 with one interest: it is about pairs of them"),
            ("semantic_weight", "0 or null with one interest: every click belongs to it"),
        ):
            value = getattr(loss, name)
            require_setting(model.has_several or not value, f"loss.{name}", value, about)
        require_setting(
            model.weighs_interests or not loss.min_pair_weight,
            "loss.min_pair_weight",
            loss.min_pair_weight,
            f"0 with {model.why_all_alike}: interests weigh the same",
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
        null = self.loss.ATTRIBUTE_WEIGHT if self.features.names_items else 0.0
        for name in self.loss.ATTRIBUTE_WEIGHTS:
            value = getattr(self.loss, name)
            weights[name.removesuffix("_weight")] = null if value is None else value
        if not self.model.has_several:
            del weights["semantic"]  # It would be 0.
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
