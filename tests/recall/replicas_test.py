"""The model on two replicas: two logical devices of the processor, in a process of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from recall import replicas
from recall.settings.model import ModelConfig

ROOT = Path(__file__).parents[2]

BUILD = """
import recall
import tensorflow as tf
from recall.config import RecallConfig
from recall.models.dssrec import DSSRec
from recall.optimizers import RowwiseAdam
from recall.settings.model import ModelConfig
from recall.vocabulary import ItemVocabulary

(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
for extractor in ModelConfig.EXTRACTORS:
    settings = ["model.dim=8", "model.num_blocks=1", "model.feed_forward_dim=8"]
    config = RecallConfig().override([*settings, f"model.extractor={extractor}"])
    with strategy.scope():
        model = DSSRec(config, ItemVocabulary(["a", "b", "c"]))
        model.compile(optimizer=RowwiseAdam())
        vectors = model(tf.constant([[2, 3], [4, 0]], tf.int64))
        model.optimizer.build(model.trainable_variables)
    print(strategy.num_replicas_in_sync, vectors.shape[0], len(model.trainable_variables) > 5)
"""


def run(script, *arguments):
    """What a script prints, in a process that sees no GPU."""
    result = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=ROOT,
        # Another test of this process may have set flags of XLA.
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "TF_XLA_FLAGS": "", "XLA_FLAGS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def test_the_model_can_be_built_on_two_devices():
    lines = run(BUILD).splitlines()
    assert lines == ["2 2 True"] * len(ModelConfig.EXTRACTORS)


STEPS = """
import json, sys

import recall
import tensorflow as tf

(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
sys.path.insert(0, "tests/recall/models")
import packed_step_test as steps

one = tf.distribute.get_strategy()
two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def build(strategy, is_packed, *settings, seq2seq=0):
    with strategy.scope():
        return steps.build(
            "dssrec", "uniform", "max", "model.dropout_rate=0", "loss.min_interest_share=0",
            "model.filter_share=0", f"loss.seq2seq_weight={seq2seq}", *settings,
            has_static_shapes=is_packed,
        )


def train(strategy, model, parts, num_steps=3):
    # Logs of every replica, and the weights of each.
    @tf.function
    def step(batch):
        return strategy.run(model.train_step, args=(batch,))

    batch = parts[0]
    if len(parts) > 1:
        batch = strategy.experimental_distribute_values_from_function(
            lambda context: parts[context.replica_id_in_sync_group]
        )
    logs = [step(batch) for _ in range(num_steps)][-1]
    copies = [strategy.experimental_local_results(weight) for weight in model.weights]
    return {
        "logs": [
            [float(value) for value in strategy.experimental_local_results(logs[name])]
            for name in sorted(logs)
        ],
        "weights": [[copy.numpy().tolist() for copy in weight] for weight in copies],
    }


first, second = steps.SEQUENCES[:2], steps.SEQUENCES[2:]
padded = steps.pad(first, 2), steps.pad(second, 3)
packed = steps.pack(first, [[0, 1]], 2), steps.pack(second, [[0, 1], [2]], 2)
nothing = steps.SequenceBatch(tf.zeros([1, 2], tf.int64))
"""

SUMS = """
import json

import recall
import tensorflow as tf
from recall import replicas

(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with two.scope():
    order = tf.Variable(0.0, trainable=False)
key, ranks = replicas.next_program_key(), []


@tf.function
def add():
    def of_replica():
        number = tf.distribute.get_replica_context().replica_id_in_sync_group
        own = tf.constant([[1.0, 2.0, 3.0]] * 2) + 10 * tf.cast(number, tf.float32)
        return replicas.sum_in_place(own, key, 0, order)

    return two.run(of_replica)


sums = [value.numpy().tolist() for value in two.experimental_local_results(add())]
operations = add.get_concrete_function().graph.get_operations()
ranks = [op.inputs[0].shape.rank for op in operations if op.type == "CollectiveReduceV2"]
print(json.dumps([sums, ranks]))
"""


def test_a_sum_in_place_is_of_one_axis_and_has_the_shape_of_its_parts():
    """XLA for GPUs refuses another: its layout would be that of one axis."""
    sums, ranks = json.loads(run(SUMS))

    assert sums == [[[12.0, 14.0, 16.0]] * 2] * 2
    assert ranks == [1, 1]


NO_GRAPHS = "--xla_gpu_enable_command_buffer="


@pytest.mark.parametrize(
    ("num_own", "num_replicas", "address", "flags", "can"),
    [
        (1, 2, "a:1", NO_GRAPHS, True),
        (1, 4, "a:1", f"--x {NO_GRAPHS}+WHILE {NO_GRAPHS} --y", True),
        (1, 2, "a:1", f"{NO_GRAPHS} {NO_GRAPHS}+WHILE", False),
        (1, 2, "a:1", "", False),
        (1, 2, None, NO_GRAPHS, False),
        (2, 4, "a:1", NO_GRAPHS, False),
        (2, 2, "a:1", NO_GRAPHS, False),
        (1, 1, "a:1", NO_GRAPHS, False),
    ],
)
def test_programs_exchange_where_every_process_has_one_replica_and_no_cuda_graphs(
    num_own, num_replicas, address, flags, can
):
    strategy = SimpleNamespace(
        num_replicas_in_sync=num_replicas,
        extended=SimpleNamespace(worker_devices=["GPU"] * num_own),
    )
    environment = {"XLA_FLAGS": flags} | ({"NCCL_COMM_ID": address} if address else {})

    assert replicas.can_sum_in_place(strategy, environment) is can


EQUAL = (
    STEPS
    + """
results = {}
for negatives in ("queue", "interest_queues"):
    for is_packed, whole, parts in (
        (False, steps.pad(steps.SEQUENCES, 5), padded),
        (True, steps.PACKED, packed),
    ):
        results[f"{negatives} {is_packed}"] = [
            train(strategy, build(strategy, is_packed, f"loss.negatives={negatives}"), own)
            for strategy, own in ((one, (whole,)), (two, parts))
        ]
whole = steps.pad(steps.SEQUENCES, 5)
results["nothing in the second"] = [
    train(strategy, build(strategy, False, "loss.negatives=queue", seq2seq=seq2seq), own)
    for strategy, own, seq2seq in ((one, (whole,), 0), (two, (whole, nothing), 0))
]
train(two, build(two, False, seq2seq=0.5), (nothing, whole))  # Pairs of no slot raise nothing.
print(json.dumps(results))
"""
)


@pytest.fixture(scope="module")
def equal():
    return json.loads(run(EQUAL))


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [
        "queue False",
        "queue True",
        "interest_queues False",
        "interest_queues True",
        "nothing in the second",
    ],
)
def test_a_batch_in_two_parts_trains_as_the_whole_one(equal, case):
    """Negatives are those of a queue, which are the same everywhere; parts have 7 and 8 slots."""
    whole, parts = equal[case]

    for (wanted,), values in zip(whole["logs"], parts["logs"], strict=True):
        np.testing.assert_allclose(values, [wanted, wanted], rtol=1e-5, atol=1e-6)
    for (wanted,), copies in zip(whole["weights"], parts["weights"], strict=True):
        np.testing.assert_array_equal(copies[0], copies[1])
        np.testing.assert_allclose(copies[0], wanted, atol=2e-5)


SEQ2SEQ = (
    STEPS
    + """
from recall import replicas

seed = tf.constant([1, 0], tf.int64)
model = build(one, False, "loss.negatives=queue", seq2seq=0.5)
# Seeds of the replicas by hand: the second one's is 1 xor 2246822519.
own = [
    float(model.compute_losses(part, tf.constant([number, 0], tf.int64), training=True).seq2seq)
    for part, number in zip(padded, (1, 2246822518))
]
distributed = build(two, False, "loss.negatives=queue", seq2seq=0.5)
logs = train(two, distributed, padded, num_steps=1)["logs"]


@tf.function
def seeds():
    return two.run(lambda: replicas.seed_of_own(seed))


found = [value.numpy().tolist() for value in two.experimental_local_results(seeds())]
print(json.dumps({"own": own, "seq2seq": logs[-1], "seeds": found}))
"""
)


@pytest.mark.slow
def test_seq2seq_compares_within_a_replica_and_is_a_mean_over_all():
    found = json.loads(run(SEQ2SEQ))

    assert found["seeds"] == [[1, 0], [1 ^ 2246822519, 0]]
    # Half of the pairs of two and of three sequences with three interests: 3 and 4.
    expected = (3 * found["own"][0] + 4 * found["own"][1]) / 7
    assert found["seq2seq"] == pytest.approx([expected, expected], rel=1e-5)


SPLIT = (
    STEPS
    + """
from recall.models.replicated_step import build_train_function

# The same shapes on both: a sequence of no click, and three rows.
parts = steps.pack([*first, [2]], [[0, 1]], 2), steps.pack(second, [[0, 1], [2]], 2)


def read(num_steps):
    several = [tf.nest.map_structure(lambda field: tf.stack([field] * num_steps), p) for p in parts]
    datasets = [tf.data.Dataset.from_tensors(part) for part in several]
    stream = two.distribute_datasets_from_function(
        lambda _: datasets[0].concatenate(datasets[1]).repeat()
    )
    return iter(stream)


def train_two(negatives, queue, exchanges_inside):
    # Compared within a replica, seq2seq is of another size there: it counts next to nothing.
    model = build(two, True, f"loss.negatives={negatives}", queue, seq2seq=1e-9)
    step = build_train_function(model, jit_compile=False, exchanges_inside=exchanges_inside)
    # Programs exchange in a loop; what is not compiled, one step after the other.
    batches = read(1 if exchanges_inside else 3)
    logs = [step(batches) for _ in range(3 if exchanges_inside else 1)][-1]
    copies = [two.experimental_local_results(weight) for weight in model.weights]
    return sorted(logs), [[copy.numpy().tolist() for copy in weight] for weight in copies]


results = {}
for negatives in ("queue", "interest_queues"):
    alone = train(one, build(one, True, f"loss.negatives={negatives}"), (steps.PACKED,))
    num_weights = len(alone["weights"])
    queue = "loss.seq2seq_queue=4" if negatives == "queue" else "loss.seq2seq_queue=0"
    for exchanges_inside in (False, True):
        # As in a compiled step of GPUs, where no replica waits for another outside its program.
        two.extended._use_merge_call = lambda inside=exchanges_inside: not inside
        names, weights = train_two(negatives, queue, exchanges_inside)
        results[f"{negatives} {exchanges_inside}"] = [
            alone["weights"], weights[:num_weights], names, *weights[num_weights:]
        ]
print(json.dumps(results))
"""
)


@pytest.fixture(scope="module")
def split_steps():
    return json.loads(run(SPLIT))


@pytest.mark.slow
@pytest.mark.parametrize("negatives", ["queue", "interest_queues"])
@pytest.mark.parametrize("exchanges_inside", [False, True])
def test_steps_in_parts_are_steps_of_one_device(split_steps, negatives, exchanges_inside):
    """Three of them, of several models; compiled or not, the parts are the same functions."""
    whole, parts, names, *queues = split_steps[f"{negatives} {exchanges_inside}"]
    for (wanted,), copies in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(copies[0], copies[1])
        # Adam makes steps of rounding errors where a gradient is zero.
        np.testing.assert_allclose(copies[0], wanted, atol=2e-4)
    assert names == [*(f"gradient_{k}" for k in range(3)), "loss", "seq2item", "seq2seq"]
    assert len(queues) == (negatives == "queue")
    for first, second in queues:
        np.testing.assert_array_equal(first, second)
        # Unit vectors of the last step: two futures of the one replica, two of the other.
        np.testing.assert_allclose(np.linalg.norm(first, axis=2), np.ones([4, 3]), rtol=1e-5)
        assert len(np.unique(np.round(first, 4), axis=0)) == 4


PROGRAMS = (
    STEPS
    + """
from recall.models.replicated_step import StepParts

several = tf.nest.map_structure(lambda field: tf.stack([field] * 3), steps.PACKED)
parts = StepParts(build(one, True, "loss.negatives=queue", seq2seq=0.5))
compute = tf.function(parts.compute, jit_compile=True)
programs = [
    compute.experimental_get_compiler_ir(several, parts.count(several), tf.constant(number))(
        stage="hlo"
    )
    for number in (0, 1)
]
print(json.dumps([len(programs[0]), programs[0] == programs[1]]))
"""
)


@pytest.mark.slow
def test_all_steps_of_a_batch_are_one_compiled_program():
    """The number of a step is no constant of it: compiling takes a GPU half a minute."""
    size, are_equal = json.loads(run(PROGRAMS))
    assert size > 10_000
    assert are_equal


ON_GPUS = (
    STEPS
    + """
from tensorflow.python.distribute import mirrored_run, mirrored_strategy

from recall.models import replicated_step

# Nothing of this runs: what would be started on two GPUs is looked at.
for module in (mirrored_run, mirrored_strategy):
    module._is_gpu_device = lambda device: True

several = tf.nest.map_structure(lambda field: tf.stack([field] * 3), packed[1])
dataset = tf.data.Dataset.from_tensors(several).repeat()


def build_step(exchanges_inside):
    model = build(two, True, "loss.negatives=queue", "loss.seq2seq_queue=4", seq2seq=0.5)
    step = replicated_step.build_train_function(
        model, jit_compile=True, exchanges_inside=exchanges_inside
    )
    stream = iter(two.distribute_datasets_from_function(lambda _: dataset))
    return step.get_concrete_function(stream).graph


def body_of_loop(graph):
    (loop,) = [op for op in graph.get_operations() if op.type == "While"]
    return graph._get_function(loop.get_attr("body").name).graph


def programs(graph):
    calls = [op for op in graph.get_operations() if op.type == "StatefulPartitionedCall"]
    assert all(call.get_attr("_XlaMustCompile") for call in calls)
    return [graph._get_function(call.get_attr("f").name).graph for call in calls]


def keys_of_sums(graph):
    # Of the group, and of the sum in it.
    sums = [op for op in graph.get_operations() if op.type == "CollectiveReduceV2"]
    return [[int(tf.get_static_value(op.inputs[i])) for i in (2, 3)] for op in sums]


whole = [
    [[keys_of_sums(program), keys_of_sums(body_of_loop(program))] for program in programs(graph)]
    for graph in (build_step(True), build_step(True))
]
parts = [op.type for op in body_of_loop(build_step(False)).get_operations()]
print(json.dumps({"parts": parts, "whole": whole}))
"""
)


@pytest.fixture(scope="module")
def on_gpus():
    return json.loads(run(ON_GPUS))


@pytest.mark.slow
def test_what_the_host_starts_in_a_step_of_two_gpus(on_gpus):
    """What a step costs beside its arithmetic; the weights are arguments of the programs."""
    started = [kind for kind in on_gpus["parts"] if kind not in ("Placeholder", "Const")]
    assert started.count("StatefulPartitionedCall") == 4
    assert len(started) <= 24, started


@pytest.mark.slow
def test_all_steps_of_a_batch_are_one_program_of_a_replica_with_one_sum_a_step(on_gpus):
    """XLA wants one group a program; sums of two models that share keys would be mixed up."""
    groups = []
    for first, second in on_gpus["whole"]:
        assert first == second  # The replicas have the same keys.
        ((group, number),), ((group_of_step, number_of_step),) = first
        assert (group_of_step, number_of_step) == (group, number + 1)
        groups.append(group)
    assert groups[0] + 2 <= groups[1]
