"""Speed of ranking the catalogue: `python -m tests.benchmarks.evaluation` prints JSON.

Runs what `recall evaluate` runs for a model: user tower, item vectors, exact
ranking without the seen items, metrics. The weights are random, which costs as
much as trained ones. A case with more users than `--measured_users` is
measured on that many, and the time of all of them is extrapolated. Beside it
stands the time of the bare matrix products, which no exact ranking can do without.

Where there is a GPU it ranks; `CUDA_VISIBLE_DEVICES=` in front of the command leaves it
to the processor. What a GPU finds is compared with numpy on some of the users.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from absl import app, flags

from pipelines.artifacts import trained_model
from pipelines.artifacts.held_out import HeldOutUsers
from pipelines.evaluation import lists, vectors
from pipelines.evaluation.rankers import full_ranking
from recall.config import RecallConfig
from recall.ragged import Ragged
from tests.benchmarks import logs, measure

_MODULE = "tests.benchmarks.evaluation"

_SIZES = flags.DEFINE_list(
    "sizes", ["6040x3416", "100000x1000000"], "Users x items; the first is MovieLens-1M."
)
_INTERESTS = flags.DEFINE_integer("interests_per_user", 4, "Interests per user.", 1)
_MEASURED_USERS = flags.DEFINE_integer(
    "measured_users", 6_144, "Users measured at most; batches have 512, on a GPU 2,048.", 1
)

_PRODUCT_USERS = 512
_PRODUCT_ITEMS = 16_384
"""Users and items of one bare product: large enough for the full rate of the machine."""

_COMPARED_USERS = 256
"""Users whose lists are compared with those of numpy."""


def draw_held_out(num_users: int, num_items: int) -> HeldOutUsers:
    """Users with a history as long as in Amazon Beauty and one positive each."""
    generator = np.random.default_rng(0)
    lengths = logs.draw_num_slots(num_users, generator)
    ids = logs.draw_item_ids(int(lengths.sum()), num_items, generator)
    return HeldOutUsers(
        np.array([f"u{user}".encode() for user in range(num_users)], object),
        Ragged(ids, np.concatenate([[0], np.cumsum(lengths)])),
        Ragged(logs.draw_item_ids(num_users, num_items, generator), np.arange(num_users + 1)),
    )


def measure_products(num_users: int, num_items: int, num_interests: int, dim: int) -> measure.Cost:
    """The inner products of a batch of users with the whole catalogue, thrown away."""
    generator = np.random.default_rng(0)
    interests = generator.random((num_users * num_interests, dim), np.float32)
    tiles = [
        generator.random((min(_PRODUCT_ITEMS, num_items - start), dim), np.float32)
        for start in range(0, num_items, _PRODUCT_ITEMS)
    ]

    def multiply() -> None:
        for tile in tiles:
            interests @ tile.T

    return measure.cheapest(multiply, 1)


def compare_lists(
    top_rows: np.ndarray, held_out: HeldOutUsers, user_vectors: np.ndarray, item_vectors: np.ndarray
) -> dict[str, float]:
    """How many lists, and slots of them, are those of numpy, for the same user vectors.

    Args:
        top_rows: `[num_users, k]` rows of some users.
        held_out: These users, of whom seen items are excluded.
        user_vectors: `[num_users, num_interests, dim]`.
        item_vectors: `[num_items, dim]`.
    """
    excluded = lists.to_rows(held_out.histories)
    expected = full_ranking.rank_catalogue(
        user_vectors, item_vectors, top_rows.shape[1], excluded
    ).rows
    is_equal = top_rows == expected
    return {
        "lists_as_of_numpy": float(is_equal.all(axis=1).mean()),
        "slots_as_of_numpy": float(is_equal.mean()),
    }


def measure_case(case: dict[str, Any]) -> dict[str, float]:
    """Evaluates a model and says what a user cost."""
    config = RecallConfig().override([f"model.num_interests={case['num_interests']}"])
    num_measured = min(case["num_users"], case["measured_users"])
    held_out = draw_held_out(num_measured, case["num_items"])
    model = trained_model.build_model(config, logs.Catalogue(case["num_items"]))
    compute_user_vectors = vectors.build_user_vector_function(model)
    compute_user_vectors(held_out.histories.last_padded(config.model.max_history_length)[:1])
    memory_built = measure.peak_memory_gb()

    def evaluate(users: HeldOutUsers = held_out) -> lists.EvaluationResult:
        return lists.evaluate_user_vectors(
            compute_user_vectors,
            vectors.compute_item_vectors(model, case["num_items"]),
            users,
            max_history_length=config.model.max_history_length,
            ks=config.evaluation.all_ks,
            exclude_seen=config.evaluation.exclude_seen,
        )

    gpus, compared = tf.config.list_physical_devices("GPU"), {}
    if gpus:  # It loads its programs when they are first used.
        some = held_out.take(np.arange(min(num_measured, _COMPARED_USERS)))
        user_vectors = compute_user_vectors(
            some.histories.last_padded(config.model.max_history_length)
        )
        item_vectors = vectors.compute_item_vectors(model, case["num_items"])
        compared = compare_lists(evaluate(some).top_rows, some, user_vectors, item_vectors)
    cost = measure.cheapest(evaluate, 1)
    peak_memory = measure.peak_memory_gb()
    num_multiplied = min(num_measured, _PRODUCT_USERS)
    products = measure_products(
        num_multiplied, case["num_items"], case["num_interests"], config.model.dim
    )
    share = num_measured / case["num_users"]
    scores = num_measured * case["num_items"]
    return {
        "share_measured": share,
        "seconds": cost.seconds / share,
        "cpu_seconds": cost.cpu_seconds / share,
        "scores_per_cpu_second": scores / cost.cpu_seconds,
        "seconds_of_products": products.seconds * case["num_users"] / num_multiplied,
        "peak_memory_gb": peak_memory,
        "peak_memory_gb_of_the_model": memory_built,
        "gpus": len(gpus),
        **compared,
    }


def main(_: Sequence[str]) -> None:
    """Measures the case that is named, or every size in a process of its own."""
    if measure.answer_case(measure_case):
        return
    cases = []
    for size in _SIZES.value:
        measure.show_progress(size)
        num_users, num_items = map(int, size.split("x"))
        case = {
            "num_users": num_users,
            "num_items": num_items,
            "num_interests": _INTERESTS.value,
            "measured_users": _MEASURED_USERS.value,
        }
        cases.append(case | measure.run_case(_MODULE, case))
    measure.print_report(cases)


if __name__ == "__main__":
    app.run(main)
