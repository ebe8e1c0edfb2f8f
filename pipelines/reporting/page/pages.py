"""Templates of pages: where they are and how they are filled in. Imports no TensorFlow."""

import functools
import itertools
import re
from collections.abc import Sequence

import jinja2

from pipelines.reporting.page.blocks import Block

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


def neighbours(blocks: Sequence[Block]) -> list[tuple[str, list[Block]]]:
    """Blocks by kind, those of one kind that follow each other together."""
    groups = itertools.groupby(blocks, key=lambda block: block.kind)
    return [(kind, list(group)) for kind, group in groups]


def to_plain_markdown(text: object) -> str:
    """A text without marks of Markdown or HTML, on one line.

    >>> print(to_plain_markdown("<b>a|b</b>"))
    \\<b\\>a\\|b\\</b\\>
    """
    return _MARKUP.sub(r"\\\1", " ".join(str(text).split()))
