"""What the data look like: lengths, popularity, time, and what ingest dropped and why.

Imports no TensorFlow.
"""

from collections.abc import Sequence

import numpy as np

from pipelines.reporting.page import charts, texts
from pipelines.reporting.page.blocks import Block, Figure, Missing, Section, ShownTable, Words
from pipelines.reporting.page.charts import Axis, Series
from pipelines.reporting.sections.run_folder import RunFolder
from recall.vocabulary import ItemVocabulary

_CURVE_POINTS = 60
_LENGTH_BARS = 24
_TIME_BARS = 48
_DAY_MS = 86_400_000

_RENEW = "the log was ingested by an earlier version; remove `examples` and give the command again"

_REASONS = {
    "bad_rows": "rows that cannot be read",
    "duplicates": "the same user, item and time again",
    "rare_items": "items with fewer clicks than ingest.min_item_events",
    "short_users": "users with fewer clicks than ingest.min_user_events",
}


def build(run: RunFolder) -> Section:
    """The section about the log of a run."""
    return Section(
        "data",
        "The data",
        "What the model could learn from: how long histories are, how clicks are spread over "
        "the items, and what was left out on the way in.",
        [*_sizes(run), *_split(run), *_figures(run), *_dropped(run)],
    )


def _sizes(run: RunFolder) -> list[Block]:
    facts = run.statistics
    if facts is None:
        return [Missing("The sizes of the log: the folder has no finished `examples`.")]
    per_user = facts["events_per_user"]
    unknowns = facts["unknowns"]
    rows = [
        ("Users", texts.count(facts["num_users"])),
        ("Items", texts.count(facts["num_items"])),
        ("Clicks", texts.count(facts["num_events"])),
        (
            "Clicks of a user",
            f"median {per_user['median']:,g}, mean {per_user['mean']:,.1f}, "
            f"{per_user['min']:,} to {per_user['max']:,}",
        ),
        ("Items never clicked in training", texts.count(unknowns["items_never_in_training"])),
        ("Items without category", texts.count(unknowns["items_without_category"])),
    ]
    splits = [
        (
            {"train": "Training", "valid": "Validation", "test": "Test"}[name],
            texts.count(split["examples"]),
            texts.count(split["targets"]),
        )
        for name, split in facts["splits"].items()
    ]
    return [
        ShownTable(("what", "kept"), rows, "Sizes of the log", numeric=True),
        ShownTable(
            ("split", "examples", "clicks to predict"), splits, "What is learnt and held out"
        ),
    ]


def _split(run: RunFolder) -> list[Block]:
    """From when to when its parts are, and whom and what the held-out clicks know nothing of."""
    split = (run.statistics or {}).get("split")
    if not split:
        return []
    rows = [("Protocol", split["protocol"])]
    if split["sessions_of_users"] is not None:
        sessions = f"of {texts.count(split['sessions_of_users'])} users"
        rows.append(("Users are sessions", sessions))
    if split["clock"]:
        clock = split["clock"]
        rows.append(("Validation from (UTC)", clock["valid_from"]))
        rows.append(("Test from (UTC)", clock["test_from"]))
        rows.append(("Chosen by", clock["chosen_by"]))
        rows.append(("History only before either, days", f"{clock['embargo_days']:g}"))
        rows.append(("Clicks to predict of a user", clock["targets_of_a_user"] or "all"))
    names = {"train": "Training", "valid": "Validation", "test": "Test"}
    for part, name in names.items():
        if part in split["spans"]:
            rows.append((f"{name}, first to last click", " to ".join(split["spans"][part])))
    for part in ("valid", "test"):
        name, cold = names[part], split["cold_users"][part]
        rows.append((f"{name}: users that training does not know", texts.count(cold)))
        cold = split["cold_targets"][part]
        rows.append((f"{name}: clicks on items that training does not know", texts.count(cold)))
    rows = [(name, str(value)) for name, value in rows]
    return [ShownTable(("what", "value"), rows, "How it was split", numeric=False)]


def _figures(run: RunFolder) -> list[Block]:
    blocks: list[Block] = []
    lengths = (run.statistics or {}).get("lengths")
    days = (run.ingest_report or {}).get("clicks_by_day")
    if run.statistics is not None:
        if lengths:
            blocks.append(_draw_lengths(lengths))
        else:
            blocks.append(Missing(f"How many clicks users have: {_RENEW}."))
    if run.vocabulary is not None:
        blocks.append(_draw_popularity(run.vocabulary))
    if run.ingest_report is not None:
        if days is None:
            blocks.append(Missing(f"Clicks over time: {_RENEW}."))
        elif len(days) < 2:
            blocks.append(Missing("Clicks over time: the log has an order, but no times."))
        else:
            blocks.append(_draw_days(days))
    return blocks


def _draw_lengths(lengths: Sequence[Sequence[int]]) -> Figure:
    values, users = np.array(lengths, np.int64).T
    edges = np.unique(np.geomspace(values.min(), values.max() + 1, _LENGTH_BARS).round())
    edges = edges if len(edges) > 1 else np.array([values.min(), values.min() + 1])
    heights = np.histogram(values, edges, weights=users)[0]
    return charts.histogram(
        "Clicks per user",
        "Users by the number of their clicks; the bars widen by a factor each.",
        edges.tolist(),
        heights.tolist(),
        Axis("clicks of a user", "~s", texts.count, is_log=True),
        Axis("users", "~s", texts.count),
    )


def _draw_popularity(vocabulary: ItemVocabulary) -> Figure:
    counts = np.sort(vocabulary.counts)[::-1]
    clicked = counts[counts > 0]
    ranks = np.unique(np.geomspace(1, len(clicked), _CURVE_POINTS).round().astype(int))
    cumulative = np.cumsum(counts) / max(1, counts.sum())
    head = [max(1, round(share * len(counts))) for share in (0.01, 0.1)]
    text = (
        f"Training clicks of the items, the most clicked first. The first 1 % of the catalogue "
        f"have {texts.share(cumulative[head[0] - 1])} of the clicks, the first 10 % "
        f"{texts.share(cumulative[head[1] - 1])}."
    )
    series = Series("clicks", charts.PLAIN, ranks.tolist(), clicked[ranks - 1].tolist())
    return charts.lines(
        "Popularity of items",
        text,
        [series],
        Axis("place of the item", "~s", texts.count, is_log=True),
        Axis("clicks", "~s", texts.count, is_log=True),
        points=False,
    )


def _draw_days(days: Sequence[Sequence[int]]) -> Figure:
    """Clicks over time, in bars of whole days."""
    at, clicks = np.array(days, np.int64).T
    width = max(1, -(-int(at.max() - at.min() + 1) // _TIME_BARS))
    edges = np.arange(at.min(), at.max() + width + 1, width)
    heights = np.histogram(at, edges, weights=clicks)[0]
    return charts.histogram(
        "Clicks over time",
        f"Each bar is {texts.counted(width, 'day')}.",
        (edges * _DAY_MS).tolist(),
        heights.tolist(),
        Axis("day (UTC)", text=lambda ms: texts.day(ms // _DAY_MS), is_time=True),
        Axis("clicks", "~s", texts.count),
    )


def _dropped(run: RunFolder) -> list[Block]:
    report = run.ingest_report
    if report is None:
        return [Missing("What was dropped: the folder has no ingest_report.json.")]
    dropped = report["dropped"]
    numbers = {"bad_rows": dropped["bad_rows"]["rows"]}
    numbers |= {name: dropped[name]["events"] for name in _REASONS if name != "bad_rows"}
    cold = dropped.get("cold_items", {}).get("events", 0)
    rows = [("read", texts.count(report["events_read"]))]
    if report.get("left_out_by_where"):
        rows.append(("left out by --where", texts.count(report["left_out_by_where"])))
    rows += [
        (f"dropped: {_REASONS[name]}", texts.count(number)) for name, number in numbers.items()
    ]
    if cold:
        rows.append(("dropped: of items that training is not to see", texts.count(cold)))
    rows.append(("kept", texts.count(report["kept"]["events"])))
    table = ShownTable(("what", "clicks"), rows, "From the file to the model")
    lines = report.get("lines")
    return [table, Words(lines, as_list=True)] if lines else [table]
