"""One run in this process: trains, ranks the catalogue for the test users, measures."""

import contextlib
import time
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from pipelines.artifacts import records
from pipelines.artifacts.held_out import HeldOutUsers, read_held_out
from pipelines.artifacts.trained_model import TrainedModel
from pipelines.evaluation import lists, vectors
from pipelines.experiments import planted_measures
from pipelines.experiments.grids.grid import Experiment, GridRun
from pipelines.experiments.grids.logs import find_log
from pipelines.experiments.outcomes import measures, run_files
from pipelines.training import trainer
from recall.metrics.usage import compute_perplexity
from recall.settings.evaluation import EvaluationConfig
from serving.release import folders

_LOCK_NAME = ".lock"
_SEED = 20_261_128
"""Of the users whose interests are counted; any fixed number serves."""


def make(experiment: Experiment, run: GridRun, output_dir: str | Path, *, threads: int = 0) -> None:
    """Makes a run, unless it is finished; one that was interrupted goes on.

    Args:
        experiment: Whose run it is.
        run: Which one. The examples of its case are there.
        output_dir: Folder of the experiment.
        threads: Of one operation; 0 leaves that to the training.

    Raises:
        InputError: The settings are refused, or do not fit the log.
    """
    if threads:
        _share_cores(threads)
    folder = run_files.folder_of(output_dir, run)
    busy = f"Another process is making {run.key}. Wait for it to end."
    with folders.locked_folder(folder, _LOCK_NAME, busy=busy):
        if not run_files.is_finished(output_dir, experiment, run):
            _make(experiment, run, output_dir, threads)


def _make(experiment: Experiment, run: GridRun, output_dir: str | Path, threads: int) -> None:
    folder, examples = run_files.folder_of(output_dir, run), run_files.examples_dir(output_dir, run)
    config = experiment.config(run)
    with _limited(threads):
        # What another version began is of no use beside the runs of this one.
        trained = trainer.train_and_evaluate(config, examples, folder / "model", overwrite=True)
        held_out = read_held_out(examples, "test")
        measured = measure(trained, held_out, config.evaluation)
        if experiment.looks_into_model:
            found = planted_measures.measure_model(trained, examples, find_log(run.case.log).events)
            measured = measured._replace(values=measured.values | found)
        if config.model.min_interest_weight:
            used = {"interests_per_user": _count_interests(trained, held_out)}
            measured = measured._replace(values=measured.values | used)
    facts = _describe(folder / "model", held_out, trained.config.train.stopping_metric)
    measured = measured._replace(values=measured.values | _measure_usage(facts))
    run_files.write(folder, run_files.settings_of(experiment, run), measured, facts)
    run_files.clear(folder)


def measure(
    trained: TrainedModel, held_out: HeldOutUsers, config: EvaluationConfig
) -> measures.Measured:
    """Ranks the whole catalogue for every user and measures the lists."""
    max_length = trained.config.model.max_history_length
    ranked = lists.evaluate_user_vectors(
        vectors.build_user_vector_function(trained.model),
        vectors.compute_item_vectors(trained.model, trained.vocabulary.num_items),
        held_out,
        max_history_length=max_length,
        ks=config.all_ks,
        exclude_seen=config.exclude_seen,
    )
    return measures.measure_lists(
        ranked.top_rows,
        lists.to_rows(held_out.positives),
        held_out.histories,
        trained.vocabulary,
        config.all_ks,
    )


def _describe(model_dir: Path, held_out: HeldOutUsers, metric: str) -> dict[str, Any]:
    """How the training went, and whom it was measured on."""
    log = records.read_training_log(model_dir)
    best = max(log, key=lambda line: line[f"val_{metric}"])
    return {
        "device": "GPU" if tf.config.list_physical_devices("GPU") else "CPU",
        "num_users": held_out.num_users,
        "num_positives": len(held_out.positives.values),
        "num_epochs": len(log),
        "best_epoch": best["epoch"],
        "best_validation_ndcg@10": best["val_ndcg@10"],
        "interest_shares": [v for name, v in best.items() if name.startswith("val_interest_")],
        "prototypes": {k: v for k, v in best.items() if "prototype" in k},
        "made": records.read_made(model_dir),
        "finished_s": round(time.time()),
    }


def _measure_usage(facts: dict[str, Any]) -> dict[str, float]:
    """As how many interests, and prototypes, with equal shares those of the best epoch are."""
    shares = np.array(facts["interest_shares"])
    found = {}
    if shares.sum() > 0:
        found["interest_perplexity"] = compute_perplexity(shares / shares.sum())
    return found | facts["prototypes"]


def _count_interests(trained: TrainedModel, held_out: HeldOutUsers) -> float:
    """Interests that are not switched off, of a user on average."""
    users = vectors.sample_users(held_out, vectors.USAGE_USERS, _SEED)
    histories = users.histories.last_padded(trained.config.model.max_history_length)
    history_ids = histories if histories.ndim == 2 else histories[..., 0]
    weights = trained.model.user_tower(tf.constant(history_ids)).interest_weights
    return float(np.count_nonzero(weights, axis=1).mean())


def _limited(threads: int) -> contextlib.AbstractContextManager:
    """NumPy's products on so many cores; 0 sets no limit."""
    if not threads:
        return contextlib.nullcontext()
    import threadpoolctl

    return threadpoolctl.threadpool_limits(threads)


def _share_cores(threads: int) -> None:
    """Gives TensorFlow a part of the cores, where it has not started yet."""
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError:  # As in tests: its threads are fixed.
        return
