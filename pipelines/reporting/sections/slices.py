"""How groups of users and of held-out clicks fare. Imports no TensorFlow."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.evaluation import slices, user_results
from pipelines.evaluation.slices import Slice, SliceResult
from pipelines.evaluation.user_results import UserResults
from pipelines.reporting.page import charts, texts
from pipelines.reporting.page.blocks import Block, Figure, Missing, Section, ShownTable
from pipelines.reporting.page.charts import Axis, Series
from pipelines.reporting.page.pages import is_wide
from pipelines.reporting.sections.run_folder import RunFolder
from recall.settings.evaluation import shown_cut_offs

_UNKNOWN_NOVELTY = (
    "New and returning users: the examples were made by an earlier version; remove `examples` "
    "and give the command again."
)


_ORDER = (Figure, ShownTable, Missing)
"""Of the blocks of this section."""


def build(run: RunFolder, other: RunFolder | None) -> Section:
    """The section about groups of test users of a run, beside another one."""
    return Section(
        "slices",
        "For whom it works",
        "The share of the held-out clicks of a group that is among the first items of the lists. "
        "Whiskers are 95 % intervals of a bootstrap over users.",
        _blocks(run, other),
    )


def _blocks(run: RunFolder, other: RunFolder | None) -> list[Block]:
    if run.users is None:
        return [Missing(f"Groups of users: {run.EARLIER_EVALUATION}")]
    blocks: list[Block] = []
    if other is not None:
        both = _beside(run, other)
        if both is None:
            blocks.append(Missing(f"{other.name} by group: it has other users or clicks held out."))
        else:
            run = dataclasses.replace(run, users=both)
    results = run.users
    blocks.append(
        _draw(
            run, "By the length of the history", "clicks before", slices.by_history_length(results)
        )
    )
    if run.vocabulary is not None:
        blocks.append(
            _draw(
                run,
                "By the popularity of the clicked item",
                "items by training clicks",
                slices.by_popularity(results, run.vocabulary),
            )
        )
        groups = slices.by_category(results, run.vocabulary)
        if groups:
            blocks.append(_draw(run, "By category of the clicked item", "category", groups))
        else:
            blocks.append(Missing("By category: no item that was clicked has one."))
    evaluation = run.evaluation or {}
    blocks += _items(evaluation.get("items"), run.k)
    cold = evaluation.get("cold_items")
    if cold:
        blocks.append(_cold(cold, shown_cut_offs(run.ks)))
    blocks.append(_novelty(run))
    blocks += _new_users(evaluation.get("new_users"), run.k, max(run.ks))
    if results.kinds is not None:
        blocks.append(_draw(run, "By the kind of the event", "kind", slices.by_kind(results)))
    else:
        blocks.append(Missing("By the kind of the event: the log has none (--event_type_column)."))
    # Side by side there are few gaps between those of one kind.
    return sorted(blocks, key=lambda block: (_ORDER.index(type(block)), is_wide(block)))


def _items(items: Mapping[str, Any] | None, k: int) -> list[Block]:
    """How clicks are found by the clicks that their items had, and by the age of these."""
    if items is None:  # Of an earlier version.
        return []
    blocks: list[Block] = [
        _bucket_table(items["by_clicks"], k, "training clicks of the item", "training clicks"),
    ]
    if "missing" in items["by_age"]:
        return [*blocks, Missing(f"By the age of the item: {items['by_age']['missing']}.")]
    title, heading = "the age of the item", "first click to request"
    return [*blocks, _bucket_table(items["by_age"], k, title, heading)]


def _bucket_table(
    buckets: Mapping[str, Mapping[str, Any]], k: int, title: str, heading: str
) -> ShownTable:
    rankers = [name for name in next(iter(buckets.values())) if name != "num_clicks"]
    rows = [
        (
            bucket,
            texts.count(found["num_clicks"]),
            *(f"{found[ranker][f'recall@{k}']:.4f}" for ranker in rankers),
        )
        for bucket, found in buckets.items()
    ]
    caption = f"Share of the held-out clicks found in the first {k}, by {title}"
    return ShownTable((heading, "clicks", *rankers), rows, caption)


def _new_users(found: Mapping[str, Any] | None, k: int, most: int) -> list[Block]:
    """How users without a known click are answered from their features."""
    if found is None:  # Of an earlier version.
        return []
    if "missing" in found:
        return [Missing(f"Users without clicks: {found['missing']}.")]
    names = dict.fromkeys((f"recall@{k}", f"ndcg@{k}", f"hit_rate@{k}", f"recall@{most}"))
    rows = [
        (ranker, *(_with_error(values, name) for name in names))
        for ranker, values in found["rankers"].items()
    ]
    return [
        ShownTable(
            ("answered from", *names),
            rows,
            "Users with features whose clicks training has not seen: "
            f"{texts.count(found['num_users'])}, with {texts.count(found['num_clicks'])} held-out "
            "clicks (± one standard error). Features and popularity know no click, and leave none "
            "out",
        )
    ]


def _with_error(values: Mapping[str, Any], name: str) -> str:
    error = values.get("standard_errors", {}).get(name)
    return f"{values[name]:.4f}" + ("" if error is None else f" ± {error:.4f}")


def _cold(cold: Mapping[str, Any], ks: Sequence[int]) -> ShownTable:
    """How items without a training click are found, beside chance and content neighbours."""
    parts = {"among_all": "among all items", "alone": "among these alone"}
    rows = [
        (name, *(f"{cold[part][name][f'recall@{k}']:.4f}" for part in parts for k in ks))
        for name in cold["among_all"]
    ]
    return ShownTable(
        ("ranker", *(f"recall@{k} {words}" for words in parts.values() for k in ks)),
        rows,
        f"Items without a training click: {texts.count(cold['num_items'])}, with "
        f"{texts.count(cold['num_clicks'])} held-out clicks",
    )


def _beside(run: RunFolder, other: RunFolder) -> UserResults | None:
    """The test users with places in the lists of both; None where the clicks are not the same."""
    if other.users is None or run.vocabulary is None or other.vocabulary is None:
        return None
    shared = user_results.match_users(run.users, other.users)
    if shared is None or run.k > other.users.depth:
        return None
    if shared[0].num_users != run.users.num_users:
        return None
    mine = run.users
    theirs = shared[1].take(np.searchsorted(shared[0].user_ids, mine.user_ids))
    same_items = list(run.vocabulary.item_ids) == list(other.vocabulary.item_ids)
    if not (same_items and np.array_equal(mine.positives.values, theirs.positives.values)):
        return None
    model, *others = mine.places
    places = {model: mine.places[model], other.name: theirs.places[model]}
    return dataclasses.replace(mine, places=places | {n: mine.places[n] for n in others})


def _novelty(run: RunFolder) -> Block:
    results = run.users
    if (results.num_trained < 0).all():
        return Missing(_UNKNOWN_NOVELTY)
    groups = slices.by_novelty(results)
    sizes = {group.name: int(group.is_member.sum()) for group in groups}
    if min(sizes.values()) < slices.MIN_CLICKS:
        shown = " and ".join(f"{number:,} of {name}" for name, number in sizes.items())
        return Missing(
            f"New and returning users: the held-out clicks are {shown}, so that there is nothing "
            "to compare. A user is new when training has learnt from none of her clicks."
        )
    return _draw(run, "New and returning users", "users", groups)


def _draw(run: RunFolder, title: str, what: str, groups: Sequence[Slice]) -> Figure | Missing:
    measured = slices.measure(run.users, groups, run.k)
    if not measured:
        return Missing(f"{title}: no group has {slices.MIN_CLICKS} held-out clicks.")
    names = [texts.short(one.name, 24) for one in measured]
    known = {"model": charts.MODEL, **charts.BASELINES}
    series = [
        _series(measured, names, ranker, known.get(ranker, charts.OTHER_RUN))
        for ranker in run.users.places
    ]
    axis = Axis(f"share found in the first {run.k}", ".0%", texts.share, from_zero=True)
    figure = charts.intervals(title, _sizes(measured), series, what, axis)
    return dataclasses.replace(figure, table=_with_sizes(figure.table, measured))


def _sizes(measured: Sequence[SliceResult]) -> str:
    numbers = [one.num_clicks for one in measured]
    return f"{min(numbers):,} to {max(numbers):,} held-out clicks a group."


def _with_sizes(table: ShownTable, measured: Sequence[SliceResult]) -> ShownTable:
    """The table with the number of clicks of each group after its name."""
    rows = [
        (name, texts.count(one.num_clicks), *numbers)
        for (name, *numbers), one in zip(table.rows, measured, strict=True)
    ]
    first, *rest = table.columns
    return ShownTable((first, "clicks", *rest), rows, table.caption)


def _series(
    measured: Sequence[SliceResult], names: Sequence[str], ranker: str, colour: str
) -> Series:
    rates = [one.hit_rates.metrics[ranker] for one in measured]
    return Series(
        ranker,
        colour,
        names,
        [rate.value for rate in rates],
        [rate.low for rate in rates],
        [rate.high for rate in rates],
    )
