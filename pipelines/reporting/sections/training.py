"""Learning curves: losses, validation metrics, shares of the interests. Imports no TensorFlow."""

from collections.abc import Mapping

from pipelines.reporting.page import charts, texts
from pipelines.reporting.page.blocks import Block, Figure, Missing, Section, Words
from pipelines.reporting.page.charts import Axis, Series
from pipelines.reporting.sections.run_folder import RunFolder

_EPOCH = Axis("epoch", "d", texts.count, whole=True)

_CURVES = (
    ("Loss of the next click", "seq2item", "The sampled softmax over every click (seq2item)."),
    (
        "Loss of the future",
        "seq2seq",
        "Between interests of the past and of the future, over the confident pairs (seq2seq).",
    ),
    ("Validation NDCG@10", "val_ndcg@10", "Over the full catalogue, with averaged weights."),
    ("Validation recall@10", "val_recall@10", "Share of the next clicks among the first ten."),
    (
        "Validation debiased hit rate@50",
        "val_debiased_hit_rate@50",
        "Share of the next clicks among the first fifty, those on popular items counting less.",
    ),
    (
        "Prototypes in use",
        "prototype_perplexity",
        "Perplexity of their shares of the training clicks: as many prototypes with equal shares "
        "would be as uneven.",
    ),
    (
        "Dead prototypes",
        "dead_prototypes",
        "Those with less than a hundredth of an equal share of the training clicks.",
    ),
)

_SHARES = (
    (
        "Share of clicks by interest",
        "val_interest_",
        "Of the validation clicks, which interest scores them highest. A line near zero is an "
        "interest that costs a search per request and finds nothing of its own.",
    ),
    (
        "Share of gradients by interest",
        "gradient_",
        "How much each interest learns: its part of the norms of the gradients.",
    ),
)


def build(run: RunFolder, other: RunFolder | None) -> Section:
    """The section about the training of a run, beside another one."""
    return Section(
        "training",
        "Training",
        "Whether it learnt, when it stopped, and how the interests shared the work.",
        _blocks(run, other),
    )


def stopping_metric(run: RunFolder) -> str:
    """What early stopping looked at, as `ndcg@10`; the best epoch has the largest."""
    return (run.config or {}).get("train", {}).get("stopping_metric", "ndcg@10")


def find_best_epoch(run: RunFolder) -> Mapping[str, float] | None:
    """What was written of the epoch whose weights were kept; the first of equals."""
    best_by = f"val_{stopping_metric(run)}"
    measured = [epoch for epoch in run.epochs if best_by in epoch]
    return max(measured, key=lambda epoch: epoch[best_by], default=None)


def _blocks(run: RunFolder, other: RunFolder | None) -> list[Block]:
    if not run.epochs:
        return [Missing("The curves: `model` has no training_log.jsonl.")]
    blocks: list[Block] = [Words([_describe(run), *_describe_start(run)])]
    best = find_best_epoch(run)
    kept = None if best is None else best["epoch"]
    for title, key, text in _CURVES:
        series = _curve(run, key, run.name, charts.MODEL)
        if other is not None:
            series += _curve(other, key, other.name, charts.OTHER_RUN)
        if series and any(series[0].ys):
            axis = Axis(key.removeprefix("val_"))
            blocks.append(charts.lines(title, text, series, _EPOCH, axis, chosen=kept))
    return [*blocks, *(figure for share in _SHARES if (figure := _draw_shares(run, *share)))]


def _describe(run: RunFolder) -> str:
    best = find_best_epoch(run)
    total_s = sum(epoch.get("seconds", 0.0) for epoch in run.epochs)
    text = f"{texts.counted(len(run.epochs), 'epoch')} in {texts.seconds(total_s)}"
    if best is None:
        return f"{text}."
    metric = stopping_metric(run)
    name = metric.replace("ndcg", "NDCG").replace("_", " ")
    return (
        f"{text}; the weights of epoch {best['epoch']} were kept, whose validation {name} of "
        f"{texts.metric(best[f'val_{metric}'])} is the best (the dashed line)."
    )


def _describe_start(run: RunFolder) -> list[str]:
    """What the model was before the first epoch, if it was one."""
    start = run.warm_start
    if start is None:
        return []
    return [
        f"Training went on from an earlier model: {texts.counted(start['carried_items'], 'item')} "
        f"kept what was learnt of them, {start['new_items']:,} were new, "
        f"{start['gone_items']:,} gone. Before the first epoch its validation NDCG@10 was "
        f"{texts.metric(start['val_ndcg@10'])}."
    ]


def _curve(run: RunFolder, key: str, name: str, colour: str) -> list[Series]:
    epochs = [epoch for epoch in run.epochs if key in epoch]
    if not epochs:
        return []
    xs, ys = ([epoch[name] for epoch in epochs] for name in ("epoch", key))
    return [Series(name, colour, xs, ys)]


def _draw_shares(run: RunFolder, title: str, prefix: str, text: str) -> Figure | None:
    keys = [key for key in run.epochs[-1] if key.startswith(prefix)]
    series = [
        one
        for number, key in enumerate(keys)
        for one in _curve(run, key, f"interest {number}", charts.interest_colour(number))
    ]
    if not series:
        return None
    return charts.lines(
        title, text, series, _EPOCH, Axis("share", ".0%", texts.share, from_zero=True)
    )
