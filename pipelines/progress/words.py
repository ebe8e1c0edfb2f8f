"""Numbers as people read them: durations, counts, speeds. Imports no TensorFlow."""

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_LARGE = 10_000


def duration(seconds: float) -> str:
    """A time in its two largest units.

    >>> duration(0.26), duration(7.4), duration(75), duration(3 * 3600 + 140), duration(90_000)
    ('0.3 s', '7.4 s', '1 min 15 s', '3 h 2 min', '1 d 1 h')
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def rough_duration(seconds: float) -> str:
    """A time that is only estimated, in its largest unit.

    >>> rough_duration(7.4), rough_duration(75), rough_duration(600), rough_duration(9000)
    ('7 s', '75 s', '10 min', '2.5 h')
    """
    if seconds < 2 * _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 2 * _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    if seconds < 2 * _DAY:
        return f"{seconds / _HOUR:.1f} h"
    return f"{seconds / _DAY:.1f} d"


def speed(per_second: float, what: str) -> str:
    """
    >>> speed(41_234.4, "slots"), speed(3.14159, "steps")
    ('41,234 slots/s', '3.1 steps/s')
    """
    return f"{per_second:,.0f} {what}/s" if per_second >= 100 else f"{per_second:.1f} {what}/s"


def fact(name: str, value: float | str) -> str:
    """
    >>> fact("loss", 5.21341), fact("leaves", 41), fact("kind", "scann")
    ('loss 5.2134', 'leaves 41', 'kind scann')
    """
    if hasattr(value, "numpy"):  # Still on a device: whoever shows it waits for it.
        value = float(value)
    if isinstance(value, float):
        return f"{name} {value:.4f}" if abs(value) < _LARGE else f"{name} {value:.4g}"
    return f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}"


def number_of(count: int, noun: str) -> str:
    """A number with its noun.

    >>> number_of(1, "file"), number_of(2000, "file")
    ('1 file', '2,000 files')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
