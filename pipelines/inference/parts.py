"""The parts of a result, each made alone: in this process, or on the workers of Beam."""

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator, Sequence

import threadpoolctl

from pipelines.inference import work_folder
from pipelines.inference.answers import Answerer
from pipelines.inference.opened_release import open_once
from pipelines.inference.work_folder import OutputPart, WorkFolder
from pipelines.ingestion.step_runner import StepRunner
from pipelines.progress import tasks
from serving.release.release import Release

_LOOK_S = 1.0
"""Seconds between looks for parts that other processes have finished."""


class AnswerPart:
    """Makes one part and writes its file; a part that is there is not made again."""

    def __init__(
        self,
        parts: Sequence[OutputPart],
        answerer: Answerer,
        release: Release,
        work: WorkFolder,
        task_name: str,
    ):
        self._parts = list(parts)
        self._answerer = answerer
        self._release = release
        self._work = work
        self._task_name = task_name

    def __call__(self, number: int) -> None:
        """Makes the part of this number."""
        if not self._work.has(self._parts[number]):
            # Threads of a product wait for each other; workers use the cores.
            with threadpoolctl.threadpool_limits(1, user_api="blas"):
                self._make(self._parts[number])

    def _make(self, part: OutputPart) -> None:
        opened, counts = open_once(self._release), Counter()
        tables = self._answerer.answer_all(self._work.read_input(part), opened, counts)
        schema = self._answerer.schema(opened)
        path = self._work.part_path(part)
        work_folder.write_table_file(path, schema, self._counted(tables, counts), counts)

    def _counted(self, tables: Iterator, counts: Counter) -> Iterator:
        """The same tables; says how far it is."""
        before = 0
        for table in tables:
            yield table
            tasks.count(self._task_name, counts["rows"] - before)
            before = counts["rows"]


def answer_parts(
    parts: Sequence[OutputPart],
    answerer: Answerer,
    release: Release,
    work: WorkFolder,
    runner: StepRunner,
    *,
    task_name: str,
    unit: str,
) -> None:
    """Makes all parts that are not there yet.

    Args:
        parts: All of the work.
        answerer: What is wanted.
        release: What is asked.
        work: Where inputs are and parts go.
        runner: Where the work is done.
        task_name: What people are told is being done.
        unit: `users` or `items`.
    """
    missing = [part for part in parts if not work.has(part)]
    total = sum(part.num_rows for part in parts)
    with tasks.open_task(task_name, total=total, unit=unit, rate=unit) as task:
        task.advance(total - sum(part.num_rows for part in missing))
        if not missing:
            return
        step = AnswerPart(parts, answerer, release, work, task_name)
        with _finished_elsewhere(parts, work, task):
            runner.run(step, [part.number for part in missing])


@contextlib.contextmanager
def _finished_elsewhere(
    parts: Sequence[OutputPart], work: WorkFolder, task: tasks.Task
) -> Iterator[None]:
    """Counts parts that workers in other processes finish, which cannot count for a task here."""
    ended = threading.Event()

    def look() -> None:
        open_parts = list(parts)
        finished = 0
        while not ended.wait(_LOOK_S):
            done = {part for part in open_parts if work.has(part)}
            finished += sum(part.num_rows for part in done)
            open_parts = [part for part in open_parts if part not in done]
            task.done = max(task.done, finished)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
