"""Flags to a request, and the answer as text for people: `recall query`.

The client itself is in `serving.client`. Imports no TensorFlow.
"""

from collections.abc import Mapping
from typing import Any

from pipelines import summary
from recall.errors import InputError
from serving.recall_types import FALLBACK_INTEREST, RecallRequest, RecallResponse

REQUEST_FLAGS = (
    "history",
    "similar_to",
    "k",
    "exclude",
    "include_seen",
    "allow",
    "categories",
    "exclude_categories",
    "max_per_category",
    "interest_weights",
    "merge",
    "diversity_weight",
    "exact",
)
"""The flags that are fields of a request, by the same names."""


def build_request(values: Mapping[str, Any]) -> RecallRequest:
    """The request that the values of flags ask for.

    Raises:
        InputError: A weight is no number.
    """
    fields = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    weights = fields.pop("interest_weights", ())
    try:
        return RecallRequest(**fields, interest_weights=tuple(map(float, weights)))
    except ValueError as error:
        raise InputError(
            f"--interest_weights={','.join(weights)} must be numbers separated by commas."
        ) from error


def format_answer(answer: RecallResponse) -> str:
    """The answer as a table, best item first, and a line about where it is from."""
    rows = [["rank", "item", "score", "interest"]]
    for rank, item in enumerate(answer.items, 1):
        interest = "popular" if item.interest == FALLBACK_INTEREST else str(item.interest)
        rows.append([str(rank), item.item_id, f"{item.score:.4f}", interest])
    notes = [f"index version {answer.index_version}, model version {answer.model_version}"]
    notes.append(f"{answer.num_known} known and {answer.num_unknown} unknown ids in the history")
    if answer.is_fallback:
        notes.append("no known id in the history: these are the popular items")
    if answer.degraded:
        notes.append(f"the time was too short: {answer.coverage:.0%} of the answer")
    return summary.align(rows) + "\n" + "; ".join(notes) + "\n"


if __name__ == "__main__":
    from pipelines import cli

    cli.main_of("query")
