"""What a report is made of: sections of texts, tables, figures and cards.

Plain values without a look; `templates/` gives them one. Imports no TensorFlow.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from markupsafe import Markup


@dataclass(frozen=True)
class ShownTable:
    """Rows of texts.

    Attributes:
        columns: Headings.
        rows: As many texts each.
        caption: What the table shows.
        numeric: Whether all columns but the first hold numbers.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    numeric: bool = True

    kind: ClassVar = "table"


@dataclass(frozen=True)
class Key:
    """A line of a figure's legend: a name and a colour of CSS."""

    name: str
    colour: str


@dataclass(frozen=True)
class Figure:
    """A drawing, and the same numbers as a table.

    Attributes:
        title: What it shows.
        text: How to read it, in a sentence or two.
        svg: The drawing.
        legend: Its colours; empty where there is one.
        table: Its numbers, for those who do not see it.
    """

    title: str
    text: str
    svg: Markup
    legend: Sequence[Key]
    table: ShownTable

    kind: ClassVar = "figure"


@dataclass(frozen=True)
class Words:
    """Paragraphs, or points of a list."""

    lines: Sequence[str]
    as_list: bool = False

    kind: ClassVar = "words"


@dataclass(frozen=True)
class Missing:
    """What a section cannot show, and why, in a line."""

    line: str

    kind: ClassVar = "missing"


@dataclass(frozen=True)
class Bar:
    """A name with a number and its length as a bar.

    Attributes:
        name: Of what is measured.
        value: The number as a text.
        share: Length of the bar, 0 to 1.
    """

    name: str
    value: str
    share: float


@dataclass(frozen=True)
class InterestCard:
    """What one interest stands for.

    Attributes:
        name: "Interest 1".
        colour: Of CSS.
        facts: Its numbers, in a few words each.
        categories: Those it finds more often than the others.
        items: The same of items.
    """

    name: str
    colour: str
    facts: Sequence[str]
    categories: Sequence[Bar]
    items: Sequence[Bar]

    kind: ClassVar = "interest"


@dataclass(frozen=True)
class ShownItem:
    """An item of a user's list.

    Attributes:
        name: Title or id.
        colour: Of the interest that found it, of CSS.
        interest: The name of that interest.
        is_hit: Whether the user chose it next.
    """

    name: str
    colour: str
    interest: str
    is_hit: bool


@dataclass(frozen=True)
class UserCard:
    """A user of the test split: what was clicked, what is recalled, what came next.

    Attributes:
        name: The user's id.
        facts: Length of the history and the outcome, in a few words.
        history: The latest clicks, newest last.
        wanted: The held-out clicks.
        items: The answer, best first.
        by_interest: What each interest finds by itself.
    """

    name: str
    facts: str
    history: Sequence[str]
    wanted: Sequence[str]
    items: Sequence[ShownItem]
    by_interest: Sequence[tuple[Key, Sequence[ShownItem]]]

    kind: ClassVar = "user"


Block = ShownTable | Figure | Words | Missing | InterestCard | UserCard


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes:
        anchor: Its name in links.
        title: Its heading.
        lead: What it answers, in a sentence.
        blocks: What it shows, in order; neighbours of one kind stand side by side.
    """

    anchor: str
    title: str
    lead: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Tile:
    """A number that a reader looks for first."""

    label: str
    value: str
    note: str = ""
