"""Patterns of a shell for the names of files in stores. Imports no TensorFlow."""

import re

_TOKEN = re.compile(r"\*\*/|\*\*|\*|\?|\[!?\]?[^]]*\]|.", re.DOTALL)
"""What a pattern is made of."""

_EXPRESSIONS = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def compiled(pattern: str) -> re.Pattern[str]:
    """An expression for a pattern, whose `*` stops at a stroke; to be matched as a whole.

    >>> bool(compiled("day=*/**/*.csv").fullmatch("day=1/a/b/c.csv"))
    True
    >>> bool(compiled("*.csv").fullmatch("a/b.csv"))
    False
    """
    tokens = _TOKEN.findall(pattern)
    return re.compile("".join(_EXPRESSIONS.get(token) or _class_or_text(token) for token in tokens))


def _class_or_text(token: str) -> str:
    if len(token) == 1:
        return re.escape(token)
    inner = token[1:-1].replace("\\", r"\\")
    return f"[^{inner[1:]}]" if inner.startswith("!") else f"[{inner}]"
