"""The one line that says how far a job is: for a terminal of any width, and as words.

Pure functions of tasks and their speeds. Imports no TensorFlow.
"""

from collections import deque
from collections.abc import Iterator, Sequence

from pipelines.progress import words
from pipelines.progress.tasks import Task

_WINDOW_S = 15.0
"""Of which the speed is the mean: the first step of a training takes many times as long."""

_LONGEST_BAR, _SHORTEST_BAR = 32, 8
_SHORTEST_CUT = 4
_SEPARATOR = "  "


class Pace:
    """The speed of a task, from looks at it; counts from its first step, which may take long."""

    def __init__(self):
        self._started_s: float | None = None
        self._looks: deque[tuple[float, int]] = deque()

    def look(self, task: Task, now_s: float) -> float | None:
        """Steps per second of the last seconds; None while there is nothing to tell it by."""
        if task.started_s != self._started_s:
            self._started_s = task.started_s
            self._looks.clear()
        if task.done:
            self._looks.append((now_s, task.done))
        while len(self._looks) > 2 and self._looks[1][0] <= now_s - _WINDOW_S:
            self._looks.popleft()
        if not self._looks:
            return None
        first_s, first = self._looks[0]
        passed_s = now_s - first_s
        return (task.done - first) / passed_s if passed_s > 0 and task.done > first else None


def seconds_left(task: Task, per_second: float | None, now_s: float) -> float | None:
    """Seconds until the end, of what comes after it too; None where nobody knows."""
    if task.total is None and task.known_share:
        return (now_s - task.started_s) * (1 - task.known_share) / task.known_share
    if task.total is None or not per_second:
        return None
    steps = max(0, task.total - task.done) + task.later_steps
    return steps / per_second + task.later_s


def in_words(tasks: Sequence[Task], per_second: float | None, now_s: float) -> str:
    """For a log: `train: epoch 3/20: 45 of 78 steps, loss 5.2134, 41,234 slots/s, 2 min left`."""
    task = tasks[-1]
    left_s = seconds_left(task, per_second, now_s)
    if left_s is None:
        time = f"{words.rough_duration(now_s - task.started_s)} so far"
    else:
        time = f"{'at most ' if task.is_at_most else ''}{words.rough_duration(left_s)} left"
    parts = [_count_in_words(task), *_details(task, per_second), time]
    return f"{join_names(tasks)}: {', '.join(filter(None, parts))}"


def as_line(
    tasks: Sequence[Task],
    per_second: float | None,
    now_s: float,
    width: int,
    *,
    ascii_only: bool = False,
) -> str:
    """For a terminal: never wider than `width`; what matters less goes first.

    Args:
        tasks: The open ones, the innermost last.
        per_second: Steps per second of that one.
        now_s: In seconds of `time.monotonic`.
        width: Columns.
        ascii_only: Whether the terminal may lack the characters of the bar.
    """
    task = tasks[-1]
    left_s = seconds_left(task, per_second, now_s)
    if left_s is None:
        time = words.duration(now_s - task.started_s)
    else:
        time = f"{'<' if task.is_at_most else ''}{words.rough_duration(left_s)} left"
    variants = list(_ever_shorter(join_names(tasks), task, _details(task, per_second), time))
    texts = next((texts for texts in variants if _width(texts) <= width), variants[-1])
    room = width - _width(texts) - len(_SEPARATOR)
    if task.share is not None and room >= _SHORTEST_BAR:
        texts.insert(1, _bar(task.share, min(room, _LONGEST_BAR), ascii_only))
    return _cut(_SEPARATOR.join(texts), width)


def _ever_shorter(names: str, task: Task, details: Sequence[str], time: str) -> Iterator[list[str]]:
    """What the line may say, from everything to the least."""
    count = _count(task)
    for left_out in range(len(details) + 1):
        yield [text for text in (names, count, *details[left_out:], time) if text]
    yield [text for text in (names, count) if text]
    yield [text for text in (task.name, count) if text]


def _width(texts: Sequence[str]) -> int:
    return len(_SEPARATOR.join(texts))


def join_names(tasks: Sequence[Task]) -> str:
    """What is being done, the outermost first: `[3/7] train: epoch 3/20`."""
    return ": ".join(task.name for task in tasks)


def _count(task: Task) -> str:
    if task.total is not None:
        return f"{task.done:,}/{task.total:,} {task.unit}".rstrip()
    return f"{task.done:,} {task.unit}".rstrip() if task.done else ""


def _count_in_words(task: Task) -> str:
    if task.total is not None:
        return f"{task.done:,} of {task.total:,} {task.unit}".rstrip()
    return _count(task)


def _details(task: Task, per_second: float | None) -> list[str]:
    """What can be left out, what matters least first."""
    facts = [words.fact(name, value) for name, value in list(task.facts.items())]
    if task.rate and per_second:
        return [words.speed(per_second * task.per_step, task.rate), *facts]
    return facts


def _bar(share: float, width: int, ascii_only: bool) -> str:
    full, rest = ("#", ".") if ascii_only else ("━", "─")
    filled = int(share * width)
    return full * filled + rest * (width - filled)


def _cut(text: str, width: int) -> str:
    if len(text) <= width:
        return text
    return text[: width - 3] + "..." if width >= _SHORTEST_CUT else text[: max(0, width)]
