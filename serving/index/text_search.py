"""Finds items by words of their titles and by their ids, as people type them.

Imports no TensorFlow. Texts are folded (case, accents and punctuation do not count) a
chunk at a time, when a search first comes there, and kept: who never searches pays nothing,
and no search has to wait until all of a large catalogue is folded.
"""

import functools
import math
import re
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

EXACT_ID, TITLE_START, WORD_STARTS, ANYWHERE = range(4)
"""How well an item matches: its id is what was typed; its title begins with that; every word
begins one of the item's; every word is somewhere in it."""

_CHUNK_ROWS = 8192
"""Folding as many titles takes 20 ms, searching them .3 ms."""

_MARK = re.compile(r"[\W_]+")
_LETTERS = str.maketrans(
    {"æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "\u0131": "i"}
)
"""Letters that Unicode does not take apart into a letter and a mark."""


def fold(text: str) -> str:
    """A text in lower case, without accents, its words separated by one space.

    >>> fold("  Amélie: «Le fabuleux DESTIN»"), fold("Straße_42")
    ('amelie le fabuleux destin', 'strasse 42')
    """
    if not text.isascii():
        parts = unicodedata.normalize("NFKD", text.casefold())
        text = "".join(sign for sign in parts if unicodedata.category(sign) != "Mn")
        text = text.translate(_LETTERS)
    return _MARK.sub(" ", text.lower()).strip()


class TextQuery(NamedTuple):
    """What somebody types, folded.

    Attributes:
        phrase: All of it.
        words: Its distinct words, the longest first, as few items have that one.
    """

    phrase: str
    words: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> "TextQuery":
        """Folds a text."""
        phrase = fold(text)
        return cls(phrase, tuple(sorted(dict.fromkeys(phrase.split()), key=len, reverse=True)))


class TextMatches(NamedTuple):
    """Items that match, best first; of equal ones the lower row.

    Attributes:
        rows: `[n]` int64.
        ranks: `[n]` int64, `TITLE_START` and so on.
        is_complete: Whether there was time to look at all items.
    """

    rows: np.ndarray
    ranks: np.ndarray
    is_complete: bool

    @classmethod
    def of(cls, rank_of: Mapping[int, int], is_complete: bool) -> "TextMatches":
        """Out of the rank of every row that matches."""
        pairs = sorted((rank, row) for row, rank in rank_of.items())
        columns = np.array(pairs, np.int64).reshape(-1, 2)
        return cls(columns[:, 1], columns[:, 0], is_complete)


class _Chunk(NamedTuple):
    """Folded texts of neighbouring rows.

    Attributes:
        text: One line per row, each of words with a space before every word.
        starts: `[num_rows + 1]` int64, where each line starts.
    """

    text: bytes
    starts: np.ndarray

    @classmethod
    def of(cls, titles: Sequence[str], item_ids: Sequence[str]) -> "_Chunk":
        pairs = zip(titles, item_ids, strict=True)
        lines = [f"\n {fold(title)} {fold(item_id)}".encode() for title, item_id in pairs]
        starts = np.zeros(len(lines) + 1, np.int64)
        np.cumsum([len(line) for line in lines], out=starts[1:])
        return cls(b"".join(lines), starts)

    def find(self, needle: bytes, others: Sequence[bytes]) -> Iterator[int]:
        """Numbers of the rows whose line has the needle and all others."""
        place = self.text.find(needle)
        while place >= 0:
            row = int(np.searchsorted(self.starts, place, side="right")) - 1
            start, end = self.starts[row : row + 2].tolist()
            if all(self.text.find(other, start, end) >= 0 for other in others):
                yield row
            place = self.text.find(needle, end)


class TextIndex:
    """The texts of rows 0 to `num_rows` - 1; safe to use from several threads."""

    def __init__(
        self, read: Callable[[int, int], tuple[Sequence[str], Sequence[str]]], num_rows: int
    ):
        """Reads nothing yet.

        Args:
            read: First row and the row after the last -> their titles and raw ids.
            num_rows: Number of rows.
        """
        self._num_rows = num_rows
        # Two threads may both fold a chunk that neither finds: their results are equal.
        self._chunk = functools.lru_cache(None)(
            lambda start: _Chunk.of(*read(start, min(start + _CHUNK_ROWS, num_rows)))
        )

    def find(
        self,
        query: TextQuery,
        k: int,
        *,
        deadline_s: float,
        left_out: np.ndarray | None = None,
    ) -> TextMatches:
        """The best matches.

        Args:
            query: What was typed; without a word nothing matches.
            k: Items wanted.
            deadline_s: When to look no further, on the monotonic clock; the first chunk is
                always looked at.
            left_out: `[num_rows]` bool, rows that may not be found.
        """
        if not query.words:
            return TextMatches.of({}, True)
        found: dict[int, int] = {}  # Row -> rank.
        first, *others = (word.encode() for word in query.words)
        passes = {
            TITLE_START: (f"\n {query.phrase}".encode(), []),
            WORD_STARTS: (b" " + first, [b" " + other for other in others]),
            ANYWHERE: (first, others),
        }
        end = self._num_rows
        for rank, (needle, also) in passes.items():
            for start in range(0, end, _CHUNK_ROWS):
                if start and time.monotonic() > deadline_s:
                    # What comes next has only to look at what is folded by now.
                    end, deadline_s = start, math.inf
                    break
                rows = (start + place for place in self._chunk(start).find(needle, also))
                for row in rows:
                    if row not in found and (left_out is None or not left_out[row]):
                        found[row] = rank
                    if len(found) == k:  # Rows to come are no better, nor more popular.
                        return TextMatches.of(found, end == self._num_rows)
        return TextMatches.of(found, end == self._num_rows)
