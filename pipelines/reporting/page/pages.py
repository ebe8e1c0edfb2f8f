"""Templates of pages: where they are and how they are filled in. Imports no TensorFlow."""

import functools
import itertools
import re
from collections.abc import Sequence
from typing import NamedTuple

import jinja2

from pipelines.reporting.page.blocks import Block, ShownTable

_IN_COLUMNS = ("figure", "table")

_ROW, _LINE = 24, 60
"""Of a column: pixels of a line, and its signs."""

_ROW_SIGNS = 68
"""Signs of a row of a table that fit a column."""

_LARGE_GAP = 0.75
"""Of the height of a block: what may be blank beside it."""

_ENLARGED = 1.28
"""Of a drawing in a column: 460 pixels of 360 (`report.css`, `charts.py`)."""

_SVG_HEIGHT = re.compile(r'<svg [^>]*?viewBox="0 0 [0-9.]+ ([0-9.]+)"')

_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|&~])")
"""What Markdown would read as a mark."""


@functools.cache
def environment() -> jinja2.Environment:
    """Templates of this folder; what they put into HTML is escaped."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("pipelines.reporting.page"),
        autoescape=jinja2.select_autoescape(enabled_extensions=("html.j2",), default=False),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.globals["neighbours"] = neighbours
    made.filters["plain"] = to_plain_markdown
    return made


def read(name: str) -> str:
    """The text of a file beside the templates, as it is."""
    made = environment()
    return made.loader.get_source(made, name)[0]


class Group(NamedTuple):
    """Blocks of one kind that follow each other.

    Attributes:
        kind: Of the blocks.
        columns: Those of each column from above to below, each block with its place among all.
    """

    kind: str
    columns: Sequence[Sequence[tuple[int, Block]]]


def neighbours(blocks: Sequence[Block]) -> list[Group]:
    """Blocks by kind: figures and tables that are narrow enough side by side, others below."""
    found = []
    for (kind, wide), group in itertools.groupby(blocks, key=lambda b: (b.kind, is_wide(b))):
        parts = [list(group)]
        if kind not in _IN_COLUMNS or wide:
            found.append(Group(kind, [list(enumerate(parts[0]))]))
            continue
        if len(parts[0]) > 2 and _leaves_a_gap(parts[0]):
            parts = [parts[0][:-1], parts[0][-1:]]
        found += [Group(kind, _in_columns(part)) for part in parts]
    return found


def is_wide(block: Block) -> bool:
    """Whether a block is a table that half a page is too narrow for."""
    if not isinstance(block, ShownTable) or not block.numeric:  # Texts are broken.
        return False
    # Headings may be broken between words.
    longest = [max(map(len, str(column).split()), default=0) for column in block.columns]
    for row in block.rows:
        longest = [max(width, len(cell)) for width, cell in zip(longest, row, strict=True)]
    return sum(longest) + 2 * len(longest) > _ROW_SIGNS


def _leaves_a_gap(blocks: Sequence[Block]) -> bool:
    """Whether the last block would stand beside nothing, so that it had better have a row."""
    heights = [sum(_height(block) for _, block in column) for column in _in_columns(blocks)]
    return abs(heights[0] - heights[1]) > _LARGE_GAP * _height(blocks[-1])


def _in_columns(blocks: Sequence[Block]) -> list[list[tuple[int, Block]]]:
    """Two columns of about one height; one for a block that is alone.

    One after the other they go to the column that is shorter, so that no column ends far above
    the other and what is read first stands above.
    """
    if len(blocks) == 1:
        return [list(enumerate(blocks))]
    columns: list[list[tuple[int, Block]]] = [[], []]
    heights = [0.0, 0.0]
    for place, block in enumerate(blocks):
        shorter = int(heights[1] < heights[0])
        columns[shorter].append((place, block))
        heights[shorter] += _height(block)
    return columns


def _height(block: Block) -> float:
    """About how many pixels high a figure or a table is in a column."""
    if isinstance(block, ShownTable):
        signs = _ROW_SIGNS if block.numeric else _LINE // len(block.columns)
        lines = sum(max(len(cell) // signs for cell in row) for row in block.rows)
        return 80 + 8 * len(block.rows) + _ROW * (len(block.rows) + lines)
    drawn = _SVG_HEIGHT.search(block.svg)
    above = bool(block.legend) + len(block.text) // _LINE
    return 120 + _ROW * above + _ENLARGED * (float(drawn[1]) if drawn else 0)


def to_plain_markdown(text: object) -> str:
    """A text without marks of Markdown or HTML, on one line.

    >>> print(to_plain_markdown("<b>a|b</b>"))
    \\<b\\>a\\|b\\</b\\>
    """
    return _MARKUP.sub(r"\\\1", " ".join(str(text).split()))
