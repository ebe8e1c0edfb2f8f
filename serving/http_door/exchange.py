"""One request and its answer, as the whole door sees them.

Imports no TensorFlow.
"""

import asyncio

from starlette.types import Message, Send

from serving.http_door.body import Reservation

_STEP_BYTES = 256 << 10
"""Of an answer, handed to the connection at a time."""

_GONE = 499


class Exchange:
    """What is known of a request while it is answered; `request.state.exchange`.

    Attributes:
        reservation: The bytes of the budget that it holds.
        headers: Added to those of its answer.
        is_foreign: Whether a web page sent it that is allowed only because all are.
        model: Asked for, "" where there is none.
        bytes_in: Size of its body as sent, 0 until all of it is read.
        bytes_out: Size of the answer's body.
        status: Of the answer; 499 where there was nobody to answer.
    """

    def __init__(self, send: Send, reservation: Reservation, headers: list[tuple[bytes, bytes]]):
        """Starts without an answer.

        Args:
            send: Of ASGI.
            reservation: The bytes of the budget that it holds.
            headers: For every answer, also a refusal.
        """
        self._send = send
        self.reservation = reservation
        self.headers = headers
        self.is_foreign = False
        self.model = ""
        self.bytes_in = 0
        self.bytes_out = 0
        self.status = _GONE

    async def send(self, message: Message) -> None:
        """Sends a part of the answer: `send` of ASGI for all of the door."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message["headers"], *self.headers]
            await self._send(message)
            return
        body = memoryview(message.get("body", b""))
        self.bytes_out += len(body)
        if len(body) > _STEP_BYTES:
            # Sending at once would copy all of it several times while others wait.
            self.reservation.hold(len(body))
            while len(body) > _STEP_BYTES:
                part, body = bytes(body[:_STEP_BYTES]), body[_STEP_BYTES:]
                await self._send({"type": "http.response.body", "body": part, "more_body": True})
                await asyncio.sleep(0)
            message = {**message, "body": bytes(body)}
        await self._send(message)
