"""The head of a report: what was run, the verdict, the numbers to look at first.

Imports no TensorFlow.
"""

from typing import NamedTuple

from pipelines.reporting.page import texts
from pipelines.reporting.page.blocks import Tile
from pipelines.reporting.sections.run_folder import RunFolder


class Head(NamedTuple):
    """The head of a report.

    Attributes:
        title: Name of the run.
        log: The log it learnt from.
        verdict: In a few words.
        is_good: Whether the verdict is what one hopes for.
        tiles: Numbers.
    """

    title: str
    log: str
    verdict: str
    is_good: bool
    tiles: list[Tile]


def build(run: RunFolder, other: RunFolder | None) -> Head:
    """The head of the report of a run."""
    report = run.ingest_report
    return Head(run.name, report["source"] if report else "", *_verdict(run), _tiles(run))


def _verdict(run: RunFolder) -> tuple[str, bool]:
    if run.evaluation is None:
        return "not evaluated yet", False
    if not run.evaluation["blessing"]["blessed"]:
        return "not blessed: not to be published", False
    if run.version is None:
        return "blessed, not published yet", True
    return f"blessed and published as version {run.version}", True


def _tiles(run: RunFolder) -> list[Tile]:
    tiles = []
    if run.evaluation is not None:
        test, baselines = run.evaluation["test"], run.evaluation["baselines"]
        k = run.k
        for metric in ("recall", "ndcg"):
            name = f"{metric}@{k}"
            best = max(baselines, key=lambda baseline: baselines[baseline][name])
            bound = baselines[best][name]
            note = f"{best} {texts.metric(bound)}"
            if 0 < bound < test[name]:
                note = f"{texts.times(test[name] / bound)} {best} ({texts.metric(bound)})"
            tiles.append(Tile(name, texts.metric(test[name]), note))
        tiles.append(
            Tile(f"coverage@{k}", texts.share(test[f"coverage@{k}"]), "of the catalogue is shown")
        )
    if run.statistics is not None:
        facts = run.statistics
        note = f"{facts['num_users']:,} users, {facts['num_items']:,} items"
        tiles.append(Tile("clicks", texts.count(facts["num_events"]), note))
    if run.index is not None:
        tiles.append(
            Tile("recall of the index", texts.share(run.index.get("recall@100")), run.index["kind"])
        )
    return tiles
