"""How a text file writes its table: separator, quotes, encoding, names of the columns.

What the user does not say is read off the ending of the file and its first
line. Imports no TensorFlow.
"""

import codecs
import contextlib
import csv
import logging
import re
from collections.abc import Sequence
from typing import NamedTuple

from pipelines.sources.tables import compression, header_lines
from recall.errors import InputError
from serving.stores.store_path import AnyPath

_log = logging.getLogger(__name__)

FOLDER_ENDINGS = (".csv", ".tsv")
ENDINGS = (*FOLDER_ENDINGS, ".txt", ".dat", ".data", ".inter", ".item")
"""Of text files. In a folder only the first ones count: a README.txt is no log."""

_ESCAPE_NAMES = {"\\t": "\t", "tab": "\t", "space": " ", "blank": " ", "comma": ",", "pipe": "|"}
_CSV_SEPARATORS = (",", ";", "\t", "|", "::")
_OTHER_SEPARATORS = ("\t", "::", "|", ";", ",", " ")
_SEPARATORS_WITH_QUOTES = (",", ";")
_TYPED_NAME = re.compile(r"([^:]+):(token|token_seq|float|float_seq)")
"""A column of a RecBole atomic file, for example `user_id:token`."""

_WITHOUT_MARK = {"utf-8-sig": "utf-8", "utf-16": "utf-16-le", "utf-32": "utf-32-le"}
"""Encodings that Python writes with a mark, and the ones for text after the mark."""

_HEADER_BLOCK_BYTES = 1 << 14
_MAX_HEADER_BYTES = 1 << 20
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # It begins with the mark of UTF-16.
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class TextOptions(NamedTuple):
    """What a user may say about a text file; the default is to find it out.

    Attributes:
        columns: Names of the columns of a file without a header.
        separator: Text between two fields.
        quoting: Whether `"` encloses fields. None: where fields are separated
            by `,` or `;`, and then lines that look lost in a field are refused.
        escape: Character that takes a quote's meaning, as Spark writes it.
        encoding: Name of the encoding, as Python knows it.
        prefix: What the names of these flags begin with, for messages.
    """

    columns: tuple[str, ...] = ()
    separator: str | None = None
    quoting: bool | None = None
    escape: str = ""
    encoding: str | None = None
    prefix: str = ""


DEFAULT_TEXT = TextOptions()


class TextFormat(NamedTuple):
    """How one file is written.

    Attributes:
        names: Names of the columns, without white space around them.
        lists: Names of those that hold several words, separated by blanks.
        separator: Text between two fields.
        quoting: Whether `"` encloses fields.
        trusted: Whether the user said so, and lines in a field are no fault.
        escape: Character that takes a quote's meaning, or "".
        encoding: Name of the encoding.
        header_bytes: Bytes before the first row.
        trim: Whether a blank follows every separator and is no part of a field.
    """

    names: tuple[str, ...]
    lists: frozenset[str]
    separator: str
    quoting: bool
    trusted: bool
    escape: str
    encoding: str
    header_bytes: int
    trim: bool


def text_ending(path: AnyPath) -> str:
    """The ending that says what a text file is, "" where it is none.

    >>> from pathlib import Path
    >>> text_ending(Path("Log.CSV.GZ"))
    '.csv'
    """
    packed = compression.packed_ending(path)
    name = path.name.lower()
    stem = name.removesuffix(packed)
    ending = next((ending for ending in ENDINGS if stem.endswith(ending)), "")
    if packed == ".zip" and not ending:
        member = compression.member_name(path).lower()
        return next((ending for ending in ENDINGS if member.endswith(ending)), ".csv")
    return ending


def parse_options(
    prefix: str,
    *,
    columns: Sequence[str] = (),
    separator: str | None = None,
    quoting: str = "auto",
    escape: str | None = None,
    encoding: str | None = None,
) -> TextOptions:
    """What the values of flags mean.

    Raises:
        InputError: One makes no sense; the text names the flag with its `prefix`.
    """
    modes = {"auto": None, "true": True, "false": False}
    if quoting.lower() not in modes:
        raise InputError(f"--{prefix}quoting={quoting!r} must be auto, true or false.")
    escape = escape or ""
    if len(escape.encode()) > 1 or escape in ('"', "\r", "\n"):
        raise InputError(f"--{prefix}escape={escape!r} must be one ASCII character, as \\ is.")
    if encoding is not None:
        try:
            codecs.lookup(encoding)
        except LookupError as error:
            raise InputError(
                f"--{prefix}encoding={encoding!r} is unknown. Name one like utf-8 or latin-1."
            ) from error
    names = tuple(name.strip() for name in columns)
    if len(set(names)) != len(names):
        raise InputError(f"--{prefix}columns={','.join(names)} names a column twice.")
    return TextOptions(
        names,
        _parse_separator(separator, prefix),
        modes[quoting.lower()],
        escape,
        encoding,
        prefix,
    )


def refuse(options: TextOptions, why: str) -> None:
    """Refuses options that would do nothing.

    Args:
        options: What the user said.
        why: Why there is no text file.

    Raises:
        InputError: Something is said.
    """
    for name, value in options._asdict().items():
        if name != "prefix" and value != DEFAULT_TEXT._asdict()[name]:
            flag = f"--{options.prefix}{name}"
            raise InputError(f"{flag} is for text files, but {why}. Leave {flag} out.")


def _parse_separator(text: str | None, prefix: str = "") -> str | None:
    r"""The separator a user means by `tab`, `\t`, `;`, `::` ...

    Raises:
        InputError: It is empty, or has a quote or a line break.
    """
    if text is None:
        return None
    separator = _ESCAPE_NAMES.get(text.lower(), text)
    if not separator or any(character in separator for character in '"\r\n'):
        raise InputError(
            f"--{prefix}separator={text!r} separates nothing. Give one like ';', '::' or tab."
        )
    return separator


def find_format(path: AnyPath, options: TextOptions) -> TextFormat:
    """Looks at the start of a file.

    Raises:
        InputError: The file cannot be read as text, is empty, or does not have
            the columns the user named.
    """
    line, later, encoding, skipped = _first_lines(path, options.encoding)
    text = line.rstrip("\r\n")
    separator = options.separator or _find_separator(path, text, options)
    fields = _split(path, text, separator, options)
    quoting = options.quoting
    if quoting is None:
        all_quoted = all(re.fullmatch(r'\s*".*"\s*', f) for f in text.split(separator))
        quoting = separator in _SEPARATORS_WITH_QUOTES or all_quoted
    names, lists = [field.strip() for field in fields], frozenset()
    trim = len(fields) > 1 and all(field.startswith(" ") for field in fields[1:])
    has_header = not options.columns or tuple(names) == options.columns
    if not has_header:
        _check_count(path, fields, separator, options)
        plain, lists = _read_types(names)
        rows = _split_later(path, later, separator, options)
        if header_lines.is_header(plain, options.columns, rows):
            has_header = True
            _log.warning(
                "%s has a header after all (%s): it is not read as a row. Leave --%scolumns out "
                "to go by its names.",
                path,
                ", ".join(map(repr, names[:4])),
                options.prefix,
            )
        names = list(options.columns)
        lists = frozenset(n for n, old in zip(names, plain, strict=True) if old in lists)
    else:
        names, lists = _read_types(names)
    skipped += len(line.encode(encoding)) if has_header else 0
    return TextFormat(
        tuple(names),
        lists,
        separator,
        quoting,
        options.quoting is True,
        options.escape,
        encoding,
        skipped,
        trim,
    )


def _first_lines(path: AnyPath, encoding: str | None) -> tuple[str, list[str], str, int]:
    """The first line with its end, some after it, the encoding, the length of the mark before."""
    with compression.open_bytes(path) as stream:
        start = b""
        while data := stream.read(_HEADER_BLOCK_BYTES):
            start += data
            if b"\n" in start[3:] or len(start) >= _MAX_HEADER_BYTES:
                break
    mark, found = next((m for m in _BYTE_ORDER_MARKS if start.startswith(m[0])), (b"", "utf-8"))
    encoding = found if mark else codecs.lookup(encoding or "utf-8").name
    encoding = _WITHOUT_MARK.get(encoding, encoding)
    start = start[len(mark) :]
    text = codecs.getincrementaldecoder(encoding)().decode(start, final=False)
    lines = text.splitlines(keepends=True) if "\n" not in text else [text[: text.index("\n") + 1]]
    line = lines[0] if lines else ""
    if not line.strip():
        raise InputError(
            f"{path} is empty. Its first line must name the columns."
            if not text.strip()
            else f"{path} begins with an empty line. Its first line must name the columns."
        )
    later = text[len(line) :].splitlines()
    return line, later[: header_lines.MAX_LINES], encoding, len(mark)


def _split_later(
    path: AnyPath, lines: Sequence[str], separator: str, options: TextOptions
) -> list[list[str]]:
    """Fields of some lines; those that cannot be split, or are cut off, are left out."""
    rows = []
    for line in filter(str.strip, lines):
        with contextlib.suppress(InputError):
            rows.append(_split(path, line, separator, options))
    return [row for row in rows if len(row) == len(options.columns)]


def _find_separator(path: AnyPath, line: str, options: TextOptions) -> str:
    ending = text_ending(path)
    if ending == ".tsv":
        return "\t"
    candidates = _CSV_SEPARATORS if ending == ".csv" else _OTHER_SEPARATORS
    if options.columns:
        for separator in candidates:
            if len(_split(path, line, separator, options)) == len(options.columns):
                return separator
    return next((separator for separator in candidates if separator in line), ",")


def _split(path: AnyPath, line: str, separator: str, options: TextOptions) -> list[str]:
    """The fields of the first line."""
    if options.quoting or (options.quoting is None and separator in _SEPARATORS_WITH_QUOTES):
        escape = options.escape or None
        try:
            return next(csv.reader([line], delimiter=separator, escapechar=escape))
        except csv.Error as error:
            raise InputError(
                f"The first line of {path} cannot be split: {error}. Mend it, or pass "
                f"--{options.prefix}quoting=false if quotes are ordinary characters."
            ) from error
    fields = line.split(separator)
    if options.quoting is not False and all(re.fullmatch(r'\s*".*"\s*', f) for f in fields):
        return [field.strip()[1:-1] for field in fields]
    return fields


def _check_count(path: AnyPath, fields: list[str], separator: str, options: TextOptions) -> None:
    if len(fields) != len(options.columns):
        raise InputError(
            f"--{options.prefix}columns names {len(options.columns)} columns, but the first line "
            f"of {path} has {len(fields)} fields separated by {separator!r}: {fields[:8]!r}. Name "
            f"every column in order, and the separator by --{options.prefix}separator."
        )


def _read_types(names: Sequence[str]) -> tuple[list[str], frozenset[str]]:
    """Names without RecBole's types, and which of the columns are lists."""
    typed = [_TYPED_NAME.fullmatch(name) for name in names]
    if not all(typed):
        return list(names), frozenset()
    lists = frozenset(match[1] for match in typed if match[2].endswith("_seq"))
    return [match[1] for match in typed], lists
