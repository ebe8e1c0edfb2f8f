"""The answer of a recall server as text for people: `recall query`.

The client itself is in `serving.client`. Imports no TensorFlow.
"""

from pipelines import summary
from serving.recall_types import FALLBACK_INTEREST, RecallResponse


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
    return summary.align(rows) + "\n" + "; ".join(notes) + "\n"


if __name__ == "__main__":
    from pipelines import cli

    cli.main_of("query")
