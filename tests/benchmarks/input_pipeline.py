"""Speed of reading examples: `python -m tests.benchmarks.input_pipeline` prints JSON.

Reads whole epochs as `recall train` does and does nothing with the batches.
"""

import tempfile
from collections.abc import Sequence
from typing import Any

from absl import app, flags

from pipelines.training import input_pipeline
from recall.config import RecallConfig
from recall.vocabulary import PADDING_ID
from tests.benchmarks import logs, measure

_MODULE = "tests.benchmarks.input_pipeline"

_NUM_ITEMS = 100_000

_SEQUENCES = flags.DEFINE_integer(
    "sequences", 200_000, "Sequences of an epoch, as long as in Amazon Beauty.", 1
)
_BATCH_SIZES = flags.DEFINE_list("batch_sizes", ["128", "512"], "Sequences per batch.")
_EPOCHS = flags.DEFINE_integer("epochs", 3, "Epochs read; the cheapest counts.", 1)


def measure_case(case: dict[str, Any]) -> dict[str, float]:
    """Reads epoch after epoch and says what a sequence cost."""
    config = RecallConfig().override(
        [f"train.batch_size={case['batch_size']}", f"train.max_epochs={case['epochs'] + 1}"]
    )
    data = input_pipeline.read_training_data(case["examples"], config)
    batches = iter(data.dataset)
    first_epoch = [next(batches) for _ in range(data.steps_per_epoch)]
    num_slots = sum(int((part.positive_ids.numpy() != PADDING_ID).sum()) for part in first_epoch)
    num_padded = sum(part.positive_ids.shape.num_elements() for part in first_epoch)
    del first_epoch

    def read_epoch() -> None:
        for _ in range(data.steps_per_epoch):
            next(batches)

    cost = measure.cheapest(read_epoch, case["epochs"])
    return {
        "sequences_per_second": data.num_sequences / cost.seconds,
        "target_slots_per_second": num_slots / cost.seconds,
        "cpu_microseconds_per_sequence": 1e6 * cost.cpu_seconds / data.num_sequences,
        "ms_per_batch": 1e3 * cost.seconds / data.steps_per_epoch,
        "cpu_ms_per_batch": 1e3 * cost.cpu_seconds / data.steps_per_epoch,
        "padding_share": 1 - num_slots / num_padded,
        "peak_memory_gb": measure.peak_memory_gb(),
    }


def main(_: Sequence[str]) -> None:
    """Measures the case that is named, or every batch size in a process of its own."""
    if measure.answer_case(measure_case):
        return
    cases = []
    with tempfile.TemporaryDirectory() as folder:
        if logs.EXAMPLES.value is None:
            measure.show_progress(f"writing {_SEQUENCES.value} sequences")
            logs.write_training_split(folder, logs.draw_sequences(_SEQUENCES.value, _NUM_ITEMS))
        examples = {"examples": logs.EXAMPLES.value or folder, "epochs": _EPOCHS.value}
        for batch_size in map(int, _BATCH_SIZES.value):
            measure.show_progress(f"batch_size={batch_size}")
            case = {"batch_size": batch_size}
            cases.append(case | measure.run_case(_MODULE, case | examples))
    measure.print_report(cases, sequences=logs.EXAMPLES.value or _SEQUENCES.value)


if __name__ == "__main__":
    app.run(main)
