"""Numbers as people read them. Imports no TensorFlow."""

import math
from datetime import date, timedelta

NONE = "-"
"""Where there is no number."""

_CUT = 60
"""Characters of a name that are shown."""


def count(number: float | None) -> str:
    """A whole number.

    >>> count(1234567)
    '1,234,567'
    """
    return NONE if number is None else f"{number:,.0f}"


def metric(value: float | None) -> str:
    """A metric between 0 and 1, or a number like it.

    >>> metric(0.17295)
    '0.1729'
    """
    if value is None or not math.isfinite(value):
        return NONE
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4f}"


def share(value: float | None) -> str:
    """A share in per cent.

    >>> share(0.1234), share(0.0003), share(0.0), share(0.99999), share(1.0)
    ('12.3 %', '< 0.1 %', '0 %', '> 99.9 %', '100 %')
    """
    if value is None or not math.isfinite(value):
        return NONE
    if value in (0, 1):
        return f"{value:.0%}".replace("%", " %")
    if 0 < value < 0.0005:
        return "< 0.1 %"
    if 0.9995 < value < 1:
        return "> 99.9 %"
    return f"{100 * value:.1f} %"


def times(value: float) -> str:
    """How many times as much.

    >>> times(1.96), times(12.3), times(250.0)
    ('2.0 times', '12 times', '250 times')
    """
    return f"{value:.1f} times" if value < 10 else f"{value:,.0f} times"


def seconds(value: float | None) -> str:
    """A duration.

    >>> seconds(4.21), seconds(75), seconds(7260)
    ('4.2 s', '1 min 15 s', '2 h 1 min')
    """
    if value is None:
        return NONE
    if value < 60:
        return f"{value:.1f} s"
    if value < 3600:
        return f"{int(value // 60)} min {int(value % 60)} s"
    return f"{int(value // 3600)} h {int(value % 3600 // 60)} min"


def memory(num_bytes: int | None) -> str:
    """An amount of memory.

    >>> memory(1_234_000_000), memory(85_400_000), memory(None)
    ('1.23 GB', '85 MB', '-')
    """
    if not num_bytes:
        return NONE
    return f"{num_bytes / 1e6:.0f} MB" if num_bytes < 1e9 else f"{num_bytes / 1e9:.2f} GB"


def day(number: int) -> str:
    """A day by its number since 1970, as ISO 8601.

    >>> day(19675)
    '2023-11-14'
    """
    return (date(1970, 1, 1) + timedelta(days=int(number))).isoformat()


def counted(count_: int, noun: str) -> str:
    """A number with its noun.

    >>> counted(1, "item"), counted(1200, "item")
    ('1 item', '1,200 items')
    """
    return f"{count_:,} {noun}" + ("" if count_ == 1 else "s")


def short(name: str, length: int = _CUT) -> str:
    """A name that is not too long for its place.

    >>> short("a very long title", 10)
    'a very lo…'
    """
    name = " ".join(name.split())
    return name if len(name) <= length else f"{name[: length - 1]}…"
