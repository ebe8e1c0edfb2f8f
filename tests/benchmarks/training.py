"""Cost of a training step: `python -m tests.benchmarks.training` prints JSON.

The step is the one `recall train` runs, on batches that are already in memory.
Sequences are as long as in Amazon Beauty, or those of `--examples`, whose ids
wrap around in a smaller catalogue. One thing
is varied at a time: the first value of each flag is the base, the others are
measured with the base of the rest; `--all_combinations` measures every one.
"""

import itertools
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from absl import app, flags

from pipelines.artifacts import trained_model
from pipelines.training import devices, input_pipeline, packed_input, threads
from pipelines.training.epochs.weight_averaging import WeightAverage
from recall.config import RecallConfig
from recall.features import PackedBatch, SequenceBatch
from recall.vocabulary import FIRST_ITEM_ID, PADDING_ID
from tests.benchmarks import logs, measure

_MODULE = "tests.benchmarks.training"

_VARIED = ("num_items", "num_interests", "seq2seq", "batches", "features", "event_features")

_NUM_RUNS = 5
"""Passes over the batches; the cheapest counts."""

_CATALOGUES = flags.DEFINE_list(
    "catalogues", ["10000", "100000", "1000000", "10000000"], "Numbers of items."
)
_INTERESTS = flags.DEFINE_list("interests", ["4", "1"], "Numbers of interests.")
_SEQ2SEQ = flags.DEFINE_list("seq2seq", ["on", "off"], "Whether the seq2seq loss is on or off.")
_BATCHES = flags.DEFINE_list(
    "batches", ["bucketed", "padded"], "Batches of like lengths, or all padded to 50."
)
_FEATURES = flags.DEFINE_list(
    "item_features", ["off", "on"], "Whether items have five features: names, a number, a vector."
)
_EVENT_FEATURES = flags.DEFINE_list(
    "event_features",
    ["off"],
    "Whether clicks have two features, a name and a time: `off`, `on`; on a CPU.",
)
_ALL = flags.DEFINE_bool("all_combinations", False, "Measures every combination.")
_STEPS = flags.DEFINE_integer("steps", 40, "Different batches, each taken several times.", 1)


def build_cases() -> Iterator[dict[str, Any]]:
    """The cases that the flags name, the base first."""
    values = [
        [int(number) for number in _CATALOGUES.value],
        [int(number) for number in _INTERESTS.value],
        _SEQ2SEQ.value,
        _BATCHES.value,
        _FEATURES.value,
        _EVENT_FEATURES.value,
    ]
    base = tuple(options[0] for options in values)
    for combination in itertools.product(*values):
        num_varied = sum(a != b for a, b in zip(combination, base, strict=True))
        if _ALL.value or num_varied <= 1:
            yield dict(zip(_VARIED, combination, strict=True)) | {
                "steps": _STEPS.value,
                "examples": logs.EXAMPLES.value,
                "settings": measure.SETTINGS.value,
            }


def case_config(case: dict[str, Any]) -> RecallConfig:
    """The default configuration with what the case varies, for the device there is."""
    off = ["loss.seq2seq_weight=0"] if case["seq2seq"] == "off" else []
    has_features = case.get("features") == "on"
    columns = [column.to_dict() for column in logs.FEATURES] if has_features else []
    config = RecallConfig.from_dict({"features": {"columns": columns}}).override(
        [f"model.num_interests={case['num_interests']}", *off, *case["settings"]]
    )
    devices.prepare(config)
    return devices.complete(config)


def read_packed_batches(case: dict[str, Any], config: RecallConfig) -> list[PackedBatch]:
    """The batches of an epoch of about as many steps as the case names."""
    with tempfile.TemporaryDirectory() as folder:
        examples_dir = case["examples"]
        if examples_dir is None:
            examples_dir = f"{folder}/packed"
            num_sequences = int(case["steps"] * config.train.batch_slots / logs.MEAN_SLOTS)
            logs.write_training_split(
                examples_dir, logs.draw_sequences(num_sequences, case["num_items"])
            )
        data = packed_input.PackedExamples(examples_dir, config).stream()
        batches = list(data.dataset.take(data.steps_per_epoch))
    wrap = FIRST_ITEM_ID + case["num_items"]
    return [
        PackedBatch(*(tf.where(ids < wrap, ids, ids % wrap) for ids in batch[:3]), *batch[3:])
        for batch in batches
    ]


def read_batches(case: dict[str, Any], config: RecallConfig) -> list[SequenceBatch]:
    """The first batches of an epoch, at most all of it, with ids of the catalogue."""
    with tempfile.TemporaryDirectory() as folder:
        examples_dir = case["examples"]
        if examples_dir is None:
            num_sequences = case["steps"] * config.train.batch_size
            examples_dir = f"{folder}/bucketed"
            sequences = logs.draw_sequences(num_sequences, case["num_items"])
            logs.write_training_split(examples_dir, sequences)
        batches = _read_first(examples_dir, config, case["steps"])
        if case["batches"] == "padded":
            batches = _pad(batches, f"{folder}/padded", config)
    wrapped = (
        np.where(ids < FIRST_ITEM_ID, ids, FIRST_ITEM_ID + ids % case["num_items"])
        for ids in batches
    )
    columns_of = logs.draw_event_values if case.get("event_features") == "on" else lambda _: {}
    return [SequenceBatch(tf.constant(ids, tf.int64), columns_of(ids)) for ids in wrapped]


def _read_first(examples_dir: str, config: RecallConfig, num_batches: int) -> list[np.ndarray]:
    data = input_pipeline.read_training_data(examples_dir, config)
    batches = data.dataset.take(min(num_batches, data.steps_per_epoch))
    return [batch.item_ids.numpy() for batch in batches]


def _pad(batches: list[np.ndarray], folder: str, config: RecallConfig) -> list[np.ndarray]:
    """The same sequences in batches of all lengths, as wide as the longest history."""
    length = config.model.max_history_length
    sequences = [ids[ids != PADDING_ID] for batch in batches for ids in batch]
    logs.write_training_split(folder, {length: sequences})
    mixed = _read_first(folder, config, len(sequences))
    return [np.pad(ids, [(0, 0), (0, length + 1 - ids.shape[1])]) for ids in mixed]


def measure_case(case: dict[str, Any]) -> dict[str, float]:
    """Builds the model, trains it on the batches and says what a step cost."""
    config = case_config(case)
    threads.share_cores_between_operations()
    is_packed = config.train.jit_compile
    batches = read_packed_batches(case, config) if is_packed else read_batches(case, config)
    memory_before = measure.peak_memory_gb()
    has_features = case.get("features") == "on"
    features = logs.draw_features(case["num_items"]) if has_features else None
    of_events = logs.EVENT_COLUMNS if case.get("event_features") == "on" else ()
    catalogue = logs.Catalogue(case["num_items"], features, log_columns=of_events)
    model = trained_model.build_model(config, catalogue, len(batches))
    memory_built = measure.peak_memory_gb()
    if case.get("averaging"):
        average = WeightAverage(model.trainable_variables, config.train.averaging_window)
        average.update(0)
    # The signature that Keras gives the step: the type of the stream.
    signature = SequenceBatch(
        tf.TensorSpec([None, None], tf.int64),
        {
            name: tf.TensorSpec([None, None, values.shape[2]], values.dtype)
            for name, values in batches[0].columns.items()
        },
    )
    if is_packed:
        signature = tf.nest.map_structure(lambda t: tf.TensorSpec(t.shape, t.dtype), batches[0])
    train_step = tf.function(
        model.train_step, input_signature=[signature], jit_compile=is_packed or None
    )

    def train() -> None:
        for batch in batches:
            losses = train_step(batch)
        float(losses["loss"])

    start = time.perf_counter()
    float(train_step(batches[0])["loss"])  # Traces, and compiles what depends on shapes.
    seconds_to_compile = time.perf_counter() - start
    train()
    cost = measure.cheapest(train, _NUM_RUNS)
    num_slots = sum(int((batch.positive_ids.numpy() != PADDING_ID).sum()) for batch in batches)
    num_padded = sum(batch.positive_ids.shape.num_elements() for batch in batches)
    num_steps = len(batches) * (batches[0].history_ids.shape[0] if is_packed else 1)
    return {
        "seconds_to_compile": seconds_to_compile,
        "target_slots_per_second": num_slots / cost.seconds,
        "target_slots_per_cpu_second": num_slots / cost.cpu_seconds,
        "ms_per_step": 1e3 * cost.seconds / num_steps,
        "cpu_ms_per_step": 1e3 * cost.cpu_seconds / num_steps,
        "target_slots_per_step": num_slots / num_steps,
        "padding_share": 1 - num_slots / num_padded,
        "peak_memory_gb": measure.peak_memory_gb(),
        "peak_memory_gb_before_the_model": memory_before,
        "peak_memory_gb_when_built": memory_built,
        **gpu_memory(),
    }


def gpu_memory() -> dict[str, float]:
    """The most memory that TensorFlow has held on the GPU, if there is one."""
    if not tf.config.list_logical_devices("GPU"):
        return {}
    return {"peak_gpu_memory_gb": tf.config.experimental.get_memory_info("GPU:0")["peak"] / 1e9}


def compare(cases: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Each case against the base: ratios of CPU time, which a busy machine changes less."""
    base, ratios = cases[0], {}
    for case in cases[1:]:
        differing = [f"{name}={case[name]}" for name in _VARIED if case.get(name) != base.get(name)]
        ratios[", ".join(differing)] = {
            "cpu_time_of_a_step": round(case["cpu_ms_per_step"] / base["cpu_ms_per_step"], 2),
            "cpu_time_of_a_slot": round(
                base["target_slots_per_cpu_second"] / case["target_slots_per_cpu_second"], 2
            ),
        }
    return ratios


def main(_: Sequence[str]) -> None:
    """Measures the case that is named, or every case in a process of its own."""
    if measure.answer_case(measure_case):
        return
    cases = []
    for case in build_cases():
        measure.show_progress(", ".join(f"{name}={case[name]}" for name in _VARIED))
        cases.append(case | measure.run_case(_MODULE, case))
    measure.print_report(cases, against_the_first=compare(cases))


if __name__ == "__main__":
    devices.keep_compiled_steps()
    app.run(main)
