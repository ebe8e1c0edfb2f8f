"""Quoted fields over several lines: which are meant, and which swallow rows.

A quote at the beginning of a field opens a quoted field, which may hold line
breaks. A stray one therefore swallows rows up to the next quote. The lines of a
quoted field are no field but rows when

1. the quote that closes it is not followed by a separator or the end of a line
   (blanks between them do not matter; this also holds in one line),
2. it does not close before the end of the file, or within a mebibyte, or
3. the line it opens in and a later one have, taken without quotes, as many
   fields as the table has columns. (Not where a number in the first stands at
   the place of several words in the later one: that is prose with commas.)
   Where the text itself holds separators, and so the first line has more
   fields, the fields beside it tell: numbers and single words stand where
   they stand in the first line. So do ids at the beginning of lines: words of
   the same letters and digits (`tt12`, `tt345`), or without digits such words in
   all lines.

Then the line that opens it is a bad row, and reading goes on in the next line.
Imports no TensorFlow.
"""

import sys
from collections.abc import Callable
from typing import NamedTuple

if sys.version_info >= (3, 11):
    import re
else:  # `re` had no possessive quantifiers before.
    import regex as re

_MAX_FIELD_BYTES = 1 << 20
_NUMBER = re.compile(rb"\s*[+-]?[\d.]+([eE][+-]?\d+)?\s*")
_SEVERAL_WORDS = re.compile(rb"(?![\d\s:./+-]*\Z)\s*\S+\s+\S.*")
"""More than one word, and no date with a time."""
_MIN_ID_LENGTH = 2
_WORD = re.compile(rb"\S+")
_LINE_END = re.compile(rb"\r\n|\r|\n")
_MARK = "\x01bad line %d\x01"


class BadLine(NamedTuple):
    """A line that was taken out; a mark of one field, which no table has, stands for it.

    Attributes:
        text: What it reads.
        reason: Why it is bad, and what to do.
        num_lines: How many lines it takes.
    """

    text: str
    reason: str
    num_lines: int


class QuotedFields:
    """Cleans a text of quoted fields that swallow rows, block by block.

    Attributes:
        bad_lines: The lines taken out, by their marks.
    """

    def __init__(
        self,
        read: Callable[[int], bytes],
        separator: str,
        num_columns: int,
        *,
        escape: str = "",
        trusted: bool = False,
        flag_prefix: str = "",
    ):
        """Prepares the patterns.

        Args:
            read: Gives at most so many bytes of UTF-8 text, b"" at the end.
            separator: One ASCII character.
            num_columns: Columns of the table, at least two.
            escape: Character that takes a quote's meaning, or "".
            trusted: Whether rule 3 is left out, because the user vouches for
                the quotes.
            flag_prefix: What the names of the flags begin with, for messages.
        """
        self.bad_lines: dict[str, BadLine] = {}
        self._num_marks = 0
        self._read, self._separator = read, separator.encode()
        self._num_columns, self._trusted, self._prefix = num_columns, trusted, flag_prefix
        self._escape = escape.encode()
        self._rest, self._ended = b"", False
        before = rb"[^%s\n\r]" % re.escape(self._separator)
        slash = re.escape(self._escape)
        # Possessive: the matcher never goes back, and needs no memory per field.
        one_line = _quoted_pattern(before, slash, rb"\n\r")
        stop = rb"[%s\n\r]" % re.escape(self._separator)
        ends = rb"(?=%s|\Z| ++(?:%s|\Z))" % (stop, stop)  # The usual first: it is quick.
        self._clean = re.compile(rb'(?:[^"]*+(?:%s%s|(?<=%s)"))*+[^"]*+' % (one_line, ends, before))
        self._ends = re.compile(ends)
        self._field = re.compile(_quoted_pattern(before, slash, b""), re.DOTALL)

    def read(self, size: int) -> bytes | memoryview:
        """About `size` bytes of whole lines, b"" at the end."""
        while True:
            parts, wanted = [self._rest], max(size // 4, size - len(self._rest))
            while wanted > 0 and not self._ended:
                parts.append(self._read(wanted))
                self._ended = not parts[-1]
                wanted -= len(parts[-1])
            parts = [part for part in parts if part]
            text = parts[0] if len(parts) == 1 else b"".join(parts)
            cleaned, self._rest = self._split(text)
            if cleaned or self._ended:
                return cleaned

    def _split(self, text: bytes) -> tuple[bytes | memoryview, bytes]:
        """Whole records of `text`, cleaned, and what may go on in the next block."""
        whole = text.rfind(b"\n") + 1 or text[:-1].rfind(b"\r") + 1
        end = len(text) if self._ended else whole
        if text.find(b'"', 0, end) < 0:
            return memoryview(text)[:end], text[end:]  # no copy of what is clean
        return self._clean_lines(text, end)

    def _clean_lines(self, text: bytes, end: int) -> tuple[bytes, bytes]:
        """As `_split`; the lines up to `end` are whole."""
        parts, written = [], 0  # text[:written] is in parts
        at = record = 0  # where to look on; where the record of `at` begins
        while True:
            opens = self._clean.match(text, at, end).end()
            record = _last_line(text, at, opens) or record
            if opens == end:
                parts.append(text[written:end])
                return b"".join(parts), text[end:]
            close = self._field.match(text, opens)
            closes = close.end() if close else len(text)
            in_sight = close is not None and closes <= end and closes < len(text)
            too_long = close is None and len(text) - opens >= _MAX_FIELD_BYTES
            if not (self._ended or in_sight or too_long):
                parts.append(text[written:record])
                return b"".join(parts), text[record:]
            reason = self._reason(text, record, opens, closes if close else None)
            if not reason:
                at = closes
                continue
            line = _LINE_END.search(text, opens)
            stop = line.end() if line else len(text)
            parts += [text[written:record], self._take_out(text[record:stop], reason)]
            at = record = written = stop

    def _reason(self, text: bytes, record: int, opens: int, closes: int | None) -> str:
        """Why the field `text[opens:closes]` is none, "" where it is one."""
        spark = f"pass --{self._prefix}escape=\\"
        if closes is None:
            reason = "a quoted field opens here and does not end"
        elif not self._ends.match(text, closes):
            if not _LINE_END.search(text, opens, closes):
                if not self._escape and text[closes - 2 : closes] == b'\\"':
                    return f"a backslash stands before a quote; {spark}"
                reason = "text stands after the quote that closes a field"
            else:
                reason = "a quoted field opens here and ends lines later in the middle of a field"
        elif not self._trusted and self._holds_rows(text, record, opens, closes):
            reason = "a quoted field opens here and holds lines that look like rows"
        else:
            return ""
        line_end = _LINE_END.search(text, opens)
        stop = line_end.start() if line_end else len(text)
        if text.find(b'\\"', opens, stop) >= 0 and not self._escape:
            return f"{reason}; if a backslash stands before quotes, {spark}"
        remedy = f"if quotes are ordinary characters, pass --{self._prefix}quoting=false"
        if closes is not None and reason.endswith("rows"):
            remedy += f", if they are right, --{self._prefix}quoting=true"
        return f"{reason}; {remedy}"

    def _holds_rows(self, text: bytes, record: int, opens: int, closes: int) -> bool:
        """Rule 3."""
        before = self._fields(text[record:opens])
        lines = _LINE_END.split(text[opens:closes])
        if self._has_alike_line(before, lines, text, closes):
            return True
        if len(before) + lines[0].count(self._separator) != self._num_columns:
            return False
        # The last line goes on after the quote with what follows the field.
        wanted = [self._num_columns - 1] * (len(lines) - 2) + [len(before) - 1]
        return any(
            line.count(self._separator) == number and not self._is_prose(line, before)
            for line, number in zip(lines[1:], wanted, strict=True)
            if number
        ) or (len(before) == 1 and self._num_columns > 1 and len(lines) > 1)

    def _has_alike_line(
        self, before: list[bytes], lines: list[bytes], text: bytes, closes: int
    ) -> bool:
        """Whether a later line has beside its text such fields as the first one has."""
        num_left = len(before) - 1
        num_right = self._num_columns - 1 - num_left
        first = before[:-1] + lines[0].split(self._separator)
        if len(first) < self._num_columns:
            return False
        line_end = _LINE_END.search(text, closes)
        last = lines[-1] + text[closes : line_end.start() if line_end else len(text)]
        wanted = first[:num_left] + first[len(first) - num_right :]
        later = [line.split(self._separator) for line in [*lines[1:-1], last]]
        whole = [fields for fields in later if len(fields) >= self._num_columns]
        if num_left and _are_ids(first[0], [f[0] for f in whole], all_lines=whole == later):
            return True
        for fields in whole:
            found = fields[:num_left] + fields[len(fields) - num_right :]
            if _are_alike(wanted, found, needs_number=len(fields) > self._num_columns):
                return True
        return False

    def _is_prose(self, line: bytes, before: list[bytes]) -> bool:
        """Whether several words stand where the first line has a number."""
        fields = line.split(self._separator)
        return any(
            _NUMBER.fullmatch(first) and _SEVERAL_WORDS.fullmatch(later)
            for first, later in zip(before[:-1], fields, strict=False)
        )

    def _fields(self, text: bytes) -> list[bytes]:
        """The fields of the beginning of a record; the last one is the one that opens."""
        return self._field.sub(b"quoted", text).split(self._separator)

    def _take_out(self, lines: bytes, reason: str) -> bytes:
        """Keeps bad lines and returns the line that stands for them."""
        text = lines.decode("utf-8", "replace").rstrip("\r\n")
        mark = _MARK % self._num_marks
        self._num_marks += 1
        self.bad_lines[mark] = BadLine(text, reason, count_lines(text))
        return mark.encode() + b"\n"


def _are_alike(first: list[bytes], later: list[bytes], *, needs_number: bool) -> bool:
    """Whether numbers and single words of one line stand for such in the other."""
    pairs = list(zip(first, later, strict=True))
    numbers = [_NUMBER.fullmatch(b) for a, b in pairs if _NUMBER.fullmatch(a)]
    words = [b for a, b in pairs if _WORD.fullmatch(a) and not _NUMBER.fullmatch(a)]
    if not (numbers or (words and not needs_number)):
        return False
    return all(numbers) and all(_WORD.fullmatch(word) for word in words)


def _are_ids(first: bytes, later: list[bytes], *, all_lines: bool) -> bool:
    """Whether later lines begin with ids of the form of the first line's.

    Args:
        first: Field that the line with the quote begins with.
        later: Those of the later lines that have enough fields.
        all_lines: Whether all later lines have enough.
    """
    form = _form_of(first)
    if not _WORD.fullmatch(first) or _NUMBER.fullmatch(first) or first in later:
        return False
    alike = [word for word in later if _WORD.fullmatch(word) and _form_of(word) == form]
    if b"9" in form and len(first) >= _MIN_ID_LENGTH:
        return bool(alike)  # Prose has no words like tt0133093 or B00X4WHP5E before a separator.
    return bool(alike) and all_lines and len(alike) == len(later) == len(set(later))


def _form_of(word: bytes) -> bytes:
    """A word with one letter for letters and one digit for digits that follow each other.

    >>> _form_of(b"tt0133093"), _form_of(b"Up-2")
    (b'a9', b'Aa-9')
    """
    for kind, one in ((rb"[0-9]+", b"9"), (rb"[A-Z]+", b"A"), (rb"[a-z\x80-\xff]+", b"a")):
        word = re.sub(kind, one, word)
    return word


def _quoted_pattern(before: bytes, slash: bytes, without: bytes) -> bytes:
    """Pattern of a quoted field.

    Args:
        before: Characters of which none may stand before the field.
        slash: Pattern of the escape character, or b"".
        without: Characters that the field must not hold.
    """
    plain = rb'[^"%s%s]*+' % (slash, without)
    escaped = rb'""' + (
        rb"|%s%s" % (slash, rb"[^%s]" % without if without else b".") if slash else b""
    )
    return rb'(?<!%s)"%s(?:(?:%s)%s)*+"' % (before, plain, escaped, plain)


def count_lines(text: str) -> int:
    """Lines of a text that does not end with a line break.

    >>> count_lines("a")
    1
    """
    return len(re.findall("\r\n|\r|\n", text)) + 1


def _last_line(text: bytes, start: int, end: int) -> int:
    """Where the last line of `text[start:end]` begins, 0 when it has no line break."""
    return max(text.rfind(b"\n", start, end), text.rfind(b"\r", start, end)) + 1
