"""Which settings are searched, and between which values. Imports no TensorFlow and no Optuna."""

import json
import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from recall.config import RecallConfig
from recall.errors import InputError

DEFAULT_SPACE = (
    "train.learning_rate=log:0.0003..0.003",
    "loss.temperature=log:0.03..0.15",
    "model.dropout_rate=null|0.1|0.2|0.3|0.4|0.5",
    "model.num_interests=1|2|4|8",
    "loss.seq2seq_weight=0|0.02|0.1",
    "train.batch_slots=null|256|768",
)
"""What moved the results of TRIALS.md; the defaults are among the values of each."""

_OF_EXAMPLES = ("model.max_history_length",)
"""Settings that examples are made with, beside those of `ingest`."""

_RANGE = re.compile(r"(log:)?([^|.]*(?:\.\d[^|.]*)?)\.\.([^|]+)")


class Dimension(NamedTuple):
    """One setting and what it may be.

    Attributes:
        name: With its section, as `train.learning_rate`.
        choices: All values, () for a range.
        low: Smallest value of a range.
        high: Largest value of a range.
        is_log: Whether the range is searched by its logarithm.
        is_whole: Whether its values are whole numbers.
    """

    name: str
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    is_log: bool = False
    is_whole: bool = False

    def holds(self, value: Any) -> bool:
        """Whether a value is one of these."""
        if self.choices:
            return value in self.choices
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and self.low <= value <= self.high


def parse_space(texts: Sequence[str], config: RecallConfig) -> list[Dimension]:
    """Dimensions from texts, all for settings that exist and values that they may have.

    Args:
        texts: `KEY=A|B|C`, `KEY=LOW..HIGH` or `KEY=log:LOW..HIGH`; whole numbers on both sides
            make a range of whole numbers.
        config: The settings that every trial begins with.

    Raises:
        InputError: A text is none of these, names a setting twice, or a value is refused.

    >>> parse_space(["model.dim=64|128"], RecallConfig())[0].choices
    (64, 128)
    >>> parse_space(["train.learning_rate=log:0.001..0.1"], RecallConfig())[0][2:5]
    (0.001, 0.1, True)
    """
    space = [_parse(text) for text in texts]
    names = [dimension.name for dimension in space]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"--space names {name} twice.")
    for dimension in space:
        if dimension.name.startswith("ingest.") or dimension.name in _OF_EXAMPLES:
            raise InputError(
                f"--space={dimension.name}: all trials read the same examples, which are made with "
                "it. Give it by --set, and search once for each value."
            )
        for value in dimension.choices or (_whole(dimension, v) for v in dimension[2:4]):
            config.override([assignment(dimension.name, value)])
    return space


def default_space(config: RecallConfig) -> list[Dimension]:
    """`DEFAULT_SPACE` as far as the settings that every trial begins with allow its values.

    >>> several = RecallConfig().override(["model.clusters=items"])
    >>> [d.choices for d in default_space(several) if d.name == "model.num_interests"]
    [(2, 4, 8)]
    """
    space = []
    for dimension in map(_parse, DEFAULT_SPACE):
        allowed = tuple(v for v in dimension.choices if _is_allowed(config, dimension.name, v))
        if not dimension.choices or len(allowed) > 1:
            space.append(dimension._replace(choices=allowed))
    return space


def _is_allowed(config: RecallConfig, name: str, value: Any) -> bool:
    try:
        config.override([assignment(name, value)])
    except InputError:
        return False
    return True


def assignment(name: str, value: Any) -> str:
    """A value as `--set` takes it."""
    return f"{name}={json.dumps(value)}"


def default_of(dimension: Dimension, config: RecallConfig) -> Any:
    """The value that a config has for a dimension."""
    section, _, key = dimension.name.partition(".")
    return config.to_dict()[section][key]


def _whole(dimension: Dimension, value: float) -> float | int:
    return int(value) if dimension.is_whole else value


def _parse(text: str) -> Dimension:
    name, equals, values = text.partition("=")
    if not equals or not values or "." not in name:
        raise _wrong(text)
    if ".." not in values:
        return Dimension(name, tuple(_value(text, value) for value in values.split("|")))
    match = _RANGE.fullmatch(values)
    if match is None:
        raise _wrong(text)
    low, high = (_value(text, value) for value in match.groups()[1:])
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (low, high))
    if not numbers or not low < high or not all(map(math.isfinite, (low, high))):
        raise _wrong(text)
    is_log = match[1] is not None
    if is_log and low <= 0:
        raise InputError(f"--space={text}: a range by its logarithm begins above 0.")
    is_whole = isinstance(low, int) and isinstance(high, int)
    return Dimension(name, (), low, high, is_log, is_whole)


def _value(text: str, value: str) -> Any:
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        if re.fullmatch(r"[A-Za-z_]\w*", value):
            return value
        raise _wrong(text) from None


def _wrong(text: str) -> InputError:
    return InputError(
        f"--space={text} is no space. Write KEY=A|B|C, KEY=LOW..HIGH or KEY=log:LOW..HIGH, for "
        "example train.learning_rate=log:0.0003..0.003."
    )
