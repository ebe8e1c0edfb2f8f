"""How far a job is, wherever its parts are made."""

import pyarrow as pa

from pipelines.inference import parts, work_folder
from pipelines.inference.work_folder import OutputPart, open_work
from pipelines.progress import tasks
from tests.waiting import wait_for

SCHEMA = pa.schema([("n", pa.int64())])
PARTS = [OutputPart(number, (), size) for number, size in enumerate((5, 3, 2))]


class Elsewhere:
    """A runner whose workers are other processes: they leave files, and count for no task here."""

    def __init__(self, work):
        self.work = work
        self.seen = []

    def run(self, step, numbers):
        (task,) = tasks._open
        self.seen.append((list(numbers), task.done, task.total))
        for number in numbers:
            work_folder.write_table_file(self.work.part_path(PARTS[number]), SCHEMA, [])
            done = sum(part.num_rows for part in PARTS[: number + 1])
            wait_for(lambda done=done: task.done == done)


def test_parts_made_in_other_processes_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "_LOOK_S", 0.01)
    with open_work(tmp_path / "out", {}) as work:
        work_folder.write_table_file(work.part_path(PARTS[0]), SCHEMA, [])
        runner = Elsewhere(work)
        parts.answer_parts(PARTS, None, None, work, runner, task_name="recommend", unit="users")
        # The first one was there: 5 of 10 users.
        assert runner.seen == [([1, 2], 5, 10)]
        parts.answer_parts(PARTS, None, None, work, runner, task_name="recommend", unit="users")
        assert len(runner.seen) == 1
