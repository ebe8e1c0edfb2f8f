"""Text for people about a finished run. Imports no TensorFlow."""

import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.evaluation.remarks import remarks
from recall.settings.evaluation import shown_cut_offs
from recall.thresholds import EXTRA_BASELINES

_METRICS = (
    "recall@10",
    "ndcg@10",
    "mrr@10",
    "hit_rate@50",
    "debiased_hit_rate@50",
    "coverage@10",
    "category_diversity@10",
    "popularity_percentile@10",
)
"""Rows of the table, where the report has them."""

_MOST_KINDS = 5
"""Kinds of events below the table; the report has all."""


def results(report: Mapping[str, Any]) -> str:
    """The table, and below it in words what its numbers do not say.

    Args:
        report: Content of evaluation/report.json.
    """
    return "\n".join([metrics_table(report), *remarks(report)])


def metrics_table(report: Mapping[str, Any]) -> str:
    """The main numbers of report.json: the model beside the baselines.

    Args:
        report: Content of evaluation/report.json.
    """
    baselines = report.get("baselines", {})
    test = report.get("test", {})
    columns = {
        "lists" if report.get("is_of_lists") else "model": test,
        **{name: baselines.get(name, {}) for name in ("popularity", "bigram")},
        **{name: values for name, values in baselines.items() if name in EXTRA_BASELINES},
    }
    rows = [["test users", *columns]]
    for name in _METRICS:
        if name in test:
            rows.append([name, *(_number(values.get(name)) for values in columns.values())])
    lines = [align(rows)]
    if report.get("kinds"):
        lines += kind_lines(report["kinds"], shown_cut_offs(_ks(report)))
    if report.get("cold_items"):
        lines.append(cold_items_line(report["cold_items"], shown_cut_offs(_ks(report))))
    if report.get("new_users", {}).get("num_users"):
        lines.append(new_users_line(report["new_users"], shown_cut_offs(_ks(report))))
    if report.get("index"):
        lines.append(f"index: {index_line(report['index'])}")
    return "\n".join(lines)


def kind_lines(found: Mapping[str, Mapping[str, Any]], ks: Sequence[int]) -> list[str]:
    """A line for each kind of events with the most test clicks, where there are several.

    Args:
        found: Ranker -> kind -> its metrics; the model first.
        ks: Cut-offs.
    """
    of_model = next(iter(found.values()))
    if len(of_model) < 2:
        return []
    kinds = sorted(of_model, key=lambda kind: -of_model[kind]["num_positives"])[:_MOST_KINDS]
    return [
        f"{of_model[kind]['num_positives']:,} test clicks of the kind {kind}; {_name_recalls(ks)} "
        + _recalls({ranker: kinds_of[kind] for ranker, kinds_of in found.items()}, ks)
        for kind in kinds
    ]


def cold_items_line(found: Mapping[str, Any], ks: Sequence[int]) -> str:
    """The main numbers for people."""
    parts = [
        f"{words}: {_recalls(found[key], ks)}"
        for key, words in (("among_all", "among all items"), ("alone", "among these alone"))
    ]
    return (
        f"{found['num_items']:,} items without a training click, {found['num_clicks']:,} test "
        f"clicks on them; {_name_recalls(ks)} {'; '.join(parts)}"
    )


def new_users_line(found: Mapping[str, Any], ks: Sequence[int]) -> str:
    """How users without a known click are answered."""
    return (
        f"{found['num_users']:,} users with features whose clicks training has not seen; "
        f"{_name_recalls(ks)} of their test clicks from: {_recalls(found['rankers'], ks)}"
    )


def _ks(report: Mapping[str, Any]) -> Sequence[int]:
    return report["protocol"]["ks"]


def _name_recalls(ks: Sequence[int]) -> str:
    """`recall@10 / @50`."""
    return "recall" + " / ".join(f"@{k}" for k in ks)


def _recalls(rankers: Mapping[str, Mapping[str, float]], ks: Sequence[int]) -> str:
    """`model 0.0100 / 0.0500, chance 0.0029 / 0.0146`."""
    return ", ".join(
        f"{name} {' / '.join(_number(values[f'recall@{k}']) for k in ks)}"
        for name, values in rankers.items()
    )


def index_line(index_report: Mapping[str, Any]) -> str:
    """What an index is and how much it finds."""
    return (
        f"{index_report['kind']}, {index_report['num_items']} items, "
        f"recall@100 against exact search {index_report['recall@100']:.4f}"
    )


def next_command(output_dir: str, serving_dir: str | None = None) -> str:
    """What to type after a run, in this folder and shell; quoted where the shell needs it."""
    release = f"--release={serving_dir or f'{output_dir}/serving'}"
    words = [*_this_command(), "serve", release, "--grpc_port=8500", "--http_port=8501"]
    return shlex.join(words)


def _this_command() -> list[str]:
    """`recall` where the shell finds this installation's, else the words that start it."""
    script = Path(sys.executable).with_name("recall")
    found = shutil.which("recall")
    if found is not None and Path(found).resolve() == script.resolve():
        return ["recall"]
    if not script.exists():
        return [sys.executable, "-m", "pipelines.cli"]
    here = Path.cwd()
    # A folder that is reached by a link has another name when one is in it.
    for path in (script, script.parent.resolve() / script.name):
        if path.is_relative_to(here):
            return [str(path.relative_to(here))]
    return [str(script)]


def align(rows: Sequence[Sequence[str]]) -> str:
    """Rows of words as columns: the first to the left, the others to the right.

    >>> print(align([["metric", "a"], ["x", "10.5"]]))
    metric     a
    x       10.5
    """
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            word.ljust(width) if i == 0 else word.rjust(width)
            for i, (word, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
