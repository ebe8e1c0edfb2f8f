"""Reads the body of a request within bounds, decompressed where it is gzip.

Imports no TensorFlow. Bytes are taken from the budget as they arrive: what a
client only announces holds nothing.
"""

import asyncio
import zlib

from starlette.requests import Request

from serving.doors.byte_budget import ByteBudget
from serving.http_door.errors import HttpError
from serving.http_door.limits import MAX_BODY_BYTES
from serving.protocol.status import Code, ServingError

_GZIP = ("gzip", "x-gzip")
_GZIP_WINDOW = 16 + zlib.MAX_WBITS
"""Tells zlib that the stream has gzip's header and checksum."""

_STEP_BYTES = 256 << 10
"""Decompressed at a time; the event loop answers others in between."""


class Reservation:
    """The bytes of the budget that one request holds."""

    def __init__(self, budget: ByteBudget):
        self._budget = budget
        self._num_bytes = 0

    def grow(self, num_bytes: int) -> None:
        """Takes more bytes.

        Raises:
            ServingError: RESOURCE_EXHAUSTED, requests hold as much as they may.
        """
        self._budget.take(num_bytes)
        self._num_bytes += num_bytes

    def hold(self, num_bytes: int) -> None:
        """Counts bytes that are there already: those of an answer."""
        self._budget.note(num_bytes)
        self._num_bytes += num_bytes

    def check(self, num_bytes: int) -> None:
        """Says at once when so many bytes cannot be had now.

        Raises:
            ServingError: As `grow`.
        """
        self._budget.take(num_bytes)
        self._budget.give_back(num_bytes)

    def __enter__(self) -> "Reservation":
        return self

    def __exit__(self, *exception: object) -> None:
        self._budget.give_back(self._num_bytes)


async def read_body(request: Request, reservation: Reservation) -> tuple[bytes, int]:
    """The whole body, and its size as sent.

    Args:
        request: Not read yet.
        reservation: Grows by every byte that is kept.

    Raises:
        HttpError: The body is, or says it is, too large, or its encoding is not known.
        ServingError: RESOURCE_EXHAUSTED, the server holds too much already;
            INVALID_ARGUMENT, it is no gzip.
        ClientDisconnect: There is nobody to answer: it went, or took too long.
    """
    stated = request.headers.get("content-length")
    if stated is not None:
        num_bytes = int(stated)  # Digits: the parser has looked.
        if num_bytes > MAX_BODY_BYTES:
            raise _too_large()
        reservation.check(num_bytes)
    decoder = _build_decoder(request.headers.get("content-encoding", ""), reservation)
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > MAX_BODY_BYTES:
            raise _too_large()
        await decoder.add(chunk)
    return decoder.finish(), received


class _Plain:
    """Keeps a body as it comes."""

    def __init__(self, reservation: Reservation):
        self._reservation = reservation
        self._chunks: list[bytes] = []

    async def add(self, chunk: bytes) -> None:
        """Keeps a part of the body."""
        self._reservation.grow(len(chunk))
        self._chunks.append(chunk)

    def finish(self) -> bytes:
        """The body."""
        return self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)


class _Gzip(_Plain):
    """Decompresses a body step by step: a few bytes may stand for very many."""

    def __init__(self, reservation: Reservation):
        super().__init__(reservation)
        self._stream = zlib.decompressobj(_GZIP_WINDOW)
        self._is_empty = True
        self._size = 0

    async def add(self, chunk: bytes) -> None:
        """Decompresses a part of the body."""
        has_more = bool(chunk)
        while has_more:
            if self._stream.eof:  # Another member, as `gzip` writes when it appends.
                self._stream = zlib.decompressobj(_GZIP_WINDOW)
            plain = self._decompress(chunk)
            chunk = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
            await super().add(plain)
            # A full step may have left more behind, although all of the chunk is taken.
            has_more = bool(chunk) or (len(plain) == _STEP_BYTES and not self._stream.eof)
            if has_more:
                await asyncio.sleep(0)

    def _decompress(self, chunk: bytes) -> bytes:
        """At most one step of what follows."""
        try:
            plain = self._stream.decompress(chunk, _STEP_BYTES)
        except zlib.error as error:
            raise _not_gzip(str(error)) from error
        self._is_empty = False
        self._size += len(plain)
        if self._size > MAX_BODY_BYTES:
            raise _too_large()
        return plain

    def finish(self) -> bytes:
        """The body.

        Raises:
            ServingError: INVALID_ARGUMENT, the stream has no end.
        """
        if not self._stream.eof and not self._is_empty:
            raise _not_gzip("it ends too early")
        return super().finish()


def _build_decoder(encoding: str, reservation: Reservation) -> _Plain:
    coding = encoding.strip().lower()
    if coding in ("", "identity"):
        return _Plain(reservation)
    if coding in _GZIP:
        return _Gzip(reservation)
    raise HttpError(
        "encoding",
        415,
        "The Content-Encoding of a body must be gzip or identity.",
        {"Accept-Encoding": "gzip, identity"},
    )


def _not_gzip(reason: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, f"The body is no complete gzip stream: {reason}.")


def _too_large() -> HttpError:
    text = f"The body must be at most {MAX_BODY_BYTES} bytes, also once decompressed."
    return HttpError("body_too_large", 413, text, {"Connection": "close"})
