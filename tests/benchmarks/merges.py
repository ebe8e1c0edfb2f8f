"""What varied lists cost: `python -m tests.benchmarks.merges --run=DIR`.

Picks the ten items of every held-out user of a finished run from her 40 best ones, by each
merge and weight, and prints JSON: recall, NDCG, diversity, and by how much they differ from
those of the plain list, with 95 % intervals over users.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

from pipelines.artifacts.held_out import HeldOutUsers, read_held_out
from pipelines.artifacts.trained_model import TrainedModel, load_model
from pipelines.evaluation import intervals, lists, vectors
from pipelines.evaluation.rankers import full_ranking
from pipelines.evaluation.trade_off import MERGES, POOL, find_pairs
from recall.categories import common_categories
from recall.metrics import diversity, ranking
from recall.metrics.ranking import UserMetric
from serving.retrieval.merge import MergedItems
from tests.benchmarks import measure

_RUN_DIR = flags.DEFINE_string("run", "", "Folder of `recall run`.")
_SPLIT = flags.DEFINE_string("split", "test", "`test` or `valid`.")
_USERS = flags.DEFINE_integer("users", 1_000_000, "Users at most.", 1)
_WEIGHTS = flags.DEFINE_list(
    "weights", ["0.003", "0.005", "0.007", "0.03", "0.04", "0.05", "0.06", "0.07"], "To try."
)

K = 10
_SEED = 1
_BATCH_SIZE = 512


def read_pools(trained: TrainedModel, held_out: HeldOutUsers) -> list[MergedItems]:
    """The best `POOL * K` items of every user, without those that she has had."""
    encode = vectors.build_user_vector_function(trained.model)
    items = vectors.compute_item_vectors(trained.model, trained.vocabulary.num_items)
    pools = []
    for start in range(0, held_out.num_users, _BATCH_SIZE):
        users = np.arange(start, min(start + _BATCH_SIZE, held_out.num_users))
        histories = held_out.histories.take(users)
        of_users = encode(histories.last_padded(trained.config.model.max_history_length))
        ranked = full_ranking.rank_catalogue(of_users, items, POOL * K, lists.to_rows(histories))
        for rows, scores in zip(ranked.rows, ranked.scores, strict=True):
            real = rows >= 0
            pools.append(MergedItems(rows[real], scores[real], np.zeros(real.sum(), np.int32)))
    return pools


def measure_case(case: Mapping[str, Any]) -> dict[str, Any]:
    """All merges and weights of one run."""
    run_dir = Path(case["run"])
    trained = load_model(run_dir / "model")
    held_out = read_held_out(run_dir / "examples", case["split"])
    held_out = vectors.sample_users(held_out, case["users"], _SEED)
    pools, categories = read_pools(trained, held_out), trained.vocabulary.categories
    positives = lists.to_rows(held_out.positives)
    left_out = common_categories(categories)
    packed = diversity.pack_categories(categories, left_out)
    pairs = find_pairs(pools, categories, {*left_out})

    def describe(merge: str | None, weight: float) -> dict[str, UserMetric]:
        picked = np.full((len(pools), K), -1)
        for user, pool in enumerate(pools):
            chosen = pool.rows[:K]
            if merge is not None:
                chosen = MERGES[merge](pool, pairs[user], K, weight).rows
            picked[user, : len(chosen)] = chosen
        ranks = ranking.compute_ranks(picked, positives)
        found = ranking.compute_user_metrics(ranks, positives, [K])
        varied = diversity.compute_user_category_diversity(picked, packed, [K])
        kept = {name: found[f"{name}@{K}"] for name in ("recall", "ndcg")}
        return {**kept, "category_diversity": varied[K]}

    plain = describe(None, 0.0)
    points = [{name: metric.total() for name, metric in plain.items()}]
    for merge in MERGES:
        for weight in case["weights"]:
            found, point = describe(merge, weight), {"merge": merge, "diversity_weight": weight}
            for name, metric in found.items():
                pair = {"mine": metric, "plain": plain[name]}
                difference = intervals.bootstrap(pair).differences["plain"]
                point |= {name: metric.total(), f"{name}_difference": difference._asdict()}
            points.append(point)
    return {"num_users": held_out.num_users, "points": points}


def main(_: Sequence[str]) -> None:
    """Measures the run in a process of its own."""
    if measure.answer_case(measure_case):
        return
    case = {
        "run": _RUN_DIR.value,
        "split": _SPLIT.value,
        "users": _USERS.value,
        "weights": [float(weight) for weight in _WEIGHTS.value],
    }
    measure.print_report([case | measure.run_case("tests.benchmarks.merges", case)])


if __name__ == "__main__":
    app.run(main)
