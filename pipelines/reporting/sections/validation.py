"""Whether the log is fit: its measures, their limits, what changed most. Imports no TensorFlow."""

from pipelines.reporting.page import texts
from pipelines.reporting.page.blocks import Block, Missing, Section, ShownTable, Words
from pipelines.reporting.sections.run_folder import RunFolder
from pipelines.validation import tables


def build(run: RunFolder) -> Section:
    """The section about the validation of a run's log."""
    result = run.validation
    if result is None:
        blocks: list[Block] = [Missing("The log was not checked: there is no `validation`.")]
    else:
        rows = [
            (tables.MEANINGS[name], value, limit, outcome)
            for name, value, limit, outcome in tables.rows(result)
        ]
        caption = f"The log beside {result['previous']}" if result["previous"] else "The log"
        columns = ("what", "value", "limit", "outcome")
        blocks = [ShownTable(columns, rows, caption, numeric=False), *_changes(run)]
        missing = tables.show_gaps(result.get("gaps"))  # Earlier versions did not name them.
        if missing:
            blocks.append(Words([f"Days without an event: {missing}."]))
        if result["not_checked"]:
            names = ", ".join(result["not_checked"])
            blocks.append(Missing(f"Limits that nothing was measured for: {names}."))
    return Section(
        "validation",
        "Is the log fit?",
        "What was measured before anything was trained, what changed since the run before, and "
        "the limits that were set.",
        blocks,
    )


def _changes(run: RunFolder) -> list[Block]:
    """The items whose share of the clicks changed most."""
    changes = (run.validation or {}).get("largest_changes")
    if not changes:
        return []
    titles = {}
    if run.vocabulary is not None:
        titles = dict(zip(run.vocabulary.item_ids, run.vocabulary.titles, strict=True))
    rows = [
        (
            texts.short(titles.get(one["item_id"]) or one["item_id"]),
            f"{100 * one['before']:.2f} %",
            f"{100 * one['now']:.2f} %",
        )
        for one in changes
    ]
    return [ShownTable(("item", "before", "now"), rows, "Shares of the clicks that changed most")]
