"""What requests say of users beside their histories -> inputs of the user tower.

Imports no TensorFlow. Names and types are those of the tower's signature `with_context`.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from recall.errors import InputError
from recall.feature_columns.item_features import LARGEST_NUMBER
from serving.protocol import tensors

if TYPE_CHECKING:
    from tensorflow.core.protobuf import meta_graph_pb2

HISTORY_INPUT = "history_item_ids"
_CLICK_TIMES, _REQUEST_TIME = "history_timestamps", "request_timestamp"
_OF_CLICKS = "history_"
"""Beginning of the names of inputs that stand beside the history."""
_TIMES = (_CLICK_TIMES, _REQUEST_TIME)
"""Taken by every release; one that does not look at times answers without them."""

Context = Mapping[str, Any]


class UserContext:
    """The inputs of one user tower.

    Attributes:
        names: What a request may say.
    """

    def __init__(
        self,
        signature: "meta_graph_pb2.SignatureDef | None",
        clock: Callable[[], float] = time.time,
    ):
        """Reads names and types.

        Args:
            signature: `with_context`; None where the tower looks at histories alone.
            clock: Seconds since 1970, for requests that say when clicks were but not when
                they were made.
        """
        inputs = {} if signature is None else dict(signature.inputs)
        inputs.pop(HISTORY_INPUT, None)
        self._dtypes = {
            name: np.dtype(tensors.numpy_dtype(info.dtype)) for name, info in inputs.items()
        }
        self._sizes = {
            name: [dim.size for dim in info.tensor_shape.dim][1:] for name, info in inputs.items()
        }
        # Lists beside the history: as many values as it has clicks.
        self._aligned = tuple(
            name
            for name, sizes in self._sizes.items()
            if name.startswith(_OF_CLICKS) and sizes == [-1] and name != _CLICK_TIMES
        )
        self._clock = clock
        self.names = tuple(sorted({*inputs, *_TIMES}))

    def build(
        self, histories: Sequence[Sequence[str]], contexts: Sequence[Context | None]
    ) -> dict[str, np.ndarray]:
        """The inputs beside the histories; none where nobody says anything that counts.

        Args:
            histories: Raw ids of every user.
            contexts: Of every user, by name; None says nothing.

        Raises:
            InputError: A name is not known, or a value is of another kind.
        """
        for history, context in zip(histories, contexts, strict=True):
            self._check(history, context or {})
        said = {name for context in contexts for name in context or {}}
        inputs = {}
        for name in self._dtypes:
            if name in said:
                values = [(context or {}).get(name) for context in contexts]
                inputs[name] = self._stack(name, values)
        if _CLICK_TIMES in inputs:
            # Of each request by itself: others in its batch may say when they were made.
            now = int(self._clock())
            said = [context or {} for context in contexts]
            wanted = np.array([_CLICK_TIMES in own and _REQUEST_TIME not in own for own in said])
            of_requests = inputs.get(_REQUEST_TIME, np.zeros(len(histories), np.int64))
            inputs[_REQUEST_TIME] = np.where(wanted, now, of_requests)
        return inputs

    def _check(self, history: Sequence[str], context: Context) -> None:
        unknown = sorted(set(context) - set(self.names))
        if unknown:
            raise InputError(
                f"`context` has {unknown[0]!r}, which this release does not take. It takes "
                f"{', '.join(self.names)}."
            )
        times = context.get(_CLICK_TIMES)
        if times is not None and (not isinstance(times, list) or len(times) != len(history)):
            raise InputError(
                f"`context.{_CLICK_TIMES}` must be a list of as many times as the history has "
                f"clicks, {len(history)}: whole seconds since 1970, 0 where one is not known."
            )
        for name in self._aligned:
            values = context.get(name)
            if values is not None and (not isinstance(values, list) or len(values) != len(history)):
                found = f", received {len(values)}" if isinstance(values, list) else ""
                raise InputError(
                    f"`context.{name}` must be a list of as many values as the history has clicks, "
                    f"{len(history)}{found}: null where one is not known."
                )

    def _stack(self, name: str, values: Sequence[Any]) -> np.ndarray:
        """`[num_users, ...]`, of those who say nothing what a model takes for missing."""
        dtype, sizes = self._dtypes[name], self._sizes[name]
        filler = _filler(dtype)
        if not sizes:
            rows = [filler if value is None else self._one(name, value) for value in values]
            return np.array(rows, dtype)
        lists = []
        for value in values:
            listed = [] if value is None else value if isinstance(value, list) else [value]
            if sizes[0] >= 0 and listed and len(listed) != sizes[0]:
                raise InputError(f"`context.{name}` must have {sizes[0]} numbers.")
            lists.append([self._one(name, one) for one in listed])
        width = max([sizes[0], *map(len, lists)])
        return np.array([[*one, *[filler] * (width - len(one))] for one in lists], dtype).reshape(
            len(lists), max(width, 0)
        )

    def _one(self, name: str, value: Any) -> Any:
        """One value in the type of its input; None is one that is not known."""
        dtype = self._dtypes[name]
        if value is None and name in self._aligned:
            return _filler(dtype)
        is_text = dtype.kind == "O"
        if is_text and isinstance(value, bool):  # As Arrow writes a truth value of a file.
            return str(value).lower().encode()
        if is_text and isinstance(value, str | int):
            try:
                return str(value).strip().encode()
            except UnicodeEncodeError as error:
                raise InputError(f"`context.{name}` is not valid Unicode.") from error
        is_number = isinstance(value, int | float) and abs(value) <= LARGEST_NUMBER
        if not is_text and is_number:
            if dtype.kind == "f":
                return float(value)
            is_whole = not isinstance(value, bool) and float(value).is_integer()
            if is_whole and 0 <= value < 1 << 62:
                return value
        wanted = "a text" if is_text else "a number"
        if dtype.kind == "i":
            wanted = "whole seconds since 1970"
        raise InputError(f"`context.{name}` must be {wanted}, received {value!r:.100}.")


def _filler(dtype: np.dtype) -> Any:
    if dtype.kind == "O":
        return b""
    return math.nan if dtype.kind == "f" else 0
