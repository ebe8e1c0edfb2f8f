"""Two checkouts of the server by turns: `python -m tests.benchmarks.compare --before=DIR`.

For every run each checkout writes a release with its own code and serves it from a
process of its own; the load is that of this checkout for both. The order changes from
run to run (before, after, after, before, ...), so that what slows the machine for a while
meets both. Prints a table of the ratios of medians on stderr, and everything as JSON.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from serving.api import recall_tensors
from serving.api.recall_request import RecallRequest
from tests.benchmarks import measure
from tests.benchmarks.load import Generator
from tests.benchmarks.serving import K, draw_histories
from tests.serving.server_process import ServerProcess, build_message

_DOORS = ("grpc", "http")

_MEASURES = ("answers_per_second", "p50_ms", "p99_ms", "server_cpu_ms")
"""The last one, per request, tells most where other jobs share the machine."""

_WRITE_RELEASE = """
import sys
from pathlib import Path
from recall.config import RecallConfig
from tests.benchmarks.serving_release import write_release
config = RecallConfig().override(sys.argv[3:])
write_release(Path(sys.argv[1]), 1, int(sys.argv[2]), config)
"""


def write_release(root: Path, serving_dir: Path, num_items: int, settings: Sequence[str]) -> None:
    """A release as the code of a checkout makes it.

    Raises:
        RuntimeError: It could not; the text is what it said.
    """
    result = subprocess.run(
        [sys.executable, "-c", _WRITE_RELEASE, str(serving_dir), str(num_items), *settings],
        cwd=root,
        env=measure.environment_of(root),
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise RuntimeError(f"{root} makes no release:\n{result.stderr[-3000:]}")


def build_messages(num_items: int) -> dict[str, list[bytes]]:
    """Whole requests by door: the same histories at both."""
    histories = draw_histories(num_items)
    inputs = [recall_tensors.build_recall_inputs(RecallRequest(h, k=K)) for h in histories]
    return {
        "grpc": [build_message("recall", *parts).SerializeToString() for parts in inputs],
        "http": [json.dumps({"history": list(h), "k": K}).encode() for h in histories],
    }


def measure_run(
    root: Path, serving_dir: Path, messages: dict[str, list[bytes]], plan: dict[str, Any]
) -> dict[str, dict[str, float]]:
    """One server of a checkout: what every case costs.

    Raises:
        RuntimeError: A request was not answered.
    """
    facts = {}
    server = ServerProcess(serving_dir, serving_dir / "server.log", root=root)
    try:
        for door in _DOORS:
            address = server.grpc_address if door == "grpc" else server.http_address
            for concurrency in plan["concurrency"]:
                generator = Generator(
                    address,
                    messages[door],
                    path="" if door == "grpc" else "/recall",
                    concurrency=concurrency,
                    seconds=plan["seconds"],
                    warm_up=plan["seconds"] / 3,
                )
                generator.wait_until_warm()
                before_s = server.cpu_seconds()
                load = generator.result()
                spent_s = server.cpu_seconds() - before_s
                if set(load.codes) != {"OK"}:
                    raise RuntimeError(f"{root} does not answer all requests: {load.codes}")
                costs = {
                    **load.percentiles(),
                    "answers_per_second": load.answers_per_second,
                    "server_cpu_ms": 1e3 * spent_s / len(load.answered_ms),
                }
                facts[f"{door} at {concurrency}"] = {name: costs[name] for name in _MEASURES}
    finally:
        server.kill()
    return facts


def compare(
    before: Sequence[dict[str, dict[str, float]]], after: Sequence[dict[str, dict[str, float]]]
) -> dict[str, dict[str, Any]]:
    """Medians of both and their ratio, after / before, by case and measure.

    Args:
        before: One entry a run: case -> measure -> value.
        after: The same.
    """
    table: dict[str, dict[str, Any]] = {}
    for case in before[0]:
        table[case] = {}
        for name in _MEASURES:
            old, new = (float(np.median([r[case][name] for r in runs])) for runs in (before, after))
            table[case][name] = {
                "before": round(old, 3),
                "after": round(new, 3),
                "ratio": round(new / old, 3),
            }
    return table


def show(table: dict[str, dict[str, Any]]) -> None:
    """Prints the table, with the ratios last."""
    head = "".join(f"{name:>32}" for name in _MEASURES)
    measure.show_progress(f"{'after / before':<12}{head}")
    for case, measures in table.items():
        cells = "".join(
            f"{f['after']:>14.2f} / {f['before']:<8.2f} {f['ratio']:>5.3f} "
            for f in measures.values()
        )
        measure.show_progress(f"{case:<12}{cells}")


def parse_flags(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line says; absl's flags of the other benchmarks have the same names."""
    parser = argparse.ArgumentParser(prog=f"python -m {__spec__.name}")
    parser.add_argument("--before", type=Path, required=True, help="checkout to compare with")
    parser.add_argument("--after", type=Path, default=measure.ROOT, help="checkout to be judged")
    parser.add_argument("--runs", type=int, default=5, help="runs of each checkout")
    parser.add_argument("--seconds", type=float, default=3.0, help="time of each measurement")
    parser.add_argument("--num_items", type=int, default=10_000, help="items of the catalogue")
    parser.add_argument("--concurrency", default="1,8,64", help="requests in flight")
    parser.add_argument("--set", action="append", default=[], help="a setting of the model")
    return parser.parse_args(arguments)


def main() -> None:
    """Runs both checkouts by turns."""
    options = parse_flags()
    roots = {"before": options.before.resolve(), "after": options.after.resolve()}
    plan = {
        "concurrency": [int(text) for text in options.concurrency.split(",")],
        "seconds": options.seconds,
    }
    runs: dict[str, list[dict[str, dict[str, float]]]] = {"before": [], "after": []}
    messages = build_messages(options.num_items)
    with tempfile.TemporaryDirectory() as folder:
        for name, root in roots.items():
            write_release(root, Path(folder) / name, options.num_items, options.set)
        for run in range(options.runs):
            for name in ("before", "after") if run % 2 == 0 else ("after", "before"):
                measure.show_progress(f"run {run + 1} of {options.runs}: {name}")
                runs[name].append(measure_run(roots[name], Path(folder) / name, messages, plan))
    table = compare(runs["before"], runs["after"])
    show(table)
    measure.print_report([], num_items=options.num_items, **plan, ratios=table, runs=runs)


if __name__ == "__main__":
    main()
