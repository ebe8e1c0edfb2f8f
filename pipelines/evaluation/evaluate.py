"""The evaluate job: metrics over the full catalogue, baselines and blessing.

Every item of the catalogue is a candidate of every user; nothing is ranked
against sampled negatives.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipelines.artifacts import provenance, records
from pipelines.artifacts.event_columns import ColumnsFound, check_named_kinds
from pipelines.artifacts.held_out import HeldOutUsers, read_held_out, read_training_windows
from pipelines.artifacts.trained_model import TrainedModel, load_model
from pipelines.evaluation import (
    blessing,
    cold_items,
    details,
    item_buckets,
    kinds,
    lists,
    new_users,
    vectors,
)
from pipelines.evaluation.rankers import baselines, content, item_models
from pipelines.evaluation.rankers.full_ranking import Ranker
from pipelines.evaluation.user_results import UserResults
from pipelines.progress import tasks
from recall.categories import common_categories
from recall.config import RecallConfig
from recall.errors import InputError
from recall.settings.evaluation import EvaluationConfig
from recall.vocabulary import ItemVocabulary
from serving.release import folders, storage

_JOB = "evaluate"

FORMAT = 1
"""Of report.json."""

_log = logging.getLogger(__name__)


def evaluation_record(
    config: RecallConfig, examples_dir: str | Path, model_dir: str | Path
) -> dict[str, Any]:
    """The record of what makes an evaluation.

    Raises:
        InputError: An input is not finished.
    """
    inputs = {
        "examples": records.checksum_of_record(examples_dir, "ingest"),
        "model": records.checksum_of_record(model_dir, "train"),
    }
    return records.build_record(_JOB, config.to_dict(["evaluation"]), inputs)


@provenance.measured
def run_evaluation(
    examples_dir: str | Path,
    model_dir: str | Path,
    evaluation_dir: str | Path,
    config: RecallConfig | None = None,
) -> dict[str, Any]:
    """Evaluates a model and the baselines, and decides whether it is blessed.

    Args:
        examples_dir: Folder of the `recall ingest` the model was trained on.
        model_dir: Folder of a finished `recall train`.
        evaluation_dir: Folder to write. It appears whole, or stays as it was.
        config: Its section `evaluation`; None takes that of the model.

    Returns:
        The content of report.json.

    Raises:
        InputError: An input is missing, unfinished or damaged, or the model
            does not know the items of these examples.
    """
    records.require(examples_dir, "ingest")
    trained = load_model(model_dir)
    config = config or trained.config
    kind_names = ColumnsFound.read(examples_dir).kinds
    named = {"evaluation.thresholds": config.evaluation.kinds}
    check_named_kinds(named, kind_names, f"{examples_dir} was made without any")
    record = evaluation_record(config, examples_dir, model_dir)
    vocabulary = records.read_vocabulary(examples_dir)
    if vocabulary.item_ids != trained.vocabulary.item_ids:
        raise InputError(
            f"The model in {model_dir} was trained on other examples than {examples_dir}. "
            "Run `recall train` again."
        )
    if vocabulary.log_columns != trained.vocabulary.log_columns:
        raise InputError(
            f"The model in {model_dir} was trained with other features of events and requests than "
            f"{examples_dir} has. Run `recall train` again."
        )
    if trained.model.user_tower.user_features is not None and vocabulary.users is not None:
        trained.model.user_tower.user_features.know(vocabulary.users)
    evaluated = evaluate_model(examples_dir, trained, vocabulary, config.evaluation, kind_names)
    report = evaluated.report
    with folders.atomic_directory(evaluation_dir) as staging:
        storage.write_json(staging / records.REPORT_NAME, report)
        storage.write_json(staging / records.DETAILS_NAME, evaluated.details)
        evaluated.users.write(staging / records.USERS_NAME)
        blessing.write_verdict(staging, report["blessing"]["blessed"])
        records.write_record(staging, record)
    _log_blessing(report["blessing"])
    return report


class Evaluated(NamedTuple):
    """What an evaluation leaves.

    Attributes:
        report: Content of report.json; `index` is None until the index is measured.
        details: Content of details.json.
        users: Content of users.parquet.
    """

    report: dict[str, Any]
    details: dict[str, Any]
    users: UserResults


def evaluate_model(
    examples_dir: str | Path,
    trained: TrainedModel,
    vocabulary: ItemVocabulary,
    config: EvaluationConfig,
    kind_names: Sequence[str],
) -> Evaluated:
    """Ranks the catalogue for all held-out users, by the model and the baselines."""
    held_out = {name: read_held_out(examples_dir, name) for name in ("valid", "test")}
    k, max_length = max(config.all_ks), trained.config.model.max_history_length
    user_vectors = vectors.build_user_vector_function(trained.model)
    item_vectors = vectors.compute_item_vectors(trained.model, vocabulary.num_items)
    rank = lists.vector_ranker(user_vectors, item_vectors, max_length, k)
    rankers = {"model": rank, **baseline_rankers(examples_dir, vocabulary, config)}
    validation, _ = measure_ranker("validation", rank, held_out["valid"], vocabulary, config)
    sections, top_rows = {}, {}
    for name, ranker in rankers.items():
        sections[name], top_rows[name] = measure_ranker(
            name, ranker, held_out["test"], vocabulary, config
        )
    report: dict[str, Any] = {
        "format": FORMAT,
        "protocol": describe_protocol(examples_dir, max_length, config, vocabulary),
        "num_items": vocabulary.num_items,
        "num_users": {
            "validation": held_out["valid"].num_users,
            "test": held_out["test"].num_users,
        },
        "validation": validation,
        "test": sections.pop("model"),
        "baselines": sections,
        "index": None,
    }
    if kind_names:
        report["kinds"] = kinds.measure_all(top_rows, held_out["test"], kind_names, config.all_ks)
    report["items"] = item_buckets.measure_all(
        top_rows, held_out["test"], vocabulary, config.all_ks
    )
    report["new_users"] = _measure_new_users(
        user_vectors, item_vectors, rankers, held_out["test"], trained, config
    )
    report |= _measure_cold(user_vectors, item_vectors, rank, held_out["test"], trained, config)
    report["blessing"] = blessing.judge(report, config.thresholds)
    start = time.monotonic()
    with tasks.open_task("details"):
        told = details.describe(
            held_out["test"], top_rows, user_vectors, item_vectors, vocabulary, config, max_length
        )
        users = details.collect_user_results(held_out["test"], top_rows, kind_names)
    _log.info("details for the report: %.1f s", time.monotonic() - start)
    return Evaluated(report, told, users)


def baseline_rankers(
    examples_dir: str | Path, vocabulary: ItemVocabulary, config: EvaluationConfig
) -> dict[str, Ranker]:
    """Popularity, bigram counts, and what `evaluation.extra_baselines` names."""
    k = max(config.all_ks)
    num_items = vocabulary.num_items
    windows = read_training_windows(examples_dir)
    if config.extra_baselines:
        windows = list(windows)  # Read once: both counts are taken of them.
    bigrams = baselines.count_bigrams(windows, num_items)
    rankers = {
        "popularity": baselines.popularity_ranker(vocabulary.counts, k),
        "bigram": baselines.bigram_ranker(bigrams, vocabulary.counts, k),
    }
    if not config.extra_baselines:
        return rankers
    builders = {"item_knn": item_models.item_knn_ranker, "ease": item_models.ease_ranker}
    together = item_models.count_together(windows, num_items)
    return rankers | {name: builders[name](together, k) for name in config.extra_baselines}


def _measure_new_users(
    user_vectors: Callable[[np.ndarray], np.ndarray],
    item_vectors: np.ndarray,
    rankers: Mapping[str, Ranker],
    test: HeldOutUsers,
    trained: TrainedModel,
    config: EvaluationConfig,
) -> dict[str, Any]:
    """`new_users` of the report: metrics, or why there are none."""
    if trained.vocabulary.users is None:
        return {"missing": new_users.NO_FEATURES}
    users = new_users.choose(test)
    if not users.num_users:
        return {"missing": new_users.NO_USERS}
    max_length = trained.config.model.max_history_length
    alone = lists.vector_ranker(
        new_users.without_clicks(user_vectors), item_vectors, max_length, max(config.all_ks)
    )
    compared = {"features": alone, "popularity": rankers["popularity"]}
    compared[new_users.CLICKS] = rankers["model"]
    return new_users.measure(compared, users, config)


def _measure_cold(
    user_vectors: Callable[[np.ndarray], np.ndarray],
    item_vectors: np.ndarray,
    rank: Ranker,
    test: HeldOutUsers,
    trained: TrainedModel,
    config: EvaluationConfig,
) -> dict[str, Any]:
    """`cold_items` of the report; nothing where a model can know nothing of them."""
    vocabulary, k = trained.vocabulary, max(config.all_ks)
    ingest = trained.config.ingest
    rows, max_length = cold_items.cold_rows(vocabulary), trained.config.model.max_history_length
    is_asked = vocabulary.features is not None or ingest.cold_item_share or ingest.cold_items
    if not (is_asked and len(rows)):
        return {}
    alone = lists.vector_ranker(user_vectors, item_vectors[rows], max_length, k)
    rankers = {"model": cold_items.ColdRankers(rank, alone)}
    if vocabulary.features is not None:
        matrix = content.content_matrix(vocabulary.features)
        rankers["content"] = cold_items.ColdRankers(
            content.content_ranker(matrix, matrix, k),
            content.content_ranker(matrix, matrix[rows], k),
        )
    found = cold_items.measure(rankers, test, vocabulary, config)
    return {} if found is None else {"cold_items": found}


def add_index_report(evaluation_dir: str | Path, index_report: Mapping[str, Any]) -> None:
    """Puts what was measured of the index under `index` of a finished report.

    Raises:
        InputError: The folder holds no finished evaluation.
    """
    records.require(evaluation_dir, _JOB)
    path = Path(evaluation_dir) / records.REPORT_NAME
    storage.write_json(path, storage.read_json(path) | {"index": dict(index_report)})


def describe_protocol(
    examples_dir: str | Path,
    max_history_length: int | None,
    config: EvaluationConfig,
    vocabulary: ItemVocabulary,
) -> dict[str, Any]:
    """What a reader must know to compare the numbers with others.

    Args:
        examples_dir: Of the examples.
        max_history_length: Clicks that lists are made of; None where nobody knows.
        config: Of the evaluation.
        vocabulary: The items.
    """
    ingest = records.require(examples_dir, "ingest")["settings"]["ingest"]
    statistics = storage.read_json(Path(examples_dir) / records.STATISTICS_NAME)
    clock = statistics.get("split", {}).get("clock")
    has_number = ingest["protocol"] in ("next_n", "temporal")
    return {
        "name": ingest["protocol"],
        "num_targets": ingest["num_targets"] if has_number else None,
        **({"clock": clock} if clock else {}),
        "candidates": "full catalogue",
        "exclude_seen": config.exclude_seen,
        "ks": list(config.all_ks),
        "max_history_length": max_history_length,
        "categories_left_out": list(common_categories(vocabulary.categories)),
    }


def measure_ranker(
    name: str,
    rank: Ranker,
    held_out: HeldOutUsers,
    vocabulary: ItemVocabulary,
    config: EvaluationConfig,
) -> tuple[dict[str, Any], np.ndarray]:
    """All numbers of one ranker on one split, and its lists."""
    start = time.monotonic()
    with tasks.open_task(name):
        result = lists.evaluate_lists(
            rank, held_out, ks=config.all_ks, exclude_seen=config.exclude_seen
        )
    _log.info("%s: %d users in %.1f s", name, held_out.num_users, time.monotonic() - start)
    return lists.describe(result, held_out, vocabulary, config.all_ks), result.top_rows


def _log_blessing(verdict: Mapping[str, Any]) -> None:
    for check in verdict["thresholds"]:
        outcome = "holds" if check["passed"] else "fails"
        _log.info("%s %s (%s)", check["threshold"], outcome, blessing.show_sides(check))
