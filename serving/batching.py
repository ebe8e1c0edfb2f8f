"""Requests of several threads run as one batch of the model.

Imports no TensorFlow. There is no thread of its own and no waiting window: a
request that finds the model idle runs at once, in the thread it came in. While
the model is busy requests collect, and the first of them becomes the next
batch's runner. A fixed window would cost every lone request its length
(measured with one of 1 ms: 2.7 ms instead of 1.3 ms).
"""

import collections
import enum
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from serving import batch_arrays
from serving import call as calls
from serving.batch_arrays import Arrays
from serving.batching_options import BatchingOptions
from serving.status import Code, ServingError


class BatchReport(NamedTuple):
    """What the metrics want to know about a batch that ran.

    Attributes:
        num_rows: Rows of all its requests.
        waited_s: Time each request spent in the queue.
    """

    num_rows: int
    waited_s: Sequence[float]


class _Stage(enum.Enum):
    """Where a request is."""

    QUEUED = enum.auto()
    RUNNER = enum.auto()
    """Its thread has to run the next batch."""
    TAKEN = enum.auto()
    """It is in a running batch."""
    DONE = enum.auto()


class _Ticket:
    """One request; its stage changes under the batcher's lock."""

    def __init__(self, inputs: Arrays, key: tuple, call: calls.Call):
        self.inputs = inputs
        self.key = key
        self.call = call
        self.num_rows = batch_arrays.num_rows(inputs)
        self.arrived_s = time.monotonic()
        self.stage = _Stage.QUEUED
        self.changed = threading.Event()
        self.outputs: dict[str, np.ndarray] | None = None
        self.error: BaseException | None = None


class Batcher:
    """Runs a function of batches for callers that have a few rows each."""

    def __init__(
        self,
        function: Callable[[Arrays], dict[str, np.ndarray]],
        options: BatchingOptions,
        report: Callable[[BatchReport], None] = lambda _: None,
    ):
        """Puts a queue in front of a function.

        Args:
            function: Inputs -> outputs; the first axis of all is the batch.
            options: Sizes and times.
            report: Told of every batch that ran.
        """
        self._function = function
        self._options = options
        self._report = report
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)
        self._queue: collections.deque[_Ticket] = collections.deque()
        self._queued_rows = 0
        self._num_running = 0

    @property
    def queued_rows(self) -> int:
        """Rows that wait now."""
        return self._queued_rows

    def run(self, inputs: Arrays) -> dict[str, np.ndarray]:
        """The outputs for a request's rows.

        Args:
            inputs: At least one, all with the same number of rows. More rows
                than a batch may have run alone.

        Raises:
            ServingError: RESOURCE_EXHAUSTED, the queue is full;
                DEADLINE_EXCEEDED or CANCELLED, before its turn came.
            Exception: What the function raised for this request.
        """
        key = batch_arrays.key_of(inputs, padded=self._options.pad_variable_length_inputs)
        ticket = _Ticket(inputs, key, calls.current())
        ticket.call.check()
        if self._starts_at_once(ticket):
            self._run_batch([ticket])
        else:
            with ticket.call.woken_by_cancel(ticket.changed.set):
                self._wait(ticket)
            if ticket.stage is _Stage.RUNNER:
                self._run_batch(self._collect(ticket))
        if ticket.error is not None:
            raise ticket.error
        return ticket.outputs

    def _starts_at_once(self, ticket: _Ticket) -> bool:
        """Takes the idle model, or a place in the queue."""
        with self._lock:
            if self._num_running < self._options.num_batch_threads and not self._queue:
                self._num_running += 1
                return True
            if self._queue and self._queued_rows + ticket.num_rows > self._options.capacity:
                raise ServingError(
                    Code.RESOURCE_EXHAUSTED,
                    "The batch scheduling queue to which this task was submitted is full: "
                    f"{self._queued_rows} rows wait. Try again later.",
                )
            self._queue.append(ticket)
            self._queued_rows += ticket.num_rows
            self._arrived.notify()
            return False

    def _wait(self, ticket: _Ticket) -> None:
        """Returns when it is this request's turn, or its outputs are there.

        Raises:
            ServingError: Its client does not wait any longer. It has left the
                queue then; what a running batch finds out for it is dropped.
        """
        while ticket.stage is not _Stage.DONE:
            ticket.changed.wait(ticket.call.time_left_s())
            with self._lock:
                ticket.changed.clear()
                if ticket.stage is _Stage.DONE:
                    return
                try:
                    ticket.call.check()
                except ServingError:
                    self._give_up(ticket)
                    raise
                if ticket.stage is _Stage.RUNNER:
                    return

    def _give_up(self, ticket: _Ticket) -> None:
        """Takes a request out of the queue; the lock is held."""
        if ticket.stage is _Stage.TAKEN:
            return
        self._remove(ticket)
        if ticket.stage is _Stage.RUNNER:
            self._pass_on()

    def _remove(self, ticket: _Ticket) -> None:
        self._queue.remove(ticket)
        self._queued_rows -= ticket.num_rows

    def _collect(self, runner: _Ticket) -> list[_Ticket]:
        """The batch of a runner: itself and the waiting requests that fit."""
        options = self._options
        with self._lock:
            if options.batch_timeout_s:
                patience_s = runner.arrived_s + options.batch_timeout_s - time.monotonic()
                self._arrived.wait_for(
                    lambda: self._queued_rows >= options.max_batch_size, max(patience_s, 0.0)
                )
            self._remove(runner)
            batch, num_rows = [runner], runner.num_rows
            for ticket in list(self._queue):
                if num_rows + ticket.num_rows > options.max_batch_size:
                    break
                joins = ticket.stage is _Stage.QUEUED and ticket.key == runner.key
                if joins and ticket.call.time_left_s() != 0.0:
                    self._remove(ticket)
                    ticket.stage = _Stage.TAKEN
                    batch.append(ticket)
                    num_rows += ticket.num_rows
            return batch

    def _run_batch(self, batch: list[_Ticket]) -> None:
        """Runs a batch, wakes the next runner, then hands out the outputs."""
        started_s = time.monotonic()
        try:
            self._run_tickets(batch)
        finally:
            with self._lock:
                self._pass_on()
                for ticket in batch:
                    ticket.stage = _Stage.DONE
            for ticket in batch:
                ticket.changed.set()
        waited_s = [started_s - ticket.arrived_s for ticket in batch]
        self._report(BatchReport(_num_rows(batch), waited_s))

    def _pass_on(self) -> None:
        """Makes the first waiting request the next runner; the lock is held."""
        for ticket in self._queue:
            if ticket.stage is _Stage.QUEUED:
                ticket.stage = _Stage.RUNNER
                ticket.changed.set()
                return
        self._num_running -= 1

    def _run_tickets(self, batch: list[_Ticket]) -> None:
        """Sets outputs or the error of every request of a batch.

        When a batch fails its requests run one by one, so that only those get
        an error that deserve it.
        """
        try:
            merged = batch_arrays.merge([ticket.inputs for ticket in batch])
            padded = batch_arrays.pad_rows(merged, self._options.padded_size(_num_rows(batch)))
            outputs = self._function(padded)
            parts = batch_arrays.split(outputs, [ticket.num_rows for ticket in batch])
            for ticket, part in zip(batch, parts, strict=True):
                ticket.outputs = part
        except Exception as error:
            if len(batch) == 1:
                batch[0].error = error
                return
            for ticket in batch:
                self._run_tickets([ticket])


def _num_rows(batch: Sequence[_Ticket]) -> int:
    return sum(ticket.num_rows for ticket in batch)
