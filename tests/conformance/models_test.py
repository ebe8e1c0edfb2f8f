"""What every model must survive. A new model joins by one line in `MODELS`."""

import numpy as np
import pytest
import tensorflow as tf

from recall.config import RecallConfig
from recall.features import SequenceBatch
from recall.models.dssrec import DSSRec
from recall.optimizers import RowwiseAdam
from recall.vocabulary import ItemVocabulary
from tests.category_features import with_categories_as_feature

MODELS = {
    "dssrec": [],
    "dssrec_without_residual": ["model.interest_residual=false"],
    "last_state": ["model.extractor=last_state"],
    "self_attentive": ["model.extractor=self_attentive"],
    "inner_product": ["model.similarity=inner_product"],
    "categories": ["model.use_categories=true"],
    "gated": ["model.block=gated"],
    "no_filter": ["model.filter_share=0"],
    "full_softmax": ["loss.negatives=full"],
    "capsule": ["model.extractor=capsule"],
    "routing": ["model.extractor=routing", "model.num_prototypes=6"],
    "routing_by_category": ["model.extractor=routing", "model.use_categories=true"],
    "k_by_user": ["model.min_interest_weight=0.33"],
    "items": ["model.pools=items", "model.clusters=items", "loss.min_pair_weight=0.1"],
    "both_by_category": [
        "model.pools=both",
        "model.clusters=items",
        "loss.semantic_weight=0.1",
        "model.use_categories=true",
    ],
    "one_interest": ["model.num_interests=1", "model.clustering=false", "model.pools=items"],
    "gate": ["model.residual_form=gate"],
    "anchors": ["loss.seq2seq_anchors=3"],
    "future_queue": ["loss.seq2seq_queue=6", "loss.seq2seq_anchors=2"],
    "first_residual": ["model.residual_form=first", "loss.overlap_weight=0.1"],
}
"""Name -> settings that differ from `TINY`."""

TINY = (
    "model.dim=8",
    "model.num_interests=3",
    "model.num_blocks=1",
    "model.feed_forward_dim=12",
    "model.max_history_length=6",
    "loss.num_negatives=8",
    "loss.confident_fraction=0.8",
)
VOCABULARY = ItemVocabulary(
    [f"item {i}" for i in range(12)],
    counts=range(1, 13),
    categories=[(f"category {i % 3}",) for i in range(12)],
)
BATCH = SequenceBatch(
    tf.constant(
        [
            [2, 3, 4, 5, 6, 7, 8],
            [9, 10, 11, 0, 0, 0, 0],
            [12, 13, 2, 4, 6, 0, 0],
            [5, 3, 0, 0, 0, 0, 0],
        ],
        tf.int64,
    )
)
HISTORIES = np.array([[2, 3, 4, 5, 6, 7], [9, 10, 0, 0, 0, 0], [13, 0, 0, 0, 0, 0]])


LOSSES_ALONE = ("full_softmax", "anchors", "future_queue")
"""Their towers are those of `dssrec`."""

SAME_VARIABLES = ("full_softmax", "anchors", "inner_product", "k_by_user")
"""They have those of `dssrec`."""


def models_but(*slow):
    """All models; tests of some are slow, as they repeat those of another."""
    names = [pytest.param(name, marks=pytest.mark.slow if name in slow else ()) for name in MODELS]
    return pytest.mark.parametrize("config", names, indirect=True)


@pytest.fixture(scope="module", params=MODELS)
def config(request):
    return RecallConfig().override([*TINY, *MODELS[request.param]])


def build_model(config):
    vocabulary = VOCABULARY
    if config.model.use_categories:
        vocabulary = with_categories_as_feature(VOCABULARY)
    model = DSSRec(config, vocabulary)
    model.compile(optimizer=RowwiseAdam(0.01))
    model(tf.zeros([1, 1], tf.int64))
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.fixture(scope="module")
def step(config):
    """(model after one step, its weights before, the logs of the step)."""
    tf.keras.utils.set_random_seed(1)
    model = build_model(config)
    before = [weight.numpy() for weight in model.trainable_variables]
    return model, before, model.train_step(BATCH)


def vectors_of(model):
    user = model.user_tower(HISTORIES)
    items = model.item_tower(np.arange(1, 14))
    return [user.user_vectors.numpy(), user.interest_weights.numpy(), items.numpy()]


def test_one_step_changes_every_weight(step):
    model, before, logs = step

    assert all(np.isfinite(value) for value in logs.values())
    queues = [] if model.future_queue is None else [model.future_queue]
    assert len(before) + len(queues) == len(model.weights)  # None is left out of training.
    for queue in queues:  # Two anchors of three sequences, one of two items.
        assert queue.numpy().any(axis=2).sum() == 6 * 3
    for weight, old in zip(model.trainable_variables, before, strict=True):
        # A first step of Adam is the learning rate wherever there is a gradient.
        assert np.abs(weight - old).max() > 0.005, weight.name
        assert np.isfinite(weight).all(), weight.name


@models_but(*SAME_VARIABLES)
def test_config_and_checkpoint_round_trip(step, config, tmp_path):
    model, _, _ = step
    read_config = RecallConfig.from_json(config.to_json())
    assert read_config == config
    expected = vectors_of(model)
    path = tf.train.Checkpoint(model=model, optimizer=model.optimizer).save(str(tmp_path / "ckpt"))

    tf.keras.utils.set_random_seed(99)
    restored = build_model(read_config)
    assert any((new != old).any() for new, old in zip(vectors_of(restored), expected, strict=True))
    checkpoint = tf.train.Checkpoint(model=restored, optimizer=restored.optimizer)
    checkpoint.restore(path).assert_consumed()

    for new, old in zip(vectors_of(restored), expected, strict=True):
        np.testing.assert_array_equal(new, old)
    assert int(restored.optimizer.iterations) == 1
    for new, old in zip(restored.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(new, old)


class ServingModule(tf.Module):
    """Both towers with any batch size and history length."""

    def __init__(self, model):
        super().__init__()
        self.weights = model.weights
        # Behind functions: the saved graph needs the weights, not Keras' own functions.
        self._user_tower = lambda ids: model.user_tower(ids)
        self._item_tower = lambda ids: model.item_tower(ids)

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int64)], autograph=False)
    def encode_users(self, history_ids):
        return self._user_tower(history_ids)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64)], autograph=False)
    def encode_items(self, item_ids):
        return self._item_tower(item_ids)


@models_but(*LOSSES_ALONE)
def test_exported_towers_give_equal_vectors_for_any_batch_size(step, tmp_path):
    model, _, _ = step
    user_vectors, interest_weights, item_vectors = vectors_of(model)
    tf.saved_model.save(ServingModule(model), str(tmp_path))

    loaded = tf.saved_model.load(str(tmp_path))

    for rows, length in ((slice(0, 1), 6), (slice(0, 3), 6), (slice(1, 3), 2)):
        vectors, weights = loaded.encode_users(tf.constant(HISTORIES[rows, :length]))
        np.testing.assert_allclose(vectors, user_vectors[rows], atol=1e-5)
        np.testing.assert_allclose(weights, interest_weights[rows], atol=1e-5)
    for size in (1, 13):
        vectors = loaded.encode_items(tf.range(1, size + 1, dtype=tf.int64))
        np.testing.assert_allclose(vectors, item_vectors[:size], atol=1e-6)
