"""What the pages quote of the product, with the place: code spans, command lines, settings."""

import functools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.documents.blocks import ROOT, Block, read_blocks

PAGES = sorted(
    page
    for names in ("README.md", "BUILD.md", "TRIALS.md", "docs/**/*.md")
    for page in ROOT.glob(names)
)
"""Those that say how things are; CHANGELOG.md tells of them as they were."""

_FENCED = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`]+)`")
_COMMENT = re.compile(r"(?:^|(?<=\s))# .*$", re.MULTILINE)
_OPERATORS = ";&|<>()\n"


class Span(NamedTuple):
    """A piece of a page, without the breaks of its lines."""

    place: str
    """Page and line, as an editor opens them."""
    text: str


class CommandLine(NamedTuple):
    """A `recall ...` of a page."""

    place: str
    name: str
    words: list[str]
    """Behind the name of the command."""


def prose(page: Path) -> str:
    """The text of a page; of a block only the breaks of its lines are left."""
    text = page.read_text(encoding="utf-8")
    return _FENCED.sub(lambda block: "\n" * block.group().count("\n"), text)


def place_of(page: Path, text: str, offset: int) -> str:
    """Page and line of a character."""
    number = text.count("\n", 0, offset) + 1
    return f"{page.relative_to(ROOT).as_posix()}:{number}"


def table(page: str, heads: str) -> list[list[str]]:
    """Cells of a page's table, without backticks; bars in code are no ends of cells.

    Args:
        page: Its path.
        heads: Those of the table, as in "kind | parameters".

    Raises:
        LookupError: The page has no such table.
    """
    text = prose(ROOT / page).replace(r"\|", "\0")
    _, head, rest = text.partition(f"| {heads} |\n")
    if not head:
        raise LookupError(f"{page} has no table {heads!r}")
    rows = []
    for row in rest.splitlines()[1:]:
        if not row.startswith("|"):
            break
        cells = row.strip("|").split("|")
        rows.append([cell.replace("\0", "|").replace("`", "").strip() for cell in cells])
    return rows


@functools.cache
def code_spans() -> tuple[Span, ...]:
    """Everything between backticks in the prose of all pages."""
    found = []
    for page in PAGES:
        text = prose(page)
        for span in _SPAN.finditer(text):
            found.append(Span(place_of(page, text, span.start()), " ".join(span[1].split())))
    return tuple(found)


def whole_texts() -> Iterator[Span]:
    """Code spans, and the blocks of all pages."""
    yield from code_spans()
    for page in PAGES:
        for block in read_blocks(page):
            yield Span(block.place, block.text)


def words_of(text: str) -> Iterator[list[str]]:
    """The commands of a shell's text, each as its words.

    Raises:
        ValueError: A quote is not closed.
    """
    lexer = shlex.shlex(
        _COMMENT.sub("", text.replace("\\\n", " ")), posix=True, punctuation_chars=_OPERATORS
    )
    lexer.whitespace, lexer.commenters, lexer.whitespace_split = " \t", "", True
    words: list[str] = []
    for word in lexer:
        if set(word) <= set(_OPERATORS):
            yield words
            words = []
        else:
            words.append(word)
    yield words


def commands_of(place: str, text: str) -> Iterator[CommandLine]:
    """The `recall ...` of a shell's text."""
    for words in words_of(text):
        programs = [n for n, word in enumerate(words) if word.rsplit("/", 1)[-1] == "recall"]
        for number in programs[:1]:
            name, *rest = words[number + 1 :] or [""]
            if re.fullmatch(r"[a-z]\w*", name):
                yield CommandLine(place, name, rest)


def _of_block(block: Block) -> Iterator[CommandLine]:
    if block.language == "sh":
        yield from commands_of(block.place, block.text)
    elif block.language == "text":
        for line in block.text.replace("\\\n", " ").splitlines():
            if re.match(r"(\S+=\S+ )*(\S+/)?recall [a-z]+( |$)", line):
                yield from commands_of(block.place, line)


@functools.cache
def command_lines() -> tuple[CommandLine, ...]:
    """The command lines in the blocks of all pages."""
    blocks = [block for page in PAGES for block in read_blocks(page)]
    return tuple(line for block in blocks for line in _of_block(block))


@functools.cache
def quoted_commands() -> tuple[CommandLine, ...]:
    """Commands in the prose, of which some are fragments: flags without values."""
    found = []
    for span in code_spans():
        if re.match(r"(\S+/)?recall [a-z]", span.text):
            found += commands_of(span.place, span.text)
    return tuple(found)
