"""How many bytes of requests the process holds at a time; what is over is refused at once.

Imports no TensorFlow. Counting requests alone (`admission`) does not bound memory:
64 requests may be 64 bytes or 64 times the largest body. Both doors therefore
say how much a request will take before they read or decode it.
"""

import contextlib
import threading
from collections.abc import Iterator

from serving.protocol.status import Code, ServingError

MAX_REQUEST_BYTES = 64 << 20
"""What one request may take, read and decoded: far above a full batch of long histories."""

MAX_TOTAL_BYTES = 256 << 20
"""What all requests in work may take together."""


class ByteBudget:
    """Counts the bytes of the requests in work of both doors; safe to use from several threads.

    Attributes:
        max_request_bytes: Bound of one request.
        max_total_bytes: Bound of all together.
    """

    def __init__(
        self,
        max_request_bytes: int = MAX_REQUEST_BYTES,
        max_total_bytes: int = MAX_TOTAL_BYTES,
    ):
        self.max_request_bytes = max_request_bytes
        self.max_total_bytes = max_total_bytes
        self._lock = threading.Lock()
        self._used = 0

    @property
    def used(self) -> int:
        """Bytes held now."""
        return self._used

    def take(self, num_bytes: int) -> None:
        """Reserves bytes, which must be given back.

        Raises:
            ServingError: INVALID_ARGUMENT, more than one request may take;
                RESOURCE_EXHAUSTED, other requests hold too much of the rest.
        """
        check_num_bytes(num_bytes, self.max_request_bytes)
        with self._lock:
            if self._used + num_bytes <= self.max_total_bytes:
                self._used += num_bytes
                return
        raise ServingError(
            Code.RESOURCE_EXHAUSTED,
            "The requests in work hold all the memory that requests may take "
            f"({self.max_total_bytes} bytes). Try again later.",
        )

    def give_back(self, num_bytes: int) -> None:
        """Ends a reservation."""
        with self._lock:
            self._used -= num_bytes

    def note(self, num_bytes: int) -> None:
        """Counts bytes that are there already and cannot be refused; negative ones are gone."""
        with self._lock:
            self._used += num_bytes

    @contextlib.contextmanager
    def held(self, num_bytes: int) -> Iterator[None]:
        """Reserves bytes for the block.

        Raises:
            ServingError: As `take`.
        """
        self.take(num_bytes)
        try:
            yield
        finally:
            self.give_back(num_bytes)


def check_num_bytes(num_bytes: int, max_request_bytes: int) -> None:
    """Refuses what one request may not take.

    Raises:
        ServingError: INVALID_ARGUMENT.
    """
    if num_bytes > max_request_bytes:
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"The request takes {num_bytes} bytes, at most {max_request_bytes} are "
            "allowed. Send fewer or smaller inputs.",
        )
