"""Errors and lines that the pages quote are those that the program says."""

import ast
import re

from tests.documents import spans
from tests.documents.blocks import ROOT, read_blocks

SHORTEST = 8
"""Characters of a piece of a message in the code; shorter ones stand everywhere."""
MOST_WORDS = 3
"""Plain words in a row that need not be the code's: names and times."""
OF_OTHERS = ("Column is completely missing",)
"""What other programs say, TensorFlow Data Validation here."""

_ERROR = re.compile(r"(?:^recall \w+: error: |^Config key |^Data row |^`\w+` has )", re.MULTILINE)
_WORDS = re.compile(rf"(?:(?<![\w`'./-])[A-Za-z]?[a-z]+[,.;:]? ){{{MOST_WORDS},}}[a-z]+")
"""More of them than that."""
_REMARK = re.compile(r"^\| `([^`|]{20,})` \|", re.MULTILINE)


def pieces():
    """All texts of the code, longest first, without the breaks of lines."""
    found = set()
    for package in ("recall", "serving", "pipelines"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.add(" ".join(node.value.split()))
    return sorted((piece for piece in found if len(piece) >= SHORTEST), key=len, reverse=True)


PIECES = pieces()


def not_of_the_code(message):
    """What is left of a message without the pieces that the code has."""
    rest = " ".join(message.split())
    for piece in (*OF_OTHERS, *PIECES):
        if piece in rest:
            rest = rest.replace(piece, "\0")
    return rest


def quoted_errors():
    for page in spans.PAGES:
        for block in read_blocks(page):
            if block.language == "text":
                starts = [match.start() for match in _ERROR.finditer(block.text)]
                for first, end in zip(starts, [*starts, None][1:], strict=True):
                    yield block.place, block.text[first:end]


def test_what_is_not_said_is_noticed():
    said = "`k` must be in [1, 1000], received 5000."
    assert _WORDS.search(not_of_the_code(said)) is None
    assert _WORDS.search(not_of_the_code("The model shall not be blessed at all: 3 of 4"))


def test_errors_that_are_quoted_are_printed():
    quoted = list(quoted_errors())
    left = {place: _WORDS.search(not_of_the_code(text)) for place, text in quoted}
    assert {place: words.group() for place, words in left.items() if words} == {}
    assert len(quoted) >= 9


def test_warnings_in_tables_are_printed():
    """Of `recall run` and of a report; numbers and names of them differ from run to run."""
    page = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    texts = "\n".join(PIECES)
    quoted = _REMARK.findall(page[page.index("## Warnings after a run") :])
    parts = [part.strip() for text in quoted for part in re.split(r"\.\.\.|[\d(%)]+", text)]
    unsaid = [part for part in parts if len(part) >= SHORTEST and part not in texts]
    # This one is put together of shorter texts.
    assert unsaid == ["The model is below the bigram baseline"]
    assert len(quoted) >= 10
