"""Every operation of a step has a GPU kernel, and no shape of a packed one depends on data.

TensorFlow's wheel knows its GPU kernels on a machine without a GPU too.
"""

import pytest
import tensorflow as tf
from tensorflow.python.framework import kernels

from recall.config import RecallConfig
from recall.features import PackedBatch, SequenceBatch
from recall.models.dssrec import DSSRec
from recall.optimizers import RowwiseAdam
from recall.vocabulary import ItemVocabulary

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

WITHOUT_SHAPES = {"Unique", "UniqueV2", "UniqueWithCounts", "Where", "BooleanMask"}
"""What they give is as long as the data say."""

STRUCTURE = {
    "Placeholder",  # Arguments of the function.
    "NoOp",
    "Const",
    "Assert",
}


def graph_operations(config, is_packed):
    vocabulary = ItemVocabulary(["a", "b", "c"], categories=[["x"], ["y"], ["x", "y"]])
    model = DSSRec(RecallConfig().override([*TINY, *config]), vocabulary)
    model.compile(optimizer=RowwiseAdam(has_static_shapes=is_packed))
    model(tf.zeros([1, 1], tf.int64))
    model.optimizer.build(model.trainable_variables)
    slots, sequences = [3, 8], [6]
    batch = SequenceBatch(tf.TensorSpec([None, None], tf.int64))
    if is_packed:
        shapes = PackedBatch(slots, slots, slots, slots, sequences, sequences)
        batch = PackedBatch(*(tf.TensorSpec(shape, tf.int32) for shape in shapes))
    return operations_of(tf.function(model.train_step).get_concrete_function(batch).graph)


def operations_of(graph):
    """Those of a graph and of the functions that it calls, each once."""
    found, graphs, seen = [], [graph], set()
    while graphs:
        graph = graphs.pop()
        found += graph.get_operations()
        for name, function in graph._functions.items():
            inner = getattr(function, "graph", function)
            if name not in seen and hasattr(inner, "get_operations"):
                graphs.append(inner)
            seen.add(name)
    return found


TINY = [
    "model.dim=8",
    "model.num_interests=2",
    "model.num_blocks=1",
    "model.feed_forward_dim=8",
    "model.max_history_length=8",
    "loss.num_negatives=8",
]


def has_kernel(operation, *devices):
    """Whether a kernel for one of the devices takes the types that the operation has."""

    def takes(constraint):
        types = operation.get_attr(constraint.name)
        types = types if isinstance(types, list) else [types]
        return set(types) <= set(map(tf.as_dtype, constraint.allowed_values.list.type))

    return any(
        kernel.device_type in devices
        and all(takes(c) for c in kernel.constraint if c.allowed_values.list.type)
        for kernel in kernels.get_registered_kernels_for_op(operation.type).kernel
    )


@pytest.mark.parametrize("config", CHOICES, ids=lambda config: config[-1].split(".")[-1])
@pytest.mark.parametrize("is_packed", [False, True], ids=["padded", "packed"])
def test_no_operation_of_a_step_needs_the_processor(config, is_packed):
    operations = graph_operations(config, is_packed)
    # `DEFAULT` kernels are those of shapes and handles: they run beside any device.
    devices = ["XLA_GPU_JIT"] if is_packed else ["GPU", "DEFAULT"]

    missing = {
        (operation.type, *(tensor.dtype.name for tensor in operation.inputs))
        for operation in operations
        if operation.type not in STRUCTURE and not has_kernel(operation, *devices)
    }

    assert len(operations) > 300
    assert missing == set()


@pytest.mark.parametrize("config", CHOICES, ids=lambda config: config[-1].split(".")[-1])
def test_no_shape_of_a_packed_step_depends_on_the_data(config):
    operations = graph_operations(config, is_packed=True)

    assert {operation.type for operation in operations} & WITHOUT_SHAPES == set()
    unknown = {
        operation.type
        for operation in operations
        for tensor in operation.outputs
        if not tensor.shape.is_fully_defined() and tensor.dtype not in (tf.resource, tf.variant)
    }
    # Axes to be summed over, which are known where the shapes are.
    assert unknown <= {"BroadcastGradientArgs"}


def test_the_registry_tells_what_has_no_kernel():
    """`tf.reverse_sequence` of int64: the check would find it."""
    with tf.Graph().as_default():
        reverse = tf.reverse_sequence(tf.zeros([2, 3], tf.int64), [1, 2], seq_axis=1).op
        product = tf.matmul(tf.zeros([2, 2]), tf.zeros([2, 2])).op

    assert not has_kernel(reverse, "GPU", "DEFAULT")
    assert has_kernel(product, "GPU", "DEFAULT")
