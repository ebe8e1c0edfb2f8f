"""The live line at real terminals, lines elsewhere, and what is left when a job is stopped."""

import fcntl
import logging
import os
import pty
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from pipelines.progress import display, tasks

ROOT = Path(__file__).parents[3]

JOB = """
import logging, sys, time
from pipelines.commands.shared import console_log
from pipelines.progress import display, tasks
console_log.set_up(0)
with tasks.shown_by(display.choose(sys.argv[1])):
    with tasks.open_task("work", total=40, unit="steps") as task:
        for step in range(40):
            task.advance()
            if step == 20:
                logging.getLogger("recall").error("half of it is done")
            time.sleep(float(sys.argv[2]))
print("the result")
"""


def run_at_terminal(*words, columns=80, term="xterm-256color", stop_after_s=None, **environment):
    """Runs the job at a pseudo-terminal; what it wrote there, and its exit code."""
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": term, **environment}
    for name in ("COLUMNS", "LINES", "NO_COLOR"):
        if name not in environment:
            env.pop(name, None)
    streams = {"stdin": side, "stdout": side, "stderr": side}
    process = subprocess.Popen(
        ["setsid", "--ctty", sys.executable, "-c", JOB, *words], env=env, **streams
    )
    os.close(side)
    written, started_s = b"", time.monotonic()
    while True:
        if stop_after_s is not None and b"work" in written:
            time.sleep(stop_after_s)
            os.write(main, b"\x03")  # Ctrl-C: the terminal echoes it and sends the signal.
            stop_after_s = None
        try:
            data = os.read(main, 65536)
        except OSError:  # The other side is closed.
            break
        if not data:
            break
        written += data
        assert time.monotonic() - started_s < 60
    os.close(main)
    return written.decode(), process.wait(timeout=20)


def screen(written: str, columns: int = 80) -> list[str]:
    """What a terminal shows in the end: enough of its language for what is written here."""
    lines, row, column, at = [""], 0, 0, 0
    while at < len(written):
        sign = written[at]
        if sign == "\x1b":
            end = at + 2
            while not written[end].isalpha():
                end += 1
            number = written[at + 2 : end]
            if written[end] == "A":
                row = max(0, row - int(number or 1))
            elif written[end] == "K" and number == "2":
                lines[row] = ""
            elif written[end] not in "mhl":
                raise AssertionError(f"unexpected {written[at : end + 1]!r}")
            at = end + 1
            continue
        if sign == "\r":
            column = 0
        elif sign == "\n":
            row, column = row + 1, 0
            while len(lines) <= row:
                lines.append("")
        else:
            assert column < columns, "the line is too wide"
            lines[row] = lines[row][:column].ljust(column) + sign + lines[row][column + 1 :]
            column += 1
        at += 1
    return [line.rstrip() for line in lines]


@pytest.mark.parametrize("columns", [30, 80, 200])
def test_a_terminal_has_a_live_line_and_then_none(columns):
    written, code = run_at_terminal("auto", ".03", columns=columns)
    assert code == 0
    assert "/40 steps" in written
    shown = [line for line in screen(written, columns) if line]
    assert [line[9:] for line in shown[:-1]] == ["half of it is done"]
    assert shown[-1] == "the result"


def test_ctrl_c_leaves_a_clean_line():
    written, code = run_at_terminal("auto", ".2", stop_after_s=0.5)
    assert code != 0
    assert "^C" in written
    shown = [line for line in screen(written) if line]
    assert not any("/40 steps" in line for line in shown)
    assert shown[0].startswith("Traceback")
    assert "\x1b[?25l" not in written, "the cursor is never hidden"


def test_no_color():
    coloured, _ = run_at_terminal("auto", ".01")
    plain, _ = run_at_terminal("auto", ".01", NO_COLOR="1")
    assert "\x1b[36m" in coloured
    assert "\x1b[36m" not in plain
    assert "/40 steps" in plain


def test_terminals_that_cannot_overwrite_have_no_live_line():
    written, _ = run_at_terminal("auto", ".01", term="dumb")
    assert "\x1b" not in written
    assert "steps" not in written


def test_a_pipe_has_short_lines_only():
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, "-c", JOB, "auto", ".01"], env=env, capture_output=True, text=True
    )
    assert run.stdout == "the result\n"
    assert [line[9:] for line in run.stderr.splitlines()] == ["half of it is done"]


def test_results_in_a_file_are_not_mixed_with_the_live_line(tmp_path):
    """Standard output goes to a file, the standard error to a terminal."""
    path = tmp_path / "out.txt"
    main, side = pty.openpty()
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"}
    with open(path, "wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", JOB, "auto", ".01"], stdout=file, stderr=side, env=env
        )
        os.close(side)
        while True:
            try:
                if not os.read(main, 65536):
                    break
            except OSError:
                break
    os.close(main)
    assert process.wait() == 0
    assert path.read_text() == "the result\n"


def test_lines_from_time_to_time(caplog):
    caplog.set_level(logging.INFO, "pipelines.progress")
    shown = display.LinesFromTimeToTime(first_s=0.05)
    inner = tasks.open_task("work", total=10, unit="users")
    with tasks.shown_by(shown), tasks.open_task("outer"), inner as task:
        task.advance(5)
        time.sleep(0.5)
    messages = [record.getMessage() for record in caplog.records]
    # After .05, .15 and .35 s: a pause is twice the one before.
    assert 2 <= len(messages) <= 3
    assert messages[0].startswith("outer: work: 5 of 10 users, ")


def test_which_display(monkeypatch):
    assert display.choose("off") is None
    assert isinstance(display.choose("lines"), display.LinesFromTimeToTime)
    assert isinstance(display.choose("live"), display.LiveLine)
    assert isinstance(display.choose("auto"), display.LinesFromTimeToTime)
    assert display.choose("auto", verbosity=-1) is None
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(display.choose("auto"), display.LiveLine)
    assert isinstance(display.choose("auto", verbosity=1), display.LinesFromTimeToTime)


def test_counting_costs_little():
    """A step of a training takes milliseconds; counting it must be nothing beside that."""
    with tasks.open_task("work", total=10**6) as task:
        started_s = time.process_time()
        for _ in range(100_000):
            task.advance()
        microseconds = (time.process_time() - started_s) * 10
    assert microseconds < 5
