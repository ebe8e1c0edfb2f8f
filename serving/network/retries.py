"""When a call that failed is sent again: attempts, waits between them, and a budget.

Imports no TensorFlow and no gRPC; sends nothing itself.
"""

import random
import threading
import time
from typing import NamedTuple


class RetryPolicy(NamedTuple):
    """How often and when a call is sent again. Times in seconds.

    Attributes:
        max_attempts: Times a call is sent in all, >= 1; 1 never sends again.
        first_wait_s: Longest wait before the second attempt; it doubles with every further
            one. The wait is a random part of it, so that clients that failed together do not
            come back together ("full jitter").
        max_wait_s: Longest wait of all. A server that names a longer one is not asked again.
        budget: Calls sent again in a row while all others fail. Every answer earns
            `earned_by_answer` of one: under a lasting failure a client asks at most a tenth
            more than it would without retries, as gRPC's retryThrottling does.
        earned_by_answer: See `budget`.
    """

    max_attempts: int = 3
    first_wait_s: float = 0.05
    max_wait_s: float = 2.0
    budget: float = 10.0
    earned_by_answer: float = 0.1


class RetryBudget:
    """What one client has left to send again; safe to use from several threads."""

    def __init__(self, policy: RetryPolicy):
        """Begins with all of it."""
        self._policy = policy
        self._lock = threading.Lock()
        self._left = policy.budget

    def earn(self) -> None:
        """Counts an answer."""
        with self._lock:
            self._left = min(self._left + self._policy.earned_by_answer, self._policy.budget)

    def spend(self) -> bool:
        """Takes one call sent again; False where there is none left."""
        with self._lock:
            if self._left < 1:
                return False
            self._left -= 1
            return True


class Attempts:
    """The attempts of one call, which share its time."""

    def __init__(self, policy: RetryPolicy, budget: RetryBudget, timeout_s: float):
        """Begins the call.

        Args:
            policy: How often and when.
            budget: Of the client.
            timeout_s: Time for all attempts and the waits between them.
        """
        self._policy, self._budget = policy, budget
        self._deadline_s = time.monotonic() + timeout_s
        self._count = 1

    def time_left_s(self) -> float:
        """Time for the attempt that begins now, > 0."""
        return max(self._deadline_s - time.monotonic(), 0.001)

    def wait_s(self, asked_s: float | None = None) -> float | None:
        """How long to wait before the next attempt; None where there shall be none.

        Args:
            asked_s: The wait that the server asks for (`Retry-After`), None where it does not.
        """
        longest_s = self._policy.first_wait_s * 2 ** (self._count - 1)
        wait_s = random.uniform(0, min(longest_s, self._policy.max_wait_s))
        if asked_s is not None:
            wait_s += asked_s
        is_late = time.monotonic() + wait_s >= self._deadline_s
        if self._count >= self._policy.max_attempts or is_late:
            return None
        if (asked_s or 0) > self._policy.max_wait_s or not self._budget.spend():
            return None
        self._count += 1
        return wait_s
