"""The seq2seq loss of a step: anchors, confident pairs, and how much it counts."""

import math

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


def compute_seq2seq(
    prefixes: Prefixes, seed: tf.Tensor, num_interests: int, config: LossConfig
) -> tf.Tensor:
    """Mean loss of the confident pairs at one random slot per sequence.

    Args:
        prefixes: Of the batch.
        seed: `[2]` int; the slots are drawn from it.
        num_interests: K.
        config: Temperature, fraction and choice of pairs.

    Returns:
        Scalar; of several replicas each has its part.
    """
    lengths = prefixes.lengths
    is_valid = lengths > 0
    # The past ends at slot `anchor`; its future is items anchor+1..length,
    # the newest `length - anchor` items: a prefix of the reversed sequence.
    anchor = tf.cast(uniform(tf.shape(lengths), seed) * tf.cast(lengths, tf.float32), tf.int32)
    past_vectors = gather_slots(prefixes.user_vectors, prefixes.starts + anchor)
    future_vectors = prefixes.encode_future(tf.maximum(lengths - anchor - 1, 0))
    if config.stop_future_gradient:
        future_vectors = tf.stop_gradient(future_vectors)
    max_pairs = None
    if prefixes.is_real is not None:
        max_pairs = _most_pairs(past_vectors.shape[0], num_interests, config)
    losses = seq2seq_loss(
        past_vectors,
        future_vectors,
        is_valid,
        temperature=config.seq2seq_temperature or config.temperature,
        max_gradient_pairs=max_pairs,
    )
    num_of_all = None
    if replicas.count() > 1:
        num_valid = tf.reduce_sum(tf.cast(is_valid, tf.int32))
        num_of_all = replicas.total("pairs", count_pairs(num_valid, num_interests, config))
    select = select_confident_of_users if config.confident_of == "user" else select_confident_pairs
    is_confident = select(losses, is_valid, confident_fraction=config.confident_fraction)
    return reduce_confident(losses, is_confident, num_of_all)


def count_pairs(
    num_sequences: tf.Tensor, num_interests: int | tf.Tensor, config: LossConfig
) -> tf.Tensor:
    """How many pairs of so many valid sequences are confident, as int32."""
    if config.confident_of == "user":
        return num_sequences * pairs_of_user(int(num_interests), config.confident_fraction)
    return count_confident_pairs(num_sequences, num_interests, config.confident_fraction)


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


def _most_pairs(num_sequences: int, num_interests: int, config: LossConfig) -> int:
    if config.confident_of == "user":
        return num_sequences * pairs_of_user(num_interests, config.confident_fraction)
    return math.ceil(config.confident_fraction * num_sequences * num_interests)
