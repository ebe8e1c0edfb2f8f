"""Validation after each epoch, over the full catalogue; the best one's weights are kept."""

import numpy as np
import tensorflow as tf

from pipelines.artifacts.held_out import HeldOutUsers
from pipelines.evaluation import lists
from pipelines.evaluation.lists import evaluate_user_vectors
from pipelines.evaluation.vectors import (
    USAGE_USERS,
    build_user_vector_function,
    compute_item_vectors,
    measure_interest_usage,
    measure_prototype_shares,
    sample_users,
)
from pipelines.training.epochs.stopping import Progress
from pipelines.training.epochs.weight_averaging import WeightAverage
from pipelines.training.placement.strategies import Placement
from recall.config import RecallConfig
from recall.metrics.debiased import compute_user_debiased
from recall.metrics.usage import compute_perplexity, count_dead
from recall.ragged import Ragged

_CUT_OFFS = (10, 50)
_METRICS = ("recall@10", "ndcg@10", "recall@50")
_PROTOTYPES = ("prototype_perplexity", "dead_prototypes")
"""Of the routing of the training clicks, where items are routed to prototypes."""


class Validation(tf.keras.callbacks.Callback):
    """Evaluates the averaged weights after each epoch, and keeps those of the best one.

    Adds metrics and the usage of interests to the logs of the epoch. Of several processes
    the chief evaluates, and the others wait for what it found.
    """

    def __init__(
        self,
        held_out: HeldOutUsers,
        config: RecallConfig,
        num_items: int,
        average: WeightAverage,
        progress: Progress,
        best_manager: tf.train.CheckpointManager,
        placement: Placement,
    ):
        super().__init__()
        self._placement = placement
        self._average = average
        self._progress = progress
        self._best_manager = best_manager
        self._held_out = sample_users(held_out, config.train.validation_users, config.train.seed)
        self._config = config
        self.stopping_metric = config.train.stopping_metric
        self._num_items = num_items
        self._usage_sample = sample_users(held_out, USAGE_USERS, config.train.seed)
        self._compute_user_vectors = None

    def on_train_begin(self, logs=None):
        """Compiles the user tower once."""
        self._compute_user_vectors = build_user_vector_function(self.model)

    def on_epoch_end(self, epoch, logs=None):
        """Updates the average, evaluates it over the full catalogue, saves the best."""
        self._average.update(epoch)
        with self._average.applied():
            measured = dict.fromkeys(self._names(), 0.0)
            if self._placement.is_chief:
                measured = self._measure()
            logs.update(self._placement.from_chief(measured))
            value = float(logs[f"val_{self.stopping_metric}"])
            if value > float(self._progress.best_value):
                self._progress.best_value.assign(value)
                self._progress.best_epoch.assign(epoch + 1)
                if self._placement.is_chief:
                    self._best_manager.save(checkpoint_number=epoch + 1)

    def _names(self) -> list[str]:
        """Of what `_measure` returns, in its order."""
        num_interests = self.model.user_tower.num_interests
        usage = [f"val_interest_{k}" for k in range(num_interests)] if num_interests > 1 else []
        if self.model.user_tower.num_prototypes:
            usage += _PROTOTYPES
        return [*(f"val_{name}" for name in self._metrics), *usage]

    @property
    def _metrics(self) -> tuple[str, ...]:
        """Those of every epoch, and the one that decides."""
        return tuple(dict.fromkeys([*_METRICS, self.stopping_metric]))

    def measure(self) -> dict[str, float]:
        """What the averaged weights give now."""
        with self._average.applied():
            return self._measure()

    def _measure(self) -> dict[str, float]:
        """Validation metrics, the share of the clicks of each interest, prototypes in use."""
        item_vectors = compute_item_vectors(self.model, self._num_items)
        max_length = self._config.model.max_history_length
        result = evaluate_user_vectors(
            self._compute_user_vectors,
            item_vectors,
            self._held_out,
            max_history_length=max_length,
            ks=_CUT_OFFS,
            exclude_seen=self._config.evaluation.exclude_seen,
        )
        metrics = result.metrics
        if self.stopping_metric not in metrics:
            positives = lists.to_rows(self._held_out.positives)
            counts = self.model.item_tower.item_counts
            metrics = metrics | measure_debiased(result.top_rows, positives, counts)
        measured = {f"val_{name}": metrics[name] for name in self._metrics}
        if self.model.user_tower.num_interests > 1:
            sample = self._usage_sample
            user_vectors = self._compute_user_vectors(sample.histories.last_padded(max_length))
            usage = measure_interest_usage(user_vectors, item_vectors, sample.positives)
            measured |= {f"val_interest_{k}": share for k, share in enumerate(usage.tolist())}
        if self.model.user_tower.num_prototypes:
            shares = measure_prototype_shares(self.model)
            values = compute_perplexity(shares), float(count_dead(shares))
            measured |= dict(zip(_PROTOTYPES, values, strict=True))
        return measured


def measure_debiased(
    top_rows: np.ndarray, positives: Ragged, item_counts: np.ndarray
) -> dict[str, float]:
    """`compute_user_debiased` over all users; 0, as plain metrics are, if no click can be found."""
    if not (positives.values >= 0).any():
        return {f"debiased_hit_rate@{k}": 0.0 for k in _CUT_OFFS}
    debiased = compute_user_debiased(top_rows, positives, item_counts, _CUT_OFFS)
    return {name: metric.total() for name, metric in debiased.items()}
