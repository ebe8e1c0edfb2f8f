"""Which blocks of a report stand side by side."""

from markupsafe import Markup

from pipelines.reporting.page import pages
from pipelines.reporting.page.blocks import Figure, Missing, ShownTable, Words


def figure(name, height):
    svg = Markup(f'<svg width="360" height="{height}" viewBox="0 0 360 {height}"></svg>')
    return Figure(name, "", svg, [], ShownTable(("a",), []))


def table(name, num_rows, cell="1"):
    return ShownTable(("what", "number"), [(cell, cell)] * num_rows, name)


def names(blocks):
    """The groups: of each its columns, of each its blocks by name."""
    return [
        [
            [(block.title if isinstance(block, Figure) else block.caption) for _, block in column]
            for column in group.columns
        ]
        for group in pages.neighbours(blocks)
    ]


def test_figures_fill_the_shorter_column():
    figures = [figure("a", 200), figure("b", 400), figure("c", 200), figure("d", 50)]
    # With their titles a and c are higher than b; then b's column is the shorter one.
    assert names(figures) == [[["a", "c"], ["b", "d"]]]
    (group,) = pages.neighbours(figures)
    assert [[place for place, _ in column] for column in group.columns] == [[0, 2], [1, 3]]


def test_the_last_one_of_three_alike_has_a_row_of_its_own():
    assert names([figure(name, 200) for name in "abc"]) == [[["a"], ["b"]], [["c"]]]
    assert names([table(name, 4) for name in "abcd"]) == [[["a", "c"], ["b", "d"]]]


def test_one_alone_has_the_whole_width():
    assert names([figure("a", 200)]) == [[["a"]]]


def test_wide_tables_stand_below_each_other():
    wide = "0.1795 (0.1544 to 0.2046), a long one"
    blocks = [table("a", 3), table("b", 3), table("c", 3, wide), table("d", 3, wide)]
    assert names(blocks) == [[["a"], ["b"]], [["c", "d"]]]
    texts = ShownTable(("what", "value"), [(wide, wide)], "e", numeric=False)
    assert not pages.is_wide(texts)
    assert not pages.is_wide(ShownTable(("a", "recall of all items " * 9), [("1", "2")]))


def test_others_stay_in_their_order():
    blocks = [Words(["x"]), Missing("a"), Missing("b"), figure("c", 9)]
    found = [(group.kind, len(group.columns)) for group in pages.neighbours(blocks)]
    assert found == [("words", 1), ("missing", 1), ("figure", 1)]
