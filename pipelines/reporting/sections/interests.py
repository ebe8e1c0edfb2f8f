"""What each interest stands for and does. Imports no TensorFlow."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipelines.reporting.page import charts, texts
from pipelines.reporting.page.blocks import Bar, Block, InterestCard, Missing, Section, Words
from pipelines.reporting.sections.run_folder import RunFolder


def build(run: RunFolder) -> Section:
    """The section about the interests of a run."""
    return Section(
        "interests",
        "What each interest stands for",
        "A user is several vectors, and each answer says which of them found it. Below is what "
        "the lists of one interest have more of than the lists of all.",
        _blocks(run),
    )


def _blocks(run: RunFolder) -> list[Block]:
    if run.details is None:
        return [Missing(f"The interests: {run.EARLIER_EVALUATION}")]
    interests = run.details["interests"]
    users = texts.counted(run.details["num_users"], "test user")
    if len(interests) == 1:
        return [Words([f"The model has one interest ({users} were looked at)."])]
    k = run.details["k"]
    lead = Words(
        [
            f"Measured on {users}. Beside a category or item: how many times more often it is in "
            "the slots of this interest than in those of all (its lift), and in how many. 'Alone' "
            "is the recall of lists that one interest makes by itself; all together have "
            f"{texts.metric(run.details['recall'])}."
        ]
    )
    return [lead, *(_card(run, number, one, k) for number, one in enumerate(interests))]


def _card(run: RunFolder, number: int, interest: Mapping[str, Any], k: int) -> InterestCard:
    return InterestCard(
        f"Interest {number}",
        charts.interest_colour(number),
        [
            f"wins {texts.share(interest['share_of_clicks'])} of the clicks",
            f"fills {texts.share(interest['share_of_slots'])} of the lists",
            f"alone: recall@{k} {texts.metric(interest['recall_alone'])}",
        ],
        _bars(interest["categories"], str),
        _bars(interest["items"], run.item_name),
    )


def _bars(marks: Sequence[Mapping[str, Any]], name_of: Callable[[Any], str]) -> list[Bar]:
    most = max((mark["lift"] for mark in marks), default=1.0)
    return [
        Bar(
            texts.short(name_of(mark["name"])),
            f"{mark['lift']:.1f}x, {mark['count']:,}",
            mark["lift"] / most,
        )
        for mark in marks
    ]
