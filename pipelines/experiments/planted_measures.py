"""Prototypes and confident pairs of a model held against the interests that a log was made with."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from pipelines.artifacts import records
from pipelines.artifacts.held_out import HeldOutUsers, read_held_out
from pipelines.artifacts.trained_model import TrainedModel
from pipelines.evaluation import vectors
from pipelines.experiments import planted_truth
from pipelines.experiments.planted_truth import PlantedLog
from recall.layers.extractor import WantedPrefixes
from recall.losses.seq2seq import (
    select_confident_of_users,
    select_confident_pairs,
    seq2seq_loss,
)
from recall.models.future_interests import find_common_interests
from recall.ragged import Ragged
from recall.towers import UserTowerOutput
from recall.vocabulary import FIRST_ITEM_ID

_BATCH_USERS = 64
"""Users whose pairs compete, some more than a step of training has: of 384 slots 10 of 40."""

_MAX_USERS = 2048
_SEED = 20_261_128
"""Of the anchors and the users; any fixed number serves."""


def measure_model(trained: TrainedModel, examples_dir: str | Path, log: str) -> dict[str, float]:
    """What a model found of the planted interests.

    Args:
        trained: A model of the extractor `dssrec`.
        examples_dir: The examples it was trained on.
        log: Spec of the synthetic log: `synthetic:key=value,...`.

    Returns:
        `prototype_nmi`: normalised mutual information of the prototype that a click belongs to
        most and its planted interest. `interest_nmi`: the same of the interest vector that
        scores a held-out click highest. `pair_base_rate`: share of the (user, prototype) pairs
        whose future was to be foreseen (`planted_truth.find_predictable`);
        `confident_precision`: the same of the confident pairs; `confident_lift`: their ratio;
        `confident_recall`: confident pairs of all that were to be foreseen.
    """
    held_out = vectors.sample_users(read_held_out(examples_dir, "test"), _MAX_USERS, _SEED)
    truth = planted_truth.read(log, records.read_vocabulary(examples_dir))
    max_length = trained.config.model.max_history_length
    found = {
        "prototype_nmi": _prototype_nmi(trained, held_out, truth, max_length),
        "interest_nmi": _interest_nmi(trained, held_out, truth, max_length),
    }
    return found | _measure_pairs(trained, held_out, truth, max_length)


def _prototype_nmi(
    trained: TrainedModel, held_out: HeldOutUsers, truth: PlantedLog, max_length: int
) -> float:
    """Of all clicks of the histories."""
    prototypes, planted = [], []
    for part in _batches(held_out):
        history_ids = part.histories.last_padded(max_length)
        shares = trained.model.user_tower.cluster(tf.constant(history_ids)).numpy()
        is_real = history_ids >= FIRST_ITEM_ID
        prototypes.append(shares.argmax(axis=-1)[is_real])
        planted.append(truth.interest_of[history_ids[is_real] - FIRST_ITEM_ID])
    return planted_truth.normalised_mutual_information(
        np.concatenate(prototypes), np.concatenate(planted)
    )


def _interest_nmi(
    trained: TrainedModel, held_out: HeldOutUsers, truth: PlantedLog, max_length: int
) -> float:
    """Of the held-out clicks."""
    winners, planted = [], []
    for part in _batches(held_out):
        users = trained.model(tf.constant(part.histories.last_padded(max_length))).numpy()
        ids, owners = part.positives.values, part.positives.row_numbers()
        known = ids >= FIRST_ITEM_ID
        items = trained.model.item_tower(tf.constant(ids[known])).numpy()
        scores = np.einsum("nkd,nd->nk", users[owners[known]], items)
        winners.append(scores.argmax(axis=1))
        planted.append(truth.interest_of[ids[known] - FIRST_ITEM_ID])
    return planted_truth.normalised_mutual_information(
        np.concatenate(winners), np.concatenate(planted)
    )


def _measure_pairs(
    trained: TrainedModel, held_out: HeldOutUsers, truth: PlantedLog, max_length: int
) -> dict[str, float]:
    """Confident pairs at one random slot of every user, as in training."""
    rng = np.random.default_rng(_SEED)
    loss_config = trained.config.loss
    confident, predictable = [], []
    for part in _batches(held_out):
        sequences = [
            np.concatenate([part.histories[user], part.positives[user]])
            for user in range(part.num_users)
        ]
        sequences = [ids[ids >= FIRST_ITEM_ID] for ids in sequences]
        cuts = [int(rng.integers(1, len(ids))) for ids in sequences]
        pasts = Ragged.from_rows([ids[:cut] for ids, cut in zip(sequences, cuts, strict=True)])
        futures = [ids[cut:][::-1] for ids, cut in zip(sequences, cuts, strict=True)]
        future_ids = Ragged.from_rows(futures).last_padded(max_length)
        past = _encode(trained, pasts.last_padded(max_length), is_future=False)
        future = _encode(trained, future_ids, is_future=True)
        is_pair = find_common_interests(past.interest_weights, future.interest_weights, loss_config)
        losses = seq2seq_loss(
            past.user_vectors,
            future.user_vectors,
            is_pair,
            temperature=loss_config.seq2seq_temperature or loss_config.temperature,
        )
        select = (
            select_confident_of_users
            if loss_config.confident_of == "user"
            else select_confident_pairs
        )
        chosen = select(
            losses,
            is_pair,
            confident_fraction=loss_config.confident_fraction,
        )
        confident.append(chosen.numpy())
        shares = trained.model.user_tower.cluster(tf.constant(future_ids)).numpy()
        predictable.append(
            planted_truth.find_predictable(truth, part.user_ids, np.array(cuts), future_ids, shares)
        )
    return planted_truth.describe_selection(np.concatenate(confident), np.concatenate(predictable))


def _encode(trained: TrainedModel, ids: np.ndarray, *, is_future: bool) -> UserTowerOutput:
    """Each history at its last click."""
    last = (ids >= FIRST_ITEM_ID).sum(axis=1) - 1
    wanted = WantedPrefixes(slots=tf.constant(last), is_future=is_future)
    return trained.model.user_tower.encode_prefixes(tf.constant(ids), wanted)


def _batches(held_out: HeldOutUsers) -> list[HeldOutUsers]:
    """Users of all lengths in a batch, as training draws them, never one alone."""
    order = np.random.default_rng(_SEED).permutation(held_out.num_users)
    parts = np.array_split(order, max(1, held_out.num_users // _BATCH_USERS))
    return [held_out.take(part) for part in parts]
