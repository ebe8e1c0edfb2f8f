"""Code blocks of the pages, as a reader meets them.

What a fence says decides what happens to its block:

| fence | the block is |
|---|---|
| `sh` | run by one shell for the whole page |
| `python` | run by one interpreter for the whole page |
| any with `title="NAME"` | written to the file NAME, which a later block uses |
| `text` | output, data or a sketch; not code |

`<!-- not run: REASON -->` in the line above a block leaves it out, as it needs what no test has.
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

RUN = ("sh", "python")
NO_CODE = ("text", "mermaid")

PAGES = sorted(page for names in ("README.md", "docs/**/*.md") for page in ROOT.glob(names))
"""BUILD.md is about work on the code: its commands are those of the Makefile."""

_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>.*)$")
_NOT_RUN = re.compile(r"^ *<!-- not run: (.+) -->$")
_TITLE = re.compile(r'title="([^"]+)"')


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    page: Path
    line: int
    """Of its first fence, from 1."""
    language: str
    title: str | None
    text: str
    not_run: str | None = None
    """Why no test runs it."""

    @property
    def is_run(self) -> bool:
        """Whether a test runs it, or writes it for one that is run."""
        return self.not_run is None and (self.title is not None or self.language in RUN)

    @property
    def place(self) -> str:
        """Page and line, as an editor opens them."""
        inside = self.page.is_relative_to(ROOT)
        path = self.page.relative_to(ROOT).as_posix() if inside else self.page.name
        return f"{path}:{self.line}"


def read_blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order.

    Raises:
        ValueError: A block is not closed.
    """
    blocks: list[Block] = []
    opened: re.Match | None = None
    before = ""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        fence = _FENCE.match(line)
        if opened is None and fence is not None:
            opened, first, lines, reason = fence, number, [], _NOT_RUN.match(before)
        elif opened is not None and fence is not None and not fence["info"].strip():
            info = opened["info"].strip()
            title = _TITLE.search(info)
            language = info.split(maxsplit=1)[0] if info else ""
            name = title and title.group(1)
            text = "\n".join(lines) + "\n"
            not_run = reason and reason.group(1)
            blocks.append(Block(page, first, language, name, text, not_run))
            opened = None
        elif opened is not None:
            lines.append(line.removeprefix(opened["indent"]))
        before = line
    if opened is not None:
        raise ValueError(f"{page}:{first}: the block is not closed")
    return blocks
