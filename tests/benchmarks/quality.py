"""What a recipe learns: `python -m tests.benchmarks.quality --examples=DIR` prints JSON.

Trains and evaluates once per seed, with the commands a user has. Finished seeds in
`--output` are only read; the time of one that was interrupted is that of its last
start. With `--parallel=2` or more every job has one thread, which wastes least.
"""

import concurrent.futures
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import app, flags

from tests.benchmarks import logs, measure

OUTPUT = flags.DEFINE_string("output", None, "Folder of the models and reports.")
_SEEDS = flags.DEFINE_list("seeds", ["1", "2", "3"], "Seeds, one model each.")
_PARALLEL = flags.DEFINE_integer("parallel", 1, "Jobs at a time.", 1)

METRICS = (
    "recall@10",
    "ndcg@10",
    "recall@50",
    "hit_rate@50",
    "aggregated_diversity@10",
    "gini@10",
    "popularity_percentile@10",
    "category_diversity@10",
)
"""Of the test users; metrics that a log cannot have are left out."""

_COST_NAME = "cost.json"
_RECIPE_NAME = "recipe.json"
_THREAD_VARIABLES = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OPENBLAS_NUM_THREADS")


def run_job(command: Sequence[str], environment: Mapping[str, str], log: Path) -> measure.Cost:
    """Runs `recall ...` to its end, its output appended to `log`.

    Raises:
        RuntimeError: The job failed; the text is the end of its output.
    """
    start = time.perf_counter()
    with log.open("a", encoding="utf-8") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.cli", *command],
            env=measure.environment_of(measure.ROOT) | environment,
            stdout=output,
            stderr=output,
        )
        # Not `wait`: the CPU time of this one child, whatever runs beside it.
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{log}:\n{log.read_text(encoding='utf-8')[-2000:]}")
    return measure.Cost(time.perf_counter() - start, usage.ru_utime + usage.ru_stime)


def run_seed(
    seed: str,
    examples: str,
    folder: Path,
    settings: Sequence[str],
    environment: Mapping[str, str],
) -> None:
    """Trains and evaluates one seed, unless `folder` has it already."""
    if (folder / _COST_NAME).exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    model, log = folder / "model", folder / "log.txt"
    assignments = [f"--set={setting}" for setting in (*settings, f"train.seed={seed}")]
    train = ["train", f"--examples={examples}", f"--output={model}", *assignments]
    cost = run_job(train, environment, log)
    evaluate = ["evaluate", f"--examples={examples}", f"--model={model}"]
    run_job([*evaluate, f"--output={folder / 'evaluation'}"], environment, log)
    (folder / _COST_NAME).write_text(json.dumps(cost._asdict()), encoding="utf-8")
    measure.show_progress(f"seed {seed}: {cost.seconds:.0f} s, {cost.cpu_seconds:.0f} CPU-s")


def read_seed(folder: Path) -> dict[str, float]:
    """Metrics and cost of a finished seed."""
    report = json.loads((folder / "evaluation" / "report.json").read_text(encoding="utf-8"))
    lines = (folder / "model" / "training_log.jsonl").read_text(encoding="utf-8").splitlines()
    best = max((json.loads(line) for line in lines), key=lambda line: line["val_ndcg@10"])
    cost = json.loads((folder / _COST_NAME).read_text(encoding="utf-8"))
    return {
        "epochs": len(lines),
        "best_epoch": best["epoch"],
        "training_seconds": round(cost["seconds"], 1),
        "training_cpu_seconds": round(cost["cpu_seconds"], 1),
        "validation_recall@10": best["val_recall@10"],
        "validation_ndcg@10": best["val_ndcg@10"],
        **{
            f"test_{name}": round(report["test"][name], 5)
            for name in METRICS
            if report["test"].get(name) is not None
        },
        **{name[4:]: share for name, share in best.items() if name.startswith("val_interest_")},
    }


def summarise(seeds: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Mean and, of two seeds or more, standard deviation of every number."""
    summary = {}
    for name in seeds[0]:
        values = [seed[name] for seed in seeds]
        spread = {"standard_deviation": round(statistics.stdev(values), 5)} if seeds[1:] else {}
        summary[name] = {"mean": round(statistics.fmean(values), 5)} | spread
    return summary


def check_recipe(folder: Path, recipe: Mapping[str, Any]) -> None:
    """Refuses a folder that holds the seeds of another recipe.

    Raises:
        ValueError: It does.
    """
    path = folder / _RECIPE_NAME
    if path.exists() and json.loads(path.read_text(encoding="utf-8")) != recipe:
        raise ValueError(f"{folder} holds the seeds of another recipe. Choose another --output.")
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(recipe), encoding="utf-8")


def main(_: Sequence[str]) -> None:
    """Runs the seeds and prints the report."""
    output = Path(OUTPUT.value)
    recipe = {"examples": logs.EXAMPLES.value, "settings": measure.SETTINGS.value}
    check_recipe(output, recipe)
    folders = {seed: output / f"seed_{seed}" for seed in _SEEDS.value}
    environment = dict.fromkeys(_THREAD_VARIABLES, "1") if _PARALLEL.value > 1 else {}
    with concurrent.futures.ThreadPoolExecutor(_PARALLEL.value) as pool:
        runs = [
            pool.submit(
                run_seed, seed, logs.EXAMPLES.value, folder, measure.SETTINGS.value, environment
            )
            for seed, folder in folders.items()
        ]
        for run in runs:
            run.result()
    cases = [{"seed": seed} | read_seed(folder) for seed, folder in folders.items()]
    numbers = [{k: v for k, v in case.items() if k != "seed"} for case in cases]
    measure.print_report(cases, **recipe, summary=summarise(numbers))


if __name__ == "__main__":
    flags.mark_flags_as_required(["examples", "output"])
    app.run(main)
