"""Jobs of several threads run together, in the thread of one of them.

Imports no TensorFlow. There is no thread of its own and no waiting window: a
job that finds the worker idle runs at once, in the thread it came in. While
the worker is busy jobs collect, and the first of them becomes the next batch's
runner. A fixed window would cost every lone request its length (measured with
one of 1 ms: 2.7 ms instead of 1.3 ms).
"""

import collections
import enum
import logging
import math
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, NamedTuple, TypeVar

from serving.batching.options import BatchingOptions
from serving.protocol import call as calls
from serving.protocol.status import Code, ServingError

_LOGGER = logging.getLogger(__name__)

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
        self._start_by_s = calls.deadline_after(timeout_s)
        self.stage = _Stage.QUEUED
        self.batch: list[_Ticket] = []  # Of a runner: what it has taken out of the queue.
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
        self._runners: set[_Ticket] = set()

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
        try:
            self._enter(ticket)
            if ticket.stage is _Stage.QUEUED:
                with ticket.call.woken_by_cancel(ticket.changed.set):
                    self._wait(ticket)
            if ticket.stage is _Stage.RUNNER:
                if not ticket.batch:
                    self._collect(ticket)
                self._run_batch(ticket)
        except BaseException:
            # Also what nobody foresaw, and Ctrl-C: the others go on without this caller.
            self._leave(ticket)
            raise
        if ticket.error is not None:
            try:
                raise ticket.error
            finally:
                ticket.error = None  # Its traceback knows the ticket, which holds the job.
        return ticket.result

    def _enter(self, ticket: _Ticket) -> None:
        """Takes the idle model, or a place in the queue."""
        with self._lock:
            if len(self._runners) < self._options.num_batch_threads and not self._queue:
                self._runners.add(ticket)
                ticket.batch.append(ticket)
                ticket.stage = _Stage.RUNNER
                return
            if self._queue and self._queued_rows + ticket.num_rows > self._options.capacity:
                raise ServingError(
                    Code.RESOURCE_EXHAUSTED,
                    "The batch scheduling queue to which this task was submitted is full: "
                    f"{self._queued_rows} rows wait. Try again later.",
                )
            self._queue.append(ticket)
            ticket.stage = _Stage.QUEUED
            self._queued_rows += ticket.num_rows
            self._arrived.notify()

    def _wait(self, ticket: _Ticket) -> None:
        """Returns when it is this job's turn, or its result is there.

        Raises:
            ServingError: Its client does not wait any longer; what a running
                batch finds out for it is dropped.
        """
        while ticket.stage is not _Stage.DONE:
            ticket.changed.wait(ticket.time_left_s())
            with self._lock:
                ticket.changed.clear()
                if ticket.stage is _Stage.DONE:
                    return
                ticket.check()
                if ticket.stage is _Stage.RUNNER:
                    return

    def _leave(self, ticket: _Ticket) -> None:
        """Takes a job out whose caller is gone; what it took out of the queue goes back."""
        with self._lock:
            if ticket in self._queue:
                self._remove(ticket)
            ticket.stage = _Stage.DONE
            for other in reversed(ticket.batch):
                if other.stage is _Stage.TAKEN:  # Who left meanwhile could run nothing.
                    other.stage, other.error = _Stage.QUEUED, None
                    self._queue.appendleft(other)
                    self._queued_rows += other.num_rows
            self._pass_on(ticket)
        for other in ticket.batch:
            other.changed.set()
        ticket.batch = []

    def _remove(self, ticket: _Ticket) -> None:
        self._queue.remove(ticket)
        self._queued_rows -= ticket.num_rows

    def _collect(self, runner: _Ticket) -> None:
        """Makes the batch of a runner: itself and the waiting jobs that fit."""
        options = self._options
        if options.batch_timeout_s:
            self._wait_for_more(runner)
        with self._lock:
            self._remove(runner)
            runner.batch.append(runner)
            num_rows = runner.num_rows
            for ticket in list(self._queue):
                if num_rows + ticket.num_rows > options.max_batch_size:
                    break
                joins = ticket.stage is _Stage.QUEUED and ticket.key == runner.key
                if joins and ticket.time_left_s() != 0.0:
                    self._remove(ticket)
                    ticket.stage = _Stage.TAKEN
                    runner.batch.append(ticket)
                    num_rows += ticket.num_rows

    def _wait_for_more(self, runner: _Ticket) -> None:
        """Waits for a full batch as long as the options and its own call say."""
        waited_s = time.monotonic() - runner.arrived_s
        full_by_s = calls.deadline_after(self._options.batch_timeout_s - waited_s)
        own_s = calls.deadline_after(runner.time_left_s())

        def is_enough() -> bool:
            return runner.call.is_cancelled or self._queued_rows >= self._options.max_batch_size

        with runner.call.woken_by_cancel(self._wake_runners), self._lock:
            self._arrived.wait_for(is_enough, calls.time_until_s(min(full_by_s, own_s)))
        runner.check()

    def _wake_runners(self) -> None:
        with self._lock:
            self._arrived.notify_all()

    def _run_batch(self, runner: _Ticket) -> None:
        """Runs a batch, wakes the next runner, then hands out the results."""
        batch, started_s = runner.batch, time.monotonic()
        self._run_tickets(batch)
        with self._lock:
            for ticket in batch:
                ticket.stage = _Stage.DONE
            self._pass_on(runner)
        for ticket in batch:
            ticket.changed.set()
        runner.batch = []  # It holds itself.
        waited_s = [started_s - ticket.arrived_s for ticket in batch]
        try:
            self._report(BatchReport(_num_rows(batch), waited_s))
        except Exception:  # The results are there; what counts them must not spoil them.
            _LOGGER.exception("The report of a batch failed")

    def _pass_on(self, runner: _Ticket) -> None:
        """Makes the first waiting job runner in the place of one; the lock is held."""
        if runner not in self._runners:
            return
        self._runners.remove(runner)
        for ticket in self._queue:
            if ticket.stage is _Stage.QUEUED:
                self._runners.add(ticket)
                ticket.stage = _Stage.RUNNER
                ticket.changed.set()
                return

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
