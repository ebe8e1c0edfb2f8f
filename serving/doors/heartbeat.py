"""Whether requests are answered: what the health checks of both doors say beside `is_ready`.

Imports no TensorFlow. Loaded models do not mean that answers come: a queue may
have lost its runner, a lock may never be let go. So every few seconds a real
request goes the way of all others, through the queues. Overload is not death: a
request of ours that is refused for a full queue proves nothing, and then the
answers to others count.
"""

import logging
import threading
import time
from collections.abc import Callable

from serving.protocol.call import Call, answering
from serving.protocol.status import Code, ServingError

_LOGGER = logging.getLogger(__name__)

PROBE_EVERY_S = 5.0
"""Pause between requests of our own: about 2 ms of work each."""

DEAD_AFTER_S = 15.0
"""Silence that means that nothing is answered: ten times what requests took under five times
the load a server can bear, and half of what clients wait."""

_TICK_S = 0.25


class Heartbeat:
    """Watches the answers of one server; safe to use from several threads."""

    def __init__(
        self,
        ask: Callable[[], None],
        *,
        probe_every_s: float | None = None,
        dead_after_s: float | None = None,
    ):
        """Watches nothing yet.

        Args:
            ask: Sends one request the way of all others; raises when there is no answer.
            probe_every_s: Pause between its calls, which have a thread of their own;
                `PROBE_EVERY_S` by default.
            dead_after_s: Silence that means that requests are not answered;
                `DEAD_AFTER_S` by default.
        """
        self._ask = ask
        self._probe_every_s = PROBE_EVERY_S if probe_every_s is None else probe_every_s
        self._dead_after_s = DEAD_AFTER_S if dead_after_s is None else dead_after_s
        self._heard_s: float | None = None
        self._next_probe_s = time.monotonic() + self._probe_every_s
        self._num_answers = self._num_answers_before = 0
        self._probe: threading.Thread | None = None
        self._is_alive = True
        self._tell: Callable[[bool], None] = lambda _: None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="heartbeat", daemon=True)

    @property
    def is_alive(self) -> bool:
        """Whether requests are answered, as far as is known; never waits."""
        return self.silent_s < self._dead_after_s

    @property
    def silent_s(self) -> float:
        """Seconds since the last answer; 0 before the watch begins."""
        return 0.0 if self._heard_s is None else time.monotonic() - self._heard_s

    def count_answer(self) -> None:
        """A client's request was answered."""
        self._num_answers += 1

    def start(self, tell: Callable[[bool], None]) -> None:
        """Begins to watch; `tell` is called whenever `is_alive` has changed."""
        self._tell = tell
        self._beat()
        self._thread.start()

    def stop(self) -> None:
        """Watches no more. A probe that hangs is left to itself."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        """Body of the thread."""
        tick_s = min(_TICK_S, self._probe_every_s / 2)
        while not self._stop.wait(tick_s):
            if time.monotonic() >= self._next_probe_s:
                self._send_probe()
            if self._is_alive != self.is_alive:
                self._is_alive = not self._is_alive
                text = "Requests are answered again" if self._is_alive else "No request is answered"
                _LOGGER.error("%s; the last answer was %.1f s ago", text, self.silent_s)
                self._tell(self._is_alive)

    def _send_probe(self) -> None:
        """In a thread of its own: whatever is stuck must not stop the watch."""
        if self._probe is not None and self._probe.is_alive():
            return
        self._probe = threading.Thread(target=self._run_probe, name="probe", daemon=True)
        self._probe.start()

    def _run_probe(self) -> None:
        try:
            with answering(Call(self._dead_after_s)):
                self._ask()
            self._beat()
        except ServingError as error:
            is_busy = error.code is Code.RESOURCE_EXHAUSTED
            if is_busy and self._num_answers != self._num_answers_before:
                self._beat()
            else:
                _LOGGER.warning("A request of our own was not answered: %s", error)
        except Exception:
            _LOGGER.exception("A request of our own failed")
        self._num_answers_before = self._num_answers
        self._next_probe_s = time.monotonic() + self._probe_every_s

    def _beat(self) -> None:
        self._heard_s = time.monotonic()
