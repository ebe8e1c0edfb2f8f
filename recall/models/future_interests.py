"""The seq2seq loss of a step: anchors, confident pairs, and how much it counts."""

import math
from typing import NamedTuple

import tensorflow as tf

from recall import replicas
from recall.losses.seq2seq import (
    count_confident_pairs,
    pairs_of_user,
    reduce_confident,
    select_confident_of_users,
    select_confident_pairs,
    seq2seq_loss,
)
from recall.models.prefixes import Prefixes
from recall.models.step_numbers import gather_slots, uniform
from recall.settings.loss import LossConfig


class Futures(NamedTuple):
    """What the futures of a step cost, and what they are.

    Attributes:
        loss: Scalar, the mean of the confident pairs; of several replicas each has its part.
        vectors: `[num_futures, num_interests, dim]` float; zeros where a future does not hold an
            interest, of the settings that choose pairs by that.
        is_real: `[num_futures]` bool, False where there is no future.
    """

    loss: tf.Tensor
    vectors: tf.Tensor
    is_real: tf.Tensor


def compute_seq2seq(
    prefixes: Prefixes,
    seed: tf.Tensor,
    num_interests: int,
    config: LossConfig,
    queue: tf.Tensor | None = None,
) -> Futures:
    """The loss of the confident pairs at random slots of every sequence.

    Args:
        prefixes: Of the batch.
        seed: `[2]` int; the slots are drawn from it.
        num_interests: K.
        config: Anchors, temperature, fraction and choice of pairs.
        queue: `[num_queued, num_interests, dim]` futures of earlier steps; None: no such.
    """
    lengths, num_anchors = prefixes.lengths, config.seq2seq_anchors
    # The past ends at slot `anchor`; its future is items anchor+1..length,
    # the newest `length - anchor` items: a prefix of the reversed sequence.
    anchors, has_future = draw_anchors(lengths, seed, num_anchors)
    slots = tf.reshape(prefixes.starts + anchors, [-1])
    past_vectors = gather_slots(prefixes.user_vectors, slots)
    future_vectors, future_weights = prefixes.encode_future(tf.maximum(lengths - anchors - 1, 0))
    if config.stop_future_gradient:
        future_vectors = tf.stop_gradient(future_vectors)
    is_valid = tf.reshape(has_future, [-1])
    is_pair, kept_vectors = is_valid, future_vectors
    if config.min_pair_weight > 0 or prefixes.is_active is not None:
        past_weights = gather_slots(prefixes.interest_weights, slots)
        is_common = find_common_interests(past_weights, future_weights, config)
        is_pair = is_common & is_valid[:, tf.newaxis]
        # Later steps know nothing of this past, but what the future lacks is no negative either.
        is_held = find_common_interests(future_weights, future_weights, config)
        kept_vectors = tf.where(is_held[:, :, tf.newaxis], future_vectors, 0.0)
    max_pairs = owners = None
    if prefixes.is_real is not None:
        max_pairs = _most_pairs(past_vectors.shape[0], num_interests, config)
    if num_anchors > 1:
        owners = tf.tile(tf.range(tf.size(lengths)), [num_anchors])
    losses = seq2seq_loss(
        past_vectors,
        future_vectors,
        is_pair,
        temperature=config.seq2seq_temperature or config.temperature,
        max_gradient_pairs=max_pairs,
        owners=owners,
        queued_vectors=queue,
    )
    num_of_all = None
    if replicas.count() > 1 and is_pair is is_valid:
        num_valid = tf.reduce_sum(tf.cast(is_valid, tf.int32))
        num_of_all = replicas.total("pairs", count_pairs(num_valid, num_interests, config))
    select = select_confident_of_users if config.confident_of == "user" else select_confident_pairs
    is_confident = select(losses, is_pair, confident_fraction=config.confident_fraction)
    loss = reduce_confident(losses, is_confident, num_of_all)
    if is_pair is not is_valid:
        # How many pairs the other replicas have is not known before: a mean of their means.
        loss /= replicas.count()
    return Futures(loss, kept_vectors, is_valid)


def find_common_interests(
    past_weights: tf.Tensor, future_weights: tf.Tensor, config: LossConfig
) -> tf.Tensor:
    """`[..., num_interests]` weights -> bool, the interests that past and future both hold."""
    least = tf.minimum(past_weights, future_weights)
    return (least > 0) & (least >= config.min_pair_weight)


def draw_anchors(
    lengths: tf.Tensor, seed: tf.Tensor, num_anchors: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Slots of every sequence, one in each of as many parts of about the same length.

    So no slot is drawn twice, and a sequence of fewer slots has them all.

    Args:
        lengths: `[num_sequences]` int32, slots of each.
        seed: `[2]` int.
        num_anchors: Parts.

    Returns:
        `[num_anchors, num_sequences]` int32 slots, and as many bool, False where a part has
        no slot: `min(num_anchors, length)` of a sequence are True.
    """
    parts = tf.range(num_anchors + 1)[:, tf.newaxis] * lengths // num_anchors
    begins, sizes = parts[:-1], parts[1:] - parts[:-1]
    drawn = uniform(tf.shape(begins), seed) * tf.cast(sizes, tf.float32)
    return begins + tf.cast(drawn, tf.int32), sizes > 0


def count_futures(lengths: tf.Tensor, config: LossConfig) -> tf.Tensor:
    """How many of the anchors of sequences have a future, as int32.

    Args:
        lengths: `[..., num_sequences]` int32, 0 where there is no sequence.
        config: Anchors.
    """
    return tf.reduce_sum(tf.minimum(lengths, config.seq2seq_anchors), axis=-1)


def count_pairs(
    num_futures: tf.Tensor, num_interests: int | tf.Tensor, config: LossConfig
) -> tf.Tensor:
    """How many pairs of so many valid futures are confident, as int32."""
    if config.confident_of == "user":
        return num_futures * pairs_of_user(int(num_interests), config.confident_fraction)
    return count_confident_pairs(num_futures, num_interests, config.confident_fraction)


def seq2seq_weight_at(step: tf.Tensor, config: LossConfig) -> tf.Tensor | float:
    """What the seq2seq loss is multiplied with at a step of the optimiser.

    Args:
        step: Scalar int, steps before this one.
        config: The weight, and over how many steps it rises and falls.

    >>> config = LossConfig(seq2seq_weight=0.5, seq2seq_warm_up_steps=4, seq2seq_decay_steps=8)
    >>> [float(seq2seq_weight_at(tf.constant(step), config)) for step in (0, 2, 4, 9)]
    [0.0, 0.1875, 0.25, 0.0]
    """
    weight: tf.Tensor | float = config.seq2seq_weight
    now = tf.cast(step, tf.float32)
    if config.seq2seq_warm_up_steps:
        weight *= tf.minimum(now / config.seq2seq_warm_up_steps, 1.0)
    if config.seq2seq_decay_steps:
        weight *= tf.maximum(1.0 - now / config.seq2seq_decay_steps, 0.0)
    return weight


def _most_pairs(num_futures: int, num_interests: int, config: LossConfig) -> int:
    if config.confident_of == "user":
        return num_futures * pairs_of_user(num_interests, config.confident_fraction)
    return math.ceil(config.confident_fraction * num_futures * num_interests)
