"""DSSRec: two towers trained by the seq2item and the seq2seq loss."""

from collections.abc import Callable, Iterator

import tensorflow as tf
import tensorflow_recommenders as tfrs

from recall import replicas
from recall.config import RecallConfig
from recall.features import TARGET_WEIGHTS, PackedBatch, SequenceBatch
from recall.gradient_exchange import Gradient
from recall.item_tower import ItemTower
from recall.layers.dropout import dropout_seed
from recall.layers.policy import layers_compute_in
from recall.losses.negatives import sample_clicked_negatives
from recall.models import queues, step_numbers
from recall.models.auxiliary import compute_auxiliary_losses
from recall.models.future_interests import (
    compute_seq2seq,
    count_futures,
    count_pairs,
    seq2seq_weight_at,
)
from recall.models.loss_terms import LossTerms
from recall.models.next_clicks import Negatives, compute_next_clicks
from recall.models.prefixes import Prefixes, encode_packed, encode_padded
from recall.models.queues import QueueRows
from recall.models.replicated_step import build_train_function
from recall.models.step_numbers import share_of_mean
from recall.towers import UserTower
from recall.vocabulary import PADDING_ID, ItemVocabulary


class DSSRec(tfrs.Model):
    """Multi-interest sequential recall model.

    Every slot of a sequence trains the user tower on its next click (seq2item).
    A random slot of each sequence, or several, also trains it on the interests of
    everything that follows (seq2seq). With the extractor `last_state`, `self_attentive` or
    `capsule` the same recipe trains SASRec, ComiRec-SA or ComiRec-DR. With
    `loss.negatives=queue` the seq2item loss is that of CLRec, with `interest_queues`
    that of Multi-CLRec, whose encoder is the extractor `routing`.

    Under a `tf.distribute` strategy a step has a batch per replica, and its losses are means
    over all of them, whatever a replica has. Each draws negatives, anchors and dropout of
    its own; a queue has the clicks of all. The seq2seq loss compares the sequences of a
    replica, and `loss.min_interest_share` is of its clicks.

    Attributes:
        click_queue: `[num_negatives]` dense ids of the latest clicks, newest first,
            the negatives of the next step; `[num_interests, num_negatives]` where
            every interest has its own; None where negatives are drawn.
        future_queue: `[loss.seq2seq_queue, num_interests, dim]` interests of the latest
            futures, further negatives of seq2seq; None without.

    Reference:
        Ma et al., "Disentangled Self-Supervision in Sequential Recommenders",
        KDD 2020.
    """

    def __init__(self, config: RecallConfig, vocabulary: ItemVocabulary, **kwargs):
        """Creates the towers for the items of `vocabulary`."""
        super().__init__(**kwargs)
        self._recall_config, self._loss_config = config, config.loss
        self._gradient_dtype = tf.as_dtype(config.train.gradient_dtype)
        # No constant of the step, which would be compiled anew for every seed, and no weight.
        seed = tf.Variable(config.train.seed, trainable=False, dtype=tf.int64)
        object.__setattr__(self, "_seed", seed)
        self.item_tower = ItemTower(
            config.model, vocabulary, config.features, name="item_tower", dtype="float32"
        )
        with layers_compute_in(config.train.compute_dtype):
            self.user_tower = UserTower(
                config.model,
                self.item_tower,
                vocabulary.users,
                config.features,
                vocabulary.log_columns,
                name="user_tower",
            )
        self._has_interest_queues = config.loss.negatives == "interest_queues"
        self.click_queue = self.future_queue = None
        if config.loss.negatives in ("queue", "interest_queues"):
            # Until clicks have come in, items as they are drawn otherwise. No step has this seed.
            first_ids = self._sample_negatives(tf.constant([config.train.seed, -1], tf.int64))
            if self._has_interest_queues:
                first_ids = tf.tile(first_ids[tf.newaxis], [self.user_tower.num_interests, 1])
            self.click_queue = tf.Variable(first_ids, trainable=False, name="click_queue")
        if config.loss.seq2seq_queue and config.loss.seq2seq_weight > 0:
            shape = [config.loss.seq2seq_queue, self.user_tower.num_interests, config.model.dim]
            # Zeros stand for no future, until some have come in. The last of the weights, whose
            # numbers are their names in a checkpoint.
            self.future_queue = tf.Variable(tf.zeros(shape), trainable=False, name="future_queue")
        # A step returns what all replicas have in common.
        self.distribute_reduction_method = "first"

    def call(self, history_ids: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Interest vectors `[batch, num_interests, dim]` of whole histories."""
        return self.user_tower(history_ids, training=training).user_vectors

    def compute_losses(
        self, batch: SequenceBatch | PackedBatch, seed: tf.Tensor, training: bool = False
    ) -> LossTerms:
        """The losses of one batch.

        Args:
            batch: Sequences of at least two items. In a graph of a `PackedBatch` no shape
                depends on them.
            seed: `[2]` int; negatives and seq2seq anchors are drawn from it.
            training: Whether dropout is active.

        Returns:
            `LossTerms`, each loss a mean over what it is taken over; of several replicas
            each has its part of the sum, divided by the number of all.
        """
        encode = encode_packed if isinstance(batch, PackedBatch) else encode_padded
        prefixes = encode(
            self.user_tower,
            batch,
            training=training,
            reverse_future=self._loss_config.reverse_future,
        )
        clicks = compute_next_clicks(
            prefixes,
            self.item_tower,
            self._choose_negatives(prefixes, seed),
            self._loss_config,
            gradient_dtype=self._gradient_dtype,
            training=training,
        )
        futures, seq2seq = None, tf.zeros([])
        if self._loss_config.seq2seq_weight > 0:
            futures = compute_seq2seq(
                prefixes,
                seed + 1,
                self.user_tower.num_interests,
                self._loss_config,
                self.future_queue,
            )
            seq2seq = futures.loss
        auxiliary = compute_auxiliary_losses(
            prefixes,
            clicks,
            self.user_tower,
            self.item_tower,
            self._loss_config,
            self._auxiliary_weights,
            seed + 2,
        )
        return LossTerms(
            share_of_mean(clicks.losses, prefixes.target_weights),
            seq2seq,
            auxiliary,
            prefixes.user_vectors,
            prefixes.positive_ids,
            clicks.winners,
            prefixes.is_real,
            futures,
        )

    def _choose_negatives(self, prefixes: Prefixes, seed: tf.Tensor) -> Negatives:
        """As `LossConfig.negatives` says."""
        if self._loss_config.negatives == "full":
            return Negatives(None)
        if self._loss_config.negatives == "in_batch":
            return Negatives(prefixes.positive_ids, is_item=prefixes.is_target)
        if self._has_interest_queues and self.user_tower.num_prototypes:
            # An item is of one interest whoever clicks it, and so is its queue.
            _, shares = self.user_tower.route(prefixes.positive_ids, prefixes.positive_contents)
            return Negatives(self.click_queue, owners=tf.argmax(shares, axis=1))
        if self.click_queue is not None:
            return Negatives(self.click_queue)
        counts = self.item_tower.item_counts
        if self._loss_config.negatives == "popular" and counts.any():
            return Negatives(*sample_clicked_negatives(counts, self._loss_config.num_drawn, seed))
        return Negatives(self._sample_negatives(seed))

    def _sample_negatives(self, seed: tf.Tensor) -> tf.Tensor:
        """`[num_negatives]` dense ids, every item that can be learnt alike."""
        return self.item_tower.sample_uniform(self._loss_config.num_drawn, seed)

    # Nothing in it is for AutoGraph, which would take as long as the tracing.
    @tf.autograph.experimental.do_not_convert
    def train_step(self, batch: SequenceBatch | PackedBatch) -> dict[str, tf.Tensor]:
        """One step on seq2item + seq2seq_weight * seq2seq.

        Args:
            batch: Its sequences. A `PackedBatch` with a leading axis is as many steps,
                one after the other, whose results are averaged.

        Returns:
            `loss`, `seq2item`, `seq2seq` and what else has a weight; with several interests also
            `gradient_<k>`, the share of interest k in the norms of the loss's
            gradients with respect to each.
        """
        if isinstance(batch, PackedBatch) and batch.history_ids.shape.rank == 3:
            return self._train_steps(batch)
        gradients, terms, *report = self.compute_gradients(batch)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        # After the step, so that no user meets other clicks of her own as negatives.
        rows = self.queue_rows(terms)
        self.enqueue(tf.nest.map_structure(replicas.join_all, rows))
        if replicas.count() > 1:
            joined = replicas.sum_over_all(step_numbers.join_report(*report))
            report = step_numbers.split_report(joined, len(self.loss_names))
        return step_numbers.name_report(self.loss_names, *report)

    def compute_gradients(
        self, batch: SequenceBatch | PackedBatch
    ) -> tuple[list[Gradient], LossTerms, list[tf.Tensor], tf.Tensor]:
        """The part of a step before the weights change; of one replica.

        Returns:
            Gradients of the trainable variables, the losses with what they are of, their
            values in the order of `loss_names`, and squared norms of the total's gradients with
            respect to each interest.
        """
        seed = tf.stack([self._seed.read_value(), 2 * self.optimizer.iterations])
        seed = replicas.seed_of_own(seed)
        with tf.GradientTape() as tape, dropout_seed(seed):
            terms = self.compute_losses(batch, seed, training=True)
            weight = seq2seq_weight_at(self.optimizer.iterations, self._loss_config)
            total = terms.seq2item + weight * terms.seq2seq
            for name, weight in self._auxiliary_weights.items():
                total += weight * terms.auxiliary[name]
        variables = self.trainable_variables
        *gradients, vector_gradient = tape.gradient(total, [*variables, terms.user_vectors])
        squares = tf.reduce_sum(tf.square(vector_gradient), axis=[0, 2])
        losses = [total, terms.seq2item, terms.seq2seq, *terms.auxiliary.values()]
        return gradients, terms, losses, squares

    def _train_steps(self, batches: PackedBatch) -> dict[str, tf.Tensor]:
        """A step per batch of the leading axis, in one loop."""
        num_steps = batches.history_ids.shape[0]
        names = self.report_names

        def body(step: tf.Tensor, totals: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
            losses = self.train_step(batches.step(step))
            return step + 1, [
                total + losses[name] for name, total in zip(names, totals, strict=True)
            ]

        _, totals = tf.while_loop(
            lambda step, _: step < num_steps, body, (0, [tf.zeros([]) for _ in names])
        )
        return {name: total / num_steps for name, total in zip(names, totals, strict=True)}

    @property
    def _auxiliary_weights(self) -> dict[str, float]:
        # No attribute: Keras would track it in checkpoints.
        return self._recall_config.auxiliary_weights

    @property
    def loss_names(self) -> list[str]:
        """Of the losses that a step returns; the first is their weighted sum."""
        return [*step_numbers.LOSSES, *self._auxiliary_weights]

    @property
    def report_names(self) -> list[str]:
        """Names of what a step returns, in its order."""
        return step_numbers.report_names(self.loss_names, self.user_tower.num_interests)

    def queue_rows(self, terms: LossTerms) -> QueueRows:
        """What a step puts into the queues; nothing where there are none."""
        return queues.rows_of(terms, self.click_queue, self.future_queue)

    def enqueue(self, rows: QueueRows) -> None:
        """Puts what a step has made in front of the queues."""
        queues.enqueue_rows(rows, self.click_queue, self.future_queue)

    def count_terms(self, batches: PackedBatch) -> tf.Tensor:
        """`[num_steps, 2]` float: weights of the clicks, and confident pairs, of several steps."""
        weights = batches.columns.get(TARGET_WEIGHTS)
        if weights is None:
            weights = tf.cast(batches.positive_ids != PADDING_ID, tf.float32)
        num_clicks = tf.reduce_sum(weights, axis=[1, 2])
        num_pairs = count_pairs(
            count_futures(batches.lengths, self._loss_config),
            self.user_tower.num_interests,
            self._loss_config,
        )
        return tf.stack([num_clicks, tf.cast(num_pairs, tf.float32)], axis=1)

    def make_train_function(self, force: bool = False) -> Callable[[Iterator], dict]:
        """As Keras does, but for compiled steps of several replicas."""
        if not self.jit_compile or self.distribute_strategy.num_replicas_in_sync == 1:
            return super().make_train_function(force)
        if self.train_function is None or force:
            self.train_function = build_train_function(
                self,
                jit_compile=True,
                exchanges_inside=replicas.can_sum_in_place(self.distribute_strategy),
            )
        return self.train_function
