import json

from pipelines.reporting.page.blocks import Missing
from pipelines.reporting.sections import validation
from pipelines.reporting.sections.run_folder import RunFolder


def test_a_run_of_an_earlier_version_was_not_checked(old_run):
    (block,) = validation.build(RunFolder.read(old_run)).blocks
    assert "not checked" in block.line


def test_limits_and_items_by_their_titles(evaluated_run):
    result = {
        "previous": "runs/before",
        "passed": False,
        "checks": [
            {"name": "new_items", "value": 0.25, "limit": ["max", 0.1], "holds": False},
            {"name": "missing_days", "value": 0, "limit": None, "holds": True},
        ],
        "not_checked": ["validation.min_new_days"],
        "gaps": {
            "number": 2,
            "longest": [["2024-03-02", "2024-03-02"], ["2024-04-01", "2024-04-01"]],
        },
        "largest_changes": [],
    }
    run = RunFolder.read(evaluated_run)
    item_id, title = run.vocabulary.item_ids[0], run.vocabulary.titles[0]
    result["largest_changes"] = [{"item_id": item_id, "before": 0.5, "now": 0.125}]
    (evaluated_run / "validation").mkdir()
    (evaluated_run / "validation" / "validation.json").write_text(json.dumps(result))
    measures, changes, gaps, missing = validation.build(RunFolder.read(evaluated_run)).blocks
    assert list(measures.rows) == [
        ("share of the items that are new", "0.25", "at most 0.1", "broken"),
        ("days without an event", "0", "", ""),
    ]
    assert measures.caption == "The log beside runs/before"
    assert list(changes.rows) == [(title, "50.00 %", "12.50 %")]
    assert gaps.lines == ["Days without an event: 2024-03-02, 2024-04-01."]
    assert isinstance(missing, Missing)
    assert "validation.min_new_days" in missing.line
