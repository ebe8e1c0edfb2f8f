"""Every operation of a step has a GPU kernel, and no shape of a packed one depends on data.

TensorFlow's wheel knows its GPU kernels on a machine without a GPU too.
"""

import functools

import pytest
import tensorflow as tf

from recall.config import RecallConfig
from recall.features import PackedBatch, SequenceBatch
from recall.models.dssrec import DSSRec
from recall.optimizers import RowwiseAdam
from recall.vocabulary import ItemVocabulary
from tests.category_features import with_categories_as_feature
from tests.gpu_kernels import find_missing, has_kernel, operations_of

CHOICES = [
    ["model.extractor=dssrec"],
    ["model.extractor=last_state"],
    ["model.extractor=self_attentive", "loss.interest_reduction=sum"],
    ["loss.negatives=queue", "loss.interest_reduction=argmax"],
    ["loss.negatives=interest_queues"],
    ["train.compute_dtype=bfloat16", "train.gradient_dtype=bfloat16"],
    ["model.use_categories=true"],
    ["loss.negatives=full", "model.block=gated", "model.filter_share=0"],
]

OF_TOWERS = [
    config for config in CHOICES if not all(setting.startswith("loss.") for setting in config)
]
"""Losses change no tower."""

WITHOUT_SHAPES = {"Unique", "UniqueV2", "UniqueWithCounts", "Where", "BooleanMask"}
"""What they give is as long as the data say."""


def vocabulary_for(settings):
    """Three items, whose categories are a feature where the settings say so."""
    vocabulary = ItemVocabulary(["a", "b", "c"], [1, 1, 1], [["x"], ["y"], ["x", "y"]])
    return with_categories_as_feature(vocabulary) if settings.model.use_categories else vocabulary


@functools.cache
def graph_operations(config, is_packed):
    """Those of a step; made once for all tests, which takes seconds."""
    settings = RecallConfig().override([*TINY, *config])
    model = DSSRec(settings, vocabulary_for(settings))
    model.compile(optimizer=RowwiseAdam(has_static_shapes=is_packed))
    model(tf.zeros([1, 1], tf.int64))
    model.optimizer.build(model.trainable_variables)
    slots, sequences = [3, 8], [6]
    batch = SequenceBatch(tf.TensorSpec([None, None], tf.int64))
    if is_packed:
        shapes = PackedBatch(slots, slots, slots, slots, sequences, sequences)
        batch = PackedBatch(*(tf.TensorSpec(shape, tf.int32) for shape in shapes[:6]))
    return operations_of(tf.function(model.train_step).get_concrete_function(batch).graph)


TINY = [
    "model.dim=8",
    "model.num_interests=2",
    "model.num_blocks=1",
    "model.feed_forward_dim=8",
    "model.max_history_length=8",
    "loss.num_negatives=8",
]


@pytest.mark.parametrize("config", CHOICES, ids=lambda config: config[-1].split(".")[-1])
@pytest.mark.parametrize(
    "is_packed",
    # A GPU takes packed steps unless it is told not to.
    [pytest.param(False, marks=pytest.mark.slow), True],
    ids=["padded", "packed"],
)
def test_no_operation_of_a_step_needs_the_processor(config, is_packed):
    operations = graph_operations(tuple(config), is_packed)
    # `DEFAULT` kernels are those of shapes and handles: they run beside any device.
    devices = ["XLA_GPU_JIT"] if is_packed else ["GPU", "DEFAULT"]

    assert len(operations) > 300
    assert find_missing(operations, *devices) == set()


@pytest.mark.parametrize("config", CHOICES, ids=lambda config: config[-1].split(".")[-1])
def test_no_shape_of_a_packed_step_depends_on_the_data(config):
    operations = graph_operations(tuple(config), True)

    assert {operation.type for operation in operations} & WITHOUT_SHAPES == set()
    unknown = {
        operation.type
        for operation in operations
        if "redundant_placeholder" not in operation.name  # What the end of a loop does not look at.
        for tensor in operation.outputs
        if not tensor.shape.is_fully_defined() and tensor.dtype not in (tf.resource, tf.variant)
    }
    # Axes to be summed over, which are known where the shapes are.
    assert unknown <= {"BroadcastGradientArgs"}


@pytest.mark.parametrize("config", OF_TOWERS, ids=lambda config: config[-1].split(".")[-1])
def test_no_operation_of_a_user_or_an_item_needs_the_processor(config):
    """What evaluation computes on a GPU before it ranks."""
    settings = RecallConfig().override([*TINY, *config])
    model = DSSRec(settings, vocabulary_for(settings))
    towers = [
        tf.function(lambda ids: model.user_tower(ids).user_vectors),
        tf.function(lambda ids: model.item_tower(ids)),
    ]
    shapes = [[None, None], [None]]
    graphs = [
        tower.get_concrete_function(tf.TensorSpec(shape, tf.int64)).graph
        for tower, shape in zip(towers, shapes, strict=True)
    ]

    for operations in map(operations_of, graphs):
        assert len(operations) > 5
        assert find_missing(operations, "GPU", "DEFAULT") == set()


def test_the_registry_tells_what_has_no_kernel():
    """`tf.reverse_sequence` of int64: the check would find it."""
    with tf.Graph().as_default():
        reverse = tf.reverse_sequence(tf.zeros([2, 3], tf.int64), [1, 2], seq_axis=1).op
        product = tf.matmul(tf.zeros([2, 2]), tf.zeros([2, 2])).op

    assert not has_kernel(reverse, "GPU", "DEFAULT")
    assert has_kernel(product, "GPU", "DEFAULT")
