"""What `recall doctor` finds, and how it is told. Imports no TensorFlow."""

import json
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

OK, NOTE, SLOW, BROKEN = "ok", "note", "slow", "broken"
STATES = (OK, NOTE, SLOW, BROKEN)
"""Good; good to know; works, but slower than it could; does not work."""

_WIDTH = 100
_COLOURS = {OK: "\x1b[32m", NOTE: "\x1b[36m", SLOW: "\x1b[33m", BROKEN: "\x1b[31m"}
_PLAIN = "\x1b[0m"


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes:
        name: What, in a word or two.
        state: One of `STATES`.
        text: What was found.
        remedy: What to do; "" where there is nothing to do.
        facts: The same as plain values, for programs.
    """

    name: str
    state: str
    text: str
    remedy: str = ""
    facts: dict[str, Any] = {}  # noqa: RUF012  never changed


def is_broken(findings: Iterable[Finding]) -> bool:
    """Whether something does not work."""
    return any(finding.state == BROKEN for finding in findings)


def as_json(findings: Sequence[Finding]) -> str:
    """All findings as one JSON text."""
    document = {
        "ok": not is_broken(findings),
        "findings": [finding._asdict() for finding in findings],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def as_text(findings: Sequence[Finding], *, coloured: bool = False) -> str:
    """A line for each, below it what to do, and a summary.

    >>> print(as_text([Finding("disk", SLOW, "3 MB/s", "Take another.")]), end="")
    slow    disk  3 MB/s
                  -> Take another.
    <BLANKLINE>
    Nothing is broken; 1 thing is slower than it could be.
    """
    name_width = max(len(finding.name) for finding in findings)
    lines = []
    for finding in findings:
        state = f"{finding.state:<6}"
        if coloured:
            state = f"{_COLOURS[finding.state]}{state}{_PLAIN}"
        indent = " " * (8 + name_width + 2)
        first, *rest = textwrap.wrap(finding.text, _WIDTH - len(indent)) or [""]
        lines.append(f"{state}  {finding.name:<{name_width}}  {first}".rstrip())
        lines += [indent + line for line in rest]
        if finding.remedy:
            lines += textwrap.wrap(
                f"-> {finding.remedy}",
                _WIDTH,
                initial_indent=indent,
                subsequent_indent=indent + "   ",
                break_long_words=False,
                break_on_hyphens=False,
            )
    return "\n".join([*lines, "", _summary(findings)]) + "\n"


def _summary(findings: Sequence[Finding]) -> str:
    broken = [finding.name for finding in findings if finding.state == BROKEN]
    slow = sum(finding.state == SLOW for finding in findings)
    parts = [f"broken: {', '.join(broken)}"] if broken else ["nothing is broken"]
    if slow == 1:
        parts.append("1 thing is slower than it could be")
    elif slow:
        parts.append(f"{slow} things are slower than they could be")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."
