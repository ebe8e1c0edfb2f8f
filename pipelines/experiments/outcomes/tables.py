"""Results as tables, for the terminal and as Markdown. Imports no TensorFlow."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.publishing import summary

Row = list[str]

_KEPT = "Share of the quality that is kept"
_MOST_NAMES = 60
"""Characters of names of logs in a line of cautions."""

_FEW_USERS = 100
"""Below it the bootstrap covers less than it says: differences of hits of 20 users 87 % of the
time, of 50 users 93 %, of 100 users 94 % (simulated)."""


def terminal(found: Mapping[str, Any], width: int = 100) -> str:
    """The tables of a `results.json` for a terminal of so many columns."""
    parts = [found["question"]]
    for case in found["cases"]:
        head, *others = _split(rows(found, case), width)
        parts += [f"{heading(case)}\n{head}", *others, *counted(case)]
    for group in _groups(found):
        parts.append(f"{_KEPT}: {group}\n{summary.align(kept_rows(found, group))}")
    if len(found["arms"]) > 1:
        parts.append("\n".join([legend(found), *cautions(found)]))
    return "\n\n".join(parts)


def _split(table: Sequence[Row], width: int) -> list[str]:
    """A table as several that are no wider, each with the first column, where one would be.

    >>> print("\\n".join(_split([["arm", "a", "b"], ["x", "1234", "5"]], 9)))
    arm     a
    x    1234
    arm  b
    x    5
    """
    blocks, first = [], 1
    for column in range(1, len(table[0]) + 1):
        is_end = column == len(table[0])
        if not is_end:
            wider = summary.align([[row[0], *row[first : column + 1]] for row in table])
            is_end = column > first and max(map(len, wider.splitlines())) > width
        if is_end:
            blocks.append(summary.align([[row[0], *row[first:column]] for row in table]))
            first = column
    return blocks


def markdown(found: Mapping[str, Any]) -> str:
    """The same as Markdown, with what the numbers were made with."""
    parts = [f"# {found['experiment']}", found["question"]]
    for case in found["cases"]:
        parts += [f"## {heading(case)}", _markdown_table(rows(found, case)), *counted(case)]
    for group in _groups(found):
        parts += [f"## {_KEPT}: {group}", _markdown_table(kept_rows(found, group))]
    versions = ", ".join(f"{name} {value}" for name, value in found["versions"].items() if value)
    arms = "\n".join(
        f"- {name}: {' '.join(f'`{text}`' for text in settings) or 'the settings of all'}"
        for name, settings in found["arms"].items()
    )
    parts += [arms, legend(found), *cautions(found), f"Versions: {versions}."]
    return "\n\n".join(parts) + "\n"


def legend(found: Mapping[str, Any]) -> str:
    """What stands beside the values."""
    return (
        f"Differences are from {next(iter(found['arms']))}. In brackets: the middle 95 % of a "
        "paired bootstrap over\n"
        "users and seeds. What is of a run as a whole (coverage, Gini, what is measured of the\n"
        "prototypes) has ±, the standard deviation over the seeds."
    )


def cautions(found: Mapping[str, Any]) -> list[str]:
    """What keeps differences from being sure, a line for each: one seed, few users."""
    lines = []
    cases = found["cases"]
    if alone := [case["name"] for case in cases if len(case["seeds"]) == 1]:
        names = _short(", ".join(alone), f"{len(alone)} of {len(cases)} logs")
        of = "" if len(alone) == len(cases) else f" ({names})"
        lines.append(
            f"One seed{of}: the intervals leave out what another training would change, and two\n"
            "trainings of one recipe may differ by more. Give more --seeds to be sure."
        )
    numbers = {
        case["name"]: min([case["num_users"], *case.get("counted", {}).values()]) for case in cases
    }
    if few := {name: number for name, number in numbers.items() if number < _FEW_USERS}:
        least, logs = min(few.values()), f"{len(few)} of {len(cases)} logs"
        told = _short(
            ", ".join(f"{number} of {name}" for name, number in few.items()),
            f"{least} in {logs}" if len(cases) > 1 else str(least),
        )
        lines.append(f"Few users ({told}): intervals of so few are too narrow.")
    return lines


def _short(text: str, instead: str) -> str:
    """A text where it does not fill a line, else what stands for it."""
    return text if len(text) <= _MOST_NAMES else instead


def counted(case: Mapping[str, Any]) -> list[str]:
    """How many users a metric is of, where those are fewer than all.

    >>> counted({"num_users": 900, "counted": {"outside@10": 138}})
    ['Of the 900 users count: 138 for outside@10.']
    >>> counted({"num_users": 900, "counted": {}})
    []
    """
    numbers = [f"{number:,} for {name}" for name, number in case.get("counted", {}).items()]
    return [f"Of the {case['num_users']:,} users count: {', '.join(numbers)}."] if numbers else []


def heading(case: Mapping[str, Any]) -> str:
    """What a case is and how much was measured.

    >>> heading({"name": "a", "num_users": 6040, "num_positives": 30200, "seeds": [1, 2],
    ...          "devices": ["CPU"]})
    'a: 6,040 users, 30,200 held-out clicks, seeds 1, 2, trained on CPU'
    """
    seeds = ", ".join(map(str, case["seeds"]))
    return (
        f"{case['name']}: {case['num_users']:,} users, {case['num_positives']:,} held-out "
        f"clicks, seed{'s' if len(case['seeds']) > 1 else ''} {seeds}, "
        f"trained on {' and '.join(case['devices'])}"
    )


def rows(found: Mapping[str, Any], case: Mapping[str, Any]) -> list[Row]:
    """The table of a case: of two arms a line per metric, of more a line per arm."""
    arms = case["arms"]
    has = [set(arm["metrics"]) for arm in arms]
    if len(arms) <= 2:
        metrics = [name for name in found["metrics"] if name in set.intersection(*has)]
        head = ["metric", *(arm["name"] for arm in arms), *["difference"] * (len(arms) - 1)]
        return [head, *(_metric_row(arms, name) for name in metrics)]
    metrics = [name for name in found["metrics"] if name in set.union(*has)]
    table = [["arm", *metrics]]
    for arm in arms:
        table.append([arm["name"], *(_arm_cell(arm, name) for name in metrics)])
    return table


def kept_rows(found: Mapping[str, Any], group: str) -> list[Row]:
    """What is left of each metric, a line for each number and metric."""
    arms = list(found["arms"])
    head = [found["x"], "metric", *arms, *(["difference"] * (len(arms) - 1))]
    table = [head]
    for case in found["kept"]:
        if case["group"] == group:
            for name in case["arms"][0]["metrics"]:
                table.append([f"{case['x']:g}", *_metric_row(case["arms"], name)])
    return table


def _groups(found: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(case["group"] for case in found["kept"]))


def _metric_row(arms: Sequence[Mapping[str, Any]], name: str) -> Row:
    values = [_number(arm["metrics"][name]["value"]) for arm in arms]
    return [name, *values, *(difference(arm["differences"][name]) for arm in arms[1:])]


def _arm_cell(arm: Mapping[str, Any], name: str) -> str:
    if name not in arm["metrics"]:
        return "-"
    value = _number(arm["metrics"][name]["value"])
    own = arm.get("differences", {}).get(name)
    return value if own is None else f"{value} ({difference(own)})"


def difference(found: Mapping[str, Any]) -> str:
    """A difference with what is known of its chance.

    >>> difference({"value": 0.0052, "low": -0.001, "high": 0.0114})
    '+.0052 [-.0010, +.0114]'
    >>> difference({"value": -0.01, "standard_deviation": 0.002, "by_seed": [1, 2]})
    '-.0100 ± .0020'
    """
    text = _signed(found["value"])
    if "low" in found:
        return f"{text} [{_signed(found['low'])}, {_signed(found['high'])}]"
    spread = found["standard_deviation"]
    return text if spread is None else f"{text} ± {_number(spread)}"


def _number(value: float) -> str:
    """Four digits behind the point, without the 0 before it.

    >>> _number(0.12341), _number(-0.5), _number(1.0)
    ('.1234', '-.5000', '1.0000')
    """
    text = f"{value:.4f}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def _signed(value: float) -> str:
    return _number(value) if value < 0 else f"+{_number(value)}"


def _markdown_table(table: Sequence[Row]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in table]
    return "\n".join([lines[0], "|---" * len(table[0]) + "|", *lines[1:]])
