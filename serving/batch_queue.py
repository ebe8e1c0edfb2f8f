"""Jobs of several threads run together, in the thread of one of them.

Imports no TensorFlow. There is no thread of its own and no waiting window: a
job that finds the worker idle runs at once, in the thread it came in. While
the worker is busy jobs collect, and the first of them becomes the next batch's
runner. A fixed window would cost every lone request its length (measured with
one of 1 ms: 2.7 ms instead of 1.3 ms).
"""

import collections
import enum
import math
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, NamedTuple, TypeVar

from serving import call as calls
from serving.batching_options import BatchingOptions
from serving.status import Code, ServingError

Job = TypeVar("Job")
Result = TypeVar("Result")


class BatchReport(NamedTuple):
    """What the metrics want to know about a batch that ran.

    Attributes:
        num_rows: Rows of all its jobs.
        waited_s: Time each job spent in the queue.
    """

    num_rows: int
    waited_s: Sequence[float]


class _Stage(enum.Enum):
    """Where a job is."""

    QUEUED = enum.auto()
    RUNNER = enum.auto()
    """Its thread has to run the next batch."""
    TAKEN = enum.auto()
    """It is in a running batch."""
    DONE = enum.auto()


class _Ticket(Generic[Job, Result]):
    """One job in the queue; its stage changes under the queue's lock."""

    def __init__(
        self, job: Job, num_rows: int, key: Hashable, call: calls.Call, timeout_s: float | None
    ):
        self.job = job
        self.num_rows = num_rows
        self.key = key
        self.call = call
        self.arrived_s = time.monotonic()
        self._start_by_s = math.inf if timeout_s is None else self.arrived_s + timeout_s
        self.stage = _Stage.QUEUED
        self.changed = threading.Event()
        self.result: Result | None = None
        self.error: BaseException | None = None

    def time_left_s(self) -> float | None:
        """Seconds until the job gives up; once it is in a batch, only its call ends it."""
        left_s = self.call.time_left_s()
        if self.stage is _Stage.TAKEN or self._start_by_s == math.inf:
            return left_s
        own_s = max(self._start_by_s - time.monotonic(), 0.0)
        return own_s if left_s is None else min(own_s, left_s)

    def check(self) -> None:
        """Raises as `Call.check`, also when the job's own time is over."""
        self.call.check()
        if self.time_left_s() == 0.0:
            raise ServingError(Code.DEADLINE_EXCEEDED, "Deadline Exceeded")


class BatchQueue(Generic[Job, Result]):
    """Runs a function of several jobs for callers that have one each."""

    def __init__(
        self,
        function: Callable[[Sequence[Job]], Sequence[Result]],
        options: BatchingOptions,
        report: Callable[[BatchReport], None] = lambda _: None,
    ):
        """Puts a queue in front of a function.

        Args:
            function: Jobs with equal keys -> their results. The current call
                is that of a job which runs alone, or one that waits as long as
                the most patient of several.
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

    def run(
        self, job: Job, num_rows: int, key: Hashable = None, *, timeout_s: float | None = None
    ) -> Result:
        """The result of a job of the current call.

        Args:
            job: Given to the function, in the company of others.
            num_rows: Its size. More rows than a batch may have run alone.
            key: Only jobs with equal keys share a batch.
            timeout_s: Longest wait for its turn, where the current call has
                more time; None adds no bound.

        Raises:
            ServingError: RESOURCE_EXHAUSTED, the queue is full;
                DEADLINE_EXCEEDED or CANCELLED, before its turn came.
            Exception: What the function raised for this job.
        """
        ticket = _Ticket(job, num_rows, key, calls.current(), timeout_s)
        ticket.check()
        if self._starts_at_once(ticket):
            self._run_batch([ticket])
        else:
            with ticket.call.woken_by_cancel(ticket.changed.set):
                self._wait(ticket)
            if ticket.stage is _Stage.RUNNER:
                self._run_batch(self._collect(ticket))
        if ticket.error is not None:
            raise ticket.error
        return ticket.result

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
        """Returns when it is this job's turn, or its result is there.

        Raises:
            ServingError: Its client does not wait any longer. It has left the
                queue then; what a running batch finds out for it is dropped.
        """
        while ticket.stage is not _Stage.DONE:
            ticket.changed.wait(ticket.time_left_s())
            with self._lock:
                ticket.changed.clear()
                if ticket.stage is _Stage.DONE:
                    return
                try:
                    ticket.check()
                except ServingError:
                    self._give_up(ticket)
                    raise
                if ticket.stage is _Stage.RUNNER:
                    return

    def _give_up(self, ticket: _Ticket) -> None:
        """Takes a job out of the queue; the lock is held."""
        if ticket.stage is _Stage.TAKEN:
            return
        self._remove(ticket)
        if ticket.stage is _Stage.RUNNER:
            self._pass_on()

    def _remove(self, ticket: _Ticket) -> None:
        self._queue.remove(ticket)
        self._queued_rows -= ticket.num_rows

    def _collect(self, runner: _Ticket) -> list[_Ticket]:
        """The batch of a runner: itself and the waiting jobs that fit."""
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
                if joins and ticket.time_left_s() != 0.0:
                    self._remove(ticket)
                    ticket.stage = _Stage.TAKEN
                    batch.append(ticket)
                    num_rows += ticket.num_rows
            return batch

    def _run_batch(self, batch: list[_Ticket]) -> None:
        """Runs a batch, wakes the next runner, then hands out the results."""
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
        """Makes the first waiting job the next runner; the lock is held."""
        for ticket in self._queue:
            if ticket.stage is _Stage.QUEUED:
                ticket.stage = _Stage.RUNNER
                ticket.changed.set()
                return
        self._num_running -= 1

    def _run_tickets(self, batch: list[_Ticket]) -> None:
        """Sets the result or the error of every job of a batch.

        When a batch fails its jobs run one by one, so that only those get an
        error that deserve it.
        """
        try:
            with calls.answering(_common_call(batch)):
                results = self._function([ticket.job for ticket in batch])
            for ticket, result in zip(batch, results, strict=True):
                ticket.result = result
        except Exception as error:
            if len(batch) == 1:
                batch[0].error = error
                return
            for ticket in batch:
                self._run_tickets([ticket])


def _common_call(batch: Sequence[_Ticket]) -> calls.Call:
    """What a batch runs for: nobody who leaves ends the work for the others."""
    if len(batch) == 1:
        return batch[0].call
    times_s = [ticket.call.time_left_s() for ticket in batch]
    return calls.Call(None if None in times_s else max(times_s))


def _num_rows(batch: Sequence[_Ticket]) -> int:
    return sum(ticket.num_rows for ticket in batch)
